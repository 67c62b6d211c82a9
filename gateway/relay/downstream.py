"""[a] A connection from a caller: HTTP/2 server side, one `Call` a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import (
    ConnectionFailed,
    DataReceived,
    DataSent,
    HeadersReceived,
    StreamReset,
    TrailersReceived,
)
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.metadata import read_timeout
from zonegate.gateway.relay.call import Call
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.gateway.relay.core import Relay
    from zonegate.gateway.tls.channel import Channel


class Downstream:
    """The server side of one connection; a `ChannelApp` of `zonegate.gateway.tls.channel`."""

    def __init__(self, relay: Relay, limits: Limits, on_protocol_error: Callable[[Reason, str], None]) -> None:
        self.relay = relay
        self.http2: Connection
        self.calls: dict[int, Call] = {}
        self.dirty = False
        self.context: Any = None  # the role's own record of the peer
        self.channel: Channel
        self._limits = limits
        self._on_protocol_error = on_protocol_error
        self._settings_due = 0.0
        self._open = False
        self._draining = False

    # -- ChannelApp ----------------------------------------------------------------------------------------------

    def opened(self, channel: Channel) -> None:
        """The peer is admitted; greet it."""
        self.channel = channel
        self.http2 = Connection(Role.SERVER, self._limits, self.relay.memo_of(channel.peer))
        self._settings_due = self.relay.clock.monotonic() + self.relay.limits.settings_seconds
        self._open = True
        self.relay.downstreams.add(self)
        self.http2.start()
        self.relay.handler.admitted(self)
        self.relay.touch(self)

    def received(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._dispatch(self.http2.receive(data))
        self.relay.touch(self)
        self.relay.flush()

    def writable(self, flag: bool) -> None:  # noqa: FBT001 - the transport's own word
        """Stop or go on sending."""
        self._dispatch(self.http2.set_writable(flag))
        self.relay.touch(self)

    def closed(self, error: ZoneGateError | None) -> None:
        """The peer is gone: every call of its ends."""
        del error
        if not self._open:
            return
        self._open = False
        self.relay.downstreams.discard(self)
        for call in list(self.calls.values()):
            call.caller_gone()
        self.relay.handler.closed(self)
        self.relay.flush()

    # -- relay ---------------------------------------------------------------------------------------------------

    def write_out(self) -> None:
        """Write what is queued; close a drained or failed connection."""
        if not self._open:
            return
        data = self.http2.take_output()
        if data:
            self.channel.write_now(data)
        # A drained connection is closed when the peer has seen the GOAWAY: what it sent before that still arrives.
        if self.http2.failed or (self._draining and self.http2.drained and not self.calls):
            self.channel.close()

    def tick(self, now: float) -> None:
        """Replenish the flood budgets; end a peer that does not speak HTTP/2 at all."""
        self.http2.tick(now)
        if self.channel.worn and not self._draining:
            self.drain()
        if not self.http2.settings_acked and now >= self._settings_due:
            self._on_protocol_error(Reason.E_HTTP2, "our SETTINGS were not acknowledged")
            self.abort(Reason.E_HTTP2)
        if self._draining:
            self.relay.touch(self)

    def drain(self) -> None:
        """Take no new calls and close when the last one has ended."""
        self._draining = True
        self.http2.drain()
        self.relay.touch(self)

    def abort(self, reason: Reason) -> None:
        """Tell the peer why it may not stay, and end the connection."""
        if self._open:
            self.http2.goaway(ErrorCode.NO_ERROR, reason.value.encode())
            data = self.http2.take_output()
            if data:
                self.channel.write(data)
            self.channel.close()

    def _dispatch(self, events: list[Any]) -> None:
        calls = self.calls
        for event in events:
            kind = type(event)
            if kind is HeadersReceived:
                self._begin(event)
            elif kind is DataReceived:
                self.http2.took(event.flow_bytes)
                call = calls.get(event.stream_id)
                if call is None:
                    self.http2.grant(event.stream_id, event.flow_bytes)
                else:
                    call.request_data(event.data, event.flow_bytes, ended=event.end_stream)
            elif kind is DataSent:
                call = calls.get(event.stream_id)
                if call is not None:
                    call.caller_drained()
            elif kind is StreamReset:
                call = calls.get(event.stream_id)
                if call is not None:
                    call.caller_gone()
            elif kind is TrailersReceived:
                # gRPC has no request trailers; the end of the stream is what counts.
                call = calls.get(event.stream_id)
                if call is not None:
                    call.request_data(b"", 0, ended=True)
            elif kind is ConnectionFailed:
                self._on_protocol_error(Reason.E_HTTP2, event.detail)

    def _begin(self, event: HeadersReceived) -> None:
        relay = self.relay
        relay.handler.heard(self, event.block)
        call = Call(
            relay,
            self,
            event.stream_id,
            event.block,
            ended=event.end_stream,
            started=relay.clock.monotonic(),
        )
        self.calls[event.stream_id] = call
        relay.calls.add(call)
        if event.end_stream:
            call.held.append((b"", True))
        if len(relay.calls) > relay.limits.open_calls:
            call.refuse(Reason.E_STREAMS, f"{relay.limits.open_calls} calls are open in this process")
            return
        timeout = event.block.get(b"grpc-timeout")
        if timeout is not None:
            try:
                relay.watch_deadline(call, read_timeout(timeout))
            except ZoneGateError as error:
                call.refuse(error.reason, error.detail)
                return
        relay.handler.begin(call)
