"""CPU microseconds of the HTTP/2 engine for one relayed unary call, both connections of the middle hop together.

    .venv/bin/python bench/bench_http2.py [--calls N] [--profile]

The middle hop's two engines are fed with the exact bytes of a grpcio client and server: request HEADERS and DATA in on
the server side, out on the client side, response HEADERS, DATA and trailers back. No TLS, no policy, no evidence, no
loop: what is measured is frame parsing, HPACK, flow control and framing. `constant` repeats one header block; `real`
gives each call its own grpc-timeout and traceparent, as grpcio clients do. `in flight` calls share one read.
"""

import argparse
import cProfile
import pstats
import statistics
import time

from zonegate.gateway.http2 import frames
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import DataReceived, HeadersReceived, TrailersReceived
from zonegate.gateway.http2.headers import encode
from zonegate.gateway.http2.memo import HeaderMemo

MESSAGE = b"\0" + (200).to_bytes(4) + bytes(200)


def grpcio_request(timeout: bytes, traceparent: bytes) -> bytes:
    """Return a header block as grpcio 1.85 sends it once the table size is 0."""

    def field(name: bytes, value: bytes, first: bytes = b"\x40") -> bytes:
        return first + bytes((len(name),)) + name + bytes((len(value),)) + value

    return b"".join(
        [
            field(b":path", b"/population.v1.Population/Verify"),
            field(b":authority", b"127.0.0.1:57365"),
            b"\x83\x86",
            field(b"content-type", b"application/grpc"),
            field(b"te", b"trailers"),
            field(b"grpc-accept-encoding", b"identity, deflate, gzip"),
            field(b"grpc-timeout", timeout),
            field(b"user-agent", b"grpc-python/1.85.1 grpc-c/58.0.0 (linux; chttp2)"),
            field(b"traceparent", traceparent, b"\x00"),
            field(b"zg-purpose", b"credit-check", b"\x00"),
            field(b"zg-case", b"2030-000017", b"\x00"),
        ]
    )


RESPONSE = b"\x88\x40\x0ccontent-type\x10application/grpc\x40\x14grpc-accept-encoding\x17identity, deflate, gzip"
TRAILERS = b"\x40\x0bgrpc-status\x010\x00\x0cgrpc-message\x00"


def header_frame(stream_id: int, block: bytes, flags: int = 0) -> bytes:
    """Return a HEADERS frame."""
    return frames.header_frames(stream_id, block, flags, 16_384)


def data_frame(stream_id: int, data: bytes, flags: int = 0) -> bytes:
    """Return a DATA frame."""
    return frames.data_head(stream_id, len(data), flags) + data


class Hop:
    """The two engines of a middle hop, and the least relay there can be between them."""

    def __init__(self, memo: HeaderMemo) -> None:
        self.server = Connection(Role.SERVER, Limits(), memo)
        self.client = Connection(Role.CLIENT, Limits(), memo)
        no_table = frames.settings({frames.Setting.HEADER_TABLE_SIZE: 0, frames.Setting.MAX_CONCURRENT_STREAMS: 1000})
        self.server.start()
        self.client.start()
        self.server.receive(frames.PREFACE + no_table + frames.SETTINGS_ACK + frames.window_update(0, 2**30))
        self.client.receive(no_table + frames.SETTINGS_ACK + frames.window_update(0, 2**30))
        # the first block after the acknowledgement declares the table size
        self.server.receive(header_frame(1, b"\x20" + grpcio_request(b"1S", b"00-" + b"0" * 52), 1))
        self.server.reset(1, 8)
        self.client.open_stream(grpcio_request(b"1S", b"00-" + b"0" * 52), end_stream=True)
        self.client.receive(header_frame(1, b"\x20\x88", 1))
        self.take()

    def take(self) -> bytes:
        """Return what both engines have to write."""
        return self.server.take_output() + self.client.take_output()

    def request(self, data: bytes) -> list[tuple[int, int]]:
        """Relay what the caller sent; return the pairs of streams that it opened."""
        client, server = self.client, self.server
        pairs = []
        upstream = 0
        for event in server.receive(data):
            if type(event) is HeadersReceived:
                block = event.block
                upstream = client.open_stream(encode(block.stable) + encode(block.volatile), end_stream=False) or 0
                pairs.append((event.stream_id, upstream))
            elif type(event) is DataReceived:
                client.send_data(upstream, event.data, end_stream=event.end_stream)
                server.acknowledge(event.stream_id, event.flow_bytes)
        client.take_output()
        server.take_output()
        return pairs

    def response(self, data: bytes, back: dict[int, int]) -> None:
        """Relay what the provider sent; `back` leads from its streams to the caller's."""
        client, server = self.client, self.server
        for event in client.receive(data):
            if type(event) is HeadersReceived:
                server.send_headers(back[event.stream_id], encode(event.block.fields), end_stream=False)
            elif type(event) is DataReceived:
                server.send_data(back[event.stream_id], event.data, end_stream=False)
                client.acknowledge(event.stream_id, event.flow_bytes)
            elif type(event) is TrailersReceived:
                server.send_headers(back[event.stream_id], encode(event.block.fields), end_stream=True)
        client.take_output()
        server.take_output()


def run(hop: Hop, calls: int, in_flight: int, headers: str, first: int) -> float:
    """Return CPU microseconds per call."""
    requests, responses, ids = [], [], []
    stream_id, upstream = first, first
    for batch in range(calls // in_flight):
        request, response, pairs = [], [], []
        for call in range(in_flight):
            n = batch * in_flight + call
            if headers == "constant":
                block = grpcio_request(b"5S", b"00-" + b"0" * 52)
            else:
                block = grpcio_request(b"%dm" % (4000 + n % 997), b"00-%032x-%016x-01" % (first + n, n))
            request.append(header_frame(stream_id, block) + data_frame(stream_id, MESSAGE, 1))
            response.append(
                header_frame(upstream, RESPONSE) + data_frame(upstream, MESSAGE) + header_frame(upstream, TRAILERS, 1)
            )
            pairs.append((stream_id, upstream))
            stream_id += 2
            upstream += 2
        requests.append(b"".join(request))
        responses.append(b"".join(response))
        ids.append({up: down for down, up in pairs})
    begin = time.process_time()
    for request_bytes, response_bytes, back in zip(requests, responses, ids, strict=True):
        hop.request(request_bytes)
        hop.response(response_bytes, back)
    spent = time.process_time() - begin
    assert hop.server.failed is None
    assert hop.client.failed is None
    assert hop.server.open_streams == hop.client.open_streams == 0
    hop.server.tick(first)
    return spent / calls * 1e6


def main() -> None:
    """Print a line for each load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=9_600)
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    for headers in ("constant", "real"):
        for in_flight in (1, 4, 64):
            hop = Hop(HeaderMemo())
            first = 3
            results = []
            for _round in range(5):
                results.append(run(hop, args.calls, in_flight, headers, first))
                first += 2 * (args.calls // in_flight * in_flight)
            print(
                f"{headers:9} {in_flight:3} in flight  {statistics.median(results):6.2f} us per relayed call"
                f" (best {min(results):.2f})"
            )
    if args.profile:
        hop = Hop(HeaderMemo())
        profile = cProfile.Profile()
        profile.enable()
        run(hop, args.calls, 4, "real", 3)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(22)


if __name__ == "__main__":
    main()
