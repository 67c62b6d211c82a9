"""[a] From a request's header block to its plan: the ticket, the caller, the decision; and anew when policy changes.

The decision itself is `plan` and `zonegate.policies`. Here the ticket is found and verified, the caller's status asked
for, the plan kept under what it was made from, and a live call judged by what is in force now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.plan import Caller, HopRole, Plan, make_plan
from zonegate.pki.path import StatusRule
from zonegate.policies.decide import decide_response
from zonegate.reasons import Area, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.clock import Clock
    from zonegate.gateway.callers import TicketOffice
    from zonegate.gateway.context import PeerContext
    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.inspection import Inspectors
    from zonegate.gateway.process import Trust
    from zonegate.gateway.ticket import Ticket
    from zonegate.policies.labels import Label
    from zonegate.policies.model import Policy

PLANS_PER_CONNECTION = 512


class Planner:
    """Makes plans under the policy and the revocation status in force; `epoch` grows whenever either changes."""

    def __init__(
        self,
        *,
        uri: str,
        zone: str,
        policy: Policy,
        trust: Trust,
        tickets: TicketOffice,
        inspectors: Inspectors,
        clock: Clock,
    ) -> None:
        self.policy = policy
        self.epoch = 0
        self._uri = uri
        self._zone = zone
        self._trust = trust
        self._tickets = tickets
        self._inspectors = inspectors
        self._clock = clock

    def use(self, policy: Policy) -> None:
        """Plan under another policy; what was planned before is void."""
        self.policy = policy
        self._inspectors.use(policy)
        self.epoch += 1

    def known(self, context: PeerContext, block: HeaderBlock) -> Plan | None:
        """Return the plan kept for this metadata, if it is still good."""
        plan = context.plans.get(block.stable)
        if plan is None or plan.epoch != self.epoch or self._clock.timestamp() >= plan.begin_until:
            return None
        return plan

    def fresh(self, block: HeaderBlock, context: PeerContext, then: Callable[[Plan], None]) -> Plan | None:
        """Return a new plan; None while the ticket is being verified: `then` will be called with it."""
        ticket = self._ticket_bytes(block, context)
        if isinstance(ticket, ZoneGateError):
            return self.refusal(context, ticket)
        ingress = context.uri if context.from_gateway else self._uri
        verdict = self._tickets.verdict(
            ticket, ingress, lambda verdict: then(self._plan(block, context, ticket, verdict))
        )
        return None if verdict is None else self._plan(block, context, ticket, verdict)

    def refusal(self, context: PeerContext, error: ZoneGateError) -> Plan:
        """Return the plan of a call that is refused before anything could be decided."""
        peer = context.peer
        until = peer.not_after or self._clock.now()
        caller = Caller(
            uri="" if context.from_gateway else context.uri,
            fingerprint="" if context.from_gateway else peer.fingerprint,
            serial="" if context.from_gateway else f"{peer.serial:x}",
            valid_until=until,
            chain=(),
            ticket=b"",
            ticket_digest="",
            ticket_until=until,
            peer_uri=context.uri,
        )
        role = HopRole.EGRESS if context.from_gateway else HopRole.INGRESS
        return Plan(caller, None, None, error.reason, error.detail, Area.ADMIT, role)

    def renew(
        self, block: HeaderBlock, plan: Plan, context: PeerContext, *, inspected: bool, raised: Label | None
    ) -> Plan:
        """Return the plan under which a live call goes on as it is; `ZoneGateError` says why it may not.

        `inspected`: its messages pass a filter; `raised`: the label that its provider has given the response.
        """
        self._check_zone(context, plan.caller.uri)
        now = self._clock.now()
        self._trust.status.check(plan.caller.chain, now)
        fresh = make_plan(
            self.policy, block, plan.caller, own_zone=self._zone, ingress=not context.from_gateway, now=now
        )
        problem = self._problem(plan, fresh, inspected=inspected, raised=raised)
        if problem:
            raise ZoneGateError(Reason.E_POLICY_CHANGED, problem)
        fresh.epoch = self.epoch
        self._bound_by_status(fresh)
        return fresh

    def _problem(self, plan: Plan, fresh: Plan, *, inspected: bool, raised: Label | None) -> str:
        """Return why a call that was allowed by `plan` may not go on as it is under `fresh`; "" when it may."""
        if fresh.reason is not Reason.OK:
            return f"{fresh.reason.value}: {fresh.detail}"
        if (fresh.route, fresh.target) != (plan.route, plan.target):
            return f"the call goes to {plan.target}, a new one to {fresh.target}"
        if not inspected and self._inspectors.demanded(fresh):
            return "messages are inspected now"
        if raised is not None and fresh.decision is not None:
            flow = decide_response(self.policy, fresh.decision, raised, now=self._clock.now())
            if flow.reason is not Reason.OK:
                return f"{flow.reason.value}: the response is {flow.level.text}"
        return ""

    def _ticket_bytes(self, block: HeaderBlock, context: PeerContext) -> bytes | ZoneGateError:
        full, reference = block.get(names.TICKET), block.get(names.TICKET_REF)
        try:
            if full is not None:
                return names.read_binary(names.TICKET, full)
            if reference is not None:
                known = context.tickets.lookup(reference)
                if known is not None:
                    return known
        except ZoneGateError as error:
            return error
        return ZoneGateError(
            Reason.E_TICKET, "zg-ticket-bin: is missing, and zg-ticket-ref names no ticket sent before"
        )

    def _plan(self, block: HeaderBlock, context: PeerContext, raw: bytes, verdict: Ticket | ZoneGateError) -> Plan:
        if isinstance(verdict, ZoneGateError):
            return self.refusal(context, verdict)
        now = self._clock.now()
        try:
            caller = self._caller(context, raw, verdict)
            self._trust.status.check(verdict.chain, now)
        except ZoneGateError as error:
            return self.refusal(context, error)
        plan = make_plan(self.policy, block, caller, own_zone=self._zone, ingress=not context.from_gateway, now=now)
        plan.epoch = self.epoch
        self._bound_by_status(plan)
        if block.cacheable:
            if len(context.plans) >= PLANS_PER_CONNECTION:
                context.plans.clear()
            context.plans[block.stable] = plan
        return plan

    def _caller(self, context: PeerContext, raw: bytes, ticket: Ticket) -> Caller:
        uri = str(ticket.identity)
        certificate = ticket.chain[0]
        if not context.from_gateway and uri != context.uri:
            # By identity, not by certificate: a connector that renews its certificate has both for a while.
            raise ZoneGateError(Reason.E_TICKET, "ticket: is not the connection's own")
        self._check_zone(context, uri)
        return Caller(
            uri=uri,
            fingerprint=certificate.fingerprint,
            serial=f"{certificate.serial:x}",
            valid_until=min(member.not_after for member in ticket.chain),
            chain=ticket.chain,
            ticket=raw,
            ticket_digest=ticket.digest,
            ticket_until=ticket.expires,
            peer_uri=context.uri,
        )

    def _check_zone(self, context: PeerContext, uri: str) -> None:
        """Refuse a caller that a peer gateway speaks for without guarding its zone."""
        if context.from_gateway:
            system = self.policy.systems.get(uri)
            if system is None or system.zone != context.zone:
                raise ZoneGateError(Reason.E_ZONE_IDENTITY, f"ticket: {uri} does not stand in zone {context.zone}")

    def _bound_by_status(self, plan: Plan) -> None:
        """A decision that rests on revocation lists ends with them (RV-02), where stale lists refuse."""
        if self._trust.status.view.rule is StatusRule.REQUIRED:
            until = self._trust.fresh_until()
            plan.begin_until = min(plan.begin_until, until)
            plan.valid_until = min(plan.valid_until, until)
