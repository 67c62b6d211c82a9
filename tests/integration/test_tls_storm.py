"""`Must be shown` 7, the long form: 1,000 ClientHellos a second from strangers cost an admitted caller nothing."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support import strangers
from support.forge import ForgedNet
from support.tls import make_holder
from support.tls_bench import bench, gateway_leaf, run
from zonegate.reasons import Reason

NET = ForgedNet()
HOLDER, CLIENT = make_holder(NET, gateway_leaf(NET)), make_holder(NET, NET.leaf("system"))
SECONDS = 10.0
EXPECTED = {Reason.E_TLS_RATE, Reason.E_TLS_INCOMPLETE, Reason.E_TLS_TIMEOUT, Reason.E_CONNECTIONS}


@pytest.mark.stress
@pytest.mark.parametrize("per_second", [300, 1000])
def test_admitted_calls_lose_nothing(per_second: int, record_property: Callable[[str, object], None]):
    async def test() -> None:
        async with bench(HOLDER) as b:
            caller = await b.talk(CLIENT)
            channel = caller.ready.result()
            program = await asyncio.create_subprocess_exec(
                sys.executable,
                str(Path(strangers.__file__)),
                str(b.port),
                str(per_second),
                str(SECONDS),
                stdout=subprocess.PIPE,
                env={"PYTHONPATH": str(Path(strangers.__file__).parent.parent)},
            )
            ended = asyncio.ensure_future(program.communicate())
            # The first refusal says that the strangers have arrived.
            await b.refusals.get()
            latencies = []
            while not ended.done():
                message = len(latencies).to_bytes(4, "big") * 50
                then = b.clock.monotonic()
                channel.write(message)
                assert await caller.read(len(message)) == message
                latencies.append(b.clock.monotonic() - then)
                await asyncio.sleep(0.001)
            sent = int((await ended)[0])
            latencies.sort()
            figures = {
                "hellos per second": round(sent / SECONDS),
                "echoes": len(latencies),
                "p50 µs": round(latencies[len(latencies) // 2] * 1e6),
                "p99 µs": round(latencies[len(latencies) * 99 // 100] * 1e6),
                "max µs": round(latencies[-1] * 1e6),
            }
            for name, value in figures.items():
                record_property(name, value)
            assert sent >= 0.9 * per_second * SECONDS, figures
            assert len(latencies) > 1000, figures
            assert figures["p99 µs"] < 50_000, figures
            assert {b.refusals.get_nowait()[0] for _ in range(b.refusals.qsize())} <= EXPECTED
            # Somebody known still gets in.
            await b.talk(CLIENT)

    run(test)
