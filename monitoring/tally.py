"""Counts and histograms for one writing thread: an increment is one dictionary or list operation, without a lock.

They hold numbers only: what a metric is called and which labels it has is `zonegate.monitoring.names`, what is exported
is `zonegate.monitoring.metrics`. A reader on another thread takes a copy in one step of the interpreter, so a scrape
never stops the data path; it may see a histogram's sum one observation ahead of its counts.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

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

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        if not bounds or list(bounds) != sorted(set(bounds)):
            msg = "the bounds of a histogram must rise"
            raise ValueError(msg)
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count one observation; a bucket holds what is at most its bound."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def snapshot(self) -> tuple[tuple[tuple[str, float], ...], float]:
        """Return (cumulative (bound, count) pairs that end with +Inf, sum), as the exposition format wants them."""
        counts = self._counts.copy()
        total = 0
        pairs = []
        for bound, number in zip((*map(_bound_text, self._bounds), "+Inf"), counts, strict=True):
            total += number
            pairs.append((bound, float(total)))
        return tuple(pairs), self._sum


def _bound_text(bound: float) -> str:
    return repr(float(bound))
