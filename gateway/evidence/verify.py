"""[d] Verifies a chain of evidence offline: chain hashes, batches, signatures, certificates, heads (AU-02).

Pure but for the readers it is given: segments in, a report or the first thing that is wrong out. Finds an edited,
deleted, moved, inserted or re-signed record, a missing segment, and with a head from elsewhere a chain that was cut
or rewritten since. Without a head nobody can tell a chain that was cut after a batch from one that ended there.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.records import (
    AnyRecord,
    GapRecord,
    PeerHeadRecord,
    RecoveredRecord,
    StopRecord,
    crossing_of,
    decode,
    kind_of,
)
from zonegate.gateway.evidence.recovery import StoredSegment
from zonegate.gateway.evidence.seal import (
    FIRST_ROOT,
    HINT_CHARS,
    Seal,
    Statement,
    hints_of,
    merkle_root,
    read_seal,
)
from zonegate.gateway.evidence.sealcheck import SealJudge, Trust
from zonegate.gateway.evidence.segment import (
    GENESIS,
    BrokenEvidenceError,
    Entry,
    EntryType,
    Header,
    Opened,
    entries,
    may_be_torn,
    read_header,
)

# What may leave unacknowledged bytes at the end of the segment before.
_MAY_LEAVE_BYTES = frozenset((Opened.WRITE_FAILED, Opened.RESTART, Opened.RESERVE))


class Located(NamedTuple):
    """A record and where it stands."""

    file: str
    position: int
    entry: Entry
    record: AnyRecord


@dataclass(slots=True)
class Report:
    """What a chain that verifies holds."""

    chain: str = ""
    gateway: str = ""
    signers: list[str] = field(default_factory=list)
    segments: int = 0
    records: int = 0
    batches: int = 0
    sealed: int = 0
    unsealed: int = 0
    sealed_until: datetime | None = None
    heads: int = 0
    # The newest batch that a head given confirms.
    confirmed: int = 0
    second_opinions: int = 0
    # The chain ended with a stop record.
    orderly: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def complete_to(self) -> str:
        """What is certain about the end of the chain."""
        confirmed = f"; a head confirms batch {self.confirmed}" if self.heads else ""
        return f"complete to batch {self.batches}{confirmed}; later truncation not excluded"


Visit = Callable[[Located], None]


def verify_chain(segments: Sequence[StoredSegment], trust: Trust, *, visit: Visit | None = None) -> Report:
    """Return the report of a chain that verifies; `BrokenEvidenceError` names the first thing that does not.

    `visit` is given each record as soon as its chain hash is checked, thus before the seal that covers it.
    """
    if not segments:
        raise BrokenEvidenceError("there is no segment in the directory")
    verifier = _Verifier(trust, visit)
    for place, segment in enumerate(segments):
        following = segments[place + 1] if place + 1 < len(segments) else None
        verifier.take(segment, following)
    return verifier.finish()


@dataclass(frozen=True, slots=True)
class _Pending:
    file: str
    index: int
    chain: bytes
    kind: str
    crossing: str

    def broken(self, problem: str) -> BrokenEvidenceError:
        return BrokenEvidenceError(problem, file=self.file, index=self.index, kind=self.kind, crossing=self.crossing)


class _Verifier:
    def __init__(self, trust: Trust, visit: Visit | None) -> None:
        self._trust = trust
        self._visit = visit
        self._report = Report()
        self._judge = SealJudge(trust)
        self._chain = GENESIS
        self._segment = trust.first_segment - 1
        self._index = 0
        self._unsealed: list[_Pending] = []
        self._batch = 0
        self._root = FIRST_ROOT
        # In an archive that begins later the first seal seen is where the numbering starts.
        self._partial = trust.first_segment > 1
        self._heads: dict[int, Statement] = {}
        self._head_chain = ""

    def take(self, segment: StoredSegment, following: StoredSegment | None) -> None:
        data = segment.read()
        header, entry = read_header(data, file=segment.name)
        self._check_header(segment, header)
        end, after = len(data), None
        # Where the next one is missing, that is found when the one after it is taken.
        if following is not None and following.number == segment.number + 1:
            after, _ = read_header(following.read_start(), file=following.name)
            end = min(after.previous_bytes, len(data))
        last = entry
        for found in self._intact(segment.name, data, entry, end, is_last=following is None):
            if found.type is EntryType.RECORD:
                self._take_record(segment.name, found)
            else:
                self._take_seal(segment.name, found)
            last = found
        if after is not None:
            self._check_end(segment, after, len(data))
        self._chain = last.chain
        self._report.segments += 1

    def finish(self) -> Report:
        report = self._report
        report.records = self._index - (0 if not self._partial else self._first_index)
        report.batches = self._batch
        report.second_opinions = self._judge.second_opinions
        report.unsealed = len(self._unsealed)
        if report.unsealed:
            report.notes.append(f"{report.unsealed} records at the end are not sealed yet: no signature covers them")
        if not report.orderly:
            report.notes.append("the chain does not end with a stop record: the process runs, or did not stop in order")
        missing = [statement for batch, statement in self._heads.items() if batch > self._batch]
        if missing:
            newest = max(missing, key=lambda statement: statement.batch)
            known = f"batch {newest.batch} and {newest.last + 1} records at {newest.time.isoformat()}"
            problem = f"is missing: a head knows {known}, the evidence ends with batch {self._batch} (truncated)"
            raise BrokenEvidenceError(problem, index=self._index)
        if not report.sealed:
            # Hashes alone anybody can compute: without a seal there is nothing that a root vouches for.
            raise BrokenEvidenceError("nothing is sealed: no signature covers any record", index=self._first_index)
        return report

    def _check_header(self, segment: StoredSegment, header: Header) -> None:
        wanted = self._segment + 1
        if segment.number != wanted:
            raise BrokenEvidenceError(f"segment {wanted} is missing", file=segment.name, index=self._index)
        if header.segment != wanted:
            raise BrokenEvidenceError(f"its header says segment {header.segment}", file=segment.name)
        if self._report.segments == 0:
            self._begin(header)
        elif header.chain != self._report.chain or header.gateway != self._report.gateway:
            raise BrokenEvidenceError("belongs to another chain", file=segment.name, index=self._index)
        if header.previous != self._chain.hex() or header.first_record != self._index:
            raise BrokenEvidenceError("does not continue the segment before", file=segment.name, index=self._index)
        try:
            signer = self._judge.know(header.certificates)
        except ZoneGateError as exc:
            raise BrokenEvidenceError(f"header: {exc.detail}", file=segment.name) from exc
        if signer not in self._report.signers:
            self._report.signers.append(signer)
        if len(self._report.signers) > 1:
            problem = f"is signed by {signer}, what is before it by {self._report.signers[0]}"
            raise BrokenEvidenceError(problem, file=segment.name)
        self._segment = wanted

    def _begin(self, header: Header) -> None:
        self._report.chain, self._report.gateway = header.chain, header.gateway
        if self._partial:
            self._chain = bytes.fromhex(header.previous)
            self._index = header.first_record
            self._report.notes.append(f"begins with segment {header.segment}; what is before it is not verified")
        self._first_index = self._index
        for head in self._trust.heads:
            statement = self._judge.check_head(head)
            if (statement.chain, statement.gateway) != (header.chain, header.gateway):
                problem = (
                    f"the head is of chain {statement.chain} of {statement.gateway}, the evidence is another chain"
                )
                raise BrokenEvidenceError(problem)
            known = self._heads.setdefault(statement.batch, statement)
            if known != statement:
                raise BrokenEvidenceError(f"two heads given disagree about batch {statement.batch}")
            self._report.heads += 1
            self._report.confirmed = max(self._report.confirmed, statement.batch)

    def _check_end(self, segment: StoredSegment, after: Header, size: int) -> None:
        if after.previous_bytes > size:
            problem = f"is {size} bytes, the next segment continues behind byte {after.previous_bytes} (truncated)"
            raise BrokenEvidenceError(problem, file=segment.name)
        left = size - after.previous_bytes
        if not left:
            return
        # A process that wrote its stop record wrote nothing after it.
        if self._report.orderly or after.why not in _MAY_LEAVE_BYTES:
            raise BrokenEvidenceError(f"has {left} bytes behind its end", file=segment.name)
        self._report.notes.append(f"{segment.name}: {left} bytes at the end were never acknowledged ({after.why})")

    def _intact(self, file: str, data: bytes, start: Entry, end: int, *, is_last: bool) -> Iterator[Entry]:
        try:
            yield from entries(data, start, file=file, end=end)
        except BrokenEvidenceError as exc:
            if exc.index is not None:
                raise
            if is_last and may_be_torn(data, exc.offset):
                self._report.notes.append(f"{file}: {end - exc.offset} bytes at the end are not a whole entry")
                return
            kind, crossing = _guess(data, exc.offset)
            problem = f"{exc.problem} (edited, removed or moved)"
            raise BrokenEvidenceError(
                problem, file=file, index=self._index, kind=kind, crossing=crossing, offset=exc.offset
            ) from exc

    def _take_record(self, file: str, entry: Entry) -> None:
        try:
            record = decode(entry.payload)
        except ZoneGateError as exc:
            raise BrokenEvidenceError(exc.detail, file=file, index=self._index, offset=entry.offset) from exc
        self._report.orderly = isinstance(record, StopRecord)
        self._take_note(file, record)
        self._unsealed.append(_Pending(file, self._index, entry.chain, kind_of(record), crossing_of(record)))
        if self._visit is not None:
            self._visit(Located(file, self._index, entry, record))
        self._index += 1

    def _take_note(self, file: str, record: AnyRecord) -> None:
        match record:
            case GapRecord(lost=lost, why=why, first=first, last=last):
                span = f"{first.isoformat()} to {last.isoformat()}"
                note = f"gap at record {self._index} ({file}): {lost} records lost, {why}, {span}"
            case RecoveredRecord(without_outcome=open_crossings, unsealed=unsealed):
                found = f"{open_crossings} crossings without known outcome, {unsealed} records sealed after the restart"
                note = f"recovered at record {self._index} ({file}): {found}"
            case PeerHeadRecord(conflict="fork" | "older" as conflict, gateway=gateway):
                note = f"head of {gateway} at record {self._index} ({file}) contradicts an earlier one ({conflict})"
            case _:
                return
        self._report.notes.append(note)

    def _take_seal(self, file: str, entry: Entry) -> None:
        try:
            seal, statement = read_seal(entry.payload)
        except ZoneGateError as exc:
            raise BrokenEvidenceError(exc.detail, file=file, index=self._index, kind="seal") from exc
        if self._partial and self._batch == 0:
            self._adopt(statement)
        self._check_batch(file, seal, statement)
        try:
            notes = self._judge.check(seal, statement)
        except ZoneGateError as exc:
            raise self._unsealed[0].broken(f"seal of batch {statement.batch}: {exc}") from exc
        self._report.notes += [note for note in notes if note not in self._report.notes]
        known = self._heads.get(statement.batch)
        if known is not None and known != statement:
            problem = f"batch {statement.batch} is not the one that the head given confirms (rewritten)"
            raise self._unsealed[0].broken(problem)
        before = self._report.sealed_until
        if before is not None and statement.time < before:
            back = f"{statement.time.isoformat()}, before {before.isoformat()}"
            self._report.notes.append(f"the clock ran back at batch {statement.batch} ({file}): {back}")
        self._report.sealed += statement.last - statement.first + 1
        del self._unsealed[: statement.last - statement.first + 1]
        self._batch, self._root = statement.batch, statement.root
        self._report.sealed_until = statement.time

    def _adopt(self, statement: Statement) -> None:
        """Begin in the middle: the first seal tells batch and root, and which records it does not cover here."""
        self._batch, self._root = statement.batch - 1, statement.previous_root
        if statement.first < self._first_index and statement.last >= self._first_index:
            raise BrokenEvidenceError("the first batch begins in a segment that is not here: begin one segment earlier")

    def _check_batch(self, file: str, seal: Seal, statement: Statement) -> None:
        expected = self._unsealed[0].index if self._unsealed else self._index
        claims = {
            "chain": (statement.chain, self._report.chain),
            "gateway": (statement.gateway, self._report.gateway),
            "batch": (statement.batch, self._batch + 1),
            "first record": (statement.first, expected),
            "previous root": (statement.previous_root, self._root),
        }
        for name, (found, wanted) in claims.items():
            if found != wanted:
                problem = f"seal of batch {statement.batch}: {name} is {found}, expected is {wanted}"
                raise BrokenEvidenceError(problem, file=file, index=expected, kind="seal")
        batch = self._unsealed[: statement.last - statement.first + 1]
        chains = [pending.chain for pending in batch]
        whole = statement.last < self._index
        if whole and merkle_root(chains).hex() == statement.root and chains[-1].hex() == statement.chain_hash:
            return
        among = f"records {statement.first} to {statement.last}"
        problem = f"is not what batch {statement.batch} sealed: of {among} one was edited, removed or moved"
        place = _first_difference(hints_of(chains), seal.hints)
        if place is None and not whole:
            problem = f"is missing: batch {statement.batch} sealed {among}, there are {self._index}"
            raise BrokenEvidenceError(problem, file=file, index=self._index)
        raise batch[place or 0].broken(problem)


def _first_difference(found: str, wanted: str) -> int | None:
    """Return the place of the first record whose hint differs, None where the hints do not tell."""
    for at in range(0, len(found), HINT_CHARS):
        if found[at : at + HINT_CHARS] != wanted[at : at + HINT_CHARS]:
            return at // HINT_CHARS
    return None


def _guess(data: bytes, offset: int) -> tuple[str, str]:
    """Return kind and crossing of the entry at `offset` as far as they can still be read, for the message only."""
    length = int.from_bytes(data[offset : offset + 4], "big")
    try:
        fields = json.loads(data[offset + 5 : offset + 5 + length])
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(fields, dict):
        return "", ""
    kind, crossing = fields.get("kind", ""), fields.get("crossing", "")
    return (kind, crossing) if isinstance(kind, str) and isinstance(crossing, str) else ("", "")
