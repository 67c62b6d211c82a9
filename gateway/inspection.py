"""[a] Puts message filters on calls whose resource demands them (architecture section 3, step 6 and protocol break).

The filters themselves are `zonegate.gateway.inspect`; here they are built once per bundle and attached per call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway.inspect.messages import MessageStream
from zonegate.gateway.inspect.schema import SchemaFilter, Schemas
from zonegate.identity import Net
from zonegate.policies.model import Inspection
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from zonegate.gateway.plan import Plan
    from zonegate.gateway.relay.call import Call
    from zonegate.policies.model import Method, Policy, Resource

VERBATIM_GRADE_LIMIT = 4
# The most that a gRPC message can announce: the resource's bound alone counts.
NO_BOUND_BYTES = (1 << 32) - 1


class Inspectors:
    """The schema filters of one bundle's resources."""

    def __init__(self, policy: Policy, *, message_bytes: int = NO_BOUND_BYTES) -> None:
        """`message_bytes` is the process's own bound; a resource's may be lower."""
        self._message_bytes = message_bytes
        self._filters: dict[tuple[str, str], tuple[SchemaFilter, SchemaFilter]] = {}
        self._policy = policy

    def use(self, policy: Policy) -> None:
        """Forget the filters of the bundle before."""
        self._policy = policy
        self._filters = {}

    def attach(self, call: Call, plan: Plan) -> None:
        """Put the bounds and filters that the plan's resource demands on both directions of `call`."""
        if plan.inspection is None:
            plan.inspection = self._of_plan(plan)
        limit, request, response = plan.inspection
        call.response_counter.bound(limit)
        # What came while the caller's ticket was verified has been counted already.
        call.request_counter.bound(limit)
        if request is not None and response is not None:
            call.request_filter = MessageStream(request, limit)
            call.response_filter = MessageStream(response, limit)

    def _of_plan(self, plan: Plan) -> tuple[int, SchemaFilter | None, SchemaFilter | None]:
        decision = plan.decision
        if decision is None or decision.resource is None or decision.method is None:
            return self._message_bytes, None, None
        limit = min(decision.resource.max_message_bytes, self._message_bytes)
        return (limit, *self._of(decision.resource, decision.method)) if self.demanded(plan) else (limit, None, None)

    def demanded(self, plan: Plan) -> bool:
        """Tell whether messages are decoded and made anew: verbatim they pass in EXTRA below grade 4 only (XZ-02)."""
        decision = plan.decision
        if decision is None or decision.resource is None:
            return False
        if decision.resource.inspection is Inspection.SCHEMA or self._policy.net is Net.INTRA:
            return True
        zones = (decision.source_zone, decision.target_zone)
        return any(zone is not None and (zone.grade or 0) >= VERBATIM_GRADE_LIMIT for zone in zones)

    def request_filter(self, resource: Resource, method: Method) -> SchemaFilter:
        """Return the filter of a method's request messages."""
        return self._of(resource, method)[0]

    def _of(self, resource: Resource, method: Method) -> tuple[SchemaFilter, SchemaFilter]:
        found = self._filters.get((resource.id, method.path))
        if found is None:
            if resource.descriptor_set is None:
                detail = f"resource {resource.id}: has no descriptor, so its messages cannot be inspected here"
                raise ZoneGateError(Reason.E_SCHEMA, detail)
            schemas = Schemas(resource.descriptor_set)
            limit = min(resource.max_message_bytes, self._message_bytes)
            request_type, response_type = schemas.method_types(method.path)
            found = (schemas.filter(request_type, max_bytes=limit), schemas.filter(response_type, max_bytes=limit))
            self._filters[resource.id, method.path] = found
        return found
