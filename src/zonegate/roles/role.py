"""[d] The roles of a net, a closed set, and which two one person may not hold (standards.md C7, RO-01).

Pure data. The product's default is stricter than what the public texts ask for; a net may be stricter still, and
never laxer than `PUBLIC_MINIMUM`. Who holds a role is the roster's business, what a role may do the matrix's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations, product
from types import MappingProxyType
from typing import Final


class Role(StrEnum):
    """What a person is in a net; the value is the word in signed files."""

    SYSTEM_ADMIN = "system-admin"
    SECURITY_OFFICER = "security-officer"
    AUDIT_ADMIN = "audit-admin"
    AUDITOR = "auditor"
    RA_OPERATOR = "ra-operator"
    KMC_OPERATOR = "kmc-operator"
    CLASSIFYING_OFFICER = "classifying-officer"
    HANDLER = "handler"

    @property
    def en(self) -> str:
        """The role in English."""
        return _WORDS[self].en

    @property
    def zh(self) -> str:
        """The role in Chinese."""
        return _WORDS[self].zh

    @property
    def gmt0006(self) -> int | None:
        """The role's identifier in GM/T 0006, where it has one (C2)."""
        return _WORDS[self].gmt0006


@dataclass(frozen=True, slots=True)
class _Words:
    en: str
    zh: str
    gmt0006: int | None


# GM/T 0006: 1 超级管理员, 2 业务管理员, 3 审计管理员, 4 审计员, 5 业务操作员, 6 用户. It has no 定密责任人.
_WORDS: Final = MappingProxyType(
    {
        Role.SYSTEM_ADMIN: _Words("system administrator", "系统管理员", 1),
        Role.SECURITY_OFFICER: _Words("security officer", "安全保密管理员", 2),
        Role.AUDIT_ADMIN: _Words("audit administrator", "审计管理员", 3),
        Role.AUDITOR: _Words("security auditor", "安全审计员", 4),
        Role.RA_OPERATOR: _Words("RA operator", "注册操作员", 5),
        Role.KMC_OPERATOR: _Words("KMC operator", "密钥管理操作员", 5),
        Role.CLASSIFYING_OFFICER: _Words("classifying officer", "定密责任人", None),
        Role.HANDLER: _Words("handler", "承办人", 6),
    }
)

AUDIT: Final = frozenset({Role.AUDIT_ADMIN, Role.AUDITOR})
OPERATORS: Final = frozenset({Role.RA_OPERATOR, Role.KMC_OPERATOR})

Pair = frozenset[Role]


def _pairs(left: Iterable[Role], right: Iterable[Role]) -> frozenset[Pair]:
    return frozenset(frozenset(pair) for pair in product(left, right))


# RO-01, public source: neither 系统管理员 with 安全审计员, nor 安全保密管理员 with 安全审计员.
PUBLIC_MINIMUM: Final = _pairs({Role.SYSTEM_ADMIN, Role.SECURITY_OFFICER}, AUDIT)
# C7, last row: 审计 with nobody else, 系统 not with 安全, 定密责任人 not with 系统.
THREE_OFFICERS: Final = (
    _pairs(AUDIT, set(Role) - AUDIT)
    | _pairs({Role.SYSTEM_ADMIN}, {Role.SECURITY_OFFICER})
    | _pairs({Role.CLASSIFYING_OFFICER}, {Role.SYSTEM_ADMIN})
)


@dataclass(frozen=True, slots=True)
class Separation:
    """Which pairs of roles exclude each other in a net."""

    pairs: frozenset[Pair] = THREE_OFFICERS

    def __post_init__(self) -> None:
        missing = PUBLIC_MINIMUM - self.pairs
        if missing:
            listed = "; ".join(sorted(" + ".join(sorted(pair)) for pair in missing))
            msg = f"separation: {listed} must stay apart (RO-01), the setting may only be stricter"
            raise ValueError(msg)
        if any(len(pair) != 2 for pair in self.pairs):
            msg = "separation: a pair is two different roles"
            raise ValueError(msg)

    def stricter(self, pairs: Iterable[Pair]) -> "Separation":
        """Return this separation with more pairs kept apart."""
        return Separation(self.pairs | frozenset(pairs))

    def conflict(self, roles: Iterable[Role]) -> tuple[Role, Role] | None:
        """Return two of `roles` that one person may not hold, or None."""
        for left, right in combinations(sorted(set(roles)), 2):
            if frozenset((left, right)) in self.pairs:
                return left, right
        return None
