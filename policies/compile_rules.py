"""[d] Compiles FlowRules and Grants: what they refer to, and that they only narrow (SH-03, SH-06, XZ-01, XZ-02)."""

from collections.abc import Mapping

from zonegate.identity import parse_identity
from zonegate.policies.documents import FlowRuleDocument, GrantDocument, Located
from zonegate.policies.findings import Findings
from zonegate.policies.labels import Level
from zonegate.policies.model import FlowRule, Grant, Inspection, Rate, Resource, ShareType, System, Zone
from zonegate.policies.zones import zone_rule

# XZ-02: above this grade a message never passes verbatim.
_VERBATIM_GRADE_MAX = 3


def compile_rule(
    findings: Findings,
    document: FlowRuleDocument,
    located: Located,
    *,
    zones: Mapping[str, Zone],
    systems: Mapping[str, System],
    offered: Mapping[str, list[Resource]],
    resources: Mapping[str, Resource],
) -> FlowRule:
    """Return the rule. `offered` holds the resources by provider."""
    findings.refer(located, "Zone", document.source, "from")
    findings.refer(located, "Zone", document.target, "to")
    if document.provider is None:
        for index, name in enumerate(document.resources):
            findings.refer(located, "Resource", name, "resources", index)
        meant = [resources[name] for name in document.resources if name in resources]
    else:
        findings.refer(located, "System", document.provider, "provider")
        meant = offered.get(document.provider, [])
        if not meant and document.provider in systems and not findings.broken("Resource"):
            findings.add(located, "this provider has no resource", "provider")
    source, target = zones.get(document.source), zones.get(document.target)
    if source is not None and target is not None:
        _check_path(findings, located, source, target)
        for resource in meant:
            _check_resource(findings, located, resource, source, target, systems)
    return FlowRule(
        id=document.id,
        source=document.source,
        target=document.target,
        resources=frozenset(resource.id for resource in meant),
        purposes=frozenset(document.purposes),
        max_level=document.max_level,
    )


def _check_path(findings: Findings, located: Located, source: Zone, target: Zone) -> None:
    # Such a rule would never apply; whoever wrote it believes something else.
    if not any(zone_rule(source, target, level).allows for level in Level):
        message = (
            f"no flow leads from {source.zone_class} {source.zone_class.zh} to {target.zone_class} "
            f"{target.zone_class.zh} at any level: a FlowRule cannot allow it"
        )
        findings.add(located, message, "to")


def _check_resource(
    findings: Findings,
    located: Located,
    resource: Resource,
    source: Zone,
    target: Zone,
    systems: Mapping[str, System],
) -> None:
    provider = systems.get(resource.provider)
    if provider is not None and provider.zone != target.name:
        findings.add(located, f"resource {resource.id} is offered in zone {provider.zone}", "to")
    for zone in (source, target):
        high = not zone.foreign and zone.grade is not None and zone.grade > _VERBATIM_GRADE_MAX
        if high and resource.inspection is Inspection.NONE:
            message = (
                f"zone {zone.name} has grade {zone.grade}: resource {resource.id} needs inspection: schema (XZ-02)"
            )
            findings.add(located, message, "from" if zone is source else "to")


def compile_grant(
    findings: Findings,
    document: GrantDocument,
    located: Located,
    *,
    resources: Mapping[str, Resource],
) -> Grant:
    """Return the grant."""
    if document.organ is not None:
        findings.refer(located, "Organ", document.organ, "organ")
    if document.system is not None:
        findings.refer(located, "System", document.system, "system")
    findings.refer(located, "Resource", document.resource, "resource")
    resource = resources.get(document.resource)
    if resource is not None:
        _check_grant(findings, document, located, resource)
    rate = document.rate
    return Grant(
        id=document.id,
        organ=document.organ or parse_identity(document.system or "").organ,
        resource=document.resource,
        not_before=document.not_before,
        not_after=document.not_after,
        system=document.system,
        methods=frozenset(document.methods),
        purposes=frozenset(document.purposes),
        rate=None if rate is None else Rate(rate.per_second, rate.burst),
    )


def _check_grant(findings: Findings, document: GrantDocument, located: Located, resource: Resource) -> None:
    if resource.share_type is not ShareType.CONDITIONAL:
        message = f"resource {resource.id} is {resource.share_type.zh}: only 有条件共享 is granted (SH-03)"
        findings.add(located, message, "resource")
    for index, path in enumerate(document.methods):
        if path not in resource.methods:
            findings.add(located, f"resource {resource.id} has no such method", "methods", index)
    for index, purpose in enumerate(document.purposes):
        if resource.purposes and purpose not in resource.purposes:
            findings.add(located, f"resource {resource.id} does not list this purpose (SH-06)", "purposes", index)
