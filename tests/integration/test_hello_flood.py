"""`Must be shown` 7: under a storm of ClientHellos from strangers, admitted calls through two gateways lose nothing."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from support import strangers
from support.lab import METADATA, UNARY, Lab

pytestmark = pytest.mark.xdist_group("abuse")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("flood"))
    lab.start()
    yield lab
    lab.close()


def storm(lab: Lab, per_second: int, seconds: float, record: Callable[[str, object], None]) -> None:
    latencies: list[float] = []
    failed: list[grpc.RpcError] = []
    stop = threading.Event()

    def call_on() -> None:
        with lab.channel() as channel:
            unary = channel.unary_unary(UNARY)
            while not stop.is_set():
                begun = time.perf_counter()
                try:
                    unary(b"x" * 200, metadata=METADATA, timeout=10)
                except grpc.RpcError as error:
                    failed.append(error)
                else:
                    latencies.append(time.perf_counter() - begun)

    refused = lab.gateway_a.figure("zonegate_handshake_refusals_total")
    threads = [threading.Thread(target=call_on) for _ in range(2)]
    for thread in threads:
        thread.start()
    program = subprocess.run(
        [sys.executable, strangers.__file__, str(lab.ports["gw-a"]), str(per_second), str(seconds)],
        env={"PYTHONPATH": str(Path(strangers.__file__).parent.parent)},
        check=True,
        capture_output=True,
        timeout=seconds + 20,
    )
    stop.set()
    for thread in threads:
        thread.join()
    latencies.sort()
    for name, value in {
        "hellos a second": round(int(program.stdout) / seconds),
        "refused": lab.gateway_a.figure("zonegate_handshake_refusals_total") - refused,
        "calls": len(latencies),
        "p50 ms": round(latencies[len(latencies) // 2] * 1e3, 1),
        "p99 ms": round(latencies[len(latencies) * 99 // 100] * 1e3, 1),
        "failed": len(failed),
    }.items():
        record(name, value)
    assert not failed, failed[0]
    assert latencies
    assert lab.gateway_a.figure("zonegate_handshake_refusals_total") > refused


@pytest.mark.req("TL-03")
def test_200_hellos_a_second_cost_no_call(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    storm(lab, 200, 2.0, record_property)


@pytest.mark.stress
@pytest.mark.req("TL-03")
def test_1000_hellos_a_second_cost_no_call(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    storm(lab, 1000, 5.0, record_property)
