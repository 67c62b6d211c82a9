"""Peers that misbehave: whatever one of them does, the process goes on serving its neighbour (issue, "Bad input")."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import grpc
import pytest

from support.lab import METADATA, SERVER_STREAM, UNARY, Lab, refusal
from support.tls import Stock, client_hello
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.http2.headers import literal

pytestmark = pytest.mark.xdist_group("abuse")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("abuse"))
    lab.start()
    yield lab
    lab.close()


@pytest.fixture(autouse=True)
def neighbour(lab: Lab) -> Iterator[None]:
    """Call without pause on a connection of its own for as long as the test runs: no call may fail."""
    stop, failed, answered = threading.Event(), [], [0]

    def call_on() -> None:
        with lab.channel() as channel:
            unary = channel.unary_unary(UNARY)
            while not stop.is_set():
                try:
                    unary(b"x", metadata=METADATA, timeout=10)
                except grpc.RpcError as error:
                    failed.append(error)
                    return
                answered[0] += 1
                stop.wait(0.005)

    thread = threading.Thread(target=call_on)
    thread.start()
    yield
    goal = answered[0] + 5
    end = time.monotonic() + 10
    while answered[0] < goal and not failed and time.monotonic() < end:
        stop.wait(0.01)
    stop.set()
    thread.join()
    assert not failed, failed[0]
    assert answered[0] >= goal, "the neighbour is served afterwards too"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def request_block(*pairs: tuple[bytes, bytes]) -> bytes:
    base = (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", UNARY.encode()),
        (b":authority", b"x"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    )
    return b"".join(literal(name, value).wire for name, value in (*base, *pairs))


@contextlib.contextmanager
def raw(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(PREFACE + SETTINGS)
        yield sock


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while data := sock.recv(65536):
            received += data
    return received


def goaway_codes(data: bytes) -> list[int]:
    codes = []
    while len(data) >= 9:
        length, kind = int.from_bytes(data[:3], "big"), data[3]
        if kind == 7:
            codes.append(int.from_bytes(data[13:17], "big"))
        data = data[9 + length :]
    return codes


def test_half_handshakes_and_slow_clients(lab: Lab) -> None:
    hello = client_hello(Stock())
    with contextlib.ExitStack() as stack:
        for port in (lab.ports["gw-a"], lab.ports["gw-b"], lab.ports["provider"]):
            for sent in (b"", hello[:1], hello[:50], hello, b"\x16\x03\x01\x40\x00" + b"\x01" * 200):
                sock = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                sock.sendall(sent)
        slow = stack.enter_context(socket.create_connection(("127.0.0.1", lab.ports["gw-a"]), timeout=10))
        for byte in hello[:40]:
            slow.sendall(bytes((byte,)))
        # On the local edge, where there is no handshake: a preface that comes byte by byte, and stops.
        local = stack.enter_context(socket.create_connection(("127.0.0.1", lab.route_port), timeout=10))
        for byte in PREFACE[:20]:
            local.sendall(bytes((byte,)))


def test_a_header_list_that_is_too_large(lab: Lab) -> None:
    with lab.channel() as channel:
        for size in (40_000, 200_000, 2_000_000):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(UNARY)(b"x", metadata=(*METADATA, ("x-note", "v" * size)), timeout=10)
            assert caught.value.code() in {
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.INTERNAL,
            }


def test_a_resource_that_lists_a_name_still_bounds_it(lab: Lab) -> None:
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(b"x", metadata=(*METADATA, ("x-note", "v" * 5000)))
    assert refusal(caught.value)[1] == "E_METADATA"


def test_a_hundred_thousand_small_fields(lab: Lab) -> None:
    block = request_block() + b"".join(literal(b"x%d" % number, b"").wire for number in range(100_000))
    frames = [block[at : at + 16_000] for at in range(0, len(block), 16_000)]
    with raw(lab.route_port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(frame(1, 0, 1, frames[0]))
            for number, part in enumerate(frames[1:], 2):
                sock.sendall(frame(9, 4 if number == len(frames) else 0, 1, part))
        assert goaway_codes(read_to_end(sock)) != []


INVALID = {
    "a purpose that is not UTF-8": (b"zg-purpose", b"\xff\xfe"),
    "an escape that is not UTF-8": (b"zg-purpose", b"%FF"),
    "a label of raw bytes": (b"zg-label", b"L1;cat=\xff"),
    "a key of raw bytes": (b"zg-idempotency-key", b"\xc3\x28"),
    "a timeout that is none": (b"grpc-timeout", b"soon"),
}


@pytest.mark.parametrize("field", INVALID.values(), ids=INVALID)
def test_values_that_are_no_text(lab: Lab, field: tuple[bytes, bytes]) -> None:
    with raw(lab.route_port) as sock:
        engine = Connection(Role.CLIENT, Limits())
        sock.sendall(frame(1, 5, 1, request_block(field)))
        received = b""
        while b"E_METADATA" not in received and b"E_LABEL" not in received:
            data = sock.recv(65536)
            assert data, f"the connection ended: {received!r}"
            received += data
        assert engine.failed is None


def test_a_path_of_raw_bytes_is_not_in_the_catalogue(lab: Lab) -> None:
    base = request_block().replace(literal(b":path", UNARY.encode()).wire, literal(b":path", b"/\xff/\xfe").wire)
    with raw(lab.route_port) as sock:
        sock.sendall(frame(1, 5, 1, base))
        received = b""
        while b"E_NOT_CATALOGUED" not in received:
            data = sock.recv(65536)
            assert data
            received += data


def test_a_client_that_never_reads(lab: Lab) -> None:
    body = b"2000:" + b"x" * 4096
    path = request_block((b"zg-purpose", b"check")).replace(
        literal(b":path", UNARY.encode()).wire, literal(b":path", SERVER_STREAM.encode()).wire
    )
    with raw(lab.route_port) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        for stream in range(1, 40, 2):
            message = b"\0" + len(body).to_bytes(4, "big") + body
            sock.sendall(frame(1, 4, stream, path) + frame(0, 1, stream, message))
        deadline = time.monotonic() + 1.0
        while time.monotonic() < deadline:
            assert lab.gateway_a.figure("process_resident_memory_bytes") < 600 << 20
            threading.Event().wait(0.2)


def test_a_flood_of_resets(lab: Lab) -> None:
    block = request_block((b"zg-purpose", b"check"))
    with raw(lab.route_port) as sock:
        with contextlib.suppress(ConnectionError):
            for stream in range(1, 8001, 2):
                sock.sendall(frame(1, 4, stream, block) + frame(3, 0, stream, int(ErrorCode.CANCEL).to_bytes(4, "big")))
        codes = goaway_codes(read_to_end(sock))
        assert ErrorCode.ENHANCE_YOUR_CALM in codes


FLOODS: dict[str, Callable[[int], bytes]] = {
    "PING": lambda _: frame(6, 0, 0, b"12345678"),
    "SETTINGS": lambda _: frame(4, 0, 0),
    "empty DATA": lambda _: frame(0, 0, 1),
    "WINDOW_UPDATE": lambda _: frame(8, 0, 0, b"\0\0\0\1"),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames(lab: Lab, kind: str) -> None:
    with raw(lab.route_port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(frame(1, 4, 1, request_block((b"zg-purpose", b"check"))))
            for number in range(200):
                sock.sendall(FLOODS[kind](number) * 100)
        assert goaway_codes(read_to_end(sock))


def test_a_message_that_announces_more_than_it_may(lab: Lab) -> None:
    with raw(lab.route_port) as sock:
        block = request_block((b"zg-purpose", b"check"))
        sock.sendall(frame(1, 4, 1, block) + frame(0, 0, 1, b"\0\xff\xff\xff\xff"))
        received = b""
        while b"E_MESSAGE_SIZE" not in received:
            data = sock.recv(65536)
            assert data
            received += data
