"""[d] Acts and roles: who may do what (standards.md C7), one table. What is not in it nobody may do.

Pure data. `who_may` answers for one act; `check` refuses a role an act. Which signatures an act needs is
`approval.rules`' business, and a test holds the two together.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason
from zonegate.roles.role import Role


class Act(StrEnum):
    """The rows of C7."""

    OPERATE = "operate"
    CREATE_ACCOUNT = "create-account"
    GRANT = "grant"
    ONBOARD = "onboard"
    CERTIFICATE = "certificate"
    KEY_RECOVERY = "key-recovery"
    JUDICIAL_RECOVERY = "judicial-recovery"
    DECLASSIFY = "declassify"
    RELEASE = "release"
    READ_AUDIT = "read-audit"
    DELETE_AUDIT = "delete-audit"

    @property
    def en(self) -> str:
        """The act in the words of C7."""
        return _WORDS[self][0]

    @property
    def zh(self) -> str:
        """The act in Chinese."""
        return _WORDS[self][1]


class Duty(StrEnum):
    """What a role does in an act; the value is the cell of C7."""

    YES = "yes"
    YES_CONFIRMED = "yes (second officer confirms)"
    APPROVE = "approve"
    WITNESS = "witness"
    CHECK = "check"
    DECIDE = "decide"
    PROPOSE = "propose"
    SECOND_APPROVAL = "second approval + inspection result"
    FIRST_APPROVAL = "first approval"
    EXECUTE = "execute"
    APPLY = "apply"
    OWN_ACTS = "own acts"
    USER_ACTS = "user acts"
    ALL_READ_ONLY = "all, read-only"

    @property
    def zh(self) -> str:
        """The duty in Chinese."""
        return _DUTY_ZH[self]


_DUTY_ZH: Final = MappingProxyType(
    {
        Duty.YES: "可办理",
        Duty.YES_CONFIRMED: "可办理（另一管理员确认）",
        Duty.APPROVE: "审批",
        Duty.WITNESS: "见证",
        Duty.CHECK: "核查",
        Duty.DECIDE: "决定",
        Duty.PROPOSE: "提出",
        Duty.SECOND_APPROVAL: "第二审批并附检查结果",
        Duty.FIRST_APPROVAL: "第一审批",
        Duty.EXECUTE: "执行",
        Duty.APPLY: "申请",
        Duty.OWN_ACTS: "本人操作",
        Duty.USER_ACTS: "用户操作",
        Duty.ALL_READ_ONLY: "全部，只读",
    }
)
_WORDS: Final = MappingProxyType(
    {
        Act.OPERATE: ("Install, start, stop, back up", "安装、启停、备份"),
        Act.CREATE_ACCOUNT: ("Create account (no rights)", "建立账户（不含权限）"),
        Act.GRANT: ("Grant rights, set labels, flow rules", "授权、设置标记与流转规则"),
        Act.ONBOARD: ("Approve zone onboarding", "批准接入"),
        Act.CERTIFICATE: ("Issue / revoke certificate", "签发、撤销证书"),
        Act.KEY_RECOVERY: ("Key recovery", "密钥恢复"),
        Act.JUDICIAL_RECOVERY: ("Judicial key recovery", "司法密钥恢复"),
        Act.DECLASSIFY: ("Declassify (relabel)", "解密（改标）"),
        Act.RELEASE: ("Release high→low", "高向低导出"),
        Act.READ_AUDIT: ("Read audit", "查阅审计"),
        Act.DELETE_AUDIT: ("Delete audit", "删除审计"),
    }
)


def _row(
    *,
    system: Duty | None = None,
    security: Duty | None = None,
    audit: Duty | None = None,
    operator: Duty | None = None,
    classifying: Duty | None = None,
    handler: Duty | None = None,
) -> Mapping[Role, Duty]:
    cells = {
        Role.SYSTEM_ADMIN: system,
        Role.SECURITY_OFFICER: security,
        Role.AUDIT_ADMIN: audit,
        Role.AUDITOR: audit,
        Role.RA_OPERATOR: operator,
        Role.KMC_OPERATOR: operator,
        Role.CLASSIFYING_OFFICER: classifying,
        Role.HANDLER: handler,
    }
    return MappingProxyType({role: duty for role, duty in cells.items() if duty is not None})


MATRIX: Final[Mapping[Act, Mapping[Role, Duty]]] = MappingProxyType(
    {
        Act.OPERATE: _row(system=Duty.YES),
        Act.CREATE_ACCOUNT: _row(system=Duty.YES),
        Act.GRANT: _row(security=Duty.YES_CONFIRMED),
        Act.ONBOARD: _row(security=Duty.YES),
        Act.CERTIFICATE: _row(security=Duty.APPROVE, operator=Duty.YES),
        Act.KEY_RECOVERY: _row(security=Duty.APPROVE, audit=Duty.WITNESS, operator=Duty.YES),
        Act.JUDICIAL_RECOVERY: _row(security=Duty.APPROVE, audit=Duty.APPROVE, operator=Duty.YES),
        Act.DECLASSIFY: _row(security=Duty.CHECK, classifying=Duty.DECIDE, handler=Duty.PROPOSE),
        Act.RELEASE: _row(
            security=Duty.SECOND_APPROVAL,
            operator=Duty.EXECUTE,
            classifying=Duty.FIRST_APPROVAL,
            handler=Duty.APPLY,
        ),
        Act.READ_AUDIT: _row(
            system=Duty.OWN_ACTS,
            security=Duty.USER_ACTS,
            audit=Duty.ALL_READ_ONLY,
            operator=Duty.OWN_ACTS,
            classifying=Duty.OWN_ACTS,
            handler=Duty.OWN_ACTS,
        ),
        Act.DELETE_AUDIT: _row(),
    }
)


def who_may(act: Act) -> Mapping[Role, Duty]:
    """Return the roles that have a part in `act`, each with its part."""
    return MATRIX[act]


def check(role: Role, act: Act) -> Duty:
    """Return the part that `role` has in `act`; `ZoneGateError(E_ROLE_ACT)` if it has none."""
    duty = MATRIX[act].get(role)
    if duty is None:
        allowed = ", ".join(MATRIX[act]) or "nobody"
        raise ZoneGateError(Reason.E_ROLE_ACT, f"role: {role} has no part in {act.value!r}, allowed: {allowed}")
    return duty
