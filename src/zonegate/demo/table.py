"""How results are shown: a table in both languages, and JSON for a machine. Decides nothing."""

import json
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from zonegate.demo.acts import Act, Got, Result, Value

GOOD, BAD = "green", "bold red"
HEADINGS = ("act 编号", "what happens 内容", "expected 预期", "got 实得", "reason 原因", "evidence 证据")


def results_table(results: Sequence[Result]) -> Table:
    """Return the table of all acts."""
    table = Table(title="zonegate demo 演示结果", show_lines=True)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for result in results:
        mark, style = ("✓", GOOD) if result.ok else ("✗", BAD)
        table.add_row(
            Text(f"{mark} {result.act.id}", style),
            Text(f"{result.act.en}\n{result.act.zh}"),
            Text(f"{result.act.expect.status}\n{result.act.expect.reason}"),
            Text("\n".join([got_text(result.got), *result.surprises]), "" if result.ok else BAD),
            Text(result.reason),
            Text(evidence_text(result)),
        )
    return table


def expected_text(act: Act) -> str:
    """Return what an act expects, in a line."""
    records = [f"{record.at}: {_values(record.has)}" for record in act.expect.evidence]
    return "; ".join([f"{act.expect.status} {act.expect.reason}", *_facts(act.expect.facts), *records])


def got_text(got: Got) -> str:
    """Return the status that the client saw, and the facts that are worth a look."""
    shown = {
        name: got.facts[name]
        for name in ("executed", "received", "messages", "seconds", "stream", "differences")
        if name in got.facts
    }
    return "; ".join([got.status, *_facts(shown)])


def evidence_text(result: Result) -> str:
    """Return the records that stand for an act, a line each."""
    numbers: dict[str, list[str]] = {}
    for found in result.evidence:
        numbers.setdefault(found.text, []).append(found.place)
    return "\n".join(f"{text} {' '.join(dict.fromkeys(places))}" for text, places in numbers.items())


def as_json(results: Sequence[Result]) -> str:
    """Return the results for a machine."""
    acts = [
        {
            "id": result.act.id,
            "title": result.act.title,
            "expected": expected_text(result.act),
            "got": "; ".join([result.got.status, *_facts(result.got.facts)]),
            "reason": result.reason,
            "evidence": [f"{found.text} {found.place}" for found in result.evidence],
            "ok": result.ok,
            "surprises": list(result.surprises),
        }
        for result in results
    ]
    return json.dumps({"acts": acts}, ensure_ascii=False, indent=1) + "\n"


def _facts(facts: object) -> list[str]:
    return [f"{name}: {value}" for name, value in facts.items()] if isinstance(facts, dict) else []


def _values(values: dict[str, Value]) -> str:
    return " ".join(str(value) for value in values.values())
