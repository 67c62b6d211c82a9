"""[a] The way of an allowed one_way call: its messages become a transport file, its caller gets a signed receipt.

"Accepted for transport" is all that this gateway can promise: nothing ever comes back from the other net. Signing and
syncing happen on a worker thread; the call waits, the loop does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.boundary.export import Exported, Exporter, ExportRequest
from zonegate.gateway.evidence import records
from zonegate.gateway.http2.headers import literal
from zonegate.gateway.inspect.messages import MessageAssembler
from zonegate.gateway.relay.wire import TRAILERS_OK
from zonegate.policies.labels import Label
from zonegate.reasons import Executed, Reason

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import Executor

    from zonegate.gateway.plan import Plan
    from zonegate.gateway.recording import Recorder
    from zonegate.gateway.relay.call import Call
    from zonegate.policies.decide import CallDecision
    from zonegate.policies.model import Policy

MESSAGES_LIMIT = 100_000
_EMPTY_TYPE = "google.protobuf.Empty"


class Exporting:
    """Collects the messages of one_way calls and hands them to the exporter."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, executor: Executor, exporter: Exporter, recorder: Recorder
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._exporter = exporter
        self._recorder = recorder

    def take(self, call: Call, plan: Plan, policy: Policy) -> None:
        """Collect the messages of `call`, allowed by `plan` as an import; answer it when they are durable."""
        decision = plan.decision
        if decision is None or decision.resource is None or decision.target_zone is None:
            call.refuse(Reason.E_INTERNAL, "an export without a decision")
            return
        importer = decision.target_zone.importer
        if importer is None:
            call.refuse(Reason.E_IMPORT_TARGET, f"zone {decision.target_zone.name}: the policy names no importer")
            return
        limit = call.request_counter.limit
        assembler = MessageAssembler(limit)
        messages: list[bytes] = []
        total = 0

        def receive(data: bytes, ended: bool) -> None:  # noqa: FBT001 - the relay's signature
            nonlocal total
            if call.settled:
                return
            try:
                if call.request_filter is not None:
                    data = call.request_filter.feed(data)
                found = assembler.feed(data)
                if ended:
                    assembler.finish()
                    if call.request_filter is not None:
                        call.request_filter.finish()
            except ZoneGateError as error:
                call.refuse(error.reason, error.detail)
                return
            messages.extend(found)
            total += sum(len(message) for message in found)
            call.collected = total + assembler.held_bytes
            if total > limit or len(messages) > MESSAGES_LIMIT:
                call.refuse(Reason.E_MESSAGE_SIZE, f"object: more than {limit} bytes or {MESSAGES_LIMIT} messages")
            elif ended:
                self._export(call, plan, decision, policy, tuple(messages))

        call.collect(receive)

    def _request(
        self, call: Call, plan: Plan, decision: CallDecision, policy: Policy, messages: tuple[bytes, ...]
    ) -> ExportRequest:
        caller, provider, resource, target = decision.caller, decision.provider, decision.resource, decision.target_zone
        if caller is None or provider is None or resource is None or target is None or target.importer is None:
            raise ZoneGateError(Reason.E_INTERNAL, "an export without its parties")
        metadata = plan.metadata
        return ExportRequest(
            crossing=call.crossing,
            caller=plan.caller.uri,
            caller_certificate=plan.caller.fingerprint,
            ticket=plan.caller.ticket,
            source_zone=caller.zone,
            target_zone=target.name,
            importer=target.importer,
            provider=provider.uri,
            resource=resource.id,
            path=metadata.path if metadata is not None else "",
            label=Label(decision.request.level, decision.request.categories),
            policy=policy.digest,
            policy_version=policy.version,
            messages=messages,
            purpose=(metadata.purpose or "") if metadata is not None else "",
            case=(metadata.case or "") if metadata is not None else "",
            idempotency_key=names.read_idempotency_key(call.block),
        )

    def _export(
        self, call: Call, plan: Plan, decision: CallDecision, policy: Policy, messages: tuple[bytes, ...]
    ) -> None:
        try:
            request = self._request(call, plan, decision, policy, messages)
        except ZoneGateError as error:
            call.refuse(error.reason, error.detail)
            return
        # From here on the object may be on its way, even if the caller leaves or the receipt cannot be recorded.
        call.executed = Executed.UNKNOWN
        future = self._loop.run_in_executor(self._executor, self._run, request)
        future.add_done_callback(lambda done: self._answer(call, request, done.result()))

    def _run(self, request: ExportRequest) -> Exported | ZoneGateError:
        try:
            return self._exporter.export(request)
        except ZoneGateError as error:
            return error

    def _answer(self, call: Call, request: ExportRequest, result: Exported | ZoneGateError) -> None:
        if isinstance(result, ZoneGateError):
            call.executed = Executed.NO
            call.refuse(result.reason, result.detail)
            return
        # The object is on its way whether or not the caller still listens, and the evidence says so.
        record = records.ReceiptRecord(
            time=self._recorder.clock.now(),
            crossing=request.crossing,
            object=result.object_id,
            digest=result.digest,
            sender=request.caller,
            importer=request.importer.uri,
            resource=request.resource,
            path=request.path,
            bytes=result.message_bytes,
            file=result.file,
        )

        def durable(error: ZoneGateError | None) -> None:
            if error is not None:
                call.refuse(error.reason, error.detail)
                return
            method = call.context.plan.decision.method
            empty = method is not None and method.response_type == _EMPTY_TYPE
            receipt = literal(names.RECEIPT, names.write_binary(result.receipt)).wire
            call.respond(b"" if empty else result.receipt, TRAILERS_OK + receipt)

        self._recorder.log.append(record, durable)
