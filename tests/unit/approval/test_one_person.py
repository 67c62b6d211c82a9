"""One person is known by identity, staff number, key and subject name: each alone is enough to refuse."""

from dataclasses import replace
from datetime import timedelta

import pytest

from support.clock import NOON
from support.officers import World
from zonegate.approval.act import ActKind, Proposal
from zonegate.approval.delegation import delegate
from zonegate.approval.judge import Signer, _check_different, examine
from zonegate.approval.record import Approval
from zonegate.approval.rules import RULES, Part, Rule
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason
from zonegate.roles.role import Role

SECURITY = Role.SECURITY_OFFICER
OFFICERS = (("qian", SECURITY, Part.APPLY), ("li", SECURITY, Part.APPROVE))


@pytest.mark.req("RO-05")
@pytest.mark.parametrize("mark", ["nothing", "identity", "public_key", "subject_der"])
def test_one_mark_alone(world: World, mark: str) -> None:
    proposal = world.proposal(ActKind.PUBLISH_POLICY, "li")
    first, second = world.sign(proposal, "zhao"), world.sign(proposal, "qian")
    if mark != "nothing":
        leaf = replace(second.certificate, **{mark: getattr(first.certificate, mark)})
        second = replace(second, chain=(leaf, *second.chain[1:]))
    signers = [
        Signer(world.identity(name), name, SECURITY, Part.APPROVE, NOON, approval.certificate, None)
        for name, approval in (("zhao", first), ("qian", second))
    ]
    roles = world.standing.standings
    if mark == "nothing":
        _check_different([first, second], signers, roles, NOON)
        return
    with pytest.raises(ZoneGateError) as caught:
        _check_different([first, second], signers, roles, NOON)
    assert caught.value.reason is Reason.E_APPROVAL_SAME_PERSON


def by_proxy(world: World, kind: ActKind) -> tuple[Approval, Approval]:
    """zhao-two, the same person as zhao, and zheng for zhao."""
    proposal = world.proposal(kind, "li")
    zhao = world.credentials["zhao"]
    made = delegate(
        SECURITY,
        world.identity("zheng"),
        [kind],
        chain=zhao.chain,
        key=zhao.key,
        not_before=NOON,
        not_after=NOON + timedelta(days=1),
        now=NOON,
        nonce=world.nonce(),
    )
    return (
        world.sign(proposal, "qian"),
        world.sign(proposal, "zheng", SECURITY, delegation=made),
    )


def refusal(world: World, approvals: list[Approval], rule: Rule) -> Reason:
    with pytest.raises(ZoneGateError) as caught:
        examine(
            approvals[0].act,
            approvals,
            rule,
            now=NOON,
            anchors=world.net.anchors(),
            crls=world.net.crls(),
            roles=world.standing.standings,
        )
    return caught.value.reason


@pytest.mark.req("RO-05")
def test_the_delegator_under_another_identity(world: World) -> None:
    world.officer("zhao-two")
    world.change(world.grant("zhao-two", SECURITY, person="p-zhao"), OFFICERS)
    other, proxy = by_proxy(world, ActKind.PUBLISH_POLICY)
    own = world.sign(_proposal_of(other, world), "zhao-two", SECURITY)
    assert refusal(world, [own, proxy], RULES[ActKind.PUBLISH_POLICY]) is Reason.E_APPROVAL_SAME_PERSON


def _proposal_of(approval: Approval, world: World) -> Proposal:
    return replace(world.proposal(ActKind.PUBLISH_POLICY, "li"), act=approval.act)


@pytest.mark.req("RO-05")
def test_what_excludes_the_delegator_excludes_the_delegate(world: World) -> None:
    world.change(world.grant("zhao", Role.HANDLER), OFFICERS)
    other, proxy = by_proxy(world, ActKind.PUBLISH_POLICY)
    rule = RULES[ActKind.PUBLISH_POLICY]
    stricter = replace(rule, excluded=rule.excluded | {Role.HANDLER})
    assert refusal(world, [other, proxy], stricter) is Reason.E_APPROVAL_EXCLUDED
