"""The clocks: UTC-aware and never back; the fake one moves only when told."""

from datetime import UTC, datetime, timedelta

import pytest

from support.clock import NOON, FakeClock
from zonegate.clock import Clock, SystemClock


def test_system_clock() -> None:
    clock: Clock = SystemClock()
    first, second = clock.now(), clock.now()
    assert first.tzinfo is UTC
    assert second >= first
    assert clock.monotonic() <= clock.monotonic()
    assert first.year >= 2024


def test_fake_clock() -> None:
    fake = FakeClock()
    clock: Clock = fake
    before = clock.monotonic()
    assert clock.now() == clock.now() == NOON
    fake.advance(1.5)
    assert clock.now() == NOON + timedelta(seconds=1.5)
    assert clock.monotonic() == before + 1.5
    fake.set_wall(datetime(2020, 1, 1, tzinfo=UTC))
    assert clock.monotonic() == before + 1.5
    with pytest.raises(ValueError, match="does not run back"):
        fake.advance(-1)
