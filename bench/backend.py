"""A gRPC backend that answers every unary call at once with the message it got; plain HTTP/2, one process.

backend.py PORT
"""

import asyncio
import sys
from typing import cast

import uvloop

from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import DataReceived
from zonegate.gateway.http2.headers import literal

HEADERS = literal(b":status", b"200").wire + literal(b"content-type", b"application/grpc").wire
TRAILERS = literal(b"grpc-status", b"0").wire
LIMITS = Limits(max_concurrent_streams=4096, initial_window=8 << 20, connection_window=64 << 20)


class Backend(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.http2 = Connection(Role.SERVER, LIMITS)
        self.http2.start()
        self.bodies: dict[int, list[bytes]] = {}

    def data_received(self, data: bytes) -> None:
        http2, bodies = self.http2, self.bodies
        for event in http2.receive(data):
            if type(event) is DataReceived:
                http2.acknowledge(event.stream_id, event.flow_bytes)
                bodies.setdefault(event.stream_id, []).append(event.data)
                if event.end_stream:
                    http2.send_headers(event.stream_id, HEADERS, end_stream=False)
                    http2.send_data(event.stream_id, b"".join(bodies.pop(event.stream_id)), end_stream=False)
                    http2.send_headers(event.stream_id, TRAILERS, end_stream=True)
        self.transport.write(http2.take_output())


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Backend, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
