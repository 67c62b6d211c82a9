"""The rate limiter is arithmetic: compared with a plain bucket, and bounded."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.gateway import rate as module
from zonegate.gateway.rate import Rate, RateTable


def test_burst_then_pace() -> None:
    table, rate = RateTable(), Rate(10.0, 3)
    assert [table.admit("k", rate, 0.0) for _ in range(4)] == [True, True, True, False]
    assert table.admit("k", rate, 0.1)
    assert not table.admit("k", rate, 0.1)
    assert not table.admit("k", rate, 0.199)
    assert table.admit("k", rate, 0.2)


def test_keys_do_not_share() -> None:
    table, rate = RateTable(), Rate(1.0, 1)
    assert table.admit("a", rate, 0.0)
    assert table.admit("b", rate, 0.0)
    assert not table.admit("a", rate, 0.5)


def test_idle_time_earns_no_more_than_the_burst() -> None:
    table, rate = RateTable(), Rate(10.0, 2)
    assert [table.admit("k", rate, 1000.0) for _ in range(3)] == [True, True, False]


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TABLE_LIMIT", 4)
    table, rate = RateTable(), Rate(1.0, 1)
    assert all(table.admit(key, rate, 0.0) for key in range(4))
    assert not table.admit("one too many", rate, 0.0)
    assert table.admit("one too many", rate, 2.0), "paid debts make room"


@settings(max_examples=150)
@given(
    per_second=st.integers(1, 1000),
    burst=st.integers(1, 20),
    gaps=st.lists(st.integers(0, 200), min_size=1, max_size=60),
)
def test_like_a_bucket_of_tokens(per_second: int, burst: int, gaps: list[int]) -> None:
    # Time in whole milliseconds and tokens in thousandths, so that the reference is exact.
    table, rate = RateTable(), Rate(float(per_second), burst)
    level, now = burst * 1000, 0
    for gap in gaps:
        now += gap
        level = min(burst * 1000, level + gap * per_second)
        wanted = level >= 1000
        admitted = table.admit("k", rate, now / 1000)
        if abs(level - 1000) > 1:  # at the very edge rounding may fall either way
            assert admitted is wanted
        if admitted:
            level -= 1000
