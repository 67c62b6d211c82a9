"""[d] Decides from the segments on disk where a chain goes on after a process ended, in whatever way.

Pure but for the reader it is given. Only a torn last write is dropped; what is complete but unsealed is kept; damage
anywhere else is `E_EVIDENCE_BROKEN` and the gateway does not start on such a directory: it must be moved away and
kept for the auditor, then a new chain begins. Signatures and old segments are the offline verifier's work (`verify`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zonegate.gateway.evidence.records import (
    DecisionRecord,
    OpenRecord,
    OutcomeRecord,
    PeerHeadRecord,
    StopRecord,
    decode,
)
from zonegate.gateway.evidence.seal import FIRST_ROOT, Statement, read_seal
from zonegate.gateway.evidence.segment import (
    BrokenEvidenceError,
    Entry,
    EntryType,
    Header,
    entries,
    may_be_torn,
    read_header,
)


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """One segment as the directory lists it. Only the newest are read whole."""

    number: int
    name: str
    read: Callable[[], bytes]
    # The beginning, long enough for the header; and the 32 bytes that end at an offset.
    read_start: Callable[[], bytes]
    read_hash: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the chain goes on."""

    chain_id: str
    gateway: str
    segment: int
    segment_bytes: int
    chain: bytes
    records: int
    batch: int
    root: str
    unsealed: tuple[bytes, ...]
    open_crossings: tuple[str, ...]
    dropped_bytes: int
    orderly: bool
    # The newest head of each peer chain in the last segment, base64.
    peer_heads: tuple[str, ...]
    # The certificate whose seals the last segment has.
    signer: bytes


def recover(segments: Sequence[StoredSegment]) -> Recovered:
    """Return where the chain of `segments` (in order, at least one) goes on."""
    headers = [read_header(segment.read_start(), file=segment.name)[0] for segment in segments]
    _check_links(segments, headers)
    last = segments[-1]
    data = last.read()
    header, first = read_header(data, file=last.name)
    good, end = _intact(data, first, last.name)
    left = _left_behind(good)
    tail = [(header, good)]
    seal = _last_seal(good)
    for place in range(len(segments) - 2, -1, -1):
        # Records may be sealed in a later segment than their own: go back to where the last seal ends.
        if seal is not None and seal.last + 1 >= tail[0][0].first_record:
            break
        earlier = segments[place].read()
        begun, entry = read_header(earlier, file=segments[place].name)
        stored = list(entries(earlier, entry, file=segments[place].name, end=headers[place + 1].previous_bytes))
        tail.insert(0, (begun, stored))
        seal = seal or _last_seal(stored)
    if seal is None and tail[0][0].segment != 1:
        raise BrokenEvidenceError("no seal is left to go on from", file=segments[0].name)
    unsealed, records = _unsealed(tail, seal)
    return Recovered(
        chain_id=header.chain,
        gateway=header.gateway,
        segment=header.segment,
        segment_bytes=end,
        chain=good[-1].chain if good else first.chain,
        records=records,
        batch=seal.batch if seal else 0,
        root=seal.root if seal else FIRST_ROOT,
        unsealed=unsealed,
        open_crossings=tuple(left.crossings),
        dropped_bytes=len(data) - end,
        orderly=left.orderly,
        peer_heads=tuple(left.heads.values()),
        signer=header.certificates[0],
    )


def _check_links(segments: Sequence[StoredSegment], headers: Sequence[Header]) -> None:
    for place, (segment, header) in enumerate(zip(segments, headers, strict=True)):
        if header.segment != segment.number:
            raise BrokenEvidenceError(f"its header says segment {header.segment}", file=segment.name)
        if place == 0:
            continue
        before = headers[place - 1]
        if header.segment != before.segment + 1:
            raise BrokenEvidenceError(f"segment {before.segment + 1} is missing", file=segment.name)
        if header.chain != before.chain or header.gateway != before.gateway:
            raise BrokenEvidenceError("belongs to another chain than the segment before", file=segment.name)
        if segments[place - 1].read_hash(header.previous_bytes).hex() != header.previous:
            raise BrokenEvidenceError("does not continue the segment before", file=segment.name)


def _intact(data: bytes, first: Entry, name: str) -> tuple[list[Entry], int]:
    """Return the entries behind the header up to a torn write, and where they end."""
    good: list[Entry] = []
    try:
        for entry in entries(data, first, file=name):
            good.append(entry)  # noqa: PERF402 - what was read before the error is needed
    except BrokenEvidenceError as exc:
        if not may_be_torn(data, exc.offset):
            raise
    return good, good[-1].end if good else first.end


@dataclass(slots=True)
class _Left:
    """What the last segment says of the process that wrote it."""

    crossings: dict[str, None] = field(default_factory=dict)
    heads: dict[tuple[str, str], str] = field(default_factory=dict)
    orderly: bool = False


def _left_behind(good: Sequence[Entry]) -> _Left:
    left = _Left()
    crossings = left.crossings
    for entry in good:
        if entry.type is not EntryType.RECORD:
            continue
        record = decode(entry.payload)
        left.orderly = isinstance(record, StopRecord)
        if isinstance(record, DecisionRecord) and record.verdict.allowed:
            crossings[record.crossing] = None
        elif isinstance(record, OutcomeRecord):
            crossings.pop(record.crossing, None)
        elif isinstance(record, OpenRecord):
            crossings.update(dict.fromkeys(record.crossings))
        elif isinstance(record, PeerHeadRecord) and not record.conflict:
            left.heads[record.gateway, record.chain] = record.head
    return left


def _last_seal(stored: Sequence[Entry]) -> Statement | None:
    for entry in reversed(stored):
        if entry.type is EntryType.SEAL:
            return read_seal(entry.payload)[1]
    return None


def _unsealed(tail: Sequence[tuple[Header, Sequence[Entry]]], seal: Statement | None) -> tuple[tuple[bytes, ...], int]:
    """Return the chain hashes of the records that no seal covers, and the number of records in all."""
    begin = index = tail[0][0].first_record
    hashes: list[bytes] = []
    for header, stored in tail:
        if header.first_record != index:
            problem = f"its header counts {header.first_record} records before it, there are {index}"
            raise BrokenEvidenceError(problem, file=f"segment {header.segment}")
        found = [entry.chain for entry in stored if entry.type is EntryType.RECORD]
        hashes += found
        index += len(found)
    sealed = 0 if seal is None else seal.last + 1 - begin
    if not 0 <= sealed <= len(hashes):
        raise BrokenEvidenceError(f"the last seal covers {sealed + begin} records, there are {index}")
    return tuple(hashes[sealed:]), index
