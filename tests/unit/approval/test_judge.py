"""The judge: every refusal beside the nearest act that is granted, for one release of the intranet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from support.clock import NOON, FakeClock
from support.officers import ORGAN, OTHER_ORGAN, SUPERIOR, UNTIL, World, make_world
from support.pki import make_net
from zonegate.approval.act import ActKind, Proposal
from zonegate.approval.delegation import Delegation, delegate, wire_of
from zonegate.approval.judge import APPROVALS_MAX, Examined, examine, judge
from zonegate.approval.nonces import SqliteNonceBook
from zonegate.approval.record import Approval, decode_approval, encode_approval, sign
from zonegate.approval.rules import RULES, ApplicantRule, Part, Rule, Seat, seat
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason
from zonegate.roles.change import Revoke, Withdraw, rebind
from zonegate.roles.role import Role

APPLY, APPROVE, WITNESS = Part.APPLY, Part.APPROVE, Part.WITNESS
SECURITY, CLASSIFYING, HANDLER = Role.SECURITY_OFFICER, Role.CLASSIFYING_OFFICER, Role.HANDLER


@dataclass
class Case:
    """The granted release; a row changes one thing of it."""

    world: World
    proposal: Proposal
    approvals: list[Approval]
    rule: Rule | None
    now: datetime = NOON

    def examine(self) -> Examined:
        world = self.world
        return examine(
            self.proposal.act,
            self.approvals,
            self.rule,
            now=self.now,
            anchors=world.net.anchors(),
            crls=world.net.crls(),
            roles=world.standing.standings,
        )


def granted(world: World, kind: ActKind = ActKind.RELEASE) -> Case:
    proposal = world.proposal(kind)
    approvals = [
        world.sign(proposal, "chu", HANDLER, APPLY),
        world.sign(proposal, "chen", CLASSIFYING),
        world.sign(proposal, "zhao", SECURITY),
    ]
    return Case(world, proposal, approvals, RULES[kind])


def refusal(case: Case) -> Reason:
    with pytest.raises(ZoneGateError) as caught:
        case.examine()
    return caught.value.reason


# --- one change of the granted case each


def only(*numbers: int) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.approvals = [case.approvals[number] for number in numbers]

    return change


def signed(number: int, name: str, role: Role | None = None, part: Part = APPROVE) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.approvals[number] = case.world.sign(case.proposal, name, role, part)

    return change


def added(name: str, role: Role | None = None, part: Part = APPROVE) -> Callable[[Case], None]:
    return lambda case: case.approvals.append(case.world.sign(case.proposal, name, role, part))


def act(**fields: object) -> Callable[[Case], None]:
    """The act at hand differs from the one that was signed."""

    def change(case: Case) -> None:
        case.proposal = replace(case.proposal, act=replace(case.proposal.act, **fields))  # type: ignore[arg-type]

    return change


def at(now: datetime) -> Callable[[Case], None]:
    return lambda case: setattr(case, "now", now)


def ruled(**fields: object) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        assert case.rule is not None
        case.rule = replace(case.rule, **fields)  # type: ignore[arg-type]

    return change


def no_rule(case: Case) -> None:
    case.rule = None


def forged(case: Case) -> None:
    case.approvals[2] = replace(case.approvals[2], signature=case.approvals[1].signature)


def post_dated(seconds: int) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        when = NOON + timedelta(seconds=seconds)
        case.approvals[2] = case.world.sign(case.proposal, "zhao", SECURITY, now=when)

    return change


def other_role_claimed(case: Case) -> None:
    case.approvals[2] = replace(case.approvals[2], role=CLASSIFYING)


def self_approval_by_classifier(case: Case) -> None:
    """He who asks is the classifying officer; another has signed as such, he too."""
    case.proposal = case.world.proposal(applicant="chen")
    case.approvals = [
        case.world.sign(case.proposal, "chen", CLASSIFYING),
        case.world.sign(case.proposal, "zhao", SECURITY),
        case.world.sign(case.proposal, "chu", HANDLER),
    ]
    case.rule = Rule((seat(CLASSIFYING), seat(SECURITY), seat(HANDLER)))


END = NOON + timedelta(hours=8)
REFUSED: dict[str, tuple[Callable[[Case], None], Reason]] = {
    "no rule": (no_rule, Reason.E_APPROVAL_RULE),
    "an empty rule": (ruled(seats=()), Reason.E_APPROVAL_RULE),
    "a rule with witnesses only": (ruled(seats=(seat(SECURITY, part=WITNESS),)), Reason.E_APPROVAL_RULE),
    "a seat for nobody": (ruled(seats=(seat(SECURITY), Seat(frozenset()))), Reason.E_APPROVAL_RULE),
    "no approval": (only(), Reason.E_APPROVAL_NONE),
    "too few": (only(0, 1), Reason.E_APPROVAL_TOO_FEW),
    "no application": (only(1, 2), Reason.E_APPROVAL_APPLICANT),
    "the same approval twice": (only(0, 1, 1), Reason.E_APPROVAL_SAME_PERSON),
    "XZ-06 the same role twice": (signed(1, "qian", SECURITY), Reason.E_APPROVAL_SAME_ROLE),
    "one too many": (added("qian"), Reason.E_APPROVAL_TOO_MANY),
    "far too many": (only(*[0] * (APPROVALS_MAX + 1)), Reason.E_APPROVAL_TOO_MANY),
    "somebody else applied": (signed(0, "li", SECURITY, APPLY), Reason.E_APPROVAL_APPLICANT),
    "self-approval": (self_approval_by_classifier, Reason.E_APPROVAL_SELF),
    "a role not held": (signed(2, "chu", SECURITY), Reason.E_APPROVAL_ROLE),
    "a role not asked for": (signed(2, "zheng"), Reason.E_APPROVAL_ROLE),
    "a capacity not asked for": (signed(2, "zhao", SECURITY, WITNESS), Reason.E_APPROVAL_ROLE),
    "XZ-06 an auditor": (signed(2, "wu"), Reason.E_APPROVAL_EXCLUDED),
    "XZ-06 the audit administrator": (signed(1, "zhou"), Reason.E_APPROVAL_EXCLUDED),
    "another kind": (act(kind=ActKind.RELABEL), Reason.E_APPROVAL_ACT),
    "another payload": (act(payload="0" * 64), Reason.E_APPROVAL_PAYLOAD),
    "another view": (act(view="0" * 64), Reason.E_APPROVAL_VIEW),
    "another target": (act(target="internet"), Reason.E_APPROVAL_TARGET),
    "another nonce": (act(nonce="f" * 32), Reason.E_APPROVAL_ACT),
    "a longer life": (act(not_after=END + timedelta(seconds=1)), Reason.E_APPROVAL_ACT),
    "an act of the other net": (act(net=Net.EXTRA), Reason.E_APPROVAL_NET),
    "the second of the end": (at(END), Reason.E_APPROVAL_EXPIRED),
    "before the beginning": (at(NOON - timedelta(hours=1, seconds=1)), Reason.E_APPROVAL_NOT_YET_VALID),
    "signed in the future": (post_dated(301), Reason.E_APPROVAL_NOT_YET_VALID),
    "a signature of somebody else": (forged, Reason.E_APPROVAL_SIGNATURE),
    "a role written in afterwards": (other_role_claimed, Reason.E_APPROVAL_SIGNATURE),
    "XZ-07 a classifier of another organ": (signed(1, "jiang"), Reason.E_APPROVAL_ORGAN),
    "XZ-06 an officer of another organ": (signed(2, "shen"), Reason.E_APPROVAL_ORGAN),
}
GRANTED: dict[str, Callable[[Case], None]] = {
    "as it should be": lambda _: None,
    "in another order": only(2, 0, 1),
    "another officer of the role": signed(2, "qian"),
    "XZ-07 the superior's classifier": signed(1, "wei"),
    "the last second": at(END - timedelta(seconds=1)),
    "the first second": at(NOON - timedelta(hours=1)),
    "a clock five minutes ahead": post_dated(300),
}


@pytest.mark.req("RO-05", "XZ-05", "XZ-06", "XZ-07")
@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(world: World, change: Callable[[Case], None], reason: Reason) -> None:
    case = granted(world)
    change(case)
    assert refusal(case) is reason


@pytest.mark.req("RO-05", "XZ-06", "XZ-07")
@pytest.mark.parametrize("change", GRANTED.values(), ids=GRANTED)
def test_granted(world: World, change: Callable[[Case], None]) -> None:
    case = granted(world)
    change(case)
    if case.now < NOON:
        early = case.now
        case.approvals = [
            case.world.sign(case.proposal, name, None, part, now=early)
            for name, part in (("chu", APPLY), ("chen", APPROVE), ("zhao", APPROVE))
        ]
    assert len(case.examine().signers) == 3


@pytest.mark.req("XZ-06")
@pytest.mark.parametrize("auditor", [False, True])
@pytest.mark.parametrize("same_as_applicant", [False, True])
@pytest.mark.parametrize("same_approver", [False, True])
def test_the_eight_combinations_of_xz_06(
    world: World, same_approver: bool, same_as_applicant: bool, auditor: bool
) -> None:
    case = granted(world)
    if same_as_applicant:
        case.approvals[1] = world.sign(case.proposal, "chu", CLASSIFYING)
    if same_approver:
        case.approvals[2] = world.sign(case.proposal, "chu" if same_as_applicant else "chen", SECURITY)
    if auditor:
        case.approvals[0] = world.sign(case.proposal, "wu", Role.AUDITOR, APPLY)
    if same_approver or same_as_applicant or auditor:
        refusal(case)
    else:
        assert case.examine()


# --- what changed since


@pytest.mark.req("RO-05")
def test_a_role_revoked_since_and_given_again_since(world: World) -> None:
    case = granted(world)
    assert case.examine()
    later = NOON + timedelta(minutes=10)
    world.change(Revoke(str(world.identity("zhao")), SECURITY, "leaves"), [("qian", SECURITY, APPROVE)], now=later)
    case.now = later
    assert refusal(case) is Reason.E_APPROVAL_ROLE_CHANGED
    again = later + timedelta(minutes=10)
    signers = [("qian", SECURITY, APPLY), ("li", SECURITY, APPROVE)]
    world.change(world.grant("zhao", SECURITY), signers, now=again)
    case.now = again
    assert refusal(case) is Reason.E_APPROVAL_ROLE_CHANGED
    case.approvals[2] = world.sign(case.proposal, "zhao", SECURITY, now=again)
    assert case.examine()


@pytest.mark.req("RO-05")
def test_a_role_that_has_run_out(world: World) -> None:
    long = world.proposal(not_before=UNTIL - timedelta(days=1), not_after=UNTIL + timedelta(days=1))
    late = UNTIL - timedelta(minutes=1)
    signed_late = [
        world.sign(long, "chu", HANDLER, APPLY, now=late),
        world.sign(long, "chen", now=late),
        world.sign(long, "zhao", now=late),
    ]
    case = Case(world, long, signed_late, RULES[ActKind.RELEASE], late)
    relaxed = _relaxed(case)
    assert relaxed(late)
    with pytest.raises(ZoneGateError) as caught:
        relaxed(UNTIL)
    assert caught.value.reason is Reason.E_APPROVAL_ROLE_CHANGED


def _relaxed(case: Case) -> Callable[[datetime], Examined]:
    """As `Case.examine`, with lists that are allowed to be old."""
    world = case.world

    def run(now: datetime) -> Examined:
        return examine(
            case.proposal.act,
            case.approvals,
            case.rule,
            now=now,
            anchors=world.net.anchors(),
            crls=world.net.crls(),
            roles=world.standing.standings,
            status=StatusRule.STALE_ALLOWED,
        )

    return run


@pytest.mark.req("RO-05")
def test_a_certificate_changed_since(world: World) -> None:
    case = granted(world)
    later = NOON + timedelta(minutes=10)
    old = world.credentials["zhao"]
    new = world.officer("zhao")
    change = rebind(world.identity("zhao"), new.chain)
    world.credentials["zhao"] = old
    world.change(change, [("zhao", SECURITY, APPLY), ("qian", SECURITY, APPROVE)], now=later)
    case.now = later
    assert refusal(case) is Reason.E_APPROVAL_CERT_CHANGED
    world.credentials["zhao"] = new
    case.approvals[2] = world.sign(case.proposal, "zhao", SECURITY, now=later)
    assert case.examine()


@pytest.mark.req("RO-05")
def test_a_certificate_revoked_since(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    case = granted(world)
    assert case.examine()
    world.net.revoke(world.credentials["zhao"].leaf.serial)
    world.net.write_crl()
    assert isinstance(world.net.clock, FakeClock)
    case.now = world.net.clock.now()
    assert refusal(case) is Reason.E_CERT_REVOKED
    world.net.close()


def test_status_that_is_old_or_missing(world: World) -> None:
    case = granted(world)
    with pytest.raises(ZoneGateError) as caught:
        examine(
            case.proposal.act,
            case.approvals,
            case.rule,
            now=NOON,
            anchors=world.net.anchors(),
            crls=(),
            roles=world.standing.standings,
        )
    assert caught.value.reason is Reason.E_STATUS_STALE


@pytest.mark.req("RO-05")
def test_a_certificate_expired(world: World) -> None:
    case = granted(world)
    expired = world.net.issue(Profile.OFFICER, "short", not_after=NOON - timedelta(days=1)).load()
    case.approvals[2] = _by(case, expired)
    assert refusal(case) is Reason.E_CERT_EXPIRED


def _by(case: Case, credential: Credential, role: Role = SECURITY) -> Approval:
    return sign(case.proposal, role, chain=credential.chain, key=credential.key, now=NOON)


@pytest.mark.req("RO-05")
def test_somebody_not_in_the_roster(world: World) -> None:
    case = granted(world)
    case.approvals[2] = _by(case, world.officer("stranger"))
    assert refusal(case) is Reason.E_APPROVAL_ROLE


@pytest.mark.req("RO-05")
@pytest.mark.parametrize("profile", [Profile.SYSTEM, Profile.GATEWAY, Profile.EVIDENCE])
def test_a_service_does_not_approve(world: World, profile: Profile) -> None:
    case = granted(world)
    service = world.net.issue(profile, f"service-{profile}").load()
    with pytest.raises(ZoneGateError) as caught:
        _by(case, service)
    assert caught.value.reason is Reason.E_APPROVAL_SERVICE
    # Whoever signs with other software is refused by the judge.
    case.approvals[2] = replace(case.approvals[2], chain=(service.leaf, *service.chain[1:]))
    assert refusal(case) is Reason.E_APPROVAL_SERVICE


@pytest.mark.req("RO-05", "CA-14")
def test_an_officer_of_the_other_net(world: World, tmp_path: Path) -> None:
    case = granted(world)
    foreign = make_net(tmp_path, Net.EXTRA, FakeClock())
    officer = foreign.issue(Profile.OFFICER, "zhao").load()
    with pytest.raises(ZoneGateError) as caught:
        _by(case, officer)
    assert caught.value.reason is Reason.E_APPROVAL_NET
    case.approvals[2] = replace(case.approvals[2], chain=officer.chain)
    assert refusal(case) is Reason.E_APPROVAL_NET
    foreign.close()


# --- one person, however he signs


@pytest.mark.req("RO-05")
def test_one_person_with_two_identities(world: World) -> None:
    world.officer("zhao-two")
    signers = [("qian", SECURITY, APPLY), ("li", SECURITY, APPROVE)]
    world.change(world.grant("zhao-two", SECURITY, person="p-zhao"), signers)
    proposal = world.proposal(ActKind.PUBLISH_POLICY, "li")
    case = Case(
        world,
        proposal,
        [world.sign(proposal, "zhao"), world.sign(proposal, "zhao-two", SECURITY)],
        RULES[ActKind.PUBLISH_POLICY],
    )
    assert refusal(case) is Reason.E_APPROVAL_SAME_PERSON
    case.approvals[1] = world.sign(proposal, "qian")
    assert case.examine()


@pytest.mark.req("RO-05")
def test_the_applicant_under_another_name(world: World) -> None:
    world.officer("chu-two")
    signers = [("qian", SECURITY, APPLY), ("li", SECURITY, APPROVE)]
    world.change(world.grant("chu-two", CLASSIFYING, person="p-chu"), signers)
    case = granted(world)
    case.approvals[1] = world.sign(case.proposal, "chu-two", CLASSIFYING)
    assert refusal(case) is Reason.E_APPROVAL_SELF


@pytest.mark.parametrize("applicant", ApplicantRule)
def test_whether_the_applicant_may_be_one_of_the_two(world: World, applicant: ApplicantRule) -> None:
    proposal = world.proposal(ActKind.PUBLISH_POLICY, "zhao")
    rule = replace(RULES[ActKind.PUBLISH_POLICY], applicant=applicant)
    case = Case(world, proposal, [world.sign(proposal, "zhao"), world.sign(proposal, "qian")], rule)
    if applicant is ApplicantRule.MAY_APPROVE:
        assert case.examine()
    else:
        assert refusal(case) is Reason.E_APPROVAL_SELF


# --- delegation


def by_delegate(
    case: Case, delegator: str = "zhao", to: str = "zheng", name: str | None = None, **changed: object
) -> Delegation:
    """`to` signs in the seat of the security officer, by a delegation of `delegator`."""
    world = case.world
    credential = world.credentials[delegator]
    fields: dict[str, object] = {
        "kinds": [ActKind.RELEASE],
        "not_before": NOON - timedelta(hours=1),
        "not_after": NOON + timedelta(days=1),
        "now": NOON - timedelta(hours=1),
        "role": SECURITY,
        **changed,
    }
    made = delegate(
        to=world.identity(to),
        chain=credential.chain,
        key=credential.key,
        nonce=world.nonce(),
        **fields,  # type: ignore[arg-type]
    )
    case.approvals[2] = world.sign(case.proposal, name or to, SECURITY, delegation=made)
    return made


DELEGATED: dict[str, tuple[dict[str, object], Reason | None]] = {
    "a delegate": ({}, None),
    "for another kind": ({"kinds": [ActKind.RELABEL]}, Reason.E_APPROVAL_DELEGATION),
    "over": ({"not_after": NOON}, Reason.E_APPROVAL_DELEGATION),
    "one second more": ({"not_after": NOON + timedelta(seconds=1)}, None),
    "not begun": ({"not_before": NOON + timedelta(seconds=1)}, Reason.E_APPROVAL_DELEGATION),
    "signed afterwards": ({"now": NOON + timedelta(seconds=1)}, Reason.E_APPROVAL_DELEGATION),
    "to somebody else": ({"to": "wang", "name": "zheng"}, Reason.E_APPROVAL_DELEGATION),
    "for another role": ({"role": CLASSIFYING}, Reason.E_APPROVAL_DELEGATION),
    "by one who has not the role": ({"delegator": "feng"}, Reason.E_APPROVAL_ROLE),
    "to an auditor": ({"to": "wu"}, Reason.E_ROLE_INCOMPATIBLE),
    "to the system administrator": ({"to": "sun"}, Reason.E_ROLE_INCOMPATIBLE),
    "to the applicant": ({"to": "chu"}, Reason.E_APPROVAL_SELF),
    "to the other approver": ({"to": "chen"}, Reason.E_APPROVAL_SAME_PERSON),
    "of another organ": ({"to": "jiang"}, Reason.E_APPROVAL_ORGAN),
    "by another organ": ({"delegator": "shen"}, Reason.E_APPROVAL_ORGAN),
}


@pytest.mark.req("RO-05")
@pytest.mark.parametrize(("change", "reason"), DELEGATED.values(), ids=DELEGATED)
def test_delegation(world: World, change: dict[str, object], reason: Reason | None) -> None:
    case = granted(world)
    by_delegate(case, **change)  # type: ignore[arg-type]
    if reason is None:
        assert str(case.examine().signers[2].delegator) == str(world.identity("zhao"))
    else:
        assert refusal(case) is reason


@pytest.mark.req("RO-05")
def test_delegator_and_delegate_are_one_person(world: World) -> None:
    proposal = world.proposal(ActKind.PUBLISH_POLICY, "li")
    case = Case(world, proposal, [world.sign(proposal, "qian")] * 3, RULES[ActKind.PUBLISH_POLICY])
    by_delegate(case, kinds=[ActKind.PUBLISH_POLICY])
    proxy = case.approvals[2]
    case.approvals = [world.sign(proposal, "zhao"), proxy]
    assert refusal(case) is Reason.E_APPROVAL_SAME_PERSON
    # Nor may one delegate stand for two.
    by_delegate(replace_approvals(case, 3), delegator="qian", kinds=[ActKind.PUBLISH_POLICY])
    case.approvals = [proxy, case.approvals[2]]
    assert refusal(case) is Reason.E_APPROVAL_SAME_PERSON
    case.approvals = [world.sign(proposal, "qian"), proxy]
    assert case.examine()


def replace_approvals(case: Case, count: int) -> Case:
    case.approvals = [case.approvals[0]] * count
    return case


@pytest.mark.req("RO-05")
def test_a_delegation_is_withdrawn(world: World) -> None:
    case = granted(world)
    made = by_delegate(case)
    assert case.examine()
    world.change(Withdraw(wire_of(made)), [("zhao", SECURITY, APPROVE)])
    assert refusal(case) is Reason.E_APPROVAL_WITHDRAWN


@pytest.mark.req("RO-05")
def test_a_delegation_ends_with_the_delegators_role(world: World) -> None:
    case = granted(world)
    by_delegate(case)
    later = NOON + timedelta(minutes=1)
    world.change(Revoke(str(world.identity("zhao")), SECURITY, "leaves"), [("qian", SECURITY, APPROVE)], now=later)
    case.now = later
    assert refusal(case) is Reason.E_APPROVAL_ROLE_CHANGED


def test_a_delegation_that_was_changed(world: World) -> None:
    case = granted(world)
    made = by_delegate(case)
    wider = replace(made, not_after=made.not_after + timedelta(days=1))
    case.approvals[2] = world.sign(case.proposal, "zheng", SECURITY, delegation=wider)
    assert refusal(case) is Reason.E_APPROVAL_SIGNATURE


# --- once


@pytest.mark.req("RO-05", "XZ-05")
def test_an_approval_counts_once(world: World, tmp_path: Path) -> None:
    case = granted(world)
    book = SqliteNonceBook.create(tmp_path / "book")

    def run() -> Sequence[object]:
        return judge(
            case.proposal.act,
            case.approvals,
            case.rule,
            now=NOON,
            anchors=world.net.anchors(),
            crls=world.net.crls(),
            roles=world.standing.standings,
            nonces=book,
        ).signers

    assert len(run()) == 3
    with pytest.raises(ZoneGateError) as caught:
        run()
    assert caught.value.reason is Reason.E_APPROVAL_REPLAY


def test_a_refused_approval_spends_nothing(world: World, tmp_path: Path) -> None:
    case = granted(world)
    book = SqliteNonceBook.create(tmp_path / "book")
    whole = case.approvals
    for approvals in (whole[:2], whole):
        try:
            judge(
                case.proposal.act,
                approvals,
                case.rule,
                now=NOON,
                anchors=world.net.anchors(),
                crls=world.net.crls(),
                roles=world.standing.standings,
                nonces=book,
            )
        except ZoneGateError as exc:
            assert exc.reason is Reason.E_APPROVAL_TOO_FEW
            assert approvals is not whole


def test_what_is_written_reads_the_same(world: World) -> None:
    case = granted(world)
    by_delegate(case)
    for approval in case.approvals:
        assert decode_approval(encode_approval(approval)) == approval


def test_the_organs_of_the_table_are_three() -> None:
    assert len({ORGAN, SUPERIOR, OTHER_ORGAN}) == 3
