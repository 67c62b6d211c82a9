"""What a change of policy means for calls under way: they are judged as they are, not as a new one would be made."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from support.crossing import CROSSING, GATEWAY_SHARED, GOOD, Crossing
from support.policy import CREDIT_FRONT
from support.wire import block, message
from zonegate.policies.labels import Level
from zonegate.policies.model import Inspection, Policy, Resource
from zonegate.reasons import Reason

POPULATION = "population"


@pytest.fixture
def police() -> Iterator[Crossing]:
    made = Crossing(egress=True)
    yield made
    made.close()


def under(crossing: Crossing, policy: Policy) -> None:
    crossing.handler.policy_changed(policy, list(crossing.wire.relay.calls))
    crossing.wire.settle()


def begin_answer(crossing: Crossing, stream_id: int, *initial: tuple[str, str]) -> None:
    head = block((":status", "200"), ("content-type", "application/grpc"), *initial)
    crossing.wire.provider.send_headers(stream_id, head, end_stream=False)
    crossing.wire.provider.send_data(stream_id, message(b"answer"), end_stream=False)
    crossing.wire.settle()


def with_resource(policy: Policy, resource: Resource) -> Policy:
    """Return `policy` with the resource in place of the one of its id."""
    offers = dict.fromkeys(resource.methods, (resource,))
    return replace(policy, resources={**policy.resources, resource.id: resource}, offers={**policy.offers, **offers})


def inspected(policy: Policy) -> Policy:
    return with_resource(policy, replace(policy.resources[POPULATION], inspection=Inspection.SCHEMA))


def offered_by_another(policy: Policy) -> Policy:
    old = policy.resources[POPULATION].provider
    new = f"{old}-two"
    systems = {**policy.systems, new: replace(policy.systems[old], uri=new)}
    moved = with_resource(policy, replace(policy.resources[POPULATION], provider=new))
    return replace(moved, systems=systems)


def caller_cleared_less(policy: Policy) -> Policy:
    caller = replace(policy.systems[CREDIT_FRONT], clearance=Level.L1)
    return replace(policy, systems={**policy.systems, CREDIT_FRONT: caller})


@pytest.mark.req("XZ-02")
def test_a_call_that_passes_verbatim_ends_when_messages_are_to_be_inspected(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), end=False)
    under(police, inspected(police.policy))
    assert police.got()[1] == Reason.E_POLICY_CHANGED.value
    assert police.resets() == 1


def test_a_call_to_a_system_that_offers_the_resource_no_more_ends(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), end=False)
    under(police, offered_by_another(police.policy))
    assert police.got()[1] == Reason.E_POLICY_CHANGED.value


def test_a_call_is_not_forwarded_to_a_system_that_offers_the_resource_no_more(police: Crossing) -> None:
    police.log.held = []
    police.call(*GOOD, ("zg-crossing", CROSSING))
    under(police, offered_by_another(police.policy))
    police.log.sync()
    police.wire.settle()
    assert police.got()[1] == Reason.E_POLICY_CHANGED.value
    assert not police.asked


@pytest.mark.parametrize("when", ["while its record is written", "afterwards"])
def test_a_raised_response_is_decided_anew_too(police: Crossing, when: str) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), end=False)
    police.wire.near.take()
    if when == "afterwards":
        begin_answer(police, 1, ("zg-label", "L2"))
        assert police.got()[2][5:] == b"answer"
        under(police, caller_cleared_less(police.policy))
    else:
        police.log.held = []
        begin_answer(police, 1, ("zg-label", "L2"))
        under(police, caller_cleared_less(police.policy))
        police.log.sync()
        police.wire.settle()
    status, reason, data = police.got()
    assert (reason, data) == (Reason.E_POLICY_CHANGED.value, b"")
    assert status > 0


def test_a_call_that_raised_nothing_goes_on(police: Crossing) -> None:
    police.call(*GOOD, ("zg-crossing", CROSSING), end=False)
    under(police, caller_cleared_less(police.policy))
    police.answer(1)
    assert police.got()[0] == 0
    assert GATEWAY_SHARED in str(police.decisions[0].caller.peer)
