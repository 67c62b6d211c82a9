"""[d] What an entry of the roster changes: people, their roles and certificates, organs, withdrawn delegations.

Pure. Here changes are written and read, and put into words for those who sign them; whether one is allowed is the
roster's business.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from zonegate.approval.delegation import DelegationWire, chain_of, chain_text
from zonegate.canonical import parse_instant, time_text
from zonegate.codes import check_citizen_number, check_uscc
from zonegate.identity import Identity, Net, parse_identity
from zonegate.pki.certificate import Certificate
from zonegate.roles.role import PUBLIC_MINIMUM, THREE_OFFICERS, Role, Separation

PEOPLE_MAX: Final = 512
ORGANS_MAX: Final = 4096

_PERSON = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_BASES: Final = {"three-officers": THREE_OFFICERS, "public-minimum": PUBLIC_MINIMUM}


class Grant(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="grant", tag_field="what"):
    """A person, by staff number, gets a role until `until`; `chain` is the certificate that speaks for it."""

    identity: str
    person: str
    role: str
    until: str
    chain: list[str]


class Revoke(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="revoke", tag_field="what"):
    """An identity loses a role."""

    identity: str
    role: str
    cause: str


class Rebind(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="rebind", tag_field="what"):
    """An identity gets a new certificate; its roles stay."""

    identity: str
    chain: list[str]


class Organ(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="organ", tag_field="what"):
    """An organ stands under another, or under none."""

    organ: str
    superior: str | None


class Withdraw(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="withdraw", tag_field="what"):
    """A delegation ends; it is all here, so that its delegator is beyond doubt."""

    delegation: DelegationWire


class Found(msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="found", tag_field="what"):
    """The first entry: the people a net begins with, together (CA-11), and how strictly roles are kept apart."""

    net: str
    separation: str
    apart: list[list[str]]
    grants: list[Grant]
    organs: list[Organ]


Change = Found | Grant | Revoke | Rebind | Organ | Withdraw


def grant(identity: Identity, person: str, role: Role, until: datetime, chain: Sequence[Certificate]) -> Grant:
    """Return the change that gives `identity` a role."""
    return Grant(str(identity), person, role.value, time_text(until), chain_text(chain))


def rebind(identity: Identity, chain: Sequence[Certificate]) -> Rebind:
    """Return the change that gives `identity` a new certificate."""
    return Rebind(str(identity), chain_text(chain))


def found(
    net: Net,
    grants: Iterable[Grant],
    organs: Iterable[Organ] = (),
    *,
    base: str = "three-officers",
    apart: Iterable[tuple[Role, Role]] = (),
) -> Found:
    """Return the founding change; `base` is "three-officers" or "public-minimum", `apart` keeps more pairs apart."""
    pairs = sorted(sorted(role.value for role in pair) for pair in apart)
    return Found(net.value, base, pairs, list(grants), list(organs))


# --- checked values; `ValueError` names the field


def grant_fields(change: Grant) -> tuple[Identity, str, Role, datetime, tuple[Certificate, ...]]:
    """Return what a grant says."""
    if not _PERSON.fullmatch(change.person) or _is_citizen_number(change.person):
        msg = "person: must be a staff number of 1 to 64 letters, digits, . _ -, and no citizen number"
        raise ValueError(msg)
    identity = parse_identity(change.identity)
    return identity, change.person, role_of(change.role), parse_instant(change.until), chain_of(change.chain)


def role_of(text: str) -> Role:
    """Return the role that `text` names."""
    if text not in set(Role):
        msg = f"role: {text[:32]!r} is not a role"
        raise ValueError(msg)
    return Role(text)


def organ_fields(change: Organ) -> tuple[str, str | None]:
    """Return what is said of an organ."""
    organ = check_uscc(change.organ)
    superior = None if change.superior is None else check_uscc(change.superior)
    if superior == organ:
        msg = f"superior: {organ} does not stand under itself"
        raise ValueError(msg)
    return organ, superior


def separation_of(change: Found) -> Separation:
    """Return how a founding keeps roles apart."""
    if change.separation not in _BASES:
        msg = f"separation: found {change.separation[:32]!r}, allowed are {', '.join(_BASES)}"
        raise ValueError(msg)
    pairs = [frozenset(role_of(text) for text in pair) for pair in change.apart]
    if change.apart != sorted(sorted(pair) for pair in change.apart):
        msg = "apart: pairs must be in order"
        raise ValueError(msg)
    return Separation(_BASES[change.separation]).stricter(pairs)


def _is_citizen_number(text: str) -> bool:
    try:
        check_citizen_number(text.upper())
    except ValueError:
        return False
    return True


# --- in words


def describe(change: Change) -> str:
    """Return the text that officers are shown, in Chinese and English; the same change gives the same text."""
    match change:
        case Found():
            return _describe_found(change)
        case Grant():
            lines = ["授予角色 grant a role", *_grant_lines(change)]
        case Revoke():
            role = role_of(change.role)
            lines = [
                "撤销角色 revoke a role",
                f"  身份 identity: {change.identity}",
                f"  角色 role: {role.zh} {role.en}",
                f"  原因 cause: {change.cause}",
            ]
        case Rebind():
            leaf = chain_of(change.chain)[0]
            lines = [
                "更换人员证书 change a person's certificate",
                f"  身份 identity: {change.identity}",
                f"  新证书 new certificate: {leaf.subject}, SM3 {leaf.fingerprint}",
            ]
        case Organ():
            lines = ["登记机构隶属 set an organ's superior", _organ_line(change)]
        case Withdraw():
            held = change.delegation
            lines = [
                "撤回委托 withdraw a delegation",
                f"  编号 id: {held.id}",
                f"  委托人 delegator: {held.delegator}",
                f"  受托人 delegate: {held.delegate}",
            ]
    return "\n".join(lines)


def _describe_found(change: Found) -> str:
    lines = [
        f"建立 {change.net} 网人员名册 found the roster of the net {change.net}",
        f"  角色分离 separation: {change.separation}",
        *(f"  另行分离 kept apart too: {' + '.join(pair)}" for pair in change.apart),
    ]
    for number, item in enumerate(change.grants, start=1):
        lines += [f"{number}.", *_grant_lines(item)]
    lines += [_organ_line(item) for item in change.organs]
    return "\n".join(lines)


def _grant_lines(change: Grant) -> list[str]:
    _, person, role, _, chain = grant_fields(change)
    return [
        f"  角色 role: {role.zh} {role.en}",
        f"  人员 person: {person}, {chain[0].subject}",
        f"  身份 identity: {change.identity}",
        f"  证书 certificate: SM3 {chain[0].fingerprint}",
        f"  至 until: {change.until}",
    ]


def _organ_line(change: Organ) -> str:
    return f"  机构 organ {change.organ}, 上级 superior {change.superior or '无 none'}"
