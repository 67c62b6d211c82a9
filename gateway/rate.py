"""[d] Rate limits as arithmetic (generic cell rate algorithm): one number of state a key, time passed in.

And how many calls each caller has open: a call without a deadline may stay for ever, and a hop carries so many at once.
"""

from dataclasses import dataclass

TABLE_LIMIT = 8192


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls a second, with a burst on top of the pace."""

    per_second: float
    burst: int


class RateTable:
    """The state of many limits. Bounded: when full, keys whose debt is paid are dropped; they lose nothing by it."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due: dict[object, float] = {}

    def admit(self, key: object, rate: Rate, now: float) -> bool:
        """Take one call from `key`'s allowance at monotonic `now`; False when there is none left."""
        interval = 1.0 / rate.per_second
        due = self._due.get(key, now)
        if due < now:
            due = now
        if due - now > interval * (rate.burst - 1) + 1e-9:
            return False
        if len(self._due) >= TABLE_LIMIT and key not in self._due and not self._make_room(now):
            return False
        self._due[key] = due + interval
        return True

    def _make_room(self, now: float) -> bool:
        paid = [key for key, due in self._due.items() if due <= now]
        for key in paid:
            del self._due[key]
        return len(self._due) < TABLE_LIMIT


class OpenCalls:
    """How many calls each caller has under way; a caller that has none costs nothing."""

    __slots__ = ("_limit", "_open")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: dict[str, int] = {}

    def take(self, caller: str) -> bool:
        """Count one more call of `caller`; False when it has as many as it may."""
        count = self._open.get(caller, 0)
        if count >= self._limit:
            return False
        self._open[caller] = count + 1
        return True

    def give_back(self, caller: str) -> None:
        """Count one call less."""
        count = self._open.pop(caller) - 1
        if count:
            self._open[caller] = count
