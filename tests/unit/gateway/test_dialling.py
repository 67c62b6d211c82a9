"""How a process reaches its next hops: each address in turn, the expected peer at each; a local server has no peer."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

from support.clock import FakeClock
from support.wire import PassingHandler
from zonegate.gateway import dialling
from zonegate.gateway.dialling import PlainDialler, TlsDialler
from zonegate.gateway.http2.connection import Limits
from zonegate.gateway.relay.core import Relay, RelayLimits
from zonegate.gateway.relay.upstream import UpstreamPool
from zonegate.reasons import Reason
from zonegate.strictconf import Address


def test_addresses_are_tried_in_turn(monkeypatch: Any) -> None:
    tried: list[tuple[str, int, object, float]] = []

    def connect(_loop: object, host: str, port: int, *, expect: object, timeout: float, **_rest: object) -> None:
        tried.append((host, port, expect, timeout))

    monkeypatch.setattr(dialling, "connect_tls", connect)
    expect = object()
    dialler = TlsDialler(
        SimpleNamespace(),  # type: ignore[arg-type]  # handed through
        [Address("192.0.2.1", 1), Address("192.0.2.2", 2)],
        holder=SimpleNamespace(),  # type: ignore[arg-type]
        pool=SimpleNamespace(),  # type: ignore[arg-type]
        live=SimpleNamespace(),  # type: ignore[arg-type]
        expect=expect,  # type: ignore[arg-type]
        limits=SimpleNamespace(),  # type: ignore[arg-type]
        seconds=3.0,
    )
    for _ in range(3):
        dialler.dial(SimpleNamespace())  # type: ignore[arg-type]
    assert [(host, port) for host, port, *_ in tried] == [("192.0.2.1", 1), ("192.0.2.2", 2), ("192.0.2.1", 1)]
    assert {(kept, seconds) for _, _, kept, seconds in tried} == {(expect, 3.0)}


def test_a_local_server_that_is_not_there_is_an_outage() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async def attempt() -> Reason:
        loop = asyncio.get_running_loop()
        relay = Relay(loop, PassingHandler(), RelayLimits(), FakeClock())
        pool = UpstreamPool(relay, "local", PlainDialler(loop, Address("127.0.0.1", port), 1.0), Limits())
        told: asyncio.Future[Reason] = loop.create_future()
        user = SimpleNamespace(
            up_block=b"",
            half_closed=True,
            settled=False,
            next_hop_gone=lambda reason, _detail: told.set_result(reason),
        )
        pool.submit(user)
        return await asyncio.wait_for(told, 5)

    assert asyncio.run(attempt()) is Reason.E_UPSTREAM
