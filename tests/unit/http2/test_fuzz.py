"""Any bytes give events or one `ConnectionFailed`, never an exception; how they are cut does not matter."""

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.http2 import (
    ACK,
    END_HEADERS,
    PREFACE,
    REQUEST,
    RESPONSE,
    SETTINGS,
    TRAILERS,
    frame,
    frames,
)
from support.http2 import settings as settings_frame
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import ConnectionFailed, DataReceived, DataSent, Event, HeadersReceived, StreamReset

LIMITS = Limits(initial_window=65_535, connection_window=65_535, max_header_list=2_000, max_empty_frames=8, max_pings=8)
SOME_BLOCK = st.one_of(
    st.sampled_from([REQUEST, RESPONSE, TRAILERS, b"\x20" + REQUEST, b"\x88"]), st.binary(max_size=40)
)
CALLS = ["data", "headers", "reset", "pause", "resume", "drain", "tick", "ping"]
A_FRAME = st.one_of(
    st.builds(frame, st.integers(0, 11), st.integers(0, 255), st.integers(0, 8), st.binary(max_size=40)),
    st.builds(frame, st.just(1), st.sampled_from([4, 5]), st.sampled_from([1, 3, 5]), SOME_BLOCK),
    st.builds(frame, st.just(0), st.sampled_from([0, 1]), st.sampled_from([1, 3, 5]), st.binary(max_size=40)),
)
ANY_BYTES = st.one_of(
    st.binary(max_size=200), st.lists(A_FRAME, max_size=12).map(b"".join), st.lists(A_FRAME, max_size=4).map(b"".join)
)


def start(role: Role) -> Connection:
    engine = Connection(role, LIMITS)
    engine.start()
    if role is Role.CLIENT:
        for _ in range(3):
            engine.open_stream(REQUEST, end_stream=False)
    engine.receive((PREFACE if role is Role.SERVER else b"") + settings_frame() + frame(SETTINGS, ACK))
    engine.take_output()
    return engine


def checked(engine: Connection, events: list[Event]) -> list[Event]:
    """What holds whatever the peer sent."""
    for event in events[:-1]:
        assert not isinstance(event, ConnectionFailed), "the failure is the last event"
    if engine.failed is not None:
        assert engine.open_streams == 0
        assert engine.queued_total == 0
    assert len(engine._tail) <= 9 + LIMITS.max_frame_size
    assert len(engine._block) <= LIMITS.max_header_block
    assert 0 <= engine.unacknowledged <= LIMITS.connection_window
    return events


@pytest.mark.parametrize("role", Role)
@settings(max_examples=300, deadline=None)
@given(data=ANY_BYTES)
def test_any_bytes_are_answered(role: Role, data: bytes) -> None:
    engine = start(role)
    checked(engine, engine.receive(data))
    frames(engine.take_output())
    checked(engine, engine.receive(data))
    frames(engine.take_output())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_instead_of_a_preface(data: bytes) -> None:
    engine = Connection(Role.SERVER, LIMITS)
    checked(engine, engine.receive(data))
    assert engine.failed is not None or PREFACE.startswith(data[:24])


def meaning(events: list[Event]) -> list[Any]:
    """Events with adjacent DATA of a stream merged, and in a form that compares."""
    said: list[Any] = []
    for event in events:
        if isinstance(event, DataReceived):
            said.append(("data", event.stream_id, event.data, event.end_stream))
        elif isinstance(event, HeadersReceived):
            said.append(("headers", event.stream_id, repr(event.block), event.end_stream))
        elif isinstance(event, StreamReset):
            said.append(("reset", event.stream_id, event.code, event.local))
        elif isinstance(event, ConnectionFailed):
            said.append(("failed", event.code, event.detail))
        elif isinstance(event, DataSent):
            said.append(("sent", event.stream_id, event.n))
        else:
            said.append(repr(event))
    return said


@pytest.mark.parametrize("role", Role)
@settings(max_examples=300, deadline=None)
@given(data=ANY_BYTES, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_it_does_not_matter_how_the_bytes_are_cut(role: Role, data: bytes, cuts: list[int]) -> None:
    whole, pieces = start(role), start(role)
    at_once = checked(whole, whole.receive(data))
    in_pieces: list[Event] = []
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    for begin, end in itertools.pairwise(places):
        in_pieces += checked(pieces, pieces.receive(data[begin:end]))
    assert meaning(at_once) == meaning(in_pieces)
    assert whole.take_output() == pieces.take_output()


@settings(max_examples=100, deadline=None)
@given(data=ANY_BYTES)
def test_byte_by_byte(data: bytes) -> None:
    whole, pieces = start(Role.SERVER), start(Role.SERVER)
    at_once = whole.receive(data)
    one_by_one = [event for byte in data for event in pieces.receive(bytes((byte,)))]
    assert meaning(at_once) == meaning(one_by_one)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(A_FRAME, st.tuples(st.sampled_from(CALLS), st.integers(1, 7))), max_size=25))
def test_any_order_of_the_owners_calls_and_the_peers_frames(acts: list[Any]) -> None:
    engine = start(Role.SERVER)
    ended: set[int] = set()
    for act in acts:
        if isinstance(act, bytes):
            for event in checked(engine, engine.receive(act)):
                if isinstance(event, DataReceived):
                    engine.acknowledge(event.stream_id, event.flow_bytes)
            continue
        call, stream = act
        if call == "data" and stream not in ended:
            engine.send_data(stream, bytes(9_000 * stream), end_stream=stream > 5)
            ended |= {stream} if stream > 5 else set()
        elif call == "headers" and stream not in ended:
            engine.send_headers(stream, TRAILERS, end_stream=True)
            ended.add(stream)
        elif call == "reset":
            engine.reset(stream, 8)
        elif call in ("pause", "resume"):
            engine.set_writable(call == "resume")
        elif call == "drain":
            engine.drain()
        elif call == "tick":
            engine.tick(float(stream))
        elif call == "ping":
            engine.ping(stream.to_bytes(8))
        assert engine.queued_total == sum(engine.queued(stream_id) for stream_id in engine.stream_ids)
    frames(engine.take_output())


def test_a_frame_that_arrives_in_crumbs_costs_linear_time() -> None:
    engine = start(Role.SERVER)
    engine.receive(frame(1, END_HEADERS, 1, b"\x20" + REQUEST))
    whole = frame(0, 0, 1, bytes(16_000))
    events = [event for byte in whole for event in engine.receive(bytes((byte,)))]
    assert [type(event) for event in events] == [DataReceived]
