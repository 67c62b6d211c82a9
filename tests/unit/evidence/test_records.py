"""Records: what they hold, what they never hold, and that any bytes decode to a record or one named error."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.evidence import ALLOWED, BASIS, CALLER, NOW, decision, outcome
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence import records
from zonegate.reasons import Reason

instants = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
plain = st.text(st.characters(exclude_categories=("C", "Nd", "Z")), max_size=40)
words = st.text("abcdefghij-", max_size=20)
counts = st.integers(0, 2**53)

flows = st.builds(
    records.Flow,
    decision=words,
    reason=st.sampled_from(Reason),
    source=words,
    target=words,
    level=st.none() | st.integers(0, 5),
    categories=st.lists(plain, max_size=3).map(tuple),
    label_source=words,
)
verdicts = st.builds(
    records.Verdict,
    allowed=st.booleans(),
    reason=st.sampled_from(Reason),
    request=flows,
    response=st.none() | flows,
    path=plain,
    resource=words,
)
decisions = st.builds(
    records.DecisionRecord,
    time=instants,
    crossing=words,
    hop=st.sampled_from(records.Hop),
    caller=st.builds(records.Caller, uri=words, peer=words, operator=plain),
    verdict=verdicts,
    basis=st.builds(records.Basis, policy=words, digest=words, crl=counts),
    purpose=plain,
    case=plain,
    detail=plain,
    declared_by=st.sampled_from(records.DeclaredBy),
)
outcomes = st.builds(
    records.OutcomeRecord,
    time=instants,
    crossing=words,
    grpc=st.integers(0, 16),
    reason=st.sampled_from(Reason),
    executed=st.sampled_from(records.Executed),
    request_bytes=counts,
    duration_us=counts,
    recovered=st.booleans(),
)
others = st.one_of(
    st.builds(records.GapRecord, time=instants, lost=st.integers(1, 99), why=words, first=instants, last=instants),
    st.builds(records.StopRecord, time=instants, life=words, records=counts),
    st.builds(records.OpenRecord, time=instants, crossings=st.lists(words, max_size=5).map(tuple)),
    st.builds(records.PolicyRecord, time=instants, allowed=st.booleans(), reason=st.sampled_from(Reason), detail=plain),
    st.builds(
        records.CountedRecord,
        time=instants,
        what=st.sampled_from(records.Counted),
        reason=st.sampled_from(Reason),
        count=st.integers(1, 2**40),
        first=instants,
        last=instants,
        source_class=words,
    ),
)


@settings(max_examples=200)
@given(decisions | outcomes | others)
def test_round_trip(record: records.AnyRecord) -> None:
    payload = records.encode(record)
    assert records.decode(payload) == record
    assert records.encode(records.decode(payload)) == payload
    assert payload.startswith(b'{"kind":"' + records.kind_of(record).encode() + b'"')


@settings(max_examples=300)
@given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: ('{"kind":"decision",' + text).encode()))
def test_any_bytes_are_a_record_or_one_named_error(data: bytes) -> None:
    try:
        records.decode(data)
    except ZoneGateError as error:
        assert error.reason is Reason.E_EVIDENCE_BROKEN


WRONG = {
    "unknown kind": b'{"kind":"other","time":"2030-01-01T00:00:00Z"}',
    "no kind": b'{"time":"2030-01-01T00:00:00Z"}',
    "unknown field": b'{"kind":"stop","life":"a","time":"2030-01-01T00:00:00Z","extra":1}',
    "missing field": b'{"kind":"stop","time":"2030-01-01T00:00:00Z"}',
    "wrong type": b'{"kind":"stop","life":1,"time":"2030-01-01T00:00:00Z"}',
    "time without zone": b'{"kind":"stop","life":"a","time":"2030-01-01T00:00:00"}',
    "unknown reason": b'{"kind":"policy","allowed":true,"reason":"E_OTHER","time":"2030-01-01T00:00:00Z"}',
    "negative count": b'{"kind":"stop","life":"a","records":-1,"time":"2030-01-01T00:00:00Z"}',
    "gRPC status 17": records.encode(outcome("c")).replace(b'"grpc":0', b'"grpc":17'),
    "invalid UTF-8": b'{"kind":"stop","life":"\xff","time":"2030-01-01T00:00:00Z"}',
    "lone surrogate": b'{"kind":"stop","life":"\\ud800","time":"2030-01-01T00:00:00Z"}',
    "two objects": b"{}{}",
    "deep nesting": b"[" * 100_000,
    "empty": b"",
}


@pytest.mark.parametrize("data", WRONG.values(), ids=WRONG)
def test_wrong_records_are_named(data: bytes) -> None:
    with pytest.raises(ZoneGateError) as caught:
        records.decode(data)
    assert caught.value.reason is Reason.E_EVIDENCE_BROKEN


@pytest.mark.req("AU-06")
def test_no_full_personal_number_in_any_free_text() -> None:
    number, mobile = "110000199003071004", "13812345678"
    text = f"{number} {mobile}"
    refused = records.Flow(decision="deny", reason=Reason.E_CATEGORY, categories=("审计", number, mobile))
    made = [
        decision("c", records.Verdict(allowed=False, reason=Reason.E_CATEGORY, request=refused)),
        decision("c", purpose=text, case=text, label=text, trace=text, idempotency=text, detail=text),
        records.DecisionRecord(
            time=NOW,
            crossing="c",
            hop=records.Hop.SINGLE,
            caller=records.Caller(uri="u", operator=text),
            verdict=records.Verdict(
                allowed=False, reason=Reason.E_METADATA, request=ALLOWED.request, path=f"/a/{text}"
            ),
            basis=BASIS,
        ),
        records.ResponseRecord(
            time=NOW, crossing="c", allowed=True, reason=Reason.OK, flow=ALLOWED.request, label=text
        ),
        records.PolicyRecord(time=NOW, allowed=False, reason=Reason.E_BUNDLE_FORMAT, detail=text),
        records.ReceiptRecord(
            time=NOW, crossing="c", object="o", digest="d", sender="s", importer="i", path=f"/a/{text}"
        ),
        records.ImportRecord(
            time=NOW, object="o", allowed=False, reason=Reason.E_IMPORT_FORMAT, path=text, detail=text
        ),
        records.CountedRecord(
            time=NOW, what=records.Counted.REFUSAL, reason=Reason.E_RATE, count=1, first=NOW, last=NOW, path=text
        ),
    ]
    for record in made:
        payload = records.encode(record)
        assert number.encode() not in payload
        assert mobile.encode() not in payload


@pytest.mark.req("AU-06")
def test_text_is_bounded_and_a_trace_id_stays_whole() -> None:
    record = decision("c", purpose="长" * 1000, detail="d" * 1000, trace="13812345678" + "a" * 21)
    assert (len(record.purpose), len(record.detail)) == (records.TEXT_LIMIT, records.DETAIL_LIMIT)
    assert record.trace == "13812345678" + "a" * 21


@pytest.mark.req("AU-01")
def test_a_decision_holds_what_the_audit_requires() -> None:
    fields = records.encode(decision("c1", trace="0af7651916cd43dd8448eb211c80319c")).decode()
    for part in ("time", "caller", "certificate", "provider", "resource", "path", "decision", "source", "target"):
        assert f'"{part}":' in fields
    for part in ("level", "flow_rule", "grant", "policy", "digest", "trace", "reason", "crossing", "hop"):
        assert f'"{part}":' in fields


def test_what_may_be_lost_and_what_is_carried_over() -> None:
    assert not decision("c").carried
    assert outcome("c").carried
    assert not records.RecoveredRecord(time=NOW, dropped_bytes=0, unsealed=0, without_outcome=0).carried


def test_times_keep_their_instant() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=8)))
    assert records.decode(records.encode(outcome("c", time=local))).time == NOW


def test_shared_parts_are_not_copied() -> None:
    assert decision("a").caller is CALLER
    assert decision("a").verdict is decision("b").verdict
