"""[d] What becomes of a call, as far as it is the same for every call with the same stable metadata.

A plan joins what the caller's metadata says with the policy's decision: the refusal, or the next hop and the constant
part of what is sent there. It is made once and cached under everything it was made from (architecture section 3);
per call only what varies is evaluated: time, rate, status and policy epochs. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.http2.headers import Field, literal
from zonegate.gateway.rate import Rate
from zonegate.policies.decide import CallDecision, CallFacts, decide_call
from zonegate.policies.labels import Label, parse_label
from zonegate.reasons import Area, Reason

if TYPE_CHECKING:
    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.metadata import RequestMetadata
    from zonegate.pki.certificate import Certificate
    from zonegate.policies.model import Policy

OTHER_METADATA_LIMIT_BYTES = 4096
_POST = literal(b":method", b"POST").wire
_HTTPS = literal(b":scheme", b"https").wire
_TE = literal(b"te", b"trailers").wire


class HopRole(StrEnum):
    """Which of a crossing's gateways this one is; `both` when caller and provider share its zone."""

    INGRESS = "ingress"
    EGRESS = "egress"
    BOTH = "both"


class Route(StrEnum):
    """Where an allowed call goes next."""

    PEER = "peer"  # the gateway of the target zone
    PROVIDER = "provider"  # the provider's connector
    EXPORT = "export"  # the carrier towards the other net


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller as this gateway has verified it: by its own certificate, or by its ticket from a peer gateway."""

    uri: str
    fingerprint: str
    serial: str
    valid_until: datetime
    chain: tuple[Certificate, ...]
    ticket: bytes
    ticket_digest: str
    ticket_until: datetime
    peer_uri: str


@dataclass(slots=True)
class Plan:
    """Cached under the stable metadata of a caller's calls. `reason` OK means: forward along `route`."""

    caller: Caller
    metadata: RequestMetadata | None
    decision: CallDecision | None
    reason: Reason
    detail: str
    step: Area
    role: HopRole
    route: Route | None = None
    target: str = ""
    head: bytes = b""
    volatile: frozenset[bytes] = frozenset()
    response_names: frozenset[bytes] = names.GRPC_RESPONSE
    trailer_names: frozenset[bytes] = names.GRPC_TRAILERS
    rate_key: tuple[str, ...] = ()
    rate: Rate | None = None
    stripped: int = 0
    epoch: int = 0
    # Seconds since the epoch: until when a call may begin by this plan, and until when one may go on.
    begin_until: float = 0.0
    valid_until: float = 0.0
    # Outgoing blocks by the incoming block's stable part, initial metadata and trailers apart; bounded by the owner.
    responses: dict[object, bytes] = field(default_factory=dict)
    trailers: dict[object, bytes] = field(default_factory=dict)
    # The bound on a message, and the filters of both directions where messages are inspected; set by the owner.
    inspection: tuple[int, Any, Any] | None = None
    # What the recorder shares between the records of this plan's calls.
    recorded: object = None


def make_plan(
    policy: Policy, block: HeaderBlock, caller: Caller, *, own_zone: str, ingress: bool, now: datetime
) -> Plan:
    """Return the plan for calls of `caller` whose stable metadata is that of `block`."""
    role = HopRole.INGRESS if ingress else HopRole.EGRESS
    try:
        metadata = names.read_request(block)
        declared = parse_label(metadata.label) if metadata.label is not None else None
    except ZoneGateError as error:
        return Plan(caller, None, None, error.reason, error.detail, Area.ADMIT, role)
    decision = decide_call(policy, facts_of(metadata, caller, declared), now=now)
    plan = Plan(caller, metadata, decision, decision.reason, decision.detail, decision.step, role)
    plan.valid_until = decision.valid_until.timestamp()
    plan.begin_until = min(plan.valid_until, caller.ticket_until.timestamp())
    target = "" if decision.target_zone is None else decision.target_zone.name
    if decision.reason is not Reason.OK:
        return plan
    if not ingress and target != own_zone:
        plan.reason, plan.detail = Reason.E_ZONE_IDENTITY, f"this gateway does not guard {target}"
        plan.step = Area.ADMIT
        return plan
    _route(plan, decision, target, own_zone, ingress=ingress)
    _compose(plan, decision, metadata)
    return plan


def facts_of(metadata: RequestMetadata, caller: Caller, declared: Label | None) -> CallFacts:
    """Return what the decision needs to know of a call."""
    return CallFacts(
        caller_uri=caller.uri,
        path=metadata.path,
        resource=metadata.resource,
        purpose=metadata.purpose,
        case=metadata.case,
        declared=declared,
        caller_valid_until=caller.valid_until,
    )


def _route(plan: Plan, decision: CallDecision, target: str, own_zone: str, *, ingress: bool) -> None:
    if decision.imported:
        plan.route, plan.target = Route.EXPORT, target
    elif target == own_zone:
        provider = decision.provider
        plan.route, plan.target = Route.PROVIDER, provider.uri if provider is not None else ""
        if ingress:
            plan.role = HopRole.BOTH
    else:
        plan.route, plan.target = Route.PEER, target


def _compose(plan: Plan, decision: CallDecision, metadata: RequestMetadata) -> None:
    """Set the constant part of the outgoing header block and what may pass besides it."""
    resource = decision.resource
    allowed = frozenset(name.encode() for name in resource.metadata) if resource is not None else frozenset()
    passing, size = [], 0
    for item in metadata.others:
        if item.name in allowed:
            passing.append(item)
            size += len(item.name) + len(item.value)
        elif item.name != b"user-agent":  # every client sends it, and it ends at every hop
            plan.stripped += 1
    if size > OTHER_METADATA_LIMIT_BYTES:
        plan.reason, plan.step = Reason.E_METADATA, Area.ADMIT
        plan.detail = f"the resource's metadata is {size} bytes, at most {OTHER_METADATA_LIMIT_BYTES} are allowed"
        return
    plan.head = b"".join(
        [
            _POST,
            _HTTPS,
            literal(b":path", metadata.path.encode()).wire,
            literal(b":authority", plan.target.removeprefix("spiffe://").replace("/", ".").encode()).wire,
            *(item.wire for item in metadata.protocol),
            *(item.wire for item in _own_fields(plan, metadata)),
            *(item.wire for item in passing),
        ]
    )
    plan.volatile = allowed | {b"grpc-timeout", names.IDEMPOTENCY_KEY}
    plan.response_names = names.GRPC_RESPONSE | allowed
    plan.trailer_names = names.GRPC_TRAILERS | allowed
    if plan.route is Route.PEER:
        # A gateway's word, by which callers tell its refusals from what a provider says: a provider's is dropped.
        plan.trailer_names |= {names.REASON}
    plan.rate_key = (plan.caller.uri, resource.id if resource is not None else "", decision.grant)
    if decision.rate is not None:
        plan.rate = Rate(decision.rate.per_second, decision.rate.burst)


def _own_fields(plan: Plan, metadata: RequestMetadata) -> list[Field]:
    fields = [
        literal(name, names.quoted(text))
        for name, text in (
            (names.RESOURCE, metadata.resource),
            (names.PURPOSE, metadata.purpose),
            (names.CASE, metadata.case),
        )
        if text is not None
    ]
    if metadata.label is not None:
        fields.append(literal(names.LABEL, metadata.label.encode()))
    if metadata.declared_by_connector:
        fields.append(literal(names.DECLARED_BY, b"connector"))
    if plan.route is Route.PROVIDER:
        organ, _, system = plan.caller.uri.rpartition("/")
        fields.append(literal(names.CALLER_ORGAN, organ.rpartition("/")[2].encode()))
        fields.append(literal(names.CALLER_SYSTEM, system.encode()))
    return fields
