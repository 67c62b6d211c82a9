"""Floods meet their budget: the flood's last allowed frame passes, one more ends the connection."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest

from support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    REQUEST,
    RST,
    SETTINGS,
    block,
    client,
    field,
    frame,
    server,
    settings,
    u32,
    window,
)
from zonegate.gateway.http2.connection import Connection, Limits
from zonegate.gateway.http2.events import ConnectionFailed
from zonegate.gateway.http2.frames import ErrorCode

# One acknowledgement of settings and one request precede (`server`), so settings and window updates count from there.
SMALL = Limits(max_pings=5, max_settings=5, max_resets=5, max_empty_frames=5, max_window_updates=5, max_continuation=5)


def open_(stream: int) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, REQUEST)


FLOODS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "PING (CVE-2019-9512)": (lambda n: frame(PING, 0, 0, n.to_bytes(8)), 5),
    "PING acknowledgements": (lambda n: frame(PING, ACK, 0, n.to_bytes(8)), 5),
    "SETTINGS (CVE-2019-9515)": (lambda _n: settings((3, 1)), 4),
    "SETTINGS acknowledgements": (lambda _n: frame(SETTINGS, ACK), 4),
    "rapid reset (CVE-2023-44487)": (lambda n: open_(2 * n + 3) + frame(RST, 0, 2 * n + 3, u32(8)), 5),
    "making us reset (CVE-2025-8671)": (lambda n: open_(2 * n + 3) + window(2 * n + 3, 0), 5),
    "malformed requests": (lambda n: frame(HEADERS, END_HEADERS, 2 * n + 3, REQUEST + field(b"A", b"")), 5),
    "RST_STREAM on closed streams": (lambda _n: frame(RST, 0, 1, u32(8)), 5),
    "empty DATA (CVE-2019-9518)": (lambda n: (open_(3) if n == 0 else b"") + frame(DATA, 0, 3), 5),
    "DATA of padding alone": (lambda n: (open_(3) if n == 0 else b"") + frame(DATA, 8, 3, b"\x01\0"), 5),
    "PRIORITY (CVE-2019-9513)": (lambda n: frame(PRIORITY, 0, n + 1, bytes(5)), 5),
    "unknown frames": (lambda n: frame(0x40, 0, n, bytes(50)), 5),
    # the request before and stream 3 bring four updates each
    "WINDOW_UPDATE": (lambda _n: window(0, 1), 5 + 4),
    "GOAWAY": (lambda _n: frame(7, 0, 0, bytes(8)), 4),
}


@pytest.mark.parametrize(("one", "allowed"), FLOODS.values(), ids=FLOODS)
def test_flood(one: Callable[[int], bytes], allowed: int) -> None:
    engine = server(SMALL)
    for n in range(allowed):
        engine.receive(one(n))
        assert engine.failed is None, f"failed at {n}"
    engine.receive(one(allowed))
    assert engine.failed is not None
    assert engine.failed.code is ErrorCode.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(("one", "allowed"), FLOODS.values(), ids=FLOODS)
def test_a_budget_fills_again(one: Callable[[int], bytes], allowed: int) -> None:
    engine = server(SMALL)
    seconds = 0.0
    engine.tick(seconds)
    for n in range(3 * allowed):
        engine.receive(one(n))
        seconds += SMALL.budget_seconds / 4
        engine.tick(seconds)
        assert engine.failed is None


def test_time_that_runs_backwards_gives_nothing() -> None:
    engine = server(SMALL)
    engine.tick(100.0)
    for n in range(6):
        engine.receive(frame(PING, 0, 0, n.to_bytes(8)))
        engine.tick(50.0)
    assert engine.failed is not None


def test_window_updates_are_paid_for_by_the_data_they_answer() -> None:
    engine = client(SMALL, streams=1)
    for _ in range(200):
        engine.send_data(1, bytes(100), end_stream=False)
        engine.receive(window(0, 100) + window(1, 100))
    assert engine.failed is None


def test_1xx_responses_are_bounded() -> None:
    engine = client(SMALL, streams=1)
    interim = block((b":status", b"103"))
    engine.receive(frame(HEADERS, END_HEADERS, 1, b"\x20" + interim))
    for _ in range(4):
        engine.receive(frame(HEADERS, END_HEADERS, 1, interim))
    assert engine.failed is None
    engine.receive(frame(HEADERS, END_HEADERS, 1, interim))
    assert engine.failed is not None


class TestContinuation:
    """CVE-2024-27316 and its kin: a header block that does not end."""

    def test_count(self) -> None:
        engine = server(SMALL)
        events = engine.receive(frame(HEADERS, 0, 3, REQUEST) + frame(CONTINUATION, 0, 3, b"") * 5)
        assert events == []
        (event,) = engine.receive(frame(CONTINUATION, 0, 3, b""))
        assert isinstance(event, ConnectionFailed)
        assert event.code is ErrorCode.ENHANCE_YOUR_CALM

    def test_bytes(self) -> None:
        engine = server(Limits(max_header_block=1_000, max_continuation=100))
        engine.receive(frame(HEADERS, 0, 3, bytes(500)))
        assert engine.receive(frame(CONTINUATION, 0, 3, bytes(500))) == []
        (event,) = engine.receive(frame(CONTINUATION, 0, 3, b"x"))
        assert isinstance(event, ConnectionFailed)
        assert event.code is ErrorCode.ENHANCE_YOUR_CALM

    def test_a_block_just_within_both(self) -> None:
        engine = server(SMALL)
        pieces = [REQUEST[i : i + 1 + len(REQUEST) // 6] for i in range(0, len(REQUEST), 1 + len(REQUEST) // 6)]
        assert len(pieces) == 6
        data = frame(HEADERS, END_STREAM, 3, pieces[0])
        data += b"".join(frame(CONTINUATION, 0, 3, piece) for piece in pieces[1:-1])
        assert len(engine.receive(data + frame(CONTINUATION, END_HEADERS, 3, pieces[-1]))) == 1


def test_a_header_bomb_of_references_is_refused_without_being_built() -> None:
    engine = server(Limits(max_resets=3), acked=False)
    big = b"\x40\x01k\x7f\xa1\x1e" + b"v" * 4_000
    engine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, REQUEST + big))
    tracemalloc.start()
    events = engine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 3, REQUEST + b"\xbe" * 16_000))
    _size, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [type(e).__name__ for e in events] == ["StreamReset"]
    assert peak < 200_000


def test_closed_streams_are_remembered_within_bounds() -> None:
    engine = server(Limits(max_resets=10**6))
    for stream in range(3, 8_003, 2):
        engine.receive(open_(stream))
        engine.reset(stream, ErrorCode.CANCEL)
        engine.take_output()
    assert len(engine._resets) <= 512
    assert engine.receive(frame(DATA, 0, 8_001, b"x")) == []
    for stream in range(9_001, 19_001, 10):
        engine.receive(open_(stream))
        engine.reset(stream, ErrorCode.CANCEL)
    assert len(engine._gaps) <= 16


def vary_headers(engine: Connection) -> None:
    for n in range(3, 10_003, 2):
        request = REQUEST + field(b"x%d" % n, b"v" * 100)
        engine.receive(frame(HEADERS, END_HEADERS | END_STREAM, n, request) + frame(RST, 0, n, u32(8)))


def vary_many_small_headers(engine: Connection) -> None:
    for n in range(3, 2_003, 2):
        request = REQUEST + b"".join(field(b"x%d-%d" % (n, k), b"") for k in range(60))
        engine.receive(frame(HEADERS, END_HEADERS | END_STREAM, n, request) + frame(RST, 0, n, u32(8)))


def send_half_a_frame(engine: Connection) -> None:
    engine.receive(b"\x00\x40\x00\x00\x00\x00\x00\x00\x03")
    engine.receive(bytes(16_000))


def skip_ids(engine: Connection) -> None:
    for n in range(101, 1_000_001, 1_000):
        engine.receive(open_(n) + frame(RST, 0, n, u32(8)))


def send_to_streams_we_reset(engine: Connection) -> None:
    engine.receive(open_(3))
    engine.reset(3, ErrorCode.CANCEL)
    for _ in range(1_000):
        engine.receive(frame(DATA, 0, 3, bytes(16_384)))
        engine.take_output()


ATTACKS = (vary_headers, vary_many_small_headers, send_half_a_frame, skip_ids, send_to_streams_we_reset)


@pytest.mark.parametrize("attack", ATTACKS)
def test_memory_is_bounded(attack: Callable[[Connection], None]) -> None:
    gc.collect()
    tracemalloc.start()
    engine = server(Limits(max_resets=10**6))
    before, _ = tracemalloc.get_traced_memory()
    attack(engine)
    engine.take_output()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert engine.failed is None
    assert after - before < 1_000_000


def test_an_idle_connection_is_small() -> None:
    gc.collect()
    tracemalloc.start()
    engines = [server() for _ in range(20)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(engines) < 24_000
