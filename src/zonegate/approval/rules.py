"""[d] Which signatures an act needs: rules as data, one for each kind of act (C7, CA-02, CA-08, RO-05, XZ-05..07).

Pure data. A rule is a set of seats; each must be taken by another person. `judge` holds signatures against it. A rule
without a seat for an approver refuses everything.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from zonegate.approval.act import ActKind
from zonegate.roles.role import AUDIT, Role


class Part(StrEnum):
    """In what capacity somebody signs an act."""

    APPLY = "apply"
    APPROVE = "approve"
    WITNESS = "witness"

    @property
    def zh(self) -> str:
        """The capacity in Chinese."""
        return {Part.APPLY: "申请", Part.APPROVE: "审批", Part.WITNESS: "见证"}[self]


class ApplicantRule(StrEnum):
    """Whether who asked for the act may be one of those who approve it."""

    NEVER_APPROVES = "never-approves"
    MAY_APPROVE = "may-approve"


class OrganRule(StrEnum):
    """Of which organ the signers must be."""

    ANY_OF_NET = "any-of-net"
    OWN_OR_SUPERIOR = "own-or-superior"  # the organ whose object it is, or one above it (XZ-06, XZ-07)


@dataclass(frozen=True, slots=True)
class Seat:
    """One signature that is needed: in one of these roles, in this capacity."""

    roles: frozenset[Role]
    part: Part = Part.APPROVE

    def __str__(self) -> str:
        return f"{self.part} by {' or '.join(sorted(self.roles)) or 'nobody'}"


@dataclass(frozen=True, slots=True)
class Rule:
    """Who must sign together, who may have no part."""

    seats: tuple[Seat, ...]
    excluded: frozenset[Role] = frozenset()
    applicant: ApplicantRule = ApplicantRule.NEVER_APPROVES
    organ: OrganRule = OrganRule.ANY_OF_NET


def seat(*roles: Role, part: Part = Part.APPROVE) -> Seat:
    """Return the seat that any of `roles` may take."""
    return Seat(frozenset(roles), part)


_SECURITY = seat(Role.SECURITY_OFFICER)
_NO_AUDITOR = AUDIT
# Rights and labels are no business of the system administrator (MA-07).
_NO_ADMIN = AUDIT | {Role.SYSTEM_ADMIN}

_GRANT: Final = Rule((seat(Role.SECURITY_OFFICER, part=Part.APPLY), _SECURITY), excluded=_NO_ADMIN)
_TWO_OFFICERS: Final = Rule((_SECURITY, _SECURITY), excluded=_NO_ADMIN, applicant=ApplicantRule.MAY_APPROVE)
_CERTIFICATE: Final = Rule(
    (seat(Role.RA_OPERATOR, Role.HANDLER, part=Part.APPLY), seat(Role.RA_OPERATOR, Role.SECURITY_OFFICER)),
    excluded=_NO_AUDITOR,
)
_SECRET: Final = Rule(
    (seat(Role.HANDLER, part=Part.APPLY), seat(Role.CLASSIFYING_OFFICER), _SECURITY),
    excluded=_NO_AUDITOR,
    organ=OrganRule.OWN_OR_SUPERIOR,
)

RULES: Final[Mapping[ActKind, Rule]] = MappingProxyType(
    {
        # CA-11: the super and the audit administrator come into being together, before two security officers.
        ActKind.FOUND_NET: Rule(
            (seat(Role.SYSTEM_ADMIN), seat(Role.AUDIT_ADMIN), _SECURITY, _SECURITY),
            applicant=ApplicantRule.MAY_APPROVE,
        ),
        ActKind.GRANT_ROLE: _GRANT,
        # Taking a right away tightens: one officer is enough (architecture section 7).
        ActKind.REVOKE_ROLE: Rule((_SECURITY,), excluded=_NO_ADMIN, applicant=ApplicantRule.MAY_APPROVE),
        # The holder proves the old certificate, an officer confirms the new one.
        ActKind.REBIND_ROLE: Rule((Seat(frozenset(Role), Part.APPLY), _SECURITY)),
        ActKind.SET_ORGAN: _GRANT,
        ActKind.WITHDRAW_DELEGATION: Rule(
            (Seat(frozenset(Role)),), applicant=ApplicantRule.MAY_APPROVE
        ),  # the roster says: its delegator, or a security officer
        ActKind.SET_LABEL: _TWO_OFFICERS,
        ActKind.PUBLISH_POLICY: _TWO_OFFICERS,
        ActKind.DISPOSE_QUARANTINED: _TWO_OFFICERS,
        ActKind.ONBOARD_SYSTEM: Rule(
            (seat(Role.RA_OPERATOR, Role.HANDLER, part=Part.APPLY), _SECURITY), excluded=_NO_ADMIN
        ),
        ActKind.ISSUE_CERTIFICATE: _CERTIFICATE,
        ActKind.ISSUE_CA_CERTIFICATE: Rule(
            (_SECURITY, _SECURITY, seat(*AUDIT, part=Part.WITNESS)), applicant=ApplicantRule.MAY_APPROVE
        ),
        ActKind.REVOKE_CERTIFICATE: _CERTIFICATE,
        ActKind.SUSPEND_CERTIFICATE: _CERTIFICATE,
        ActKind.RESUME_CERTIFICATE: _CERTIFICATE,
        ActKind.RECOVER_KEY: Rule(
            (seat(Role.KMC_OPERATOR, part=Part.APPLY), _SECURITY, seat(*AUDIT, part=Part.WITNESS)),
            excluded=frozenset({Role.SYSTEM_ADMIN}),
        ),
        # CA-08: at least two officers, and the auditor present.
        ActKind.RECOVER_KEY_JUDICIAL: Rule(
            (seat(Role.KMC_OPERATOR, part=Part.APPLY), _SECURITY, _SECURITY, seat(*AUDIT)),
            excluded=frozenset({Role.SYSTEM_ADMIN}),
        ),
        ActKind.RELABEL: _SECRET,
        ActKind.RELEASE: _SECRET,
    }
)
