"""Connections between our own ends on real sockets, with certificates of the real CA."""

import asyncio
import socket
from pathlib import Path

import pytest

from support.clock import NOON
from support.pki import TestNet, make_net
from support.tls_bench import Bench, Caller, SteadyClock, bench, quick, run, soon
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import Peer
from zonegate.gateway.tls.context import ContextHolder
from zonegate.gateway.tls.status import FileSource, StatusKeeper
from zonegate.gateway.tls.verifier import PeerVerifier, StatusSource
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason


class World:
    """One net with a gateway and a system."""

    def __init__(self, path: Path) -> None:
        self.clock = SteadyClock(NOON)
        self.net: TestNet = make_net(path, Net.EXTRA, self.clock)
        self.gateway = self.net.issue(Profile.GATEWAY, "gw")
        self.system = self.net.issue(Profile.SYSTEM, "system")

    def holder(self, credential: Credential, status: StatusSource) -> ContextHolder:
        verifier = PeerVerifier(self.net.anchors(), status=status, status_rule=StatusRule.REQUIRED, clock=self.clock)
        return ContextHolder(credential, verifier)

    def keeper(self, loop: asyncio.AbstractEventLoop, revoked: object, problems: object) -> StatusKeeper:
        return StatusKeeper(
            loop,
            [FileSource(path) for path in self.net.crl_paths],
            issuers=(self.net.root, self.net.sub_ca),
            rule=StatusRule.REQUIRED,
            clock=self.clock,
            on_change=revoked,  # type: ignore[arg-type]
            on_problem=problems,  # type: ignore[arg-type]
            poll_seconds=0.02,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("net"))


class Lists:
    def __init__(self, net: TestNet) -> None:
        self.crls = net.crls()


@pytest.fixture(scope="module")
def gateway(world: World) -> ContextHolder:
    return world.holder(world.gateway.load(), Lists(world.net))


@pytest.fixture(scope="module")
def system(world: World) -> ContextHolder:
    return world.holder(world.system.load(), Lists(world.net))


@pytest.mark.req("TL-01", "TL-03")
def test_messages_both_ways_and_an_orderly_end(world: World, gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async with bench(gateway, clock=world.clock) as b:
            caller = await b.talk(system, bytes(range(256)) * 4096)
            assert [str(peer.identity) for peer in b.opened] == [str(world.system.identity)]
            channel = caller.ready.result()
            assert str(channel.peer.identity) == str(world.gateway.identity)
            channel.write(b"last words")
            channel.close()
            channel.write(b"lost, as documented")
            assert await caller.end is None
            assert await b.closed.get() is None
            assert b.refusals.empty()

    run(test)


def test_what_is_written_in_one_wake_up_arrives_whole_and_in_order(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async with bench(gateway) as b:
            caller = await b.talk(system)
            channel = caller.ready.result()
            for number in range(1000):
                channel.write(number.to_bytes(4, "big"))
            data = await caller.read(4000)
            assert [int.from_bytes(data[at : at + 4], "big") for at in range(0, 4000, 4)] == list(range(1000))

    run(test)


def test_the_listener_ends_its_connections_with_close_notify(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async with bench(gateway) as b:
            callers = [await b.talk(system) for _ in range(3)]
            assert b.listener is not None
            b.listener.stop_accepting()
            late, _attempt = b.connect(system)
            assert (await late.refused()).reason is Reason.E_UPSTREAM
            assert (await self_talk(callers[0])) == b"still served"
            b.listener.close()
            assert [await caller.end for caller in callers] == [None, None, None]

    async def self_talk(caller: Caller) -> bytes:
        caller.ready.result().write(b"still served")
        return await caller.read(12)

    run(test)


def test_an_aborted_channel_ends_at_both_ends(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async with bench(gateway) as b:
            caller = await b.talk(system)
            caller.ready.result().abort(Reason.E_DRAINING, "going down")
            assert (await caller.refused()).reason is Reason.E_DRAINING
            seen = await b.closed.get()
            assert seen is not None
            assert seen.reason is Reason.E_UPSTREAM_RESET

    run(test)


@pytest.mark.req("TL-07", "RV-04")
def test_a_revoked_callers_connection_ends_and_it_does_not_come_back(world: World):
    """The whole way: the CA publishes, the poller sees it, the connection is found, the next handshake is refused."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        problems: list[str] = []
        live: list[Bench] = []
        keeper = world.keeper(
            loop,
            lambda revoked: live[0].live.abort_revoked(revoked),
            lambda reason, detail: problems.append(f"{reason} {detail}"),
        )
        assert keeper.load() == []
        victim, other = (world.net.issue(Profile.SYSTEM, name) for name in ("victim", "other"))
        lists = Lists(world.net)
        async with bench(world.holder(world.gateway.load(), keeper), clock=world.clock) as b:
            live.append(b)
            keeper.start()
            doomed = await b.talk(world.holder(victim.load(), lists))
            spared = await b.talk(world.holder(other.load(), lists))
            world.net.revoke(victim.serial)
            world.net.write_crl()
            seen = await b.closed.get()
            assert seen is not None
            assert seen.reason is Reason.E_CERT_REVOKED
            assert (await doomed.refused()).reason is Reason.E_UPSTREAM_RESET
            again, _attempt = b.connect(world.holder(victim.load(), lists))
            refusal = await again.refused()
            assert (refusal.reason, await b.reason()) == (Reason.E_UPSTREAM, Reason.E_CERT_REVOKED)
            assert "certificate_revoked" in refusal.detail
            spared.ready.result().write(b"spared")
            assert await spared.read(6) == b"spared"
            assert problems == []
            keeper.close()

    run(test)


@pytest.mark.req("RV-02")
def test_a_stale_list_refuses_newcomers(world: World, system: ContextHolder):
    async def test() -> None:
        clock = SteadyClock(world.net.crls()[1].next_update)
        verifier = PeerVerifier(
            world.net.anchors(), status=Lists(world.net), status_rule=StatusRule.REQUIRED, clock=clock
        )
        async with bench(ContextHolder(world.gateway.load(), verifier)) as b:
            caller, _attempt = b.connect(system)
            assert (await caller.refused()).reason is Reason.E_UPSTREAM
            assert await b.reason() is Reason.E_STATUS_STALE

    run(test)


# Outward.


def test_a_peer_that_is_not_expected_gets_no_byte(gateway: ContextHolder, system: ContextHolder):
    def expect(peer: Peer) -> None:
        raise ZoneGateError(Reason.E_PEER_IDENTITY, f"identity: {peer.identity} is not expected")

    async def test() -> None:
        async with bench(gateway) as b:
            caller, _attempt = b.connect(system, expect=expect)
            assert (await caller.refused()).reason is Reason.E_PEER_IDENTITY
            assert await b.reason() is Reason.E_TLS_ALERT
            assert b.opened == []

    run(test)


def test_nobody_listens(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        async with bench(gateway) as b:
            caller, _attempt = b.connect(system, port=port)
            refusal = await caller.refused()
            assert refusal.reason is Reason.E_UPSTREAM
            assert f"127.0.0.1:{port}" in refusal.detail

    run(test)


def test_a_server_that_never_answers(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            async with bench(gateway) as b:
                caller, _attempt = b.connect(system, port=mute.getsockname()[1], seconds=0.2)
                refusal = await caller.refused()
                assert (refusal.reason, "0.2 s" in refusal.detail) == (Reason.E_UPSTREAM, True)

    run(test)


def test_a_server_that_speaks_something_else(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await writer.drain()
            writer.close()

        other = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with bench(gateway) as b:
            caller, _attempt = b.connect(system, port=other.sockets[0].getsockname()[1])
            assert (await caller.refused()).reason is Reason.E_UPSTREAM
        other.close()

    run(test)


def test_an_attempt_that_is_given_up(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async with bench(gateway) as b:
            caller, attempt = b.connect(system)
            attempt.cancel()
            attempt.cancel()
            assert (await caller.refused()).reason is Reason.E_CANCELLED

    run(test)


# Pressure.


class Flood:
    """Writes without end until told to stop, as a server that streams."""

    piece = bytes(65536)

    def __init__(self, b: Bench) -> None:
        self.bench = b
        self.going = True

    def opened(self, channel: object) -> None:
        self.channel = channel
        asyncio.get_running_loop().call_soon(self._more)

    def _more(self) -> None:
        if self.going:
            self.channel.write(self.piece)  # type: ignore[attr-defined]
            asyncio.get_running_loop().call_soon(self._more)

    def received(self, data: bytes) -> None:
        """Nothing is asked."""

    def writable(self, flag: bool) -> None:
        self.bench.writable.append(flag)
        self.going = flag
        if flag:
            self._more()

    def closed(self, error: ZoneGateError | None) -> None:
        self.going = False
        self.bench.closed.put_nowait(error)


def test_a_reader_that_pauses_stops_the_writer_and_starts_it_again(gateway: ContextHolder, system: ContextHolder):
    async def test() -> None:
        async with bench(gateway, app=Flood) as b:
            caller, _attempt = b.connect(system)
            channel = await caller.ready
            channel.pause()
            await soon(lambda: b.writable == [False])
            channel.resume()
            await soon(lambda: b.writable[:2] == [False, True])
            channel.abort(Reason.E_CANCELLED)
            assert (await b.closed.get()) is not None

    run(test)


def test_a_writer_that_does_not_stop_is_cut_at_the_limit(gateway: ContextHolder, system: ContextHolder):
    class Deaf(Flood):
        def writable(self, flag: bool) -> None:
            self.bench.writable.append(flag)

    async def test() -> None:
        async with bench(gateway, app=Deaf, limits=quick(write_limit_bytes=4 << 20)) as b:
            caller, _attempt = b.connect(system)
            (await caller.ready).pause()
            seen = await b.closed.get()
            assert seen is not None
            assert (seen.reason, "does not read" in seen.detail) == (Reason.E_UPSTREAM_RESET, True)

    run(test)


def test_rotation_under_load_drops_nothing(world: World, system: ContextHolder):
    async def test() -> None:
        holder = world.holder(world.gateway.load(), Lists(world.net))
        async with bench(holder) as b:
            before = await b.talk(system)
            renewed = world.net.issue(Profile.GATEWAY, "gw")
            holder.renew(renewed.load())
            after = await b.talk(system)
            assert after.ready.result().peer.serial == renewed.serial
            before.ready.result().write(b"old")
            assert await before.read(3) == b"old"

    run(test)


def test_a_worn_connection_says_so_and_ends_before_its_keys_are_used_up(gateway: ContextHolder, system: ContextHolder):
    """RFC 8446 5.5: a GCM key seals a bounded number of records; keys cannot be changed here, connections can."""

    async def test() -> None:
        async with bench(gateway, limits=quick(worn_records=6, records_limit=12)) as b:
            caller = await b.talk(system)
            channel = caller.ready.result()
            assert not channel.worn
            for _ in range(5):
                channel.write(b"x")
                await caller.read(1)
            assert channel.worn
            channel.write(b"x")
            await caller.read(1)
            for _ in range(6):
                channel.write(bytes(20_000))
                await asyncio.sleep(0)
            assert (await caller.refused()).reason is Reason.E_UPSTREAM_RESET

    run(test)


def test_an_app_with_a_defect_ends_its_connection_alone(gateway: ContextHolder, system: ContextHolder):
    class Defect:
        def __init__(self, b: Bench) -> None:
            self.bench = b

        def opened(self, channel: object) -> None:
            raise KeyError(channel)

        def received(self, data: bytes) -> None:
            raise AssertionError(data)

        def writable(self, flag: bool) -> None:
            raise AssertionError(flag)

        def closed(self, error: ZoneGateError | None) -> None:
            self.bench.closed.put_nowait(error)

    async def test() -> None:
        seen: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context["exception"]))
        async with bench(gateway, app=Defect) as b:
            caller, _attempt = b.connect(system)
            error = await b.closed.get()
            assert error is not None
            assert error.reason is Reason.E_INTERNAL
            assert (await caller.refused()).reason is Reason.E_UPSTREAM_RESET
            assert isinstance(seen[0], KeyError)

    run(test)
