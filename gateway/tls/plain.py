"""[a] The same channels without TLS, for the local edge: Unix sockets and loopback TCP, with the peer's user checked.

A listener asks the kernel who the peer is (SO_PEERCRED; for TCP the socket table) and refuses users that the route does
not list. It is for one machine: an address that is not loopback is refused at start.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Collection
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import cast

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import ChannelApp, Peer
from zonegate.gateway.tls.procnet import Endpoint, find_uid
from zonegate.gateway.tls.server import BACKLOG, OnRefusal
from zonegate.reasons import Reason
from zonegate.strictconf import Address

_CREDENTIALS = struct.Struct("3i")
_SOCKET_TABLES = ((Path("/proc/net/tcp"), False), (Path("/proc/net/tcp6"), True))


@dataclass(frozen=True, slots=True)
class PlainLimits:
    """The limits of one local listener or connection; counts, seconds and bytes."""

    connections: int = 1024
    linger_seconds: float = 3.0
    write_high_bytes: int = 262144
    write_limit_bytes: int = 16 << 20


class PlainConnection(asyncio.Protocol):
    """One local connection; the app's `Channel`. `judge` describes the peer or refuses it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        limits: PlainLimits,
        judge: Callable[["PlainConnection"], ChannelApp | None],
        gone: Callable[["PlainConnection"], None],
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self._loop = loop
        self._limits = limits
        self._judge = judge
        self._gone = gone
        self._app: ChannelApp | None = None
        self._peer = Peer(address="")
        self._error: ZoneGateError | None = None
        self._outgoing: list[bytes] = []
        self._flush_due = False
        self._closing = False
        self._linger: asyncio.TimerHandle | None = None

    # The app's side.

    @property
    def peer(self) -> Peer:
        """Who is at the other end: address and, where this side listens, uid."""
        return self._peer

    @peer.setter
    def peer(self, peer: Peer) -> None:
        self._peer = peer

    @property
    def worn(self) -> bool:
        """Never: there are no keys."""
        return False

    def write(self, data: bytes) -> None:
        """Queue `data` for the write at the end of this wake-up."""
        if self._closing or self.transport is None or not data:
            return
        self._outgoing.append(data)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def write_now(self, data: bytes) -> None:
        """Send `data` at once, behind what is queued."""
        if not self._closing and self.transport is not None and data:
            self._outgoing.append(data)
            self._flush()

    def close(self) -> None:
        """Send what is queued, then end."""
        self._flush()
        if self._closing or self.transport is None:
            return
        self._closing = True
        self.transport.close()
        self._linger = self._loop.call_later(self._limits.linger_seconds, self._drop)

    def abort(self, reason: Reason, detail: str = "") -> None:
        """End at once."""
        if not self._closing:
            self._error = ZoneGateError(reason, detail or "connection: ended by this side")
        self._closing = True
        self._drop()

    def pause(self) -> None:
        """Read no more until `resume`."""
        if self.transport is not None and not self._closing:
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.transport is not None and not self._closing:
            self.transport.resume_reading()

    # The loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask who is there, then open."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=self._limits.write_high_bytes)
        self._app = self._judge(self)
        if self._app is not None:
            self._app.opened(self)

    def data_received(self, data: bytes) -> None:
        """Hand on what one wake-up brought and flush the answer."""
        if self._app is None or self._closing:
            return
        self._app.received(data)
        if self._outgoing:
            self._flush()

    def eof_received(self) -> bool:
        """Close our half as well."""
        return False

    def pause_writing(self) -> None:
        """Tell the app to stop."""
        if self._app is not None and not self._closing:
            self._app.writable(False)  # noqa: FBT003 - the protocol's word

    def resume_writing(self) -> None:
        """Tell the app to go on."""
        if self._app is not None and not self._closing:
            self._app.writable(True)  # noqa: FBT003 - the protocol's word

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end, once."""
        if self._linger is not None:
            self._linger.cancel()
        self.transport = None
        self._outgoing.clear()
        app, self._app = self._app, None
        if app is not None:
            if exc is not None and self._error is None and not self._closing:
                self._error = ZoneGateError(Reason.E_UPSTREAM_RESET, f"connection: {exc}")
            app.closed(self._error)
        self._gone(self)

    def _flush(self) -> None:
        self._flush_due = False
        transport = self.transport
        if not self._outgoing or transport is None or self._closing:
            return
        data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        transport.write(data)
        if transport.get_write_buffer_size() > self._limits.write_limit_bytes:
            self.abort(Reason.E_UPSTREAM_RESET, "connection: the peer does not read what it has asked for")

    def _drop(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class PlainListener:
    """A local listening socket of one route; only the users in `uids` are served."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        *,
        uids: Collection[int],
        app_factory: Callable[[], ChannelApp],
        on_refusal: OnRefusal,
        limits: PlainLimits | None = None,
    ) -> None:
        if sock.family != socket.AF_UNIX and not ip_address(sock.getsockname()[0]).is_loopback:
            raise ZoneGateError(
                Reason.E_CONFIG, f"listen: {sock.getsockname()[0]} is not loopback; the local edge serves one machine"
            )
        self._loop = loop
        self._socket = sock
        self._uids = frozenset(uids)
        self._app_factory = app_factory
        self._on_refusal = on_refusal
        self._limits = limits or PlainLimits()
        self._server: asyncio.Server | None = None
        self._connections: set[PlainConnection] = set()

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def start(self) -> None:
        """Listen."""
        if self._socket.family == socket.AF_UNIX:
            self._server = await self._loop.create_unix_server(self._make, sock=self._socket, backlog=BACKLOG)
        else:
            self._server = await self._loop.create_server(self._make, sock=self._socket, backlog=BACKLOG)

    def stop_accepting(self) -> None:
        """Close the listening socket; open connections go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def close(self) -> None:
        """Stop accepting and end every connection."""
        self.stop_accepting()
        for connection in tuple(self._connections):
            connection.close()

    def _make(self) -> PlainConnection:
        return PlainConnection(self._loop, self._limits, self._judge, self._connections.discard)

    def _judge(self, connection: PlainConnection) -> ChannelApp | None:
        transport = connection.transport
        if transport is None:
            return None
        address = _address_of(transport)
        if len(self._connections) >= self._limits.connections:
            self._refuse(connection, Reason.E_CONNECTIONS, address, f"connections: {self._limits.connections} are open")
            return None
        uid = peer_uid(transport)
        if uid is None or uid not in self._uids:
            found = "an unknown user" if uid is None else f"user {uid}"
            self._refuse(connection, Reason.E_LOCAL_PEER, address, f"uid: {found} is not in the route's list")
            return None
        connection.peer = Peer(address=address, uid=uid)
        self._connections.add(connection)
        return self._app_factory()

    def _refuse(self, connection: PlainConnection, reason: Reason, address: str, detail: str) -> None:
        self._on_refusal(reason, address, detail)
        connection.abort(reason, detail)


def open_unix_socket(path: Path, mode: int = 0o660) -> socket.socket:
    """Return a listening Unix socket at `path`; a socket that a dead process left there is replaced.

    The mode is set before the name exists under `path`, so nobody can connect in between.
    """
    if path.exists() and not path.is_socket():
        raise ZoneGateError(Reason.E_CONFIG, f"listen: {path.name} exists and is not a socket")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        sock.bind(str(fresh))
        fresh.chmod(mode)
        sock.listen(BACKLOG)
        fresh.replace(path)
    except OSError as exc:
        sock.close()
        raise ZoneGateError(Reason.E_CONFIG, f"listen: {path.name} cannot be bound: {exc.strerror or exc}") from exc
    sock.setblocking(False)  # noqa: FBT003 - the socket module's own parameter
    return sock


def peer_uid(transport: asyncio.Transport) -> int | None:
    """Return the user at the other end of a local connection, None where the kernel does not say."""
    sock = transport.get_extra_info("socket")
    if sock.family == socket.AF_UNIX:
        _pid, uid, _gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        return int(uid)
    peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if not isinstance(peer, tuple) or not isinstance(own, tuple) or not ip_address(peer[0]).is_loopback:
        return None
    return _tcp_uid((peer[0], peer[1]), (own[0], own[1]))


def _tcp_uid(peer: Endpoint, own: Endpoint) -> int | None:
    for table, wide in _SOCKET_TABLES:
        try:
            text = table.read_text(encoding="ascii")
        except OSError:
            # No IPv6 on this machine, or no /proc: then nobody is known, and an unknown user is refused.
            continue
        uid = find_uid(text, peer, own, wide=wide)
        if uid is not None:
            return uid
    return None


def _address_of(transport: asyncio.Transport) -> str:
    peername = transport.get_extra_info("peername")
    return str(peername[0]) if isinstance(peername, tuple) else "unix"


class PlainAttempt:
    """A local connection attempt in progress."""

    def __init__(self, loop: asyncio.AbstractEventLoop, where: Address, app: ChannelApp, limits: PlainLimits) -> None:
        self._loop = loop
        self._where = where
        self._app = app
        self._limits = limits
        self._task: asyncio.Task[None] | None = None
        self._settled = False

    def start(self, seconds: float) -> None:
        """Begin; the outcome comes through the app."""
        self._task = self._loop.create_task(self._connect(seconds))

    def cancel(self) -> None:
        """Give up; an open channel is ended by its own `close` or `abort`, not by this."""
        self._fail(ZoneGateError(Reason.E_CANCELLED, f"{self._where}: the attempt was given up"))
        if self._task is not None:
            self._task.cancel()

    async def _connect(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                if self._where.path is not None:
                    await self._loop.create_unix_connection(self._make, str(self._where.path))
                else:
                    await self._loop.create_connection(self._make, self._where.host, self._where.port)
        except TimeoutError:
            self._fail(ZoneGateError(Reason.E_UPSTREAM, f"{self._where}: not connected in {seconds:g} s"))
        except OSError as exc:
            why = exc.strerror or type(exc).__name__
            self._fail(ZoneGateError(Reason.E_UPSTREAM, f"{self._where}: cannot be reached: {why}"))

    def _make(self) -> PlainConnection:
        return PlainConnection(self._loop, self._limits, self._judge, lambda _connection: None)

    def _judge(self, connection: PlainConnection) -> ChannelApp | None:
        if self._settled:
            connection.abort(Reason.E_CANCELLED)
            return None
        self._settled = True
        if connection.transport is not None:
            connection.peer = Peer(address=_address_of(connection.transport))
        return self._app

    def _fail(self, error: ZoneGateError) -> None:
        if not self._settled:
            self._settled = True
            self._app.closed(error)


def connect_plain(
    loop: asyncio.AbstractEventLoop,
    where: Address,
    *,
    app: ChannelApp,
    timeout: float,
    limits: PlainLimits | None = None,
) -> PlainAttempt:
    """Start connecting to a local server; the app gets `opened`, or `closed` with E_UPSTREAM."""
    attempt = PlainAttempt(loop, where, app, limits or PlainLimits())
    attempt.start(timeout)
    return attempt
