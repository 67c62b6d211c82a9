"""[d] The roster of a net: a chain of changes, each signed by those who may make it, from the founding on.

Pure. Each entry names the digest of the one before it, so that nothing can be taken out of the middle; a verifier pins
the founding, and a count below which a roster is an old one (`store` remembers it). An entry takes effect with its last
signature. It is judged by the roles that stood at that instant, and by revocations that had been made by then.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

import msgspec

from zonegate.approval.act import Act, ActKind, ActWire, Proposal, act_of, act_wire, check_view, propose
from zonegate.approval.delegation import chain_of, delegation_of
from zonegate.approval.judge import Examined, examine
from zonegate.approval.record import Approval, ApprovalWire, approval_of, approval_wire
from zonegate.approval.rules import RULES
from zonegate.canonical import decode, encode
from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.identity import Identity, parse_identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.crl import Crl, Revocation
from zonegate.pki.path import SignatureCache, StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason
from zonegate.roles.change import (
    ORGANS_MAX,
    PEOPLE_MAX,
    Change,
    Found,
    Grant,
    Organ,
    Rebind,
    Revoke,
    Withdraw,
    describe,
    grant_fields,
    organ_fields,
    role_of,
    separation_of,
)
from zonegate.roles.founding import check_people
from zonegate.roles.role import Role
from zonegate.roles.standing import Standings

ROSTER_MAX_BYTES: Final = 32 << 20
ENTRIES_MAX: Final = 4096
PROPOSAL_LIFE: Final = timedelta(days=7)

_FORMAT = "zonegate-roster/1"
_NOTHING = "0" * 64
_KIND_OF: Final = MappingProxyType(
    {
        Found: ActKind.FOUND_NET,
        Grant: ActKind.GRANT_ROLE,
        Revoke: ActKind.REVOKE_ROLE,
        Rebind: ActKind.REBIND_ROLE,
        Organ: ActKind.SET_ORGAN,
        Withdraw: ActKind.WITHDRAW_DELEGATION,
    }
)


class EntryWire(msgspec.Struct, forbid_unknown_fields=True):
    """One entry as it is written."""

    previous: str
    change: Change
    view: str
    act: ActWire
    approvals: list[ApprovalWire]


class _Roster(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    entries: list[EntryWire]


class _Payload(msgspec.Struct):
    number: int
    previous: str
    change: Change


@dataclass(frozen=True, slots=True)
class Roster:
    """A verified roster; `standings` is what the approval core and the log-in ask."""

    standings: Standings
    entries: tuple[EntryWire, ...]
    digests: tuple[str, ...]
    last: datetime

    @property
    def founding(self) -> str:
        """The digest of the first entry: what a verifier pins."""
        return self.digests[0]

    @property
    def head(self) -> str:
        """The digest of the last entry."""
        return self.digests[-1]


def propose_change(
    roster: Roster | None, change: Change, *, applicant: Identity, now: datetime, nonce: bytes
) -> Proposal:
    """Return what must be signed for `change` to become the next entry of `roster`; None: the founding."""
    number, previous = _place(roster)
    return propose(
        _KIND_OF[type(change)],
        payload=_payload(number, previous, change),
        view=_view(change),
        target=_target(applicant.net.value, number),
        organ=applicant.organ,
        applicant=applicant,
        not_before=now,
        not_after=now + PROPOSAL_LIFE,
        nonce=nonce,
    )


def append(
    roster: Roster | None,
    change: Change,
    proposal: Proposal,
    approvals: Sequence[Approval],
    *,
    now: datetime,
    anchors: TrustAnchors,
    crls: Sequence[Crl],
    status: StatusRule = StatusRule.REQUIRED,
) -> Roster:
    """Return the roster with one entry more; the first refusal if `change` is not allowed or not signed enough."""
    if roster is not None and len(roster.entries) >= ENTRIES_MAX:
        raise ZoneGateError(Reason.E_ROSTER, f"roster: has {ENTRIES_MAX} entries; found it anew")
    if proposal.view != _view(change):
        raise ZoneGateError(Reason.E_APPROVAL_VIEW, "view: it is not the text of this change")
    entry = EntryWire(
        previous=_place(roster)[1],
        change=change,
        view=proposal.view,
        act=act_wire(proposal.act),
        approvals=[approval_wire(approval) for approval in approvals],
    )
    _accept(roster, entry, _Judging(anchors, tuple(crls), status, now))
    # As it will be judged whenever it is read again: an entry that passes only today would make the roster unreadable.
    return _accept(roster, entry, _Judging(anchors, tuple(crls), StatusRule.STALE_ALLOWED, None))


def encode_roster(roster: Roster) -> bytes:
    """Return the roster's file."""
    return encode(_Roster(format=_FORMAT, entries=list(roster.entries)))


def decode_entries(raw: bytes) -> list[EntryWire]:
    """Return the entries of a roster's file, nothing verified; E_ROSTER if it is not one."""
    wire = decode(raw, _Roster, limit_bytes=ROSTER_MAX_BYTES, what="roster", reason=Reason.E_ROSTER)
    if wire.format != _FORMAT:
        raise ZoneGateError(Reason.E_ROSTER, f"format: found {wire.format[:40]!r}, expected {_FORMAT}")
    if not 1 <= len(wire.entries) <= ENTRIES_MAX:
        raise ZoneGateError(Reason.E_ROSTER, f"entries: found {len(wire.entries)}, allowed are 1 to {ENTRIES_MAX}")
    return wire.entries


def read_roster(
    raw: bytes, *, founding: str, anchors: TrustAnchors, crls: Sequence[Crl] = (), at_least: int = 1
) -> Roster:
    """Return the roster in `raw` if every entry is signed as it must be; otherwise the first refusal.

    `founding` is the digest of the first entry, known from elsewhere; `at_least` the number of entries seen before.
    """
    entries = decode_entries(raw)
    if len(entries) < at_least:
        raise ZoneGateError(Reason.E_ROSTER, f"entries: found {len(entries)}, {at_least} were there before")
    first = entry_digest(entries[0])
    if first != founding:
        raise ZoneGateError(Reason.E_ROSTER, f"founding: found {first}, pinned is {founding[:64]}")
    roster: Roster | None = None
    judging = _Judging(anchors, tuple(crls), StatusRule.STALE_ALLOWED, None)
    for number, entry in enumerate(entries, start=1):
        try:
            roster = _accept(roster, entry, judging)
        except ZoneGateError as exc:
            raise ZoneGateError(exc.reason, f"entry {number}: {exc.detail}") from exc
    assert roster is not None  # noqa: S101 - there is at least one entry
    return roster


def entry_digest(entry: EntryWire) -> str:
    """Return what the next entry names, and for the first one what verifiers pin."""
    return sm3.hexdigest(encode(entry))


# --- inside


@dataclass(frozen=True, slots=True)
class _Judging:
    """By what entries are judged; `now` is None where an old entry is read again: then it is the entry's own time."""

    anchors: TrustAnchors
    crls: tuple[Crl, ...]
    status: StatusRule
    now: datetime | None
    signatures: SignatureCache = field(default_factory=SignatureCache)

    def crls_at(self, at: datetime) -> tuple[Crl, ...]:
        """The lists as they bear on `at`: whoever was revoked later could sign then."""
        if self.now is not None:
            return self.crls
        return tuple(replace(crl, revoked=_RevokedBy(crl.revoked, at)) for crl in self.crls)


class _RevokedBy(Mapping[int, Revocation]):
    """What a list says of an instant before it was made; a view, since lists are long and entries many."""

    def __init__(self, revoked: Mapping[int, Revocation], at: datetime) -> None:
        self._revoked = revoked
        self._at = at

    def __getitem__(self, serial: int) -> Revocation:
        found = self._revoked[serial]
        if found.at > self._at:
            raise KeyError(serial)
        return found

    def __iter__(self) -> Iterator[int]:
        return (serial for serial, item in self._revoked.items() if item.at <= self._at)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _accept(roster: Roster | None, entry: EntryWire, judging: _Judging) -> Roster:
    number, previous = _place(roster)
    if entry.previous != previous:
        raise ZoneGateError(Reason.E_ROSTER, "previous: the chain is broken here")
    try:
        return _accepted(roster, entry, number, judging)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_ROSTER, f"change.{exc}") from exc


def _accepted(roster: Roster | None, entry: EntryWire, number: int, judging: _Judging) -> Roster:
    change, act = entry.change, act_of(entry.act)
    approvals = [approval_of(wire) for wire in entry.approvals]
    if not approvals:
        raise ZoneGateError(Reason.E_APPROVAL_NONE, "approvals: an entry without signatures")
    _check_act(act, entry, number)
    at = max(approval.signed_at for approval in approvals)
    if roster is not None and at < roster.last:
        raise ZoneGateError(Reason.E_ROSTER, "signedAt: is before the entry before it")
    now = judging.now or at
    digest = entry_digest(entry)
    if roster is None:
        if not isinstance(change, Found):
            raise ZoneGateError(Reason.E_ROSTER, "change: a roster begins with its founding")
        # Those who sign the founding are known by nothing else than the founding itself.
        begun = _founded(change, digest, min(approval.signed_at for approval in approvals), judging)
        examined = _examined(act, approvals, begun, now, at, judging)
        after = _founded(change, digest, at, judging)
    else:
        before = roster.standings
        examined = _examined(act, approvals, before, now, at, judging)
        after = _changed(before, change, digest, at, judging)
        _check_gain(change, examined, before, at)
    _check_people_of(act, approvals)
    entries = () if roster is None else roster.entries
    digests = () if roster is None else roster.digests
    return Roster(after, (*entries, entry), (*digests, digest), at)


def _check_act(act: Act, entry: EntryWire, number: int) -> None:
    if act.kind is not _KIND_OF[type(entry.change)]:
        raise ZoneGateError(Reason.E_APPROVAL_ACT, f"kind: {act.kind} was signed, the entry is another kind")
    if act.target != _target(act.net.value, number):
        raise ZoneGateError(Reason.E_APPROVAL_TARGET, f"target: found {act.target!r}, this is entry {number}")
    act.check_contents(_payload(number, entry.previous, entry.change), check_view(entry.view))


def _examined(
    act: Act, approvals: Sequence[Approval], roles: Standings, now: datetime, at: datetime, judging: _Judging
) -> Examined:
    return examine(
        act,
        approvals,
        RULES[act.kind],
        now=now,
        anchors=judging.anchors,
        crls=judging.crls_at(at),
        roles=roles,
        status=judging.status,
        signatures=judging.signatures,
    )


def _check_people_of(act: Act, approvals: Sequence[Approval]) -> None:
    """Rights are given in person: a delegate never signs an entry of the roster."""
    if any(approval.delegation is not None for approval in approvals):
        raise ZoneGateError(Reason.E_APPROVAL_DELEGATION, f"delegation: {act.kind} is signed in person")


def _check_gain(change: Change, examined: Examined, before: Standings, at: datetime) -> None:
    """Nobody gives himself a role; a certificate is changed by its holder; a delegation withdrawn by who may."""
    signers = examined.signers
    match change:
        case Grant():
            identity, person, *_ = grant_fields(change)
            if any(person == signer.person or identity == signer.identity for signer in signers):
                raise ZoneGateError(Reason.E_APPROVAL_SELF, f"role: {identity} has signed the own grant")
        case Rebind():
            if str(examined.act.applicant) != change.identity:
                detail = f"apply: {change.identity} must sign with the certificate in force"
                raise ZoneGateError(Reason.E_APPROVAL_APPLICANT, detail)
        case Withdraw():
            delegation = delegation_of(change.delegation)
            delegation.check_signature()
            bound = before.bound_at(delegation.delegator, at)
            if delegation.chain[0].identity != delegation.delegator or bound is None:
                raise ZoneGateError(Reason.E_APPROVAL_DELEGATION, "delegation: is not by who it says")
            if not any(
                signer.identity == delegation.delegator or signer.role is Role.SECURITY_OFFICER for signer in signers
            ):
                detail = f"role: {delegation.delegator} or a security officer withdraws it"
                raise ZoneGateError(Reason.E_APPROVAL_ROLE, detail)


def _founded(change: Found, digest: str, at: datetime, judging: _Judging) -> Standings:
    net = judging.anchors.net
    if change.net != net.value:
        raise ZoneGateError(Reason.E_APPROVAL_NET, f"net: the founding is of {change.net[:16]!r}, this is {net}")
    if len(change.grants) > PEOPLE_MAX or len(change.organs) > ORGANS_MAX:
        raise ZoneGateError(Reason.E_ROSTER, f"founding: at most {PEOPLE_MAX} grants and {ORGANS_MAX} organs")
    standings = Standings(net, separation_of(change))
    for organ in change.organs:
        standings = standings.placed(*organ_fields(organ))
    for item in change.grants:
        standings = _granted(standings, item, digest, at, judging)
    check_people(standings, at)
    return standings


def _changed(before: Standings, change: Change, digest: str, at: datetime, judging: _Judging) -> Standings:
    match change:
        case Found():
            raise ZoneGateError(Reason.E_ROSTER, "change: a roster is founded once")
        case Grant():
            _check_pair(before, role_of(change.role), at)
            return _granted(before, change, digest, at, judging)
        case Revoke():
            return before.revoked(parse_identity(change.identity), role_of(change.role), at=at)
        case Rebind():
            identity, chain = parse_identity(change.identity), chain_of(change.chain)
            _check_leaf(chain, identity, at, judging)
            return before.rebound(identity, chain[0], at=at)
        case Organ():
            return before.placed(*organ_fields(change))
        case Withdraw():
            return before.ended(delegation_of(change.delegation).id, at=at)


def _granted(standings: Standings, change: Grant, digest: str, at: datetime, judging: _Judging) -> Standings:
    identity, person, role, until, chain = grant_fields(change)
    _check_leaf(chain, identity, at, judging)
    return standings.granted(identity, person, role, chain[0], at=at, until=until, by=digest)


def _check_pair(before: Standings, role: Role, at: datetime) -> None:
    """CA-11: neither of the two administrators is created while there is none of the other."""
    other = {Role.SYSTEM_ADMIN: Role.AUDIT_ADMIN, Role.AUDIT_ADMIN: Role.SYSTEM_ADMIN}.get(role)
    if other is not None and not before.holders(other, at=at):
        raise ZoneGateError(Reason.E_ROSTER, f"role: no {role} is created while there is no {other} (CA-11)")


def _check_leaf(chain: tuple[Certificate, ...], identity: Identity, at: datetime, judging: _Judging) -> None:
    leaf = chain[0]
    if leaf.profile is not Profile.OFFICER or leaf.identity != identity:
        detail = f"chain: {leaf.subject} is no officer's certificate of {identity}"
        raise ZoneGateError(Reason.E_APPROVAL_SERVICE, detail)
    verify_path(
        leaf,
        chain[1:],
        judging.anchors,
        now=judging.now or at,
        crls=judging.crls_at(at),
        status=judging.status,
        signatures=judging.signatures,
    )


def _place(roster: Roster | None) -> tuple[int, str]:
    return (1, _NOTHING) if roster is None else (len(roster.entries) + 1, roster.head)


def _payload(number: int, previous: str, change: Change) -> bytes:
    return encode(_Payload(number=number, previous=previous, change=change))


def _target(net: str, number: int) -> str:
    return f"roster/{net}/{number}"


def _view(change: Change) -> str:
    try:
        return describe(change)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_ROSTER, f"change.{exc}") from exc
