"""A gateway's handling of calls, with engines in memory: what is refused, what is recorded, and in which order."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from prometheus_client import generate_latest

from support.clock import NOON
from support.crossing import (
    CROSSING,
    GATEWAY_POLICE,
    GATEWAY_SHARED,
    GOOD,
    PURPOSE,
    QUOTED,
    TICKET,
    Crossing,
    peer,
    verified,
    with_ticket,
)
from support.policy import CREDIT_FRONT, LIST, NOTICES, RELIEF, VERIFY, compile_sample, replaced
from support.wire import block
from zonegate.errors import ZoneGateError
from zonegate.gateway.crossing import CrossingIds
from zonegate.gateway.evidence import records
from zonegate.gateway.http2.events import HeadersReceived
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.planning import PLANS_PER_CONNECTION
from zonegate.gateway.rate import Rate
from zonegate.gateway.ticket import TicketTable
from zonegate.pki.certificate import Profile
from zonegate.pki.path import StatusRule
from zonegate.policies.model import Policy
from zonegate.reasons import Reason


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


def exported(crossing: Crossing, name: str) -> float:
    text = generate_latest(crossing.metrics.registry()).decode()
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def without_grant() -> Policy:
    return compile_sample(replaced("system: spiffe://extra/1210000099030001XT/credit\nresource", NOT_CREDIT)).policy


NOT_CREDIT = "system: spiffe://extra/111000009900000172/notices\nresource"


# -- the granting way ------------------------------------------------------------------------------------------------


@pytest.mark.req("XZ-14")
def test_step_9_nothing_goes_on_before_the_record_is_durable(shared: Crossing) -> None:
    shared.log.held = []
    shared.call(*GOOD)
    assert shared.wire.dialler.attempts == 0
    shared.log.sync()
    shared.wire.settle()
    (asked,) = shared.asked
    assert asked.block.get(b":path") == VERIFY.encode()
    assert asked.block.get(b"zg-purpose") == QUOTED.encode()
    assert len(asked.block.get(b"zg-crossing") or b"") == 28
    (decision,) = shared.decisions
    assert (decision.verdict.allowed, decision.purpose, decision.hop) == (True, PURPOSE, records.Hop.INGRESS)
    assert decision.crossing.encode() == asked.block.get(b"zg-crossing")
    shared.answer(1)
    status, reason, data = shared.got()
    assert (status, reason, data[5:]) == (0, "", b"answer")
    (outcome,) = shared.outcomes
    assert (outcome.grpc, outcome.executed, outcome.request_messages) == (0, records.Executed.YES, 1)


def test_the_provider_is_told_who_calls_and_sees_no_ticket(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), ("x-other", "not listed"), ("x-request-note", "listed"))
    (asked,) = police.asked
    assert asked.block.get(b"zg-caller-organ") == b"1210000099030001XT"
    assert asked.block.get(b"zg-caller-system") == b"credit"
    assert asked.block.get(b"zg-crossing") == CROSSING.encode()
    assert asked.block.get(b"x-request-note") == b"listed"
    for absent in (b"x-other", b"zg-ticket-bin", b"zg-ticket-ref"):
        assert asked.block.get(absent) is None
    (decision,) = police.decisions
    assert (decision.hop, decision.caller.uri, decision.caller.peer) == (
        records.Hop.EGRESS,
        CREDIT_FRONT,
        GATEWAY_SHARED,
    )
    assert police.tickets.asked == [(TICKET, GATEWAY_SHARED)], "the ticket must be one for the gateway that sent it"


# -- refusals --------------------------------------------------------------------------------------------------------

REFUSED_AT_INGRESS = {
    "no ticket": ((("zg-purpose", QUOTED),), VERIFY, Reason.E_TICKET),
    "a reference that names nothing": ((("zg-ticket-ref", "00" * 16), GOOD[1]), VERIFY, Reason.E_TICKET),
    "a ticket that is not base64": ((("zg-ticket-bin", "!!!"), GOOD[1]), VERIFY, Reason.E_METADATA),
    "a ticket nobody has signed": ((with_ticket(b"forged"), GOOD[1]), VERIFY, Reason.E_TICKET),
    "step 7 no purpose": ((GOOD[0],), VERIFY, Reason.E_PURPOSE),
    "step 5 a category that the caller lacks": (GOOD, LIST, Reason.E_CATEGORY),
    "not catalogued": (GOOD, VERIFY + "All", Reason.E_NOT_CATALOGUED),
    "step 2 a lower label": ((*GOOD, ("zg-label", "L0")), VERIFY, Reason.E_LABEL_LOWER),
    "step 3 a spill": ((*GOOD, ("zg-label", "L3")), VERIFY, Reason.E_SPILL),
    "no label at all": ((*GOOD, ("zg-label", "high")), VERIFY, Reason.E_LABEL),
    "a label twice": ((*GOOD, ("zg-label", "L1"), ("zg-label", "L1")), VERIFY, Reason.E_METADATA),
    "an idempotency key with a control": ((*GOOD, ("zg-idempotency-key", "a%0Ab")), VERIFY, Reason.E_METADATA),
}


@pytest.mark.parametrize(("fields", "path", "reason"), REFUSED_AT_INGRESS.values(), ids=REFUSED_AT_INGRESS)
def test_refused(shared: Crossing, fields: tuple[tuple[str, str], ...], path: str, reason: Reason) -> None:
    shared.call(*fields, path=path)
    assert shared.got()[1] == reason.value
    assert shared.wire.dialler.attempts == 0
    (decision,) = shared.decisions
    assert (decision.verdict.allowed, decision.verdict.reason) == (False, reason)
    assert not shared.outcomes, "what was refused has no outcome"
    assert not shared.wire.relay.calls


def test_the_reference_of_a_ticket_stands_for_it(shared: Crossing) -> None:
    shared.call(*GOOD)
    reference = TicketTable().refer(TICKET)[1].decode()
    shared.call(("zg-ticket-ref", reference), GOOD[1])
    assert [decision.verdict.allowed for decision in shared.decisions] == [True, True]
    assert len(shared.asked) == 2


@pytest.mark.parametrize("other", [RELIEF, NOTICES])
def test_a_ticket_of_another_system_is_not_the_connections_own(shared: Crossing, other: str) -> None:
    shared.tickets.known[TICKET] = verified(TICKET, other)
    shared.call(*GOOD)
    assert shared.got()[1] == Reason.E_TICKET


REFUSED_AT_EGRESS = {
    "no crossing id": (GOOD, CREDIT_FRONT, Reason.E_METADATA),
    "a crossing id of another form": ((*GOOD, ("zg-crossing", "xyz")), CREDIT_FRONT, Reason.E_METADATA),
    "a caller whose zone is another gateway's": ((*GOOD, ("zg-crossing", CROSSING)), RELIEF, Reason.E_ZONE_IDENTITY),
    "a caller that the policy does not know": (
        (*GOOD, ("zg-crossing", CROSSING)),
        CREDIT_FRONT + "-x",
        Reason.E_ZONE_IDENTITY,
    ),
}


@pytest.mark.parametrize(("fields", "who", "reason"), REFUSED_AT_EGRESS.values(), ids=REFUSED_AT_EGRESS)
def test_refused_from_a_peer_gateway(
    police: Crossing, fields: tuple[tuple[str, str], ...], who: str, reason: Reason
) -> None:
    police.tickets.known[TICKET] = verified(TICKET, who)
    police.call(*fields)
    assert police.got()[1] == reason.value
    assert police.wire.dialler.attempts == 0


def test_a_peer_gateway_cannot_use_this_one_as_a_way_through(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), ("zg-label", "L0"), path="/example.notice.v1.Notice/Get")
    assert police.got()[1] == Reason.E_ZONE_IDENTITY


def test_rates_are_taken_where_the_caller_enters() -> None:
    for egress, wanted in ((False, [True, True, False]), (True, [True, True, True])):
        crossing = Crossing(egress=egress, default_rate=Rate(1.0, 2))
        for number in range(3):
            crossing.call(*GOOD, ("zg-crossing", f"{number:028x}"))
        assert [decision.verdict.allowed for decision in crossing.decisions] == wanted
        if not egress:
            assert crossing.got()[1] == Reason.E_RATE
            crossing.clock.advance(1.0)
            crossing.call(*GOOD)
            assert crossing.decisions[-1].verdict.allowed
        crossing.close()


def test_the_grants_own_rate_is_kept_too(shared: Crossing) -> None:
    for _ in range(101):  # the grant says 50 a second, 100 at once
        shared.call(*GOOD)
    assert [decision.verdict.reason for decision in shared.decisions].count(Reason.E_RATE) == 1


@pytest.mark.req("AU-04")
def test_step_9_evidence_that_cannot_be_written_refuses(shared: Crossing) -> None:
    shared.log.error = ZoneGateError(Reason.E_EVIDENCE, "disk full")
    shared.call(*GOOD)
    assert shared.got()[:2] == (14, "E_EVIDENCE")
    assert shared.wire.dialler.attempts == 0
    assert exported(shared, 'zonegate_decisions_total{decision="guarded",reason="E_EVIDENCE"') == 1
    shared.log.error = None
    shared.call(*GOOD)
    assert len(shared.asked) == 1, "healed without a restart"


def test_a_caller_that_leaves_while_the_record_is_written_is_owed_an_outcome(shared: Crossing) -> None:
    shared.log.held = []
    stream = shared.call(*GOOD)
    shared.wire.caller.reset(stream, ErrorCode.CANCEL)
    shared.wire.settle()
    shared.log.sync()
    shared.wire.settle()
    assert shared.wire.dialler.attempts == 0
    (outcome,) = shared.outcomes
    assert (outcome.reason, outcome.executed) == (Reason.E_CANCELLED, records.Executed.NO)
    assert shared.decisions[0].crossing == outcome.crossing


def test_a_hop_without_an_address_is_an_outage_not_a_refusal(shared: Crossing) -> None:
    shared.handler.peers.clear()
    shared.call(*GOOD)
    assert shared.got()[:2] == (14, "E_UPSTREAM")
    assert shared.decisions[0].verdict.allowed
    assert shared.outcomes[0].reason is Reason.E_UPSTREAM


# -- tickets that are being verified ---------------------------------------------------------------------------------


def test_a_call_waits_for_its_ticket(shared: Crossing) -> None:
    shared.tickets.pending = []
    shared.call(*GOOD)
    assert not shared.decisions
    shared.tickets.settle(verified(TICKET))
    shared.wire.settle()
    assert len(shared.asked) == 1


def test_a_caller_that_leaves_while_its_ticket_is_verified_leaves_no_record(shared: Crossing) -> None:
    shared.tickets.pending = []
    stream = shared.call(*GOOD)
    shared.wire.caller.reset(stream, ErrorCode.CANCEL)
    shared.wire.settle()
    shared.tickets.settle(verified(TICKET))
    assert not shared.log.written
    assert not shared.wire.relay.calls


def test_a_ticket_that_expires_is_asked_for_again(shared: Crossing) -> None:
    shared.call(*GOOD)
    shared.call(*GOOD)
    assert len(shared.tickets.asked) == 1
    shared.clock.advance(9 * 60)
    shared.tickets.known[TICKET] = ZoneGateError(Reason.E_TICKET_EXPIRED, "past")
    shared.call(*GOOD)
    assert len(shared.tickets.asked) == 2
    assert shared.got()[1] == Reason.E_TICKET_EXPIRED


# -- the plan cache --------------------------------------------------------------------------------------------------


def plans(crossing: Crossing) -> int:
    return len(crossing.wire.down.context.plans)


def test_plans_are_kept_under_all_that_they_were_made_from(shared: Crossing) -> None:
    for fields in (GOOD, GOOD, (*GOOD, ("traceparent", "00-" + "1" * 32 + "-" + "2" * 16 + "-01"))):
        shared.call(*fields)
    assert (plans(shared), len(shared.tickets.asked)) == (1, 1)
    shared.call(*GOOD, ("zg-label", "L2"))
    assert (plans(shared), len(shared.tickets.asked)) == (2, 2)
    shared.handler.changed([])
    shared.call(*GOOD)
    assert len(shared.tickets.asked) == 3, "no plan outlives the policy and the status that it was made from"


def test_plans_of_one_connection_are_bounded(shared: Crossing) -> None:
    for number in range(PLANS_PER_CONNECTION + 10):
        shared.call(GOOD[0], ("zg-purpose", str(number)))
    assert 0 < plans(shared) <= PLANS_PER_CONNECTION


# -- changes under way -----------------------------------------------------------------------------------------------


def begun(crossing: Crossing) -> None:
    crossing.call(*GOOD, end=False)
    head = block((":status", "200"), ("content-type", "application/grpc"))
    crossing.wire.provider.send_headers(1, head, end_stream=False)
    crossing.wire.settle()
    assert crossing.got()[0] == -1


def open_calls(crossing: Crossing) -> list:
    return list(crossing.wire.relay.calls)


def test_a_policy_that_takes_the_grant_away_ends_the_call(shared: Crossing) -> None:
    begun(shared)
    shared.handler.policy_changed(without_grant(), open_calls(shared))
    shared.wire.settle()
    assert shared.got()[1] == Reason.E_POLICY_CHANGED
    assert shared.resets() == 1
    assert (shared.outcomes[0].reason, shared.outcomes[0].executed) == (
        Reason.E_POLICY_CHANGED,
        records.Executed.YES,
    )


def test_a_policy_that_still_grants_does_not(shared: Crossing) -> None:
    begun(shared)
    shared.handler.policy_changed(shared.policy, open_calls(shared))
    shared.wire.settle()
    assert shared.got()[0] == -1
    assert len(open_calls(shared)) == 1


def test_a_policy_that_changes_while_the_record_is_written_counts(shared: Crossing) -> None:
    shared.log.held = []
    shared.call(*GOOD)
    shared.handler.policy_changed(without_grant(), open_calls(shared))
    shared.log.sync()
    shared.wire.settle()
    assert shared.got()[1] == Reason.E_POLICY_CHANGED
    assert shared.wire.dialler.attempts == 0


def test_a_caller_that_moves_to_another_zone_is_no_longer_spoken_for(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), end=False)
    moved = replaced("credit\ntitle: 信用查询前端\nzone: shared", "credit\ntitle: 信用查询前端\nzone: civil")
    police.handler.policy_changed(compile_sample(moved).policy, open_calls(police))
    police.wire.settle()
    assert police.got()[1] == Reason.E_ZONE_IDENTITY


@pytest.mark.req("RV-04")
def test_a_revoked_caller_loses_its_call_and_the_next(shared: Crossing) -> None:
    begun(shared)
    shared.trust.status.error = ZoneGateError(Reason.E_CERT_REVOKED, "revoked")
    shared.handler.changed(open_calls(shared))
    shared.wire.settle()
    assert shared.got()[1] == Reason.E_CERT_REVOKED
    shared.call(*GOOD)
    assert shared.got()[1] == Reason.E_CERT_REVOKED


@pytest.mark.req("RV-02")
@pytest.mark.parametrize("rule", [StatusRule.REQUIRED, StatusRule.STALE_ALLOWED])
def test_lists_that_become_stale_end_calls_where_fresh_ones_are_required(shared: Crossing, rule: StatusRule) -> None:
    shared.trust.status.view.rule = rule
    shared.trust.until = NOON + timedelta(seconds=10)
    begun(shared)
    if rule is StatusRule.REQUIRED:
        shared.trust.status.error = ZoneGateError(Reason.E_STATUS_STALE, "stale")
    shared.clock.advance(9.9)
    shared.handler.expire(open_calls(shared))
    assert len(open_calls(shared)) == 1, "one moment before nextUpdate"
    shared.clock.advance(0.1)
    shared.handler.expire(open_calls(shared))
    shared.wire.settle()
    assert shared.got()[1] == ("E_STATUS_STALE" if rule is StatusRule.REQUIRED else "")


# -- connections -----------------------------------------------------------------------------------------------------

STRANGERS: dict[str, tuple[Callable[[], object], Reason]] = {
    "a system of another zone": (lambda: peer(RELIEF), Reason.E_ZONE_IDENTITY),
    "a system that nobody knows": (lambda: peer(CREDIT_FRONT + "-x"), Reason.E_IDENTITY),
    "a gateway that nobody knows": (lambda: peer(GATEWAY_SHARED + "-x", Profile.GATEWAY), Reason.E_PEER_IDENTITY),
    "a system's certificate with a gateway's name": (lambda: peer(GATEWAY_POLICE), Reason.E_PEER_IDENTITY),
    "an officer": (lambda: peer(CREDIT_FRONT, Profile.OFFICER), Reason.E_CERT_USAGE),
}


@pytest.mark.parametrize(("who", "reason"), STRANGERS.values(), ids=STRANGERS)
def test_refused_before_admission(who: Callable[[], object], reason: Reason) -> None:
    crossing = Crossing(by=who())  # type: ignore[arg-type]  # a Peer, made when its turn comes
    assert crossing.wire.near.closed
    assert crossing.log.counted == [(records.Counted.HANDSHAKE, reason)]
    assert exported(crossing, f'zonegate_handshake_refusals_total{{reason="{reason.value}"') == 1
    crossing.close()


def test_a_connection_admitted_anew_keeps_its_tickets(shared: Crossing) -> None:
    shared.call(*GOOD)
    shared.handler.admitted(shared.wire.down)
    shared.call(("zg-ticket-ref", TicketTable().refer(TICKET)[1].decode()), GOOD[1])
    assert shared.decisions[-1].verdict.allowed


# -- the way back ----------------------------------------------------------------------------------------------------


def crossed(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING))


def test_step_6_a_raised_label_is_recorded_before_any_byte_of_the_response(police: Crossing) -> None:
    crossed(police)
    police.wire.near.take()
    police.log.held = []
    police.answer(1, ("zg-label", "L2"))
    assert police.wire.near.take() == []
    police.log.sync()
    police.wire.settle()
    assert police.got()[2][5:] == b"answer"
    (record,) = police.log.of(records.ResponseRecord)
    assert (record.allowed, record.label, record.crossing) == (True, "L2", CROSSING)


RAISED = {
    "above the caller's ceiling": ("L4", Reason.E_RESPONSE_RAISED),
    "lower than the catalogue's": ("L0", Reason.E_RESPONSE_RAISED),
    "not a label": ("secret", Reason.E_LABEL),
    "not ASCII": ("L2;cat=\x81", Reason.E_LABEL),
}


@pytest.mark.parametrize(("label", "reason"), RAISED.values(), ids=RAISED)
def test_step_6_a_label_that_may_not_return_ends_the_call(police: Crossing, label: str, reason: Reason) -> None:
    crossed(police)
    police.answer(1, ("zg-label", label))
    status, said, data = police.got()
    assert (said, data) == (reason.value, b"")
    assert status != 0
    (outcome,) = police.outcomes
    assert (outcome.reason, outcome.executed) == (reason, records.Executed.YES), "the provider has executed"


def test_step_6_a_raised_label_that_cannot_be_recorded_ends_the_call(police: Crossing) -> None:
    crossed(police)
    police.log.error = ZoneGateError(Reason.E_EVIDENCE, "disk full")
    police.answer(1, ("zg-label", "L2"))
    assert police.got()[1:] == ("E_EVIDENCE", b"")


def test_a_label_in_a_block_that_was_seen_as_trailers_is_still_decided(police: Crossing) -> None:
    odd = block((":status", "200"), ("content-type", "application/grpc"), ("zg-label", "L4"), ("grpc-status", "0"))
    crossed(police)
    police.wire.provider.send_headers(1, odd, end_stream=True)
    police.wire.settle()
    police.wire.near.take()
    crossed(police)
    police.wire.provider.send_headers(3, odd, end_stream=False)
    police.wire.settle()
    assert police.got()[1] == Reason.E_RESPONSE_RAISED


def test_only_listed_metadata_comes_back(police: Crossing) -> None:
    crossed(police)
    police.answer(1, ("x-request-note", "listed"), ("x-other", "no"), ("zg-reason", "E_SPOOFED"), ("server", "x"))
    (head, *_) = [event for event in police.wire.near.take() if isinstance(event, HeadersReceived)]
    names = {item.name for item in head.block.fields}
    assert names == {b":status", b"content-type", b"x-request-note"}


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (block((":status", "503"), ("content-type", "text/html")), Reason.E_UPSTREAM_RESET),
        (block((":status", "200"), ("content-type", "application/grpc")), Reason.E_UPSTREAM_RESET),
    ],
    ids=["an HTTP error", "an end without grpc-status"],
)
@pytest.mark.parametrize("end", [True, False])
def test_what_is_no_grpc_answer_is_an_error(police: Crossing, head: bytes, reason: Reason, *, end: bool) -> None:
    crossed(police)
    police.wire.provider.send_headers(1, head, end_stream=end)
    if not end:
        police.wire.provider.send_headers(1, block(("x-end", "1")), end_stream=True)
    police.wire.settle()
    assert police.got()[1] == reason.value


def test_a_peer_gateways_reason_is_this_gateways_too(shared: Crossing) -> None:
    shared.call(*GOOD)
    refused = block(
        (":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "7"), ("zg-reason", "E_NEED_APPROVAL")
    )
    shared.wire.provider.send_headers(1, refused, end_stream=True)
    shared.wire.settle()
    assert shared.got()[0] == 7
    assert shared.outcomes[0].reason is Reason.E_NEED_APPROVAL


def test_a_providers_word_is_not_a_gateways_reason(police: Crossing) -> None:
    crossed(police)
    police.answer(1, status="5")
    assert police.got()[0] == 5
    assert police.outcomes[0].reason is Reason.OK


# -- counts ----------------------------------------------------------------------------------------------------------


def test_only_names_that_systems_may_not_set_are_counted(shared: Crossing) -> None:
    shared.call(*GOOD, ("user-agent", "grpc-python"), ("x-other", "1"))
    assert exported(shared, "zonegate_metadata_stripped_total") == 0
    for times in (1, 2):
        shared.call(*GOOD, ("zg-caller-organ", "spoofed"))
        assert exported(shared, "zonegate_metadata_stripped_total") == times, "on each call, planned before or not"
    assert all(request.block.get(b"zg-caller-organ") is None for request in shared.asked)


def test_deciding_is_observed_for_every_call(shared: Crossing) -> None:
    shared.call(*GOOD)
    shared.call(GOOD[0])
    assert exported(shared, "zonegate_decision_seconds_count") == 2


def test_crossing_ids_are_28_digits_and_never_the_same() -> None:
    ids, others = CrossingIds(), CrossingIds()
    seen = {ids.next() for _ in range(1000)} | {others.next() for _ in range(1000)}
    assert len(seen) == 2000
    assert {len(one) for one in seen} == {28}
