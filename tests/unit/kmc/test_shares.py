"""The master key among its holders: every m of n open it, no m-1 do, and what is refused changes nothing (CA-07)."""

from datetime import timedelta
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shamir_mnemonic import combine_mnemonics

from support.clock import FakeClock
from support.kmc import HOLDERS
from zonegate.ca.kmc.shares import HOLD, Gathering, split
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

MASTER = bytes(range(32))
SPLIT, SHARES = split(MASTER, generation=1, threshold=3, holders=HOLDERS)
NOW = FakeClock().now()


def _give(gathering: Gathering, *texts: str) -> list[bytes | None]:
    return [gathering.give(text, now=NOW) for text in texts]


@pytest.mark.req("CA-07")
@pytest.mark.parametrize("places", list(combinations(range(5), 3)), ids=str)
def test_every_three_of_five_open(places: tuple[int, ...]) -> None:
    gathering = Gathering(SPLIT)
    assert _give(gathering, *(SHARES[place] for place in places)) == [None, None, MASTER]
    assert gathering.progress.given == (), "nothing is held longer than needed"


@pytest.mark.req("CA-07")
@pytest.mark.parametrize("places", list(combinations(range(5), 2)), ids=str)
def test_no_two_of_five_open_and_the_others_are_named(places: tuple[int, ...]) -> None:
    gathering = Gathering(SPLIT)
    assert _give(gathering, *(SHARES[place] for place in places)) == [None, None]
    progress = gathering.progress
    assert progress.needed == 1
    assert progress.outstanding == tuple(name for place, name in enumerate(HOLDERS) if place not in places)
    with pytest.raises(Exception, match="Wrong number of mnemonics"):
        combine_mnemonics([SHARES[place] for place in places])


OTHER_SPLIT, OTHER_SHARES = split(MASTER, generation=2, threshold=3, holders=HOLDERS)
_, TWO_SHARES = split(MASTER, generation=1, threshold=2, holders=HOLDERS)
_, SHORT_SHARES = split(MASTER[:16], generation=1, threshold=3, holders=HOLDERS)
WORDS = SHARES[1].split()
REFUSED = {
    "given twice": SHARES[0],
    "one word wrong": " ".join([*WORDS[:10], "academic" if WORDS[10] != "academic" else "acid", *WORDS[11:]]),
    "two words swapped": " ".join([*WORDS[:8], WORDS[9], WORDS[8], *WORDS[10:]]) if WORDS[8] != WORDS[9] else "x",
    "a word missing": " ".join(WORDS[:-1]),
    "no words": "一二三",
    "empty": "",
    "too long": "academic " * 100,
    "of another split": OTHER_SHARES[1],
    "of another threshold": TWO_SHARES[1],
    "of a shorter key": SHORT_SHARES[1],
}


@pytest.mark.req("CA-07")
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_wrong_share_is_refused_and_changes_nothing(text: str) -> None:
    gathering = Gathering(SPLIT)
    gathering.give(SHARES[0], now=NOW)
    with pytest.raises(ZoneGateError) as refused:
        gathering.give(text, now=NOW)
    assert refused.value.reason is Reason.E_KEY_SHARE
    assert not set(text.split()) & set(refused.value.detail.replace(",", " ").split())
    assert refused.value.__cause__ is None
    assert gathering.progress.given == (HOLDERS[0],)
    assert _give(gathering, SHARES[3], SHARES[4])[1] == MASTER


def test_spelling_of_spaces_and_capitals_does_not_matter() -> None:
    gathering = Gathering(SPLIT)
    messy = [f"  {text.upper()} \n".replace(" ", "\n ") for text in SHARES[:3]]
    assert _give(gathering, *messy)[2] == MASTER


def test_shares_do_not_lie_about() -> None:
    gathering = Gathering(SPLIT)
    gathering.give(SHARES[0], now=NOW)
    gathering.expire(now=NOW + HOLD - timedelta(seconds=1))
    assert gathering.progress.given == (HOLDERS[0],)
    gathering.expire(now=NOW + HOLD)
    assert gathering.progress.given == ()
    gathering.give(SHARES[0], now=NOW)
    gathering.expire(now=NOW - timedelta(seconds=1))
    assert gathering.progress.given == (), "a clock that was set back drops them too"


@pytest.mark.parametrize(
    ("threshold", "holders"),
    [
        (1, HOLDERS),
        (6, HOLDERS),
        (2, ("甲",)),
        (2, ("甲", "甲")),
        (2, ("甲", "")),
        (2, ("甲", "乙\n")),
        (2, ("x" * 65, "y")),
    ],
    ids=["1 of n", "more than there are", "one holder", "one name twice", "no name", "line feed", "long name"],
)
def test_a_split_that_protects_nothing_is_refused(threshold: int, holders: tuple[str, ...]) -> None:
    with pytest.raises(ZoneGateError) as refused:
        split(MASTER, generation=1, threshold=threshold, holders=holders)
    assert refused.value.reason is Reason.E_CONFIG


@given(st.one_of(st.text(max_size=600), st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join)))
@settings(max_examples=150, deadline=None)
def test_fuzz_a_share_or_one_named_error(text: str) -> None:
    try:
        Gathering(SPLIT).give(text, now=NOW)
    except ZoneGateError as exc:
        assert exc.reason is Reason.E_KEY_SHARE
