"""[a] Connections to a next hop: HTTP/2 client side, pooled per hop, opened when needed and kept.

A hop that cannot be reached fails calls at once while it backs off: a caller learns of it in milliseconds and no
queue grows. A call is handed to a connection only when it can carry it; nothing is ever sent twice.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import (
    ConnectionFailed,
    DataReceived,
    DataSent,
    GoAwayReceived,
    HeadersReceived,
    SettingsChanged,
    StreamReset,
    TrailersReceived,
)
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.http2.limits import Budget
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.gateway.relay.core import Relay
    from zonegate.gateway.tls.channel import Channel, Peer

BACKOFF_FIRST_SECONDS = 0.1
BACKOFF_LAST_SECONDS = 2.0
WAITING_CALLS = 2048


class Dialler(Protocol):
    """Opens a channel to one address of a hop and checks that the peer is the expected one."""

    def dial(self, app: Upstream) -> None:
        """Begin; `app.opened` or `app.closed` tells how it went."""
        ...


class StreamUser(Protocol):
    """What an upstream stream reports to: a relayed `Call`, or a call that this process makes itself."""

    up_block: bytes
    half_closed: bool

    def attach(self, up: Upstream, up_id: int) -> None: ...  # noqa: D102 - see relay.call.Call
    def response_headers(self, block: Any) -> None: ...  # noqa: D102
    def response_data(self, data: bytes, flow_bytes: int) -> None: ...  # noqa: D102
    def response_trailers(self, block: Any) -> None: ...  # noqa: D102
    def response_ended_bare(self) -> None: ...  # noqa: D102
    def next_hop_drained(self) -> None: ...  # noqa: D102
    def next_hop_gone(self, reason: Reason, detail: str) -> None: ...  # noqa: D102


class Upstream:
    """The client side of one connection; a `ChannelApp` of `zonegate.gateway.tls.channel`."""

    def __init__(self, relay: Relay, pool: UpstreamPool, limits: Limits) -> None:
        self.relay = relay
        self.pool = pool
        self.http2: Connection
        self._limits = limits
        # Half of what a hop with the same limits takes before it ends a connection as a reset flood: callers that
        # cancel much, each within its own bounds, must not end the calls of others that share this connection.
        self._resets = Budget(limits.max_resets // 2)
        self.streams: dict[int, StreamUser] = {}
        self.dirty = False
        self.channel: Channel | None = None
        self.context: Any = None  # what the pool's owner keeps per connection, such as its ticket table

    # -- ChannelApp ----------------------------------------------------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """The hop is connected and is who it should be."""
        self.channel = channel
        self.http2 = Connection(Role.CLIENT, self._limits, self.relay.memo_of(channel.peer))
        self.http2.start()
        self.pool.connected(self)
        self.relay.touch(self)

    def received(self, data: bytes) -> None:
        """Take bytes from the hop."""
        self._dispatch(self.http2.receive(data))
        self.relay.touch(self)
        self.pool.retire_if_done(self)
        self.relay.flush()

    def writable(self, flag: bool) -> None:  # noqa: FBT001 - the transport's own word
        """Stop or go on sending."""
        self._dispatch(self.http2.set_writable(flag))
        self.relay.touch(self)

    def closed(self, error: ZoneGateError | None) -> None:
        """The hop is gone: what was in flight on this connection may or may not have been executed."""
        opened, self.channel = self.channel is not None, None
        if opened:
            self.pool.lost(self, error)
        else:
            self.pool.not_connected(error)
        streams, self.streams = self.streams, {}
        detail = error.detail if error is not None else "the next hop closed the connection"
        for user in streams.values():
            user.next_hop_gone(Reason.E_UPSTREAM_RESET, detail)
        self.relay.flush()

    # -- relay ---------------------------------------------------------------------------------------------------

    def carry(self, user: StreamUser) -> bool:
        """Open a stream for `user`; False when this connection can carry no more."""
        if not self.http2.can_open:
            return False
        block = user.up_block
        if self.pool.decorate is not None:
            block += self.pool.decorate(user, self)
        stream_id = self.http2.open_stream(block, end_stream=False)
        if stream_id is None:
            return False
        self.streams[stream_id] = user
        user.attach(self, stream_id)
        self.relay.touch(self)
        return True

    def forget(self, stream_id: int, reset: ErrorCode | None) -> None:
        """Drop a stream; with a code, tell the hop so. What it had queued is nobody's any more and goes with it."""
        if reset is None and self.http2.queued(stream_id):
            reset = ErrorCode.NO_ERROR
        if self.streams.pop(stream_id, None) is not None and reset is not None:
            self.http2.reset(stream_id, reset)
            self.relay.touch(self)
            if not self._resets.spend():
                self.pool.replace(self)
        self.pool.retire_if_done(self)

    def tick(self, now: float) -> None:
        """Replenish the budgets, about once a second."""
        self.http2.tick(now)
        self._resets.refill(1 / self._limits.budget_seconds)

    def write_out(self) -> None:
        """Write what is queued; close a failed connection."""
        if self.channel is None:
            return
        data = self.http2.take_output()
        if data:
            self.channel.write_now(data)
        if self.http2.failed:
            self.channel.close()

    def _dispatch(self, events: list[Any]) -> None:
        streams = self.streams
        for event in events:
            kind = type(event)
            if kind is DataReceived:
                self.http2.took(event.flow_bytes)
                user = streams.get(event.stream_id)
                if user is None:
                    self.http2.grant(event.stream_id, event.flow_bytes)
                    continue
                user.response_data(event.data, event.flow_bytes)
                if event.end_stream:
                    user.response_ended_bare()
            elif kind is HeadersReceived:
                user = streams.get(event.stream_id)
                if user is not None:
                    if event.end_stream:
                        user.response_trailers(event.block)
                    else:
                        user.response_headers(event.block)
            elif kind is TrailersReceived:
                user = streams.get(event.stream_id)
                if user is not None:
                    user.response_trailers(event.block)
            elif kind is DataSent:
                user = streams.get(event.stream_id)
                if user is not None:
                    user.next_hop_drained()
            elif kind is StreamReset:
                user = streams.pop(event.stream_id, None)
                if user is not None:
                    self._reset(user, event)
            elif kind in {GoAwayReceived, ConnectionFailed}:
                # Streams that the hop did not take follow as resets with REFUSED_STREAM.
                self.pool.retire(self)
            elif kind is SettingsChanged:
                self.pool.serve_waiting()
        self.pool.serve_waiting()

    def _reset(self, user: StreamUser, event: StreamReset) -> None:
        # RFC 9113 8.7: REFUSED_STREAM promises that nothing was processed.
        reason = Reason.E_UPSTREAM if event.code == ErrorCode.REFUSED_STREAM else Reason.E_UPSTREAM_RESET
        user.next_hop_gone(reason, f"the next hop reset the stream, HTTP/2 error {int(event.code)}")


class UpstreamPool:
    """The connections to one next hop."""

    def __init__(self, relay: Relay, name: str, dialler: Dialler, limits: Limits, *, connections: int = 4) -> None:
        self.relay = relay
        self.name = name
        self.active: list[Upstream] = []
        self._retiring: set[Upstream] = set()
        self._dialler = dialler
        self._limits = limits
        self._wanted = connections
        self._waiting: deque[StreamUser] = deque()
        self._dialling = False
        self._failed_until = 0.0
        self._backoff = BACKOFF_FIRST_SECONDS
        self._last_error: ZoneGateError | None = None
        # Adds what depends on the connection to a call's header block, such as the reference of a ticket.
        self.decorate: Callable[[Any, Upstream], bytes] | None = None
        self._closed = False

    @property
    def up(self) -> bool:
        """Whether a connection is open."""
        return bool(self.active)

    def submit(self, user: StreamUser) -> None:
        """Carry `user`'s stream on a connection of this pool, now or as soon as one is open."""
        for upstream in self.active:
            if upstream.carry(user):
                return
        now = self.relay.clock.monotonic()
        if not self.active and now < self._failed_until and not self._dialling:
            error = self._last_error
            user.next_hop_gone(Reason.E_UPSTREAM, error.detail if error is not None else "the next hop is down")
            return
        if len(self._waiting) >= WAITING_CALLS:
            user.next_hop_gone(Reason.E_STREAMS, f"{WAITING_CALLS} calls wait for the next hop {self.name}")
            return
        self._waiting.append(user)
        if len(self.active) < self._wanted:
            self.connect()

    def connect(self) -> None:
        """Open one more connection unless one is being opened."""
        if self._dialling or self._closed:
            return
        self._dialling = True
        self._dialler.dial(Upstream(self.relay, self, self._limits))

    def not_connected(self, error: ZoneGateError | None) -> None:
        """An attempt has failed."""
        self._dialling = False
        self._failed(error or ZoneGateError(Reason.E_UPSTREAM, f"{self.name}: closed before it was open"))

    def _failed(self, error: ZoneGateError) -> None:
        self._last_error = error
        self._failed_until = self.relay.clock.monotonic() + self._backoff
        self._backoff = min(self._backoff * 2, BACKOFF_LAST_SECONDS)
        if not self.active:
            waiting, self._waiting = self._waiting, deque()
            reason = error.reason if error.reason is Reason.E_PEER_IDENTITY else Reason.E_UPSTREAM
            for user in waiting:
                user.next_hop_gone(reason, error.detail)

    def keep_up(self, now: float) -> None:
        """Reconnect in the background, so that the first caller after an outage need not wait."""
        if not self.active and not self._dialling and now >= self._failed_until:
            self.connect()
        for upstream in self._retiring:
            upstream.tick(now)
        for upstream in list(self.active):
            upstream.tick(now)
            if upstream.channel is not None and upstream.channel.worn:
                # RFC 8446 5.5: its keys have done their share. A fresh connection first, then no new calls here.
                if len(self.active) > 1:
                    self.retire(upstream)
                else:
                    self.connect()

    def check_peers(self, check: Callable[[Peer], None]) -> None:
        """Give connections whose peer `check` refuses no new calls; calls under way are the role's to judge."""
        for upstream in list(self.active):
            if upstream.channel is not None:
                try:
                    check(upstream.channel.peer)
                except ZoneGateError as error:
                    self._last_error = error
                    self.retire(upstream)

    def connected(self, upstream: Upstream) -> None:
        """A new connection may carry calls."""
        self._dialling = False
        self._backoff = BACKOFF_FIRST_SECONDS
        self._failed_until = 0.0
        if self._closed:
            if upstream.channel is not None:
                upstream.channel.close()
            return
        self.active.append(upstream)
        self.serve_waiting()

    def lost(self, upstream: Upstream, error: ZoneGateError | None) -> None:
        """A connection is gone."""
        if upstream in self.active:
            self.active.remove(upstream)
            if error is not None:
                self._last_error = error
        self._retiring.discard(upstream)

    def replace(self, upstream: Upstream) -> None:
        """Carry new calls on another connection than `upstream`."""
        if upstream in self.active:
            self.retire(upstream)
            if not self.active:
                self.connect()

    def renew(self) -> None:
        """Carry new calls on new connections; those there are end with their last call."""
        for upstream in list(self.active):
            self.retire(upstream)
        self.connect()

    def retire(self, upstream: Upstream) -> None:
        """Give a connection no new calls; close it when its last one has ended."""
        if upstream in self.active:
            self.active.remove(upstream)
            self._retiring.add(upstream)
            self.retire_if_done(upstream)

    def retire_if_done(self, upstream: Upstream) -> None:
        """Close a retiring connection that carries nothing any more."""
        if upstream in self._retiring and not upstream.streams and upstream.channel is not None:
            self._retiring.discard(upstream)
            upstream.channel.close()

    def serve_waiting(self) -> None:
        """Hand waiting calls to connections that can carry them."""
        waiting = self._waiting
        while waiting:
            user = waiting[0]
            if getattr(user, "settled", False):
                waiting.popleft()
                continue
            if not any(upstream.carry(user) for upstream in self.active):
                return
            waiting.popleft()

    def close(self) -> None:
        """Close every connection; what is in flight ends with them."""
        self._closed = True
        for upstream in [*self.active, *self._retiring]:
            if upstream.channel is not None:
                upstream.channel.close()
