"""[a] The desk of one service: challenges given out, failures counted, sessions open; all bounded, in memory.

A restart ends all sessions and challenges, and forgets locks: restarting is the system administrator's act and is
audited. Answers come over SM mTLS, so `source` is a member of the net, and whoever locks others out is known.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.identity import Identity
from zonegate.login.challenge import NONCE_BYTES, Challenge, LoggedIn, decode_answer, new_challenge, verify_answer
from zonegate.login.lockout import Failures, LockoutRule
from zonegate.login.session import Session, SessionRule
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule, TrustAnchors
from zonegate.reasons import Reason
from zonegate.roles.view import RoleView

CHALLENGES_MAX: Final = 1024
ACCOUNTS_MAX: Final = 4096
SESSIONS_MAX: Final = 1024
SESSIONS_OF_ONE: Final = 3
TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class DeskRules:
    """The settings of a desk."""

    lockout: LockoutRule = field(default_factory=LockoutRule)
    session: SessionRule = field(default_factory=SessionRule)
    status: StatusRule = StatusRule.REQUIRED


class LoginDesk:
    """Safe to use from several threads; one lock, held for arithmetic only, never for a signature."""

    def __init__(self, service: Identity, rules: DeskRules | None = None) -> None:
        self._service = service
        self._rules = rules or DeskRules()
        self._lock = threading.Lock()
        self._challenges: OrderedDict[str, Challenge] = OrderedDict()
        self._failures: OrderedDict[str, Failures] = OrderedDict()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def challenge(self, *, now: datetime) -> Challenge:
        """Return a fresh challenge; the oldest is forgotten when there are too many."""
        made = new_challenge(self._service, nonce=secrets.token_bytes(NONCE_BYTES), now=now)
        with self._lock:
            self._challenges[made.nonce] = made
            while len(self._challenges) > CHALLENGES_MAX:
                self._challenges.popitem(last=False)
        return made

    def login(
        self, raw: bytes, source: str, *, now: datetime, anchors: TrustAnchors, crls: Sequence[Crl], roles: RoleView
    ) -> tuple[str, LoggedIn]:
        """Return the session's token and who has logged in with the answer `raw`; a failure is counted."""
        accounts = [f"source {source}"]
        try:
            self._check_locks(accounts, now)
            answer = decode_answer(raw)
            identity = answer.chain[0].identity
            # Officers that the roster does not have fill no memory; their source is counted.
            if identity is not None and roles.binding(identity, at=now) is not None:
                accounts.append(f"officer {identity}")
            self._check_locks(accounts, now)
            challenge = self._take(answer.challenge.nonce)
            login = verify_answer(
                answer, challenge, now=now, anchors=anchors, crls=crls, roles=roles, status=self._rules.status
            )
        except ZoneGateError as exc:
            if exc.reason is not Reason.E_LOGIN_LOCKED:
                self._count(accounts, now)
            raise
        return self._open(login, now), login

    def use(self, token: str, roles: RoleView, *, now: datetime) -> Session:
        """Return the session of `token`, its idle time begun anew; E_SESSION if there is none."""
        key = _key(token)
        with self._lock:
            session = self._sessions.get(key)
            if session is None:
                raise ZoneGateError(Reason.E_SESSION, "session: there is none with this token")
            try:
                going_on = session.used(self._rules.session, roles, now=now)
            except ZoneGateError:
                del self._sessions[key]
                raise
            self._sessions[key] = going_on
        return going_on

    def end(self, token: str) -> None:
        """End a session; an unknown token ends nothing."""
        with self._lock:
            self._sessions.pop(_key(token), None)

    def _take(self, nonce: str) -> Challenge:
        with self._lock:
            challenge = self._challenges.pop(nonce, None)
        if challenge is None:
            raise ZoneGateError(Reason.E_LOGIN, "challenge: is not one of this service, or was answered before")
        return challenge

    def _open(self, login: LoggedIn, now: datetime) -> str:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        with self._lock:
            for key in [key for key, item in self._sessions.items() if item.over(self._rules.session, now=now)]:
                del self._sessions[key]
            own = [key for key, item in self._sessions.items() if item.login.identity == login.identity]
            for key in own[: max(0, len(own) - SESSIONS_OF_ONE + 1)]:
                del self._sessions[key]
            if len(self._sessions) >= SESSIONS_MAX:
                raise ZoneGateError(Reason.E_SESSION, f"session: {SESSIONS_MAX} are open")
            self._sessions[_key(token)] = Session(login, now, now)
            self._failures.pop(f"officer {login.identity}", None)
        return token

    def _check_locks(self, accounts: Sequence[str], now: datetime) -> None:
        with self._lock:
            for account in accounts:
                self._failures.get(account, Failures()).check(now=now)

    def _count(self, accounts: Sequence[str], now: datetime) -> None:
        with self._lock:
            for account in accounts:
                self._failures[account] = self._failures.pop(account, Failures()).failed(self._rules.lockout, now=now)
            if len(self._failures) > ACCOUNTS_MAX:
                self._forget(now)

    def _forget(self, now: datetime) -> None:
        for account in [key for key, item in self._failures.items() if item.idle(self._rules.lockout, now=now)]:
            del self._failures[account]
        while len(self._failures) > ACCOUNTS_MAX:
            self._failures.popitem(last=False)


def _key(token: str) -> str:
    # What is kept cannot be shown as a token.
    return sm3.hexdigest(token.encode())
