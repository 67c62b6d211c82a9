"""[d] The zone rule as a table: 7 × 7 × 6 = 294 cells for classes, or every pair of a policy's own zones. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zonegate.identity import Net
from zonegate.policies.flows import FlowLabel, LabelSource, decide_flow
from zonegate.policies.labels import Level
from zonegate.policies.model import Policy, Zone
from zonegate.policies.zones import Decision, ZoneClass, ceiling
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class Cell:
    """One flow: from, to, level, what the rule says, and why a call of it passes or not."""

    source: str
    target: str
    level: Level
    decision: Decision
    reason: Reason

    def as_dict(self) -> dict[str, object]:
        """Return the cell as JSON shows it."""
        return {
            "from": self.source,
            "to": self.target,
            "level": int(self.level),
            "code": self.decision.letter,
            "decision": self.decision.value,
            "reason": self.reason.value,
        }


def class_cells(grade: int) -> Iterator[Cell]:
    """Yield the cells of D4 for EXTRA zones of one 等保 grade, level by level; a class with itself is one zone."""
    zones = [
        Zone(
            name=zone_class.value,
            zone_class=zone_class,
            organ="",
            grade=grade if zone_class.net is Net.EXTRA else None,
            ceiling=ceiling(zone_class, grade if zone_class.net is Net.EXTRA else None),
        )
        for zone_class in ZoneClass
    ]
    return _cells(zones)


def policy_cells(policy: Policy) -> Iterator[Cell]:
    """Yield the cells between the zone instances of a policy."""
    return _cells(list(policy.zones.values()))


def _cells(zones: Sequence[Zone]) -> Iterator[Cell]:
    for level in Level:
        for source in zones:
            for target in zones:
                flow = decide_flow(source, target, FlowLabel(level, frozenset(), LabelSource.CATALOGUE))
                yield Cell(source.name, target.name, level, flow.decision, flow.reason)


def as_text(cells: Sequence[Cell]) -> str:
    """Return the cells as one table a level, rows from, columns to, with letters as D4 prints them."""
    names = list(dict.fromkeys(cell.source for cell in cells))
    width = max(len(name) for name in names)
    letters = {(cell.level, cell.source, cell.target): cell.decision.letter for cell in cells}
    lines: list[str] = []
    for level in Level:
        lines.append(f"{level.text} ({level.en})")
        lines.append(" ".join(["from \\ to".ljust(width), *(name.rjust(len(name)) for name in names)]))
        for source in names:
            row = [letters[level, source, target].center(len(target)) for target in names]
            lines.append(" ".join([source.ljust(width), *row]).rstrip())
        lines.append("")
    words = [f"{word.letter} {word.value} {word.zh}" for word in Decision]
    lines.append("  ".join(words))
    return "\n".join(lines)
