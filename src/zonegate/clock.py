"""The only door to the current time.

What decides takes `now` as an argument; what acts holds a `Clock`. Nothing else reads the time.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time: wall clock for certificates and records, monotonic for limits."""

    def now(self) -> datetime:
        """Return the current instant, UTC-aware."""
        ...

    def timestamp(self) -> float:
        """Return the current instant in seconds since 1970, for the hot path."""
        ...

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        """Return the current instant, UTC-aware."""
        return datetime.fromtimestamp(time.time(), tz=UTC)

    def timestamp(self) -> float:
        """Return the current instant in seconds since 1970, for the hot path."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds on a clock that never steps back."""
        return time.monotonic()
