"""[d] A session ends when it is idle too long, when its life is over, or when the roster bears it no more (RO-04).

Pure: the session and `now` in, the session as it goes on out, or E_SESSION.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from zonegate.errors import ZoneGateError
from zonegate.login.challenge import LoggedIn
from zonegate.reasons import Reason
from zonegate.roles.view import RoleView


@dataclass(frozen=True, slots=True)
class SessionRule:
    """How long a session may be idle, and how long it may last however busy."""

    idle: timedelta = timedelta(minutes=10)
    life: timedelta = timedelta(hours=8)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.idle <= self.life <= timedelta(hours=24):
            msg = "session: idle time must be positive and within the life, the life within a day"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Session:
    """A log-in that goes on."""

    login: LoggedIn
    opened_at: datetime
    seen_at: datetime

    def used(self, rule: SessionRule, roles: RoleView, *, now: datetime) -> "Session":
        """Return the session after use at `now`; E_SESSION if it is over."""
        # A wall clock that was set back would prolong it: that ends it as well.
        if now < self.seen_at or now - self.seen_at >= rule.idle:
            raise ZoneGateError(Reason.E_SESSION, "session: was idle too long")
        if now - self.opened_at >= rule.life:
            raise ZoneGateError(Reason.E_SESSION, "session: its life is over")
        login = self.login
        binding = roles.binding(login.identity, at=now)
        if binding is None or binding.certificate != login.certificate:
            raise ZoneGateError(Reason.E_SESSION, f"session: the certificate of {login.identity} has changed")
        if roles.standing(login.identity, login.role, at=now) is None:
            raise ZoneGateError(Reason.E_SESSION, f"session: {login.identity} is no longer a {login.role}")
        return replace(self, seen_at=now)

    def over(self, rule: SessionRule, *, now: datetime) -> bool:
        """Whether time alone has ended it."""
        return now < self.seen_at or now - self.seen_at >= rule.idle or now - self.opened_at >= rule.life
