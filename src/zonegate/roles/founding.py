"""[d] The people a net needs before it can begin, all created together in its founding ceremony (CA-11).

Pure data and one check. The record of the ceremony is the founding entry of the roster, in words by
`change.describe`.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.reasons import Reason
from zonegate.roles.role import Role
from zonegate.roles.standing import Standings

# Two security officers confirm each other; who registers and who reviews are two; audit* may be one person.
_EVERY_NET: Final = MappingProxyType(
    {
        Role.SYSTEM_ADMIN: 1,
        Role.SECURITY_OFFICER: 2,
        Role.AUDIT_ADMIN: 1,
        Role.AUDITOR: 1,
        Role.RA_OPERATOR: 2,
        Role.KMC_OPERATOR: 1,
    }
)
NEEDED: Final[Mapping[Net, Mapping[Role, int]]] = MappingProxyType(
    {
        Net.EXTRA: _EVERY_NET,
        # Where secrets are, somebody decides what is one.
        Net.INTRA: MappingProxyType({**_EVERY_NET, Role.CLASSIFYING_OFFICER: 1}),
    }
)


def missing_people(standings: Standings, at: datetime) -> Mapping[Role, int]:
    """Return how many people are missing in which role."""
    return {
        role: count - len(standings.holders(role, at=at))
        for role, count in NEEDED[standings.net].items()
        if len(standings.holders(role, at=at)) < count
    }


def check_people(standings: Standings, at: datetime) -> None:
    """Return if a net can begin with these people; otherwise E_ROSTER names who is missing."""
    missing = missing_people(standings, at)
    if missing:
        listed = ", ".join(f"{count} {role.zh} {role.en}" for role, count in missing.items())
        raise ZoneGateError(Reason.E_ROSTER, f"founding: missing are {listed}")
