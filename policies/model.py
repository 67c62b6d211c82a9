"""[d] The compiled policy: what `decide` reads. Values only, immutable, indexed for one look-up a step.

Documents become these types in `compile`; nothing here checks that they fit together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from zonegate.identity import Net
from zonegate.policies.labels import Label, Level
from zonegate.policies.zones import ZoneClass

DEFAULT_MESSAGE_BYTES = 4 << 20


class ShareType(StrEnum):
    """The share types of Decree 809 (SH-03)."""

    UNCONDITIONAL = "unconditional"
    CONDITIONAL = "conditional"
    NONE = "none"

    @property
    def zh(self) -> str:
        """The word of the catalogue."""
        return _SHARE_ZH[self]


_SHARE_ZH = {
    ShareType.UNCONDITIONAL: "无条件共享",
    ShareType.CONDITIONAL: "有条件共享",
    ShareType.NONE: "不予共享",
}


class Inspection(StrEnum):
    """What is done to a message on its way: nothing, or decode by the descriptor and encode anew (XZ-02)."""

    NONE = "none"
    SCHEMA = "schema"


@dataclass(frozen=True, slots=True)
class Organ:
    """A department, by its unified social credit code."""

    code: str
    title: str


@dataclass(frozen=True, slots=True)
class Importer:
    """The importer of a foreign zone: objects are sealed to its pinned SM2 encryption key (SPKI, DER)."""

    uri: str
    encryption_key: bytes


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone of one organ; `foreign` marks the stub of a zone of the other net."""

    name: str
    zone_class: ZoneClass
    organ: str
    grade: int | None
    ceiling: Level
    gateways: tuple[str, ...] = ()
    foreign: bool = False
    approved: bool = True
    importer: Importer | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class System:
    """A department's system: where it stands and what it may see."""

    uri: str
    organ: str
    zone: str
    clearance: Level
    categories: frozenset[str] = frozenset()
    foreign: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True)
class Method:
    """One gRPC method of a resource with the catalogue's labels; a missing label fails high."""

    path: str
    request_label: Label | None = None
    response_label: Label | None = None
    one_way: bool = False
    request_type: str = ""
    response_type: str = ""
    client_streaming: bool = False
    server_streaming: bool = False


@dataclass(frozen=True, slots=True)
class Resource:
    """An entry of the catalogue: one service of one provider, its share type and what it demands of a call."""

    id: str
    provider: str
    methods: Mapping[str, Method]
    share_type: ShareType
    legal_basis: str = ""
    purposes: frozenset[str] = frozenset()
    case_required: bool = False
    metadata: frozenset[str] = frozenset()
    inspection: Inspection = Inspection.NONE
    descriptor_set: bytes | None = None
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    title: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: calls a second in the long run, calls at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class FlowRule:
    """Allows calls of some resources from one zone instance to another, within what the zone rule allows."""

    id: str
    source: str
    target: str
    resources: frozenset[str]
    purposes: frozenset[str] = frozenset()
    max_level: Level | None = None


@dataclass(frozen=True, slots=True)
class Grant:
    """An approved application (SH-04): who may call what, for which purposes, in which period, how fast.

    Without `system` every system of the organ holds it; empty `methods` or `purposes` mean all of the resource's.
    """

    id: str
    organ: str
    resource: str
    not_before: datetime
    not_after: datetime
    system: str | None = None
    methods: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """One net's policy in force: documents compiled, with version, validity and the bundle's SM3 digest (hex)."""

    net: Net
    version: int
    not_before: datetime
    not_after: datetime
    digest: str
    organs: Mapping[str, Organ]
    zones: Mapping[str, Zone]
    systems: Mapping[str, System]
    resources: Mapping[str, Resource]
    flow_rules: Mapping[str, FlowRule]
    grants: Mapping[str, Grant]
    # Indexes: method path -> the resources that offer it; (source, target, resource) -> rules;
    # (resource, organ code or system URI) -> grants.
    offers: Mapping[str, tuple[Resource, ...]]
    rules_by_flow: Mapping[tuple[str, str, str], tuple[FlowRule, ...]]
    grants_by_holder: Mapping[tuple[str, str], tuple[Grant, ...]]


def make_policy(
    *,
    net: Net,
    version: int,
    not_before: datetime,
    not_after: datetime,
    digest: str = "",
    organs: Iterable[Organ] = (),
    zones: Iterable[Zone] = (),
    systems: Iterable[System] = (),
    resources: Iterable[Resource] = (),
    flow_rules: Iterable[FlowRule] = (),
    grants: Iterable[Grant] = (),
) -> Policy:
    """Return the policy of these parts with its indexes; parts are ordered by id, so that input order is no input."""
    catalogue = sorted(resources, key=lambda resource: resource.id)
    rules = sorted(flow_rules, key=lambda rule: rule.id)
    granted = sorted(grants, key=lambda grant: grant.id)
    offers: dict[str, list[Resource]] = {}
    for resource in catalogue:
        for path in resource.methods:
            offers.setdefault(path, []).append(resource)
    rules_by_flow: dict[tuple[str, str, str], list[FlowRule]] = {}
    for rule in rules:
        for resource_id in rule.resources:
            rules_by_flow.setdefault((rule.source, rule.target, resource_id), []).append(rule)
    grants_by_holder: dict[tuple[str, str], list[Grant]] = {}
    for grant in granted:
        grants_by_holder.setdefault((grant.resource, grant.system or grant.organ), []).append(grant)
    return Policy(
        net=net,
        version=version,
        not_before=not_before,
        not_after=not_after,
        digest=digest,
        organs=MappingProxyType({organ.code: organ for organ in organs}),
        zones=MappingProxyType({zone.name: zone for zone in zones}),
        systems=MappingProxyType({system.uri: system for system in systems}),
        resources=MappingProxyType({resource.id: resource for resource in catalogue}),
        flow_rules=MappingProxyType({rule.id: rule for rule in rules}),
        grants=MappingProxyType({grant.id: grant for grant in granted}),
        offers=MappingProxyType({path: tuple(found) for path, found in offers.items()}),
        rules_by_flow=MappingProxyType({key: tuple(found) for key, found in rules_by_flow.items()}),
        grants_by_holder=MappingProxyType({key: tuple(found) for key, found in grants_by_holder.items()}),
    )
