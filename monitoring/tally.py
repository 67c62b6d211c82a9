"""Counts and histograms for one writing thread: an increment is one dictionary or list operation, without a lock.

They hold numbers only: what a metric is called and which labels it has is `zonegate.monitoring.names`, what is exported
is `zonegate.monitoring.metrics`. A reader on another thread takes a copy in one step of the interpreter, so a scrape
never stops the data path; it may see a histogram's sum one observation ahead of its counts.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

# The label under which a value outside its closed set is counted: a series more, never an unbounded number of them.
OTHER = "other"


class Tally:
    """Counts by label values. Each label has its closed set; a value outside it is counted as `other`."""

    __slots__ = ("_allowed", "_cells")

    def __init__(self, allowed: Sequence[Iterable[str]]) -> None:
        self._allowed = [{*values, OTHER} for values in allowed]
        # A cell for each series: one look-up finds it, and an increment does not touch the dictionary.
        self._cells: dict[tuple[str, ...], list[int]] = {}

    def count(self, key: tuple[str, ...], times: int = 1) -> None:
        """Add `times` to the series of `key`, the label values in the order of the labels."""
        cell = self._cells.get(key)
        if cell is None:
            cell = self._cells.setdefault(self._fold(key), [0])
        cell[0] += times

    def start_at_zero(self, keys: Iterable[tuple[str, ...]]) -> None:
        """Export the series of `keys` from the beginning, so that a first event is an increase and not a birth."""
        for key in keys:
            self.count(key, 0)

    def allow(self, label: int, values: Iterable[str]) -> None:
        """Widen the closed set of one label, as a new policy does with its zones; it never shrinks."""
        self._allowed[label].update(values)

    def snapshot(self) -> Mapping[tuple[str, ...], int]:
        """Return the counts as they are now."""
        return {key: cell[0] for key, cell in self._cells.copy().items()}

    def _fold(self, key: tuple[str, ...]) -> tuple[str, ...]:
        if len(key) != len(self._allowed):
            msg = f"{len(key)} label values were given, the metric has {len(self._allowed)} labels"
            raise ValueError(msg)
        # str() makes a plain string of an enumeration's member: what is exported is the value alone.
        return tuple(
            str(value) if value in allowed else OTHER for value, allowed in zip(key, self._allowed, strict=True)
        )


class Histogram:
    """Observations in fixed buckets."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        if not bounds or list(bounds) != sorted(set(bounds)):
            msg = "the bounds of a histogram must rise"
            raise ValueError(msg)
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; a bucket holds what is at most its bound."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Observations(Protocol):
    """A histogram as a component keeps it: its bounds, a count for each and one for what exceeds them, and the sum."""

    @property
    def bounds(self) -> tuple[float, ...]:
        """The upper bounds, rising."""

    @property
    def counts(self) -> list[int]:
        """How many observations each bucket has; one more than there are bounds."""

    @property
    def total(self) -> float:
        """The sum of all observations."""


def cumulative(observations: Observations) -> tuple[tuple[str, float], ...]:
    """Return (bound, count) pairs that end with +Inf, each counting what is at most its bound."""
    counts = observations.counts.copy()
    running = 0
    pairs = []
    for bound, number in zip((*(repr(float(one)) for one in observations.bounds), "+Inf"), counts, strict=True):
        running += number
        pairs.append((bound, float(running)))
    return tuple(pairs)
