"""[d] Sums evidence the way the decision counters count, so that both can be compared for equality (MO-02).

Pure. A crossing counts once a hop, by the flow that decided it: (decision word, source zone, target zone, reason).
What could not be recorded at all stands in gap records and is in no sum.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from zonegate.gateway.evidence.records import (
    AnyRecord,
    Counted,
    CountedRecord,
    DecisionRecord,
    GapRecord,
    StartRecord,
    Verdict,
)
from zonegate.reasons import Reason

# What stands for a zone that was not found before the refusal.
NO_ZONE = "-"


class DecisionKey(NamedTuple):
    """The labels of the decision counter."""

    decision: str
    source: str
    target: str
    reason: Reason


def decision_key(verdict: Verdict) -> DecisionKey:
    """Return under which labels a crossing with this verdict is counted; metrics and evidence both use it.

    A refused call is denied, or quarantined on a spill, whatever the words of its flows; the zones are the request's.
    """
    flow = verdict.request
    refused = "quarantine" if verdict.reason is Reason.E_SPILL else "deny"
    word = flow.decision if verdict.allowed else refused
    return DecisionKey(word, flow.source or NO_ZONE, flow.target or NO_ZONE, verdict.reason)


class LifeCounts:
    """The sums of one process life."""

    def __init__(self, life: str) -> None:
        self.life = life
        self.decisions: Counter[DecisionKey] = Counter()
        self.handshakes: Counter[Reason] = Counter()
        self.admissions: Counter[Reason] = Counter()
        self.lost = 0

    def add(self, record: AnyRecord) -> None:
        """Count `record` if the counters count its like."""
        if isinstance(record, DecisionRecord):
            self.decisions[decision_key(record.verdict)] += 1
        elif isinstance(record, CountedRecord):
            if record.what is Counted.HANDSHAKE:
                self.handshakes[record.reason] += record.count
            elif record.what is Counted.ADMISSION:
                self.admissions[record.reason] += record.count
            else:
                key = DecisionKey(record.decision, record.source, record.target, record.reason)
                self.decisions[key] += record.count
        elif isinstance(record, GapRecord):
            self.lost += record.lost


def count_by_life(records: Iterable[AnyRecord]) -> list[LifeCounts]:
    """Return the sums of each process life in `records` (in chain order), the last one last."""
    lives: list[LifeCounts] = []
    for record in records:
        if isinstance(record, StartRecord) or not lives:
            lives.append(LifeCounts(record.life if isinstance(record, StartRecord) else ""))
        lives[-1].add(record)
    return lives
