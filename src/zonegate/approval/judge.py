"""[d] Decides whether an act is approved: every signature holds, every seat of its rule has another person in it.

Pure but for the book of nonces that `judge` is given: spending the act's nonce is its last step, so an `Approved`
exists once for an act. `examine` decides the same and spends nothing. Every signature that is presented must hold;
one that does not is not passed over, since nobody could say afterwards why it was there.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from zonegate.approval.act import Act
from zonegate.approval.delegation import Delegation
from zonegate.approval.record import Approval
from zonegate.approval.rules import ApplicantRule, OrganRule, Part, Rule, Seat
from zonegate.canonical import time_text
from zonegate.errors import ZoneGateError
from zonegate.identity import Identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason
from zonegate.roles.role import Role
from zonegate.roles.view import Binding, RoleView

APPROVALS_MAX: Final = 8
# Two clocks may differ by this much; more, and one of them is wrong.
CLOCK_SKEW: Final = timedelta(minutes=5)


class NonceBook(Protocol):
    """Remembers which acts were done."""

    def spend(self, act: Act, *, now: datetime) -> None:
        """Record the act's nonce, durably and once; `E_APPROVAL_REPLAY` if it is there already."""
        ...


@dataclass(frozen=True, slots=True)
class Signer:
    """One who signed; `delegator` is whose role it was, if not the signer's own."""

    identity: Identity
    person: str
    role: Role
    part: Part
    signed_at: datetime
    certificate: Certificate
    delegator: Identity | None


@dataclass(frozen=True, slots=True)
class Examined:
    """An act with everything that it needs, its nonce not looked at: for showing, not for doing."""

    act: Act
    signers: tuple[Signer, ...]


@dataclass(frozen=True, slots=True)
class Approved:
    """An act that may be done now, once."""

    act: Act
    signers: tuple[Signer, ...]


@dataclass(frozen=True, slots=True)
class Court:
    """By what an approval is judged: whose roots and lists, whose roles."""

    anchors: TrustAnchors
    roles: RoleView
    crls: tuple[Crl, ...]
    status: StatusRule
    signatures: SignatureCache


def judge(
    act: Act,
    approvals: Sequence[Approval],
    rule: Rule | None,
    *,
    now: datetime,
    anchors: TrustAnchors,
    crls: Sequence[Crl],
    roles: RoleView,
    nonces: NonceBook,
    status: StatusRule = StatusRule.REQUIRED,
) -> Approved:
    """Return `Approved` if `act` may be done at `now`, and spend its nonce; otherwise raise the first refusal."""
    found = examine(act, approvals, rule, now=now, anchors=anchors, crls=crls, roles=roles, status=status)
    nonces.spend(act, now=now)
    return Approved(found.act, found.signers)


def examine(
    act: Act,
    approvals: Sequence[Approval],
    rule: Rule | None,
    *,
    now: datetime,
    anchors: TrustAnchors,
    crls: Sequence[Crl],
    roles: RoleView,
    status: StatusRule = StatusRule.REQUIRED,
    signatures: SignatureCache | None = None,
) -> Examined:
    """Return who signed if the approvals are what `rule` demands of `act` at `now`; otherwise the first refusal."""
    demanded = _check_rule(rule)
    _check_act(act, anchors, now)
    if not approvals:
        raise ZoneGateError(Reason.E_APPROVAL_NONE, f"approvals: none, needed are {_listed(demanded.seats)}")
    if len(approvals) > APPROVALS_MAX:
        detail = f"approvals: found {len(approvals)}, at most {APPROVALS_MAX} are read"
        raise ZoneGateError(Reason.E_APPROVAL_TOO_MANY, detail)
    court = Court(anchors, roles, tuple(crls), status, SignatureCache() if signatures is None else signatures)
    signers: list[Signer] = []
    for number, approval in enumerate(approvals, start=1):
        try:
            _check_same_act(approval.act, act)
            signers.append(_Bench(act, demanded, court, now).signer(approval))
        except ZoneGateError as exc:
            raise ZoneGateError(exc.reason, f"approval {number}: {exc.detail}") from exc
    _check_applicant(act, signers, demanded, roles, now)
    _check_different(approvals, signers, roles, now)
    _check_seats(signers, demanded.seats)
    return Examined(act, tuple(signers))


def _check_rule(rule: Rule | None) -> Rule:
    if rule is None or not any(seat.part is Part.APPROVE and seat.roles for seat in rule.seats):
        raise ZoneGateError(Reason.E_APPROVAL_RULE, "rule: no approver is named, so the act is refused")
    if any(not seat.roles for seat in rule.seats):
        raise ZoneGateError(Reason.E_APPROVAL_RULE, "rule: a seat names no role, so nobody can take it")
    return rule


def _check_act(act: Act, anchors: TrustAnchors, now: datetime) -> None:
    if act.net is not anchors.net:
        raise ZoneGateError(Reason.E_APPROVAL_NET, f"act: is of the net {act.net}, this is {anchors.net}")
    if now < act.not_before:
        raise ZoneGateError(Reason.E_APPROVAL_NOT_YET_VALID, f"act: is valid from {time_text(act.not_before)}")
    if now >= act.not_after:
        raise ZoneGateError(Reason.E_APPROVAL_EXPIRED, f"act: was valid until {time_text(act.not_after)}")


def _check_same_act(signed: Act, act: Act) -> None:
    if signed == act:
        return
    for name, reason in _DIFFERENCES:
        if getattr(signed, name) != getattr(act, name):
            raise ZoneGateError(reason, f"{name}: another one was signed")


_DIFFERENCES: Final = (
    ("net", Reason.E_APPROVAL_NET),
    ("kind", Reason.E_APPROVAL_ACT),
    ("target", Reason.E_APPROVAL_TARGET),
    ("payload", Reason.E_APPROVAL_PAYLOAD),
    ("view", Reason.E_APPROVAL_VIEW),
    ("organ", Reason.E_APPROVAL_ACT),
    ("applicant", Reason.E_APPROVAL_ACT),
    ("not_before", Reason.E_APPROVAL_ACT),
    ("not_after", Reason.E_APPROVAL_ACT),
    ("nonce", Reason.E_APPROVAL_ACT),
)


@dataclass(frozen=True, slots=True)
class _Bench:
    """One approval before the court."""

    act: Act
    rule: Rule
    court: Court
    now: datetime

    def signer(self, approval: Approval) -> Signer:
        leaf = approval.certificate
        identity, binding = self._officer(approval.chain, approval.signed_at)
        approval.check_signature()
        self._check_time(approval.signed_at)
        delegation = approval.delegation
        if delegation is None:
            self._check_role(identity, approval.role, approval.signed_at)
        else:
            self._check_delegation(delegation, identity, binding, approval)
        self._check_excluded(binding.person, approval.role)
        self._check_organ(leaf, identity)
        delegator = None if delegation is None else delegation.delegator
        return Signer(identity, binding.person, approval.role, approval.part, approval.signed_at, leaf, delegator)

    def _officer(self, chain: tuple[Certificate, ...], signed_at: datetime) -> tuple[Identity, Binding]:
        """The identity of an officer of this net whose certificate counts now and is the one in the roster."""
        leaf = chain[0]
        net = self.court.anchors.net
        if leaf.net is not net or (leaf.identity is not None and leaf.identity.net is not net):
            detail = f"certificate: {leaf.subject} is of the net {leaf.net or 'none'}, this is {net}"
            raise ZoneGateError(Reason.E_APPROVAL_NET, detail)
        if leaf.profile is not Profile.OFFICER or leaf.identity is None:
            detail = f"certificate: {leaf.subject} has the profile {leaf.profile or 'none'}, a person must sign"
            raise ZoneGateError(Reason.E_APPROVAL_SERVICE, detail)
        court = self.court
        verify_path(
            leaf,
            chain[1:],
            court.anchors,
            now=self.now,
            crls=court.crls,
            status=court.status,
            signatures=court.signatures,
        )
        if signed_at < leaf.not_before:
            raise ZoneGateError(Reason.E_CERT_NOT_YET_VALID, "signedAt: is before the signer's certificate")
        binding = court.roles.binding(leaf.identity, at=self.now)
        if binding is None:
            if court.roles.binding(leaf.identity, at=signed_at) is not None:
                detail = f"signer: {leaf.identity} holds no role any more"
                raise ZoneGateError(Reason.E_APPROVAL_ROLE_CHANGED, detail)
            raise ZoneGateError(Reason.E_APPROVAL_ROLE, f"signer: {leaf.identity} is not in the roster")
        if binding.certificate != leaf.fingerprint:
            detail = f"certificate: the roster has another one of {leaf.identity}"
            raise ZoneGateError(Reason.E_APPROVAL_CERT_CHANGED, detail)
        return leaf.identity, binding

    def _check_time(self, signed_at: datetime) -> None:
        if signed_at > self.now + CLOCK_SKEW:
            detail = f"signedAt: {time_text(signed_at)} is in the future"
            raise ZoneGateError(Reason.E_APPROVAL_NOT_YET_VALID, detail)
        if signed_at >= self.act.not_after:
            detail = f"signedAt: {time_text(signed_at)} is after the act's end"
            raise ZoneGateError(Reason.E_APPROVAL_EXPIRED, detail)

    def _check_role(self, identity: Identity, role: Role, signed_at: datetime) -> None:
        roles = self.court.roles
        now = roles.standing(identity, role, at=self.now)
        if now is None:
            if roles.standing(identity, role, at=signed_at) is None:
                raise ZoneGateError(Reason.E_APPROVAL_ROLE, f"role: {identity} is not a {role}")
            raise ZoneGateError(Reason.E_APPROVAL_ROLE_CHANGED, f"role: {identity} is no longer a {role}")
        if now.since > signed_at:
            detail = f"role: {identity} is a {role} since {time_text(now.since)} only"
            raise ZoneGateError(Reason.E_APPROVAL_ROLE_CHANGED, detail)

    def _check_delegation(
        self, delegation: Delegation, delegate: Identity, binding: Binding, approval: Approval
    ) -> None:
        for wrong, problem in (
            (delegation.delegate != delegate, f"is to {delegation.delegate}"),
            (delegation.role is not approval.role, f"is for the role {delegation.role}"),
            (self.act.kind not in delegation.kinds, f"is not for the kind {self.act.kind}"),
            (delegation.signed_at > approval.signed_at, "was signed after the approval"),
            (not delegation.not_before <= approval.signed_at < delegation.not_after, "did not run at the signature"),
            (not delegation.not_before <= self.now < delegation.not_after, "does not run now"),
        ):
            if wrong:
                raise ZoneGateError(Reason.E_APPROVAL_DELEGATION, f"delegation: {problem}")
        if self.court.roles.withdrawn(delegation.id) is not None:
            raise ZoneGateError(Reason.E_APPROVAL_WITHDRAWN, f"delegation: {delegation.id} is withdrawn")
        delegator, principal = self._officer(delegation.chain, delegation.signed_at)
        if delegator != delegation.delegator:
            raise ZoneGateError(Reason.E_APPROVAL_DELEGATION, f"delegation: is signed by {delegator}")
        delegation.check_signature()
        self._check_role(delegator, delegation.role, delegation.signed_at)
        held = {*self.court.roles.roles_of(binding.person, at=self.now), delegation.role}
        conflict = self.court.roles.separation.conflict(held)
        if conflict is not None:
            detail = f"delegation: {delegate} may not be {' and '.join(conflict)}"
            raise ZoneGateError(Reason.E_ROLE_INCOMPATIBLE, detail)
        self._check_excluded(principal.person, delegation.role)
        self._check_organ(delegation.chain[0], delegator)

    def _check_excluded(self, person: str, role: Role) -> None:
        held = {*self.court.roles.roles_of(person, at=self.now), role}
        barred = sorted(held & self.rule.excluded)
        if barred:
            raise ZoneGateError(Reason.E_APPROVAL_EXCLUDED, f"role: {', '.join(barred)} may have no part in this act")

    def _check_organ(self, leaf: Certificate, identity: Identity) -> None:
        if self.rule.organ is OrganRule.ANY_OF_NET:
            return
        allowed = (self.act.organ, *self.court.roles.superiors(self.act.organ))
        if identity.organ not in allowed or leaf.organ != identity.organ:
            detail = f"organ: {identity.organ} is neither {self.act.organ} nor above it"
            raise ZoneGateError(Reason.E_APPROVAL_ORGAN, detail)


def _check_applicant(act: Act, signers: Sequence[Signer], rule: Rule, roles: RoleView, now: datetime) -> None:
    """The applicant has signed the application where one is demanded, and approves nothing of his own."""
    for signer in signers:
        if signer.part is Part.APPLY and (signer.identity != act.applicant or signer.delegator is not None):
            detail = f"apply: {signer.identity} signed, the applicant {act.applicant} must"
            raise ZoneGateError(Reason.E_APPROVAL_APPLICANT, detail)
    if rule.applicant is ApplicantRule.NEVER_APPROVES:
        bound = roles.binding(act.applicant, at=now)
        person = None if bound is None else bound.person
        for signer in signers:
            own = {signer.identity, signer.delegator} & {act.applicant} or person in _persons(signer, roles, now)
            if signer.part is not Part.APPLY and own:
                detail = f"approve: {signer.identity} is the applicant or signs for him"
                raise ZoneGateError(Reason.E_APPROVAL_SELF, detail)
    if any(seat.part is Part.APPLY for seat in rule.seats) and all(signer.part is not Part.APPLY for signer in signers):
        raise ZoneGateError(Reason.E_APPROVAL_APPLICANT, f"apply: {act.applicant} has not signed the application")


def _persons(signer: Signer, roles: RoleView, now: datetime) -> set[str]:
    found = {signer.person}
    if signer.delegator is not None:
        principal = roles.binding(signer.delegator, at=now)
        if principal is not None:
            found.add(principal.person)
    return found


def _check_different(approvals: Sequence[Approval], signers: Sequence[Signer], roles: RoleView, now: datetime) -> None:
    """As many people as signatures: a delegate and the delegator count as one, by each thing a person is known by."""
    seen: dict[tuple[str, object], int] = {}
    for number, (approval, signer) in enumerate(zip(approvals, signers, strict=True), start=1):
        certificates = [approval.certificate]
        if approval.delegation is not None:
            certificates.append(approval.delegation.chain[0])
        marks: set[tuple[str, object]] = {("person", person) for person in _persons(signer, roles, now)}
        for what, of in _MARKS:
            marks |= {(what, of(certificate)) for certificate in certificates}
        for mark in sorted(marks, key=lambda item: item[0]):
            if mark in seen:
                detail = f"approvals {seen[mark]} and {number}: the same {mark[0]}; different people must sign"
                raise ZoneGateError(Reason.E_APPROVAL_SAME_PERSON, detail)
        seen.update(dict.fromkeys(marks, number))


_MARKS: Final[tuple[tuple[str, Callable[[Certificate], object]], ...]] = (
    ("identity", lambda certificate: certificate.identity),
    ("key", lambda certificate: certificate.public_key),
    ("subject", lambda certificate: certificate.subject_der),
)


def _check_seats(signers: Sequence[Signer], seats: Sequence[Seat]) -> None:
    taken: dict[int, int] = {}
    standing = [index for index in range(len(signers)) if not _place(index, signers, seats, taken, set())]
    free = [seat for index, seat in enumerate(seats) if index not in taken]
    if standing:
        _refuse_standing(signers[standing[0]], signers, seats, free)
    if free:
        detail = f"approvals: {len(signers)} of {len(seats)}, still needed: {_listed(free)}"
        raise ZoneGateError(Reason.E_APPROVAL_TOO_FEW, detail)


def _place(
    index: int, signers: Sequence[Signer], seats: Sequence[Seat], taken: dict[int, int], tried: set[int]
) -> bool:
    """Seat a signer, moving others where that makes room (bipartite matching); False if there is no way."""
    for number, seat in enumerate(seats):
        if number in tried or not _fits(signers[index], seat):
            continue
        tried.add(number)
        if number not in taken or _place(taken[number], signers, seats, taken, tried):
            taken[number] = index
            return True
    return False


def _fits(signer: Signer, seat: Seat) -> bool:
    return signer.part is seat.part and signer.role in seat.roles


def _refuse_standing(signer: Signer, signers: Sequence[Signer], seats: Sequence[Seat], free: Collection[Seat]) -> None:
    who = f"{signer.identity} to {signer.part} as {signer.role}"
    if not any(_fits(signer, seat) for seat in seats):
        raise ZoneGateError(Reason.E_APPROVAL_ROLE, f"role: nobody asks {who}; needed are {_listed(seats)}")
    if not free:
        raise ZoneGateError(Reason.E_APPROVAL_TOO_MANY, f"approvals: {len(signers)} of {len(seats)}; no seat for {who}")
    raise ZoneGateError(Reason.E_APPROVAL_SAME_ROLE, f"role: no second seat for {who}; still needed: {_listed(free)}")


def _listed(seats: Collection[Seat]) -> str:
    return "; ".join(str(seat) for seat in seats)
