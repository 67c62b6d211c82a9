"""The relay with an engine at each end: what goes in comes out, and every way a call can end is told to the role."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.wire import RESPONSE, TRAILERS, Wire, block, message
from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.connection import Limits
from zonegate.gateway.http2.events import DataReceived, HeadersReceived, StreamReset, TrailersReceived
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.relay.core import RelayLimits
from zonegate.reasons import Executed, Reason


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


def data_of(events: list[Any]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataReceived))


def acknowledge(engine: Any, events: list[Any]) -> None:
    for event in events:
        if isinstance(event, DataReceived):
            engine.acknowledge(event.stream_id, event.flow_bytes)


def answer(wire: Wire, stream_id: int, *bodies: bytes, trailers: bytes = TRAILERS) -> None:
    wire.provider.send_headers(stream_id, RESPONSE, end_stream=False)
    for body in bodies:
        wire.provider.send_data(stream_id, message(body), end_stream=False)
    wire.provider.send_headers(stream_id, trailers, end_stream=True)
    wire.settle()


def status_of(events: list[Any]) -> tuple[int, str]:
    for event in reversed(events):
        if isinstance(event, (TrailersReceived, HeadersReceived)) and event.block.get(b"grpc-status"):
            return int(event.block.get(b"grpc-status")), (event.block.get(b"zg-reason") or b"").decode()
    msg = f"no status in {events}"
    raise AssertionError(msg)


def test_unary_call_passes_whole(wire: Wire) -> None:
    stream_id = wire.call(b"question")
    asked = wire.far.take()
    assert data_of(asked) == message(b"question")
    assert any(isinstance(event, DataReceived) and event.end_stream for event in asked)
    answer(wire, 1, b"answer")
    got = wire.near.take()
    assert data_of(got) == message(b"answer")
    assert status_of(got) == (0, "")
    (call,) = wire.handler.ended_calls
    assert (call.down_id, call.status, call.reason, call.executed) == (stream_id, 0, Reason.OK, Executed.YES)
    assert (call.request_bytes, call.request_counter.count) == (13, 1)
    assert (call.response_bytes, call.response_counter.count) == (11, 1)
    assert not wire.relay.calls
    assert wire.provider.open_streams == wire.caller.open_streams == 0


def test_nothing_is_forwarded_before_the_role_says_so(wire: Wire) -> None:
    waiting: list[Any] = []
    wire.handler.decide = waiting.append
    wire.call(b"a", b"b")
    assert wire.dialler.attempts == 0
    assert wire.relay.held_bytes == len(message(b"a")) * 2
    waiting[0].forward(
        wire.handler.pool, block((":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "x"))
    )
    wire.settle()
    assert data_of(wire.far.take()) == message(b"a") + message(b"b")
    assert wire.relay.held_bytes == 0


def test_a_refused_call_reaches_nobody(wire: Wire) -> None:
    wire.handler.decide = lambda call: call.refuse(Reason.E_NEED_APPROVAL, "no grant")
    wire.call(b"x", end=False)
    got = wire.near.take()
    assert status_of(got) == (7, "E_NEED_APPROVAL")
    # RFC 9113 8.1: the rest of the request is not wanted.
    assert any(isinstance(event, StreamReset) and event.code == ErrorCode.NO_ERROR for event in got)
    assert wire.dialler.attempts == 0
    assert wire.handler.ended_calls[0].executed is Executed.NO


def test_the_caller_cancels(wire: Wire) -> None:
    stream_id = wire.call(b"x", end=False)
    wire.caller.reset(stream_id, ErrorCode.CANCEL)
    wire.settle()
    assert any(isinstance(event, StreamReset) and event.code == ErrorCode.CANCEL for event in wire.far.take())
    call = wire.handler.ended_calls[0]
    assert (call.reason, call.executed) == (Reason.E_CANCELLED, Executed.UNKNOWN)


def test_the_callers_connection_is_lost(wire: Wire) -> None:
    wire.call(b"x")
    wire.near.abort(Reason.E_CERT_REVOKED)
    wire.settle()
    assert wire.handler.ended_calls[0].reason is Reason.E_CANCELLED
    assert any(isinstance(event, StreamReset) for event in wire.far.take())
    assert not wire.relay.downstreams


@pytest.mark.parametrize(
    ("code", "reason", "status"),
    [
        (ErrorCode.REFUSED_STREAM, Reason.E_UPSTREAM, 14),
        (ErrorCode.INTERNAL_ERROR, Reason.E_UPSTREAM_RESET, 14),
        (ErrorCode.CANCEL, Reason.E_UPSTREAM_RESET, 14),
    ],
)
def test_the_next_hop_resets(wire: Wire, code: ErrorCode, reason: Reason, status: int) -> None:
    wire.call(b"x")
    wire.provider.reset(1, code)
    wire.settle()
    assert status_of(wire.near.take()) == (status, reason.value)
    assert wire.handler.ended_calls[0].reason is reason


def test_the_next_hop_is_lost_in_a_stream(wire: Wire) -> None:
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"first"), end_stream=False)
    wire.settle()
    wire.far.abort(Reason.E_UPSTREAM)
    wire.settle()
    got = wire.near.take()
    assert data_of(got) == message(b"first")
    assert status_of(got) == (14, "E_UPSTREAM_RESET")
    assert wire.handler.ended_calls[0].executed is Executed.YES


def test_the_next_hop_ends_without_a_status(wire: Wire) -> None:
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"half"), end_stream=True)
    wire.settle()
    assert status_of(wire.near.take()) == (14, "E_UPSTREAM_RESET")


def test_an_answer_that_ends_inside_a_message_is_no_answer(wire: Wire) -> None:
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"whole") + message(b"cut")[:-1], end_stream=False)
    wire.provider.send_headers(1, TRAILERS, end_stream=True)
    wire.settle()
    assert status_of(wire.near.take()) == (3, "E_HTTP2")


def test_a_failure_half_way_through_a_message_keeps_its_status(wire: Wire) -> None:
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"cut")[:-1], end_stream=False)
    wire.provider.send_headers(1, block(("grpc-status", "13")), end_stream=True)
    wire.settle()
    assert status_of(wire.near.take())[0] == 13


def test_a_request_that_ends_inside_a_message_is_refused(wire: Wire) -> None:
    stream_id = wire.call(end=False)
    wire.caller.send_data(stream_id, message(b"cut")[:-1], end_stream=True)
    wire.settle()
    assert status_of(wire.near.take()) == (3, "E_HTTP2")


def test_a_hop_that_cannot_be_reached_fails_calls_at_once_and_recovers(wire: Wire) -> None:
    wire.dialler.error = ZoneGateError(Reason.E_UPSTREAM, "refused")
    wire.call(b"x")
    assert status_of(wire.near.take()) == (14, "E_UPSTREAM")
    wire.call(b"x")
    assert status_of(wire.near.take()) == (14, "E_UPSTREAM")
    assert wire.dialler.attempts == 1, "while it backs off nobody dials"
    wire.dialler.error = None
    wire.clock.advance(0.2)
    wire.call(b"x")
    assert data_of(wire.far.take()) == message(b"x")


def test_a_peer_of_another_identity_is_named(wire: Wire) -> None:
    wire.dialler.error = ZoneGateError(Reason.E_PEER_IDENTITY, "not the one")
    wire.call(b"x")
    assert status_of(wire.near.take()) == (7, "E_PEER_IDENTITY")


def test_calls_wait_for_a_connection_that_is_being_opened(wire: Wire) -> None:
    wire.dialler.held = []
    first, second = wire.call(b"1"), wire.call(b"2")
    assert first != second
    assert wire.dialler.attempts == 1
    wire.dialler.open(wire.dialler.held[0])
    wire.settle()
    assert data_of(wire.far.take()) == message(b"1") + message(b"2")


def test_a_call_given_up_while_waiting_is_not_sent(wire: Wire) -> None:
    wire.dialler.held = []
    first = wire.call(b"1")
    wire.caller.reset(first, ErrorCode.CANCEL)
    wire.settle()
    wire.call(b"2")
    wire.dialler.open(wire.dialler.held[0])
    wire.settle()
    assert data_of(wire.far.take()) == message(b"2")


def test_deadline_ends_the_call_on_both_sides(wire: Wire) -> None:
    stream_id = wire.caller.open_stream(
        block(
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/a.B/C"),
            (":authority", "x"),
            ("content-type", "application/grpc"),
            ("grpc-timeout", "200m"),
        ),
        end_stream=False,
    )
    assert stream_id is not None
    wire.caller.send_data(stream_id, message(b"x"), end_stream=True)
    wire.settle()
    wire.far.take()
    wire.tick(0.15)
    assert not wire.handler.ended_calls
    wire.tick(0.15)
    assert status_of(wire.near.take()) == (4, "E_DEADLINE")
    assert any(isinstance(event, StreamReset) for event in wire.far.take())


def test_a_malformed_timeout_is_refused(wire: Wire) -> None:
    head = block(
        (":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"), ("grpc-timeout", "soon")
    )
    assert wire.caller.open_stream(head, end_stream=True)
    wire.settle()
    assert status_of(wire.near.take()) == (3, "E_METADATA")


def test_slow_reader_holds_no_more_than_its_windows() -> None:
    limits = Limits(initial_window=65_535, connection_window=65_535)
    wire = Wire(limits=limits, relay_limits=RelayLimits(call_buffer_bytes=32_768))
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    body = message(b"\xaa" * 1_000_000)
    wire.provider.send_data(1, body, end_stream=False)
    wire.settle()
    # The caller acknowledges nothing: its window, the relay's queue and the next hop's window are all that is used.
    held = wire.down.http2.queued_total
    assert held <= 65_535 + 32_768
    assert wire.provider.queued_total > 800_000
    received = bytearray()
    while len(received) < len(body):
        events = wire.near.take()
        received += data_of(events)
        acknowledge(wire.caller, events)
        wire.settle()
        assert wire.down.http2.queued_total <= 65_535 + 32_768
    assert bytes(received) == body
    wire.provider.send_headers(1, TRAILERS, end_stream=True)
    wire.settle()
    assert status_of(wire.near.take()) == (0, "")
    wire.close()


def test_slow_provider_holds_back_the_caller() -> None:
    limits = Limits(initial_window=65_535, connection_window=65_535)
    wire = Wire(limits=limits, relay_limits=RelayLimits(call_buffer_bytes=32_768))
    body = message(b"\xbb" * 1_000_000)
    stream_id = wire.call(end=False)
    wire.caller.send_data(stream_id, body, end_stream=True)
    wire.settle()
    assert wire.caller.queued_total > 800_000
    received = bytearray()
    while len(received) < len(body):
        events = wire.far.take()
        received += data_of(events)
        acknowledge(wire.provider, events)
        wire.settle()
    assert bytes(received) == body
    answer(wire, 1, b"done")
    assert status_of(wire.near.take()) == (0, "")
    wire.close()


def test_an_abort_overtakes_what_a_slow_reader_has_not_taken() -> None:
    wire = Wire(limits=Limits(initial_window=65_535, connection_window=65_535))
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"y" * 300_000), end_stream=False)
    wire.settle()
    (call,) = wire.relay.calls
    call.abort(Reason.E_POLICY_CHANGED, "no longer")
    wire.settle()
    assert status_of(wire.near.take()) == (10, "E_POLICY_CHANGED")
    assert wire.handler.ended_calls == [call]
    wire.close()


def test_a_finished_call_waits_until_the_caller_has_everything() -> None:
    wire = Wire(limits=Limits(initial_window=65_535, connection_window=65_535))
    wire.call(b"x", end=False)
    answer(wire, 1, b"y" * 100_000)
    assert not wire.handler.ended_calls
    events = wire.near.take()
    while not wire.handler.ended_calls:
        acknowledge(wire.caller, events)
        wire.settle()
        events = wire.near.take()
    assert status_of(events) == (0, "")
    wire.close()


def test_collected_calls_are_answered_here(wire: Wire) -> None:
    got: list[tuple[bytes, bool]] = []

    def decide(call: Any) -> None:
        def receive(data: bytes, ended: bool) -> None:
            got.append((data, ended))
            if ended:
                call.respond(b"receipt", TRAILERS)

        call.collect(receive)

    wire.handler.decide = decide
    wire.call(b"1", b"2")
    events = wire.near.take()
    assert b"".join(data for data, _ in got) == message(b"1") + message(b"2")
    assert data_of(events) == message(b"receipt")
    assert status_of(events) == (0, "")
    assert wire.handler.ended_calls[0].response_counter.count == 1


def test_too_many_calls_are_refused() -> None:
    wire = Wire(relay_limits=RelayLimits(open_calls=2))
    for _ in range(3):
        wire.call(b"x")
    assert status_of(wire.near.take()) == (14, "E_STREAMS")
    wire.close()


def test_held_bytes_of_the_process_are_bounded() -> None:
    wire = Wire(relay_limits=RelayLimits(held_bytes=1000))
    wire.handler.decide = lambda _call: None
    wire.call(b"x" * 600)
    wire.call(b"x" * 600)
    assert status_of(wire.near.take()) == (14, "E_STREAMS")
    wire.near.close()
    assert wire.relay.held_bytes == 0
    wire.close()


def test_drain_lets_calls_finish(wire: Wire) -> None:
    wire.call(b"x")
    wire.down.drain()
    wire.settle()
    assert not wire.near.closed
    answer(wire, 1, b"y")
    wire.tick(1.1)
    wire.tick(1.1)
    assert wire.near.closed
    assert wire.handler.ended_calls[0].status == 0


def test_a_going_hop_finishes_its_calls_and_gets_no_more(wire: Wire) -> None:
    wire.call(b"1")
    first = wire.far
    first.far.goaway(ErrorCode.NO_ERROR)
    wire.settle()
    wire.call(b"2")
    assert len(wire.dialler.channels) == 2
    assert data_of(wire.far.take()) == message(b"2")
    first.far.send_headers(1, RESPONSE, end_stream=False)
    first.far.send_headers(1, TRAILERS, end_stream=True)
    wire.settle()
    assert first.closed
    assert status_of(wire.near.take()) == (0, "")


def test_held_response_waits_for_the_role(wire: Wire) -> None:
    held: list[Any] = []

    def response(call: Any, head: Any) -> bytes | None:
        call.hold_response()
        held.append(call)
        return None

    wire.handler.response = response  # type: ignore[method-assign]
    wire.call(b"x")
    answer(wire, 1, b"secret")
    assert not data_of(wire.near.take())
    held[0].release_response(RESPONSE)
    wire.settle()
    got = wire.near.take()
    assert data_of(got) == message(b"secret")
    assert status_of(got) == (0, "")


def test_held_response_may_be_refused(wire: Wire) -> None:
    held: list[Any] = []

    def response(call: Any, head: Any) -> bytes | None:
        call.hold_response()
        held.append(call)
        return None

    wire.handler.response = response  # type: ignore[method-assign]
    wire.call(b"x")
    answer(wire, 1, b"secret")
    held[0].refuse(Reason.E_RESPONSE_RAISED, "raised")
    wire.settle()
    got = wire.near.take()
    assert not data_of(got)
    assert status_of(got) == (7, "E_RESPONSE_RAISED")
    assert wire.handler.ended_calls[0].executed is Executed.YES


@settings(max_examples=60, deadline=None)
@given(
    requests=st.lists(st.binary(max_size=40_000), max_size=5),
    responses=st.lists(st.binary(max_size=40_000), max_size=5),
    window=st.integers(1, 70_000),
)
def test_any_exchange_is_byte_identical(requests: list[bytes], responses: list[bytes], window: int) -> None:
    wire = Wire(limits=Limits(initial_window=window, connection_window=65_535))
    try:
        wire.call(*requests)
        asked = bytearray()
        want = b"".join(message(body) for body in requests)
        for _ in range(200_000):
            events = wire.far.take() if wire.dialler.channels else []
            asked += data_of(events)
            acknowledge(wire.provider, events)
            wire.settle()
            if len(asked) >= len(want) and not wire.far.events:
                break
        assert bytes(asked) == want
        answer(wire, 1, *responses)
        got, events = bytearray(), []
        want = b"".join(message(body) for body in responses)
        for _ in range(200_000):
            events = wire.near.take()
            got += data_of(events)
            acknowledge(wire.caller, events)
            wire.settle()
            if wire.handler.ended_calls and not wire.near.events:
                break
        assert bytes(got) == want
        assert wire.handler.ended_calls[0].status == 0
        assert not wire.relay.calls
    finally:
        wire.close()


def test_callers_that_cancel_much_do_not_end_the_connection_that_others_share() -> None:
    wire = Wire(limits=Limits(max_resets=20))
    steady = wire.call(b"steady", end=False)
    down_limit = wire.dialler.channels[0]
    for number in range(40):
        # Two callers' worth of resets, each within its own bound: the clock refills the caller's budget here.
        if number % 15 == 0:
            wire.down.tick(wire.clock.monotonic())
            wire.tick(10.0)
        wire.caller.reset(wire.call(b"x", end=False), ErrorCode.CANCEL)
        wire.settle()
    assert len(wire.dialler.channels) > 1, "new calls go elsewhere"
    assert not down_limit.closed, "the steady call goes on where it is"
    assert not wire.protocol_errors
    assert steady in wire.down.calls
    wire.close()
