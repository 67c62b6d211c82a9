"""What the importer's evidence says of an object: taken or refused, decided, delivered. Values in, records out."""

from datetime import datetime

from zonegate.gateway.boundary.deliver import Delivered
from zonegate.gateway.boundary.handover import RefusedFile
from zonegate.gateway.boundary.header import ObjectHeader
from zonegate.gateway.evidence import records
from zonegate.gm import sm3
from zonegate.identity import parse_identity
from zonegate.policies.decide import CallDecision, FlowDecision
from zonegate.reasons import GrpcCode, Reason


def refused_file(report: RefusedFile, now: datetime) -> records.ImportRecord:
    """Return the record of a file that the verifier refused; nothing in it is known to be true but its digest."""
    return records.ImportRecord(
        time=now,
        object="",
        allowed=False,
        reason=report.reason,
        digest=report.digest,
        file=_name(report.file),
        step="verify",
        detail=report.detail,
    )


def object_record(
    header: ObjectHeader, file: str, *, reason: Reason, step: str, now: datetime, detail: str = ""
) -> records.ImportRecord:
    """Return the record of a verified object: taken (OK), or refused before anything was decided."""
    return records.ImportRecord(
        time=now,
        object=header.object_id,
        allowed=reason is Reason.OK,
        reason=reason,
        crossing=header.crossing,
        digest=header.digest,
        sender=header.caller,
        origin=header.gateway,
        resource=header.resource,
        path=header.path,
        bytes=header.message_bytes,
        file=_name(file),
        step=step,
        detail=detail,
    )


def decision_record(
    header: ObjectHeader, decision: CallDecision, basis: records.Basis, now: datetime
) -> records.DecisionRecord:
    """Return the record of the importer's own decision."""
    provider, resource = decision.provider, decision.resource
    return records.DecisionRecord(
        time=now,
        crossing=header.crossing,
        hop=records.Hop.IMPORT,
        caller=records.Caller(
            uri=header.caller,
            organ=parse_identity(header.caller).organ,
            certificate=header.caller_certificate,
            ticket=sm3.digest(header.ticket).hex(),
            peer=header.gateway,
        ),
        verdict=records.Verdict(
            allowed=decision.allowed,
            reason=decision.reason,
            request=_flow(decision.request),
            response=_flow(decision.response),
            step=decision.step.value,
            provider=provider.uri if provider is not None else header.provider,
            organ=provider.organ if provider is not None else "",
            resource=resource.id if resource is not None else header.resource,
            path=header.path,
            flow_rule=decision.flow_rule,
            grant=decision.grant,
        ),
        basis=basis,
        purpose=header.purpose,
        case=header.case,
        label=header.label,
        idempotency=header.idempotency_key,
        detail=decision.detail,
    )


def outcome_record(
    header: ObjectHeader, delivered: Delivered, *, reason: Reason, seconds: float, now: datetime
) -> records.OutcomeRecord:
    """Return the record of how a delivery ended; of the discarded answer only size and digest."""
    return records.OutcomeRecord(
        time=now,
        crossing=header.crossing,
        grpc=delivered.status if delivered.status in set(GrpcCode) else GrpcCode.UNKNOWN,
        reason=reason,
        executed=records.Executed(delivered.executed.value),
        request_bytes=header.message_bytes,
        request_messages=header.message_count,
        response_bytes=delivered.response_bytes,
        response_messages=delivered.response_messages,
        request_digest=header.digest,
        response_digest=delivered.response_digest,
        duration_us=int(seconds * 1_000_000),
    )


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


def _name(file: str) -> str:
    return file[:256]
