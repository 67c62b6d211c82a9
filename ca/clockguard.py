"""Says whether this machine's clock may be stamped (RV-07, RV-08). Pure: readings are arguments.

Two looks at it: against the monotonic clock, which nobody can set, so a step of the wall clock shows; and against a
reference, where one is configured, whose silence counts as well. A step is forgiven only by a reference that agrees
with the clock afterwards; without a reference it lasts until the service is started anew.
"""

from datetime import datetime, timedelta


class ClockGuard:
    """The judgement, and the readings it rests on."""

    def __init__(self, limit: timedelta, *, reference_age: timedelta | None = None) -> None:
        self._limit = limit
        self._reference_age = reference_age
        self._wall: datetime | None = None
        self._monotonic = 0.0
        self._stepped: str | None = None
        self._offset: timedelta | None = None
        self._offset_at: float | None = None

    @property
    def offset(self) -> timedelta | None:
        """The clock minus the reference, as last measured."""
        return self._offset

    def problem(self, wall: datetime, monotonic: float) -> str | None:
        """Take a reading; return why the time is not to be trusted, or None."""
        self._look_for_step(wall, monotonic)
        if self._stepped is not None:
            return self._stepped
        if self._reference_age is None:
            return None
        if self._offset is None or self._offset_at is None:
            return "clock: the time reference has not answered yet"
        if abs(self._offset) > self._limit:
            return f"clock: differs from the reference by {_seconds(self._offset)}, {_seconds(self._limit)} are allowed"
        silent = timedelta(seconds=monotonic - self._offset_at)
        if silent > self._reference_age:
            return f"clock: the time reference has not answered for {_seconds(silent)}"
        return None

    def measured(self, offset: timedelta, wall: datetime, monotonic: float) -> None:
        """Take the difference to the reference, measured just now."""
        self._look_for_step(wall, monotonic)
        self._offset, self._offset_at = offset, monotonic
        if abs(offset) <= self._limit:
            self._stepped = None
            self._wall, self._monotonic = wall, monotonic

    def _look_for_step(self, wall: datetime, monotonic: float) -> None:
        if self._wall is not None:
            expected = self._wall + timedelta(seconds=monotonic - self._monotonic)
            step = wall - expected
            if abs(step) > self._limit:
                self._stepped = f"clock: was set by {_seconds(step)}, {_seconds(self._limit)} are allowed"
        # A clock that is slewed drifts from the monotonic one for good reason: only the last interval counts.
        self._wall, self._monotonic = wall, monotonic


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.3f} s"
