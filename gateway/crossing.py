"""[a] The gateway's role: every call of a peer is admitted, planned, recorded, then forwarded or refused.

The order is that of architecture section 3. What is decided is decided in `plan` and `zonegate.policies`; this module
carries it out: it asks for the caller's ticket, waits for the record to be durable, and only then lets bytes go on.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.admission import admit_peer
from zonegate.gateway.edges import ticket_field
from zonegate.gateway.plan import Caller, HopRole, Plan, Route, make_plan
from zonegate.gateway.rate import OpenCalls, Rate, RateTable
from zonegate.gateway.relay.call import Call
from zonegate.gateway.relay.wire import CONTENT_TYPE, STATUS_200
from zonegate.gateway.ticket import Ticket, TicketTable
from zonegate.pki.certificate import Profile
from zonegate.pki.path import StatusRule
from zonegate.policies.decide import decide_response
from zonegate.policies.labels import parse_label
from zonegate.reasons import REGISTRY, Area, Executed, Reason

if TYPE_CHECKING:
    from zonegate.clock import Clock
    from zonegate.gateway.callers import TicketOffice
    from zonegate.gateway.exporting import Exporting
    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.inspection import Inspectors
    from zonegate.gateway.process import Trust
    from zonegate.gateway.recording import Recorder
    from zonegate.gateway.relay.downstream import Downstream
    from zonegate.gateway.relay.upstream import StreamUser, Upstream, UpstreamPool
    from zonegate.gateway.tls.channel import Peer
    from zonegate.gateway.witness import Witness
    from zonegate.policies.labels import Label
    from zonegate.policies.model import Policy
    from zonegate.reasons import Reason as ReasonType

PLANS_PER_CONNECTION = 512
RESPONSES_PER_PLAN = 64


@dataclass(slots=True)
class PeerContext:
    """What the gateway keeps for one connection."""

    peer: Peer
    uri: str
    zone: str
    from_gateway: bool
    tickets: TicketTable = field(default_factory=TicketTable)
    plans: dict[object, Plan] = field(default_factory=dict)


@dataclass(slots=True)
class CallContext:
    """What the gateway keeps for one call beside the relay's counts."""

    plan: Plan
    recorded: bool = False
    # Whether `GatewayHandler._under_way` holds the id that a peer gateway gave the call.
    named: bool = False
    # The caller on whose account of open calls it is.
    account: str = ""
    # What the provider has raised the response to.
    raised: Label | None = None


class CrossingIds:
    """Ids of 28 hexadecimal digits: 64 random bits of the process life, then a count."""

    __slots__ = ("_count", "_prefix")

    def __init__(self) -> None:
        self._prefix = os.urandom(8).hex()
        self._count = 0

    def next(self) -> str:
        """Return an id that no other call has."""
        self._count += 1
        return f"{self._prefix}{self._count:012x}"

    def gave(self, crossing: str) -> bool:
        """Tell whether an id is of this process life."""
        return crossing.startswith(self._prefix)


class GatewayHandler:
    """The `CallHandler` of a zone gateway."""

    def __init__(
        self,
        *,
        uri: str,
        zone: str,
        policy: Policy,
        trust: Trust,
        recorder: Recorder,
        tickets: TicketOffice,
        inspectors: Inspectors,
        witness: Witness,
        exporting: Exporting | None,
        default_rate: Rate,
        calls_per_caller: int,
        clock: Clock,
    ) -> None:
        self.uri = uri
        self.zone = zone
        self.policy = policy
        self.recorder = recorder
        self.peers: dict[str, UpstreamPool] = {}
        self.providers: dict[str, UpstreamPool] = {}
        self._trust = trust
        self._tickets = tickets
        self._inspectors = inspectors
        self._witness = witness
        self._exporting = exporting
        self._default_rate = default_rate
        self._rates = RateTable()
        self._open = OpenCalls(calls_per_caller)
        self._clock = clock
        self._ids = CrossingIds()
        # The ids of peers' calls under way: a second call of the same id could not be told from the first.
        self._under_way: set[str] = set()
        # Grows whenever the policy or the status changes: no plan outlives what it was made from.
        self._epoch = 0

    # -- connections ---------------------------------------------------------------------------------------------

    def admitted(self, down: Downstream) -> None:
        """Keep what is known of the peer, or show it the door: the policy must know it for this gateway's zone."""
        peer = down.channel.peer
        try:
            place = admit_peer(self.policy, peer, own_zone=self.zone)
        except ZoneGateError as error:
            self.recorder.peer_refused(error.reason)
            down.abort(error.reason)
            return
        known = down.context
        if isinstance(known, PeerContext):
            # Admitted anew under another policy; the tickets that the connection has carried stay known.
            known.zone = place.zone
        else:
            down.context = PeerContext(peer, str(peer.identity), place.zone, peer.profile is Profile.GATEWAY)

    def check_peer(self, peer: Peer) -> None:
        """Refuse a peer in its handshake already, when the policy does not know it for this gateway; only reads."""
        admit_peer(self.policy, peer, own_zone=self.zone)

    def closed(self, down: Downstream) -> None:
        """Forget the peer."""
        down.context = None

    # -- calls ---------------------------------------------------------------------------------------------------

    def heard(self, down: Downstream, block: HeaderBlock) -> None:
        """Remember a ticket that came whole, whatever becomes of its call: the sender will only name it from now on."""
        context: PeerContext | None = down.context
        full = block.get(names.TICKET)
        if full is not None and context is not None:
            with contextlib.suppress(ZoneGateError):  # what is wrong with it is told when the call is planned
                context.tickets.learn(names.read_binary(names.TICKET, full))

    def begin(self, call: Call) -> None:
        """Plan the call; when its record is durable, forward it."""
        context: PeerContext = call.down.context
        if context is None:
            call.refuse(Reason.E_IDENTITY, "the connection was not admitted")
            return
        plan = context.plans.get(call.block.stable)
        if plan is None or plan.epoch != self._epoch or self._clock.timestamp() >= plan.begin_until:
            if context.from_gateway and self._witness.takes(call):
                return
            plan = self._fresh_plan(call, context)
            if plan is None:
                return
        self._run(call, context, plan)

    def _fresh_plan(self, call: Call, context: PeerContext) -> Plan | None:
        """Return a new plan; None when the call waits for its ticket, or has been refused without a plan."""
        block = call.block
        if not context.from_gateway:
            call.crossing = self._ids.next()  # now already: the call may end before its ticket is verified
        ticket = self._ticket_bytes(block, context)
        if isinstance(ticket, ZoneGateError):
            return self._refusal_plan(context, ticket)
        ingress = context.uri if context.from_gateway else self.uri

        def resume(verdict: Ticket | ZoneGateError) -> None:
            if not call.settled and call.down.context is not None:
                self._run(call, context, self._plan(call, context, ticket, verdict))

        verdict = self._tickets.verdict(ticket, ingress, resume)
        return None if verdict is None else self._plan(call, context, ticket, verdict)

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

    def _plan(self, call: Call, context: PeerContext, raw: bytes, verdict: Ticket | ZoneGateError) -> Plan:
        if isinstance(verdict, ZoneGateError):
            return self._refusal_plan(context, verdict)
        now = self._clock.now()
        try:
            caller = self._caller(context, raw, verdict)
            self._trust.status.check(verdict.chain, now)
        except ZoneGateError as error:
            return self._refusal_plan(context, error)
        plan = make_plan(self.policy, call.block, caller, own_zone=self.zone, ingress=not context.from_gateway, now=now)
        plan.epoch = self._epoch
        self._bound_by_status(plan)
        if call.block.cacheable:
            if len(context.plans) >= PLANS_PER_CONNECTION:
                context.plans.clear()
            context.plans[call.block.stable] = plan
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

    def _refusal_plan(self, context: PeerContext, error: ZoneGateError) -> Plan:
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

    def _run(self, call: Call, context: PeerContext, plan: Plan) -> None:
        """Steps 8 to 10: rate, evidence, forward; or the refusal that the plan says."""
        call.context = CallContext(plan)
        try:
            if context.from_gateway:
                call.crossing = names.read_crossing(call.block)
                self._take_name(call)
            elif not call.crossing:
                call.crossing = self._ids.next()
            names.check_varying(call.block)
            names.read_idempotency_key(call.block)
        except ZoneGateError as error:
            self._refuse(call, plan, error.reason, error.detail)
            return
        metadata = plan.metadata
        if metadata is not None and metadata.spoofed and not context.from_gateway:
            self.recorder.metrics.metadata_stripped(metadata.spoofed)
        now = self._clock.monotonic()
        self.recorder.metrics.decision_seconds(now - call.started)
        if plan.reason is not Reason.OK:
            self._refuse(call, plan, plan.reason, plan.detail)
            return
        # A rate is taken where the caller enters: one gateway keeps the account, not two.
        if not context.from_gateway and not (
            self._rates.admit(plan.caller.uri, self._default_rate, now)
            and (plan.rate is None or self._rates.admit(plan.rate_key, plan.rate, now))
        ):
            self._refuse(call, plan, Reason.E_RATE, "the allowance is used up")
            return
        if not context.from_gateway:
            if not self._open.take(plan.caller.uri):
                self._refuse(call, plan, Reason.E_STREAMS, "the caller has as many calls open as it may")
                return
            call.context.account = plan.caller.uri
        try:
            self._inspectors.attach(call, plan)
        except ZoneGateError as error:
            self._refuse(call, plan, error.reason, error.detail)
            return

        def durable(error: ZoneGateError | None) -> None:
            if error is not None:
                call.refuse(error.reason, error.detail)
            else:
                call.context.recorded = True
                self._go(call, plan)

        self.recorder.decided(call, plan, durable)

    def _take_name(self, call: Call) -> None:
        if call.crossing in self._under_way or self._ids.gave(call.crossing):
            raise ZoneGateError(Reason.E_METADATA, f"{names.CROSSING.decode()}: names another call")
        self._under_way.add(call.crossing)
        call.context.named = True

    def _go(self, call: Call, plan: Plan) -> None:
        if call.settled:
            if call.finished:
                # The caller left while the record was written: its outcome is still owed.
                self.recorder.ended(call)
            return
        if plan.epoch != self._epoch:
            if not self._still_allowed(call):
                return
            plan = call.context.plan
        if plan.route is Route.EXPORT:
            if self._exporting is None:
                call.refuse(Reason.E_UPSTREAM, "export: this gateway has no carrier configured")
            else:
                self._exporting.take(call, plan, self.policy)
            return
        pools = self.peers if plan.route is Route.PEER else self.providers
        pool = pools.get(plan.target)
        if pool is None:
            call.refuse(Reason.E_UPSTREAM, f"no address is configured for {plan.target}")
            return
        call.forward(pool, self._request_block(call, plan))

    def _request_block(self, call: Call, plan: Plan) -> bytes:
        parts = [plan.head, names.crossing_wire(call.crossing)]
        if call.block.volatile:
            allowed = plan.volatile
            parts += [item.wire for item in call.block.volatile if item.name in allowed]
        return b"".join(parts)

    def _refuse(self, call: Call, plan: Plan, reason: ReasonType, detail: str) -> None:
        self.recorder.refused(call, plan, reason, detail)
        call.refuse(reason, detail)

    # -- the way back --------------------------------------------------------------------------------------------

    def response(self, call: Call, block: HeaderBlock) -> bytes | None:
        """Return the initial metadata for the caller; a raised label is decided and recorded first."""
        if block.get(b":status") != b"200":
            call.refuse(Reason.E_UPSTREAM_RESET, f"the next hop answered HTTP status {_text(block.get(b':status'))}")
            return None
        context: CallContext = call.context
        plan = context.plan
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
            flow = decide_response(self.policy, decision, label, now=self._clock.now())
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
                if plan.epoch != self._epoch and not (call.settled or self._still_allowed(call)):
                    return
                allowed = plan.response_names | {names.LABEL}
                out = b"".join([item.wire for item in block.stable if item.name in allowed])
                call.release_response(out + self._volatile(call, plan, block))

        call.hold_response()
        self.recorder.response_raised(call, flow, text, durable)

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
            out = self._remember(plan.trailers, block, plan.trailer_names)
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

    def ended(self, call: Call) -> None:
        """Record how a call ended, if it was allowed and recorded; or that it was refused before it was planned."""
        context, peer = call.context, call.down.context
        if isinstance(context, CallContext):
            if context.named:
                self._under_way.discard(call.crossing)
            if context.account:
                self._open.give_back(context.account)
            if context.recorded:
                self.recorder.ended(call)
        elif peer is not None and call.collector is None and call.reason not in {Reason.OK, Reason.E_CANCELLED}:
            # By the relay: its deadline, or too many calls. Nobody has been told of a decision.
            plan = self._refusal_plan(peer, ZoneGateError(call.reason, ""))
            self.recorder.refused(call, plan, call.reason, "before it was planned")

    # -- next hops -----------------------------------------------------------------------------------------------

    def attach_ticket(self, user: StreamUser, upstream: Upstream) -> bytes:
        """Return the field that names the caller's ticket on this connection: the ticket once, then its reference."""
        if not isinstance(user, Call):
            return b""  # a call of this gateway's own has no caller
        plan: Plan = user.context.plan
        table = upstream.context
        if table is None:
            table = upstream.context = TicketTable()
        return ticket_field(table, plan.caller.ticket)

    # -- changes -------------------------------------------------------------------------------------------------

    def policy_changed(self, policy: Policy, open_calls: list[Call]) -> None:
        """Put a new policy in force: live calls are decided anew."""
        self.policy = policy
        self._inspectors.use(policy)
        self.changed(open_calls)

    def changed(self, open_calls: list[Call]) -> None:
        """The policy or the revocation status has changed: every cached decision is void, live calls are judged."""
        self._epoch += 1
        for call in open_calls:
            if not call.settled and isinstance(call.context, CallContext) and call.context.recorded:
                self._still_allowed(call)

    def expire(self, open_calls: list[Call]) -> None:
        """End live calls whose decision's time has run out."""
        now = self._clock.timestamp()
        for call in open_calls:
            context = call.context
            if isinstance(context, CallContext) and context.recorded and 0 < context.plan.valid_until <= now:
                self._still_allowed(call)

    def _still_allowed(self, call: Call) -> bool:
        """Decide a call anew; end it when it may not go on."""
        context: CallContext = call.context
        plan = context.plan
        peer: PeerContext | None = call.down.context
        if peer is None:
            return False
        try:
            self._check_zone(peer, plan.caller.uri)
            self._trust.status.check(plan.caller.chain, self._clock.now())
        except ZoneGateError as error:
            call.abort(error.reason, error.detail)
            return False
        fresh = make_plan(
            self.policy,
            call.block,
            plan.caller,
            own_zone=self.zone,
            ingress=not peer.from_gateway,
            now=self._clock.now(),
        )
        problem = self._problem(call, plan, fresh)
        if problem:
            call.abort(Reason.E_POLICY_CHANGED, problem)
            return False
        fresh.epoch = self._epoch
        self._bound_by_status(fresh)
        context.plan = fresh
        return True

    def _problem(self, call: Call, plan: Plan, fresh: Plan) -> str:
        """Return why a call that was allowed by `plan` may not go on as it is under `fresh`; "" when it may."""
        if fresh.reason is not Reason.OK:
            return f"{fresh.reason.value}: {fresh.detail}"
        if (fresh.route, fresh.target) != (plan.route, plan.target):
            return f"the call goes to {plan.target}, a new one to {fresh.target}"
        if call.request_filter is None and self._inspectors.demanded(fresh):
            return "messages are inspected now"
        raised = call.context.raised
        if raised is not None and fresh.decision is not None:
            flow = decide_response(self.policy, fresh.decision, raised, now=self._clock.now())
            if flow.reason is not Reason.OK:
                return f"{flow.reason.value}: the response is {flow.level.text}"
        return ""

    def _bound_by_status(self, plan: Plan) -> None:
        """A decision that rests on revocation lists ends with them (RV-02), where stale lists refuse."""
        if self._trust.status.view.rule is StatusRule.REQUIRED:
            until = self._trust.fresh_until()
            plan.begin_until = min(plan.begin_until, until)
            plan.valid_until = min(plan.valid_until, until)


def _text(value: bytes | None) -> str:
    return "" if value is None else value[:256].decode("ascii", "replace")
