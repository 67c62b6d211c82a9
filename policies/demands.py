"""[d] What the grade of a zone demands of its gateway: the rows of GB/T 22239 that the product uses (standards.md C11).

Pure. Rows that the product can check itself carry a check; every other row is `not checked` and never counts as met.
A zone of the intranet is held to the row of its 分保 level: 秘密 not below grade 3, 机密 4, 绝密 5 (MA-06). There is no
public list for grade 5: its zones are held to the rows of grade 4, and grade 5 is never claimed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from zonegate.errors import ZoneGateError
from zonegate.policies.labels import Level
from zonegate.policies.model import Zone
from zonegate.reasons import Reason

_HIGHEST_LISTED_GRADE = 4


class Check(StrEnum):
    """What the product can look at itself."""

    TLS = "tls"
    MUTUAL = "mutual-authentication"
    DEFAULT_DENY = "default-deny"
    LABELS = "labels"
    EVIDENCE = "evidence"
    STATUS = "status-freshness"


class Outcome(StrEnum):
    """Whether a demand is met."""

    MET = "met"
    NOT_MET = "not met"
    NOT_CHECKED = "not checked"

    @property
    def zh(self) -> str:
        """The Chinese word."""
        return {"met": "满足", "not met": "不满足", "not checked": "未检查"}[self.value]


@dataclass(frozen=True, slots=True)
class GatewayFacts:
    """What a gateway's configuration says of itself. `policy_signed` counts as default deny: no rule, no flow."""

    national_tls_only: bool
    client_certificate_required: bool
    policy_signed: bool
    labels_decided: bool
    evidence_durable: bool
    revocation_lists: bool
    stale_status_refuses: bool


@dataclass(frozen=True, slots=True)
class Demand:
    """One row: the heading in GB/T 22239-2019, the control, the grades that demand it, how it is checked."""

    id: str
    clause: str
    control_en: str
    control_zh: str
    grades: frozenset[int]
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A demand and whether this gateway meets it."""

    demand: Demand
    outcome: Outcome


_ALL, _FROM_2, _FROM_3, _ONLY_3, _ONLY_4 = (
    frozenset({1, 2, 3, 4}),
    frozenset({2, 3, 4}),
    frozenset({3, 4}),
    frozenset({3}),
    frozenset({4}),
)

DEMANDS: tuple[Demand, ...] = (
    Demand("zones", "网络架构", "zones and isolation", "划分区域并隔离重要区域", _FROM_2),
    Demand("integrity", "通信传输", "integrity in transit", "通信完整性", _FROM_2, Check.TLS),
    Demand(
        "confidentiality", "通信传输", "confidentiality in transit by cryptography", "通信保密性", _FROM_3, Check.TLS
    ),
    Demand(
        "peer",
        "通信传输",
        "peers verified by cryptography before communication",
        "通信前基于密码技术验证双方",
        _ONLY_4,
        Check.MUTUAL,
    ),
    Demand("hardware", "通信传输", "hardware cryptographic module", "硬件密码模块运算与密钥管理", _ONLY_4),
    Demand("interface", "边界防护", "flows cross by controlled interfaces only", "跨边界流量经受控接口", _ALL),
    Demand("unauthorised", "边界防护", "unauthorised connections found or blocked", "非授权内联外联检查", _FROM_3),
    Demand("deny", "访问控制", "refused unless allowed", "默认拒绝", _ALL, Check.DEFAULT_DENY),
    Demand("session", "访问控制", "decision by session state", "基于会话状态的访问控制", _FROM_2),
    Demand(
        "content", "访问控制", "access by application protocol and content", "基于应用协议和内容的访问控制", _ONLY_3
    ),
    Demand("conversion", "访问控制", "protocol conversion or isolation at the border", "协议转换或隔离", _ONLY_4),
    Demand("intrusion", "入侵防范", "attack detection and alarm", "攻击检测与报警", _FROM_2),
    Demand("malware", "恶意代码防范", "malware detection at key nodes", "关键节点恶意代码检测", _FROM_2),
    Demand(
        "audit", "安全审计", "border audit for each user, protected", "边界安全审计并受保护", _FROM_2, Check.EVIDENCE
    ),
    Demand(
        "audit-subject",
        "安全审计",
        "records name subject, object, result",
        "记录主体客体与结果",
        _ONLY_4,
        Check.EVIDENCE,
    ),
    Demand("audit-process", "安全审计", "audit process protected", "审计进程受保护", _FROM_3),
    Demand(
        "identity",
        "身份鉴别",
        "identification, one factor cryptographic",
        "鉴别至少一种使用密码技术",
        _FROM_3,
        Check.MUTUAL,
    ),
    Demand(
        "status",
        "身份鉴别",
        "identities that were withdrawn are refused in time",
        "及时拒绝已撤销身份",
        _FROM_3,
        Check.STATUS,
    ),
    Demand("privilege", "访问控制", "least privilege, separated administrators", "最小权限与管理权限分离", _FROM_2),
    Demand("granularity", "访问控制", "policy by authorised subject, user and object", "授权主体配置访问策略", _FROM_3),
    Demand(
        "labels",
        "访问控制",
        "labels on important subjects and objects",
        "重要主体客体设置安全标记",
        _ONLY_3,
        Check.LABELS,
    ),
    Demand(
        "mandatory", "访问控制", "labels on all, mandatory access control", "标记与强制访问控制", _ONLY_4, Check.LABELS
    ),
    Demand("input", "入侵防范", "input validated at interfaces", "人机与通信接口输入校验", _FROM_2),
    Demand("stored", "数据保密性", "integrity and confidentiality of stored data", "重要数据存储完整与保密", _FROM_3),
    Demand("repudiation", "数据完整性", "evidence of origin and receipt", "原发与接收抗抵赖", _ONLY_4, Check.EVIDENCE),
    Demand("residual", "剩余信息保护", "residual information cleared", "剩余信息清除", _FROM_2),
    Demand("personal", "个人信息保护", "personal information: minimum, no unauthorised use", "个人信息最小化", _FROM_2),
    Demand("backup", "数据备份恢复", "backup and redundancy", "备份与冗余", _FROM_2),
    Demand("posts", "安全管理中心", "three administrators as posts", "系统、审计、安全管理员", _FROM_2),
    Demand("central", "集中管控", "management zone, secure path, collection", "集中管控", _FROM_3),
)


def demanded_grade(zone: Zone) -> int:
    """Return the grade whose rows a zone is held to; the Internet has none (0)."""
    classified = zone.zone_class.classified_level
    if classified is not None:
        return {Level.L3: 3, Level.L4: 4, Level.L5: 5}[classified]
    return zone.grade or 0


def demands(zone: Zone, facts: GatewayFacts) -> tuple[Finding, ...]:
    """Return every row that the zone's grade demands, and whether a gateway of these facts meets it."""
    grade = min(demanded_grade(zone), _HIGHEST_LISTED_GRADE)
    return tuple(Finding(demand, _outcome(demand, facts)) for demand in DEMANDS if grade in demand.grades)


def _outcome(demand: Demand, facts: GatewayFacts) -> Outcome:
    match demand.check:
        case None:
            return Outcome.NOT_CHECKED
        case Check.TLS:
            met = facts.national_tls_only
        case Check.MUTUAL:
            met = facts.client_certificate_required
        case Check.DEFAULT_DENY:
            met = facts.policy_signed
        case Check.LABELS:
            met = facts.labels_decided
        case Check.EVIDENCE:
            met = facts.evidence_durable
        case Check.STATUS:
            met = facts.revocation_lists and facts.stale_status_refuses
    return Outcome.MET if met else Outcome.NOT_MET


def refuse_unmet(zone: Zone, findings: Sequence[Finding]) -> None:
    """Return if nothing that was checked is unmet; `ZoneGateError(E_GRADE_DEMAND)` names the clauses otherwise."""
    unmet = [finding.demand for finding in findings if finding.outcome is Outcome.NOT_MET]
    if unmet:
        clauses = "; ".join(f"GB/T 22239-2019 {row.clause}: {row.control_zh} {row.control_en}" for row in unmet)
        grade = demanded_grade(zone)
        raise ZoneGateError(Reason.E_GRADE_DEMAND, f"zone {zone.name} (grade {grade}): {clauses}")
