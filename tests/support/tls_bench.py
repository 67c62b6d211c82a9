"""A listener and its clients on real sockets, for one test: everything is closed at its end."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import uvloop
from OpenSSL import SSL

from support.clock import FakeClock
from support.forge import Forged, ForgedNet
from support.tls import Stock, admit_all, drain, stock_step
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import Channel, Peer
from zonegate.gateway.tls.client import Attempt, connect_tls
from zonegate.gateway.tls.context import ContextHolder
from zonegate.gateway.tls.handshake import HandshakePool, PoolSize
from zonegate.gateway.tls.limits import TlsLimits
from zonegate.gateway.tls.live import LiveChannels
from zonegate.gateway.tls.server import TlsListener
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

PATIENCE_SECONDS = 20.0
Result = TypeVar("Result")


class SteadyClock(FakeClock):
    """A wall clock that a test sets, and the machine's own monotonic one: sockets live in real time."""

    def monotonic(self) -> float:
        return time.monotonic()


def run(test: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run a test on a fresh uvloop; nothing a test awaits may last longer than `PATIENCE_SECONDS`."""
    return uvloop.run(asyncio.wait_for(test(), PATIENCE_SECONDS))


class Echo:
    """Sends back what comes."""

    def __init__(self, bench: "Bench") -> None:
        self._bench = bench
        self.channel: Channel | None = None

    def opened(self, channel: Channel) -> None:
        self.channel = channel
        self._bench.opened.append(channel.peer)

    def received(self, data: bytes) -> None:
        assert self.channel is not None
        self.channel.write(data)

    def writable(self, flag: bool) -> None:
        self._bench.writable.append(flag)

    def closed(self, error: ZoneGateError | None) -> None:
        self._bench.closed.put_nowait(error)


class Caller:
    """A client app that a test drives: `channel` when open, `read` what came, `end` when it is over."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ready: asyncio.Future[Channel] = loop.create_future()
        self.end: asyncio.Future[ZoneGateError | None] = loop.create_future()
        self._arrived = bytearray()
        self._more = asyncio.Event()

    def opened(self, channel: Channel) -> None:
        self.ready.set_result(channel)

    def received(self, data: bytes) -> None:
        self._arrived += data
        self._more.set()

    def writable(self, flag: bool) -> None:
        """Nothing: these tests write little."""

    def closed(self, error: ZoneGateError | None) -> None:
        self.end.set_result(error)
        if not self.ready.done():
            self.ready.cancel()

    async def read(self, size: int) -> bytes:
        while len(self._arrived) < size:
            self._more.clear()
            await self._more.wait()
        data = bytes(self._arrived[:size])
        del self._arrived[:size]
        return data

    async def refused(self) -> ZoneGateError:
        error = await self.end
        assert error is not None
        return error


@dataclass
class Bench:
    """One listener with an echo behind it, and what it has seen."""

    loop: asyncio.AbstractEventLoop
    pool: HandshakePool
    live: LiveChannels
    clock: SteadyClock
    limits: TlsLimits
    listener: TlsListener | None = None
    port: int = 0
    opened: list[Peer] = field(default_factory=list)
    writable: list[bool] = field(default_factory=list)
    closed: asyncio.Queue[ZoneGateError | None] = field(default_factory=asyncio.Queue)
    refusals: asyncio.Queue[tuple[Reason, str, str]] = field(default_factory=asyncio.Queue)

    async def reason(self) -> Reason:
        """Return the next refusal's reason."""
        return (await self.refusals.get())[0]

    def connect(
        self,
        holder: ContextHolder,
        *,
        port: int | None = None,
        expect: Callable[[Peer], None] = admit_all,
        seconds: float = 5.0,
    ) -> tuple[Caller, Attempt]:
        caller = Caller(self.loop)
        attempt = connect_tls(
            self.loop,
            "127.0.0.1",
            self.port if port is None else port,
            holder=holder,
            pool=self.pool,
            live=self.live,
            expect=expect,
            app=caller,
            limits=self.limits,
            timeout=seconds,
        )
        return caller, attempt

    async def talk(self, holder: ContextHolder, message: bytes = b"hello") -> Caller:
        """Connect and exchange a message; the caller stays open."""
        caller, _attempt = self.connect(holder)
        channel = await caller.ready
        channel.write(message)
        assert await caller.read(len(message)) == message
        return caller

    async def in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await self.loop.run_in_executor(None, work, *arguments)


@contextlib.asynccontextmanager
async def bench(
    holder: ContextHolder,
    *,
    clock: SteadyClock | None = None,
    limits: TlsLimits | None = None,
    admit: Callable[[Peer], None] = admit_all,
    threads: int = 2,
    app: Callable[["Bench"], Any] = Echo,
) -> AsyncIterator[Bench]:
    loop = asyncio.get_running_loop()
    pool = HandshakePool(loop, PoolSize(threads=threads))
    limits = limits or TlsLimits()
    made = Bench(loop, pool, LiveChannels(), clock or SteadyClock(), limits)
    sock = socket.create_server(("127.0.0.1", 0))
    made.port = sock.getsockname()[1]
    made.listener = TlsListener(
        loop,
        sock,
        holder=holder,
        pool=pool,
        live=made.live,
        admit=admit,
        app_factory=lambda: app(made),
        limits=limits,
        on_refusal=lambda *refusal: made.refusals.put_nowait(refusal),
        clock=made.clock,
    )
    pool.start()
    await made.listener.start()
    try:
        yield made
    finally:
        made.listener.close()
        for channel in made.live:
            channel.abort(Reason.E_DRAINING)
        while made.listener.connections or len(made.live):
            await asyncio.sleep(0)
        pool.close()


class StockSocket:
    """A stock OpenSSL client on a blocking socket; for threads."""

    def __init__(self, stock: Stock, port: int, source: str = "127.0.0.1") -> None:
        self.connection: SSL.Connection = stock.client()
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))

    def handshake(self) -> None:
        """Finish this end's handshake; the server may still refuse."""
        data = b""
        while True:
            flight = stock_step(self.connection, data)
            if flight:
                self.socket.sendall(flight)
            if self.connection.get_peer_certificate(as_cryptography=True) is not None and data:
                return
            data = self.socket.recv(65536)
            if not data:
                return

    def refusal(self) -> str:
        """Return OpenSSL's words for what ended the connection, or nothing if it was only cut."""
        while True:
            try:
                self.connection.recv(1)
            except SSL.WantReadError:
                try:
                    data = self.socket.recv(65536)
                except ConnectionResetError:
                    return ""
                if not data:
                    return ""
                self.connection.bio_write(data)
            except SSL.Error as exc:
                return " ".join(entry[2] for entry in exc.args[0]) if exc.args else ""

    def exchange(self, message: bytes) -> bytes:
        self.connection.sendall(message)
        self.socket.sendall(drain(self.connection))
        got = b""
        while len(got) < len(message):
            try:
                got += self.connection.recv(65536)
            except SSL.WantReadError:
                self.connection.bio_write(self.socket.recv(65536))
        return got

    def close(self) -> None:
        self.socket.close()


def read_all(port: int, data: bytes, *, half_close: bool = False) -> bytes:
    """Send raw bytes and return everything that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        pieces = []
        try:
            while piece := sock.recv(65536):
                pieces.append(piece)
        except ConnectionResetError:
            pass
        return b"".join(pieces)


def gateway_leaf(net: ForgedNet) -> Forged:
    return net.leaf("gw", Profile.GATEWAY)


async def soon(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; `run` bounds it."""
    while not condition():
        await asyncio.sleep(0.001)


def quick(**changes: Any) -> TlsLimits:
    """The default limits with some changed."""
    return replace(TlsLimits(), **changes)
