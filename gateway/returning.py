"""[a] The way back: what of a next hop's metadata and trailers reaches the caller, and what a raised label means.

A provider's `zg-label` is decided and recorded before any response byte goes on (architecture section 3, step 6). A
peer gateway's refusal keeps its reason; a provider cannot speak as a gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.convert import speaks_as_gateway
from zonegate.gateway.plan import HopRole, Plan, Route
from zonegate.gateway.relay.wire import CONTENT_TYPE, STATUS_200
from zonegate.policies.decide import decide_response
from zonegate.policies.labels import parse_label
from zonegate.reasons import REGISTRY, Executed, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.clock import Clock
    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.planning import Planner
    from zonegate.gateway.recording import Recorder
    from zonegate.gateway.relay.call import Call

RESPONSES_PER_PLAN = 64


class Returning:
    """Passes answers back. `still_allowed` judges a call whose policy has changed while a record was written."""

    def __init__(
        self, planner: Planner, recorder: Recorder, clock: Clock, still_allowed: Callable[[Call], bool]
    ) -> None:
        self._planner = planner
        self._recorder = recorder
        self._clock = clock
        self._still_allowed = still_allowed

    def response(self, call: Call, block: HeaderBlock) -> bytes | None:
        """Return the initial metadata for the caller; a raised label is decided and recorded first."""
        if block.get(b":status") != b"200":
            call.refuse(Reason.E_UPSTREAM_RESET, f"the next hop answered HTTP status {_text(block.get(b':status'))}")
            return None
        plan: Plan = call.context.plan
        try:
            names.check_response(block)
        except ZoneGateError as error:
            call.refuse(error.reason, error.detail)
            return None
        out = plan.responses.get(block.stable)
        if out is None:
            declared = block.values(names.LABEL)
            if len(declared) > 1:
                call.refuse(Reason.E_RESPONSE_RAISED, "zg-label of the response: appears twice, once is allowed")
                return None
            if declared:
                self._raise_response(call, plan, block, declared[0])
                return None
            out = self._remember(plan.responses, block, plan.response_names)
        return out + self._volatile(call, plan, block)

    def _remember(self, known: dict[object, bytes], block: HeaderBlock, allowed: frozenset[bytes]) -> bytes:
        out = b"".join([item.wire for item in block.stable if item.name in allowed])
        if block.cacheable:
            if len(known) >= RESPONSES_PER_PLAN:
                known.clear()
            known[block.stable] = out
        return out

    def _volatile(self, call: Call, plan: Plan, block: HeaderBlock) -> bytes:
        parts = [] if plan.role is HopRole.EGRESS else [names.crossing_wire(call.crossing)]
        if block.volatile:
            allowed = plan.trailer_names
            parts += [item.wire for item in block.volatile if item.name in allowed]
        return b"".join(parts)

    def _raise_response(self, call: Call, plan: Plan, block: HeaderBlock, declared: bytes) -> None:
        """Step 6: a provider's label is decided, and recorded, before any further response byte goes on."""
        decision = plan.decision
        if decision is None:
            call.refuse(Reason.E_INTERNAL, "a response without a decision")
            return
        try:
            text = declared.decode("ascii", "replace")
            label = parse_label(text)
            flow = decide_response(self._planner.policy, decision, label, now=self._clock.now())
        except ZoneGateError as error:
            call.refuse(error.reason, f"zg-label of the response: {error.detail}")
            return

        def durable(error: ZoneGateError | None) -> None:
            if error is not None:
                call.refuse(error.reason, error.detail)
            elif flow.reason is not Reason.OK:
                call.refuse(Reason.E_RESPONSE_RAISED, f"{flow.reason.value}: the response is {flow.level.text}")
            else:
                call.context.raised = label
                if plan.epoch != self._planner.epoch and not (call.settled or self._still_allowed(call)):
                    return
                allowed = plan.response_names | {names.LABEL}
                out = b"".join([item.wire for item in block.stable if item.name in allowed])
                call.release_response(out + self._volatile(call, plan, block))

        call.hold_response()
        self._recorder.response_raised(call, flow, text, durable)

    def trailers(self, call: Call, block: HeaderBlock) -> bytes:
        """Return the trailers for the caller and take the call's status from them."""
        plan: Plan = call.context.plan
        try:
            call.status = names.read_status(block)
            names.check_response(block)
        except ZoneGateError as error:
            call.refuse(error.reason, error.detail)
            return b""
        if call.status:
            self._take_reason(call, plan, block)
        out = plan.trailers.get(block.stable)
        if out is None:
            out = self._remember(plan.trailers, block, _honest_names(plan, block))
        if call.response_started:
            return out + self._volatile(call, plan, block) if block.volatile else out
        # A response of trailers only has no initial metadata: it begins here, with :status and content-type.
        head = b"" if block.get(b":status") is not None else STATUS_200.wire + CONTENT_TYPE.wire
        return head + out + self._volatile(call, plan, block)

    def _take_reason(self, call: Call, plan: Plan, block: HeaderBlock) -> None:
        """A peer gateway's refusal keeps its reason in this gateway's record; a provider's status has none."""
        text = _text(block.get(names.REASON)) if plan.route is Route.PEER else ""
        if text in set(Reason):
            call.reason = Reason(text)
            # Trailers with :status are all of the response: the peer refused. Others end an answer that had begun.
            if block.get(b":status") is not None:
                call.executed = REGISTRY[call.reason].executed
        elif plan.route is Route.PEER and call.executed is not Executed.YES:
            call.executed = Executed.UNKNOWN


def _honest_names(plan: Plan, block: HeaderBlock) -> frozenset[bytes]:
    """Return which trailers pass: not a provider's status details that pretend to be a gateway's refusal."""
    details = block.get(names.STATUS_DETAILS)
    if plan.route is Route.PROVIDER and details is not None and speaks_as_gateway(details):
        return plan.trailer_names - {names.STATUS_DETAILS}
    return plan.trailer_names


def _text(value: bytes | None) -> str:
    return "" if value is None else value[:256].decode("ascii", "replace")
