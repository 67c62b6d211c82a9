"""[d] What evidence says: one struct a kind of record, encoded as JSON (docs/evidence.md documents every field).

No payload and no full personal number enters a record (AU-06): free text is masked and bounded when the struct is
made, so no record object with an unmasked number exists. Chaining, sealing and files are `segment`, `seal`, `log`.
"""

import re
from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.masking import is_plain, masked
from zonegate.reasons import Reason

TEXT_LIMIT = 128
PATH_LIMIT = 256
DETAIL_LIMIT = 256
OPEN_CHUNK = 1000
_TRACE = re.compile(r"[0-9a-f]{32}")

Instant = Annotated[datetime, Meta(tz=True)]
Count = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(max_length=256)]
Id = Annotated[str, Meta(max_length=128)]


class Hop(StrEnum):
    """Which side of the crossing wrote the record."""

    INGRESS = "ingress"
    EGRESS = "egress"
    SINGLE = "single"
    EXPORT = "export"
    IMPORT = "import"


class Executed(StrEnum):
    """Whether the provider has executed the call."""

    NO = "no"
    YES = "yes"
    UNKNOWN = "unknown"


class DeclaredBy(StrEnum):
    """Who supplied resource, purpose and label: the system, or its connector's route."""

    SYSTEM = "system"
    CONNECTOR = "connector"


class Counted(StrEnum):
    """What a counted record counts."""

    HANDSHAKE = "handshake"
    ADMISSION = "admission"
    REFUSAL = "refusal"


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """A part of a record; made once for a connection or a cached decision and shared by many records."""


class Caller(_Part, frozen=True):
    """Who calls, and through which previous hop."""

    uri: Name
    organ: Name = ""
    certificate: Name = ""
    serial: Name = ""
    ticket: Name = ""
    peer: Name = ""
    operator: str = ""

    def __post_init__(self) -> None:
        _mask(self, "operator", TEXT_LIMIT)


class Flow(_Part, frozen=True):
    """One flow as it was decided."""

    decision: Name
    reason: Reason
    source: Name = ""
    target: Name = ""
    level: Annotated[int, Meta(ge=0, le=5)] | None = None
    categories: tuple[str, ...] = ()
    label_source: Name = ""

    def __post_init__(self) -> None:
        # A caller writes categories too, in its label.
        if self.categories and not all(map(is_plain, self.categories)):
            force_setattr(self, "categories", tuple(masked(text, TEXT_LIMIT) for text in self.categories))


class Verdict(_Part, frozen=True):
    """What was decided for caller, resource and method; the part that a cached decision shares."""

    allowed: bool
    reason: Reason
    request: Flow
    response: Flow | None = None
    step: Name = ""
    provider: Name = ""
    organ: Name = ""
    resource: Name = ""
    path: str = ""
    flow_rule: Name = ""
    grant: Name = ""

    def __post_init__(self) -> None:
        _mask(self, "path", PATH_LIMIT)


class Basis(_Part, frozen=True):
    """What the decision rested on: the policy bundle and the revocation status in force."""

    policy: Name
    digest: Name
    status_epoch: Count = 0
    crl: Count = 0


class Record(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    forbid_unknown_fields=True,
    tag_field="kind",
    gc=False,
):
    """Base of every kind; `kind` is the tag in the JSON object."""

    # A record that must reach the disk even after a failed write: it is carried over, not lost.
    carried: ClassVar[bool] = False

    time: Instant


class DecisionRecord(Record, frozen=True, tag="decision"):
    """One crossing decided at one hop, allowed or refused; durable before anything is forwarded."""

    crossing: Id
    hop: Hop
    caller: Caller
    verdict: Verdict
    basis: Basis
    purpose: str = ""
    case: str = ""
    label: str = ""
    declared_by: DeclaredBy = DeclaredBy.SYSTEM
    trace: str = ""
    idempotency: str = ""
    detail: str = ""

    def __post_init__(self) -> None:
        # A W3C trace id is 32 lower-case hex digits and may by chance look like a card number; anything else is text.
        trace = "" if _TRACE.fullmatch(self.trace) else self.trace
        # One look at everything together is what keeps this off the hot path's bill.
        text = f"{self.purpose}|{self.case}|{self.label}|{self.idempotency}|{trace}|{self.detail}"
        if len(text) <= TEXT_LIMIT and is_plain(text):
            return
        _mask(self, "purpose", TEXT_LIMIT)
        _mask(self, "case", TEXT_LIMIT)
        _mask(self, "label", TEXT_LIMIT)
        _mask(self, "idempotency", TEXT_LIMIT)
        _mask(self, "detail", DETAIL_LIMIT)
        if trace:
            _mask(self, "trace", TEXT_LIMIT)


class OutcomeRecord(Record, frozen=True, tag="outcome"):
    """How an allowed crossing ended. `recovered` marks one written after a crash: the true end is not known."""

    carried: ClassVar[bool] = True

    crossing: Id
    grpc: Annotated[int, Meta(ge=0, le=16)]
    reason: Reason
    executed: Executed
    request_bytes: Count = 0
    request_messages: Count = 0
    response_bytes: Count = 0
    response_messages: Count = 0
    request_digest: Name = ""
    response_digest: Name = ""
    duration_us: Count = 0
    recovered: bool = False


class ResponseRecord(Record, frozen=True, tag="response"):
    """The response flow decided anew because the provider or the inspection raised its label."""

    crossing: Id
    allowed: bool
    reason: Reason
    flow: Flow
    label: str = ""

    def __post_init__(self) -> None:
        _mask(self, "label", TEXT_LIMIT)


class CountedRecord(Record, frozen=True, tag="counted"):
    """Refusals that are too many or too early for a record each: before admission, or identical ones in a flood."""

    carried: ClassVar[bool] = True

    what: Counted
    reason: Reason
    count: Annotated[int, Meta(ge=1)]
    first: Instant
    last: Instant
    source_class: Name = ""
    caller: Name = ""
    path: str = ""
    decision: Name = ""
    source: Name = ""
    target: Name = ""
    first_crossing: Id = ""
    last_crossing: Id = ""

    def __post_init__(self) -> None:
        _mask(self, "path", PATH_LIMIT)


class GapRecord(Record, frozen=True, tag="gap"):
    """Records that could not be written: how many, why, between which instants."""

    carried: ClassVar[bool] = True

    lost: Annotated[int, Meta(ge=1)]
    why: Name
    first: Instant
    last: Instant


class ReceiptRecord(Record, frozen=True, tag="receipt"):
    """The sender's side of a transport between the nets: an object accepted and handed to the carrier."""

    crossing: Id
    object: Id
    digest: Name
    sender: Name
    importer: Name
    resource: Name = ""
    path: str = ""
    bytes: Count = 0
    file: Name = ""

    def __post_init__(self) -> None:
        _mask(self, "path", PATH_LIMIT)


class ImportRecord(Record, frozen=True, tag="import"):
    """The receiver's side of a transport between the nets: a transport file verified, refused or delivered."""

    object: Id
    allowed: bool
    reason: Reason
    crossing: Id = ""
    digest: Name = ""
    sender: Name = ""
    origin: Name = ""
    resource: Name = ""
    path: str = ""
    bytes: Count = 0
    file: Name = ""
    step: Name = ""
    response_digest: Name = ""
    response_bytes: Count = 0
    detail: str = ""

    def __post_init__(self) -> None:
        _mask(self, "path", PATH_LIMIT)
        _mask(self, "detail", DETAIL_LIMIT)


class PolicyRecord(Record, frozen=True, tag="policy"):
    """A policy bundle taken into force, or refused."""

    allowed: bool
    reason: Reason
    version: Name = ""
    digest: Name = ""
    detail: str = ""

    def __post_init__(self) -> None:
        _mask(self, "detail", DETAIL_LIMIT)


class StartRecord(Record, frozen=True, tag="start"):
    """A process life begins; counters start at zero here."""

    life: Id
    software: Name
    gateway: Name
    policy: Name = ""
    digest: Name = ""


class StopRecord(Record, frozen=True, tag="stop"):
    """The process life ended in an orderly way."""

    carried: ClassVar[bool] = True

    life: Id
    records: Count = 0


class RecoveredRecord(Record, frozen=True, tag="recovered"):
    """What a start found after a process that did not stop in an orderly way."""

    dropped_bytes: Count
    unsealed: Count
    without_outcome: Count


class OpenRecord(Record, frozen=True, tag="open"):
    """Crossings without outcome when a segment begins, so that recovery need not read the segments before it."""

    crossings: Annotated[tuple[Id, ...], Meta(max_length=OPEN_CHUNK)]


class PeerHeadRecord(Record, frozen=True, tag="peer-head"):
    """A peer gateway's signed head, kept as its witness. `conflict` says how it contradicts an earlier one."""

    chain: Id
    gateway: Name
    batch: Count
    records: Count
    root: Name
    head: Annotated[str, Meta(max_length=32768)]
    conflict: Literal["", "fork", "older"] = ""


AnyRecord: TypeAlias = (
    DecisionRecord
    | OutcomeRecord
    | ResponseRecord
    | CountedRecord
    | GapRecord
    | ReceiptRecord
    | ImportRecord
    | PolicyRecord
    | StartRecord
    | StopRecord
    | RecoveredRecord
    | OpenRecord
    | PeerHeadRecord
)

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyRecord] = msgspec.json.Decoder(AnyRecord)

# Bound once: the encoder's method is the hot path of every crossing.
encode = _encoder.encode


def decode(payload: bytes) -> AnyRecord:
    """Return the record in `payload`; `ZoneGateError(E_EVIDENCE_BROKEN)` says which field is wrong."""
    try:
        return _decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"record: {str(exc)[:200]}") from exc


def kind_of(record: AnyRecord) -> str:
    """Return the tag of the record's kind."""
    return str(record.__struct_config__.tag)


def crossing_of(record: AnyRecord) -> str:
    """Return the crossing that the record is about, or an empty string."""
    return getattr(record, "crossing", "")


def _mask(struct: msgspec.Struct, field: str, limit: int) -> None:
    text = getattr(struct, field)
    if len(text) > limit or not is_plain(text):
        force_setattr(struct, field, masked(text, limit))
