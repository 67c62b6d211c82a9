"""What one call may carry: nothing that would end a connection which other callers' calls share with it."""

from collections.abc import Iterator
from contextlib import nullcontext

import pytest

from support.crossing import CROSSING, GOOD, TICKET, Crossing, request, verified
from support.wire import RESPONSE, block
from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.http2.decoder import HpackDecoder
from zonegate.gateway.http2.headers import Kind
from zonegate.gateway.http2.memo import HeaderMemo
from zonegate.reasons import Reason

KEY = "zg-idempotency-key"


@pytest.fixture
def shared() -> Iterator[Crossing]:
    made = Crossing()
    yield made
    made.close()


@pytest.fixture
def police() -> Iterator[Crossing]:
    made = Crossing(egress=True)
    yield made
    made.close()


TOO_MUCH = {
    "a field of the protocol": ("grpc-accept-encoding", "a" * 513),
    "a second field of the protocol": ("content-type", "application/grpc+proto"),
    "a content type": ("grpc-encoding", "a" * 10_000),
    "a label": ("zg-label", "L1;cat=" + "a" * 600),
    "a second idempotency key": (KEY, "b"),
    "varying metadata": ("x-request-id", "a" * 3_100),
}


@pytest.mark.parametrize("field", TOO_MUCH.values(), ids=TOO_MUCH)
def test_metadata_that_the_next_hop_could_not_take_or_would_read_otherwise(
    shared: Crossing, field: tuple[str, str]
) -> None:
    shared.call(*GOOD, (KEY, "a"), field)
    assert shared.got()[1] == Reason.E_METADATA.value
    assert not shared.asked
    (decision,) = shared.decisions
    assert (decision.verdict.allowed, decision.verdict.reason) == (False, Reason.E_METADATA)


def test_a_path_is_bounded(shared: Crossing) -> None:
    shared.call(*GOOD, path="/a/" + "b" * 2_000)
    assert shared.got()[1] == Reason.E_METADATA.value


def test_metadata_that_nobody_listed_is_bounded_too() -> None:
    decoder = HpackDecoder(HeaderMemo(), max_list=1 << 20, max_fields=128)
    for size, fine in ((16_000, True), (16_384, False)):
        found = decoder.decode(request(("x-other", "a" * size)), Kind.REQUEST)
        with nullcontext() if fine else pytest.raises(ZoneGateError) as caught:
            names.read_request(found)
        assert fine or caught.value.reason is Reason.E_METADATA


def test_an_answer_whose_metadata_the_way_back_could_not_carry() -> None:
    decoder = HpackDecoder(HeaderMemo(), max_list=1 << 20, max_fields=128)
    for size, fine in ((24_000, True), (24_500, False)):
        found = decoder.decode(block((":status", "200"), ("grpc-message", "a" * size)), Kind.RESPONSE)
        with nullcontext() if fine else pytest.raises(ZoneGateError) as caught:
            names.check_response(found)
        assert fine or caught.value.reason is Reason.E_UPSTREAM_RESET


def test_a_response_has_one_label(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING))
    police.answer(1, ("zg-label", "L2"), ("zg-label", "L5"))
    assert police.got()[1] == Reason.E_RESPONSE_RAISED.value


def test_what_passes_leaves_room_for_what_each_hop_adds() -> None:
    """The longest request, ticket and all, is within what the next hop takes by default."""
    ticket = names.TICKET_LIMIT_BYTES
    added = 512
    assert names.REQUEST_LIMIT_BYTES + names.VARYING_LIMIT_BYTES + ticket + added <= 32 * 1024
    assert names.RESPONSE_LIMIT_BYTES + added <= 32 * 1024


def test_a_message_that_was_announced_before_the_ticket_was_verified_is_bounded_too(shared: Crossing) -> None:
    limit = max(resource.max_message_bytes for resource in shared.policy.resources.values())
    shared.tickets.pending = []
    stream_id = shared.wire.caller.open_stream(request(*GOOD), end_stream=False)
    assert stream_id is not None
    shared.wire.caller.send_data(stream_id, b"\0" + (limit + 1).to_bytes(4, "big") + b"x", end_stream=False)
    shared.wire.settle()
    shared.tickets.settle(verified(TICKET))
    shared.wire.settle()
    assert shared.got()[1] == Reason.E_MESSAGE_SIZE.value
    assert not shared.asked
    (decision,) = shared.decisions
    assert decision.verdict.reason is Reason.E_MESSAGE_SIZE


@pytest.mark.req("AU-01")
def test_a_call_that_ends_before_it_is_planned_has_a_record(shared: Crossing) -> None:
    shared.tickets.pending = []
    shared.call(*GOOD, ("grpc-timeout", "1S"))
    shared.wire.tick(1.2)
    assert shared.got()[1] == Reason.E_DEADLINE.value
    (decision,) = shared.decisions
    assert (decision.verdict.allowed, decision.verdict.reason) == (False, Reason.E_DEADLINE)
    assert len(decision.crossing) == 28
    shared.tickets.settle(verified(TICKET))
    assert len(shared.decisions) == 1
    assert not shared.asked


@pytest.mark.req("AU-01")
def test_a_call_that_the_relay_refuses_has_a_record(shared: Crossing) -> None:
    shared.call(*GOOD, ("grpc-timeout", "soon"))
    assert shared.got()[1] == Reason.E_METADATA.value
    (decision,) = shared.decisions
    assert (decision.verdict.allowed, decision.verdict.reason) == (False, Reason.E_METADATA)


def test_a_peer_gateway_gives_each_call_an_id_of_its_own(police: Crossing) -> None:
    fields = (*GOOD, ("zg-crossing", CROSSING))
    police.call(*fields)
    police.call(*fields)
    assert police.got()[1] == Reason.E_METADATA.value
    assert len(police.asked) == 1
    police.answer(1)
    police.call(*fields)
    assert len(police.asked) == 2, "the first call is over"
    police.call(*GOOD, ("zg-crossing", police.handler._ids.next()))
    assert police.got()[1] == Reason.E_METADATA.value, "an id of this gateway's own calls"
    assert police.handler._under_way == {CROSSING}


ENDS = {
    "two statuses": ((("grpc-status", "7"), ("grpc-status", "0")), 14),
    "HTTP's word against gRPC's": (
        ((":status", "404"), ("content-type", "application/grpc"), ("grpc-status", "0")),
        14,
    ),
    "a status that no client knows": ((("grpc-status", "99"),), 2),
}


@pytest.mark.parametrize(("trailers", "recorded"), ENDS.values(), ids=ENDS)
def test_the_recorded_status_is_the_one_that_the_caller_sees(
    police: Crossing, trailers: tuple[tuple[str, str], ...], recorded: int
) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING))
    if trailers[0][0] != ":status":
        police.wire.provider.send_headers(1, RESPONSE, end_stream=False)
    police.wire.provider.send_headers(1, block(*trailers), end_stream=True)
    police.wire.settle()
    (outcome,) = police.outcomes
    assert outcome.grpc == recorded
    assert police.got()[0] in {recorded, 99}


def test_a_refusal_by_the_peer_gateway_is_told_apart_from_a_providers_word(shared: Crossing, police: Crossing) -> None:
    for crossing, passed in ((shared, "E_NEED_APPROVAL"), (police, "")):
        crossing.call(*GOOD, *((("zg-crossing", CROSSING),) if crossing is police else ()))
        refusal = (("grpc-status", "7"), ("zg-reason", "E_NEED_APPROVAL"))
        head = (":status", "200"), ("content-type", "application/grpc")
        crossing.wire.provider.send_headers(1, block(*head, *refusal), end_stream=True)
        crossing.wire.settle()
        assert crossing.got()[:2] == (7, passed)


def test_one_caller_cannot_have_every_call_open() -> None:
    for egress in (False, True):
        crossing = Crossing(egress=egress, calls_per_caller=3)
        for number in range(5):
            crossing.call(*GOOD, ("zg-crossing", f"{number:028x}"), end=False)
        allowed = [decision.verdict.allowed for decision in crossing.decisions]
        if egress:
            assert allowed == [True] * 5, "its own gateway keeps the account"
        else:
            assert allowed == [True] * 3 + [False] * 2
            assert crossing.decisions[-1].verdict.reason is Reason.E_STREAMS
            crossing.answer(1)
            crossing.call(*GOOD)
            assert crossing.decisions[-1].verdict.allowed, "one has ended"
            crossing.wire.near.abort(Reason.E_CERT_REVOKED)
            assert not crossing.handler._open._open
        crossing.close()
