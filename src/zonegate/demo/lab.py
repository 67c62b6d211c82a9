"""[a] Keeps a set-up running after the command has ended: up, down, status. `lab.json` says which processes there are.

A process is known by its number and the instant of its start, so that nobody else's process is ever ended.
"""

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from zonegate.clock import Clock
from zonegate.demo import trust
from zonegate.demo.layout import Layout
from zonegate.demo.parties import CALLER_SCRIPT, SYSTEMS
from zonegate.demo.processes import Life, Processes, started_at, stop_all
from zonegate.demo.setup import Claim, Setup, make_setup
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

GRANT_FILE = "survey-grant.yaml"


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab's folder: its address and the processes that were started last."""

    layout: Layout
    host: str
    pids: dict[str, int]
    started: dict[str, str]

    def running(self, name: str) -> bool:
        """Whether a process is still the one that was started."""
        return started_at(self.pids[name]) == self.started[name]

    @property
    def up(self) -> bool:
        """Whether any of its processes runs."""
        return any(self.running(name) for name in self.pids)


def read_lab(folder: Path) -> Lab:
    """Return the lab in `folder`; E_CONFIG if there is none."""
    layout = Layout(folder.absolute())
    try:
        said = json.loads(layout.running.read_bytes())
        processes = {str(name): (int(pid), str(started)) for name, (pid, started) in said["processes"].items()}
        host = str(said["host"])
    except OSError as exc:
        detail = f"--dir: {folder.name} holds no lab; `zonegate lab up` makes one"
        raise ZoneGateError(Reason.E_CONFIG, detail) from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{layout.running.name}: is not what `zonegate lab up` wrote") from exc
    pids = {name: pid for name, (pid, _) in processes.items()}
    return Lab(layout, host, pids, {name: started for name, (_, started) in processes.items()})


def lab_up(folder: Path, clock: Clock, progress: Callable[[str], None]) -> Lab:
    """Make a lab in `folder`, or start again the one that is there; on failure nothing is left running."""
    setup = _setup(folder, clock)
    processes = Processes(setup, Life.OWN, clock)
    try:
        for name in processes.start():
            progress(name)
        lab = _note(setup, processes)
    except BaseException:
        processes.stop()
        raise
    _write_commands(lab)
    return lab


def lab_down(folder: Path, clock: Clock) -> Lab:
    """End the lab's processes; its folder stays."""
    lab = read_lab(folder)
    stop_all(lab.pids, lab.started, clock)
    return lab


def _setup(folder: Path, clock: Clock) -> Setup:
    layout = Layout(folder.absolute())
    if layout.running.exists():
        lab = read_lab(folder)
        if lab.up:
            raise ZoneGateError(Reason.E_CONFIG, f"--dir: the lab in {folder.name} runs already")
        # Lists are good for a day; a lab may have slept longer.
        trust.publish_lists(layout, clock)
        return Setup(layout, lab.host)
    claim = Claim()
    try:
        setup = make_setup(folder, claim.host, clock)
    finally:
        claim.release()
    shipped = resources.files("zonegate.demo") / "policy" / "offered" / GRANT_FILE
    (layout.root / GRANT_FILE).write_bytes(shipped.read_bytes())
    return setup


def _note(setup: Setup, processes: Processes) -> Lab:
    layout = setup.layout
    pids = {child.name: child.pid for child in processes.children}
    started = {name: started_at(pid) for name, pid in pids.items()}
    for name, pid in pids.items():
        layout.state(name, "pid").write_text(f"{pid}\n", encoding="ascii")
    said = {"host": setup.host, "processes": {name: (pid, started[name]) for name, pid in pids.items()}}
    layout.running.write_text(json.dumps(said, indent=1) + "\n", encoding="ascii")
    return Lab(layout, setup.host, pids, started)


def _write_commands(lab: Lab) -> None:
    """Write one command for each system that calls: its own stock gRPC client, at its own connector."""
    lab.layout.commands.mkdir(exist_ok=True)
    for party in SYSTEMS:
        if not party.calls:
            continue
        words = [sys.executable, "-I", str(CALLER_SCRIPT), f"{lab.host}:{party.route_port}"]
        script = lab.layout.commands / party.name
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        script.chmod(0o755)
