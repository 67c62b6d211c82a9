"""RFC 9113 section 6.8: a graceful end loses no call, an ungraceful one says which were taken."""

import pytest

from support.http2 import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    REQUEST,
    RESPONSE,
    RST,
    client,
    exchange,
    frame,
    frames,
    server,
    u32,
)
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import DataReceived, GoAwayReceived, HeadersReceived, StreamReset
from zonegate.gateway.http2.frames import ErrorCode


def open_(stream: int) -> bytes:
    return frame(HEADERS, END_HEADERS, stream, REQUEST)


def goaways(engine: Connection) -> list[tuple[int, int]]:
    return [
        (int.from_bytes(f.payload[:4]), int.from_bytes(f.payload[4:8]))
        for f in frames(engine.take_output())
        if f.kind == GOAWAY
    ]


def test_a_drain_takes_what_is_under_way_and_then_names_the_last_stream() -> None:
    engine = server()
    engine.receive(open_(3))
    engine.drain()
    said = frames(engine.take_output())
    assert [f.kind for f in said] == [GOAWAY, PING]
    assert said[0].payload == u32(2**31 - 1) + u32(0)
    assert len(engine.receive(open_(5))) == 1, "a stream that crossed the first GOAWAY is taken"
    assert not engine.drained
    assert engine.receive(frame(PING, ACK, 0, said[1].payload)) == []
    assert goaways(engine) == [(5, 0)]
    (refused,) = engine.receive(open_(7))
    assert isinstance(refused, StreamReset)
    assert refused.code is ErrorCode.REFUSED_STREAM
    assert [type(e) for e in engine.receive(frame(DATA, END_STREAM, 3, b"x") + frame(DATA, END_STREAM, 5, b"y"))] == [
        DataReceived,
        DataReceived,
    ]
    for stream in (3, 5):
        assert not engine.drained
        engine.send_headers(stream, RESPONSE, end_stream=True)
    assert engine.drained


def test_a_drain_goes_on_without_the_pings_answer() -> None:
    engine = server()
    engine.drain()
    engine.drain()
    assert goaways(engine) == [(2**31 - 1, 0)]
    engine.tick(1.0)
    assert goaways(engine) == []
    engine.tick(2.0)
    assert goaways(engine) == [(1, 0)]
    engine.tick(3.0)
    assert goaways(engine) == []
    assert engine.drained


def test_a_client_drains_by_opening_nothing_more() -> None:
    engine = client(streams=1)
    engine.drain()
    assert goaways(engine) == [(0, 0)]
    assert not engine.can_open
    assert engine.open_stream(REQUEST, end_stream=True) is None
    assert not engine.drained
    engine.receive(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x20" + RESPONSE))
    engine.send_data(1, b"", end_stream=True)
    assert engine.drained


def test_goaway_by_the_owner_names_the_last_stream_and_the_reason() -> None:
    engine = server()
    engine.receive(open_(3))
    engine.goaway(ErrorCode.ENHANCE_YOUR_CALM, b"too many connections")
    assert goaways(engine) == [(3, 11)]
    assert engine.draining
    assert [type(e) for e in engine.receive(open_(5))] == [StreamReset]
    assert engine.open_streams == 1


def test_after_a_failure_goaway_names_the_last_stream_and_all_calls_do_nothing() -> None:
    engine = server()
    engine.receive(open_(3))
    engine.receive(frame(DATA, 0, 0, b""))
    assert goaways(engine) == [(3, ErrorCode.PROTOCOL_ERROR)]
    engine.send_headers(3, RESPONSE, end_stream=False)
    assert engine.send_data(3, b"abc", end_stream=True) == 3
    engine.reset(3, 8)
    engine.drain()
    assert engine.set_writable(False) == engine.set_writable(True) == []
    assert engine.receive(open_(5)) == []
    assert engine.take_output() == b""


@pytest.mark.parametrize("under_way", [0, 1, 5])
def test_two_engines_drain_without_losing_a_call(under_way: int) -> None:
    one, two = Connection(Role.CLIENT, Limits()), Connection(Role.SERVER, Limits())
    one.start()
    two.start()
    exchange(one, two)
    for _ in range(under_way):
        one.open_stream(REQUEST, end_stream=True)
    two.drain()
    seen = exchange(one, two)
    taken = [event.stream_id for role, event in seen if isinstance(event, HeadersReceived) and role is Role.SERVER]
    assert len(taken) == under_way
    assert [event.last_stream_id for _, event in seen if isinstance(event, GoAwayReceived)] == [
        2**31 - 1,
        taken[-1] if taken else 0,
    ]
    for stream in taken:
        two.send_headers(stream, RESPONSE, end_stream=True)
    answered = [event for _, event in exchange(one, two) if isinstance(event, HeadersReceived)]
    assert len(answered) == under_way
    assert two.drained
    assert one.open_streams == 0


def test_rst_stream_ends_the_stream_at_both_ends() -> None:
    one, two = client(), server()
    stream = one.open_stream(REQUEST, end_stream=False)
    assert stream == 1
    one.reset(1, ErrorCode.CANCEL)
    assert [(f.kind, f.stream) for f in frames(one.take_output())] == [(HEADERS, 1), (RST, 1)]
    two.receive(open_(3))
    (event,) = two.receive(frame(RST, 0, 3, u32(8)))
    assert event == StreamReset(3, 8, False)
    assert one.open_streams == two.open_streams == 0
