import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.limits import TlsLimits, TokenBucket, Turnstile, source_of
from zonegate.reasons import Reason

SMALL = TlsLimits(
    connections=6,
    connections_per_source=4,
    connections_per_identity=2,
    pending=4,
    pending_per_source=3,
    handshakes_per_second=1.0,
    handshake_burst=3,
    source_handshakes_per_second=1.0,
    source_burst=2,
    known_handshakes_per_second=1.0,
    known_burst=2,
    known_seconds=100.0,
)

SOURCES = {
    "IPv4 is itself": ("192.0.2.7", "192.0.2.7"),
    "IPv6 by /64": ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    "IPv6 with a scope": ("fe80::1%eth0", "fe80::/64"),
    "mapped IPv4": ("::ffff:192.0.2.7", "192.0.2.7"),
    "not an address": ("unix", "unix"),
}


@pytest.mark.parametrize(("address", "source"), SOURCES.values(), ids=SOURCES)
def test_source(address: str, source: str):
    assert source_of(address) == source


def refusal(call: object, *arguments: object) -> Reason | None:
    try:
        call(*arguments)  # type: ignore[operator]
    except ZoneGateError as exc:
        return exc.reason
    return None


def test_a_bucket_gives_the_burst_then_the_rate():
    bucket = TokenBucket(2.0, 3, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True, True, True, False]
    assert [bucket.take(10.5), bucket.take(10.5)] == [True, False]
    assert [bucket.take(1000.0) for _ in range(4)] == [True, True, True, False]


@given(st.lists(st.floats(0, 5), max_size=200), st.floats(0.1, 10), st.integers(1, 10))
def test_a_bucket_never_gives_more_than_burst_plus_rate(gaps: list[float], rate: float, burst: int):
    bucket, now, taken = TokenBucket(rate, burst, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
    assert taken <= burst + rate * now + 1e-6


def test_a_clock_that_steps_back_gives_nothing_away():
    bucket = TokenBucket(1.0, 1, now=10.0)
    assert bucket.take(10.0)
    assert not bucket.take(5.0)
    assert not bucket.take(5.5)


def test_pending_connections_of_strangers_leave_half_to_known_sources():
    turnstile = Turnstile(SMALL, 0.0)
    assert [refusal(turnstile.arrive, f"s{n}", 0.0) for n in range(3)] == [None, None, Reason.E_CONNECTIONS]
    turnstile.settle("s0")
    turnstile.admit("s0", "spiffe://a", 0.0)
    assert turnstile.is_known("s0", 99.0)
    assert not turnstile.is_known("s0", 100.0)
    assert [refusal(turnstile.arrive, "s0", 1.0) for _ in range(4)] == [None, None, None, Reason.E_CONNECTIONS]


def test_connections_in_all_and_per_source():
    turnstile = Turnstile(SMALL, 0.0)
    for n in range(4):
        turnstile.arrive("one", 0.0)
        turnstile.settle("one")
        assert turnstile.connections == n + 1
    assert refusal(turnstile.arrive, "one", 0.0) is Reason.E_CONNECTIONS
    for _ in range(2):
        turnstile.arrive("two", 0.0)
        turnstile.settle("two")
    assert refusal(turnstile.arrive, "three", 0.0) is Reason.E_CONNECTIONS
    turnstile.leave("one")
    assert refusal(turnstile.arrive, "one", 0.0) is None


def test_connections_per_identity():
    turnstile = Turnstile(SMALL, 0.0)
    assert refusal(turnstile.admit, "s", "a", 0.0) is None
    assert refusal(turnstile.admit, "t", "a", 0.0) is None
    assert refusal(turnstile.admit, "u", "a", 0.0) is Reason.E_CONNECTIONS
    turnstile.release("s", "a", 0.0)
    assert refusal(turnstile.admit, "u", "a", 0.0) is None
    assert refusal(turnstile.admit, "u", "b", 0.0) is None


def test_hello_rates_by_source_of_strangers_and_of_known_sources():
    turnstile = Turnstile(SMALL, 0.0)
    assert [refusal(turnstile.hello, "s", 0.0) for _ in range(3)] == [None, None, Reason.E_TLS_RATE]
    # A third source finds the strangers' common bucket of three with one token.
    assert [refusal(turnstile.hello, "t", 0.0) for _ in range(2)] == [None, Reason.E_TLS_RATE]
    turnstile.admit("k", "a", 0.0)
    assert [refusal(turnstile.hello, "k", 0.0) for _ in range(3)] == [None, None, Reason.E_TLS_RATE]
    assert refusal(turnstile.hello, "s", 1.0) is None


def test_sources_remembered_are_bounded():
    turnstile = Turnstile(TlsLimits(), 0.0)
    for n in range(10_000):
        refusal(turnstile.hello, f"s{n}", n / 10)
        turnstile.admit(f"k{n}", "a" + str(n), 0.0)
    assert len(turnstile._buckets) <= 4096  # the bound itself is what is shown
    assert len(turnstile._known_until) <= 4096


@given(st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=60))
def test_whatever_comes_and_goes_nothing_is_left_counted(visits: list[tuple[str, bool]]):
    turnstile = Turnstile(SMALL, 0.0)
    inside: list[tuple[str, bool]] = []
    for source, finishes in visits:
        if refusal(turnstile.arrive, source, 0.0) is not None:
            continue
        admitted = False
        if finishes:
            turnstile.settle(source)
            admitted = refusal(turnstile.admit, source, "id", 0.0) is None
        inside.append((source, finishes))
        if admitted:
            turnstile.release(source, "id", 0.0)
    for source, settled in inside:
        if not settled:
            turnstile.settle(source)
        turnstile.leave(source)
    assert (turnstile.connections, turnstile.pending) == (0, 0)
    assert not turnstile._by_source
    assert not turnstile._by_identity
    assert not turnstile._pending_by_source
