"""The registry: each reason has one complete row, in both languages, and rows make sense together."""

import re
import tomllib
from importlib import resources

import pytest

from zonegate.reasons import REGISTRY, Area, Executed, GrpcCode, Owner, Reason, ReasonInfo

CHINESE = re.compile(r"[一-鿿]")
ROWS = {reason.value: REGISTRY[reason] for reason in Reason}


def test_every_reason_has_a_row_and_every_row_a_reason() -> None:
    text = resources.files("zonegate.reasons").joinpath("reasons.toml").read_text(encoding="utf-8")
    rows = list(tomllib.loads(text))
    assert sorted(rows) == sorted(Reason)
    assert list(REGISTRY) == list(Reason)


def test_the_registry_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        REGISTRY[Reason.OK] = REGISTRY[Reason.E_KEY]  # type: ignore[index]  # the refusal is what is shown


@pytest.mark.parametrize("reason", Reason)
def test_spelling(reason: Reason) -> None:
    assert reason.name == reason.value
    assert reason is Reason.OK or re.fullmatch(r"E_[A-Z0-9]+(_[A-Z0-9]+)*", reason.value)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_row_is_complete(row: ReasonInfo) -> None:
    for sentence in (row.en, row.zh, row.hint_en, row.hint_zh):
        assert sentence.strip() == sentence
        assert len(sentence) >= 2
    for sentence in (row.zh, row.hint_zh):
        assert CHINESE.search(sentence)
    for sentence in (row.en, row.hint_en):
        assert not CHINESE.search(sentence)
    assert isinstance(row.area, Area)
    assert isinstance(row.owner, Owner)
    assert isinstance(row.executed, Executed)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_only_ok_is_ok(row: ReasonInfo) -> None:
    assert (row.grpc is GrpcCode.OK) is (row.reason is Reason.OK)


BEFORE_FORWARDING = {
    Area.HANDSHAKE,
    Area.ADMIT,
    Area.LABEL,
    Area.SPILL,
    Area.ZONE,
    Area.DOMINANCE,
    Area.SHARE,
    Area.RATE,
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_refused_before_forwarding_was_not_executed(row: ReasonInfo) -> None:
    assert row.area not in BEFORE_FORWARDING or row.executed is Executed.NO


def test_refusals_that_nobody_mends_are_few() -> None:
    # Elsewhere somebody can act; these mend themselves, or need no mending.
    orphans = {row.reason for row in ROWS.values() if row.owner is Owner.NOBODY}
    assert orphans <= {Reason.OK, Reason.E_CANCELLED, Reason.E_DRAINING, Reason.E_IMPORT_DUPLICATE}


def test_grpc_codes_are_those_of_grpc() -> None:
    grpc = pytest.importorskip("grpc")
    assert {code.name: code.value[0] for code in grpc.StatusCode} == {code.name: code.value for code in GrpcCode}
