"""The local edge: who the peer is by the kernel's word, and who is served."""

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.tls_bench import Bench, Caller, Echo, run, soon
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.handshake import HandshakePool
from zonegate.gateway.tls.limits import TlsLimits
from zonegate.gateway.tls.live import LiveChannels
from zonegate.gateway.tls.plain import PlainLimits, PlainListener, connect_plain, open_unix_socket
from zonegate.reasons import Reason
from zonegate.strictconf import Address

ME = frozenset({os.getuid()})


@asynccontextmanager
async def listening(
    sock: socket.socket, uids: frozenset[int] = ME, limits: PlainLimits | None = None
) -> AsyncIterator[tuple[Bench, PlainListener]]:
    loop = asyncio.get_running_loop()
    made = Bench(loop, HandshakePool(loop), LiveChannels(), clock=None, limits=TlsLimits())  # type: ignore[arg-type]
    listener = PlainListener(
        loop,
        sock,
        uids=uids,
        app_factory=lambda: Echo(made),
        on_refusal=lambda *refusal: made.refusals.put_nowait(refusal),
        limits=limits,
    )
    await listener.start()
    try:
        yield made, listener
    finally:
        listener.close()
        await soon(lambda: listener.connections == 0)


def connect(where: Address, seconds: float = 5.0) -> Caller:
    loop = asyncio.get_running_loop()
    caller = Caller(loop)
    connect_plain(loop, where, app=caller, timeout=seconds)
    return caller


def tcp(host: str = "127.0.0.1") -> tuple[socket.socket, Address]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, 0), family=family)
    return sock, Address(host, sock.getsockname()[1])


def unix(path: Path) -> tuple[socket.socket, Address]:
    return open_unix_socket(path), Address("", 0, path)


@pytest.mark.parametrize("kind", ["unix", "127.0.0.1", "::1"])
def test_a_listed_user_is_served(kind: str, tmp_path: Path):
    async def test() -> None:
        sock, where = unix(tmp_path / "edge") if kind == "unix" else tcp(kind)
        async with listening(sock) as (b, listener):
            caller = connect(where)
            channel = await caller.ready
            message = bytes(range(256)) * 4096
            channel.write(message)
            assert await caller.read(len(message)) == message
            assert b.opened[0].uid == os.getuid()
            assert (b.opened[0].identity, b.opened[0].chain) == (None, ())
            assert listener.connections == 1
            channel.close()
            assert await caller.end is None
            assert await b.closed.get() is None

    run(test)


@pytest.mark.parametrize("kind", ["unix", "127.0.0.1"])
def test_a_user_that_is_not_listed_is_cut_without_a_byte(kind: str, tmp_path: Path):
    async def test() -> None:
        sock, where = unix(tmp_path / "edge") if kind == "unix" else tcp()
        async with listening(sock, frozenset({os.getuid() + 1})) as (b, listener):
            caller = connect(where)
            await caller.end
            reason, _address, detail = await b.refusals.get()
            assert reason is Reason.E_LOCAL_PEER
            assert str(os.getuid()) in detail
            assert (b.opened, listener.connections) == ([], 0)

    run(test)


def test_too_many_local_connections(tmp_path: Path):
    async def test() -> None:
        sock, where = unix(tmp_path / "edge")
        async with listening(sock, limits=PlainLimits(connections=1)) as (b, _listener):
            first = connect(where)
            channel = await first.ready
            channel.write(b"x")
            assert await first.read(1) == b"x"
            await connect(where).end
            assert (await b.refusals.get())[0] is Reason.E_CONNECTIONS

    run(test)


def test_an_address_that_others_can_reach_is_refused_at_start():
    async def test() -> None:
        with socket.create_server(("0.0.0.0", 0)) as sock, pytest.raises(ZoneGateError) as caught:  # noqa: S104
            async with listening(sock):
                pass
        assert caught.value.reason is Reason.E_CONFIG

    run(test)


def test_the_socket_file_is_for_owner_and_group_and_replaces_a_dead_one(tmp_path: Path):
    path = tmp_path / "edge"
    first = open_unix_socket(path)
    first.close()
    second = open_unix_socket(path, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(one.name for one in tmp_path.iterdir()) == ["edge"]
    second.close()


def test_a_file_in_the_sockets_place_is_not_overwritten(tmp_path: Path):
    path = tmp_path / "edge"
    path.write_text("precious")
    with pytest.raises(ZoneGateError) as caught:
        open_unix_socket(path)
    assert caught.value.reason is Reason.E_CONFIG
    assert path.read_text() == "precious"


def test_nobody_there(tmp_path: Path):
    async def test() -> None:
        sock, where = tcp()
        sock.close()
        for address in (where, Address("", 0, tmp_path / "nobody")):
            assert (await connect(address).refused()).reason is Reason.E_UPSTREAM

    run(test)


def test_an_abort_is_reported_with_its_reason():
    async def test() -> None:
        sock, where = tcp()
        async with listening(sock) as (b, _listener):
            caller = connect(where)
            channel = await caller.ready
            channel.abort(Reason.E_DRAINING)
            assert (await caller.refused()).reason is Reason.E_DRAINING
            await b.closed.get()

    run(test)
