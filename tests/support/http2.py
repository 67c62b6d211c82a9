"""Raw HTTP/2 frames for tests: built and read here without the engine's own code, and peers that are set up."""

import struct
from typing import NamedTuple

from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import Event

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 1, 1, 4, 8, 32


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def u32(value: int) -> bytes:
    return struct.pack(">I", value)


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", code, value) for code, value in pairs))


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW, 0, stream, u32(increment))


def field(name: bytes, value: bytes, first: int = 0) -> bytes:
    """A literal field with a literal name, no Huffman; both shorter than 127 bytes."""
    return bytes((first, len(name))) + name + bytes((len(value),)) + value


def block(*pairs: tuple[bytes, bytes], first: int = 0) -> bytes:
    return b"".join(field(name, value, first) for name, value in pairs)


REQUEST_PAIRS = (
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a.B/C"),
    (b":authority", b"x"),
    (b"te", b"trailers"),
)
REQUEST = block(*REQUEST_PAIRS)
RESPONSE = block((b":status", b"200"), (b"content-type", b"application/grpc"))
TRAILERS = block((b"grpc-status", b"0"))


def frames(data: bytes) -> list[Frame]:
    """Read what an engine wrote."""
    found = []
    while data:
        length = int.from_bytes(data[:3])
        assert len(data) >= 9 + length, "a frame is cut short"
        found.append(Frame(data[3], data[4], int.from_bytes(data[5:9]), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


def server(limits: Limits | None = None, *, acked: bool = True) -> Connection:
    """A server engine whose client has sent preface and SETTINGS, and has acknowledged ours and declared no table."""
    engine = Connection(Role.SERVER, limits or Limits())
    engine.start()
    engine.receive(PREFACE + settings())
    if acked:
        engine.receive(frame(SETTINGS, ACK))
        engine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20" + REQUEST))
        engine.send_headers(1, RESPONSE, end_stream=True)
        assert engine.open_streams == 0
    engine.take_output()
    return engine


def client(limits: Limits | None = None, *, streams: int = 0) -> Connection:
    """A client engine whose server has sent SETTINGS and acknowledged ours; `streams` requests are under way."""
    engine = Connection(Role.CLIENT, limits or Limits())
    engine.start()
    engine.receive(settings() + frame(SETTINGS, ACK))
    for _ in range(streams):
        assert engine.open_stream(REQUEST, end_stream=False)
    engine.take_output()
    return engine


def exchange(one: Connection, other: Connection) -> list[tuple[Role, Event]]:
    """Carry bytes both ways until there are none; return who saw what."""
    seen: list[tuple[Role, Event]] = []
    while True:
        from_one, from_other = one.take_output(), other.take_output()
        if not from_one and not from_other:
            return seen
        seen += [(other.role, event) for event in other.receive(from_one)]
        seen += [(one.role, event) for event in one.receive(from_other)]
