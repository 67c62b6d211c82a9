"""What the relay holds for a call is given back however the call ends: windows, held bytes, deadlines, streams."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.wire import REQUEST, RESPONSE, TRAILERS, Wire, block, message
from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.connection import Limits
from zonegate.gateway.http2.events import StreamReset
from zonegate.gateway.http2.frames import DEFAULT_WINDOW, Setting, settings
from zonegate.gateway.http2.headers import HeaderBlock
from zonegate.gateway.relay.call import Call
from zonegate.gateway.relay.core import RelayLimits
from zonegate.reasons import Reason

ONLY_TRAILERS = block((":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "0"))


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.close()


@pytest.fixture
def narrow() -> Iterator[Wire]:
    """Small windows: what a caller does not read is felt at the next hop."""
    made = Wire(
        limits=Limits(initial_window=DEFAULT_WINDOW), relay_limits=RelayLimits(call_buffer_bytes=DEFAULT_WINDOW)
    )
    yield made
    made.close()


class Refusing:
    """An inspection that nothing passes."""

    def feed(self, data: bytes) -> bytes:
        raise ZoneGateError(Reason.E_SCHEMA, f"{len(data)} bytes of nonsense")

    def finish(self) -> None: ...

    @property
    def held_bytes(self) -> int:
        return 0


def test_an_answer_that_was_held_for_judgement_leaves_the_hops_window_whole(wire: Wire) -> None:
    waiting: list[Call] = []

    def judge(call: Call, head: HeaderBlock) -> None:
        del head
        call.hold_response()
        waiting.append(call)

    wire.handler.response = judge  # type: ignore[method-assign, assignment]
    wire.call(b"x")
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"y" * 10_000), end_stream=False)
    wire.provider.send_headers(1, TRAILERS, end_stream=True)
    wire.settle()
    waiting[0].release_response(RESPONSE)
    wire.settle()
    assert wire.far.app.http2.unacknowledged == 0
    assert not wire.relay.calls


def test_callers_that_read_nothing_hold_up_nobody_elses_call(narrow: Wire) -> None:
    stalled = 2 * Limits().connection_window // DEFAULT_WINDOW
    for number in range(stalled):
        narrow.call(b"x")
        narrow.provider.send_headers(2 * number + 1, RESPONSE, end_stream=False)
        narrow.provider.send_data(2 * number + 1, message(b"y" * 200_000), end_stream=False)
        narrow.settle()
    assert narrow.far.app.http2.unacknowledged == 0
    last = 2 * stalled + 1
    narrow.call(b"x")
    narrow.provider.send_headers(last, RESPONSE, end_stream=False)
    narrow.provider.send_data(last, message(b"y" * 1_000), end_stream=False)
    narrow.provider.send_headers(last, TRAILERS, end_stream=True)
    narrow.settle()
    assert narrow.provider.queued(1) > 0, "the stalled stream itself is held back"
    assert narrow.provider.queued(last) == 0, "the other one is not"


def test_a_hop_that_reads_nothing_holds_up_nobody_elses_call(narrow: Wire) -> None:
    narrow.call(b"x")
    narrow.far.app.received(settings({Setting.INITIAL_WINDOW_SIZE: 0}))
    for _ in range(2 * Limits().connection_window // DEFAULT_WINDOW):
        narrow.call(b"y" * 200_000)
    assert narrow.down.http2.unacknowledged == 0
    assert narrow.caller.queued(3) > 0, "the stalled stream itself is held back"


@pytest.mark.parametrize("what", ["unread answers", "undecided requests"])
def test_what_all_calls_store_is_bounded_and_the_heaviest_caller_pays(what: str) -> None:
    limit = 1_000_000
    wire = Wire(relay_limits=RelayLimits(stored_bytes=limit, held_bytes=1 << 30, call_buffer_bytes=DEFAULT_WINDOW))
    try:
        if what == "undecided requests":
            wire.handler.decide = [].append
        for number in range(20):
            wire.call(b"x" * 100_000)
            if what == "unread answers":
                wire.provider.send_headers(2 * number + 1, RESPONSE, end_stream=False)
                wire.provider.send_data(2 * number + 1, message(b"y" * 100_000), end_stream=False)
                wire.settle()
        assert sum(call.held_now for call in wire.relay.calls) > limit
        wire.tick(1.1)
        assert 0 < sum(call.held_now for call in wire.relay.calls) <= limit
        assert {call.reason for call in wire.handler.ended_calls} == {Reason.E_STREAMS}
    finally:
        wire.close()


def test_a_refusal_half_way_through_held_bytes_releases_all_of_them(wire: Wire) -> None:
    waiting: list[Call] = []
    wire.handler.decide = waiting.append
    wire.call(b"bad", b"a" * 10_000, b"b" * 10_000)
    assert wire.relay.held_bytes > 20_000
    waiting[0].request_filter = Refusing()
    waiting[0].forward(wire.handler.pool, REQUEST)
    wire.settle()
    assert wire.handler.ended_calls[0].reason is Reason.E_SCHEMA
    assert wire.relay.held_bytes == 0


def test_a_deadline_years_ahead_is_forgotten_with_its_call(wire: Wire) -> None:
    for hours in range(1, 50):
        wire.call(b"x", request=REQUEST + block(("grpc-timeout", f"{hours}0000H")))
        wire.provider.send_headers(2 * hours - 1, ONLY_TRAILERS, end_stream=True)
        wire.settle()
    assert not wire.relay.calls
    assert not wire.relay._deadlines


def test_a_request_that_the_hop_answered_unread_leaves_nothing_queued(wire: Wire) -> None:
    wire.call(b"x")
    wire.provider.send_headers(1, ONLY_TRAILERS, end_stream=True)
    wire.settle()
    wire.far.app.received(settings({Setting.INITIAL_WINDOW_SIZE: 0}))
    wire.call(b"y" * 50_000)
    wire.provider.send_headers(3, ONLY_TRAILERS, end_stream=True)
    wire.settle()
    engine = wire.far.app.http2
    assert (engine.open_streams, engine.queued_total) == (0, 0)


def unread(wire: Wire, *, timeout: str = "") -> Call:
    """Leave an answer whose caller reads nothing: the call is settled and not over."""
    request = REQUEST + (block(("grpc-timeout", timeout)) if timeout else b"")
    wire.call(b"x", request=request)
    (call,) = wire.relay.calls
    wire.provider.send_headers(1, RESPONSE, end_stream=False)
    wire.provider.send_data(1, message(b"y" * 100_000), end_stream=False)
    wire.provider.send_headers(1, TRAILERS, end_stream=True)
    wire.settle()
    assert (call.settled, call.finished) == (True, False)
    return call


def ends(events: list[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, StreamReset)]


def test_an_answer_that_nobody_reads_is_dropped_at_the_calls_deadline(narrow: Wire) -> None:
    call = unread(narrow, timeout="1S")
    narrow.tick(1.2)
    assert narrow.handler.ended_calls == [call]
    assert (call.status, call.reason) == (0, Reason.OK), "what the provider said stays said"
    assert ends(narrow.near.take())
    assert (narrow.down.http2.queued_total, len(narrow.relay.calls)) == (0, 0)


def test_a_drain_whose_time_is_over_ends_answers_that_nobody_reads(narrow: Wire) -> None:
    call = unread(narrow)
    call.expire(Reason.E_DRAINING, "")
    assert narrow.handler.ended_calls == [call]
    call.expire(Reason.E_DRAINING, "")
    assert narrow.handler.ended_calls == [call], "told once"
