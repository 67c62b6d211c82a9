"""[a] How a process reaches its next hops: the addresses of one hop, tried in turn, and who must answer there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.gateway.tls.client import connect_tls
from zonegate.gateway.tls.plain import connect_plain

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from zonegate.gateway.relay.upstream import Upstream
    from zonegate.gateway.tls.channel import Peer
    from zonegate.gateway.tls.context import ContextHolder
    from zonegate.gateway.tls.handshake import HandshakePool
    from zonegate.gateway.tls.limits import TlsLimits
    from zonegate.gateway.tls.live import LiveChannels
    from zonegate.strictconf import Address


class TlsDialler:
    """Connects over RFC 8998 and refuses a peer that `expect` refuses (E_PEER_IDENTITY)."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        addresses: Sequence[Address],
        *,
        holder: ContextHolder,
        pool: HandshakePool,
        live: LiveChannels,
        expect: Callable[[Peer], None],
        limits: TlsLimits,
        seconds: float,
    ) -> None:
        self._loop = loop
        self._addresses = addresses
        self._holder = holder
        self._pool = pool
        self._live = live
        self._expect = expect
        self._limits = limits
        self._seconds = seconds
        self._next = 0

    def dial(self, app: Upstream) -> None:
        """Try the next address."""
        address = self._addresses[self._next % len(self._addresses)]
        self._next += 1
        connect_tls(
            self._loop,
            address.host,
            address.port,
            holder=self._holder,
            pool=self._pool,
            live=self._live,
            expect=self._expect,
            app=app,
            limits=self._limits,
            timeout=self._seconds,
        )


class PlainDialler:
    """Connects to a local server, without TLS: the last hop from a connector to its system."""

    def __init__(self, loop: asyncio.AbstractEventLoop, address: Address, seconds: float) -> None:
        self._loop = loop
        self._address = address
        self._seconds = seconds

    def dial(self, app: Upstream) -> None:
        """Connect."""
        connect_plain(self._loop, self._address, app=app, timeout=self._seconds)
