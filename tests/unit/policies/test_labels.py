"""Labels: strict reading, joining, dominance, effective level (D1, D2, C5, MA-02, MA-10)."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.errors import ZoneGateError
from zonegate.policies.labels import (
    Label,
    Level,
    dominates,
    effective_level,
    expires,
    join,
    parse_label,
    parse_level,
)
from zonegate.reasons import Reason

L = Level

GOOD = {
    "level alone": ("L0", Label(L.L0)),
    "one category": ("L2;cat=案件", Label(L.L2, frozenset({"案件"}))),
    "categories": ("L1;cat=纪检,案件", Label(L.L1, frozenset({"案件", "纪检"}))),
    "an organ's code as category": ("L1;cat=11100000990000025W", Label(L.L1, frozenset({"11100000990000025W"}))),
    "period": ("L4;until=2030-02-28", Label(L.L4, until=date(2030, 2, 28))),
    "leap day": ("L4;until=2032-02-29", Label(L.L4, until=date(2032, 2, 29))),
    "all parts": (
        "L3;cat=a-b,c_d,e.f;until=2030-01-01",
        Label(L.L3, frozenset({"a-b", "c_d", "e.f"}), date(2030, 1, 1)),
    ),
    "percent-encoded category": ("L1;cat=%E6%A1%88%E4%BB%B6", Label(L.L1, frozenset({"案件"}))),
    "16 categories": ("L1;cat=" + ",".join("abcdefghijklmnop"), Label(L.L1, frozenset("abcdefghijklmnop"))),
    "32 characters": ("L1;cat=" + "x" * 32, Label(L.L1, frozenset({"x" * 32}))),
}

BAD = {
    "empty": "",
    "no level": "cat=a",
    "level out of range": "L6",
    "level below": "L-1",
    "lower case": "l1",
    "two digits": "L11",
    "full-width digit": "L１",
    "Chinese word alone": "内部",
    "word after the code": "L1 内部",
    "blank before": " L1",
    "blank after": "L1 ",
    "newline": "L1\n",
    "trailing separator": "L1;",
    "unknown field": "L1;x=1",
    "no category": "L1;cat=",
    "empty category": "L1;cat=a,,b",
    "category twice": "L1;cat=a,a",
    "category twice in two spellings": "L1;cat=案,%E6%A1%88",
    "cat twice": "L1;cat=a;cat=b",
    "until twice": "L1;until=2030-01-01;until=2031-01-01",
    "wrong order": "L1;until=2030-01-01;cat=a",
    "fourth part": "L1;cat=a;until=2030-01-01;cat=b",
    "no such day": "L1;until=2030-02-30",
    "not a leap year": "L1;until=2030-02-29",
    "other date form": "L1;until=20300101",
    "instant": "L1;until=2030-01-01T00:00:00Z",
    "Arabic-Indic digits": "L1;until=٢٠٣٠-01-01",
    "17 categories": "L1;cat=" + ",".join("abcdefghijklmnopq"),
    "33 characters": "L1;cat=" + "x" * 33,
    "blank in a category": "L1;cat=a b",
    "full-width letter": "L1;cat=ａ",
    "decomposed letter": "L1;cat=e\u0301",
    "right-to-left mark": "L1;cat=a\u200f",
    "control character": "L1;cat=a\x00",
    "lower-case escape": "L1;cat=%e6%a1%88",
    "half an escape": "L1;cat=%E",
    "not UTF-8": "L1;cat=%FF",
    "257 characters": "L1;cat=" + ",".join(["x" * 31] * 8),
}


@pytest.mark.parametrize(("text", "label"), GOOD.values(), ids=GOOD)
def test_reads(text: str, label: Label) -> None:
    assert parse_label(text) == label
    assert parse_label(str(label)) == label
    assert parse_label(label.ascii) == label
    assert label.ascii.isascii()


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_refuses(text: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        parse_label(text)
    assert caught.value.reason is Reason.E_LABEL


@given(st.one_of(st.text(max_size=300), st.from_regex(r"L[0-9](;(cat|until)=[^;]{0,20}){0,3}", fullmatch=True)))
@settings(max_examples=300)
def test_any_text_is_a_label_or_e_label(text: str) -> None:
    label, reason = None, None
    try:
        label = parse_label(text)
    except ZoneGateError as exc:
        reason = exc.reason
    assert reason is (Reason.E_LABEL if label is None else None)
    if label is not None:
        assert parse_label(str(label)) == label


def test_level_names_and_words() -> None:
    assert [(level.name, level.zh) for level in Level] == [
        ("L0", "公开"),
        ("L1", "内部"),
        ("L2", "工作秘密"),
        ("L3", "秘密"),
        ("L4", "机密"),
        ("L5", "绝密"),
    ]
    assert all(parse_level(level.name) is level for level in Level)
    assert len({level.en for level in Level}) == len(Level)


# --- the secrecy period

LAST = date(2030, 6, 30)
# The last day ends at midnight in China, 16:00 UTC.
ENDS = datetime(2030, 6, 30, 16, tzinfo=UTC)
JUST = timedelta(microseconds=1)

PERIODS = {
    "before the end": (Label(L.L4, until=LAST), ENDS - JUST, L.L4),
    "MA-10 at the end 内部": (Label(L.L4, until=LAST), ENDS, L.L1),
    "MA-10 绝密 too": (Label(L.L5, until=LAST), ENDS + timedelta(days=9999), L.L1),
    "MA-10 工作秘密 too": (Label(L.L2, until=LAST), ENDS, L.L1),
    "内部 stays": (Label(L.L1, until=LAST), ENDS, L.L1),
    "公开 stays": (Label(L.L0, until=LAST), ENDS, L.L0),
    "no period": (Label(L.L3), datetime.max.replace(tzinfo=UTC), L.L3),
    "the calendar's last day": (Label(L.L3, until=date.max), datetime(9999, 12, 31, tzinfo=UTC), L.L3),
}


@pytest.mark.req("MA-10")
@pytest.mark.parametrize(("label", "now", "level"), PERIODS.values(), ids=PERIODS)
def test_effective_level(label: Label, now: datetime, level: Level) -> None:
    assert effective_level(label, now) is level


def test_the_end_of_a_period() -> None:
    assert expires(Label(L.L4, until=LAST)) == ENDS
    assert expires(Label(L.L4)) is None


# --- the lattice

categories = st.frozensets(st.sampled_from(["a", "b", "c"]), max_size=3)
days = st.dates(date(2020, 1, 1), date(2040, 12, 31))
labels = st.builds(Label, st.sampled_from(list(Level)), categories, st.none() | days)
instants = st.datetimes(datetime(2019, 1, 1), datetime(2042, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@pytest.mark.req("MA-02")
@given(labels, labels, labels)
def test_join_is_a_least_upper_bound(first: Label, second: Label, third: Label) -> None:
    assert join(first, first) == first
    assert join(first, second) == join(second, first)
    assert join(join(first, second), third) == join(first, join(second, third)) == join(first, second, third)
    assert join(join(first, second), first) == join(first, second)


@given(labels, labels, instants)
def test_joining_never_lowers(first: Label, second: Label, now: datetime) -> None:
    """汇编就高: at any time the whole counts as high as its highest part."""
    whole = join(first, second)
    assert effective_level(whole, now) >= max(effective_level(first, now), effective_level(second, now))
    assert whole.categories == first.categories | second.categories


@given(labels, instants, instants)
def test_time_only_lowers_and_never_to_public(label: Label, early: datetime, late: datetime) -> None:
    early, late = sorted((early, late))
    assert effective_level(label, early) >= effective_level(label, late)
    assert effective_level(label, late) >= min(label.level, Level.L1)


@pytest.mark.req("MA-02")
@given(st.sampled_from(list(Level)), categories, st.sampled_from(list(Level)), categories)
def test_dominance_is_level_and_scope(level: Level, held: frozenset[str], needed: Level, scope: frozenset[str]) -> None:
    found = dominates(level, held, needed, scope)
    assert found is (int(level) >= int(needed) and all(category in held for category in scope))
    if found and dominates(needed, scope, level, held):
        assert (level, held) == (needed, scope)
