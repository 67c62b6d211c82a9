"""One strict TOML file: read into its model, or everything that is wrong with it at once."""

import os
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError, field_validator

from zonegate.errors import ProblemsError
from zonegate.reasons import Reason
from zonegate.strictconf import FILE_LIMIT_BYTES, ConfigPath, StrictModel, load_toml


class Listen(StrictModel):
    """A part of a configuration."""

    host: str
    port: Annotated[int, Field(ge=1, le=65535)]


class Sample(StrictModel):
    """A configuration with each kind of field."""

    name: str
    mode: Literal["plain", "sealed"] = "plain"
    key: ConfigPath
    listen: tuple[Listen, ...] = Field(default=(), strict=False)
    ratio: float = 1.0
    on: bool = True

    @field_validator("name")
    @classmethod
    def _short(cls, value: str) -> str:
        if len(value) > 8:
            msg = "is longer than 8 characters"
            raise ValueError(msg)
        return value


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "sample.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(ProblemsError) as caught:
        load_toml(path, Sample)
    assert caught.value.reason is Reason.E_CONFIG
    assert all(problem.file == path.name for problem in caught.value.problems)
    return [(problem.field, problem.message) for problem in caught.value.problems]


GOOD = 'name = "gw"\nkey = "keys/gw.pem"\n[[listen]]\nhost = "::1"\nport = 7\n'


def test_read(tmp_path: Path) -> None:
    found = load_toml(write(tmp_path, GOOD), Sample)
    assert found.name == "gw"
    assert found.key == tmp_path / "keys" / "gw.pem"
    assert found.listen == (Listen(host="::1", port=7),)
    with pytest.raises(ValidationError):
        found.name = "other"  # type: ignore[misc]  # the refusal is what is shown


def test_an_absolute_path_stays(tmp_path: Path) -> None:
    found = load_toml(write(tmp_path, GOOD.replace("keys/gw.pem", "/etc/gw.pem")), Sample)
    assert str(found.key) == "/etc/gw.pem"


BAD: dict[str, tuple[str, str, str]] = {
    "unknown key": ('nmae = "x"\n' + GOOD, "nmae", "is not a known key"),
    "unknown key inside": (GOOD + "prot = 8\n", "listen.0.prot", "is not a known key"),
    "missing key": (GOOD.replace('name = "gw"\n', ""), "name", "is missing"),
    "text where a number is needed": (GOOD.replace("7", '"7"'), "listen.0.port", "'7'"),
    "number where a text is needed": (GOOD.replace('"gw"', "5"), "name", "found 5"),
    "number where a truth value is needed": ("on = 1\n" + GOOD, "on", "found 1"),
    "truth value where a number is needed": (GOOD.replace("7", "true"), "listen.0.port", "found True"),
    "out of range": (GOOD.replace("7", "65536"), "listen.0.port", "65535; found 65536"),
    "unknown word": ('mode = "open"\n' + GOOD, "mode", "'plain' or 'sealed'; found 'open'"),
    "own rule": (GOOD.replace('"gw"', '"gateway-1"'), "name", "is longer than 8 characters; found 'gateway-1'"),
    "table where a text is needed": (GOOD.replace('"gw"', "{ a = 1 }"), "name", "string"),
    "path that is a number": (GOOD.replace('"keys/gw.pem"', "5"), "key", "found 5"),
}


@pytest.mark.parametrize(("text", "field", "words"), BAD.values(), ids=BAD)
def test_refused(tmp_path: Path, text: str, field: str, words: str) -> None:
    found = problems(write(tmp_path, text))
    assert [name for name, _ in found] == [field]
    assert words in found[0][1]


def test_everything_at_once(tmp_path: Path) -> None:
    text = 'nmae = "x"\nmode = "open"\n[[listen]]\nhost = 1\nport = 0\n[[listen]]\nport = 1\n'
    fields = {name for name, _ in problems(write(tmp_path, text))}
    assert fields == {"name", "nmae", "key", "mode", "listen.0.host", "listen.0.port", "listen.1.host"}


def test_a_long_value_is_not_quoted(tmp_path: Path) -> None:
    long = "secret" * 20
    text = GOOD.replace('"gw"', f'"{long}"')
    assert long not in problems(write(tmp_path, text))[0][1]


BROKEN: dict[str, tuple[bytes, str]] = {
    "not TOML": (b"name = ", "is not TOML"),
    "a key twice": (GOOD.encode() + b'host = "x"\n', "is not TOML"),
    "not UTF-8": (b'name = "\xff"', "is not TOML"),
    "empty": (b"", "is missing"),
    "a nest of brackets": (b"a = " + b"[" * 5_000, "is not TOML"),
    "larger than 1 MiB": (b"#" * (FILE_LIMIT_BYTES + 1), "larger than"),
}


@pytest.mark.parametrize(("content", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_files(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in problems(write(tmp_path, content))[0][1]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in problems(tmp_path / "missing.toml")[0][1]
    (tmp_path / "folder").mkdir()
    assert "Is a directory" in problems(tmp_path / "folder")[0][1]


@pytest.mark.skipif(os.geteuid() == 0, reason="not run: root may read every file")
def test_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.chmod(0)
    assert "Permission denied" in problems(path)[0][1]


@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: (GOOD + text).encode())))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_configuration_or_problems(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = write(tmp_path_factory.getbasetemp(), content)
    try:
        load_toml(path, Sample)
    except ProblemsError as exc:
        assert exc.problems
