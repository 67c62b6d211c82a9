"""[d] Rate limits as arithmetic (generic cell rate algorithm): one number of state a key, time passed in."""

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
