"""[d] The roles of a net over time: an immutable value that answers for any instant, and what may change it.

Pure. It knows people, roles, certificates and organs, and refuses what no signature could allow: two roles that one
person may not hold, one key for two people, a super administrator without an audit administrator (CA-11). Who must
sign a change is the roster's business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Certificate
from zonegate.reasons import Reason
from zonegate.roles.role import Role, Separation
from zonegate.roles.view import Binding, Standing

DEPTH_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Held:
    """One grant of a role."""

    identity: Identity
    person: str
    standing: Standing
    revoked: datetime | None = None

    def at(self, moment: datetime) -> bool:
        """Whether the role was held at `moment`."""
        until = self.standing.until if self.revoked is None else min(self.standing.until, self.revoked)
        return self.standing.since <= moment < until


@dataclass(frozen=True, slots=True)
class Bound:
    """One certificate of an identity, from `since` until the next one."""

    identity: Identity
    person: str
    certificate: Certificate
    since: datetime


@dataclass(frozen=True, slots=True)
class Standings:
    """Everything that was ever granted in a net."""

    net: Net
    separation: Separation
    held: tuple[Held, ...] = ()
    bound: tuple[Bound, ...] = ()
    superior: Mapping[str, str | None] = field(default_factory=lambda: MappingProxyType({}))
    withdrawals: Mapping[str, datetime] = field(default_factory=lambda: MappingProxyType({}))

    def binding(self, identity: Identity, *, at: datetime) -> Binding | None:
        """Return who stands behind `identity`; None unless it holds some role at `at`."""
        found = self.bound_at(identity, at)
        if found is None or not any(item.identity == identity and item.at(at) for item in self.held):
            return None
        return Binding(found.person, found.certificate.fingerprint, found.since)

    def bound_at(self, identity: Identity, at: datetime) -> Bound | None:
        """Return the certificate of `identity` at `at`, whether or not it holds a role."""
        return next((item for item in reversed(self.bound) if item.identity == identity and item.since <= at), None)

    def standing(self, identity: Identity, role: Role, *, at: datetime) -> Standing | None:
        """Return how `identity` holds `role` at `at`."""
        return next(
            (
                item.standing
                for item in self.held
                if (item.identity, item.standing.role) == (identity, role) and item.at(at)
            ),
            None,
        )

    def roles_of(self, person: str, *, at: datetime) -> frozenset[Role]:
        """Return every role that a person holds at `at`."""
        return frozenset(item.standing.role for item in self.held if item.person == person and item.at(at))

    def holders(self, role: Role, *, at: datetime) -> frozenset[str]:
        """Return the people who hold `role` at `at`."""
        return frozenset(item.person for item in self.held if item.standing.role is role and item.at(at))

    def superiors(self, organ: str) -> tuple[str, ...]:
        """Return the organs above `organ`, nearest first."""
        found: list[str] = []
        above = self.superior.get(organ)
        while above is not None and len(found) < DEPTH_MAX:
            found.append(above)
            above = self.superior.get(above)
        return tuple(found)

    def withdrawn(self, delegation: str) -> datetime | None:
        """Return since when a delegation of this id is withdrawn."""
        return self.withdrawals.get(delegation)

    # --- changed

    def granted(
        self,
        identity: Identity,
        person: str,
        role: Role,
        leaf: Certificate,
        *,
        at: datetime,
        until: datetime,
        by: str,
    ) -> "Standings":
        """Return the standings with one more role; `by` is the digest of the entry that gave it."""
        if until <= at:
            raise ZoneGateError(Reason.E_ROSTER, f"until: {identity} would lose the role before getting it")
        if self.standing(identity, role, at=at) is not None:
            raise ZoneGateError(Reason.E_ROSTER, f"role: {identity} is a {role} already")
        conflict = self.separation.conflict({*self.roles_of(person, at=at), role})
        if conflict is not None:
            detail = f"role: {person} may not be {' and '.join(conflict)} (RO-01)"
            raise ZoneGateError(Reason.E_ROLE_INCOMPATIBLE, detail)
        known = next((item for item in self.bound if item.identity == identity), None)
        if known is not None and known.person != person:
            raise ZoneGateError(Reason.E_APPROVAL_SAME_PERSON, f"person: {identity} belongs to {known.person}")
        changed = self
        current = self.bound_at(identity, at)
        if current is None or current.certificate != leaf:
            if self.binding(identity, at=at) is not None:
                raise ZoneGateError(Reason.E_APPROVAL_CERT_CHANGED, f"chain: {identity} has another certificate")
            changed = self._bound_to(identity, person, leaf, at)
        item = Held(identity, person, Standing(role, by, at, until))
        return replace(changed, held=(*changed.held, item))

    def revoked(self, identity: Identity, role: Role, *, at: datetime) -> "Standings":
        """Return the standings without a role."""
        standing = self.standing(identity, role, at=at)
        if standing is None:
            raise ZoneGateError(Reason.E_ROSTER, f"role: {identity} is not a {role}")
        return replace(
            self,
            held=tuple(
                replace(item, revoked=at) if item.standing is standing and item.identity == identity else item
                for item in self.held
            ),
        )

    def rebound(self, identity: Identity, leaf: Certificate, *, at: datetime) -> "Standings":
        """Return the standings with a new certificate of an identity that holds a role."""
        binding = self.binding(identity, at=at)
        if binding is None:
            raise ZoneGateError(Reason.E_ROSTER, f"identity: {identity} holds no role")
        if binding.certificate == leaf.fingerprint:
            raise ZoneGateError(Reason.E_ROSTER, f"chain: {identity} has this certificate already")
        return self._bound_to(identity, binding.person, leaf, at)

    def placed(self, organ: str, superior: str | None) -> "Standings":
        """Return the standings with an organ under another."""
        changed = replace(self, superior=MappingProxyType({**self.superior, organ: superior}))
        above = changed.superiors(organ)
        if organ in above or len(above) == DEPTH_MAX:
            detail = f"superior: {organ} would stand under itself, or more than {DEPTH_MAX - 1} levels deep"
            raise ZoneGateError(Reason.E_ROSTER, detail)
        return changed

    def ended(self, delegation: str, *, at: datetime) -> "Standings":
        """Return the standings with a delegation withdrawn."""
        if delegation in self.withdrawals:
            raise ZoneGateError(Reason.E_ROSTER, f"delegation: {delegation} is withdrawn already")
        return replace(self, withdrawals=MappingProxyType({**self.withdrawals, delegation: at}))

    def _bound_to(self, identity: Identity, person: str, leaf: Certificate, at: datetime) -> "Standings":
        for item in self.bound:
            if item.certificate.public_key == leaf.public_key and item.certificate != leaf:
                raise ZoneGateError(Reason.E_APPROVAL_SAME_PERSON, f"chain: the key is that of {item.identity} already")
            same_name = item.certificate.subject_der == leaf.subject_der or item.certificate == leaf
            if same_name and item.identity != identity:
                raise ZoneGateError(Reason.E_APPROVAL_SAME_PERSON, f"chain: the name is that of {item.identity}")
        return replace(self, bound=(*self.bound, Bound(identity, person, leaf, at)))
