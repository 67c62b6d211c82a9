"""[a] Writes the records of crossings and counts them, so that counters and evidence say the same.

A decision is counted when its record is durable, under the words the record has; a decision that could not be
recorded is refused with E_EVIDENCE and counted under that reason. What is the same for all calls of a plan is made
once and shared by their records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence import records
from zonegate.gateway.evidence.counts import decision_key
from zonegate.gateway.metadata import read_idempotency_key, read_trace
from zonegate.gateway.plan import HopRole, Plan, Route
from zonegate.reasons import REGISTRY, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.clock import Clock
    from zonegate.gateway.evidence.log import EvidenceLog
    from zonegate.gateway.relay.call import Call
    from zonegate.monitoring.metrics import GatewayMetrics
    from zonegate.policies.flows import FlowDecision

_HOPS = {HopRole.INGRESS: records.Hop.INGRESS, HopRole.EGRESS: records.Hop.EGRESS, HopRole.BOTH: records.Hop.SINGLE}
NO_ZONE = "-"


class _Shared:
    """The parts of a plan's records that do not change from call to call."""

    __slots__ = ("basis", "caller", "count_key", "declared_by", "hop", "label", "verdicts")

    def __init__(self, plan: Plan, basis: records.Basis) -> None:
        self.basis = basis
        caller = plan.caller
        self.caller = records.Caller(
            uri=caller.uri,
            organ=caller.uri.split("/")[3] if caller.uri.count("/") == 4 else "",
            certificate=caller.fingerprint,
            serial=caller.serial,
            ticket=caller.ticket_digest,
            peer=caller.peer_uri,
        )
        self.hop = records.Hop.EXPORT if plan.route is Route.EXPORT else _HOPS[plan.role]
        metadata = plan.metadata
        self.label = (metadata.label or "") if metadata is not None else ""
        by_connector = metadata is not None and metadata.declared_by_connector
        self.declared_by = records.DeclaredBy.CONNECTOR if by_connector else records.DeclaredBy.SYSTEM
        self.verdicts: dict[Reason, records.Verdict] = {}


def _flow(flow: FlowDecision) -> records.Flow:
    return records.Flow(
        decision=flow.decision.value,
        reason=flow.reason,
        source=flow.source,
        target=flow.target,
        level=int(flow.level),
        categories=tuple(sorted(flow.categories)),
        label_source=flow.label_source.value,
    )


def _verdict(plan: Plan, reason: Reason) -> records.Verdict:
    decision = plan.decision
    metadata = plan.metadata
    path = metadata.path if metadata is not None else ""
    if decision is None:
        request = records.Flow(decision="deny", reason=reason)
        return records.Verdict(allowed=False, reason=reason, request=request, step=plan.step.value, path=path)
    provider, resource = decision.provider, decision.resource
    return records.Verdict(
        allowed=reason is Reason.OK,
        reason=reason,
        request=_flow(decision.request),
        response=_flow(decision.response),
        step=plan.step.value if reason is plan.reason else REGISTRY[reason].area.value,
        provider=provider.uri if provider is not None else "",
        organ=provider.organ if provider is not None else "",
        resource=resource.id if resource is not None else "",
        path=path,
        flow_rule=decision.flow_rule,
        grant=decision.grant,
    )


def _idempotency(call: Call) -> str:
    """Return the caller's key; a key of a wrong form is why the call is refused, and no reason to have no record."""
    try:
        return read_idempotency_key(call.block)
    except ZoneGateError:
        return ""


class Recorder:
    """The evidence and the counters of one gateway."""

    def __init__(self, log: EvidenceLog, metrics: GatewayMetrics, clock: Clock, basis: records.Basis) -> None:
        self.log = log
        self.metrics = metrics
        self.clock = clock
        self.basis = basis

    def peer_refused(self, reason: Reason) -> None:
        """Count a connection that was refused or ended before any call of its; counter and evidence alike."""
        self.metrics.handshake_refused(reason)
        self.log.count(records.Counted.HANDSHAKE, reason)

    def decided(self, call: Call, plan: Plan, on_durable: Callable[[ZoneGateError | None], None]) -> None:
        """Record that `call` is allowed by `plan`; `on_durable` is called when the record is on disk, or cannot be."""

        verdict = self._verdict(plan, Reason.OK)

        def durable(error: ZoneGateError | None) -> None:
            self._count(verdict, Reason.OK if error is None else Reason.E_EVIDENCE)
            on_durable(error)

        self.log.append(self._decision(call, plan, verdict, ""), durable)

    def refused(self, call: Call, plan: Plan, reason: Reason, detail: str) -> None:
        """Record and count that `call` is refused; nobody waits for the disk to hear a refusal."""
        verdict = self._verdict(plan, reason)

        def durable(error: ZoneGateError | None) -> None:
            self._count(verdict, reason if error is None else Reason.E_EVIDENCE)

        self.log.append(self._decision(call, plan, verdict, detail), durable)

    def response_raised(
        self, call: Call, flow: FlowDecision, label: str, on_durable: Callable[[ZoneGateError | None], None]
    ) -> None:
        """Record that the response flow of `call` was decided anew."""
        record = records.ResponseRecord(
            time=self.clock.now(),
            crossing=call.crossing,
            allowed=flow.reason is Reason.OK,
            reason=flow.reason,
            flow=_flow(flow),
            label=label,
        )
        self.log.append(record, on_durable)

    def ended(self, call: Call) -> None:
        """Record and count how an allowed call ended."""
        duration = self.clock.monotonic() - call.started
        self.log.append(
            records.OutcomeRecord(
                time=self.clock.now(),
                crossing=call.crossing,
                grpc=call.status if 0 <= call.status <= 16 else 2,
                reason=call.reason,
                executed=records.Executed(call.executed.value),
                request_bytes=call.request_bytes,
                request_messages=call.request_counter.count,
                response_bytes=call.response_bytes,
                response_messages=call.response_counter.count,
                request_digest=call.request_digest.hexdigest(),
                response_digest=call.response_digest.hexdigest(),
                duration_us=int(duration * 1_000_000),
            ),
            None,
        )
        metrics = self.metrics
        metrics.finished(call.status)
        metrics.crossing_seconds(duration)
        if call.request_bytes:
            metrics.message_bytes("request", call.request_bytes)
        if call.response_bytes:
            metrics.message_bytes("response", call.response_bytes)

    def _shared(self, plan: Plan) -> _Shared:
        shared = plan.recorded
        if not isinstance(shared, _Shared) or shared.basis is not self.basis:
            shared = plan.recorded = _Shared(plan, self.basis)
        return shared

    def _decision(self, call: Call, plan: Plan, verdict: records.Verdict, detail: str) -> records.DecisionRecord:
        shared = self._shared(plan)
        metadata = plan.metadata
        return records.DecisionRecord(
            time=self.clock.now(),
            crossing=call.crossing,
            hop=shared.hop,
            caller=shared.caller,
            verdict=verdict,
            basis=shared.basis,
            purpose=(metadata.purpose or "") if metadata is not None else "",
            case=(metadata.case or "") if metadata is not None else "",
            label=shared.label,
            declared_by=shared.declared_by,
            trace=read_trace(call.block),
            idempotency=_idempotency(call),
            detail=detail,
        )

    def _count(self, verdict: records.Verdict, reason: Reason) -> None:
        key = decision_key(verdict)
        self.metrics.decision(key.decision, key.source or NO_ZONE, key.target or NO_ZONE, reason.value)

    def _verdict(self, plan: Plan, reason: Reason) -> records.Verdict:
        shared = self._shared(plan)
        verdict = shared.verdicts.get(reason)
        if verdict is None:
            verdict = shared.verdicts[reason] = _verdict(plan, reason)
        return verdict
