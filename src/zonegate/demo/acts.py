"""[d] The acts as `acts.yaml` has them: what is done, what is expected, and whether what was got is that. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError

from zonegate.errors import Problem, ProblemsError
from zonegate.reasons import Reason
from zonegate.strictconf import StrictModel, problems_of

# The status of an act in which no client takes part.
NO_CLIENT = "-"
Value = str | int | bool
Words = Annotated[str, Field(min_length=1, max_length=400)]


class Verb(StrEnum):
    """What an act does; `acting` and `auditing` carry them out."""

    CALL = "call"
    SEND = "send"
    CARRY_AGAIN = "carry again"
    KNOCK = "knock"
    REVOKE = "revoke"
    BREAK_DISK = "break disk"
    OFFER_POLICY = "offer policy"
    TAMPER = "tamper"
    TRUNCATE = "truncate"
    COUNT = "count"
    SEARCH = "search"

    @property
    def audits(self) -> bool:
        """Whether it looks at what all the others have left, after everything has stopped."""
        return self in {Verb.TAMPER, Verb.TRUNCATE, Verb.COUNT, Verb.SEARCH}


class ExpectedRecord(StrictModel):
    """Records that verified evidence must hold: so many at that gateway with these values."""

    at: Words
    times: Annotated[int, Field(ge=1)] = 1
    # More are allowed: for what others may repeat on their own.
    or_more: bool = False
    has: Annotated[dict[str, Value], Field(min_length=1)]


class Expected(StrictModel):
    """What must come of an act."""

    status: Words
    reason: Words
    facts: Annotated[dict[str, Value], Field(default_factory=dict)]
    evidence: Annotated[list[ExpectedRecord], Field(default_factory=list)]


class Act(StrictModel):
    """One act. Which of the middle fields it has depends on the verb."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,32}$")]
    en: Words
    zh: Words
    do: Verb
    by: str = ""
    at: str = ""
    path: str = ""
    message: Annotated[dict[str, Any], Field(default_factory=dict)]
    # Bytes in hex that follow the message: fields that its proto does not know.
    extra: Annotated[str, Field(pattern=r"^([0-9a-f]{2})*$", max_length=64)] = ""
    metadata: Annotated[dict[str, str], Field(default_factory=dict)]
    times: Annotated[int, Field(ge=1, le=100)] = 1
    stranger: str = ""
    suites: str = "sm"
    version: int = 0
    officers: int = 2
    within_seconds: float = 0.0
    expect: Expected

    @property
    def title(self) -> str:
        """Both languages."""
        return f"{self.en} {self.zh}"


class _Acts(StrictModel):
    acts: Annotated[list[Act], Field(min_length=1)]


def read_acts(name: str, content: bytes) -> tuple[Act, ...]:
    """Return the acts in `content`; `ProblemsError(E_CONFIG)` lists everything that is wrong with it."""
    try:
        document = yaml.safe_load(content.decode())
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as exc:
        problem = Problem(name, None, "", f"is not YAML: {' '.join(str(exc).split())[:200]}")
        raise ProblemsError(Reason.E_CONFIG, [problem]) from exc
    # Verbs are written as text; everything else has just its YAML type.
    try:
        acts = _Acts.model_validate(_with_verbs(document)).acts
    except ValidationError as exc:
        raise ProblemsError(Reason.E_CONFIG, problems_of(exc, name)) from exc
    ids = [act.id for act in acts]
    twice = sorted({identifier for identifier in ids if ids.count(identifier) > 1})
    if twice:
        problems = [Problem(name, None, "id", f"{identifier} stands twice") for identifier in twice]
        raise ProblemsError(Reason.E_CONFIG, problems)
    return tuple(acts)


def _with_verbs(document: object) -> object:
    if not isinstance(document, dict) or not isinstance(document.get("acts"), list):
        return document
    verbs = {verb.value: verb for verb in Verb}
    acts = [
        {**act, "do": verbs.get(act["do"], act["do"])}
        if isinstance(act, dict) and isinstance(act.get("do"), str)
        else act
        for act in document["acts"]
    ]
    return {**document, "acts": acts}


@dataclass(frozen=True, slots=True)
class Found:
    """A record of verified evidence as an act sees it."""

    at: str
    place: str
    values: Mapping[str, Value]

    @property
    def text(self) -> str:
        """What it says, for a person; its place is beside it."""
        words = [
            str(self.values[name]) for name in ("kind", "decision", "what", "version", "reason") if name in self.values
        ]
        return f"{self.at} {' '.join(words)}"


@dataclass(frozen=True, slots=True)
class Got:
    """What came of an act: the client's status, the reason it saw (empty: nobody told a client), further facts."""

    status: str
    reason: str = ""
    facts: Mapping[str, Value] = field(default_factory=dict)
    crossings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """An act beside what came of it."""

    act: Act
    got: Got
    reason: str
    evidence: tuple[Found, ...]
    surprises: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing was a surprise."""
        return not self.surprises


def judge(act: Act, got: Got, found: Sequence[Found]) -> Result:
    """Compare what was expected with what was got; `found` are the records of verified evidence about this act."""
    surprises = []
    if got.status != act.expect.status:
        surprises.append(f"status: {got.status}")
    for name, value in act.expect.facts.items():
        if got.facts.get(name) != value:
            surprises.append(f"{name}: {got.facts.get(name)}, not {value}")
    shown: list[Found] = []
    for expected in act.expect.evidence:
        matching = [record for record in found if record.at == expected.at and _has(record.values, expected.has)]
        shown += matching
        number = sum(_weight(record) for record in matching)
        if number < expected.times or (number > expected.times and not expected.or_more):
            surprises.append(f"evidence of {expected.at}: {number} × {expected.has}, not {expected.times}")
    # Where no client was told a reason, the evidence tells it.
    reason = got.reason or next((str(record.values["reason"]) for record in shown if "reason" in record.values), "")
    if reason != act.expect.reason:
        surprises.append(f"reason: {reason}")
    return Result(act, got, reason, tuple(shown), tuple(surprises))


def _has(values: Mapping[str, Value], wanted: Mapping[str, Value]) -> bool:
    return all(
        str(value) in str(values.get(name, "")) if name == "detail" else values.get(name) == value
        for name, value in wanted.items()
    )


def _weight(record: Found) -> int:
    """How many events a record stands for: a counted record is one for many."""
    count = record.values.get("count", 1)
    return count if isinstance(count, int) else 1
