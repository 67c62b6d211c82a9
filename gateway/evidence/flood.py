"""[d] Decides which refusals get a record each and which are only counted (architecture section 8).

Pure: instants are arguments. All refusals before admission are counted; of identical refusals the first few within a
window have a record each, the rest are counted. What makes two identical is closed (caller, reason, zones, decision
word), never something that a caller can invent, so the table stays small; when it is full it is flushed early.
"""

from dataclasses import dataclass
from datetime import datetime

from zonegate.gateway.evidence.records import Counted, CountedRecord
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class CountKey:
    """What counted refusals have in common."""

    what: Counted
    reason: Reason
    source_class: str = ""
    caller: str = ""
    decision: str = ""
    source: str = ""
    target: str = ""


class _Tally:
    __slots__ = ("count", "first", "first_crossing", "last", "last_crossing", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self.count = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self.first_crossing = ""
        self.last_crossing = ""


class FloodTable:
    """The refusals of the current window."""

    def __init__(self, *, burst: int, capacity: int) -> None:
        self._burst = burst
        self._capacity = capacity
        self._tallies: dict[CountKey, _Tally] = {}

    @property
    def full(self) -> bool:
        """Whether it must be flushed before another key enters."""
        return len(self._tallies) >= self._capacity

    def __len__(self) -> int:
        return len(self._tallies)

    def wants_record(self, key: CountKey) -> bool:
        """Return whether this refusal still gets a record of its own."""
        tally = self._tally(key)
        tally.seen += 1
        return tally.seen <= self._burst

    def count(self, key: CountKey, *, at: datetime, crossing: str = "") -> None:
        """Count one refusal."""
        tally = self._tally(key)
        tally.count += 1
        tally.last, tally.last_crossing = at, crossing
        if tally.first is None:
            tally.first, tally.first_crossing = at, crossing

    def flush(self, *, now: datetime) -> list[CountedRecord]:
        """Return what was counted and begin a new window."""
        tallies, self._tallies = self._tallies, {}
        return [
            CountedRecord(
                time=now,
                what=key.what,
                reason=key.reason,
                count=tally.count,
                first=tally.first,
                last=tally.last,
                source_class=key.source_class,
                caller=key.caller,
                decision=key.decision,
                source=key.source,
                target=key.target,
                first_crossing=tally.first_crossing,
                last_crossing=tally.last_crossing,
            )
            for key, tally in tallies.items()
            if tally.first is not None and tally.last is not None
        ]

    def _tally(self, key: CountKey) -> _Tally:
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = _Tally()
        return tally
