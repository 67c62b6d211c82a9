"""Reads one strict TOML file into a pydantic model, or reports everything that is wrong with it at once.

Unknown keys, wrong types and values out of range are errors that name the field, what was found and what is allowed.
Secrets are paths, never values; a path is resolved against the folder of the file.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, ValidationInfo

from zonegate.errors import Problem, ProblemsError
from zonegate.reasons import Reason

FILE_LIMIT_BYTES = 1 << 20


class StrictModel(BaseModel):
    """Base of every configuration and document model: closed, typed, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def _resolve(value: object, info: ValidationInfo) -> object:
    return Path((info.context or {}).get("base", Path()), value) if isinstance(value, str) else value


# A path in a configuration file, resolved against the file's folder.
ConfigPath = Annotated[Path, BeforeValidator(_resolve)]


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen or connect: a host and port, or the path of a Unix socket."""

    host: str
    port: int
    path: Path | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.path is None else f"unix:{self.path}"


_HOST_PORT = re.compile(r"(?:\[(?P<six>[0-9a-fA-F:.]+)\]|(?P<host>[A-Za-z0-9.-]{1,253})):(?P<port>[0-9]{1,5})")


def _read_address(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if value.startswith("unix:") and len(value) > len("unix:"):
        return Address("", 0, Path((info.context or {}).get("base", Path()), value[len("unix:") :]))
    match = _HOST_PORT.fullmatch(value)
    if match is None or int(match["port"]) > 65535:
        msg = "is not host:port with a port of 0 to 65535, nor unix:PATH"
        raise ValueError(msg)
    return Address(match["six"] or match["host"], int(match["port"]))


# `host:port`, `[v6]:port` or `unix:PATH`.
ConfigAddress = Annotated[Address, BeforeValidator(_read_address)]

Model = TypeVar("Model", bound=StrictModel)


def problems_of(error: ValidationError, file: str) -> tuple[Problem, ...]:
    """Translate pydantic's errors; the value found is quoted only when it is short and plain."""
    return tuple(
        Problem(file, None, ".".join(str(part) for part in item["loc"]), _message(item)) for item in error.errors()
    )


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "is not a known key"
    if item["type"] == "missing":
        return "is missing"
    found = item["input"]
    text = item["msg"].removeprefix("Value error, ")
    if isinstance(found, (str, int, float, bool)) and len(repr(found)) <= 80:
        return f"{text}; found {found!r}"
    return str(text)


def load_toml(path: Path, model: type[Model]) -> Model:
    """Return the validated model of the file at `path`; `ProblemsError(E_CONFIG)` lists every problem."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ProblemsError(Reason.E_CONFIG, [Problem(path.name, None, "", f"cannot be read: {exc.strerror}")]) from exc
    if len(raw) > FILE_LIMIT_BYTES:
        problem = Problem(path.name, None, "", f"is larger than {FILE_LIMIT_BYTES} bytes")
        raise ProblemsError(Reason.E_CONFIG, [problem])
    try:
        document = tomllib.loads(raw.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as exc:
        raise ProblemsError(Reason.E_CONFIG, [Problem(path.name, None, "", f"is not TOML: {exc}")]) from exc
    try:
        return model.model_validate(document, context={"base": path.parent})
    except ValidationError as exc:
        raise ProblemsError(Reason.E_CONFIG, problems_of(exc, path.name)) from exc
