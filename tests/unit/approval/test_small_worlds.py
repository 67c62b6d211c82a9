"""Brute force over small worlds: whatever subset signs, fewer distinct people than seats are never enough."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from itertools import combinations, permutations, product

import pytest

from support.clock import NOON
from support.officers import UNTIL, World
from zonegate.approval.act import ActKind
from zonegate.approval.judge import Signer, _check_different, _check_seats, examine
from zonegate.approval.record import Approval
from zonegate.approval.rules import RULES, ApplicantRule, Part, Rule, Seat, seat
from zonegate.errors import ZoneGateError
from zonegate.identity import Identity
from zonegate.roles.matrix import who_may
from zonegate.roles.role import AUDIT, Role, Separation
from zonegate.roles.view import Binding, Standing

A, B, C = Role.SECURITY_OFFICER, Role.CLASSIFYING_OFFICER, Role.RA_OPERATOR
NAMES = ("zhao", "qian", "chen", "zheng")
RULES_OF_SMALL_WORLDS = [
    Rule((seat(A), seat(A)), applicant=ApplicantRule.MAY_APPROVE),
    Rule((seat(A), seat(B)), applicant=ApplicantRule.MAY_APPROVE),
    Rule((seat(A, B), seat(A)), applicant=ApplicantRule.MAY_APPROVE),
    Rule((seat(A, B), seat(B, C), seat(A, C)), applicant=ApplicantRule.MAY_APPROVE),
    Rule((seat(A), seat(A), seat(B)), applicant=ApplicantRule.MAY_APPROVE),
]


@dataclass
class DictRoles:
    """A view in which everybody holds every role, and identities map to people as a world says."""

    world: World
    person_of: dict[str, str]
    separation: Separation = field(default_factory=Separation)

    def binding(self, identity: Identity, *, at: datetime) -> Binding | None:  # noqa: ARG002
        person = self.person_of.get(identity.name)
        leaf = self.world.credentials[identity.name].leaf
        return None if person is None else Binding(person, leaf.fingerprint, NOON.replace(year=2029))

    def standing(self, identity: Identity, role: Role, *, at: datetime) -> Standing | None:  # noqa: ARG002
        return Standing(role, "", NOON.replace(year=2029), UNTIL)

    def roles_of(self, person: str, *, at: datetime) -> Collection[Role]:  # noqa: ARG002
        return ()

    def superiors(self, organ: str) -> tuple[str, ...]:  # noqa: ARG002
        return ()

    def withdrawn(self, delegation: str) -> datetime | None:  # noqa: ARG002
        return None


def enough(rule: Rule, signed: tuple[tuple[str, Role], ...], person_of: dict[str, str]) -> bool:
    """The specification, said differently: one signature a seat, each by another person, in some order."""
    people = [person_of[name] for name, _ in signed]
    if len(set(people)) < len(people) or len(signed) != len(rule.seats):
        return False
    return any(
        all(role in place.roles for (_, role), place in zip(order, rule.seats, strict=True))
        for order in permutations(signed)
    )


@pytest.mark.req("RO-05")
@pytest.mark.parametrize("rule", RULES_OF_SMALL_WORLDS, ids=lambda rule: " + ".join(map(str, rule.seats)))
def test_every_subset_of_signatures_in_every_small_world(world: World, rule: Rule) -> None:
    proposal = world.proposal(ActKind.PUBLISH_POLICY, "li")
    pool: dict[tuple[str, Role], Approval] = {
        (name, role): world.sign(proposal, name, role) for name, role in product(NAMES[:3], (A, B, C))
    }
    granted = 0
    # Three identities of three people, or two of them one person's.
    for people in (("1", "2", "3"), ("1", "1", "3"), ("1", "1", "1")):
        person_of = dict(zip(NAMES, people, strict=False))
        roles = DictRoles(world, person_of)
        for count in (1, 2, 3):
            for signed in combinations(pool, count):
                # The whole judge costs three signature checks a signature; its last two rules are what is swept here.
                accepted = _accepts(rule, signed, pool, roles)
                assert accepted == enough(rule, signed, person_of), (people, signed)
                granted += accepted
                if accepted:
                    assert len({person_of[name] for name, _ in signed}) >= len(rule.seats)
    assert granted


def _accepts(
    rule: Rule, signed: tuple[tuple[str, Role], ...], pool: dict[tuple[str, Role], Approval], roles: DictRoles
) -> bool:
    approvals = [pool[item] for item in signed]
    signers = [
        Signer(
            roles.world.identity(name),
            roles.person_of[name],
            role,
            Part.APPROVE,
            NOON,
            approval.certificate,
            None,
        )
        for (name, role), approval in zip(signed, approvals, strict=True)
    ]
    try:
        _check_different(approvals, signers, roles, NOON)
        _check_seats(signers, rule.seats)
    except ZoneGateError:
        return False
    return True


@pytest.mark.req("RO-05")
@pytest.mark.parametrize("kind", ActKind)
def test_no_subset_of_the_needed_signatures_is_enough(world: World, kind: ActKind) -> None:
    """The whole judge, for each rule that is shipped: all seats taken passes, any seat empty does not."""
    rule = RULES[kind]
    names = ("zhao", "qian", "chen", "zheng")[: len(rule.seats)]
    by_part = dict(zip(names, rule.seats, strict=True))
    applicant = next((name for name, place in by_part.items() if place.part is Part.APPLY), "li")
    proposal = world.proposal(kind, applicant)
    roles = DictRoles(world, {name: name for name in (*names, "li")})
    approvals = [world.sign(proposal, name, sorted(place.roles)[0], place.part) for name, place in by_part.items()]

    def accepted(chosen: list[Approval]) -> bool:
        try:
            examine(
                proposal.act,
                chosen,
                Rule(rule.seats, applicant=rule.applicant),
                now=NOON,
                anchors=world.net.anchors(),
                crls=world.net.crls(),
                roles=roles,
            )
        except ZoneGateError:
            return False
        return True

    assert accepted(approvals)
    for count in range(len(approvals)):
        for chosen in combinations(approvals, count):
            assert not accepted(list(chosen))


# --- the rules that are shipped


def test_every_kind_has_a_rule_with_an_approver() -> None:
    assert set(RULES) == set(ActKind)
    for rule in RULES.values():
        assert any(place.part is Part.APPROVE for place in rule.seats)
        assert all(place.roles for place in rule.seats)


SINGLE = {ActKind.REVOKE_ROLE, ActKind.WITHDRAW_DELEGATION}


@pytest.mark.req("RO-05", "CA-02", "CA-08")
@pytest.mark.parametrize("kind", [*ActKind])
def test_everything_but_taking_away_needs_two_people(kind: ActKind) -> None:
    assert (len(RULES[kind].seats) >= 2) is (kind not in SINGLE)


@pytest.mark.parametrize("kind", [*ActKind])
def test_who_may_not_approve_what_he_asked_for_has_signed_the_application(kind: ActKind) -> None:
    # Otherwise whoever writes the act names somebody else as the applicant.
    rule = RULES[kind]
    asked = any(place.part is Part.APPLY for place in rule.seats)
    assert asked or rule.applicant is ApplicantRule.MAY_APPROVE


# HANDLER and RA operator apply; C7 speaks of those who do and approve.
APPLICANTS = {Role.HANDLER, Role.RA_OPERATOR, Role.KMC_OPERATOR}
PERSONAL = {ActKind.FOUND_NET, ActKind.REBIND_ROLE, ActKind.WITHDRAW_DELEGATION, ActKind.ISSUE_CA_CERTIFICATE}


@pytest.mark.req("RO-02", "CA-10")
@pytest.mark.parametrize("kind", sorted(set(ActKind) - PERSONAL))
def test_who_approves_has_a_part_in_the_act_by_c7(kind: ActKind) -> None:
    for place in RULES[kind].seats:
        for role in place.roles:
            assert role in who_may(kind.row) or (place.part is Part.APPLY and role in APPLICANTS)


@pytest.mark.req("MA-07", "XZ-06")
@pytest.mark.parametrize("kind", [ActKind.GRANT_ROLE, ActKind.REVOKE_ROLE, ActKind.SET_LABEL, ActKind.PUBLISH_POLICY])
def test_the_system_administrator_and_auditors_have_no_part_in_rights(kind: ActKind) -> None:
    assert AUDIT | {Role.SYSTEM_ADMIN} <= RULES[kind].excluded


def test_a_seat_says_what_it_is() -> None:
    assert str(Seat(frozenset({A, B}))) == "approve by classifying-officer or security-officer"
