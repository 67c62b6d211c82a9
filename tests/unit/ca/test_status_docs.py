"""docs/status-and-time.md shows configurations that load, and names what the programs answer and count."""

import re
import tomllib
from pathlib import Path

import pytest

from zonegate.ca.ocspservice import AnswerSettings, OcspSettings
from zonegate.ca.tsaservice import ClockSettings, TsaSettings
from zonegate.monitoring import names
from zonegate.pki.ocsp_message import OcspError
from zonegate.pki.timestamp_message import Failure
from zonegate.strictconf import StrictModel, load_toml

TEXT = (Path(__file__).parents[3] / "docs" / "status-and-time.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"(?ms)^```toml\n(.*?)^```$", TEXT)
ROWS: list[tuple[str, type[StrictModel], str, type[StrictModel]]] = [
    (BLOCKS[0], OcspSettings, "answers", AnswerSettings),
    (BLOCKS[1], TsaSettings, "clock", ClockSettings),
]


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(word.capitalize() for word in rest)


@pytest.mark.parametrize(("block", "model", "table", "inner"), ROWS, ids=["ocsp", "tsa"])
def test_the_configurations_load_and_name_every_key(
    tmp_path: Path, block: str, model: type[StrictModel], table: str, inner: type[StrictModel]
) -> None:
    (tmp_path / "c.toml").write_text(block)
    load_toml(tmp_path / "c.toml", model)
    found = tomllib.loads(block)
    assert set(found) == set(model.model_fields)
    assert set(found[table]) == set(inner.model_fields)


@pytest.mark.parametrize(("block", "model", "table", "inner"), ROWS, ids=["ocsp", "tsa"])
def test_optional_values_shown_are_the_defaults(
    block: str, model: type[StrictModel], table: str, inner: type[StrictModel]
) -> None:
    assert model
    for key, value in tomllib.loads(block)[table].items():
        default = inner.model_fields[key].default
        assert default is None or value == default, key


def test_every_error_and_failure_that_is_given_is_documented() -> None:
    for error in set(OcspError) - {OcspError.SIG_REQUIRED}:
        assert f"`{_camel(error.name)}`" in TEXT
    for failure in set(Failure) - {Failure.ADD_INFO_NOT_AVAILABLE}:
        assert f"`{_camel(failure.name)}`" in TEXT


def test_metrics_are_documented() -> None:
    for metric in (names.OCSP_ANSWERS, names.TIMESTAMPS, names.CLOCK_TRUSTED, names.CLOCK_OFFSET):
        assert metric.name in TEXT
