"""[a] The whole demo: make the set-up, run it, play every act, stop everything, then judge by verified evidence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path

from rich.console import Console
from rich.text import Text

from zonegate.clock import Clock
from zonegate.demo.acting import Stage, carry_out
from zonegate.demo.acts import Act, Got, Result, judge, read_acts
from zonegate.demo.auditing import Remains, audit
from zonegate.demo.parties import EVIDENCE, IMPORTER_MANAGEMENT_PORT, gateway
from zonegate.demo.processes import Life, Processes
from zonegate.demo.proof import Proof
from zonegate.demo.setup import Claim, Setup, make_setup
from zonegate.demo.table import got_text
from zonegate.errors import ZoneGateError
from zonegate.monitoring.scrape import scrape
from zonegate.reasons import Reason

ACTS_FILE = "acts.yaml"
_SCRAPE_SECONDS = 10.0
# Refusals are counted for a second before they are recorded.
_SETTLE_SECONDS = 1.2


@dataclass(frozen=True, slots=True)
class Played:
    """An act that was carried out, and when."""

    act: Act
    got: Got
    start: datetime
    end: datetime


def shipped_acts() -> tuple[Act, ...]:
    """Return the acts that come with zonegate."""
    return read_acts(ACTS_FILE, (resources.files("zonegate.demo") / ACTS_FILE).read_bytes())


def run_demo(
    folder: Path, acts: Sequence[Act], console: Console, clock: Clock, *, checkpoint: Callable[[], None]
) -> list[Result]:
    """Play `acts` in a new set-up in `folder`; whatever happens, nothing is left running.

    `checkpoint` is called between steps and may raise, to end the demo.
    """
    claim = Claim()
    try:
        began = clock.monotonic()
        setup = make_setup(folder, claim.host, clock)
        console.print(f"set-up made 搭建完成: {clock.monotonic() - began:.1f} s")
        processes = Processes(setup, Life.OURS, clock)
        try:
            played, metrics = _play(setup, processes, acts, console, clock, checkpoint)
        finally:
            wrong = processes.stop()
        if wrong:
            raise ZoneGateError(Reason.E_INTERNAL, f"did not end in order: {', '.join(wrong)}")
    finally:
        claim.release()
    return _judge_all(setup, played, [act for act in acts if act.do.audits], metrics, clock)


def _play(
    setup: Setup,
    processes: Processes,
    acts: Sequence[Act],
    console: Console,
    clock: Clock,
    checkpoint: Callable[[], None],
) -> tuple[list[Played], dict[str, str]]:
    began = clock.monotonic()
    started = 0
    for _ in processes.start():
        checkpoint()
        started += 1
    console.print(f"{started} processes serve 个进程就绪: {clock.monotonic() - began:.1f} s")
    stage = Stage(setup, processes, clock)
    played = []
    for act in acts:
        if act.do.audits:
            continue
        checkpoint()
        start = clock.now()
        got = carry_out(stage, act)
        played.append(Played(act, got, start, clock.now()))
        console.print(Text.assemble((f"{act.id:16}", "bold"), f"{act.title}: {got_text(got)} {got.reason}"))
    processes.retire("survey")
    stage.wait(_SETTLE_SECONDS)
    return played, {name: _metrics(setup, name) for name in EVIDENCE}


def _metrics(setup: Setup, name: str) -> str:
    port = IMPORTER_MANAGEMENT_PORT if name == "importer" else gateway(name).management_port
    answer = scrape(f"{setup.host}:{port}", timeout_seconds=_SCRAPE_SECONDS)
    if answer.problem:
        raise ZoneGateError(Reason.E_UPSTREAM, f"metrics of {name}: {answer.problem}")
    return answer.metrics


def _judge_all(
    setup: Setup, played: Sequence[Played], audits: Sequence[Act], metrics: dict[str, str], clock: Clock
) -> list[Result]:
    proof = Proof(setup.layout)
    results = [judge(item.act, item.got, proof.about(item.got.crossings, item.start, item.end)) for item in played]
    remains = Remains(setup.layout, proof, metrics)
    for act in audits:
        start = clock.now()
        results.append(judge(act, audit(remains, act), proof.about((), start, start)))
    return results
