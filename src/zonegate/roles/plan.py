"""[a] Reads a change of the roster from a TOML file that a person wrote, certificates from the files it names.

The file holds exactly one table: found, grant, revoke, rebind, organ or withdraw. Whether the change is allowed is
the roster's business.
"""

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import BeforeValidator, model_validator

from zonegate.approval.delegation import DELEGATION_MAX_BYTES, decode_delegation, wire_of
from zonegate.canonical import parse_instant
from zonegate.errors import ZoneGateError
from zonegate.identity import Identity, Net, parse_identity
from zonegate.pki.credential import read_chain_file
from zonegate.reasons import Reason
from zonegate.roles.change import Change, Grant, Organ, Revoke, Withdraw, found, grant, rebind
from zonegate.roles.role import Role
from zonegate.roles.store import read_limited
from zonegate.strictconf import ConfigPath, StrictModel, load_toml


def _identity(value: object) -> object:
    return parse_identity(value) if isinstance(value, str) else value


def _instant(value: object) -> object:
    return parse_instant(value) if isinstance(value, str) else value


def _role(value: object) -> object:
    return Role(value) if isinstance(value, str) and value in set(Role) else value


def _net(value: object) -> object:
    return Net(value) if isinstance(value, str) and value in set(Net) else value


_Identity = Annotated[Identity, BeforeValidator(_identity)]
_Instant = Annotated[datetime, BeforeValidator(_instant)]
_Role = Annotated[Role, BeforeValidator(_role)]
_Net = Annotated[Net, BeforeValidator(_net)]


class _GrantPlan(StrictModel):
    identity: _Identity
    person: str
    role: _Role
    until: _Instant
    certificate: ConfigPath

    def change(self) -> Grant:
        return grant(self.identity, self.person, self.role, self.until, read_chain_file(self.certificate))


class _RevokePlan(StrictModel):
    identity: _Identity
    role: _Role
    cause: str


class _RebindPlan(StrictModel):
    identity: _Identity
    certificate: ConfigPath


class _OrganPlan(StrictModel):
    organ: str
    superior: str | None = None


class _WithdrawPlan(StrictModel):
    delegation: ConfigPath


class _FoundPlan(StrictModel):
    net: _Net
    separation: str = "three-officers"
    apart: tuple[tuple[_Role, _Role], ...] = ()
    people: list[_GrantPlan]
    organs: tuple[_OrganPlan, ...] = ()


class _Plan(StrictModel):
    found: _FoundPlan | None = None
    grant: _GrantPlan | None = None
    revoke: _RevokePlan | None = None
    rebind: _RebindPlan | None = None
    organ: _OrganPlan | None = None
    withdraw: _WithdrawPlan | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in TABLES if getattr(self, name) is not None]
        if len(given) != 1:
            msg = f"exactly one of the tables {', '.join(TABLES)} is needed, found {len(given)}"
            raise ValueError(msg)
        return self


TABLES: Final = ("found", "grant", "revoke", "rebind", "organ", "withdraw")


def read_change(path: Path) -> Change:
    """Return the change in the TOML file at `path`; E_CONFIG lists every problem."""
    plan = load_toml(path, _Plan)
    if plan.found is not None:
        return _found(plan.found)
    if plan.grant is not None:
        return plan.grant.change()
    if plan.revoke is not None:
        return Revoke(str(plan.revoke.identity), plan.revoke.role.value, plan.revoke.cause)
    if plan.rebind is not None:
        return rebind(plan.rebind.identity, read_chain_file(plan.rebind.certificate))
    if plan.organ is not None:
        return Organ(plan.organ.organ, plan.organ.superior)
    if plan.withdraw is None:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: names no change")
    return Withdraw(wire_of(decode_delegation(read_limited(plan.withdraw.delegation, DELEGATION_MAX_BYTES))))


def _found(plan: _FoundPlan) -> Change:
    return found(
        plan.net,
        [person.change() for person in plan.people],
        [Organ(item.organ, item.superior) for item in plan.organs],
        base=plan.separation,
        apart=plan.apart,
    )
