"""The server's side of RFC 9113, frame by frame: each row names its clause, refused rows stand beside granted ones."""

import pytest

from support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    PUSH,
    REQUEST,
    RST,
    SETTINGS,
    TRAILERS,
    WINDOW,
    block,
    field,
    frame,
    frames,
    server,
    settings,
    u32,
    window,
)
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    HeadersReceived,
    SettingsChanged,
    StreamReset,
    TrailersReceived,
)
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.reasons import Reason

PROTOCOL, FLOW, CLOSED, SIZE, REFUSED, COMPRESSION, CALM = (
    ErrorCode.PROTOCOL_ERROR,
    ErrorCode.FLOW_CONTROL_ERROR,
    ErrorCode.STREAM_CLOSED,
    ErrorCode.FRAME_SIZE_ERROR,
    ErrorCode.REFUSED_STREAM,
    ErrorCode.COMPRESSION_ERROR,
    ErrorCode.ENHANCE_YOUR_CALM,
)
ALL = END_HEADERS | END_STREAM


def open_(stream: int = 3, more: bytes = b"") -> bytes:
    return frame(HEADERS, END_HEADERS, stream, REQUEST + more)


def verdict(events: list[Event]) -> list[object]:
    """Say in short what happened: names of the granting events, or the error and its scope."""
    said: list[object] = []
    for event in events:
        if isinstance(event, ConnectionFailed):
            said.append(("connection", event.code))
        elif isinstance(event, StreamReset):
            said.append(("stream" if event.local else "peer", event.code))
        elif not isinstance(event, SettingsChanged):
            said.append(type(event).__name__)
    return said


H, D, T = HeadersReceived.__name__, DataReceived.__name__, TrailersReceived.__name__
RANGE = b"".join(frame(DATA, 0, 3, b"x" * 16_384) for _ in range(4))

ROWS: dict[str, tuple[bytes, list[object]]] = {
    # 4.1, 4.2
    "4.1 unknown frame type is ignored": (frame(0x20, 0xFF, 5, b"x") + open_(), [H]),
    "4.1 reserved bit is ignored": (frame(PING, 0, 2**31, b"12345678") + open_(), [H]),
    "4.1 undefined flags are ignored": (frame(HEADERS, END_HEADERS | 0x42, 3, REQUEST), [H]),
    "4.2 frame of 16384": (open_() + frame(DATA, 0, 3, b"x" * 16_384), [H, D]),
    "4.2 frame of 16385": (open_() + frame(DATA, 0, 3, b"x" * 16_385), [H, ("connection", SIZE)]),
    "4.2 the length alone is enough": (open_() + b"\x00\x40\x01\x00\x00\x00\x00\x00\x03", [H, ("connection", SIZE)]),
    # 4.3, 6.10
    "4.3 block that does not decode": (frame(HEADERS, END_HEADERS, 3, b"\xff"), [("connection", COMPRESSION)]),
    "4.3 on a stream we reset, too": (
        open_() + window(3, 0) + frame(HEADERS, END_HEADERS, 3, b"\xff"),
        [H, ("stream", PROTOCOL), ("connection", COMPRESSION)],
    ),
    "6.10 CONTINUATION": (frame(HEADERS, 0, 3, REQUEST[:9]) + frame(CONTINUATION, END_HEADERS, 3, REQUEST[9:]), [H]),
    "6.10 END_STREAM is that of HEADERS": (
        frame(HEADERS, END_STREAM, 3, REQUEST[:9])
        + frame(CONTINUATION, 0, 3, b"")
        + frame(CONTINUATION, END_HEADERS, 3, REQUEST[9:])
        + frame(DATA, 0, 3, b"x"),
        [H, ("stream", CLOSED)],
    ),
    "6.10 CONTINUATION of another stream": (
        frame(HEADERS, 0, 3, REQUEST) + frame(CONTINUATION, END_HEADERS, 5, b""),
        [("connection", PROTOCOL)],
    ),
    "6.10 another frame inside a block": (
        frame(HEADERS, 0, 3, REQUEST) + frame(PING, 0, 0, b"12345678"),
        [("connection", PROTOCOL)],
    ),
    "5.5 unknown frame inside a block": (frame(HEADERS, 0, 3, REQUEST) + frame(0x20), [("connection", PROTOCOL)]),
    "6.10 CONTINUATION after END_HEADERS": (
        open_() + frame(CONTINUATION, END_HEADERS, 3, b""),
        [H, ("connection", PROTOCOL)],
    ),
    "6.10 CONTINUATION on stream 0": (frame(CONTINUATION, END_HEADERS, 0, b""), [("connection", PROTOCOL)]),
    # 5.1 stream states
    "5.1 DATA on idle": (frame(DATA, 0, 3, b"x"), [("connection", PROTOCOL)]),
    "5.1 WINDOW_UPDATE on idle": (window(3, 1), [("connection", PROTOCOL)]),
    "5.1 RST_STREAM on idle": (frame(RST, 0, 3, u32(8)), [("connection", PROTOCOL)]),
    "5.1 PRIORITY on idle": (frame(PRIORITY, 0, 9, bytes(5)) + open_(), [H]),
    "5.1 DATA on a server's stream": (frame(DATA, 0, 2, b"x"), [("connection", PROTOCOL)]),
    "5.1 WINDOW_UPDATE on a server's stream": (window(2, 1), [("connection", PROTOCOL)]),
    "5.1 half-closed (remote): DATA": (
        frame(HEADERS, ALL, 3, REQUEST) + frame(DATA, 0, 3, b"x"),
        [H, ("stream", CLOSED)],
    ),
    "5.1 half-closed (remote): HEADERS": (
        frame(HEADERS, ALL, 3, REQUEST) + frame(HEADERS, ALL, 3, TRAILERS),
        [H, ("stream", CLOSED)],
    ),
    "5.1 half-closed (remote): WINDOW_UPDATE, PRIORITY, RST_STREAM": (
        frame(HEADERS, ALL, 3, REQUEST) + window(3, 1) + frame(PRIORITY, 0, 3, bytes(5)) + frame(RST, 0, 3, u32(8)),
        [H, ("peer", 8)],
    ),
    "5.1 closed by both ends: DATA": (frame(DATA, 0, 1, b"x"), [("connection", CLOSED)]),
    "5.1 closed by both ends: HEADERS": (frame(HEADERS, ALL, 1, REQUEST), [("connection", CLOSED)]),
    "5.1 closed by both ends: WINDOW_UPDATE": (window(1, 1) + open_(), [H]),
    "5.1 closed by both ends: RST_STREAM": (frame(RST, 0, 1, u32(8)) + open_(), [H]),
    "5.1 reset by the peer: DATA": (
        open_() + frame(RST, 0, 3, u32(8)) + frame(DATA, 0, 3, b"x"),
        [H, ("peer", 8), ("stream", CLOSED)],
    ),
    "5.1 reset by the peer: HEADERS": (
        open_() + frame(RST, 0, 3, u32(8)) + frame(HEADERS, ALL, 3, TRAILERS),
        [H, ("peer", 8), ("stream", CLOSED)],
    ),
    "5.1 reset by us: what was under way is ignored": (
        open_()
        + window(3, 0)
        + frame(DATA, 0, 3, b"x")
        + window(3, 5)
        + frame(HEADERS, ALL, 3, TRAILERS)
        + frame(RST, 0, 3, u32(8)),
        [H, ("stream", PROTOCOL)],
    ),
    "5.1.1 even id": (frame(HEADERS, ALL, 4, REQUEST), [("connection", PROTOCOL)]),
    "5.1.1 ids may skip": (open_(9), [H]),
    "5.1.1 an id that was skipped": (open_(9) + open_(5), [H, ("connection", PROTOCOL)]),
    # 6.1 DATA
    "6.1 DATA": (open_() + frame(DATA, END_STREAM, 3, b"x"), [H, D]),
    "6.1 DATA on stream 0": (frame(DATA, 0, 0, b"x"), [("connection", PROTOCOL)]),
    "6.1 padding within": (open_() + frame(DATA, PADDED, 3, b"\x02x\0\0"), [H, D]),
    "6.1 padding is all": (open_() + frame(DATA, PADDED | END_STREAM, 3, b"\x02\0\0"), [H, D]),
    "6.1 padding too long": (open_() + frame(DATA, PADDED, 3, b"\x03\0\0"), [H, ("connection", PROTOCOL)]),
    "6.1 no padding length": (open_() + frame(DATA, PADDED, 3, b""), [H, ("connection", PROTOCOL)]),
    # 6.2 HEADERS
    "6.2 HEADERS on stream 0": (frame(HEADERS, ALL, 0, REQUEST), [("connection", PROTOCOL)]),
    "6.2 padding": (frame(HEADERS, ALL | PADDED, 3, b"\x01" + REQUEST + b"\0"), [H]),
    "6.2 padding too long": (frame(HEADERS, ALL | PADDED, 3, b"\xff" + REQUEST), [("connection", PROTOCOL)]),
    "6.2 priority": (frame(HEADERS, ALL | PRIORITIZED, 3, bytes(5) + REQUEST), [H]),
    "6.2 padding and priority": (
        frame(HEADERS, ALL | PRIORITIZED | PADDED, 3, b"\x01" + bytes(5) + REQUEST + b"\0"),
        [H],
    ),
    "6.2 priority cut short": (frame(HEADERS, ALL | PRIORITIZED, 3, bytes(4)), [("connection", SIZE)]),
    # 6.3 PRIORITY
    "6.3 PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), [("connection", PROTOCOL)]),
    "6.3 PRIORITY of 4 bytes": (open_() + frame(PRIORITY, 0, 3, bytes(4)), [H, ("stream", SIZE)]),
    # 6.4 RST_STREAM
    "6.4 RST_STREAM": (open_() + frame(RST, 0, 3, u32(8)), [H, ("peer", 8)]),
    "6.4 RST_STREAM with an unknown code": (open_() + frame(RST, 0, 3, u32(999)), [H, ("peer", 999)]),
    "6.4 RST_STREAM on stream 0": (frame(RST, 0, 0, u32(8)), [("connection", PROTOCOL)]),
    "6.4 RST_STREAM of 3 bytes": (open_() + frame(RST, 0, 3, bytes(3)), [H, ("connection", SIZE)]),
    # 6.5 SETTINGS
    "6.5 SETTINGS on a stream": (frame(SETTINGS, 0, 3), [("connection", PROTOCOL)]),
    "6.5 SETTINGS of 5 bytes": (frame(SETTINGS, 0, 0, bytes(5)), [("connection", SIZE)]),
    "6.5 acknowledgement with a payload": (frame(SETTINGS, ACK, 0, bytes(6)), [("connection", SIZE)]),
    "6.5.2 unknown setting": (settings((99, 1)) + open_(), [H]),
    "6.5.2 ENABLE_PUSH 1 from a client": (settings((2, 1)) + open_(), [H]),
    "6.5.2 ENABLE_PUSH 2": (settings((2, 2)), [("connection", PROTOCOL)]),
    "6.5.2 INITIAL_WINDOW_SIZE 2^31-1": (settings((4, 2**31 - 1)) + open_(), [H]),
    "6.5.2 INITIAL_WINDOW_SIZE 2^31": (settings((4, 2**31)), [("connection", FLOW)]),
    "6.5.2 MAX_FRAME_SIZE 16384": (settings((5, 16_384)) + open_(), [H]),
    "6.5.2 MAX_FRAME_SIZE 16383": (settings((5, 16_383)), [("connection", PROTOCOL)]),
    "6.5.2 MAX_FRAME_SIZE 2^24": (settings((5, 2**24)), [("connection", PROTOCOL)]),
    "6.9.2 INITIAL_WINDOW_SIZE carries a stream past 2^31-1": (
        open_() + window(3, 2**30) + settings((4, 2**30)),
        [H, ("connection", FLOW)],
    ),
    # 6.6 PUSH_PROMISE
    "6.6 PUSH_PROMISE from a client": (open_() + frame(PUSH, END_HEADERS, 3, u32(2)), [H, ("connection", PROTOCOL)]),
    # 6.7 PING
    "6.7 PING on a stream": (frame(PING, 0, 3, bytes(8)), [("connection", PROTOCOL)]),
    "6.7 PING of 7 bytes": (frame(PING, 0, 0, bytes(7)), [("connection", SIZE)]),
    "6.7 unasked acknowledgement is ignored": (frame(PING, ACK, 0, bytes(8)) + open_(), [H]),
    # 6.8 GOAWAY
    "6.8 GOAWAY on a stream": (frame(GOAWAY, 0, 3, bytes(8)), [("connection", PROTOCOL)]),
    "6.8 GOAWAY of 7 bytes": (frame(GOAWAY, 0, 0, bytes(7)), [("connection", SIZE)]),
    # 6.9 WINDOW_UPDATE, flow control
    "6.9 WINDOW_UPDATE of 3 bytes": (window(0, 1)[:2] + b"\x03" + window(0, 1)[3:12], [("connection", SIZE)]),
    "6.9 increment of 0 on the connection": (window(0, 0), [("connection", PROTOCOL)]),
    "6.9 increment of 0 on a stream": (open_() + window(3, 0), [H, ("stream", PROTOCOL)]),
    "6.9.1 connection's window of 2^31-1": (window(0, 2**31 - 1 - 65_535) + open_(), [H]),
    "6.9.1 connection's window past 2^31-1": (window(0, 2**31 - 65_535), [("connection", FLOW)]),
    "6.9.1 stream's window of 2^31-1": (open_() + window(3, 2**31 - 1 - 65_535), [H]),
    "6.9.1 stream's window past 2^31-1": (open_() + window(3, 2**31 - 65_535), [H, ("stream", FLOW)]),
    "6.9.1 stream's receive window, just within": (
        open_() + RANGE[: -(9 + 16_384)] + frame(DATA, 0, 3, bytes(16_383)),
        [H, D, D, D, D],
    ),
    "6.9.1 stream's receive window exceeded": (open_() + RANGE, [H, D, D, D, ("stream", FLOW)]),
    # 8.1
    "8.1 trailers": (open_() + frame(HEADERS, ALL, 3, TRAILERS), [H, T]),
    "8.1 trailers without END_STREAM": (open_() + frame(HEADERS, END_HEADERS, 3, TRAILERS), [H, ("stream", PROTOCOL)]),
    "8.1 a second request on the stream": (open_() + frame(HEADERS, ALL, 3, REQUEST), [H, ("stream", PROTOCOL)]),
    "8.1.1 content-length met": (open_(3, field(b"content-length", b"3")) + frame(DATA, 1, 3, b"abc"), [H, D]),
    "8.1.1 content-length met in two": (
        open_(3, field(b"content-length", b"3")) + frame(DATA, 0, 3, b"ab") + frame(DATA, 1, 3, b"c"),
        [H, D, D],
    ),
    "8.1.1 less than content-length": (
        open_(3, field(b"content-length", b"3")) + frame(DATA, 1, 3, b"ab"),
        [H, ("stream", PROTOCOL)],
    ),
    "8.1.1 more than content-length": (
        open_(3, field(b"content-length", b"3")) + frame(DATA, 1, 3, b"abcd"),
        [H, ("stream", PROTOCOL)],
    ),
    "8.1.1 less than content-length before trailers": (
        open_(3, field(b"content-length", b"3")) + frame(HEADERS, ALL, 3, TRAILERS),
        [H, ("stream", PROTOCOL)],
    ),
    "8.1.1 content-length without DATA": (
        frame(HEADERS, ALL, 3, REQUEST + field(b"content-length", b"1")),
        [("stream", PROTOCOL)],
    ),
    "8.1.1 content-length 0 without DATA": (
        frame(HEADERS, ALL, 3, REQUEST + field(b"content-length", b"0")),
        [H],
    ),
    "8.1.1 malformed request ends its stream only": (
        frame(HEADERS, ALL, 3, REQUEST + field(b"connection", b"x")) + open_(5),
        [("stream", PROTOCOL), H],
    ),
    "8.1.1 malformed trailers": (open_() + frame(HEADERS, ALL, 3, block((b"A", b"1"))), [H, ("stream", PROTOCOL)]),
}


@pytest.mark.parametrize(("data", "expected"), ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("chunk", [2**20, 1], ids=["at once", "byte by byte"])
def test_frame(data: bytes, expected: list[object], chunk: int) -> None:
    engine = server(Limits(initial_window=65_535))
    events: list[Event] = []
    if chunk == 1 and len(data) > 2_000:
        chunk = 997
    for start in range(0, len(data), chunk):
        events += engine.receive(data[start : start + chunk])
    assert verdict(events) == expected
    written = frames(engine.take_output())
    faults = [code for kind, code in (e for e in expected if isinstance(e, tuple)) if kind == "stream"]
    assert [int.from_bytes(f.payload) for f in written if f.kind == RST] == faults
    failed = [code for kind, code in (e for e in expected if isinstance(e, tuple)) if kind == "connection"]
    assert [int.from_bytes(f.payload[4:8]) for f in written if f.kind == GOAWAY] == failed
    if failed:
        assert engine.failed is not None
        assert engine.failed.reason is Reason.E_HTTP2
        assert engine.receive(open_(21)) == []
        assert engine.open_streams == 0


def test_3_4_the_preface() -> None:
    engine = Connection(Role.SERVER, Limits())
    for byte in PREFACE:
        assert engine.receive(bytes((byte,))) == []
    assert verdict(engine.receive(settings())) == []
    assert engine.failed is None


@pytest.mark.parametrize("at", range(24))
def test_3_4_a_preface_that_differs_fails_at_the_first_wrong_byte(at: int) -> None:
    engine = Connection(Role.SERVER, Limits())
    assert engine.receive(PREFACE[:at]) == []
    assert verdict(engine.receive(bytes((PREFACE[at] ^ 1,)))) == [("connection", PROTOCOL)]


@pytest.mark.parametrize(
    "first",
    [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK), frame(HEADERS, ALL, 1, REQUEST), window(0, 1), frame(0x20)],
)
def test_3_4_the_first_frame_is_settings(first: bytes) -> None:
    engine = Connection(Role.SERVER, Limits())
    assert verdict(engine.receive(PREFACE + first)) == [("connection", PROTOCOL)]


def test_3_4_what_the_server_says_first() -> None:
    limits = Limits(max_concurrent_streams=7, initial_window=99_999, connection_window=123_456, max_header_list=5_000)
    engine = Connection(Role.SERVER, limits)
    engine.start()
    said = frames(engine.take_output())
    assert [f.kind for f in said] == [SETTINGS, WINDOW]
    payload = said[0].payload
    values = {
        int.from_bytes(payload[i : i + 2]): int.from_bytes(payload[i + 2 : i + 6]) for i in range(0, len(payload), 6)
    }
    assert values == {1: 0, 2: 0, 3: 7, 4: 99_999, 6: 5_000}
    assert int.from_bytes(said[1].payload) == 123_456 - 65_535


def test_6_5_3_settings_are_acknowledged_and_6_7_pings_answered() -> None:
    engine = server()
    engine.receive(settings((3, 1)) + frame(PING, 0, 0, b"abcdefgh") + settings())
    assert [(f.kind, f.flags, f.payload) for f in frames(engine.take_output())] == [
        (SETTINGS, ACK, b""),
        (PING, ACK, b"abcdefgh"),
        (SETTINGS, ACK, b""),
    ]


def test_5_1_2_one_stream_more_than_allowed_is_refused() -> None:
    engine = server(Limits(max_concurrent_streams=2))
    events = engine.receive(open_(3) + open_(5) + open_(7))
    assert verdict(events) == [H, H, ("stream", REFUSED)]
    engine.reset(3, ErrorCode.CANCEL)
    assert verdict(engine.receive(open_(9))) == [H]


def test_6_5_3_a_smaller_window_binds_from_the_acknowledgement() -> None:
    engine = server(Limits(initial_window=10_000), acked=False)
    assert verdict(engine.receive(open_(1) + frame(DATA, 0, 1, bytes(16_000)))) == [H, D]
    engine.receive(frame(SETTINGS, ACK))
    assert verdict(engine.receive(frame(DATA, 0, 1, b"x"))) == [("stream", FLOW)]
    fresh = b"\x20" + REQUEST
    assert verdict(engine.receive(frame(HEADERS, END_HEADERS, 3, fresh) + frame(DATA, 0, 3, bytes(10_000)))) == [H, D]
    assert verdict(engine.receive(frame(DATA, 0, 3, b"x"))) == [("stream", FLOW)]


def test_4_3_1_the_table_counts_until_the_acknowledgement() -> None:
    engine = server(acked=False)
    stored = REQUEST + field(b"k", b"v", 0x40)
    assert verdict(engine.receive(frame(HEADERS, ALL, 1, stored) + frame(HEADERS, ALL, 3, REQUEST + b"\xbe"))) == [H, H]
    engine.receive(frame(SETTINGS, ACK))
    assert verdict(engine.receive(frame(HEADERS, ALL, 5, REQUEST + b"\xbe"))) == [("connection", COMPRESSION)]


def test_4_3_1_our_blocks_declare_a_table_of_0_first_and_after_a_reduction() -> None:
    engine = Connection(Role.SERVER, Limits())
    engine.receive(PREFACE + settings() + b"".join(frame(HEADERS, ALL, n, REQUEST) for n in (1, 3, 5, 7)))
    for stream in (1, 3):
        engine.send_headers(stream, b"\x88", end_stream=True)
    engine.receive(settings((1, 100)))
    for stream in (5, 7):
        engine.send_headers(stream, b"\x88", end_stream=True)
    assert [f.payload for f in frames(engine.take_output()) if f.kind == HEADERS] == [
        b"\x20\x88",
        b"\x88",
        b"\x20\x88",
        b"\x88",
    ]


def test_the_payload_is_not_in_the_events_text() -> None:
    engine = server()
    events = engine.receive(open_() + frame(DATA, 0, 3, b"secret payload"))
    assert "secret" not in repr(events)


def test_a_call_for_a_stream_that_has_ended_does_nothing() -> None:
    engine = server()
    engine.receive(open_() + frame(RST, 0, 3, u32(8)))
    engine.send_headers(3, b"\x88", end_stream=False)
    assert engine.send_data(3, b"abc", end_stream=True) == 3
    engine.reset(3, ErrorCode.CANCEL)
    assert engine.take_output() == b""
    assert engine.queued(3) == engine.queued_total == 0


def test_sending_after_the_end_is_the_owners_mistake() -> None:
    engine = server()
    engine.receive(open_())
    engine.send_headers(3, b"\x88", end_stream=True)
    with pytest.raises(ValueError, match="END_STREAM"):
        engine.send_data(3, b"x", end_stream=False)
    with pytest.raises(ValueError, match="END_STREAM"):
        engine.send_headers(3, TRAILERS, end_stream=True)
