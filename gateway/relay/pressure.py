"""[d] Which calls end when a process holds more of their bytes than it may: those of the caller that it holds most for.

A connection's window is opened as its bytes are read, so that a caller or provider that takes nothing holds up its own
streams only. What its streams hold meanwhile is bounded by their windows, and all of it together here.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class Holding(Protocol):
    """A call, as far as this concerns it."""

    @property
    def held_now(self) -> int:
        """How many of its bytes are stored."""
        ...

    @property
    def caller_key(self) -> str:
        """Whose account it is on."""
        ...


_C = TypeVar("_C", bound=Holding)


def to_end(calls: Iterable[_C], limit: int) -> Iterator[_C]:
    """Yield the calls to end so that all together hold no more than `limit` bytes, the heaviest caller's first."""
    held = [(call.held_now, call) for call in calls]
    excess = sum(size for size, _ in held) - limit
    if excess <= 0:
        return
    callers: dict[str, list[tuple[int, _C]]] = defaultdict(list)
    for size, call in held:
        if size:
            callers[call.caller_key].append((size, call))
    for mine in sorted(callers.values(), key=lambda one: sum(size for size, _ in one), reverse=True):
        for size, call in sorted(mine, key=lambda one: one[0], reverse=True):
            yield call
            excess -= size
            if excess <= 0:
                return
