"""The one error type that crosses a component's border.

An error carries a reason of `zonegate.reasons` and a sentence that names the field, what was found and what is
allowed. The sentence may be shown to the peer: key material, paths and other zones' data never go into it.
Inside a module `ValueError` and `TypeError` serve; they become a `ZoneGateError` where they leave it.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from zonegate.reasons import Reason


class ZoneGateError(Exception):
    """A refusal or a failure with its reason code; `str()` is ``CODE: detail``."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a document or a configuration file."""

    file: str
    line: int | None
    field: str
    message: str

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.field}: {self.message}" if self.field else f"{where}: {self.message}"


class ProblemsError(ZoneGateError):
    """Everything that is wrong with one input, reported at once."""

    def __init__(self, reason: Reason, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(reason, "\n".join(str(problem) for problem in self.problems))
