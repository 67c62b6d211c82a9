"""One HTTP/2 connection as a state machine: bytes in, events out; calls in, bytes out (RFC 9113).

`receive` never raises for what a peer does. A connection error queues GOAWAY and ends the list of events with
`ConnectionFailed`; a stream error queues RST_STREAM and gives `StreamReset(local=True)`. The owner writes
`take_output()` after each batch of calls, calls `tick` about once a second, and gives every `DataReceived.flow_bytes`
back through `acknowledge` once it is done with the bytes. A call for a stream that has ended meanwhile does nothing,
since the event that says so may still be on its way to the caller.

No socket, no clock, no thread. Timeouts (no SETTINGS acknowledgement, idle, a peer that does not read) are the owner's.
This module is the owner's side; what the peer sends is read in `inbound`, what waits to be sent is in `outbound`.
"""

from zonegate.gateway.http2.control import DRAIN_PING
from zonegate.gateway.http2.events import Event
from zonegate.gateway.http2.frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    MAX_STREAM_ID,
    PREFACE,
    ErrorCode,
    Setting,
    goaway,
    ping,
    settings,
    window_update,
)
from zonegate.gateway.http2.inbound import Inbound
from zonegate.gateway.http2.limits import Limits
from zonegate.gateway.http2.outbound import Stream
from zonegate.gateway.http2.state import Role

__all__ = ["Connection", "Limits", "Role"]

_MAX_OPEN_PINGS = 16


class Connection(Inbound):
    """The engine: `Connection(role, limits, memo)`.

    `memo` is what the header decoder remembers. Each connection has its own unless connections share one: then the same
    fields are the same objects on all of them, and what is cached under `HeaderBlock.stable` serves them all.
    """

    # -- what the owner reads

    @property
    def open_streams(self) -> int:
        """Streams of which at least one side has not ended."""
        return len(self._streams)

    @property
    def stream_ids(self) -> tuple[int, ...]:
        """The open streams' ids."""
        return tuple(self._streams)

    @property
    def can_open(self) -> bool:
        """Whether `open_stream` would succeed now."""
        return (
            not self._server
            and self.failed is None
            and self.goaway_received is None
            and not self._draining
            and self._next_id <= MAX_STREAM_ID
            and len(self._streams) < self.peer_settings.max_concurrent_streams
        )

    @property
    def draining(self) -> bool:
        """Whether `drain` or `goaway` was called."""
        return self._draining > 0

    @property
    def drained(self) -> bool:
        """Whether a draining connection has nothing left to do and may be closed."""
        return self._draining > 1 and not self._streams

    @property
    def queued_total(self) -> int:
        """Bytes of DATA that wait for windows or for the transport."""
        return self._outbound.queued_total

    def queued(self, stream_id: int) -> int:
        """Bytes of DATA that wait in one stream's queue."""
        stream = self._streams.get(stream_id)
        return stream.queued if stream is not None else 0

    @property
    def unacknowledged(self) -> int:
        """Received bytes that the owner has not acknowledged yet."""
        return self._unacknowledged

    # -- what the owner does

    def start(self) -> None:
        """Queue the connection preface (section 3.4)."""
        limits = self.limits
        values = {
            Setting.HEADER_TABLE_SIZE: 0,
            Setting.ENABLE_PUSH: 0,
            Setting.MAX_CONCURRENT_STREAMS: limits.max_concurrent_streams,
            Setting.INITIAL_WINDOW_SIZE: limits.initial_window,
            Setting.MAX_HEADER_LIST_SIZE: limits.max_header_list,
        }
        if limits.max_frame_size != DEFAULT_FRAME_SIZE:
            values[Setting.MAX_FRAME_SIZE] = limits.max_frame_size
        if not self._server:
            self._outbound.control(PREFACE)
        self._outbound.control(settings(values))
        more = limits.connection_window - DEFAULT_WINDOW
        if more:
            self._outbound.control(window_update(0, more))
            self._window += more

    def take_output(self) -> bytes:
        """Return everything that is ready to be written; b"" if nothing is."""
        return self._outbound.take()

    def open_stream(self, block: bytes, *, end_stream: bool) -> int | None:
        """Send a request's header block on a new stream; None when no stream may be opened now (`can_open`)."""
        if not self.can_open:
            return None
        stream_id = self._highest = self._next_id
        self._next_id += 2
        stream = Stream(stream_id, self._outbound.initial_window, self._stream_window)
        self._streams[stream_id] = stream
        self._window_credit += 4
        self._outbound.headers(stream, block, end_stream=end_stream)
        return stream_id

    def send_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """Send a response's header block, or trailers (`end_stream`), which wait behind queued DATA."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outbound.headers(stream, block, end_stream=end_stream)

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool) -> int:
        """Send or queue DATA; return how many bytes left at once, the rest is told by `DataSent`.

        For a stream that has ended the bytes are dropped and count as sent, so that their source is not held up.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return len(data)
        return self._outbound.data(stream, data, end_stream=end_stream)

    def acknowledge(self, stream_id: int, n: int) -> None:
        """The consumer is done with `n` received bytes: open both windows again, in steps of half a window."""
        self.took(n)
        self.grant(stream_id, n)

    def took(self, n: int) -> None:
        """The owner bounds `n` received bytes itself: open the connection's window; the stream's waits for `grant`.

        So a consumer that takes nothing holds up its own stream, and no other of the connection.
        """
        if n > self._unacknowledged:
            msg = f"acknowledge: {n} bytes, {self._unacknowledged} are open"
            raise ValueError(msg)
        self._unacknowledged -= n
        self._credit += n
        if self._credit >= self._half_window:
            self._give_back(0)

    def grant(self, stream_id: int, n: int) -> None:
        """The consumer is done with `n` bytes that were told by `took`: open the stream's window."""
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.remote_closed:
            self._give_back_to(stream, n)

    def discard(self, stream_id: int) -> None:
        """Drop what is queued on a stream, so that trailers with a refusal need not wait for a slow reader."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outbound.discard(stream)

    def reset(self, stream_id: int, code: int) -> None:
        """End a stream at once, in both directions."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._abandon(stream, code)

    def drain(self) -> None:
        """Shut down gracefully: announce it, let what is under way arrive, then name the last stream (section 6.8)."""
        if self._draining or self.failed is not None:
            return
        if not self._server:
            self.goaway(ErrorCode.NO_ERROR)
            return
        self._draining = 1
        self._drain_ticks = 0
        self._outbound.control(goaway(MAX_STREAM_ID, ErrorCode.NO_ERROR))
        self._outbound.control(ping(DRAIN_PING))

    def ping(self, opaque: bytes) -> None:
        """Send a PING; `PingAcked` tells of the answer. At most 16 are awaited, an older one is forgotten."""
        if len(opaque) != 8:
            msg = f"ping: {len(opaque)} bytes, 8 are needed"
            raise ValueError(msg)
        if len(self._open_pings) >= _MAX_OPEN_PINGS:
            del self._open_pings[next(iter(self._open_pings))]
        self._open_pings[opaque] = None
        self._outbound.control(ping(opaque))

    def set_writable(self, flag: bool) -> list[Event]:  # noqa: FBT001 - the transport's state, not a mode
        """Tell whether the transport takes bytes; when it does again, what waited goes out."""
        events: list[Event] = []
        outbound = self._outbound
        if flag and not outbound.writable:
            outbound.writable = True
            outbound.backlog = 0
            outbound.flush(events)
        elif not flag:
            outbound.writable = False
        return events

    def tick(self, monotonic_seconds: float) -> None:
        """Fill the flood budgets again, and go on with a drain whose ping was not answered."""
        self._budgets.tick(monotonic_seconds)
        if self._draining == 1:
            self._drain_ticks += 1
            if self._drain_ticks > 1:
                self.goaway(ErrorCode.NO_ERROR)
