"""[a] The two roles of a connector: it lets its system call out, and it lets gateways call its system.

A connector decides nothing about crossings. Towards its gateway it removes what only zonegate's hops may say, adds
what its route declares, and vouches for its system with a ticket; towards its system it passes on what the gateway
sent. Health questions about the system's uplink are answered here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata as names
from zonegate.gateway.admission import expect_identity
from zonegate.gateway.health import PREFIX, HealthAnswers
from zonegate.gateway.http2.headers import Field, HeaderBlock, literal
from zonegate.gateway.relay.wire import CONTENT_TYPE, STATUS_200
from zonegate.gateway.ticket import TicketTable, issue
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zonegate.clock import Clock
    from zonegate.gateway.config import RouteSection
    from zonegate.gateway.relay.call import Call
    from zonegate.gateway.relay.downstream import Downstream
    from zonegate.gateway.relay.upstream import StreamUser, Upstream, UpstreamPool
    from zonegate.gateway.tls.context import ContextHolder
    from zonegate.monitoring.metrics import GatewayMetrics
    from zonegate.pki.credential import Credential

# A ticket lives ten minutes at most (architecture section 3); it is renewed at half of that.
TICKET_LIFE = timedelta(minutes=10)
TICKET_RENEWAL = timedelta(minutes=5)
HEADS_LIMIT = 1024
# A label may be percent-encoded already: only what metadata cannot carry is encoded.
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def _pass_on(call: Call, block: HeaderBlock) -> bytes:
    """Return a response block as the previous hop sent it: gateways have filtered it already."""
    del call
    return b"".join([item.wire for item in (*block.stable, *block.volatile)])


def _pass_trailers(call: Call, block: HeaderBlock) -> bytes:
    try:
        call.status = names.read_status(block)
    except ZoneGateError as error:
        call.refuse(error.reason, error.detail)
        return b""
    head = b""
    if not call.response_started and block.get(b":status") is None:
        head = STATUS_200.wire + CONTENT_TYPE.wire
    return head + _pass_on(call, block)


class TicketIssuer:
    """Signs tickets with the system's key: one per gateway, renewed before it ends and with the certificate."""

    def __init__(self, holder: ContextHolder, clock: Clock) -> None:
        self._holder = holder
        self._clock = clock
        self._current: dict[str, tuple[bytes, float, Credential]] = {}

    def current(self, gateway: str) -> bytes:
        """Return the ticket in use for `gateway`."""
        known = self._current.get(gateway)
        credential = self._holder.credential
        if known is None or self._clock.timestamp() >= known[1] or known[2] is not credential:
            now = self._clock.now()
            ticket = issue(credential, gateway, now=now, life=TICKET_LIFE)
            known = self._current[gateway] = (ticket, (now + TICKET_RENEWAL).timestamp(), credential)
        return known[0]

    def decorate(self, user: StreamUser, upstream: Upstream) -> bytes:
        """Return the field that names the ticket on this connection; for `UpstreamPool.decorate`."""
        del user
        channel = upstream.channel
        if channel is None:
            return b""
        if upstream.context is None:
            upstream.context = TicketTable()
        return ticket_field(upstream.context, self.current(str(channel.peer.identity)))


def ticket_field(table: TicketTable, ticket: bytes) -> bytes:
    """Return the wire form of the field that names `ticket` on the connection that `table` belongs to.

    The ticket itself goes once; header blocks are ordered on a connection, so afterwards its reference is enough.
    """
    is_new, key = table.refer(ticket)
    if is_new:
        return literal(names.TICKET, names.write_binary(ticket)).wire
    return literal(names.TICKET_REF, key).wire


class _Edge:
    """What both roles share: local peers need no admission, and nothing is recorded here."""

    def __init__(self, metrics: GatewayMetrics) -> None:
        self._metrics = metrics

    def closed(self, down: Downstream) -> None:
        """Nothing is kept for a local peer."""

    def heard(self, down: Downstream, block: HeaderBlock) -> None:
        """Nothing in a header block must be remembered here."""

    def response(self, call: Call, block: HeaderBlock) -> bytes | None:
        """Pass initial metadata on."""
        return _pass_on(call, block)

    def trailers(self, call: Call, block: HeaderBlock) -> bytes:
        """Pass trailers on."""
        return _pass_trailers(call, block)

    def ended(self, call: Call) -> None:
        """Count the call."""
        self._metrics.finished(call.status)


class CallingEdge(_Edge):
    """The side that the connector's own system calls. A connection's context is the name of its route."""

    def __init__(self, routes: Mapping[str, RouteSection], metrics: GatewayMetrics) -> None:
        super().__init__(metrics)
        self.gateway: UpstreamPool
        self.health = HealthAnswers(lambda: self.gateway.up)
        self._declared = {name: _declared_fields(route) for name, route in routes.items()}
        # Header block and number of fields removed, by route and what the system sent.
        self._heads: dict[tuple[str, tuple[Field, ...]], tuple[bytes, int]] = {}

    def admitted(self, down: Downstream) -> None:
        """The listener has checked the local user."""

    def begin(self, call: Call) -> None:
        """Send the call to the gateway, or answer a health question."""
        block = call.block
        path = block.get(b":path") or b""
        if path.startswith(PREFIX):
            self.health.answer(call, path)
            return
        known = self._heads.get((call.down.context, block.stable))
        try:
            names.check_varying(block)
            if known is None:
                names.read_request(block)
        except ZoneGateError as error:
            call.refuse(error.reason, error.detail)
            return
        if known is None:
            known = self._compose(call.down.context, block)
        head, removed = known
        if block.volatile:
            passing = [item.wire for item in block.volatile if not names.is_reserved(item.name)]
            removed += len(block.volatile) - len(passing)
            head += b"".join(passing)
        if removed:
            self._metrics.metadata_stripped(removed)
        call.forward(self.gateway, head)

    def _compose(self, route: str, block: HeaderBlock) -> tuple[bytes, int]:
        fields = [item for item in block.stable if not names.is_reserved(item.name)]
        present = {item.name for item in fields}
        added = [item for item in self._declared[route] if item.name not in present]
        if added:
            added.append(literal(names.DECLARED_BY, b"connector"))
        head = b"".join(item.wire for item in (*_outgoing(fields), *added))
        known = head, len(block.stable) - len(fields)
        if block.cacheable:
            if len(self._heads) >= HEADS_LIMIT:
                self._heads.clear()
            self._heads[route, block.stable] = known
        return known


class ProvidingEdge(_Edge):
    """The side that gateways call: each service goes to the local server that offers it."""

    def __init__(self, gateways: frozenset[str], metrics: GatewayMetrics) -> None:
        super().__init__(metrics)
        self.targets: dict[str, UpstreamPool] = {}
        self._gateways = gateways
        self._heads: dict[object, bytes] = {}

    def admitted(self, down: Downstream) -> None:
        """Only the gateways that the configuration names may call the system."""
        try:
            expect_identity(down.channel.peer, allowed=self._gateways, profile=Profile.GATEWAY)
        except ZoneGateError as error:
            self._metrics.handshake_refused(error.reason)
            down.abort(error.reason)

    def begin(self, call: Call) -> None:
        """Send the call to the local server that offers its service."""
        block = call.block
        path = (block.get(b":path") or b"").decode("ascii", "replace")
        pool = self.targets.get(path[1:].partition("/")[0])
        if pool is None:
            call.refuse(Reason.E_NOT_CATALOGUED, f"no local server offers {path[:128]}")
            return
        head = self._heads.get(block.stable)
        if head is None:
            head = b"".join(item.wire for item in _outgoing(list(block.stable)))
            if block.cacheable:
                if len(self._heads) >= HEADS_LIMIT:
                    self._heads.clear()
                self._heads[block.stable] = head
        call.forward(pool, head + b"".join([item.wire for item in block.volatile]))


def _outgoing(fields: list[Field]) -> list[Field]:
    """Return `fields` with pseudo-header fields first, as RFC 9113 section 8.3 wants, `te` among them once."""
    return sorted(fields, key=lambda item: not item.name.startswith(b":"))


def _declared_fields(route: RouteSection) -> list[Field]:
    return [
        literal(name, quote(text, safe=_PRINTABLE).encode() if name == names.LABEL else names.quoted(text))
        for name, text in (
            (names.RESOURCE, route.resource),
            (names.PURPOSE, route.purpose),
            (names.CASE, route.case),
            (names.LABEL, route.label),
        )
        if text is not None
    ]
