"""A token bucket: so many a second, with a burst of one second's worth. Pure: the time is an argument."""


class TokenBucket:
    """Says whether one more may be done now."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._burst = max(per_second, 1.0)
        self._tokens = self._burst
        self._at: float | None = None

    def take(self, now: float) -> bool:
        """Take one token at monotonic time `now`; False if there is none."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + max(now - self._at, 0.0) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
