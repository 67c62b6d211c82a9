"""[d] Decides again, under the importer's own bundle, whether a verified object may come in.

Pure. The object says what its sender's net decided; here nothing of that is taken over but the facts. The sender is
believed as far as the verifier has verified it: that this gateway exported it for this caller. Zone, clearance,
catalogue, flow rules and grants are this net's own (architecture section 3, "Between the nets").
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.header import ObjectHeader
from zonegate.policies.decide import CallDecision, CallFacts, decide_call
from zonegate.policies.flows import refused_flow
from zonegate.policies.labels import Label, join, parse_label
from zonegate.policies.model import Method, Policy, Resource
from zonegate.reasons import Area, Reason


@dataclass(frozen=True, slots=True)
class Place:
    """Who this importer is and which zone it serves."""

    uri: str
    zone: str


class MessageFilters(Protocol):
    """Gives the filter of a method's request messages; raises E_SCHEMA where its resource has no descriptor."""

    def request_filter(self, resource: Resource, method: Method) -> "MessageFilter":
        """Return the filter."""
        ...


class MessageFilter(Protocol):
    """Judges a whole message and returns the bytes that may go on."""

    def check(self, message: bytes) -> bytes:
        """Return the message encoded anew, or raise E_SCHEMA or E_MESSAGE_SIZE."""
        ...


def decide_import(policy: Policy, header: ObjectHeader, place: Place, *, now: datetime) -> CallDecision:
    """Return the decision for an object at `now`: it may be delivered if `imported` is true."""
    facts = CallFacts(
        caller_uri=header.caller,
        path=header.path,
        resource=header.resource,
        purpose=header.purpose or None,
        case=header.case or None,
        declared=_label(policy, header),
    )
    decision = decide_call(policy, facts, now=now)
    refusal = _refusal(policy, header, decision, place)
    if refusal is not None:
        return _refused(decision, *refusal)
    if decision.allowed and not decision.imported:
        return _refused(decision, Reason.E_OBJECT_ONLY, "method: is not one_way here, and nothing else is imported")
    return decision


def _label(policy: Policy, header: ObjectHeader) -> Label:
    # What the sender's net decided counts as declared. Where this catalogue's label is higher it is joined: the two
    # catalogues differ, which is no lie of the caller's, and the higher of both counts.
    label = parse_label(header.label)
    resource = policy.resources.get(header.resource)
    method = None if resource is None else resource.methods.get(header.path)
    if method is None or method.request_label is None:
        return label
    return join(label, method.request_label)


def _refusal(policy: Policy, header: ObjectHeader, decision: CallDecision, place: Place) -> tuple[Reason, str] | None:
    """Return what is wrong with the object's way, before the decision's own refusal counts."""
    if header.target_net is not policy.net:
        return Reason.E_IMPORT_TARGET, f"target_net: is {header.target_net}, this importer stands in {policy.net}"
    if header.importer != place.uri:
        return Reason.E_IMPORT_TARGET, f"importer: is {header.importer}, this one is {place.uri}"
    caller, source, target, provider = decision.caller, decision.source_zone, decision.target_zone, decision.provider
    if caller is None or source is None:
        return None
    if not caller.foreign or not source.foreign or source.name != header.source_zone:
        detail = f"caller: stands in {source.name} by this policy, the object comes from {header.source_zone}"
        return Reason.E_ZONE_IDENTITY, detail
    if header.gateway not in source.gateways:
        detail = f"gateway: {header.gateway} is not one that this policy names for {source.name}"
        return Reason.E_PEER_IDENTITY, detail
    if target is None or provider is None:
        return None
    if provider.uri != header.provider:
        return Reason.E_IMPORT_TARGET, f"provider: is {header.provider}, this policy's is {provider.uri}"
    if target.name != place.zone or header.target_zone != place.zone:
        detail = (
            f"target_zone: is {header.target_zone}, by this policy {target.name}; this importer serves {place.zone}"
        )
        return Reason.E_IMPORT_TARGET, detail
    return None


def _refused(decision: CallDecision, reason: Reason, detail: str) -> CallDecision:
    request = refused_flow(decision.request, reason)
    return replace(decision, reason=reason, detail=detail, step=Area.IMPORT, request=request)


def refused_content(decision: CallDecision, error: ZoneGateError) -> CallDecision:
    """Return the decision of an object whose messages did not pass inspection."""
    request = refused_flow(decision.request, error.reason)
    return replace(decision, reason=error.reason, detail=error.detail, step=Area.INSPECTION, request=request)


def inspect(decision: CallDecision, messages: tuple[bytes, ...], filters: MessageFilters) -> tuple[bytes, ...]:
    """Return the messages decoded by this net's own descriptor and encoded anew; E_SCHEMA or E_MESSAGE_SIZE."""
    resource, method = decision.resource, decision.method
    if resource is None or method is None:
        raise ZoneGateError(Reason.E_INTERNAL, "inspection: the decision names no method")
    if not method.client_streaming and len(messages) != 1:
        raise ZoneGateError(Reason.E_SCHEMA, f"messages: {len(messages)}, the method takes exactly one")
    schema = filters.request_filter(resource, method)
    return tuple(schema.check(message) for message in messages)
