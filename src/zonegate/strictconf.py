"""Reads one strict TOML file into a pydantic model, or reports everything that is wrong with it at once.

Unknown keys, wrong types and values out of range are errors that name the field, what was found and what is allowed.
Secrets are paths, never values; a path is resolved against the folder of the file.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, ValidationInfo

from zonegate.errors import Problem, ProblemsError
from zonegate.reasons import Reason

FILE_LIMIT_BYTES = 1 << 20


class StrictModel(BaseModel):
    """Base of every configuration and document model: closed, typed, immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True)


def _resolve(path: str, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base", Path())
    return Path(base, path)


# A path in a configuration file: a string there, a `Path` below the file's folder here.
ConfigPath = Annotated[str, AfterValidator(_resolve)]

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
