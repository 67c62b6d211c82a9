"""Log-in by signed challenge, lock-out and sessions: each limit with the value beside it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import NOON
from support.officers import World
from support.pki import ORGAN
from zonegate.approval.rules import Part
from zonegate.errors import ZoneGateError
from zonegate.identity import Identity, Net
from zonegate.login import desk as desks
from zonegate.login.challenge import (
    CHALLENGE_LIFE,
    Answer,
    Challenge,
    LoggedIn,
    decode_answer,
    decode_challenge,
    encode_answer,
    encode_challenge,
    new_challenge,
    sign_answer,
    verify_answer,
)
from zonegate.login.desk import SESSIONS_OF_ONE, LoginDesk
from zonegate.login.lockout import Failures, LockoutRule
from zonegate.login.session import Session, SessionRule
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason
from zonegate.roles.change import Revoke
from zonegate.roles.role import Role

SERVICE = Identity(Net.INTRA, ORGAN, "ra")
SECURITY = Role.SECURITY_OFFICER
SECOND = timedelta(seconds=1)


def challenge(nonce: int = 1, service: Identity = SERVICE) -> Challenge:
    return new_challenge(service, nonce=nonce.to_bytes(32, "big"), now=NOON)


def answer(world: World, asked: Challenge, name: str = "zhao", role: Role = SECURITY) -> Answer:
    credential = world.credentials[name]
    return sign_answer(asked, role, chain=credential.chain, key=credential.key)


def verify(world: World, given_: Answer, asked: Challenge, *, now: datetime = NOON) -> LoggedIn:
    return verify_answer(
        given_,
        asked,
        now=now,
        anchors=world.net.anchors(),
        crls=world.net.crls(),
        roles=world.standing.standings,
    )


def refusal(act: Callable[[], object]) -> Reason:
    with pytest.raises(ZoneGateError) as caught:
        act()
    return caught.value.reason


@pytest.mark.req("RO-03", "CA-10")
def test_an_officer_logs_in(world: World) -> None:
    asked = challenge()
    login = verify(world, answer(world, asked), asked, now=NOON + CHALLENGE_LIFE - SECOND)
    assert (login.person, login.role) == ("p-zhao", SECURITY)


def system(world: World) -> Answer:
    credential = world.net.issue(Profile.SYSTEM, "zhao").load()
    return sign_answer(challenge(), SECURITY, chain=credential.chain, key=credential.key)


def stranger(world: World) -> Answer:
    world.officer("stranger")
    return answer(world, challenge(), "stranger")


def second_certificate(world: World) -> Answer:
    world.officer("zhao")
    return answer(world, challenge())


REFUSED: dict[str, tuple[Callable[[World], Answer], datetime]] = {
    "late": (lambda world: answer(world, challenge()), NOON + CHALLENGE_LIFE),
    "another challenge": (lambda world: answer(world, challenge(2)), NOON),
    "another service": (lambda world: answer(world, challenge(1, replace(SERVICE, name="kmc"))), NOON),
    "a role not held": (lambda world: answer(world, challenge(), "zhao", Role.AUDITOR), NOON),
    "a service's certificate": (system, NOON),
    "nobody of the roster": (stranger, NOON),
    "a certificate that the roster has not": (second_certificate, NOON),
    "a role written in afterwards": (
        lambda world: replace(answer(world, challenge(), "zhao", Role.HANDLER), role=SECURITY),
        NOON,
    ),
}


@pytest.mark.req("RO-03")
@pytest.mark.parametrize(("make", "now"), REFUSED.values(), ids=REFUSED)
def test_refused(world: World, make: Callable[[World], Answer], now: datetime) -> None:
    given_ = make(world)
    assert refusal(lambda: verify(world, given_, challenge(), now=now)) is Reason.E_LOGIN


def test_files_read_back_and_fuzz(world: World) -> None:
    asked = challenge()
    files = {decode_challenge: encode_challenge(asked), decode_answer: encode_answer(answer(world, asked))}
    assert decode_challenge(files[decode_challenge]) == asked
    assert decode_answer(files[decode_answer]) == answer_of(files[decode_answer])

    @settings(max_examples=80, deadline=None)
    @given(at=st.integers(0, 4000), value=st.integers(0, 255), cut=st.integers(0, 30))
    def run(at: int, value: int, cut: int) -> None:
        for reader, good in files.items():
            where = at % len(good)
            try:
                reader(good[:where] + bytes([value]) + good[where + 1 + cut :])
            except ZoneGateError as exc:
                assert exc.reason in {Reason.E_LOGIN, Reason.E_DER, Reason.E_KEY, Reason.E_TLS_SIGNATURE}

    run()


def answer_of(raw: bytes) -> Answer:
    return decode_answer(raw)


# --- lock-out

RULE = LockoutRule(failures=3, window=timedelta(minutes=10), lock=timedelta(minutes=5))


def failed(*minutes: float) -> Failures:
    state = Failures()
    for minute in minutes:
        state = state.failed(RULE, now=NOON + timedelta(minutes=minute))
    return state


@pytest.mark.req("RO-04")
@pytest.mark.parametrize(
    ("state", "minute", "locked"),
    [
        (failed(0, 1), 1, False),
        (failed(0, 1, 2), 2, True),
        (failed(0, 1, 2), 6.99, True),
        (failed(0, 1, 2), 7, False),
        (failed(0, 1, 9.99), 9.99, True),
        (failed(0, 1, 10), 10, False),
        (failed(0, 1, 2, 7, 8), 8, False),
        (failed(0, 1, 2, 7, 8, 9), 9, True),
    ],
    ids=["one below", "the third", "still", "over", "in the window", "out of it", "begun anew", "again"],
)
def test_lock_out(state: Failures, minute: float, locked: bool) -> None:
    now = NOON + timedelta(minutes=minute)
    if locked:
        assert refusal(lambda: state.check(now=now)) is Reason.E_LOGIN_LOCKED
    else:
        state.check(now=now)


@pytest.mark.parametrize("wrong", [{"failures": 0}, {"failures": 11}, {"lock": timedelta(seconds=59)}])
def test_a_lock_out_that_locks_nobody(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="lock-out"):
        LockoutRule(**wrong)  # type: ignore[arg-type]


# --- sessions

SESSION = SessionRule(idle=timedelta(minutes=10), life=timedelta(minutes=30))


def session(world: World) -> Session:
    asked = challenge()
    return Session(verify(world, answer(world, asked), asked), NOON, NOON)


@pytest.mark.req("RO-04")
@pytest.mark.parametrize(
    ("used_at", "good"),
    [
        ([9.99], True),
        ([10], False),
        ([9, 18, 27, 29.99], True),
        ([9, 18, 27, 30], False),
        ([5, 4], False),
    ],
    ids=["within idle", "idle", "busy", "its life is over", "a clock set back"],
)
def test_session(world: World, used_at: list[float], good: bool) -> None:
    going = session(world)
    roles = world.standing.standings
    *before, last = [NOON + timedelta(minutes=minute) for minute in used_at]
    for now in before:
        going = going.used(SESSION, roles, now=now)
    if good:
        assert going.used(SESSION, roles, now=last).seen_at == last
    else:
        assert refusal(lambda: going.used(SESSION, roles, now=last)) is Reason.E_SESSION


@pytest.mark.req("RO-04", "RO-02")
def test_a_session_ends_with_the_role(world: World) -> None:
    going = session(world)
    change = Revoke(str(world.identity("zhao")), SECURITY.value, "leaves")
    world.change(change, [("qian", SECURITY, Part.APPROVE)])
    roles = world.standing.standings
    assert refusal(lambda: going.used(SESSION, roles, now=NOON)) is Reason.E_SESSION


@pytest.mark.parametrize("idle", [timedelta(0), timedelta(hours=9)])
def test_a_session_rule_makes_sense(idle: timedelta) -> None:
    with pytest.raises(ValueError, match="idle"):
        SessionRule(idle=idle)


# --- the desk


@pytest.fixture
def desk() -> LoginDesk:
    return LoginDesk(SERVICE)


def log_in(desk: LoginDesk, world: World, raw: bytes, *, source: str = "a", now: datetime = NOON) -> str:
    token, _ = desk.login(
        raw, source, now=now, anchors=world.net.anchors(), crls=world.net.crls(), roles=world.standing.standings
    )
    return token


def good(desk: LoginDesk, world: World, now: datetime = NOON, name: str = "zhao", role: Role = SECURITY) -> bytes:
    return encode_answer(answer(world, desk.challenge(now=now), name, role))


@pytest.mark.req("RO-03")
def test_a_challenge_is_answered_once(desk: LoginDesk, world: World) -> None:
    raw = good(desk, world)
    token = log_in(desk, world, raw)
    assert refusal(lambda: log_in(desk, world, raw)) is Reason.E_LOGIN
    assert desk.use(token, world.standing.standings, now=NOON).login.person == "p-zhao"
    assert refusal(lambda: log_in(LoginDesk(SERVICE), world, good(desk, world))) is Reason.E_LOGIN


@pytest.mark.req("RO-04")
def test_failures_lock_the_officer_out_and_time_lets_in_again(desk: LoginDesk, world: World) -> None:
    rule = LockoutRule()
    for number in range(rule.failures):
        raw = good(desk, world, role=Role.AUDITOR)
        assert refusal(lambda raw=raw, number=number: log_in(desk, world, raw, source=f"s{number}")) is Reason.E_LOGIN  # type: ignore[misc]
    assert refusal(lambda: log_in(desk, world, good(desk, world))) is Reason.E_LOGIN_LOCKED
    assert log_in(desk, world, good(desk, world, name="qian"))
    later = NOON + rule.lock
    assert refusal(lambda: log_in(desk, world, good(desk, world), now=later - SECOND)) is Reason.E_LOGIN_LOCKED
    assert log_in(desk, world, good(desk, world, later), now=later)


@pytest.mark.req("RO-04")
def test_failures_lock_the_source_out(desk: LoginDesk, world: World) -> None:
    for _ in range(LockoutRule().failures):
        assert refusal(lambda: log_in(desk, world, b"{}")) is Reason.E_LOGIN
    assert refusal(lambda: log_in(desk, world, good(desk, world))) is Reason.E_LOGIN_LOCKED
    assert log_in(desk, world, good(desk, world), source="b")


def test_the_oldest_session_of_an_officer_gives_way(desk: LoginDesk, world: World) -> None:
    tokens = [log_in(desk, world, good(desk, world)) for _ in range(SESSIONS_OF_ONE + 1)]
    roles = world.standing.standings
    assert refusal(lambda: desk.use(tokens[0], roles, now=NOON)) is Reason.E_SESSION
    assert all(desk.use(token, roles, now=NOON) for token in tokens[1:])
    desk.end(tokens[1])
    assert refusal(lambda: desk.use(tokens[1], roles, now=NOON)) is Reason.E_SESSION
    assert refusal(lambda: desk.use("invented", roles, now=NOON)) is Reason.E_SESSION


def test_memory_is_bounded(desk: LoginDesk, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "CHALLENGES_MAX", 3)
    monkeypatch.setattr(desks, "ACCOUNTS_MAX", 3)
    first = good(desk, world)
    for number in range(5):
        desk.challenge(now=NOON)
        refusal(lambda number=number: log_in(desk, world, b"{}", source=str(number)))  # type: ignore[misc]
    assert len(desk._challenges) == 3
    assert len(desk._failures) <= 3
    assert refusal(lambda: log_in(desk, world, first, source="x")) is Reason.E_LOGIN
    monkeypatch.setattr(desks, "SESSIONS_MAX", 0)
    assert refusal(lambda: log_in(desk, world, good(desk, world), source="y")) is Reason.E_SESSION
