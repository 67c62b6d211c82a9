"""[a] What all connections of one process share: the list of connections to flush, deadlines, and open calls.

Everything here runs on the event loop's thread. Bytes are written once per wake-up: whatever a wake-up touches is
marked, and `flush` writes each marked connection's output in one piece.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from weakref import WeakValueDictionary

from zonegate.gateway.http2.memo import HeaderMemo
from zonegate.gateway.relay.pressure import to_end
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from zonegate.clock import Clock
    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.relay.call import Call
    from zonegate.gateway.relay.downstream import Downstream
    from zonegate.gateway.tls.channel import Peer

DEADLINE_SLOT_SECONDS = 0.05
# What is remembered of one identity's header blocks, whatever number of connections it opens.
MEMO_ENTRIES = 1024
MEMO_BYTES = 262_144


class CallHandler(Protocol):
    """A role: it decides what becomes of each call, and is told how each one ended."""

    def admitted(self, down: Downstream) -> None:
        """A peer has connected; what the role knows of it goes into `down.context`."""
        ...

    def heard(self, down: Downstream, block: HeaderBlock) -> None:
        """A request's header block has come; called for each, in order, before anything may refuse the call."""
        ...

    def begin(self, call: Call) -> None:
        """A request has begun: call `call.forward`, `call.refuse` or `call.collect`, now or later."""
        ...

    def response(self, call: Call, block: HeaderBlock) -> bytes | None:
        """Return the header block to send to the caller; None when the call has been or will be settled here."""
        ...

    def trailers(self, call: Call, block: HeaderBlock) -> bytes:
        """Return the trailer block to send to the caller."""
        ...

    def ended(self, call: Call) -> None:
        """The call is over; `call.status`, `call.reason` and the counts are final."""
        ...

    def closed(self, down: Downstream) -> None:
        """A peer has gone."""
        ...


class Flushable(Protocol):
    """A connection with bytes to write."""

    dirty: bool

    def write_out(self) -> None:
        """Write everything that is queued, in one piece."""
        ...


@dataclass(frozen=True, slots=True)
class RelayLimits:
    """Bounds of one process. Bytes, seconds and counts as the names say."""

    open_calls: int = 4096
    # DATA of one direction of one call held back while the next hop takes no more.
    call_buffer_bytes: int = 256 * 1024
    # DATA of all calls of the process held before they are forwarded.
    held_bytes: int = 64 * 1024 * 1024
    # DATA of all calls of the process in any state: held, queued for a side that does not read, in incomplete messages.
    stored_bytes: int = 256 * 1024 * 1024
    # A peer that has not acknowledged our SETTINGS by then keeps its header table and is no HTTP/2 peer.
    settings_seconds: float = 10.0


class Relay:
    """The shared state of the calls of one process."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, handler: CallHandler, limits: RelayLimits, clock: Clock
    ) -> None:
        self.loop = loop
        self.handler = handler
        self.limits = limits
        self.clock = clock
        self.calls: set[Call] = set()
        self.downstreams: set[Downstream] = set()
        self.held_bytes = 0
        self.draining = False
        self._memos: WeakValueDictionary[str, HeaderMemo] = WeakValueDictionary()
        self._dirty: list[Flushable] = []
        self._flush_scheduled = False
        self._deadlines: dict[int, set[Call]] = {}
        self._slot = int(clock.monotonic() / DEADLINE_SLOT_SECONDS)
        self._timer: asyncio.TimerHandle | None = None
        self._on_tick: list[Callable[[float], None]] = []
        self._next_second = clock.monotonic() + 1.0

    def memo_of(self, peer: Peer) -> HeaderMemo:
        """Return what is remembered of `peer`'s header blocks: shared by its connections, gone with the last."""
        key = f"uid {peer.uid}" if peer.identity is None else str(peer.identity)
        memo = self._memos.get(key)
        if memo is None:
            memo = self._memos[key] = HeaderMemo(max_entries=MEMO_ENTRIES, max_bytes=MEMO_BYTES)
        return memo

    def start(self) -> None:
        """Begin to watch deadlines and to call the owners' tick once a second."""
        self._timer = self.loop.call_later(DEADLINE_SLOT_SECONDS, self._tick)

    def every_second(self, callback: Callable[[float], None]) -> None:
        """Call `callback` with monotonic seconds about once a second."""
        self._on_tick.append(callback)

    def close(self) -> None:
        """Stop the timers; connections are closed by their owners."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- writing -----------------------------------------------------------------------------------------------

    def touch(self, connection: Flushable) -> None:
        """Remember that `connection` has bytes to write before this wake-up ends."""
        if not connection.dirty:
            connection.dirty = True
            self._dirty.append(connection)
            if not self._flush_scheduled:
                self._flush_scheduled = True
                self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what every touched connection has queued."""
        self._flush_scheduled = False
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for connection in dirty:
                connection.dirty = False
                connection.write_out()

    # -- time --------------------------------------------------------------------------------------------------

    def watch_deadline(self, call: Call, seconds: float) -> None:
        """End `call` with E_DEADLINE when `seconds` have passed; to within one slot, never early."""
        slot = int((self.clock.monotonic() + seconds) / DEADLINE_SLOT_SECONDS) + 1
        call.deadline = slot
        self._deadlines.setdefault(slot, set()).add(call)

    def unwatch_deadline(self, call: Call) -> None:
        """Forget the deadline of a call that has ended: it may lie years ahead."""
        if call.deadline:
            due = self._deadlines.get(call.deadline)
            if due is not None:
                due.discard(call)
                if not due:
                    del self._deadlines[call.deadline]

    def _tick(self) -> None:
        now = self.clock.monotonic()
        slot = int(now / DEADLINE_SLOT_SECONDS)
        if self._deadlines and slot > self._slot:
            for due in [key for key in self._deadlines if key <= slot]:
                for call in self._deadlines.pop(due):
                    call.expire(Reason.E_DEADLINE, "")
        self._slot = slot
        if now >= self._next_second:
            self._next_second = now + 1.0
            for callback in self._on_tick:
                callback(now)
            for down in list(self.downstreams):
                down.tick(now)
            for call in list(to_end(self.calls, self.limits.stored_bytes)):
                call.expire(Reason.E_STREAMS, "the process stores as many bytes of calls as it may")
        self.flush()
        self._timer = self.loop.call_later(DEADLINE_SLOT_SECONDS, self._tick)
