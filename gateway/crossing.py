"""[a] The gateway's role: every call of a peer is admitted, planned, recorded, then forwarded or refused.

The order is that of architecture section 3. What is decided is decided in `plan` and `zonegate.policies`; this module
carries it out: it asks for the caller's ticket, waits for the record to be durable, and only then lets bytes go on.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.admission import admit_peer
from zonegate.gateway.context import CallContext, PeerContext
from zonegate.gateway.edges import ticket_field
from zonegate.gateway.plan import Plan, Route
from zonegate.gateway.planning import Planner
from zonegate.gateway.rate import OpenCalls, Rate, RateTable
from zonegate.gateway.relay.call import Call
from zonegate.gateway.returning import Returning
from zonegate.gateway.ticket import TicketTable
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

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
    from zonegate.policies.model import Policy
    from zonegate.reasons import Reason as ReasonType


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
        self.recorder = recorder
        self.peers: dict[str, UpstreamPool] = {}
        self.providers: dict[str, UpstreamPool] = {}
        self._planner = Planner(
            uri=uri,
            zone=zone,
            policy=policy,
            trust=trust,
            tickets=tickets,
            inspectors=inspectors,
            clock=clock,
        )
        self._returning = Returning(self._planner, recorder, clock, self._still_allowed)
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

    # -- connections ---------------------------------------------------------------------------------------------

    def admitted(self, down: Downstream) -> None:
        """Keep what is known of the peer, or show it the door: the policy must know it for this gateway's zone."""
        peer = down.channel.peer
        try:
            place = admit_peer(self._planner.policy, peer, own_zone=self.zone)
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
        admit_peer(self._planner.policy, peer, own_zone=self.zone)

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
        plan = self._planner.known(context, call.block)
        if plan is None:
            if context.from_gateway and self._witness.takes(call):
                return
            if not context.from_gateway:
                call.crossing = self._ids.next()  # now already: the call may end before its ticket is verified

            def resume(plan: Plan) -> None:
                if not call.settled and call.down.context is not None:
                    self._run(call, context, plan)

            plan = self._planner.fresh(call.block, context, resume)
            if plan is None:
                return
        self._run(call, context, plan)

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
        if plan.epoch != self._planner.epoch:
            if not self._still_allowed(call):
                return
            plan = call.context.plan
        if plan.route is Route.EXPORT:
            if self._exporting is None:
                call.refuse(Reason.E_UPSTREAM, "export: this gateway has no carrier configured")
            else:
                self._exporting.take(call, plan, self._planner.policy)
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
        """Return the initial metadata for the caller; None when it has been or will be settled otherwise."""
        return self._returning.response(call, block)

    def trailers(self, call: Call, block: HeaderBlock) -> bytes:
        """Return the trailers for the caller and take the call's status from them."""
        return self._returning.trailers(call, block)

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
            plan = self._planner.refusal(peer, ZoneGateError(call.reason, ""))
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
        self._planner.use(policy)
        self.changed(open_calls)

    def changed(self, open_calls: list[Call]) -> None:
        """The policy or the revocation status has changed: every cached decision is void, live calls are judged."""
        self._planner.epoch += 1
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
        """Judge a live call by what is in force now; end it when it may not go on."""
        context: CallContext = call.context
        peer: PeerContext | None = call.down.context
        if peer is None:
            return False
        try:
            context.plan = self._planner.renew(
                call.block,
                context.plan,
                peer,
                inspected=call.request_filter is not None,
                raised=context.raised,
            )
        except ZoneGateError as error:
            call.abort(error.reason, error.detail)
            return False
        return True
