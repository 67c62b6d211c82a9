"""[d] Collects what is wrong between documents, so that all of it is reported at once with file and line."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from zonegate.errors import Problem, ProblemsError
from zonegate.policies.documents import PROBLEMS_MAX, AnyDocument, Located, Reading
from zonegate.reasons import Reason

D = TypeVar("D", bound=AnyDocument)
C = TypeVar("C")


@dataclass(slots=True)
class Findings:
    """The documents read and the problems found so far. A problem may have a reason of its own, as MA-04 has."""

    reading: Reading
    problems: list[Problem] = field(init=False)
    reasons: set[Reason] = field(init=False)
    _known: set[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.problems = list(self.reading.problems)
        self.reasons = {Reason.E_DOCUMENT} if self.problems else set()
        # A broken document is known by its name: references to it are not its authors' second fault.
        self._known = {(located.document.kind, located.id) for located in self.reading.documents}
        self._known |= self.reading.broken

    def add(self, located: Located, message: str, *path: str | int, reason: Reason = Reason.E_DOCUMENT) -> None:
        """Note a problem of a document at one of its parts."""
        self.problems.append(located.problem(message, *path))
        self.reasons.add(reason)

    def add_general(self, file: str, name: str, message: str) -> None:
        """Note a problem that no line of a document shows."""
        self.problems.append(Problem(file, None, name, message))
        self.reasons.add(Reason.E_DOCUMENT)

    def refer(self, located: Located, kind: str, name: str, *path: str | int) -> None:
        """Note a dangling reference if no document of `kind` is called `name`."""
        if (kind, name) not in self._known:
            self.add(located, f"no {kind} document is called {name!r}", *path)

    def broken(self, kind: str) -> bool:
        """Say whether some document of `kind` could not be read."""
        return any(found == kind for found, _ in self.reading.broken)

    def documents(self, model: type[D]) -> Iterator[tuple[D, Located]]:
        """Yield the documents of one kind."""
        for located in self.reading.documents:
            if isinstance(located.document, model):
                yield located.document, located

    def compile_each(self, model: type[D], compile_one: Callable[[D, Located], C | None]) -> dict[str, C]:
        """Compile every document of a kind; the second of two with one name is a problem."""
        first: dict[str, Located] = {}
        found: dict[str, C] = {}
        for document, located in self.documents(model):
            before = first.setdefault(located.id, located)
            if before is not located:
                where = f"{before.text.file}:{before.text.line}"
                self.add(located, f"{located.id!r} stands twice, first in {where}", document.id_field)
                continue
            compiled = compile_one(document, located)
            if compiled is not None:
                found[located.id] = compiled
        return found

    def raise_if_any(self) -> None:
        """Raise every problem found, by file and line; at most `PROBLEMS_MAX` are spelled out."""
        if not self.problems:
            return
        ordered = sorted(self.problems, key=lambda problem: (problem.file, problem.line or 0))
        shown = ordered[:PROBLEMS_MAX]
        if len(ordered) > len(shown):
            shown.append(Problem(ordered[-1].file, None, "", f"and {len(ordered) - len(shown)} more problems"))
        only_kind = self.reasons == {Reason.E_LABEL_KIND}
        raise ProblemsError(Reason.E_LABEL_KIND if only_kind else Reason.E_DOCUMENT, shown)
