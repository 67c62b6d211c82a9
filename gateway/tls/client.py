"""[a] Connects outward over RFC 8998 and makes sure that the peer is the one that the caller expects.

One attempt, one connection: trying again, choosing an address and pooling are the caller's. A TLS 1.3 client is done
before the server has judged it, so a refusal by the server may arrive after `opened`, as E_UPSTREAM in `closed`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import ChannelApp, Peer
from zonegate.gateway.tls.connection import TlsConnection
from zonegate.gateway.tls.context import ContextHolder
from zonegate.gateway.tls.handshake import HandshakePool, Urgency
from zonegate.gateway.tls.limits import TlsLimits
from zonegate.gateway.tls.live import LiveChannels
from zonegate.gateway.tls.session import Handshake
from zonegate.reasons import Reason

# What went wrong on this side of the handshake says nothing to a caller whose next hop cannot be reached.
_UNREACHABLE = frozenset({Reason.E_TLS_PROTOCOL, Reason.E_TLS_INCOMPLETE, Reason.E_TLS_TIMEOUT, Reason.E_TLS_RATE})


class Attempt:
    """A connection attempt in progress; becomes a channel, given to the app by `opened`, or ends in `closed`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        where: str,
        *,
        holder: ContextHolder,
        pool: HandshakePool,
        live: LiveChannels,
        expect: Callable[[Peer], None],
        app: ChannelApp,
        limits: TlsLimits,
    ) -> None:
        self._loop = loop
        self._where = where
        self._holder = holder
        self._pool = pool
        self._live = live
        self._expect = expect
        self._app = app
        self._limits = limits
        self._task: asyncio.Task[None] | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._connection: TlsConnection | None = None
        self._reported = False

    def start(self, host: str, port: int) -> None:
        """Begin; the outcome comes through the app."""
        self._deadline = self._loop.call_later(self._limits.handshake_seconds, self._out_of_time)
        self._task = self._loop.create_task(self._connect(host, port))

    def cancel(self) -> None:
        """Give up; an open channel is ended by its own `close` or `abort`, not by this."""
        self._end(ZoneGateError(Reason.E_CANCELLED, f"{self._where}: the attempt was given up"))

    async def _connect(self, host: str, port: int) -> None:
        try:
            await self._loop.create_connection(self._make_connection, host, port)
        except OSError as exc:
            why = exc.strerror or type(exc).__name__
            self._end(ZoneGateError(Reason.E_UPSTREAM, f"{self._where}: cannot be reached: {why}"))

    def _make_connection(self) -> TlsConnection:
        self._connection = TlsConnection(self._loop, self, self._pool, self._limits)
        self._connection.urgency = Urgency.KNOWN
        return self._connection

    def _out_of_time(self) -> None:
        seconds = self._limits.handshake_seconds
        self._end(ZoneGateError(Reason.E_UPSTREAM, f"{self._where}: not connected in {seconds:g} s"))

    def _end(self, error: ZoneGateError) -> None:
        if self._reported:
            return
        self._report(error)
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            self._connection.refuse(error)

    def _report(self, error: ZoneGateError) -> None:
        if self._reported:
            return
        self._reported = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._app.closed(error)

    # Owner of the connection.

    def arrived(self, connection: TlsConnection) -> None:
        """Speak first."""
        if self._reported:
            connection.abort(Reason.E_CANCELLED)
            return
        connection.begin(self._holder.client_handshake(connection.address, self._expect))

    def hello(self, connection: TlsConnection, data: bytes) -> Handshake | None:  # noqa: ARG002 - the server's half
        """Never needed: a client's connection begins with `begin`."""
        return None

    def admitted(self, connection: TlsConnection) -> ChannelApp:
        """Index it; from here on the connection itself reports to the app."""
        self._reported = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._live.add(connection)
        return self._app

    def refused(self, connection: TlsConnection, error: ZoneGateError) -> None:  # noqa: ARG002 - one attempt, one connection
        """Report the failure of the handshake."""
        reason = Reason.E_UPSTREAM if error.reason in _UNREACHABLE else error.reason
        self._report(ZoneGateError(reason, f"{self._where}: {error.detail}"))

    def gone(self, connection: TlsConnection) -> None:
        """Forget it."""
        self._live.discard(connection)


def connect_tls(
    loop: asyncio.AbstractEventLoop,
    host: str,
    port: int,
    *,
    holder: ContextHolder,
    pool: HandshakePool,
    live: LiveChannels,
    expect: Callable[[Peer], None],
    app: ChannelApp,
    limits: TlsLimits,
    timeout: float,
) -> Attempt:
    """Start connecting; `expect` raises E_PEER_IDENTITY for a peer that is not the one meant.

    The app gets `opened` with a verified peer, or `closed` with the reason; never both before `opened`.
    """
    attempt = Attempt(
        loop,
        f"{host}:{port}",
        holder=holder,
        pool=pool,
        live=live,
        expect=expect,
        app=app,
        limits=replace(limits, handshake_seconds=timeout),
    )
    attempt.start(host, port)
    return attempt
