"""A relay between two HTTP/2 engines in memory: no sockets, no time but a fake clock's."""

import asyncio
from collections.abc import Callable
from typing import Any

from support.clock import FakeClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.headers import HeaderBlock, literal
from zonegate.gateway.relay.call import Call
from zonegate.gateway.relay.core import CallHandler, Relay, RelayLimits
from zonegate.gateway.relay.downstream import Downstream
from zonegate.gateway.relay.upstream import Upstream, UpstreamPool
from zonegate.gateway.tls.channel import Peer
from zonegate.reasons import Reason


def block(*pairs: tuple[str, str]) -> bytes:
    return b"".join(literal(name.encode(), value.encode()).wire for name, value in pairs)


REQUEST = block(
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a.B/C"),
    (":authority", "x"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)
RESPONSE = block((":status", "200"), ("content-type", "application/grpc"))
TRAILERS = block(("grpc-status", "0"))


def message(body: bytes) -> bytes:
    return b"\0" + len(body).to_bytes(4, "big") + body


class MemoryChannel:
    """The relay's end of a connection; the other end is an engine that the test drives."""

    def __init__(self, far: Connection, peer: Peer | None = None) -> None:
        self.far = far
        self.peer = peer or Peer(address="memory")
        self.app: Any = None
        self.worn = False
        self.closed = False
        self.aborted: Reason | None = None
        self.events: list[Any] = []

    def write(self, data: bytes) -> None:
        self.events += self.far.receive(data)

    write_now = write

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.app.closed(None)

    def abort(self, reason: Reason, detail: str = "") -> None:
        if not self.closed:
            self.closed = True
            self.aborted = reason
            self.app.closed(ZoneGateError(reason, detail))

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def pump(self) -> None:
        """Carry what the far engine has queued to the relay."""
        if data := self.far.take_output():
            self.app.received(data)

    def take(self) -> list[Any]:
        taken, self.events = self.events, []
        return taken


class MemoryDialler:
    """Opens memory channels to engines in the server's role; refuses while `error` is set."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.channels: list[MemoryChannel] = []
        self.error: ZoneGateError | None = None
        self.attempts = 0
        self.held: list[Upstream] | None = None

    def dial(self, app: Upstream) -> None:
        self.attempts += 1
        if self.held is not None:
            self.held.append(app)
        elif self.error is not None:
            app.closed(self.error)
        else:
            self.open(app)

    def open(self, app: Upstream) -> None:
        far = Connection(Role.SERVER, self.limits)
        far.start()
        channel = MemoryChannel(far)
        channel.app = app
        self.channels.append(channel)
        app.opened(channel)


class PassingHandler:
    """A role that forwards everything as it is; a test replaces `decide`."""

    def __init__(self) -> None:
        self.pool: UpstreamPool
        self.ended_calls: list[Call] = []
        self.decide: Callable[[Call], None] = lambda call: call.forward(self.pool, REQUEST)

    def admitted(self, down: Downstream) -> None: ...

    def closed(self, down: Downstream) -> None: ...

    def heard(self, down: Downstream, block: HeaderBlock) -> None: ...

    def begin(self, call: Call) -> None:
        self.decide(call)

    def response(self, call: Call, head: HeaderBlock) -> bytes | None:  # noqa: ARG002 - the role's signature
        return b"".join(item.wire for item in (*head.stable, *head.volatile))

    def trailers(self, call: Call, tail: HeaderBlock) -> bytes:
        call.status = int(tail.get(b"grpc-status") or b"2")
        return b"".join(item.wire for item in (*tail.stable, *tail.volatile))

    def ended(self, call: Call) -> None:
        self.ended_calls.append(call)


class Wire:
    """Caller engine <-> relay <-> provider engine."""

    def __init__(
        self,
        *,
        limits: Limits | None = None,
        relay_limits: RelayLimits | None = None,
        role: CallHandler | None = None,
        clock: FakeClock | None = None,
        peer: Peer | None = None,
        context: Any = None,
    ) -> None:
        """`role` stands in for the passing handler; its test gives it `pool`. `context` is what a listener sets."""
        self.clock = clock or FakeClock()
        self.loop = asyncio.new_event_loop()
        self.handler = PassingHandler()
        limits = limits or Limits()
        self.relay = Relay(self.loop, role or self.handler, relay_limits or RelayLimits(), self.clock)
        self.dialler = MemoryDialler(limits)
        self.pool = self.handler.pool = UpstreamPool(self.relay, "hop", self.dialler, limits)
        self.protocol_errors: list[tuple[Reason, str]] = []
        down = Downstream(self.relay, limits, lambda reason, detail: self.protocol_errors.append((reason, detail)))
        self.caller = Connection(Role.CLIENT, limits)
        self.caller.start()
        self.near = MemoryChannel(self.caller, peer)
        self.near.app = down
        self.down = down
        down.context = context
        down.opened(self.near)
        self.settle()

    @property
    def provider(self) -> Connection:
        return self.dialler.channels[-1].far

    @property
    def far(self) -> MemoryChannel:
        return self.dialler.channels[-1]

    def settle(self) -> None:
        """Carry bytes both ways until nothing moves."""
        for _ in range(10_000):
            self.relay.flush()
            channels = [channel for channel in (self.near, *self.dialler.channels) if not channel.closed]
            outputs = [(channel, channel.far.take_output()) for channel in channels]
            if not any(data for _, data in outputs):
                return
            for channel, data in outputs:
                if data and not channel.closed:
                    channel.app.received(data)
        msg = "bytes never settle"
        raise AssertionError(msg)

    def call(self, *bodies: bytes, end: bool = True, request: bytes = REQUEST) -> int:
        stream_id = self.caller.open_stream(request, end_stream=False)
        assert stream_id is not None
        for body in bodies:
            self.caller.send_data(stream_id, message(body), end_stream=False)
        if end:
            self.caller.send_data(stream_id, b"", end_stream=True)
        self.settle()
        return stream_id

    def tick(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.relay._tick()  # the loop's timer is not run; its one callback is what it would do
        self.settle()

    def close(self) -> None:
        self.relay.close()
        self.loop.close()
