"""[d] Turns documents into a policy: references, MA-04, SH-03, SH-05, XZ-02 and the like, all problems at once.

Pure. Documents only narrow: what a FlowRule or Grant says is still decided under the zone rule (`decide`). Reading
the text of one document is `documents`; version, validity and signatures are the bundle's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from zonegate.identity import Net
from zonegate.policies.compile_resource import Surroundings, compile_resource
from zonegate.policies.compile_rules import compile_grant, compile_rule
from zonegate.policies.compile_zone import check_gateways_once, compile_system, compile_zone
from zonegate.policies.documents import (
    ExpectationDocument,
    FlowRuleDocument,
    GrantDocument,
    NetDocument,
    OrganDocument,
    ResourceDocument,
    SystemDocument,
    ZoneDocument,
    read_documents,
)
from zonegate.policies.findings import Findings
from zonegate.policies.model import Organ, Policy, Resource, make_policy
from zonegate.policies.selftest import Expectation

YAML_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy and the expectations that it must meet before it may serve."""

    policy: Policy
    expectations: tuple[Expectation, ...]


def compile_documents(
    files: Mapping[str, bytes],
    *,
    version: int,
    not_before: datetime,
    not_after: datetime,
    digest: str = "",
) -> Compiled:
    """Return the policy in `files` (name → content: YAML documents, and the descriptors that they name).

    `ProblemsError` lists everything that is wrong, with file and line; its reason is E_DOCUMENT, or E_LABEL_KIND
    where nothing else is wrong than a zone with the wrong kind of grade.
    """
    texts = {name: raw for name, raw in files.items() if name.endswith(YAML_SUFFIXES)}
    attachments = {name: raw for name, raw in files.items() if name not in texts}
    findings = Findings(read_documents(texts))
    net = _net(findings)
    organs = findings.compile_each(OrganDocument, lambda d, _: Organ(d.code, d.title))
    zones = findings.compile_each(ZoneDocument, lambda d, at: compile_zone(findings, d, at, net))
    check_gateways_once(findings)
    systems = findings.compile_each(SystemDocument, lambda d, at: compile_system(findings, d, at, net, zones))
    around = Surroundings(net, systems, zones, attachments)
    resources = findings.compile_each(ResourceDocument, lambda d, at: compile_resource(findings, d, at, around))
    _check_attachments(findings, attachments)
    offered: dict[str, list[Resource]] = {}
    for resource in resources.values():
        offered.setdefault(resource.provider, []).append(resource)
    rules = findings.compile_each(
        FlowRuleDocument,
        lambda d, at: compile_rule(findings, d, at, zones=zones, systems=systems, offered=offered, resources=resources),
    )
    grants = findings.compile_each(GrantDocument, lambda d, at: compile_grant(findings, d, at, resources=resources))
    expectations = findings.compile_each(ExpectationDocument, lambda d, _: _expectation(d, not_before))
    findings.raise_if_any()
    policy = make_policy(
        net=net,
        version=version,
        not_before=not_before,
        not_after=not_after,
        digest=digest,
        organs=organs.values(),
        zones=zones.values(),
        systems=systems.values(),
        resources=resources.values(),
        flow_rules=rules.values(),
        grants=grants.values(),
    )
    return Compiled(policy, tuple(expectations.values()))


def _net(findings: Findings) -> Net:
    found = list(findings.documents(NetDocument))
    for _, located in found[1:]:
        findings.add(located, "a bundle has exactly one Net document", "kind")
    if found:
        return found[0][0].name
    if not findings.broken("Net"):
        findings.add_general("documents", "Net", "a bundle has exactly one Net document, found none")
    return Net.EXTRA


def _check_attachments(findings: Findings, attachments: Mapping[str, bytes]) -> None:
    named = {document.descriptor for document, _ in findings.documents(ResourceDocument)}
    for name in sorted(attachments):
        if name not in named and not findings.broken("Resource"):
            findings.add_general(name, "", "is no YAML document and no Resource names it")


def _expectation(document: ExpectationDocument, not_before: datetime) -> Expectation:
    return Expectation(
        id=document.id,
        caller=document.caller,
        path=document.path,
        resource=document.resource,
        purpose=document.purpose,
        case=document.case,
        label=document.label,
        at=document.at or not_before,
        decision=document.expect,
        reason=document.reason,
    )
