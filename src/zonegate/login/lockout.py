"""[d] Lock-out after failed log-ins (RO-04): a state per account, changed by a failure, a success, or time.

Pure: the state and `now` in, the next state out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class LockoutRule:
    """So many failures within `window` lock for `lock`."""

    failures: int = 5
    window: timedelta = timedelta(minutes=15)
    lock: timedelta = timedelta(minutes=15)

    def __post_init__(self) -> None:
        if not 1 <= self.failures <= 10 or self.window <= timedelta(0) or self.lock < timedelta(minutes=1):
            msg = "lock-out: 1 to 10 failures within a window, at least a minute of lock"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Failures:
    """What is remembered of an account: its failures of late, and until when it is locked."""

    at: tuple[datetime, ...] = ()
    locked_until: datetime | None = None

    def check(self, *, now: datetime) -> None:
        """Return unless the account is locked at `now`; otherwise E_LOGIN_LOCKED."""
        if self.locked_until is not None and now < self.locked_until:
            raise ZoneGateError(Reason.E_LOGIN_LOCKED, f"account: locked until {self.locked_until.isoformat()}")

    def failed(self, rule: LockoutRule, *, now: datetime) -> "Failures":
        """Return the state after a failure at `now`."""
        recent = (*(moment for moment in self.at if now - moment < rule.window), now)
        if len(recent) < rule.failures:
            return Failures(recent, self.locked_until)
        return Failures((), now + rule.lock)

    def idle(self, rule: LockoutRule, *, now: datetime) -> bool:
        """Whether the state says nothing any more and may be forgotten."""
        locked = self.locked_until is not None and now < self.locked_until
        return not locked and all(now - moment >= rule.window for moment in self.at)
