"""[a] The listener of RFC 8998 connections: accepts, counts, refuses early and cheaply, hands out admitted channels.

Who may be on the connection is the caller's `admit`; what a hello must offer is `clienthello`; how many are taken is
`limits`. Every refusal is reported once, with its reason, through `on_refusal`.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import ChannelApp, Peer
from zonegate.gateway.tls.clienthello import check_client_hello, parse_client_hello
from zonegate.gateway.tls.connection import TlsConnection
from zonegate.gateway.tls.context import ContextHolder
from zonegate.gateway.tls.handshake import HandshakePool, Urgency
from zonegate.gateway.tls.limits import TlsLimits, Turnstile, source_of
from zonegate.gateway.tls.live import LiveChannels
from zonegate.gateway.tls.session import Handshake
from zonegate.reasons import Reason

BACKLOG = 1024

# The reason, the peer's address, and the sentence for the log.
OnRefusal = Callable[[Reason, str, str], None]
# Seconds from the connection's arrival to its admission.
OnAccepted = Callable[[float], None]


@dataclass(slots=True)
class _Entry:
    """What the turnstile has counted for one connection."""

    source: str
    began: float
    identity: str | None = None
    settled: bool = False


class TlsListener:
    """One listening socket. `admit` runs on a handshake thread and must only read; all else is on the loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        holder: ContextHolder,
        pool: HandshakePool,
        live: LiveChannels,
        admit: Callable[[Peer], None],
        app_factory: Callable[[], ChannelApp],
        limits: TlsLimits,
        on_refusal: OnRefusal,
        clock: Clock,
        on_accepted: OnAccepted = lambda _seconds: None,
    ) -> None:
        self._loop = loop
        self._socket = sock
        self._holder = holder
        self._pool = pool
        self._live = live
        self._admit = admit
        self._app_factory = app_factory
        self._limits = limits
        self._on_refusal = on_refusal
        self._on_accepted = on_accepted
        self._clock = clock
        self._turnstile = Turnstile(limits, clock.monotonic())
        self._server: asyncio.Server | None = None
        self._entries: dict[TlsConnection, _Entry] = {}

    @property
    def connections(self) -> int:
        """Connections that have arrived and not ended."""
        return self._turnstile.connections

    @property
    def handshakes_in_progress(self) -> int:
        """Connections whose handshake is not finished."""
        return self._turnstile.pending

    async def start(self) -> None:
        """Listen."""
        self._server = await self._loop.create_server(self._make_connection, sock=self._socket, backlog=BACKLOG)

    def stop_accepting(self) -> None:
        """Close the listening socket; open connections go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Stop accepting and end every connection, open ones with close_notify."""
        self.stop_accepting()
        for connection in tuple(self._entries):
            connection.close()

    def _make_connection(self) -> TlsConnection:
        return TlsConnection(self._loop, self, self._pool, self._limits)

    # Owner of the connections.

    def arrived(self, connection: TlsConnection) -> None:
        """Count it, or refuse it without a byte."""
        source = source_of(connection.address)
        now = self._clock.monotonic()
        try:
            self._turnstile.arrive(source, now)
        except ZoneGateError as exc:
            connection.refuse(exc)
            return
        self._entries[connection] = _Entry(source, now)
        if self._turnstile.is_known(source, now):
            connection.urgency = Urgency.KNOWN

    def hello(self, connection: TlsConnection, data: bytes) -> Handshake | None:
        """Refuse a hopeless hello, charge a hopeful one, and begin."""
        hello = parse_client_hello(data)
        if hello is None:
            return None
        check_client_hello(hello, self._holder.key_exchange.group_numbers)
        self._turnstile.hello(self._entries[connection].source, self._clock.monotonic())
        return self._holder.server_handshake(connection.address, self._admit)

    def admitted(self, connection: TlsConnection) -> ChannelApp:
        """Count it to its identity and index it."""
        entry = self._entries[connection]
        self._settle(entry)
        identity = str(connection.peer.identity)
        now = self._clock.monotonic()
        self._turnstile.admit(entry.source, identity, now)
        entry.identity = identity
        self._live.add(connection)
        self._on_accepted(now - entry.began)
        return self._app_factory()

    def refused(self, connection: TlsConnection, error: ZoneGateError) -> None:
        """Report it; it takes no handshake's place while its alert is on the way."""
        entry = self._entries.get(connection)
        if entry is not None:
            self._settle(entry)
        self._on_refusal(error.reason, connection.address, error.detail)

    def gone(self, connection: TlsConnection) -> None:
        """Undo what was counted."""
        entry = self._entries.pop(connection, None)
        if entry is None:
            return
        self._settle(entry)
        self._turnstile.leave(entry.source)
        if entry.identity is not None:
            self._live.discard(connection)
            self._turnstile.release(entry.source, entry.identity, self._clock.monotonic())

    def _settle(self, entry: _Entry) -> None:
        if not entry.settled:
            entry.settled = True
            self._turnstile.settle(entry.source)
