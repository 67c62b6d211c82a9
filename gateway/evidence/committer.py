"""[a] The committing thread: writes what is queued, group after group, and tells when a group is durable or failed.

It starts at once when idle; what arrives during a write forms the next group. After a failed write the segment is
given up, never written again (a failed fsync leaves no one knowing what is on the disk), and the next group tries a
new one: so it heals by itself. What must not be lost (outcomes, seals, counted and gap records) is carried over, and
goes into the preallocated reserve where the disk is full; what is lost is counted in a gap record.
Which calls are refused because of it is decided by whoever gave the callbacks.
"""

import errno
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from zonegate import __version__
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.files import EvidenceDirectory, SegmentFile
from zonegate.gateway.evidence.records import OPEN_CHUNK, GapRecord, OpenRecord, encode
from zonegate.gateway.evidence.seal import SignedHead, encode_seal
from zonegate.gateway.evidence.sealer import Sealed, Sealer, Signer
from zonegate.gateway.evidence.segment import FORMAT, MAGIC, EntryType, Framer, Header, Opened, encode_header
from zonegate.gateway.evidence.stats import EvidenceStats
from zonegate.reasons import Reason

OnDurable = Callable[[ZoneGateError | None], None]
_GROUP_RECORDS = 4096
_GROUP_BYTES = 4 << 20


class Role(IntEnum):
    """What an entry means for the crossings that are open, and whether it may be lost."""

    PLAIN = 0
    OPENS = 1
    CLOSES = 2
    CARRIED = 3


@dataclass(slots=True, eq=False)
class Pending:
    """An entry on its way to the disk."""

    payload: bytes
    on_durable: OnDurable | None = None
    role: Role = Role.PLAIN
    crossing: str = ""
    sealed: Sealed | None = None


@dataclass(slots=True)
class Position:
    """Where the chain stands on the disk."""

    chain_id: str
    gateway: str
    segment: int
    segment_bytes: int
    chain: bytes
    records: int
    # How many of the records are covered by a durable seal.
    sealed: int


Deliver = Callable[[list[Pending], ZoneGateError | None], None]


class Committer:
    """Owns the chain: after `start` nobody else touches directory, position or open crossings."""

    def __init__(
        self,
        *,
        directory: EvidenceDirectory,
        position: Position,
        sealer: Sealer,
        clock: Clock,
        stats: EvidenceStats,
        segment_bytes: int,
        carried_records: int,
        deliver: Deliver,
    ) -> None:
        self._directory = directory
        self._at = position
        self._sealer = sealer
        self._clock = clock
        self._stats = stats
        self._segment_bytes = segment_bytes
        self._carried_records = carried_records
        self._deliver = deliver
        self._queue: deque[Pending] = deque()
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._signalled = False
        self._stopping = False
        self._segment: SegmentFile | None = None
        self._open: dict[str, None] = {}
        self._in_flight: list[Pending] = []
        self._carried: list[Pending] = []
        self._lost = 0
        self._lost_why = ""
        self._lost_first: datetime | None = None
        self._lost_last: datetime | None = None
        self._next_signer: Signer | None = None
        self._thread: threading.Thread | None = None
        self.head: SignedHead | None = None
        self.running = False

    def begin(self, why: Opened, entries: Sequence[Pending]) -> None:
        """Open this process life's first segment with `entries`, before any thread runs; `OSError` if it cannot be."""
        self._create(why, entries)
        self._note_done(entries)

    def start(self) -> None:
        """Begin to commit what is submitted."""
        self.running = True
        self._thread = threading.Thread(target=self._run, name="evidence-committer", daemon=True)
        self._thread.start()

    def submit_later(self, pending: Pending) -> None:
        """Queue one entry that nobody waits for: it goes with the next group, or when `wake` is called."""
        self._queue.append(pending)

    def submit(self, pending: Pending) -> None:
        """Queue one entry; any thread may call this and it never blocks."""
        self._queue.append(pending)
        self.wake()

    def wake(self) -> None:
        """See that what is queued is committed now."""
        # A wake-up too many is harmless, one too few is not: the flag falls before the queue is drained.
        if not self._signalled:
            self._signalled = True
            self._wake.put(None)

    def submit_seal(self, sealed: Sealed) -> None:
        """Queue a finished seal."""
        self.submit(_pending_seal(sealed))

    def replace_signer(self, signer: Signer) -> None:
        """Begin a new segment with the certificates of `signer`, then seal with it."""
        self._next_signer = signer
        self._signalled = True
        self._wake.put(None)

    def stop(self) -> None:
        """Commit what is queued, seal everything, close the segment."""
        self._stopping = True
        self._wake.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.get()
                self._drain()
            self._sealer.stop()
            self._drain()
            # What cannot be sealed now is kept and sealed as recovered at the next start.
            while not self._sealer.failure and (sealed := self._sealer.seal_now()) is not None:
                self.submit_seal(sealed)
                self._drain()
            if self._segment is not None:
                self._segment.close()
        finally:
            # Whatever ends this thread, nobody may wait for it: the log refuses from here on.
            self.running = False
            self._deliver([*self._in_flight, *self._queue], _refusal("the evidence log has stopped"))

    def _drain(self) -> None:
        self._signalled = False
        while self._queue:
            group: list[Pending] = []
            size = 0
            while self._queue and len(group) < _GROUP_RECORDS and size < _GROUP_BYTES:
                pending = self._queue.popleft()
                group.append(pending)
                size += len(pending.payload)
            self._in_flight = group
            self._commit(group)
            self._in_flight = []
        if self._next_signer is not None:
            self._commit([])

    def _commit(self, group: list[Pending]) -> None:
        failure = self._sealer.failure
        if failure and self._next_signer is None:
            refused = [pending for pending in group if not _is_carried(pending)]
            group = [pending for pending in group if _is_carried(pending)]
            self._stats.writable = False
            if refused:
                self._lose(refused, "sealing")
                self._deliver(refused, _refusal(failure))
            if not group:
                return
        entries = [*self._arrears(), *group]
        try:
            self._write(entries, may_be_refused=any(not _is_carried(pending) for pending in group))
        except OSError as exc:
            self._failed(entries, group, exc)
        else:
            self._done(entries, group)

    def _write(self, entries: Sequence[Pending], *, may_be_refused: bool) -> None:
        segment = self._segment
        if segment is None or (segment.allocated is not None and may_be_refused):
            # Given up, or living in the reserve: only a whole new segment lets crossings go on.
            self._create(Opened.WRITE_FAILED, entries)
        elif self._next_signer is not None:
            self._create(Opened.SIGNER, entries)
        elif segment.size >= self._segment_bytes:
            try:
                self._create(Opened.SIZE, entries)
            except OSError:
                if segment.size >= 2 * self._segment_bytes:
                    raise
                self._append(segment, entries)
        else:
            self._append(segment, entries)

    def _append(self, segment: SegmentFile, entries: Sequence[Pending]) -> None:
        framer = Framer(self._at.chain)
        leaves = _frame(framer, entries)
        began = time.perf_counter()
        try:
            segment.append(framer.bytes())
        except OSError:
            self._segment = None
            segment.give_up()
            raise
        self._stats.sync_seconds.observe(time.perf_counter() - began)
        self._at.segment_bytes = segment.size
        self._advance(framer, leaves)

    def _create(self, why: Opened, entries: Sequence[Pending]) -> None:
        make = self._directory.create_from_reserve if why is Opened.RESERVE else self._directory.create
        signer = self._next_signer or self._sealer.signer
        header = Header(
            format=FORMAT,
            chain=self._at.chain_id,
            gateway=self._at.gateway,
            segment=self._at.segment + 1,
            why=why,
            opened=(now := self._clock.now()),
            software=__version__,
            previous=self._at.chain.hex(),
            previous_bytes=self._at.segment_bytes,
            first_record=self._at.records,
            certificates=tuple(certificate.der for certificate in signer.chain),
        )
        framer = Framer(self._at.chain)
        framer.add(EntryType.HEADER, encode_header(header))
        still_open = tuple(self._open)
        chunks = [
            Pending(encode(OpenRecord(time=now, crossings=still_open[at : at + OPEN_CHUNK])))
            for at in range(0, len(still_open), OPEN_CHUNK)
        ]
        leaves = _frame(framer, [*chunks, *entries])
        began = time.perf_counter()
        segment = make(header.segment, MAGIC + framer.bytes())
        self._stats.sync_seconds.observe(time.perf_counter() - began)
        before, self._segment = self._segment, segment
        self._at.segment = header.segment
        self._at.segment_bytes = segment.size
        self._stats.segments += 1
        self._advance(framer, leaves)
        if self._next_signer is not None:
            self._sealer.replace_signer(self._next_signer)
            self._next_signer = None
        if before is not None:
            before.close()

    def _advance(self, framer: Framer, leaves: Sequence[bytes]) -> None:
        self._at.chain = framer.chain
        self._at.records += len(leaves)
        self._stats.records += len(leaves)
        self._stats.bytes += framer.size
        if leaves:
            self._sealer.add(leaves)

    def _done(self, entries: Sequence[Pending], group: list[Pending]) -> None:
        self._note_done(entries)
        self._carried.clear()
        self._lost, self._lost_first = 0, None
        self._stats.carried = 0
        self._stats.open_crossings = len(self._open)
        self._stats.writable = self._segment is not None and self._segment.allocated is None
        if group:
            self._stats.group_records.observe(len(group))
            self._deliver(group, None)

    def _note_done(self, entries: Sequence[Pending]) -> None:
        for pending in entries:
            if pending.role is Role.OPENS:
                self._open[pending.crossing] = None
            elif pending.role is Role.CLOSES:
                self._open.pop(pending.crossing, None)
            if pending.sealed is not None:
                self.head = pending.sealed.head
                self._at.sealed = pending.sealed.last + 1
        self._stats.unsealed = self._at.records - self._at.sealed

    def _failed(self, entries: Sequence[Pending], group: list[Pending], exc: OSError) -> None:
        code = errno.errorcode.get(exc.errno or 0, "error")
        self._stats.failed_groups += 1
        self._stats.writable = False
        kept = [pending for pending in entries if _is_carried(pending)]
        self._carried = kept[: self._carried_records]
        lost = [pending for pending in group if not _is_carried(pending)]
        self._lose([*lost, *kept[self._carried_records :]], code)
        self._deliver(group, _refusal(f"a record could not be written ({code})"))
        if self._carried:
            self._save_carried()
        self._stats.carried = len(self._carried)

    def _save_carried(self) -> None:
        """Put what must not be lost into the reserve; where that fails too it stays in memory for the next group."""
        entries = self._arrears()
        try:
            if self._segment is not None and self._segment.allocated is not None:
                self._append(self._segment, entries)
            else:
                self._create(Opened.RESERVE, entries)
        except OSError:
            return
        self._done(entries, [])

    def _lose(self, lost: Sequence[Pending], why: str) -> None:
        if not lost:
            return
        now = self._clock.now()
        self._lost += len(lost)
        self._lost_why = why
        self._lost_first = self._lost_first or now
        self._lost_last = now
        self._stats.lost += len(lost)

    def _arrears(self) -> list[Pending]:
        """Return the gap record that is due, if any, and what has been carried over."""
        if not self._lost or self._lost_first is None or self._lost_last is None:
            return list(self._carried)
        gap = GapRecord(
            time=self._clock.now(), lost=self._lost, why=self._lost_why, first=self._lost_first, last=self._lost_last
        )
        return [Pending(encode(gap)), *self._carried]


def _pending_seal(sealed: Sealed) -> Pending:
    return Pending(encode_seal(sealed.seal), role=Role.CARRIED, sealed=sealed)


def _is_carried(pending: Pending) -> bool:
    # Whoever waits for an entry is told that it failed; carrying it over as well would make that untrue.
    return pending.role in (Role.CLOSES, Role.CARRIED) and pending.on_durable is None


def _frame(framer: Framer, entries: Sequence[Pending]) -> list[bytes]:
    """Frame `entries`; return the chain hashes of the records among them."""
    leaves = []
    for pending in entries:
        if pending.sealed is None:
            leaves.append(framer.add(EntryType.RECORD, pending.payload))
        else:
            framer.add(EntryType.SEAL, pending.payload)
    return leaves


def _refusal(why: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_EVIDENCE, f"evidence: {why}")
