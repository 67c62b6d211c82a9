"""The roster: who may change it, what no signature allows, and what a damaged or old one looks like."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import NOON
from support.officers import FOUNDERS, ORGAN, OTHER_ORGAN, PEOPLE, SUPERIOR, UNTIL, World
from zonegate.approval.act import ActKind
from zonegate.approval.delegation import Delegation, delegate, wire_of
from zonegate.approval.rules import Part
from zonegate.canonical import encode
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import Revocation, RevocationReason
from zonegate.reasons import Reason
from zonegate.roles.change import Change, Found, Organ, Revoke, Withdraw, describe, found, rebind
from zonegate.roles.founding import NEEDED
from zonegate.roles.role import Role
from zonegate.roles.roster import (
    Roster,
    _Roster,
    append,
    decode_entries,
    encode_roster,
    entry_digest,
    propose_change,
    read_roster,
)
from zonegate.roles.store import PIN_NAME, ROSTER_NAME, load_roster, save_roster

APPLY, APPROVE = Part.APPLY, Part.APPROVE
SECURITY = Role.SECURITY_OFFICER
TWO = (("zhao", SECURITY, APPLY), ("qian", SECURITY, APPROVE))
Signers = Sequence[tuple[str, Role, Part]]


def refusal(act: Callable[[], object]) -> Reason:
    with pytest.raises(ZoneGateError) as caught:
        act()
    return caught.value.reason


def with_new(world: World, role: Role, **more: object) -> Change:
    world.officer("new")
    return world.grant("new", role, **more)  # type: ignore[arg-type]


# --- who signs a grant

SIGNERS: dict[str, tuple[Signers, Reason | None]] = {
    "two security officers": (TWO, None),
    "one": (TWO[:1], Reason.E_APPROVAL_TOO_FEW),
    "nobody": ((), Reason.E_APPROVAL_NONE),
    "one for both": ((TWO[0], ("zhao", SECURITY, APPROVE)), Reason.E_APPROVAL_SELF),
    "MA-07 the system administrator confirms": (
        (TWO[0], ("sun", Role.SYSTEM_ADMIN, APPROVE)),
        Reason.E_APPROVAL_EXCLUDED,
    ),
    "MA-07 the system administrator grants": (
        (("sun", Role.SYSTEM_ADMIN, APPLY), TWO[1]),
        Reason.E_APPROVAL_EXCLUDED,
    ),
    "an auditor confirms": ((TWO[0], ("wu", Role.AUDITOR, APPROVE)), Reason.E_APPROVAL_EXCLUDED),
    "an operator confirms": ((TWO[0], ("zheng", Role.RA_OPERATOR, APPROVE)), Reason.E_APPROVAL_ROLE),
}


@pytest.mark.req("MA-07", "RO-05")
@pytest.mark.parametrize(("signers", "reason"), SIGNERS.values(), ids=SIGNERS)
def test_who_signs_a_grant(world: World, signers: Signers, reason: Reason | None) -> None:
    change = with_new(world, Role.HANDLER)
    applicant = signers[0][0] if signers else "zhao"

    def run() -> Roster:
        return world.change(change, signers, applicant=applicant)

    if reason is not None:
        assert refusal(run) is reason
        return
    standing = run().standings.standing(world.identity("new"), Role.HANDLER, at=NOON)
    assert standing is not None
    assert standing.until == UNTIL


@pytest.mark.req("MA-07")
def test_nobody_signs_the_own_grant(world: World) -> None:
    change = world.grant("zhao", Role.HANDLER)
    assert refusal(lambda: world.change(change, TWO)) is Reason.E_APPROVAL_SELF
    others = (("li", SECURITY, APPLY), TWO[1])
    assert world.change(change, others).standings.roles_of("p-zhao", at=NOON) == {SECURITY, Role.HANDLER}


# --- what no signature allows


def same_key(world: World) -> Change:
    world.officer("new")
    return replace_struct(world.grant("new", Role.HANDLER), chain=world.grant("chu", Role.HANDLER).chain)


def replace_struct(change: msgspec.Struct, **fields: object) -> Change:
    return msgspec.structs.replace(change, **fields)  # type: ignore[return-value]


def service_certificate(world: World) -> Change:
    world.credentials["new"] = world.net.issue(Profile.SYSTEM, "new").load()
    return world.grant("new", Role.HANDLER)


def expired(world: World) -> Change:
    world.credentials["new"] = world.net.issue(Profile.OFFICER, "new", not_after=NOON - timedelta(days=1)).load()
    return world.grant("new", Role.HANDLER)


CHANGES: dict[str, tuple[Callable[[World], Change], Reason | None]] = {
    "a handler": (lambda world: with_new(world, Role.HANDLER), None),
    "RO-01 an officer becomes auditor": (lambda world: world.grant("li", Role.AUDITOR), Reason.E_ROLE_INCOMPATIBLE),
    "RO-01 an officer becomes system administrator": (
        lambda world: world.grant("li", Role.SYSTEM_ADMIN),
        Reason.E_ROLE_INCOMPATIBLE,
    ),
    "RO-01 the same by another identity": (
        lambda world: with_new(world, Role.SYSTEM_ADMIN, person="p-li"),
        Reason.E_ROLE_INCOMPATIBLE,
    ),
    "RO-01 the auditor becomes audit administrator": (lambda world: world.grant("wu", Role.AUDIT_ADMIN), None),
    "a role that is held": (lambda world: world.grant("chu", Role.HANDLER), Reason.E_ROSTER),
    "an identity of somebody else": (
        lambda world: world.grant("chu", Role.RA_OPERATOR, person="p-other"),
        Reason.E_APPROVAL_SAME_PERSON,
    ),
    "another person's certificate": (same_key, Reason.E_APPROVAL_SERVICE),
    "a service's certificate": (service_certificate, Reason.E_APPROVAL_SERVICE),
    "a certificate that is over": (expired, Reason.E_CERT_EXPIRED),
    "a role until now": (lambda world: with_new(world, Role.HANDLER, until=NOON), Reason.E_ROSTER),
    "a role until a second later": (
        lambda world: with_new(world, Role.HANDLER, until=NOON + timedelta(seconds=1)),
        None,
    ),
    "a citizen number for a staff number": (
        lambda world: replace_struct(with_new(world, Role.HANDLER), person="99999919500101000X"),
        Reason.E_ROSTER,
    ),
    "an unknown role": (lambda world: replace_struct(with_new(world, Role.HANDLER), role="king"), Reason.E_ROSTER),
    "an organ under another": (lambda _: Organ(OTHER_ORGAN, SUPERIOR), None),
    "an organ under itself": (lambda _: Organ(ORGAN, ORGAN), Reason.E_ROSTER),
    "a circle of organs": (lambda _: Organ(SUPERIOR, ORGAN), Reason.E_ROSTER),
}


@pytest.mark.req("RO-01", "CA-10")
@pytest.mark.parametrize(("make", "reason"), CHANGES.values(), ids=CHANGES)
def test_what_no_signature_allows(world: World, make: Callable[[World], Change], reason: Reason | None) -> None:
    def run() -> Roster:
        return world.change(make(world), TWO)

    if reason is None:
        assert len(run().entries) == 2
    else:
        assert refusal(run) is reason


@pytest.mark.req("CA-11")
@pytest.mark.parametrize(
    ("gone", "wanted"), [("sun", Role.AUDIT_ADMIN), ("zhou", Role.SYSTEM_ADMIN)], ids=["no super", "no audit"]
)
def test_neither_administrator_is_created_without_the_other(world: World, gone: str, wanted: Role) -> None:
    world.officer("new")
    assert world.change(world.grant("new", wanted), TWO, roster=world.standing)
    world.roster = world.standing
    world.change(Revoke(str(world.identity("new")), wanted.value, "test"), [TWO[1]])
    world.change(Revoke(str(world.identity(gone)), PEOPLE[gone][1].value, "test"), [TWO[1]])
    assert refusal(lambda: world.change(world.grant("new", wanted), TWO)) is Reason.E_ROSTER


# --- the founding


def without(world: World, *names: str) -> Found:
    whole = world.founding()
    gone = {str(world.identity(name)) for name in names}
    return found(world.net.net, [item for item in whole.grants if item.identity not in gone], whole.organs)


def founding(world: World, change: Found, signers: Signers = FOUNDERS) -> Roster:
    proposal = propose_change(None, change, applicant=world.identity("zhao"), now=NOON, nonce=world.nonce())
    return append(
        None,
        change,
        proposal,
        [world.sign(proposal, name, role, part) for name, role, part in signers],
        now=NOON,
        anchors=world.net.anchors(),
        crls=world.net.crls(),
    )


@pytest.mark.req("CA-11")
def test_a_net_is_founded_by_all_who_must_be_there(world: World) -> None:
    roster = founding(world, world.founding())
    assert roster.founding == roster.head
    for role, count in NEEDED[Net.INTRA].items():
        assert len(roster.standings.holders(role, at=NOON)) >= count


@pytest.mark.req("CA-11")
@pytest.mark.parametrize("absent", range(4))
def test_a_founding_lacks_a_signature(world: World, absent: int) -> None:
    signers = [item for number, item in enumerate(FOUNDERS) if number != absent]
    assert refusal(lambda: founding(world, world.founding(), signers)) is Reason.E_APPROVAL_TOO_FEW


@pytest.mark.req("CA-11")
@pytest.mark.parametrize(
    "missing",
    [("sun",), ("zhou",), ("wu",), ("qian", "li", "shen"), ("wang",), ("feng",), ("chen", "wei", "jiang")],
    ids="+".join,
)
def test_a_founding_lacks_people(world: World, missing: tuple[str, ...]) -> None:
    assert refusal(lambda: founding(world, without(world, *missing))) is Reason.E_ROSTER


@pytest.mark.req("RO-01")
def test_a_founding_cannot_be_laxer_than_the_public_minimum(world: World) -> None:
    whole = world.founding()
    lax = found(whole_net(world), whole.grants, whole.organs, base="public-minimum")
    both = found(
        whole_net(world),
        [*whole.grants, world.grant("li", Role.SYSTEM_ADMIN)],
        whole.organs,
        base="public-minimum",
    )
    auditor = replace_struct(both, grants=[*whole.grants, world.grant("li", Role.AUDITOR)])
    assert isinstance(auditor, Found)
    assert founding(world, lax)
    assert founding(world, both)
    assert refusal(lambda: founding(world, auditor)) is Reason.E_ROLE_INCOMPATIBLE
    stricter = found(
        whole_net(world),
        both.grants,
        whole.organs,
        base="public-minimum",
        apart=[(Role.SYSTEM_ADMIN, SECURITY)],
    )
    assert refusal(lambda: founding(world, stricter)) is Reason.E_ROLE_INCOMPATIBLE
    unknown = replace_struct(whole, separation="none")
    assert isinstance(unknown, Found)
    assert refusal(lambda: founding(world, unknown)) is Reason.E_ROSTER


def whole_net(world: World) -> Net:
    return world.net.net


def test_a_record_is_in_both_languages(world: World) -> None:
    text = describe(world.founding())
    for word in ("建立", "found the roster", "安全保密管理员 security officer", "上级 superior", "p-zhao"):
        assert word in text


def test_what_is_shown_must_be_the_change(world: World) -> None:
    change, other = world.grant("chu", Role.RA_OPERATOR), world.grant("chu", Role.KMC_OPERATOR)
    proposal = propose_change(world.standing, change, applicant=world.identity("zhao"), now=NOON, nonce=world.nonce())
    approvals = [world.sign(proposal, name, role, part) for name, role, part in TWO]

    def run(now_change: Change) -> Roster:
        return append(
            world.standing,
            now_change,
            proposal,
            approvals,
            now=NOON,
            anchors=world.net.anchors(),
            crls=world.net.crls(),
        )

    assert refusal(lambda: run(other)) is Reason.E_APPROVAL_VIEW
    roster = run(change)
    world.roster = roster
    # The same signatures do not count for the entry after it.
    assert refusal(lambda: run(change)) is Reason.E_APPROVAL_TARGET


# --- other changes


def test_a_certificate_is_changed_by_its_holder(world: World) -> None:
    old = world.credentials["chu"]
    new = world.officer("chu")
    world.credentials["chu"] = old
    change = rebind(world.identity("chu"), new.chain)
    confirm = ("zhao", SECURITY, APPROVE)
    by_other = [("chen", Role.CLASSIFYING_OFFICER, APPLY), confirm]
    assert refusal(lambda: world.change(change, by_other)) is Reason.E_APPROVAL_APPLICANT
    world.change(change, [("chu", Role.HANDLER, APPLY), confirm])
    bound = world.standing.standings.binding(world.identity("chu"), at=NOON)
    assert bound is not None
    assert bound.certificate == new.leaf.fingerprint
    again = [("zhao", SECURITY, APPLY), ("qian", SECURITY, APPROVE)]
    assert refusal(lambda: world.change(world.grant("chu", Role.RA_OPERATOR), again)) is Reason.E_APPROVAL_CERT_CHANGED


@pytest.mark.parametrize(
    ("signers", "reason"),
    [
        ([("zhao", SECURITY, APPROVE)], None),
        ([("sun", Role.SYSTEM_ADMIN, APPROVE)], Reason.E_APPROVAL_EXCLUDED),
        ([("zheng", Role.RA_OPERATOR, APPROVE)], Reason.E_APPROVAL_ROLE),
    ],
    ids=["an officer", "MA-07 the system administrator", "an operator"],
)
def test_who_revokes_a_role(world: World, signers: Signers, reason: Reason | None) -> None:
    change = Revoke(str(world.identity("chu")), Role.HANDLER.value, "leaves")
    if reason is not None:
        assert refusal(lambda: world.change(change, signers)) is reason
        return
    standings = world.change(change, signers).standings
    chu = world.identity("chu")
    assert standings.standing(chu, Role.HANDLER, at=NOON) is None
    assert standings.standing(chu, Role.HANDLER, at=NOON - timedelta(seconds=1)) is not None
    assert refusal(lambda: world.change(change, signers)) is Reason.E_ROSTER


def test_an_entry_that_passes_only_today_is_not_taken(world: World) -> None:
    # Signed at noon for a certificate that begins at one: at two it is valid, but read again it would not be.
    world.officer("new", not_before=NOON + timedelta(hours=1))
    change = world.grant("new", Role.HANDLER)
    proposal = propose_change(world.standing, change, applicant=world.identity("zhao"), now=NOON, nonce=world.nonce())
    approvals = [world.sign(proposal, name, role, part) for name, role, part in TWO]

    def run() -> Roster:
        return append(
            world.standing,
            change,
            proposal,
            approvals,
            now=NOON + timedelta(hours=2),
            anchors=world.net.anchors(),
            crls=world.net.crls(),
        )

    assert refusal(run) is Reason.E_CERT_NOT_YET_VALID


# --- the file


def read(world: World, raw: bytes, **more: object) -> Roster:
    fields = {"founding": world.standing.founding, "anchors": world.net.anchors(), "crls": world.net.crls(), **more}
    return read_roster(raw, **fields)  # type: ignore[arg-type]


def three_entries(world: World) -> Roster:
    world.change(with_new(world, Role.HANDLER), TWO)
    return world.change(Organ(OTHER_ORGAN, SUPERIOR), TWO, now=NOON + timedelta(seconds=1))


def test_a_roster_is_read_again(world: World) -> None:
    roster = three_entries(world)
    again = read(world, encode_roster(roster))
    assert (again.head, again.standings.held) == (roster.head, roster.standings.held)


DAMAGE: dict[str, tuple[Callable[[list[object]], list[object]], Reason]] = {
    "the first is gone": (lambda entries: entries[1:], Reason.E_ROSTER),
    "one is gone": (lambda entries: [entries[0], entries[2]], Reason.E_ROSTER),
    "two are swapped": (lambda entries: [entries[0], entries[2], entries[1]], Reason.E_ROSTER),
    "one is doubled": (lambda entries: [*entries, entries[2]], Reason.E_ROSTER),
    "the last is gone": (lambda entries: entries[:2], Reason.E_ROSTER),
}


@pytest.mark.parametrize(("change", "reason"), DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_roster(world: World, change: Callable[[list[object]], list[object]], reason: Reason) -> None:
    roster = three_entries(world)
    entries = change(list(roster.entries))
    raw = encode(_Roster("zonegate-roster/1", entries))  # type: ignore[arg-type]
    assert refusal(lambda: read(world, raw, at_least=3)) is reason


def test_an_entry_that_was_changed(world: World) -> None:
    roster = three_entries(world)
    entry = roster.entries[1]
    for forged, reason in (
        (msgspec.structs.replace(entry, change=world.grant("new", Role.AUDITOR)), Reason.E_APPROVAL_PAYLOAD),
        (msgspec.structs.replace(entry, view="nothing"), Reason.E_APPROVAL_VIEW),
        (msgspec.structs.replace(entry, approvals=entry.approvals[:1]), Reason.E_APPROVAL_TOO_FEW),
        (msgspec.structs.replace(entry, approvals=[]), Reason.E_APPROVAL_NONE),
    ):
        raw = encode(_Roster("zonegate-roster/1", [roster.entries[0], forged]))
        assert refusal(lambda raw=raw: read(world, raw)) is reason  # type: ignore[misc]


def test_somebody_elses_founding(world: World) -> None:
    other = founding(world, world.founding())
    assert refusal(lambda: read(world, encode_roster(other))) is Reason.E_ROSTER
    assert read(world, encode_roster(other), founding=other.founding)


def test_an_officer_revoked_later_could_sign_then(world: World) -> None:
    roster = three_entries(world)
    leaf = world.credentials["zhao"].leaf
    for crl in world.net.crls():
        for at, good in ((NOON + timedelta(days=1), True), (NOON - timedelta(days=1), False)):
            revoked = replace(crl, revoked={leaf.serial: _revocation(at)})
            lists = (revoked, *(item for item in world.net.crls() if item.issuer_der != crl.issuer_der))
            if crl.issuer_der != leaf.issuer_der:
                continue
            if good:
                assert read(world, encode_roster(roster), crls=lists)
            else:
                raw = encode_roster(roster)
                assert refusal(lambda raw=raw, lists=lists: read(world, raw, crls=lists)) is Reason.E_CERT_REVOKED  # type: ignore[misc]


def _revocation(at: object) -> object:
    return Revocation(RevocationReason.SUPERSEDED, at)  # type: ignore[arg-type]


def test_fuzzed_rosters(world: World) -> None:
    good = encode_roster(world.standing)

    @settings(max_examples=40, deadline=None)
    @given(at=st.integers(0, len(good) - 1), value=st.integers(0, 255), cut=st.integers(0, 30))
    def run(at: int, value: int, cut: int) -> None:
        raw = good[:at] + bytes([value]) + good[at + 1 + cut :]
        if raw == good:
            return
        with pytest.raises(ZoneGateError):
            read(world, raw)

    run()


# --- the folder


def test_a_folder_remembers_what_was_there(world: World, tmp_path: Path) -> None:
    first = world.standing
    save_roster(tmp_path, first)
    second = three_entries(world)
    save_roster(tmp_path, second)

    def load() -> Roster:
        return load_roster(tmp_path, anchors=world.net.anchors(), crls=world.net.crls())

    assert load().head == second.head
    assert refusal(lambda: save_roster(tmp_path, first)) is Reason.E_ROSTER
    (tmp_path / ROSTER_NAME).write_bytes(encode_roster(first))
    assert refusal(load) is Reason.E_ROSTER
    (tmp_path / ROSTER_NAME).write_bytes(encode_roster(second))
    (tmp_path / PIN_NAME).unlink()
    assert refusal(load) is Reason.E_CONFIG


def test_of_two_who_append_at_the_same_time_one_is_refused(world: World, tmp_path: Path) -> None:
    first = world.standing
    save_roster(tmp_path, first)
    left = world.change(with_new(world, Role.HANDLER), TWO, roster=first)
    world.roster = first
    right = world.change(Organ(OTHER_ORGAN, SUPERIOR), TWO, roster=first)
    save_roster(tmp_path, left)
    assert refusal(lambda: save_roster(tmp_path, right)) is Reason.E_ROSTER
    assert load_roster(tmp_path, anchors=world.net.anchors(), crls=world.net.crls()).head == left.head


def test_a_crash_between_roster_and_pin_is_no_harm(world: World, tmp_path: Path) -> None:
    save_roster(tmp_path, world.standing)
    second = three_entries(world)
    (tmp_path / ROSTER_NAME).write_bytes(encode_roster(second))
    loaded = load_roster(tmp_path, anchors=world.net.anchors(), crls=world.net.crls())
    assert loaded.head == second.head


def test_entries_are_listed_unverified(world: World) -> None:
    entries = decode_entries(encode_roster(world.standing))
    assert [entry_digest(entry) for entry in entries] == [world.standing.founding]


# --- delegation and order


def delegation_to_zheng(world: World) -> Delegation:
    zhao = world.credentials["zhao"]
    return delegate(
        SECURITY,
        world.identity("zheng"),
        [ActKind.SET_ORGAN],
        chain=zhao.chain,
        key=zhao.key,
        not_before=NOON,
        not_after=NOON + timedelta(days=1),
        now=NOON,
        nonce=world.nonce(),
    )


@pytest.mark.req("MA-07")
def test_an_entry_is_signed_in_person(world: World) -> None:
    change = Organ(OTHER_ORGAN, SUPERIOR)
    proposal = propose_change(world.standing, change, applicant=world.identity("li"), now=NOON, nonce=world.nonce())
    approvals = [
        world.sign(proposal, "li", SECURITY, APPLY),
        world.sign(proposal, "zheng", SECURITY, delegation=delegation_to_zheng(world)),
    ]

    def run() -> Roster:
        return append(
            world.standing, change, proposal, approvals, now=NOON, anchors=world.net.anchors(), crls=world.net.crls()
        )

    assert refusal(run) is Reason.E_APPROVAL_DELEGATION
    approvals[1] = world.sign(proposal, "qian")
    assert run()


def test_a_delegation_that_was_never_signed_is_not_withdrawn(world: World) -> None:
    made = delegation_to_zheng(world)
    wider = replace(made, not_after=made.not_after + timedelta(days=1))
    by_officer = [("qian", SECURITY, APPROVE)]
    assert refusal(lambda: world.change(Withdraw(wire_of(wider)), by_officer)) is Reason.E_APPROVAL_SIGNATURE
    assert world.change(Withdraw(wire_of(made)), by_officer).standings.withdrawn(made.id) == NOON


def test_entries_do_not_go_back_in_time(world: World) -> None:
    world.change(Organ(OTHER_ORGAN, SUPERIOR), TWO)
    earlier = NOON - timedelta(seconds=1)
    assert refusal(lambda: world.change(Organ(OTHER_ORGAN, None), TWO, now=earlier)) is Reason.E_ROSTER
    assert world.change(Organ(OTHER_ORGAN, None), TWO)
