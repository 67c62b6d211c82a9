"""[a] The evidence log of one process: records go in on the event loop, come out durable, sealed, chained.

`append` never blocks: the disk is the committer's thread, signatures are the sealer's. Here are the bounds, the
flood table, the callbacks on the loop, and start and stop. Formats are `segment` and `seal`; nothing is decided here
about a crossing, except that without a durable record there is none (step 9, E_EVIDENCE).
"""

import asyncio
import secrets
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zonegate import __version__
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.committer import Committer, OnDurable, Pending, Position, Role
from zonegate.gateway.evidence.counts import decision_key
from zonegate.gateway.evidence.files import DiskState, EvidenceDirectory, disk_state, stored_segment
from zonegate.gateway.evidence.flood import CountKey, FloodTable
from zonegate.gateway.evidence.heads import PeerHeads
from zonegate.gateway.evidence.records import (
    AnyRecord,
    Counted,
    DecisionRecord,
    Executed,
    GapRecord,
    OutcomeRecord,
    RecoveredRecord,
    StartRecord,
    StopRecord,
    encode,
)
from zonegate.gateway.evidence.recovery import Recovered, recover
from zonegate.gateway.evidence.seal import FIRST_ROOT, SignedHead, encode_seal
from zonegate.gateway.evidence.sealer import Sealer, Signer
from zonegate.gateway.evidence.segment import GENESIS, PAYLOAD_LIMIT_BYTES, Opened
from zonegate.gateway.evidence.stats import EvidenceStats
from zonegate.pki.certificate import load_certificate
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import GrpcCode, Reason


@dataclass(frozen=True, slots=True)
class EvidenceLimits:
    """The bounds of a log."""

    queue_records: int = 16_384
    queue_bytes: int = 32 << 20
    segment_bytes: int = 64 << 20
    # Room for the outcomes of open crossings (about 400 bytes each) and a gap record on a full disk.
    reserve_bytes: int = 8 << 20
    carried_records: int = 65_536
    # A seal must be on the disk within 50 ms; signing and writing take the rest.
    seal_seconds: float = 0.03
    # How long a record that nobody waits for may wait for company.
    later_seconds: float = 0.01
    flood_burst: int = 10
    flood_keys: int = 1024
    flood_seconds: float = 1.0


class EvidenceLog:
    """One chain, written by one process. All methods but the constructor belong to the loop's thread."""

    def __init__(
        self,
        directory: Path,
        signer: Signer,
        clock: Clock,
        *,
        gateway: str,
        limits: EvidenceLimits | None = None,
        anchors: TrustAnchors | None = None,
    ) -> None:
        self._path = directory
        self._signer = signer
        self._clock = clock
        self._gateway = gateway
        self._limits = limits or EvidenceLimits()
        self._stats = EvidenceStats()
        self._flood = FloodTable(burst=self._limits.flood_burst, capacity=self._limits.flood_keys)
        self._flush_due: asyncio.TimerHandle | None = None
        self._later: asyncio.TimerHandle | None = None
        self._overflow = 0
        self._overflow_first = clock.now()
        self._peers = PeerHeads(anchors)
        self._life = secrets.token_hex(16)

    def start(self, loop: asyncio.AbstractEventLoop, *, policy: str = "", digest: str = "") -> None:
        """Recover what the last process left, begin a segment, start the threads.

        Blocks for the disk, so it is called before anything listens. `E_EVIDENCE_BROKEN` where the directory holds
        damaged evidence: the operator moves it away, keeps it for the auditor, and starts again.
        """
        self._loop = loop
        # A write beyond RLIMIT_FSIZE must be an error (EFBIG) and a refusal, not the end of the process.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self._directory = EvidenceDirectory(self._path, reserve_bytes=self._limits.reserve_bytes)
        try:
            self._begin(policy, digest)
        except OSError as exc:
            self._directory.close()
            raise ZoneGateError(Reason.E_EVIDENCE, f"evidence directory: {exc.strerror}") from exc
        except ZoneGateError:
            self._directory.close()
            raise
        self._committer.start()
        self._sealer.start(self._committer.submit_seal)

    def _begin(self, policy: str, digest: str) -> None:
        self._directory.drop_working_file()
        segments = [stored_segment(number, path) for number, path in self._directory.segments()]
        found = recover(segments) if segments else None
        if found is not None and found.gateway != self._gateway:
            problem = f"evidence directory: holds the chain of {found.gateway}, this process is {self._gateway}"
            raise ZoneGateError(Reason.E_CONFIG, problem)
        if found is not None:
            _check_same_signer(found.signer, self._signer)
            for head in found.peer_heads:
                self._peers.remember(head, now=self._clock.now())
        position = _position(found, self._gateway)
        self._sealer = Sealer(
            chain=position.chain_id,
            gateway=self._gateway,
            signer=self._signer,
            clock=self._clock,
            interval=self._limits.seal_seconds,
            stats=self._stats,
            batch=found.batch if found else 0,
            records=position.sealed,
            root=found.root if found else FIRST_ROOT,
        )
        self._committer = Committer(
            directory=self._directory,
            position=position,
            sealer=self._sealer,
            clock=self._clock,
            stats=self._stats,
            segment_bytes=self._limits.segment_bytes,
            carried_records=self._limits.carried_records,
            deliver=self._deliver_soon,
        )
        entries = [] if found is None else self._recovery_entries(found)
        start = StartRecord(
            time=self._clock.now(),
            life=self._life,
            software=__version__,
            gateway=self._gateway,
            policy=policy,
            digest=digest,
        )
        entries.append(Pending(encode(start)))
        self._committer.begin(Opened.FIRST if found is None else Opened.RESTART, entries)

    def _recovery_entries(self, found: Recovered) -> list[Pending]:
        entries: list[Pending] = []
        if found.unsealed:
            self._sealer.add(found.unsealed)
            while (sealed := self._sealer.seal_now(recovered=True)) is not None:
                entries.append(Pending(encode_seal(sealed.seal), role=Role.CARRIED, sealed=sealed))
            if self._sealer.failure:
                raise ZoneGateError(Reason.E_EVIDENCE, f"evidence: {self._sealer.failure}")
        now = self._clock.now()
        if found.dropped_bytes or found.open_crossings or not found.orderly:
            recovered = RecoveredRecord(
                time=now,
                dropped_bytes=found.dropped_bytes,
                unsealed=len(found.unsealed),
                without_outcome=len(found.open_crossings),
            )
            entries.append(Pending(encode(recovered)))
        for crossing in found.open_crossings:
            outcome = OutcomeRecord(
                time=now,
                crossing=crossing,
                grpc=GrpcCode.UNKNOWN,
                reason=Reason.E_INTERNAL,
                executed=Executed.UNKNOWN,
                recovered=True,
            )
            entries.append(Pending(encode(outcome)))
        return entries

    def append(self, record: AnyRecord, on_durable: OnDurable | None = None) -> None:
        """Queue `record`; `on_durable` is called on the loop with None when it is durable, else with the refusal.

        It is called at once, before this returns, where the queue is full (E_EVIDENCE) and where a refusal joins a
        flood of identical ones and is only counted (None).
        """
        role, crossing = Role.PLAIN, ""
        if isinstance(record, DecisionRecord):
            if record.verdict.allowed:
                role, crossing = Role.OPENS, record.crossing
            elif self._joins_flood(record):
                if on_durable is not None:
                    on_durable(None)
                return
        elif record.carried:
            role = Role.CARRIED
            if isinstance(record, OutcomeRecord):
                role, crossing = Role.CLOSES, record.crossing
        self._queue(Pending(encode(record), on_durable, role, crossing))

    def count(self, what: Counted, reason: Reason, *, source_class: str = "") -> None:
        """Count a refusal before admission: nobody is known yet, so there is no record of its own."""
        self._count(CountKey(what, reason, source_class=source_class), "")

    def head(self) -> SignedHead | None:
        """Return the newest durable head, None before the first seal."""
        return self._committer.head

    def keep_peer_head(self, head: bytes) -> None:
        """Keep a peer gateway's head as its witness; the same one again is not written twice.

        The signature is verified here, the chain too where anchors were given. `E_EVIDENCE_BROKEN` where the head
        contradicts an earlier one of the same chain: that is recorded as a conflict before it is refused.
        """
        record = self._peers.judge(head, now=self._clock.now())
        if record is None:
            return
        self.append(record)
        if record.conflict:
            self._stats.peer_conflicts += 1
            problem = f"head of {record.gateway}: batch {record.batch} contradicts an earlier head ({record.conflict})"
            raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, problem)

    def replace_signer(self, signer: Signer) -> None:
        """Seal with a renewed credential: a new segment begins with its certificates.

        `E_CONFIG` where it names somebody else; the old one stays.
        """
        _check_same_signer(self._signer.chain[0].der, signer)
        self._signer = signer
        self._committer.replace_signer(signer)

    def disk(self) -> DiskState:
        """Return how full the evidence disk is (alarms at 70 and 85 %)."""
        return disk_state(self._path)

    @property
    def stats(self) -> EvidenceStats:
        """The figures of this process life; read, not written, by others."""
        return self._stats

    @property
    def life(self) -> str:
        """The id of this process life, as its start record has it."""
        return self._life

    def close(self) -> None:
        """Write what is queued and a stop record, seal everything, end the threads; blocks for that long."""
        self._flush()
        if self._later is not None:
            self._later.cancel()
        stop = StopRecord(time=self._clock.now(), life=self._life, records=self._stats.records)
        self._queue(Pending(encode(stop), role=Role.CARRIED))
        self._committer.stop()
        self._directory.close()

    def _queue(self, pending: Pending) -> None:
        stats, limits = self._stats, self._limits
        size = len(pending.payload)
        full = stats.queue_records >= limits.queue_records or stats.queue_bytes + size > limits.queue_bytes
        # Nothing that must not be lost is turned away for the queue's sake: there is no more of it than open
        # crossings, keys of the flood table, and one gap.
        if size > PAYLOAD_LIMIT_BYTES:
            # Written it would be an entry that no reader takes, and the chain would end there.
            self._refuse(pending, f"a record has {size} bytes, at most {PAYLOAD_LIMIT_BYTES} can be kept")
            return
        if (full and pending.role in (Role.PLAIN, Role.OPENS)) or not self._committer.running:
            self._refuse(pending, "the queue is full" if full else "the evidence log has stopped")
            return
        stats.queue_records += 1
        stats.queue_bytes += size
        if pending.on_durable is not None:
            self._committer.submit(pending)
            return
        # An outcome that nobody waits for shares the sync of the next group: half of all syncs and wake-ups are saved.
        self._committer.submit_later(pending)
        if self._later is None:
            self._later = self._loop.call_later(self._limits.later_seconds, self._commit_later)

    def _commit_later(self) -> None:
        self._later = None
        self._committer.wake()

    def _refuse(self, pending: Pending, why: str) -> None:
        self._stats.refused += 1
        self._overflow += 1
        if self._overflow == 1:
            self._overflow_first = self._clock.now()
        if pending.on_durable is not None:
            pending.on_durable(ZoneGateError(Reason.E_EVIDENCE, f"evidence: {why}"))

    def _joins_flood(self, record: DecisionRecord) -> bool:
        counted = decision_key(record.verdict)
        key = CountKey(
            Counted.REFUSAL,
            counted.reason,
            caller=record.caller.uri,
            decision=counted.decision,
            source=counted.source,
            target=counted.target,
        )
        self._make_room()
        if self._flood.wants_record(key):
            return False
        self._count(key, record.crossing)
        return True

    def _count(self, key: CountKey, crossing: str) -> None:
        self._make_room()
        self._flood.count(key, at=self._clock.now(), crossing=crossing)
        self._stats.counted += 1

    def _make_room(self) -> None:
        if self._flood.full:
            self._flush()
        if self._flush_due is None:
            self._flush_due = self._loop.call_later(self._limits.flood_seconds, self._flush)

    def _flush(self) -> None:
        if self._flush_due is not None:
            self._flush_due.cancel()
            self._flush_due = None
        for record in self._flood.flush(now=self._clock.now()):
            self._queue(Pending(encode(record), role=Role.CARRIED))

    def _deliver_soon(self, entries: list[Pending], error: ZoneGateError | None) -> None:
        # Called by the committer. A loop that is closed has nobody left who waits.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._deliver, entries, error)

    def _deliver(self, entries: Sequence[Pending], error: ZoneGateError | None) -> None:
        stats = self._stats
        for pending in entries:
            if pending.sealed is None:
                stats.queue_records -= 1
                stats.queue_bytes -= len(pending.payload)
        self._call(iter(entries), error)
        # Told when half of the queue is free again: one record for a time of overload, not one for each group.
        room = (
            2 * stats.queue_records <= self._limits.queue_records and 2 * stats.queue_bytes <= self._limits.queue_bytes
        )
        if self._overflow and room and error is None and self._committer.running:
            self._tell_gap()

    def _tell_gap(self) -> None:
        gap = GapRecord(
            time=(now := self._clock.now()),
            lost=self._overflow,
            why="queue-full",
            first=self._overflow_first,
            last=now,
        )
        self._overflow = 0
        self._queue(Pending(encode(gap), role=Role.CARRIED))

    def _call(self, entries: Iterator[Pending], error: ZoneGateError | None) -> None:
        """Call each `on_durable` in order; one that raises goes to the loop's handler and does not stop the others."""
        done = False
        try:
            for pending in entries:
                if pending.on_durable is not None:
                    pending.on_durable(error)
            done = True
        finally:
            if not done:
                self._loop.call_soon(self._call, entries, error)


def _check_same_signer(before: bytes, signer: Signer) -> None:
    """One chain has one signer: whoever verifies takes another name for evidence that was signed anew."""
    known, named = (load_certificate(der).identity for der in (before, signer.chain[0].der))
    if known != named:
        problem = (
            f"evidence certificate: names {named}, the chain is signed by {known}; a new name needs a new directory"
        )
        raise ZoneGateError(Reason.E_CONFIG, problem)


def _position(found: Recovered | None, gateway: str) -> Position:
    if found is None:
        return Position(secrets.token_hex(16), gateway, 0, 0, GENESIS, 0, 0)
    sealed = found.records - len(found.unsealed)
    return Position(
        found.chain_id, found.gateway, found.segment, found.segment_bytes, found.chain, found.records, sealed
    )
