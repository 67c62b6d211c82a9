"""A load generator that sends raw HTTP/2 frames: unary gRPC calls, so many in flight, over one connection.

`headers="constant"` sends the same block each time, as h2load does; `"real"` gives every call its own `traceparent`
and `grpc-timeout`, as grpcio clients do. It serves zonegate and Envoy alike. Closed loop: a call follows a call.
"""

import asyncio
import time
from dataclasses import dataclass, field
from typing import cast

from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import ConnectionFailed, DataReceived, HeadersReceived, StreamReset, TrailersReceived
from zonegate.gateway.http2.headers import literal
from zonegate.gateway.inspect.messages import frame

LIMITS = Limits(max_concurrent_streams=4096, initial_window=8 << 20, connection_window=64 << 20)


@dataclass
class Result:
    """What one run saw."""

    calls: int
    failed: int
    seconds: float
    latencies: list[float] = field(default_factory=list)

    def quantile(self, part: float) -> float:
        """Return the latency that `part` of the calls did not exceed, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


class _Client(asyncio.Protocol):
    def __init__(self, head: bytes, body: bytes, *, in_flight: int, calls: int, real: bool) -> None:
        self.head = head
        self.body = frame(body)
        self.in_flight = in_flight
        self.calls = calls
        self.real = real
        self.started = 0
        self.result = Result(0, 0, 0.0)
        self.begun: dict[int, float] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.http2 = Connection(Role.CLIENT, LIMITS)
        self.http2.start()
        self.begin = time.perf_counter()
        self.fill()
        self.transport.write(self.http2.take_output())

    def fill(self) -> None:
        http2 = self.http2
        while self.started < self.calls and len(self.begun) < self.in_flight:
            head = self.head
            if self.real:
                number = self.started + 0x1000_0000
                trace = b"00-%032x-%016x-01" % (number * 0x9E37_79B9_7F4A_7C15 % (1 << 128), number)
                head += literal(b"traceparent", trace).wire
                head += literal(b"grpc-timeout", b"%du" % (9_000_000 + self.started % 900_000)).wire
            stream_id = http2.open_stream(head, end_stream=False)
            if stream_id is None:
                return
            http2.send_data(stream_id, self.body, end_stream=True)
            self.begun[stream_id] = time.perf_counter()
            self.started += 1

    def data_received(self, data: bytes) -> None:
        result = self.result
        for event in self.http2.receive(data):
            kind = type(event)
            if kind is DataReceived:
                self.http2.acknowledge(event.stream_id, event.flow_bytes)
            elif kind is TrailersReceived or (kind is HeadersReceived and event.end_stream):
                result.latencies.append(time.perf_counter() - self.begun.pop(event.stream_id))
                result.calls += 1
                result.failed += event.block.get(b"grpc-status") != b"0"
            elif kind is StreamReset and event.stream_id in self.begun:
                del self.begun[event.stream_id]
                result.calls += 1
                result.failed += 1
            elif kind is ConnectionFailed:
                self.finish()
                return
        if result.calls >= self.calls:
            self.finish()
            return
        self.fill()
        if out := self.http2.take_output():
            self.transport.write(out)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.finish()

    def finish(self) -> None:
        if not self.done.done():
            self.result.failed += self.calls - self.result.calls
            self.result.seconds = time.perf_counter() - self.begin
            self.done.set_result(None)
            self.transport.close()


async def load(
    port: int,
    path: str,
    metadata: tuple[tuple[str, str], ...],
    *,
    body: bytes,
    in_flight: int,
    calls: int,
    real: bool,
) -> Result:
    """Make `calls` unary calls with `in_flight` at once; return counts and latencies in seconds."""
    pairs = (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "bench"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "grpc-python/1.85.0 grpc-c/54.0.0 (linux; chttp2)"),
        ("grpc-accept-encoding", "identity, deflate, gzip"),
        *metadata,
    )
    head = b"".join(literal(name.encode(), value.encode()).wire for name, value in pairs)
    client = _Client(head, body, in_flight=in_flight, calls=calls, real=real)
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    await client.done
    return client.result
