"""[a] Carries out the acts that look at what all the others have left: evidence and counters, when all has stopped."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families

from zonegate.demo.acts import NO_CLIENT, Act, Got, Value, Verb
from zonegate.demo.layout import Layout
from zonegate.demo.parties import EVIDENCE
from zonegate.demo.proof import Proof, decisions_in, handshakes_in
from zonegate.gateway.evidence.files import list_segments
from zonegate.monitoring import names
from zonegate.reasons import Reason

_Key = TypeVar("_Key")
_VERIFY_SECONDS = 60.0
# A crossing that could not be recorded is counted under this reason and stands in a gap record, in no sum.
_UNRECORDED = Reason.E_EVIDENCE.value


@dataclass(frozen=True, slots=True)
class Remains:
    """What is left to look at: the evidence, verified and as files, and each process's last /metrics."""

    layout: Layout
    proof: Proof
    metrics: Mapping[str, str]


def audit(remains: Remains, act: Act) -> Got:
    """Do what `act` says and return what came of it."""
    return _VERBS[act.do](remains, act)


def _tamper(remains: Remains, act: Act) -> Got:
    """Change one word of one record in a copy, as somebody with the disk in hand would."""
    copy = _copied(remains, act, "edited")
    victim = next(
        item
        for item in remains.proof.chains[act.at].located
        if b'"decision":"guarded"' in item.entry.payload and item.entry.payload in (copy / item.file).read_bytes()
    )
    segment = copy / victim.file
    forged = victim.entry.payload.replace(b'"guarded"', b'"granted"')
    segment.write_bytes(segment.read_bytes().replace(victim.entry.payload, forged))
    return _verified_again(remains, act, copy, victim.position)


def _truncate(remains: Remains, act: Act) -> Got:
    """Cut off the last third of a copy; a peer that keeps this gateway's heads knows better."""
    copy = _copied(remains, act, "cut")
    _, last = list_segments(copy)[-1]
    content = last.read_bytes()
    last.write_bytes(content[: len(content) * 2 // 3])
    witnesses = [name for name in EVIDENCE if name != act.at and name in {"police", "shared"}]
    options = [f"--witness={remains.layout.evidence(name)}" for name in witnesses]
    return _verified_again(remains, act, copy, None, *options)


def _copied(remains: Remains, act: Act, how: str) -> Path:
    copy = remains.layout.root / "tampered" / how
    shutil.copytree(remains.layout.evidence(act.at), copy)
    return copy


def _verified_again(remains: Remains, act: Act, copy: Path, wanted: int | None, *options: str) -> Got:
    root = remains.layout.anchor(EVIDENCE[act.at].net)
    command = [sys.executable, "-I", "-m", "zonegate", "evidence", "verify", str(copy), "--trust", str(root), "--json"]
    done = subprocess.run([*command, *options], capture_output=True, timeout=_VERIFY_SECONDS, check=False)  # noqa: S603
    said = json.loads(done.stdout or b"{}")
    broken = said.get("broken", {})
    facts: dict[str, Value] = {"exit code": done.returncode, "problem": str(broken.get("problem", ""))}
    if wanted is not None:
        facts["names the record"] = broken.get("index") == wanted
    return Got("found" if said.get("ok") is False else "not found", str(broken.get("reason", "")), facts)


def _count(remains: Remains, _act: Act) -> Got:
    """Compare counters and evidence of every gateway and of the importer, label by label."""
    differences = []
    compared = 0
    for name, chain in remains.proof.chains.items():
        counted = _counters(remains.metrics[name])
        unrecorded = sum(number for key, number in counted.decisions.items() if key[3] == _UNRECORDED)
        decisions = Counter({key: number for key, number in counted.decisions.items() if key[3] != _UNRECORDED})
        compared += decisions.total() + counted.handshakes.total()
        if decisions != decisions_in(chain):
            differences.append(f"{name} decisions {_difference(decisions, decisions_in(chain))}")
        if counted.handshakes != handshakes_in(chain):
            differences.append(f"{name} handshakes {_difference(counted.handshakes, handshakes_in(chain))}")
        if unrecorded > chain.lives[-1].lost:
            differences.append(f"{name}: {unrecorded} counted as unrecorded, {chain.lives[-1].lost} in gap records")
    facts: dict[str, Value] = {"gateways": len(remains.proof.chains), "differences": "; ".join(differences) or "none"}
    return Got("equal" if not differences and compared else "different", Reason.OK.value, facts)


@dataclass(frozen=True, slots=True)
class _Counters:
    decisions: Counter[tuple[str, str, str, str]]
    handshakes: Counter[str]


def _counters(text: str) -> _Counters:
    found = _Counters(Counter(), Counter())
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            number, labels = int(sample.value), sample.labels
            if not number:
                continue
            if sample.name == names.DECISIONS_TOTAL.name:
                key = (labels["decision"], labels["source"], labels["target"], labels["reason"])
                found.decisions[key] += number
            elif sample.name == names.HANDSHAKE_REFUSALS.name:
                found.handshakes[labels["reason"]] += number
    return found


def _difference(one: Counter[_Key], other: Counter[_Key]) -> str:
    return f"metrics +{dict(one - other)} evidence +{dict(other - one)}"


def _search(remains: Remains, act: Act) -> Got:
    """Look for a personal number that a caller has put where it does not belong."""
    (number,) = act.message.values()
    return Got(NO_CLIENT, Reason.OK.value, {"records with the number": remains.proof.holding(str(number))})


_VERBS: dict[Verb, Callable[[Remains, Act], Got]] = {
    Verb.TAMPER: _tamper,
    Verb.TRUNCATE: _truncate,
    Verb.COUNT: _count,
    Verb.SEARCH: _search,
}
