"""What is counted instead of recorded, and that the sums come out as the counters have them (MO-02)."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.evidence import ALLOWED, NOW, REFUSED, REQUEST, decision, outcome
from zonegate.gateway.evidence.counts import DecisionKey, count_by_life, decision_key
from zonegate.gateway.evidence.flood import CountKey, FloodTable
from zonegate.gateway.evidence.records import (
    AnyRecord,
    Counted,
    CountedRecord,
    Flow,
    GapRecord,
    StartRecord,
    StopRecord,
    Verdict,
)
from zonegate.gateway.evidence.stats import GROUP_BOUNDS, Histogram
from zonegate.reasons import Reason

KEY = CountKey(Counted.REFUSAL, Reason.E_RATE, caller="a", decision="deny", source="x", target="y")


def start(life: str) -> StartRecord:
    return StartRecord(time=NOW, life=life, software="0", gateway="g")


def test_the_first_few_get_records_the_rest_are_counted() -> None:
    table = FloodTable(burst=3, capacity=10)
    assert [table.wants_record(KEY) for _ in range(5)] == [True, True, True, False, False]
    other = CountKey(Counted.REFUSAL, Reason.E_PURPOSE, caller="a", decision="deny", source="x", target="y")
    assert table.wants_record(other)
    table.count(KEY, at=NOW, crossing="c4")
    table.count(KEY, at=NOW + timedelta(seconds=1), crossing="c5")
    [record] = table.flush(now=NOW + timedelta(seconds=2))
    assert (record.count, record.first_crossing, record.last_crossing) == (2, "c4", "c5")
    assert (record.first, record.last) == (NOW, NOW + timedelta(seconds=1))
    assert (record.reason, record.source, record.target, record.caller) == (Reason.E_RATE, "x", "y", "a")
    assert table.flush(now=NOW) == []
    assert table.wants_record(KEY), "a new window begins"


def test_the_table_is_bounded() -> None:
    table = FloodTable(burst=1, capacity=4)
    for number in range(4):
        assert not table.full
        table.count(CountKey(Counted.HANDSHAKE, Reason.E_TLS_SUITE, source_class=str(number)), at=NOW)
    assert table.full
    assert len(table.flush(now=NOW)) == 4
    assert len(table) == 0


WORDS = {
    "allowed": (ALLOWED, DecisionKey("guarded", "shared", "population", Reason.OK)),
    "refused": (REFUSED, DecisionKey("deny", "shared", "population", Reason.E_NEED_APPROVAL)),
    "spill": (
        Verdict(allowed=False, reason=Reason.E_SPILL, request=REQUEST),
        DecisionKey("quarantine", "shared", "population", Reason.E_SPILL),
    ),
    "refused before zones were known": (
        Verdict(allowed=False, reason=Reason.E_IDENTITY, request=Flow(decision="deny", reason=Reason.E_IDENTITY)),
        DecisionKey("deny", "-", "-", Reason.E_IDENTITY),
    ),
}


@pytest.mark.req("MO-02")
@pytest.mark.parametrize(("verdict", "key"), WORDS.values(), ids=WORDS)
def test_decision_key(verdict: Verdict, key: DecisionKey) -> None:
    assert decision_key(verdict) == key


@pytest.mark.req("MO-02")
def test_sums_by_process_life() -> None:
    counted = CountedRecord(
        time=NOW,
        what=Counted.REFUSAL,
        reason=Reason.E_NEED_APPROVAL,
        count=7,
        first=NOW,
        last=NOW,
        decision="deny",
        source="shared",
        target="population",
    )
    handshakes = CountedRecord(
        time=NOW, what=Counted.HANDSHAKE, reason=Reason.E_TLS_SUITE, count=5, first=NOW, last=NOW
    )
    tickets = CountedRecord(time=NOW, what=Counted.ADMISSION, reason=Reason.E_TICKET, count=2, first=NOW, last=NOW)
    chain: list[AnyRecord] = [
        start("one"),
        decision("a"),
        outcome("a"),
        decision("b", REFUSED),
        counted,
        handshakes,
        tickets,
        GapRecord(time=NOW, lost=3, why="EIO", first=NOW, last=NOW),
        StopRecord(time=NOW, life="one"),
        start("two"),
        decision("c"),
    ]
    one, two = count_by_life(chain)
    assert (one.life, two.life) == ("one", "two")
    assert one.decisions == {decision_key(ALLOWED): 1, decision_key(REFUSED): 8}
    assert one.handshakes == {Reason.E_TLS_SUITE: 5}
    assert one.admissions == {Reason.E_TICKET: 2}
    assert (one.lost, two.lost) == (3, 0)
    assert two.decisions == {decision_key(ALLOWED): 1}
    assert count_by_life([]) == []


@pytest.mark.req("MO-02")
@settings(max_examples=100)
@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=60), st.integers(1, 5), st.integers(0, 20))
def test_records_and_counts_together_miss_nothing(callers: list[str], burst: int, flush_every: int) -> None:
    table, records, counted = FloodTable(burst=burst, capacity=100), 0, 0
    for place, caller in enumerate(callers):
        key = CountKey(Counted.REFUSAL, Reason.E_RATE, caller=caller)
        if table.wants_record(key):
            records += 1
        else:
            table.count(key, at=NOW)
        if flush_every and place % flush_every == 0:
            counted += sum(record.count for record in table.flush(now=NOW))
    counted += sum(record.count for record in table.flush(now=NOW))
    assert records + counted == len(callers)


def test_histogram_counts_each_observation_once() -> None:
    histogram = Histogram(GROUP_BOUNDS)
    for value in (1, 1, 2, 3, 1024, 5000):
        histogram.observe(value)
    assert histogram.counts[0] == 2
    assert histogram.counts[1] == 1
    assert histogram.counts[2] == 1
    assert histogram.counts[-1] == 1
    assert (histogram.count, histogram.total) == (6, 6031)
