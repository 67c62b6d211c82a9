"""[d] Zone classes, ceilings and the rule between two zones: 7 × 7 × 6 = 294 decisions (standards.md D1, D3, D4).

Pure. The rule is law turned to code: no document, switch or emergency can change a cell (XZ-13). Zones are
instances of a class: only a zone with itself is `within`; two zones of one class exchange guarded. FlowRules,
clearances and share rules come after and only narrow (`decide`).
"""

from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from zonegate.identity import Net
from zonegate.policies.labels import Level

MLPS_GRADES = range(1, 6)


class ZoneClass(StrEnum):
    """The seven classes of D1; the value is how documents write them."""

    INTERNET = "internet"
    EXT_INTERNET = "ext.internet"
    EXT_SHARED = "ext.shared"
    EXT_DEDICATED = "ext.dedicated"
    INT_L3 = "int.l3"
    INT_L4 = "int.l4"
    INT_L5 = "int.l5"

    @property
    def code(self) -> str:
        """The code of D1: NET, E-I, E-P, E-D, I-3, I-4, I-5."""
        return _CLASS_TEXT[self][0]

    @property
    def zh(self) -> str:
        """The Chinese name."""
        return _CLASS_TEXT[self][1]

    @property
    def en(self) -> str:
        """The English name."""
        return _CLASS_TEXT[self][2]

    @property
    def net(self) -> Net | None:
        """The net that the class belongs to; the Internet belongs to none."""
        return _CLASS_NET[self]

    @property
    def classified_level(self) -> Level | None:
        """The 分保 level of a class of the intranet, else None."""
        return _CLASSIFIED.get(self)


class Decision(StrEnum):
    """The decision words beside the letters of D3."""

    WITHIN = "within"
    GUARDED = "guarded"
    REVIEW = "review"
    IMPORT = "import"
    RELEASE = "release"
    MEDIA = "media"
    OPEN = "open"
    SUBJECT = "subject"
    DENY = "deny"
    QUARANTINE = "quarantine"
    NONE = "none"

    @property
    def letter(self) -> str:
        """The letter of D3."""
        return _DECISION_TEXT[self][0]

    @property
    def zh(self) -> str:
        """The Chinese word."""
        return _DECISION_TEXT[self][1]

    @property
    def allows(self) -> bool:
        """Whether information may move at all, by whichever path."""
        return self not in _REFUSING


class ZonePoint(Protocol):
    """What the rule needs to know of a zone instance."""

    @property
    def name(self) -> str: ...  # noqa: D102 - the attribute's name says it

    @property
    def zone_class(self) -> ZoneClass: ...  # noqa: D102

    @property
    def ceiling(self) -> Level: ...  # noqa: D102


_NET, _EI, _EP, _ED, _I3, _I4, _I5 = ZoneClass

_CLASS_TEXT = {
    _NET: ("NET", "互联网", "Internet"),
    _EI: ("E-I", "外网·互联网区", "extranet, Internet zone"),
    _EP: ("E-P", "外网·公用网络区", "extranet, shared zone"),
    _ED: ("E-D", "外网·专用网络区", "extranet, dedicated zone"),
    _I3: ("I-3", "内网·秘密级", "intranet, 秘密 secret"),
    _I4: ("I-4", "内网·机密级", "intranet, 机密 highly secret"),
    _I5: ("I-5", "内网·绝密级", "intranet, 绝密 top secret"),
}
_CLASS_NET = {
    _NET: None,
    _EI: Net.EXTRA,
    _EP: Net.EXTRA,
    _ED: Net.EXTRA,
    _I3: Net.INTRA,
    _I4: Net.INTRA,
    _I5: Net.INTRA,
}
_CLASSIFIED = {_I3: Level.L3, _I4: Level.L4, _I5: Level.L5}

_DECISION_TEXT = {
    Decision.WITHIN: ("A", "区内"),
    Decision.GUARDED: ("G", "受控交换"),
    Decision.REVIEW: ("R", "人工复核"),
    Decision.IMPORT: ("I", "单向导入"),
    Decision.RELEASE: ("D", "审批导出"),
    Decision.MEDIA: ("M", "介质"),
    Decision.OPEN: ("O", "公开发布"),
    Decision.SUBJECT: ("S", "本人查询"),
    Decision.DENY: ("X", "拒绝"),
    Decision.QUARANTINE: ("Q", "封存"),
    Decision.NONE: ("-", "非本网流量"),
}
_REFUSING = frozenset({Decision.DENY, Decision.QUARANTINE, Decision.NONE})

# c(g) of D1: never above 工作秘密 in EXTRA, whatever the grade (保密法 art. 31(3)).
_GRADE_CEILING = {1: Level.L0, 2: Level.L1, 3: Level.L2, 4: Level.L2, 5: Level.L2}

# The path that leads from one class to another; a pair that is absent has none. Levels narrow it below.
_PATHS = MappingProxyType(
    {
        # the unified Internet egress (seed A15): the Internet touches ext.internet only
        (_NET, _EI): Decision.GUARDED,
        (_EI, _NET): Decision.OPEN,
        # inside EXTRA, neighbour to neighbour: no zone is skipped
        (_EI, _EP): Decision.GUARDED,
        (_EP, _EI): Decision.GUARDED,
        (_EP, _ED): Decision.GUARDED,
        (_ED, _EP): Decision.GUARDED,
        # EXTRA to INTRA: a simplex link; into 绝密 only by media (XZ-03)
        (_EP, _I3): Decision.IMPORT,
        (_EP, _I4): Decision.IMPORT,
        (_EP, _I5): Decision.MEDIA,
        (_ED, _I3): Decision.IMPORT,
        (_ED, _I4): Decision.IMPORT,
        (_ED, _I5): Decision.MEDIA,
        # INTRA to EXTRA: one approved object at a time (XZ-05)
        (_I3, _EP): Decision.RELEASE,
        (_I3, _ED): Decision.RELEASE,
        (_I4, _EP): Decision.RELEASE,
        (_I4, _ED): Decision.RELEASE,
        # inside INTRA: up is guarded, down needs a person
        (_I3, _I4): Decision.GUARDED,
        (_I3, _I5): Decision.MEDIA,
        (_I4, _I5): Decision.MEDIA,
        (_I4, _I3): Decision.REVIEW,
        (_I5, _I3): Decision.RELEASE,
        (_I5, _I4): Decision.RELEASE,
    }
)


def ceiling(zone_class: ZoneClass, grade: int | None) -> Level:
    """Return the highest level that a zone may hold; `ValueError` where class and 等保 grade do not fit (MA-04)."""
    if zone_class is ZoneClass.INTERNET or zone_class in _CLASSIFIED:
        if grade is not None:
            msg = f"a zone of class {zone_class} {zone_class.zh} has no 等保 grade, found {grade}"
            raise ValueError(msg)
        return _CLASSIFIED.get(zone_class, Level.L0)
    if grade is None or grade not in MLPS_GRADES:
        msg = f"a zone of class {zone_class} {zone_class.zh} needs a 等保 grade of 1 to 5, found {grade}"
        raise ValueError(msg)
    by_grade = _GRADE_CEILING[grade]
    return min(Level.L1, by_grade) if zone_class is ZoneClass.EXT_INTERNET else by_grade


def path_between(source: ZoneClass, target: ZoneClass) -> Decision | None:
    """Return how information may go from one class to another at the lowest level, or None where no path exists."""
    if source is target and source is not ZoneClass.INTERNET:
        return Decision.GUARDED
    return _PATHS.get((source, target))


def zone_rule(source: ZonePoint, target: ZonePoint, level: Level) -> Decision:
    """Return the decision for a flow of effective `level` between two zone instances (D4 as refined)."""
    if source.name == target.name:
        return class_rule(source.zone_class, source.ceiling, target.zone_class, target.ceiling, level)
    if source.zone_class is target.zone_class and source.zone_class is not ZoneClass.INTERNET:
        if level > source.ceiling:
            return Decision.QUARANTINE
        return Decision.GUARDED if level <= target.ceiling else Decision.DENY
    return class_rule(source.zone_class, source.ceiling, target.zone_class, target.ceiling, level)


def class_rule(
    source: ZoneClass, source_ceiling: Level, target: ZoneClass, target_ceiling: Level, level: Level
) -> Decision:
    """Return the cell of D4 for two classes with these ceilings; one class with itself means one and the same zone."""
    from_internet = source is ZoneClass.INTERNET
    if from_internet and target is ZoneClass.INTERNET:
        return Decision.NONE
    # What comes from the Internet is labelled on entry, so 内部 is no spill there; a secrecy mark is an incident.
    if level > (Level.L1 if from_internet else source_ceiling):
        return Decision.QUARANTINE
    if source is target:
        return Decision.WITHIN
    path = _PATHS.get((source, target))
    if path is None:
        return Decision.DENY
    if target is ZoneClass.INTERNET:
        return path if level is Level.L0 else Decision.SUBJECT
    return path if level <= target_ceiling else Decision.DENY
