"""[a] The processes of a set-up: started, waited for, told to reload, ended by their own number.

A process of the demo dies with it, also when the demo is killed; a lab's processes go on.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

from zonegate.clock import Clock
from zonegate.demo.layout import Layout
from zonegate.demo.parties import (
    CALLER_SCRIPT,
    GATEWAYS,
    IMPORTER_MANAGEMENT_PORT,
    SYSTEMS,
    SYSTEMS_FOLDER,
    SystemParty,
)
from zonegate.demo.setup import Setup
from zonegate.errors import ZoneGateError
from zonegate.monitoring.scrape import scrape
from zonegate.reasons import Reason

START_SECONDS = 60.0
STOP_SECONDS = 25.0
ANSWER_SECONDS = 60.0
_POLL_SECONDS = 0.1
_LOG_LINES = 12
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


class Life(StrEnum):
    """How long processes live: as long as this one, or until they are told to stop."""

    OURS = "ours"
    OWN = "own"


def _dying_with(parent: int) -> Callable[[], None]:
    """Return what a child does first, so that it ends when `parent` does, also if that has happened by then."""

    def first() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return first


class Child:
    """One process."""

    def __init__(self, name: str, command: list[str], log: Path, life: Life, *, management: str = "") -> None:
        self.name = name
        self.command = command
        self.log = log
        self.management = management
        self._life = life
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, stdin: int = subprocess.DEVNULL, stdout: int | None = None) -> subprocess.Popen[bytes]:
        """Start it; what it says goes to its log."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the command is this interpreter and our own files
                self.command,
                stdin=stdin,
                stdout=log if stdout is None else stdout,
                stderr=log,
                # In a session of its own, so that Ctrl-C reaches the demo only, which then ends everything in order.
                start_new_session=True,
                preexec_fn=_dying_with(os.getpid()) if self._life is Life.OURS else None,
            )
        return self._process

    @property
    def pid(self) -> int:
        """Its number."""
        if self._process is None:
            raise ZoneGateError(Reason.E_INTERNAL, f"{self.name}: was not started")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def wait(self, seconds: float) -> int | None:
        """Return its exit code, None if it has not ended in time or was never started."""
        if self._process is None:
            return None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def complaint(self, what: str) -> ZoneGateError:
        """Return the error that names this process, with the end of its log."""
        try:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        except OSError:
            lines = []
        return ZoneGateError(Reason.E_UPSTREAM, "\n".join([f"{self.name}: {what}", *lines]))


class System:
    """A department system that takes commands: one JSON object a line, one answer each."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self._process = child.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ready(self) -> None:
        """Wait for its first line."""
        self._read()

    def ask(self, op: str, **command: Any) -> dict[str, Any]:
        """Give a command and return the answer."""
        self.tell(op, **command)
        return self._read()

    def tell(self, op: str, **command: Any) -> None:
        """Give a command; `answer` fetches what comes back."""
        line = json.dumps({"op": op, **command}, ensure_ascii=False) + "\n"
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(line.encode())
                self._process.stdin.flush()
        except OSError as exc:
            raise self.child.complaint("has ended") from exc

    def answer(self) -> dict[str, Any]:
        """Return the answer to the command that was told last."""
        return self._read()

    def close(self) -> None:
        """Close its stdin: that ends it."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _read(self) -> dict[str, Any]:
        # A system that hangs is ended, and its end is then what we read.
        guard = threading.Timer(ANSWER_SECONDS, self.child.kill)
        guard.start()
        try:
            line = b"" if self._process.stdout is None else self._process.stdout.readline()
        finally:
            guard.cancel()
        if not line:
            raise self.child.complaint("has ended or does not answer")
        answer = json.loads(line)
        if not isinstance(answer, dict):
            raise self.child.complaint("answers with something else than an object")
        return answer


class Processes:
    """All processes of one set-up."""

    def __init__(self, setup: Setup, life: Life, clock: Clock) -> None:
        self._clock = clock
        self._life = life
        self._setup = setup
        layout, host = setup.layout, setup.host
        self.gateways = {
            party.zone: self._ours(layout, party.name, ["gateway", "run"], f"{host}:{party.management_port}")
            for party in GATEWAYS
        }
        self.connectors = {
            party.name: self._ours(layout, party.connector, ["connector", "run"], f"{host}:{party.management_port}")
            for party in SYSTEMS
        }
        self.importer = self._ours(layout, "importer", ["import", "run"], f"{host}:{IMPORTER_MANAGEMENT_PORT}")
        self.verifier = self._ours(layout, "verifier", ["import", "verifier"], "")
        self.services: dict[str, System] = {}
        self.callers: dict[str, System] = {}
        self._systems: list[Child] = []

    def _ours(self, layout: Layout, name: str, words: list[str], management: str) -> Child:
        command = [sys.executable, "-I", "-m", "zonegate", *words, "-c", str(layout.config(name))]
        return Child(name, command, layout.log(name), self._life, management=management)

    @property
    def children(self) -> list[Child]:
        """Every process, those that others depend on first."""
        ours = [*self.gateways.values(), self.importer, self.verifier, *self.connectors.values()]
        return [*self._systems, *ours]

    def start(self) -> Iterator[str]:
        """Start everything and wait until all of it serves; yields the name of each process that does."""
        for party in SYSTEMS:
            if party.script:
                self._start_service(party)
        for child in [*self.gateways.values(), self.importer, self.verifier, *self.connectors.values()]:
            child.start()
        if self._life is Life.OURS:
            for party in SYSTEMS:
                if party.calls:
                    self._start_caller(party)
        for system in [*self.services.values(), *self.callers.values()]:
            system.ready()
            yield system.child.name
        end = self._clock.monotonic() + START_SECONDS
        for child in [*self.gateways.values(), self.importer, *self.connectors.values()]:
            self._wait_until_healthy(child, end)
            yield child.name

    def retire(self, name: str) -> None:
        """End the connector of a system that nobody will admit again."""
        self._end([self.connectors[name]])

    def stop(self) -> list[str]:
        """End everything in order; return the names of those that did not end well."""
        for caller in self.callers.values():
            caller.close()
        groups = [
            [caller.child for caller in self.callers.values()],
            list(self.connectors.values()),
            [self.verifier],
            [*self.gateways.values(), self.importer],
        ]
        wrong = [name for group in groups for name in self._end(group)]
        for service in self.services.values():
            service.close()
        return wrong + self._end([child for child in self._systems if child.running])

    def _end(self, children: list[Child]) -> list[str]:
        for child in children:
            if child.running:
                child.signal(signal.SIGTERM)
        wrong = []
        end = self._clock.monotonic() + STOP_SECONDS
        for child in children:
            code = child.wait(max(0.0, end - self._clock.monotonic()))
            if child.running:
                child.kill()
            if code != 0 and child not in self._systems:
                wrong.append(child.name)
        return wrong

    def _start_service(self, party: SystemParty) -> None:
        command = [sys.executable, "-I", str(SYSTEMS_FOLDER / party.script)]
        command += ["--listen", f"{self._setup.host}:{party.service_port}"]
        child = self._system(f"system-{party.name}", command)
        if self._life is Life.OURS:
            self.services[party.name] = System(child)
        else:
            child.command.append("--unattended")
            child.start()

    def _start_caller(self, party: SystemParty) -> None:
        address = f"{self._setup.host}:{party.route_port}"
        child = self._system(f"caller-{party.name}", [sys.executable, "-I", str(CALLER_SCRIPT), address, "--lines"])
        self.callers[party.name] = System(child)

    def _system(self, name: str, command: list[str]) -> Child:
        child = Child(name, command, self._setup.layout.log(name), self._life)
        self._systems.append(child)
        return child

    def _wait_until_healthy(self, child: Child, end: float) -> None:
        said = ""
        pause = threading.Event()
        while self._clock.monotonic() < end:
            if not child.running:
                raise child.complaint("has ended")
            said = scrape(child.management, timeout_seconds=2).health
            if said.split(" ", 1)[0].strip() == Reason.OK:
                return
            pause.wait(_POLL_SECONDS)
        raise child.complaint(f"does not serve: {said.strip()}")


def stop_all(pids: dict[str, int], started: dict[str, str], clock: Clock) -> None:
    """End processes of a lab by number, those only that are still the ones that were started."""
    end = clock.monotonic() + STOP_SECONDS
    pause = threading.Event()
    left = {name: pid for name, pid in pids.items() if started_at(pid) == started[name]}
    for pid in left.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    while left and clock.monotonic() < end:
        pause.wait(_POLL_SECONDS)
        left = {name: pid for name, pid in left.items() if started_at(pid) == started[name]}
    for pid in left.values():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def started_at(pid: int) -> str:
    """Return when process `pid` was started, in the kernel's ticks; empty if there is none, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]
