"""[a] Carries out the acts that need everything running. What is got comes from clients and systems, never from us."""

import json
import resource
import shutil
import subprocess
import sys
import threading
from base64 import b64decode
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from signal import SIGHUP
from typing import Any

from zonegate.clock import Clock
from zonegate.demo import signing, trust
from zonegate.demo.acts import NO_CLIENT, Act, Got, Value, Verb
from zonegate.demo.parties import STRANGER_SCRIPT, gateway, system
from zonegate.demo.processes import Processes
from zonegate.demo.setup import Setup
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.convert import receipt_from_bytes
from zonegate.gateway.boundary.receipt import verify_receipt
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import ImportRecord, PolicyRecord
from zonegate.identity import Net
from zonegate.pki.certificate import load_certificates
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason

WAIT_SECONDS = 15.0
_POLL_SECONDS = 0.05
# Nothing can be appended to any file: the least that a full disk would do.
_NO_BYTES = 1
# Longer than one window in which refusals are counted before they are recorded.
_COUNTING_SECONDS = 1.2


@dataclass(frozen=True, slots=True)
class Stage:
    """What acts have to act with."""

    setup: Setup
    processes: Processes
    clock: Clock

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        threading.Event().wait(seconds)

    def until(self, what: Callable[[], bool], waited_for: str) -> None:
        """Ask until the answer is yes."""
        end = self.clock.monotonic() + WAIT_SECONDS
        while not what():
            if self.clock.monotonic() > end:
                raise ZoneGateError(Reason.E_DEADLINE, f"{waited_for}: not within {WAIT_SECONDS:.0f} s")
            self.wait(_POLL_SECONDS)

    def seen(self) -> dict[str, int]:
        """How many calls have reached each department system's service."""
        return {name: int(service.ask("seen")["calls"]) for name, service in self.processes.services.items()}

    def executed(self) -> int:
        """How many calls have reached the services."""
        return sum(self.seen().values())


def carry_out(stage: Stage, act: Act) -> Got:
    """Do what `act` says and return what came of it."""
    return _VERBS[act.do](stage, act)


def _command(act: Act, **changes: Any) -> dict[str, Any]:
    said = {"path": act.path, "message": act.message, "extra": act.extra, "metadata": act.metadata, "times": act.times}
    return said | changes


def summed(words: Iterable[str]) -> str:
    """Write equal neighbours once: `OK ×5, E_RATE ×3`."""
    runs = [(word, len(list(run))) for word, run in groupby(words)]
    return ", ".join(word if number == 1 else f"{word} ×{number}" for word, number in runs)


def _got(results: list[dict[str, Any]], facts: dict[str, Value]) -> Got:
    return Got(
        status=summed(result["status"] for result in results),
        reason=summed(result["reason"] or "none" for result in results),
        facts=facts,
        crossings=[result["crossing"] for result in results if result["crossing"]],
    )


def _call(stage: Stage, act: Act) -> Got:
    before = stage.seen()
    results = stage.processes.callers[act.by].ask("call", **_command(act))["results"]
    last = results[-1]
    reached = [name for name, calls in stage.seen().items() if calls > before[name]]
    facts: dict[str, Value] = {"executed": stage.executed() - sum(before.values())}
    for name in ("messages", "detail"):
        if name in last:
            facts[name] = last[name]
    facts |= {f"answer.{name}": value for name, value in last.get("answer", {}).items()}
    for name in reached:
        facts |= _told(stage, name)
    return _got(results, facts)


def _told(stage: Stage, name: str) -> dict[str, Value]:
    """What a provider's system last learned of its caller."""
    last = stage.processes.services[name].ask("seen")["last"]
    return {f"{name}.{field}": value for field, value in last.items() if field.startswith("zg-caller-")}


def _send(stage: Stage, act: Act) -> Got:
    collector = stage.processes.services["statistics"]
    before = int(collector.ask("seen")["calls"])
    results = stage.processes.callers[act.by].ask("call", **_command(act))["results"]
    facts: dict[str, Value] = {}
    raw = results[-1].get("receipt")
    if raw is not None:
        receipt = receipt_from_bytes(b64decode(raw))
        anchors = TrustAnchors(Net.EXTRA, load_certificates(stage.setup.layout.anchor(Net.EXTRA).read_bytes()))
        signer = verify_receipt(receipt, anchors, now=stage.clock.now())
        facts |= {"receipt": str(signer.identity)}
        results[-1]["crossing"] = receipt.accepted.crossing
        stage.until(lambda: int(collector.ask("seen")["calls"]) > before, "the figure inside")
    facts["received"] = int(collector.ask("seen")["calls"]) - before
    return _got(results, facts | _told(stage, "statistics"))


def _carry_again(stage: Stage, _act: Act) -> Got:
    carrier = stage.setup.layout.carrier
    newest = max(path for path in carrier.iterdir() if path.suffix == ".zgt")
    collector = stage.processes.services["statistics"]
    before = int(collector.ask("seen")["calls"])

    def judged() -> int:
        records = read_records(stage.setup.layout.evidence("importer"))
        return sum(isinstance(item.record, ImportRecord) for item in records)

    known = judged()
    part = carrier / ".again"
    shutil.copyfile(newest, part)
    part.rename(newest.with_name(f"{newest.stem}-again{newest.suffix}"))
    stage.until(lambda: judged() > known, "the importer's judgement")
    stage.wait(1.0)
    return Got(NO_CLIENT, facts={"received": int(collector.ask("seen")["calls"]) - before})


def _knock(stage: Stage, act: Act) -> Got:
    command = [sys.executable, "-I", str(STRANGER_SCRIPT), f"{stage.setup.host}:{gateway(act.at).port}"]
    command += ["--suites", act.suites]
    if act.stranger:
        files = stage.setup.layout.stranger(act.stranger)
        command += ["--chain", str(files.chain), "--key", str(files.key)]
        if act.stranger == "expired":
            end = load_certificates(files.chain.read_bytes())[0].not_after
            stage.until(lambda: stage.clock.now() > end, "the certificate's end")
    done = subprocess.run(command, capture_output=True, timeout=WAIT_SECONDS, check=False)  # noqa: S603 - our own
    if done.returncode != 0:
        raise ZoneGateError(Reason.E_INTERNAL, f"stranger: {done.stderr.decode(errors='replace')[-300:]}")
    said = json.loads(done.stdout)
    stage.wait(_COUNTING_SECONDS)
    return Got(f"{said['status']}: {said['alert']}" if said["alert"] else said["status"])


def _revoke(stage: Stage, act: Act) -> Got:
    caller = stage.processes.callers[act.by]
    opened = caller.ask("open", **_command(act))["results"]
    party = system(act.by)
    credential = trust.load(stage.setup.layout.credential(party.net, party.name))
    caller.tell("end")
    told = stage.clock.monotonic()
    trust.revoke(stage.setup.layout, credential.leaf, stage.clock)
    ended = caller.answer()
    seconds = ended["ended_at"] - told
    # The connector goes on trying with its revoked certificate: that is the next handshake.
    stage.wait(_COUNTING_SECONDS + 1.0)
    again = caller.ask("call", path="Notices/Get", message={"number": 1})["results"]
    stage.wait(_COUNTING_SECONDS)
    # Which of the gateways on the way reads the list first decides with which status the stream ends.
    last = ended["status"]
    ended["status"] = "OK" if last == "OK" else "ended"
    facts: dict[str, Value] = {
        "stream": last,
        "in time": seconds <= act.within_seconds,
        "seconds": f"{seconds:.2f}",
        "next call": again[0]["status"],
    }
    got = _got([*opened, ended | {"crossing": ""}], facts)
    return Got(got.status, "", facts, got.crossings)


def _break_disk(stage: Stage, act: Act) -> Got:
    pid = stage.processes.gateways[act.at].pid
    caller = stage.processes.callers[act.by]
    before = stage.executed()
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (_NO_BYTES, hard))
    try:
        refused = caller.ask("call", **_command(act))["results"]
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    meanwhile = stage.executed() - before
    served: list[dict[str, Any]] = []

    def healed() -> bool:
        served[:] = caller.ask("call", **_command(act))["results"]
        return bool(served[0]["status"] == "OK")

    stage.until(healed, "the gateway to heal")
    return _got([*refused, *served], {"executed without evidence": meanwhile})


def _offer_policy(stage: Stage, act: Act) -> Got:
    layout = stage.setup.layout
    folder = layout.policy(Net.EXTRA)
    kept = {path: path.read_bytes() for path in folder.iterdir()}

    def judged() -> int:
        return sum(isinstance(item.record, PolicyRecord) for item in read_records(layout.evidence(act.at)))

    known = judged()
    try:
        signing.sign_policy(layout, Net.EXTRA, stage.clock, version=act.version, officers=act.officers)
        stage.processes.gateways[act.at].signal(SIGHUP)
        stage.until(lambda: judged() > known, "the gateway's judgement")
    finally:
        for path in folder.iterdir():
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
    results = stage.processes.callers[act.by].ask("call", **_command(act))["results"]
    got = _got(results, {})
    return Got(got.status, "", got.facts, got.crossings)


_VERBS: dict[Verb, Callable[[Stage, Act], Got]] = {
    Verb.CALL: _call,
    Verb.SEND: _send,
    Verb.CARRY_AGAIN: _carry_again,
    Verb.KNOCK: _knock,
    Verb.REVOKE: _revoke,
    Verb.BREAK_DISK: _break_disk,
    Verb.OFFER_POLICY: _offer_policy,
}
