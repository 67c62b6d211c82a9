"""Counts and histograms: closed label sets, cumulative buckets, no lost increments."""

from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonegate.monitoring.tally import OTHER, Histogram, Tally, cumulative


class Word(StrEnum):
    DENY = "deny"


def test_counts_by_label_values() -> None:
    tally = Tally([("deny", "within"), ("z1", "z2")])
    tally.count(("deny", "z1"))
    tally.count(("deny", "z1"), 4)
    tally.count(("within", "z2"))
    assert tally.snapshot() == {("deny", "z1"): 5, ("within", "z2"): 1}


@pytest.mark.req("MO-01")
def test_values_outside_the_closed_set_share_one_series() -> None:
    tally = Tally([("z1",)])
    for number in range(10_000):
        tally.count((f"citizen-{number}",))
    assert tally.snapshot() == {(OTHER,): 10_000}


def test_a_zone_that_a_new_policy_brings_is_counted_by_name_from_then_on() -> None:
    tally = Tally([("z1",)])
    tally.count(("z2",))
    tally.allow(0, ["z2"])
    tally.count(("z2",))
    assert tally.snapshot() == {(OTHER,): 1, ("z2",): 1}


def test_an_enumeration_member_is_exported_as_its_value() -> None:
    tally = Tally([tuple(Word)])
    tally.count((Word.DENY,))
    (key,) = tally.snapshot()
    assert type(key[0]) is str
    assert key == ("deny",)


def test_a_wrong_number_of_labels_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="2 label values were given, the metric has 1"):
        Tally([("a",)]).count(("a", "b"))


def test_series_that_start_at_zero() -> None:
    tally = Tally([("a", "b")])
    tally.start_at_zero([("a",), ("b",)])
    assert tally.snapshot() == {("a",): 0, ("b",): 0}


BUCKET_CASES = {
    "below the first bound": (0.5, [1, 1, 1]),
    "exactly the first bound": (1.0, [1, 1, 1]),
    "just above the first bound": (1.0000001, [0, 1, 1]),
    "exactly the last bound": (5.0, [0, 1, 1]),
    "above every bound": (5.1, [0, 0, 1]),
}


@pytest.mark.parametrize(("value", "expected"), BUCKET_CASES.values(), ids=BUCKET_CASES)
def test_buckets(value: float, expected: list[int]) -> None:
    histogram = Histogram([1, 5])
    histogram.observe(value)
    pairs, total = cumulative(histogram), histogram.total
    assert [bound for bound, _ in pairs] == ["1.0", "5.0", "+Inf"]
    assert [count for _, count in pairs] == expected
    assert total == value


@pytest.mark.parametrize("bounds", [[], [1, 1], [2, 1]], ids=["none", "equal", "falling"])
def test_bounds_must_rise(bounds: list[float]) -> None:
    with pytest.raises(ValueError, match="must rise"):
        Histogram(bounds)


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=50))
def test_the_last_bucket_holds_every_observation(values: list[float]) -> None:
    histogram = Histogram([0.1, 1, 10])
    for value in values:
        histogram.observe(value)
    pairs, total = cumulative(histogram), histogram.total
    assert pairs[-1] == ("+Inf", float(len(values)))
    assert [count for _, count in pairs] == sorted(count for _, count in pairs)
    assert total == pytest.approx(sum(values))
