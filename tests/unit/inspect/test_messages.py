"""gRPC framing: messages cut at any place come out whole, bounds hold before bytes are stored."""

from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.descriptors import statistics_set
from zonegate.errors import ZoneGateError
from zonegate.gateway.inspect.messages import MessageAssembler, MessageStream, frame
from zonegate.gateway.inspect.schema import Schemas
from zonegate.reasons import Reason

LIMIT = 100


@contextmanager
def suppress_reasons(allowed):
    """Let refusals of these reasons pass; anything else fails the test."""
    try:
        yield
    except ZoneGateError as error:
        if error.reason not in allowed:
            raise


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=LIMIT), max_size=8), st.data())
def test_messages_come_out_however_they_are_cut(messages, data):
    wire = b"".join(frame(message) for message in messages)
    assembler = MessageAssembler(LIMIT)
    got, at = [], 0
    while at < len(wire):
        size = data.draw(st.integers(1, 40))
        got += assembler.feed(wire[at : at + size])
        at += size
        assert assembler.held_bytes <= LIMIT + 5 + 40
    assembler.finish()
    assert got == messages


REFUSED = {
    "compressed": (b"\x01\x00\x00\x00\x01x", Reason.E_MESSAGE_COMPRESSED),
    "flag 2": (b"\x02\x00\x00\x00\x01x", Reason.E_HTTP2),
    "announced above the bound": (b"\x00\x00\x00\x00\x65", Reason.E_MESSAGE_SIZE),
    "announced 4 GiB": (b"\x00\xff\xff\xff\xff", Reason.E_MESSAGE_SIZE),
    "second message above the bound": (frame(b"x") + b"\x00\x00\x00\x00\x65", Reason.E_MESSAGE_SIZE),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_prefix_is_refused_before_the_message_arrives(data, reason):
    with pytest.raises(ZoneGateError) as caught:
        MessageAssembler(LIMIT).feed(data)
    assert caught.value.reason is reason


@pytest.mark.parametrize("data", [b"\x00", b"\x00\x00\x00\x00", frame(b"whole") + frame(b"cut")[:-1]])
def test_a_stream_that_ends_inside_a_message_is_refused(data):
    assembler = MessageAssembler(LIMIT)
    assembler.feed(data)
    with pytest.raises(ZoneGateError) as caught:
        assembler.finish()
    assert caught.value.reason is Reason.E_HTTP2


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=20), max_size=5))
def test_any_bytes_give_messages_or_one_error(chunks):
    assembler = MessageAssembler(LIMIT)
    allowed = {Reason.E_HTTP2, Reason.E_MESSAGE_SIZE, Reason.E_MESSAGE_COMPRESSED}
    with suppress_reasons(allowed):
        for chunk in chunks:
            assembler.feed(chunk)
        assembler.finish()


@pytest.mark.req("XZ-02")
def test_a_stream_under_inspection_forwards_whole_checked_messages_only():
    report = Schemas(statistics_set()).filter("stats.v1.Report")
    stream = MessageStream(report, 1000)
    wire = frame(b"\x18\x85\x80\x00") + frame(b"\x0a\x01o")
    assert stream.feed(wire[:8]) == b""
    assert stream.held_bytes == 8
    assert stream.feed(wire[8:11]) == frame(b"\x18\x05")
    assert stream.feed(wire[11:]) == frame(b"\x0a\x01o")
    stream.finish()
    assert stream.messages == 2
    with pytest.raises(ZoneGateError) as caught:
        stream.feed(frame(b"\x78\x01"))
    assert caught.value.reason is Reason.E_SCHEMA
