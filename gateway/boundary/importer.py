"""[a] The importer: takes verified objects, decides again, and delivers each to its provider, in order and once.

A machine without sockets: it is told what the verifier says, holds the ledger, and asks a `Delivery` to carry. What
is decided is in `import_decision`, what is remembered in `import_ledger`.

Once means: an object whose delivery ended is never delivered again, and an object is never taken twice. After a crash
between the first byte sent and the answer noted nobody can know whether the provider has executed; such an object is
recorded as unknown and delivered again under the same zg-idempotency-key and zg-crossing, so that a provider that
keeps keys executes it once (docs/import.md, "Exactly once").
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import ParamSpec, Protocol, TypeVar

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary import import_records
from zonegate.gateway.boundary.deliver import Delivered, Delivery, Outcome
from zonegate.gateway.boundary.handover import (
    Answer,
    Disposition,
    Greeting,
    Offer,
    RefusedFile,
    Saying,
    Waiting,
)
from zonegate.gateway.boundary.header import ObjectHeader
from zonegate.gateway.boundary.import_decision import MessageFilters, Place, decide_import, inspect, refused_content
from zonegate.gateway.boundary.import_ledger import ImportLedger, Loaded, State, Stored
from zonegate.gateway.evidence.counts import decision_key
from zonegate.gateway.evidence.records import AnyRecord, Basis
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.policies.decide import CallDecision
from zonegate.policies.model import Policy
from zonegate.reasons import Reason

_LOG = logging.getLogger("zonegate")

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Log(Protocol):
    """The evidence log as the importer uses it."""

    def append(self, record: AnyRecord, on_durable: Callable[[ZoneGateError | None], None] | None = None) -> None:
        """Queue a record; `on_durable` is called on the loop."""
        ...


@dataclass(frozen=True, slots=True)
class ImportLimits:
    """The bounds of an importer."""

    waiting_objects: int = 10_000
    waiting_bytes: int = 1 << 30
    streams: int = 16
    first_backoff_seconds: float = 0.5
    last_backoff_seconds: float = 30.0
    max_age: timedelta = timedelta(days=30)
    give_up: timedelta = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class InForce:
    """What is decided with: replaced as a whole when a new bundle comes into force."""

    policy: Policy
    filters: MessageFilters
    basis: Basis


# A finished object is remembered a day longer than the verifier takes one of its age.
_REMEMBERED_LONGER = timedelta(days=1)
_FORGET_EVERY_SECONDS = 3600.0


class Importer:
    """One importer. Made and used on the loop's thread."""

    def __init__(
        self,
        ledger: ImportLedger,
        delivery: Delivery,
        *,
        log: Log,
        metrics: GatewayMetrics,
        in_force: InForce,
        place: Place,
        clock: Clock,
        limits: ImportLimits,
    ) -> None:
        self._ledger = ledger
        self._delivery = delivery
        self._log = log
        self._metrics = metrics
        self._in_force = in_force
        self._place = place
        self._clock = clock
        self._limits = limits
        # One thread, so that the ledger is used by one at a time and no disk is waited for on the loop.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="import-ledger")
        self._streams: dict[tuple[str, str], deque[Stored]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = asyncio.Semaphore(limits.streams)
        self._waiting_objects = 0
        self._waiting_bytes = 0
        self._stopping = asyncio.Event()
        self._forgotten = clock.monotonic()
        # A defect in one stream ends the process: restarted, it takes up what is in the ledger.
        self.failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.verifier_files = 0
        self.verifier_heard: float | None = None

    # -- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what an earlier life left unfinished."""
        for stored in await self._off_loop(self._ledger.unfinished):
            if stored.state is State.DELIVERING:
                _LOG.warning("object %s: executed unknown, it is delivered again", stored.object_id)
            self._enqueue(stored)

    async def stop(self, seconds: float) -> None:
        """End: deliveries under way may take `seconds`, what waits stays in the ledger."""
        self._stopping.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._off_loop(self._ledger.close)
        self._thread.shutdown()

    def use(self, in_force: InForce) -> None:
        """Decide by another bundle from now on; objects that wait are decided anew before their next attempt."""
        self._in_force = in_force

    @property
    def waiting_objects(self) -> int:
        """How many objects are taken and not finished."""
        return self._waiting_objects

    # -- what the verifier says ----------------------------------------------------------------------------------

    async def take(self, saying: Saying) -> Answer:
        """Return the answer to what the verifier said; BUSY whenever it cannot be noted durably now."""
        self.verifier_heard = self._clock.monotonic()
        if self._stopping.is_set():
            return Answer(Disposition.BUSY, "the importer is stopping")
        try:
            match saying:
                case Greeting():
                    return Answer(Disposition.TAKEN)
                case Waiting(files=files):
                    self.verifier_files = files
                    await self._forget_sometimes()
                    return Answer(Disposition.TAKEN)
                case RefusedFile():
                    return await self._note_refused_file(saying)
                case Offer():
                    return await self._take_offer(saying)
        except ZoneGateError as error:
            _LOG.error("import: %s", error)
            return Answer(Disposition.BUSY, error.detail)

    async def _note_refused_file(self, report: RefusedFile) -> Answer:
        await self._durable(import_records.refused_file(report, self._clock.now()))
        self._metrics.imported(report.reason)
        return Answer(Disposition.TAKEN)

    async def _take_offer(self, offer: Offer) -> Answer:
        header = offer.header
        limits = self._limits
        if self._waiting_objects >= limits.waiting_objects or (
            self._waiting_objects and self._waiting_bytes + header.message_bytes > limits.waiting_bytes
        ):
            return Answer(Disposition.BUSY, f"{self._waiting_objects} objects wait")
        # The ledger forgets finished objects of this age, so an older one could come in a second time.
        if header.created < self._clock.now() - limits.max_age:
            detail = f"created: {header.created.isoformat()} is more than {limits.max_age} ago"
            return await self._refuse_offer(offer, Reason.E_IMPORT_EXPIRED, detail, Disposition.REFUSED)
        receipt = await self._off_loop(self._ledger.receive, offer, self._clock.now())
        if receipt.stored is None:
            return await self._refuse_offer(offer, Reason.E_IMPORT_DUPLICATE, "", Disposition.DUPLICATE)
        if receipt.gap:
            self._metrics.import_gap(receipt.gap)
            _LOG.error("%s: %d objects before number %d never came", header.gateway, receipt.gap, header.sequence)
        self._log.append(self._object_record(offer.header, offer.file, Reason.OK, "received"))
        self._enqueue(receipt.stored)
        return Answer(Disposition.TAKEN)

    async def _refuse_offer(self, offer: Offer, reason: Reason, detail: str, disposition: Disposition) -> Answer:
        await self._durable(self._object_record(offer.header, offer.file, reason, "received", detail))
        self._metrics.imported(reason)
        return Answer(disposition, detail)

    def _object_record(self, header: ObjectHeader, file: str, reason: Reason, step: str, detail: str = "") -> AnyRecord:
        return import_records.object_record(
            header, file, reason=reason, step=step, now=self._clock.now(), detail=detail
        )

    async def _forget_sometimes(self) -> None:
        now = self._clock.monotonic()
        if now - self._forgotten > _FORGET_EVERY_SECONDS:
            self._forgotten = now
            before = self._clock.now() - self._limits.max_age - _REMEMBERED_LONGER
            await self._off_loop(self._ledger.forget, before)

    # -- delivery ------------------------------------------------------------------------------------------------

    def _enqueue(self, stored: Stored) -> None:
        self._waiting_objects += 1
        self._waiting_bytes += stored.bytes
        stream = self._streams.get(stored.stream)
        if stream is not None:
            stream.append(stored)
            return
        self._streams[stored.stream] = deque((stored,))
        task = asyncio.get_running_loop().create_task(self._run_stream(stored.stream))
        self._tasks.add(task)
        task.add_done_callback(self._stream_ended)

    def _stream_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.failure.done():
            self.failure.set_exception(error)

    async def _run_stream(self, key: tuple[str, str]) -> None:
        stream = self._streams[key]
        while stream and not self._stopping.is_set():
            stored = stream[0]
            if not await self._finish_object(stored):
                return
            stream.popleft()
            self._waiting_objects -= 1
            self._waiting_bytes -= stored.bytes
        if not stream:
            del self._streams[key]
        if not self._streams:
            await self._clear_residue()

    async def _clear_residue(self) -> None:
        try:
            await self._off_loop(self._ledger.clear_residue)
        except ZoneGateError as error:
            _LOG.warning("import: %s", error)

    async def _finish_object(self, stored: Stored) -> bool:
        """Carry one object to its end; False where the process stops before."""
        backoff = self._limits.first_backoff_seconds
        work = _Work(stored)
        while not self._stopping.is_set():
            try:
                async with self._turns:
                    if await self._try(work):
                        return True
            except ZoneGateError as error:
                # Evidence or ledger cannot be written: nothing is delivered meanwhile, and nothing is lost.
                _LOG.error("object %s waits: %s", stored.object_id, error)
            await self._pause(backoff)
            backoff = min(backoff * 2, self._limits.last_backoff_seconds)
        return False

    async def _try(self, work: "_Work") -> bool:
        """Make one attempt; True when the object has come to its end."""
        if work.loaded is None:
            work.loaded = await self._off_loop(self._ledger.load, work.stored.number)
        header = work.loaded.header
        if work.must_decide(self._in_force, self._clock):
            decision = await self._decide(work, work.loaded)
            if not decision.imported:
                await self._end(work, State.REFUSED, decision.reason)
                return True
        attempt = await self._off_loop(self._ledger.begin_delivery, work.stored.number)
        began = self._clock.monotonic()
        delivered = await self._delivery.deliver(header, work.messages, attempt=attempt)
        seconds = self._clock.monotonic() - began
        if delivered.outcome is Outcome.AGAIN and self._clock.now() - work.stored.received < self._limits.give_up:
            _LOG.warning("object %s: not delivered: %s", header.object_id, delivered.detail)
            work.last = delivered
            return False
        state, reason = _verdict(delivered)
        # The ledger first: between the provider's answer and this commit a crash delivers twice.
        await self._off_loop(self._ledger.finish, work.stored.number, state, reason)
        self._ended(header, delivered, reason, seconds)
        return True

    async def _decide(self, work: "_Work", loaded: Loaded) -> CallDecision:
        in_force = self._in_force
        decision = decide_import(in_force.policy, loaded.header, self._place, now=self._clock.now())
        if decision.imported:
            try:
                work.messages = await self._off_loop(inspect, decision, loaded.messages, in_force.filters)
            except ZoneGateError as error:
                decision = refused_content(decision, error)
        record = import_records.decision_record(loaded.header, decision, in_force.basis, self._clock.now())
        await self._durable(record)
        key = decision_key(record.verdict)
        self._metrics.decision(key.decision, key.source, key.target, key.reason.value)
        work.decided(in_force, decision)
        return decision

    async def _end(self, work: "_Work", state: State, reason: Reason) -> None:
        """End an object that was refused; if an earlier decision opened its crossing, say how that ended."""
        await self._off_loop(self._ledger.finish, work.stored.number, state, reason)
        if work.last is not None and work.loaded is not None:
            self._ended(work.loaded.header, work.last, reason, 0.0)
            return
        self._metrics.imported(reason)

    def _ended(self, header: ObjectHeader, delivered: Delivered, reason: Reason, seconds: float) -> None:
        self._log.append(
            import_records.outcome_record(header, delivered, reason=reason, seconds=seconds, now=self._clock.now())
        )
        self._metrics.finished(delivered.status)
        self._metrics.crossing_seconds(seconds)
        self._metrics.message_bytes("request", header.message_bytes)
        self._metrics.imported(reason)

    # -- waiting -------------------------------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _durable(self, record: AnyRecord) -> None:
        """Return when a record is on the disk; E_EVIDENCE when it cannot be."""
        future: asyncio.Future[ZoneGateError | None] = asyncio.get_running_loop().create_future()

        def settle(error: ZoneGateError | None) -> None:
            if not future.done():
                future.set_result(error)

        self._log.append(record, settle)
        error = await future
        if error is not None:
            raise error

    async def _off_loop(
        self, function: Callable[_Arguments, _Result], *arguments: _Arguments.args, **named: _Arguments.kwargs
    ) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: function(*arguments, **named))


def _verdict(delivered: Delivered) -> tuple[State, Reason]:
    if delivered.outcome is Outcome.DELIVERED:
        return State.DELIVERED, Reason.OK
    if delivered.outcome is Outcome.REJECTED:
        return State.REFUSED, Reason.E_IMPORT_REJECTED
    return State.REFUSED, Reason.E_UPSTREAM if delivered.reason is Reason.OK else delivered.reason


class _Work:
    """One object on its way: its content while it is being delivered, and by what it was decided."""

    def __init__(self, stored: Stored) -> None:
        self.stored = stored
        self.loaded: Loaded | None = None
        self.messages: tuple[bytes, ...] = ()
        self.last: Delivered | None = None
        self._by: InForce | None = None
        self._decision: CallDecision | None = None

    def decided(self, by: InForce, decision: CallDecision) -> None:
        """Remember by what the object was decided."""
        self._by, self._decision = by, decision

    def must_decide(self, in_force: InForce, clock: Clock) -> bool:
        """Tell whether a decision is missing or was made with what no longer counts."""
        return self._decision is None or self._by is not in_force or clock.now() >= self._decision.valid_until
