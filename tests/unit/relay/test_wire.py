"""Message counting and refusals as a gRPC client reads them."""

from base64 import b64decode

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from zonegate.errors import ZoneGateError
from zonegate.gateway.convert import refusal_to_bytes
from zonegate.gateway.inspect.messages import frame
from zonegate.gateway.relay.wire import MessageCounter, refusal_fields, refusal_sentence
from zonegate.reasons import REGISTRY, Reason


@given(st.lists(st.binary(max_size=40), max_size=12), st.lists(st.integers(1, 30), max_size=60))
def test_messages_are_counted_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(frame(body) for body in bodies)
    counter = MessageCounter()
    position = 0
    for cut in cuts:
        counter.feed(data[position : position + cut])
        position += cut
    counter.feed(data[position:])
    assert counter.count == len(bodies)


def test_the_bound_is_on_what_is_announced() -> None:
    MessageCounter(limit=100).feed(frame(b"x" * 95))
    MessageCounter(limit=100).feed(frame(b"x" * 100))
    with pytest.raises(ZoneGateError) as caught:
        MessageCounter(limit=100).feed(frame(b"x" * 101)[:5])
    assert caught.value.reason is Reason.E_MESSAGE_SIZE


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.OK])
def test_a_refusal_says_reason_crossing_and_hint_in_two_languages(reason: Reason) -> None:
    detail, crossing = "detail with 汉字 and\ttab", "c" * 28
    made = refusal_to_bytes(reason, refusal_sentence(reason, detail), crossing)
    fields = {field.name: field.value for field in refusal_fields(reason, detail, crossing, made)}
    status = status_pb2.Status.FromString(b64decode(fields[b"grpc-status-details-bin"] + b"=="))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason.value, "zonegate")
    assert info.metadata["crossing"] == "c" * 28
    assert info.metadata["executed"] == REGISTRY[reason].executed.value
    said = error_details_pb2.LocalizedMessage()
    assert [(detail.Unpack(said), said.locale)[1] for detail in status.details[1:]] == ["en", "zh-CN"]
    assert int(fields[b"grpc-status"]) == int(REGISTRY[reason].grpc) == status.code
    assert fields[b"zg-reason"] == reason.value.encode()
