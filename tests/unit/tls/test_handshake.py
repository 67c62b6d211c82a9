"""The pool of handshake threads: bounded, two classes, and one bad step ends nothing but itself."""

import asyncio
import threading

import pytest

from support.tls_bench import run
from zonegate.gateway.tls.handshake import HandshakePool, PoolSize, Urgency


class Work:
    """A step that waits for its gate and says when it is done."""

    def __init__(self, name: str, order: list[str], gate: threading.Event | None = None) -> None:
        self.name, self.order, self.gate = name, order, gate
        self.began = threading.Event()
        self.done = asyncio.Event()

    def run(self) -> None:
        self.began.set()
        if self.gate is not None:
            self.gate.wait(10)
        self.order.append(self.name)

    def ran(self) -> None:
        self.done.set()


def test_known_peers_go_first_and_strangers_fill_half_of_the_queue():
    async def test() -> None:
        pool = HandshakePool(asyncio.get_running_loop(), PoolSize(threads=1, queued=4))
        pool.start()
        order: list[str] = []
        gate = threading.Event()
        first = Work("first", order, gate)
        assert pool.submit(first, Urgency.STRANGER)
        await asyncio.get_running_loop().run_in_executor(None, first.began.wait)
        strangers = [Work(f"s{n}", order) for n in range(3)]
        assert [pool.submit(one, Urgency.STRANGER) for one in strangers] == [True, True, False]
        known = [Work(f"k{n}", order) for n in range(3)]
        assert [pool.submit(one, Urgency.KNOWN) for one in known] == [True, True, False]
        assert pool.waiting == 4
        gate.set()
        await strangers[1].done.wait()
        assert order == ["first", "k0", "k1", "s0", "s1"]
        pool.close()
        assert not pool.submit(first, Urgency.KNOWN)

    run(test)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_step_with_a_defect_does_not_end_the_others():
    class Defect(Work):
        def run(self) -> None:
            self.began.set()
            raise RuntimeError(self.name)

    async def test() -> None:
        pool = HandshakePool(asyncio.get_running_loop(), PoolSize(threads=1))
        pool.start()
        order: list[str] = []
        for _ in range(3):
            assert pool.submit(Defect("defect", order), Urgency.KNOWN)
        good = Work("good", order)
        assert pool.submit(good, Urgency.KNOWN)
        await good.done.wait()
        assert order == ["good"]
        pool.close()

    run(test)


def test_closing_drops_what_waits_and_waits_for_what_runs():
    async def test() -> None:
        pool = HandshakePool(asyncio.get_running_loop(), PoolSize(threads=1))
        pool.start()
        order: list[str] = []
        gate = threading.Event()
        running, waiting = Work("running", order, gate), Work("waiting", order)
        pool.submit(running, Urgency.KNOWN)
        pool.submit(waiting, Urgency.KNOWN)
        await asyncio.get_running_loop().run_in_executor(None, running.began.wait)
        threading.Timer(0.05, gate.set).start()
        pool.close()
        assert order == ["running"]

    run(test)
