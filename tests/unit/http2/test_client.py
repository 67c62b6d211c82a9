"""The client's side of RFC 9113: responses, stream ids, what a server may not do."""

import pytest

from support.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    PUSH,
    REQUEST,
    RESPONSE,
    RST,
    SETTINGS,
    TRAILERS,
    WINDOW,
    block,
    client,
    field,
    frame,
    frames,
    settings,
    u32,
    window,
)
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PingAcked,
    SettingsChanged,
    StreamReset,
    TrailersReceived,
)
from zonegate.gateway.http2.frames import ErrorCode

ALL = END_HEADERS | END_STREAM
DECLARED = b"\x20" + RESPONSE
PROTOCOL = ErrorCode.PROTOCOL_ERROR


def verdict(events: list[Event]) -> list[object]:
    said: list[object] = []
    for event in events:
        if isinstance(event, ConnectionFailed):
            said.append(("connection", event.code))
        elif isinstance(event, StreamReset):
            said.append(("stream" if event.local else "peer", event.stream_id, event.code))
        elif not isinstance(event, SettingsChanged):
            said.append(type(event))
    return said


H, D, T = HeadersReceived, DataReceived, TrailersReceived
ROWS: dict[str, tuple[bytes, list[object]]] = {
    "8.1 headers, data, trailers": (
        frame(HEADERS, END_HEADERS, 1, DECLARED) + frame(DATA, 0, 1, b"x") + frame(HEADERS, ALL, 1, TRAILERS),
        [H, D, T],
    ),
    "8.1 headers alone": (frame(HEADERS, ALL, 1, DECLARED), [H]),
    "8.1 1xx is skipped": (
        frame(HEADERS, END_HEADERS, 1, b"\x20" + block((b":status", b"103"))) + frame(HEADERS, ALL, 1, RESPONSE),
        [H],
    ),
    "8.1 1xx with END_STREAM": (
        frame(HEADERS, ALL, 1, b"\x20" + block((b":status", b"100"))),
        [("stream", 1, PROTOCOL)],
    ),
    "8.6 101": (
        frame(HEADERS, END_HEADERS, 1, b"\x20" + block((b":status", b"101"))),
        [("stream", 1, PROTOCOL)],
    ),
    "8.1 DATA before headers": (frame(DATA, 0, 1, b"x"), [("stream", 1, PROTOCOL)]),
    "8.1 DATA after 1xx": (
        frame(HEADERS, END_HEADERS, 1, b"\x20" + block((b":status", b"100"))) + frame(DATA, 0, 1, b"x"),
        [("stream", 1, PROTOCOL)],
    ),
    "8.3.2 no :status": (frame(HEADERS, END_HEADERS, 1, b"\x20" + TRAILERS), [("stream", 1, PROTOCOL)]),
    "8.1 second response is no trailers": (
        frame(HEADERS, END_HEADERS, 1, DECLARED) + frame(HEADERS, END_HEADERS, 1, RESPONSE),
        [H, ("stream", 1, PROTOCOL)],
    ),
    "5.1 DATA after END_STREAM": (
        frame(HEADERS, ALL, 1, DECLARED) + frame(DATA, 0, 1, b"x"),
        [H, ("stream", 1, ErrorCode.STREAM_CLOSED)],
    ),
    "5.1.1 a stream that we never opened": (frame(HEADERS, ALL, 9, DECLARED), [("connection", PROTOCOL)]),
    "8.4 a server's own stream": (frame(HEADERS, ALL, 2, DECLARED), [("connection", PROTOCOL)]),
    "8.4 PUSH_PROMISE": (frame(PUSH, END_HEADERS, 1, u32(2) + REQUEST), [("connection", PROTOCOL)]),
    "6.5.2 ENABLE_PUSH 1 from a server": (settings((2, 1)), [("connection", PROTOCOL)]),
    "6.5.2 ENABLE_PUSH 0 from a server": (settings((2, 0)), []),
    "6.4 RST_STREAM": (frame(RST, 0, 1, u32(7)), [("peer", 1, 7)]),
    "8.1 RST_STREAM(NO_ERROR) after a whole response": (
        frame(HEADERS, ALL, 1, DECLARED) + frame(RST, 0, 1, u32(0)),
        [H, ("peer", 1, 0)],
    ),
    "8.1.1 content-length": (
        frame(HEADERS, END_HEADERS, 1, DECLARED + field(b"content-length", b"1")) + frame(DATA, 1, 1, b"xy"),
        [H, ("stream", 1, PROTOCOL)],
    ),
    "6.8 GOAWAY ends the streams it does not name": (
        frame(GOAWAY, 0, 0, u32(1) + u32(0) + b"bye"),
        [GoAwayReceived, ("peer", 3, ErrorCode.REFUSED_STREAM)],
    ),
}


@pytest.mark.parametrize(("data", "expected"), ROWS.values(), ids=ROWS)
def test_frame(data: bytes, expected: list[object]) -> None:
    engine = client(streams=2)
    assert verdict(engine.receive(data)) == expected


def test_3_4_preface_and_first_frame() -> None:
    engine = Connection(Role.CLIENT, Limits())
    engine.start()
    out = engine.take_output()
    assert out.startswith(PREFACE)
    assert [f.kind for f in frames(out[len(PREFACE) :])] == [SETTINGS, WINDOW]
    assert verdict(engine.receive(window(0, 1))) == [("connection", PROTOCOL)]


def test_5_1_1_ids_are_odd_and_rise_until_there_are_none() -> None:
    engine = client()
    assert [engine.open_stream(REQUEST, end_stream=True) for _ in range(3)] == [1, 3, 5]
    engine._next_id = 2**31 - 1
    assert engine.open_stream(REQUEST, end_stream=True) == 2**31 - 1
    assert not engine.can_open
    assert engine.open_stream(REQUEST, end_stream=True) is None


def test_5_1_2_the_peers_limit_of_streams() -> None:
    engine = Connection(Role.CLIENT, Limits())
    assert sum(engine.open_stream(REQUEST, end_stream=True) is not None for _ in range(200)) == 100
    engine.receive(settings((3, 101)) + frame(SETTINGS, ACK))
    assert engine.can_open
    assert engine.open_stream(REQUEST, end_stream=True) == 201
    assert not engine.can_open
    engine.receive(frame(HEADERS, ALL, 1, DECLARED))
    assert engine.can_open
    engine.receive(settings((3, 0)))
    assert engine.open_stream(REQUEST, end_stream=True) is None


def test_6_5_2_no_limit_declared_means_none() -> None:
    engine = client()
    assert sum(engine.open_stream(REQUEST, end_stream=True) is not None for _ in range(500)) == 500


def test_6_2_a_long_block_goes_out_in_frames_of_the_peers_size() -> None:
    engine = client()
    long = REQUEST + b"\x00\x01k\x7f\x81\xff\x01" + b"v" * 32_768
    engine.open_stream(long, end_stream=True)
    engine.receive(settings((5, 20_000)))
    engine.open_stream(long, end_stream=True)
    sent = [(f.stream, len(f.payload), f.flags) for f in frames(engine.take_output()) if f.kind != SETTINGS]
    rest = len(long) - 2 * 16_384
    assert sent == [(1, 16_384, 1), (1, 16_384, 0), (1, rest + 1, 4), (3, 20_000, 1), (3, len(long) - 20_000, 4)]


def test_6_8_after_goaway_no_stream_is_opened_and_open_ones_go_on() -> None:
    engine = client(streams=1)
    events = engine.receive(frame(GOAWAY, 0, 0, u32(2**31 - 1) + u32(0) + b"soon"))
    assert events == [GoAwayReceived(2**31 - 1, 0, b"soon")]
    assert engine.goaway_received == events[0]
    assert not engine.can_open
    assert engine.open_stream(REQUEST, end_stream=True) is None
    assert verdict(engine.receive(frame(HEADERS, ALL, 1, DECLARED))) == [H]
    assert engine.receive(frame(GOAWAY, 0, 0, u32(1) + u32(0))) == [GoAwayReceived(1, 0, b"")]


def test_6_7_ping() -> None:
    engine = client()
    engine.ping(b"12345678")
    assert [(f.kind, f.flags, f.payload) for f in frames(engine.take_output())] == [(6, 0, b"12345678")]
    assert engine.receive(frame(6, ACK, 0, b"87654321")) == []
    assert engine.receive(frame(6, ACK, 0, b"12345678")) == [PingAcked(b"12345678")]
    assert engine.receive(frame(6, ACK, 0, b"12345678")) == []
    with pytest.raises(ValueError, match="8 are needed"):
        engine.ping(b"short")
    for n in range(100):
        engine.ping(n.to_bytes(8))
    assert len(engine._open_pings) == 16


def test_5_4_2_reset_is_sent_once_and_what_was_queued_is_dropped() -> None:
    engine = client(streams=2)
    engine.send_data(1, bytes(100_000), end_stream=True)
    engine.take_output()
    assert engine.queued_total == 100_000 - 65_535
    engine.reset(1, ErrorCode.CANCEL)
    engine.reset(1, ErrorCode.CANCEL)
    assert frames(engine.take_output()) == [(RST, 0, 1, u32(8))]
    assert engine.queued_total == 0
    assert engine.receive(window(0, 100_000)) == []
    assert engine.take_output() == b""
