"""[d] Decides a call: both of its flows, then the share overlay, in one fixed order (architecture section 3).

Pure and total: facts and time in, a `CallDecision` out for any facts, never an exception. Inspection, rate, evidence
and forwarding are the gateway's; certificates have been checked before. A change of policy needs a new call of this.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from zonegate.policies.flows import (
    FlowDecision,
    FlowLabel,
    LabelSource,
    Refusal,
    catalogue_label,
    decide_flow,
    dominance_refusal,
    flow_refusal,
    no_flow,
    raised_label,
    refused_flow,
    undecided,
)
from zonegate.policies.labels import Label, Level
from zonegate.policies.model import FlowRule, Method, Policy, Rate, Resource, System, Zone
from zonegate.policies.share import Shared, decide_share
from zonegate.policies.zones import Decision
from zonegate.reasons import REGISTRY, Area, Reason

__all__ = ["CallDecision", "CallFacts", "FlowDecision", "LabelSource", "decide_call", "decide_response"]


@dataclass(frozen=True, slots=True)
class CallFacts:
    """All that is read of a call: who calls what, and what was declared. `caller_valid_until` ends the certificate."""

    caller_uri: str
    path: str
    resource: str | None = None
    purpose: str | None = None
    case: str | None = None
    declared: Label | None = None
    caller_valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class CallDecision:
    """The decision of a call. `valid_until` is when any input that was read may count differently."""

    reason: Reason
    detail: str
    step: Area
    request: FlowDecision
    response: FlowDecision
    valid_until: datetime
    caller: System | None = None
    provider: System | None = None
    source_zone: Zone | None = None
    target_zone: Zone | None = None
    resource: Resource | None = None
    method: Method | None = None
    flow_rule: str = ""
    grant: str = ""
    rate: Rate | None = None

    @property
    def allowed(self) -> bool:
        """Whether the call may go on."""
        return self.reason is Reason.OK

    @property
    def imported(self) -> bool:
        """Whether the call is allowed as a one-way import: the response flow does not exist."""
        return self.allowed and self.request.decision is Decision.IMPORT

    @property
    def decision(self) -> Decision:
        """The one word for the call in metric and evidence: a refused call is denied, or quarantined on a spill."""
        if self.allowed:
            return self.request.decision
        return Decision.QUARANTINE if self.reason is Reason.E_SPILL else Decision.DENY


@dataclass(frozen=True, slots=True)
class _Route:
    """The parties of a call, found in the policy."""

    caller: System
    provider: System
    source: Zone
    target: Zone
    resource: Resource
    method: Method


def decide_call(policy: Policy, facts: CallFacts, *, now: datetime) -> CallDecision:
    """Return the decision for `facts` at `now`: refused unless every step lets the call pass."""
    ends = _earliest(policy.not_after, facts.caller_valid_until)
    refusal = _out_of_force(policy, facts, now)
    if refusal is not None:
        return _refused_early(refusal, _earliest(ends, refusal.ends))
    caller = policy.systems.get(facts.caller_uri)
    source = None if caller is None else policy.zones.get(caller.zone)
    if caller is None or source is None:
        detail = f"caller: {facts.caller_uri[:128]!r} is not registered in the policy in force"
        return _refused_early(Refusal(Reason.E_IDENTITY, detail), ends)
    route = _find_route(policy, facts, caller, source)
    if isinstance(route, Refusal):
        return _refused_early(route, ends, caller, source)
    return _decide_route(policy, facts, route, ends=ends, now=now)


def _out_of_force(policy: Policy, facts: CallFacts, now: datetime) -> Refusal | None:
    if not policy.not_before <= now < policy.not_after:
        detail = (
            f"policy: version {policy.version} is in force from {policy.not_before.isoformat()} "
            f"to {policy.not_after.isoformat()}"
        )
        return Refusal(Reason.E_BUNDLE_EXPIRED, detail, policy.not_before if now < policy.not_before else None)
    # A long-lived stream outlasts the handshake that admitted it.
    if facts.caller_valid_until is not None and now >= facts.caller_valid_until:
        return Refusal(Reason.E_CERT_EXPIRED, f"caller: certificate valid until {facts.caller_valid_until.isoformat()}")
    return None


def _find_route(policy: Policy, facts: CallFacts, caller: System, source: Zone) -> _Route | Refusal:
    offers = policy.offers.get(facts.path, ())
    if facts.resource is not None:
        offers = tuple(resource for resource in offers if resource.id == facts.resource)
    if not offers:
        named = "" if facts.resource is None else f" of resource {facts.resource[:64]!r}"
        return Refusal(Reason.E_NOT_CATALOGUED, f"method: {facts.path[:200]!r}{named} is not in the catalogue")
    if len(offers) > 1:
        ids = ", ".join(resource.id for resource in offers[:8])
        detail = f"zg-resource: missing, {facts.path[:200]!r} is offered by several resources: {ids}"
        return Refusal(Reason.E_NOT_CATALOGUED, detail)
    resource = offers[0]
    provider = policy.systems.get(resource.provider)
    target = None if provider is None else policy.zones.get(provider.zone)
    if provider is None or target is None:
        return Refusal(Reason.E_NOT_CATALOGUED, f"resource {resource.id}: its provider is not in the policy")
    return _Route(caller, provider, source, target, resource, resource.methods[facts.path])


def _decide_route(policy: Policy, facts: CallFacts, route: _Route, *, ends: datetime, now: datetime) -> CallDecision:
    source, target, method = route.source, route.target, route.method
    request_label: FlowLabel | Refusal
    if facts.declared is None:
        request_label = catalogue_label(method.request_label, source, now=now)
    else:
        request_label = raised_label(method.request_label, facts.declared, field="request", now=now)
    if isinstance(request_label, Refusal):
        return _refused(route, request_label, _earliest(ends, request_label.ends))
    request = decide_flow(source, target, request_label)
    ends = _earliest(ends, request_label.ends)
    # Only the request of a one-way call exists between the nets; inside a net a one-way method is called as any other.
    if method.one_way and request.decision is Decision.IMPORT:
        request = replace(request, reason=Reason.OK)
        response = no_flow(target.name, source.name)
    else:
        response_label = catalogue_label(method.response_label, target, now=now)
        response = decide_flow(target, source, response_label)
        ends = _earliest(ends, response_label.ends)
    refusal = _mandatory(route, request, response)
    if refusal is not None:
        return _refused(route, refusal, ends, request, response)
    rule = _flow_rule(policy, facts, route, max(request.level, response.level))
    if isinstance(rule, Refusal):
        return _refused(route, rule, ends, request, response)
    for flow, field in ((request, "request"), (response, "response")):
        refusal = dominance_refusal(flow, route.caller, route.provider, field=field)
        if refusal is not None:
            denied = refused_flow(flow, refusal.reason)
            flows = (denied, response) if flow is request else (request, denied)
            return _refused(route, refusal, ends, *flows, rule=rule.id)
    shared = decide_share(
        policy, route.resource, route.caller, path=method.path, purpose=facts.purpose, case=facts.case, now=now
    )
    return _decided(route, request, response, rule, shared, _earliest(ends, shared.ends))


def _mandatory(route: _Route, request: FlowDecision, response: FlowDecision) -> Refusal | None:
    """Steps 3 and 4 for both flows: a spill of either flow comes first, then the zone rule, request before response."""
    source, target = route.source, route.target
    flows = ((request, source, target, "request"), (response, target, source, "response"))
    for flow, sender, receiver, field in flows:
        if flow.reason is Reason.E_SPILL:
            return flow_refusal(flow, sender, receiver, field=field)
    for zone in (source, target):
        if not zone.approved:
            return Refusal(Reason.E_ZONE_RULE, f"zone {zone.name}: is not approved for operation")
    for flow, sender, receiver, field in flows:
        refusal = flow_refusal(flow, sender, receiver, field=field)
        if refusal is not None:
            return refusal
    return None


def _flow_rule(policy: Policy, facts: CallFacts, route: _Route, level: Level) -> FlowRule | Refusal:
    """The policy's own part of step 4: it narrows what the zone rule allows, and without it nothing passes (XZ-01)."""
    source, target, resource = route.source.name, route.target.name, route.resource.id
    between = f"resource {resource} from {source} to {target}"
    rules = policy.rules_by_flow.get((source, target, resource), ())
    if not rules:
        return Refusal(Reason.E_NO_FLOW_RULE, f"{between}: no FlowRule names it")
    detail = ""
    for rule in rules:
        if rule.max_level is not None and level > rule.max_level:
            detail = f"{between}: FlowRule {rule.id} allows up to {rule.max_level.text}, found {level.text}"
        elif rule.purposes and facts.purpose not in rule.purposes:
            detail = f"{between}: FlowRule {rule.id} allows other purposes only: {', '.join(sorted(rule.purposes))}"
        else:
            return rule
    return Refusal(Reason.E_NO_FLOW_RULE, detail)


def _earliest(first: datetime, second: datetime | None) -> datetime:
    return first if second is None or first <= second else second


def _refused_early(
    refusal: Refusal, ends: datetime, caller: System | None = None, source: Zone | None = None
) -> CallDecision:
    return CallDecision(
        reason=refusal.reason,
        detail=refusal.detail,
        step=REGISTRY[refusal.reason].area,
        request=undecided(refusal.reason, "" if source is None else source.name),
        response=undecided(refusal.reason),
        valid_until=ends,
        caller=caller,
        source_zone=source,
    )


def _refused(
    route: _Route,
    refusal: Refusal,
    ends: datetime,
    request: FlowDecision | None = None,
    response: FlowDecision | None = None,
    rule: str = "",
) -> CallDecision:
    source, target = route.source.name, route.target.name
    return CallDecision(
        reason=refusal.reason,
        detail=refusal.detail,
        step=REGISTRY[refusal.reason].area,
        request=request or undecided(refusal.reason, source, target),
        response=response or undecided(refusal.reason, target, source),
        valid_until=ends,
        caller=route.caller,
        provider=route.provider,
        source_zone=route.source,
        target_zone=route.target,
        resource=route.resource,
        method=route.method,
        flow_rule=rule,
    )


def _decided(
    route: _Route,
    request: FlowDecision,
    response: FlowDecision,
    rule: FlowRule,
    shared: Shared,
    ends: datetime,
) -> CallDecision:
    if shared.refusal is not None:
        return _refused(route, shared.refusal, ends, request, response, rule=rule.id)
    grant = shared.grant
    return CallDecision(
        reason=Reason.OK,
        detail="",
        step=Area.SHARE,
        request=request,
        response=response,
        valid_until=ends,
        caller=route.caller,
        provider=route.provider,
        source_zone=route.source,
        target_zone=route.target,
        resource=route.resource,
        method=route.method,
        flow_rule=rule.id,
        grant="" if grant is None else grant.id,
        rate=None if grant is None else grant.rate,
    )


def decide_response(policy: Policy, decision: CallDecision, declared: Label, *, now: datetime) -> FlowDecision:
    """Return the response flow anew for a provider's `zg-label`; it passes if its reason is OK.

    A label lower than the catalogue's is E_LABEL_LOWER and the flow keeps the catalogue's level. A decision that
    allowed no response (refused, or an import) yields a flow that is denied.
    """
    source, target = decision.target_zone, decision.source_zone
    caller, provider, method = decision.caller, decision.provider, decision.method
    if not decision.allowed or decision.imported or source is None or target is None:
        return refused_flow(decision.response, Reason.E_OBJECT_ONLY if decision.imported else decision.reason)
    if caller is None or provider is None or method is None:
        return refused_flow(decision.response, Reason.E_INTERNAL)
    label = raised_label(method.response_label, declared, field="response", now=now)
    if isinstance(label, Refusal):
        return refused_flow(decision.response, label.reason)
    flow = decide_flow(source, target, label)
    if flow.reason is not Reason.OK:
        return flow
    rule = policy.flow_rules.get(decision.flow_rule)
    if rule is None or (rule.max_level is not None and flow.level > rule.max_level):
        return refused_flow(flow, Reason.E_NO_FLOW_RULE)
    refusal = dominance_refusal(flow, caller, provider, field="response")
    return flow if refusal is None else refused_flow(flow, refusal.reason)
