"""The acts file, how an act is judged, and how results are shown."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from zonegate.demo.acts import Act, Expected, ExpectedRecord, Found, Got, Verb, judge, read_acts
from zonegate.demo.story import shipped_acts
from zonegate.demo.table import as_json, results_table
from zonegate.errors import ProblemsError
from zonegate.reasons import Reason

SHARED = Found(
    "shared", "#3", {"kind": "decision", "decision": "deny", "reason": "E_PURPOSE", "detail": "zg-purpose: missing"}
)
EXPECTED = Expected(
    status="INVALID_ARGUMENT",
    reason="E_PURPOSE",
    facts={"executed": 0},
    evidence=[ExpectedRecord(at="shared", has={"kind": "decision", "reason": "E_PURPOSE", "detail": "missing"})],
)
ACT = Act(id="purpose", en="Purpose missing", zh="未说明用途", do=Verb.CALL, expect=EXPECTED)
GOT = Got("INVALID_ARGUMENT", "E_PURPOSE", {"executed": 0}, ("1",))


def test_the_shipped_acts_are_those_of_the_issue() -> None:
    acts = shipped_acts()
    assert {act.id for act in acts} == {
        "D7-1", "stream", "organ-to-organ", "inside", "unknown-field", "D7-2", "D7-3", "purpose", "no-skipping",
        "unknown-method", "above-target", "spill", "no-label", "labelled", "label-lower", "two-way", "import",
        "carried-twice", "spoofed", "D7-11", "posing", "expired", "no-certificate", "aes-only", "rate",
        "no-evidence", "unsigned-policy", "one-signature", "older-policy", "revoked", "edited-evidence",
        "cut-evidence", "personal-number", "counters",
    }  # fmt: skip
    for act in acts:
        assert all(word in set(Reason) for word in act.expect.reason.replace(",", "").split() if word[0] != "×"), act.id
        assert act.expect.evidence or act.do.audits


def test_what_was_expected_is_no_surprise() -> None:
    result = judge(ACT, GOT, [SHARED])
    assert (result.ok, result.reason, result.evidence) == (True, "E_PURPOSE", (SHARED,))


SURPRISES = {
    "another status": (replace(GOT, status="OK"), [SHARED], "status: OK"),
    "another reason": (replace(GOT, reason="OK"), [SHARED], "reason: OK"),
    "the provider was reached": (replace(GOT, facts={"executed": 1}), [SHARED], "executed: 1, not 0"),
    "a fact is missing": (replace(GOT, facts={}), [SHARED], "executed: None, not 0"),
    "no record": (GOT, [], "evidence of shared: 0 ×"),
    "a record too many": (GOT, [SHARED, SHARED], "evidence of shared: 2 ×"),
    "a record elsewhere": (GOT, [replace(SHARED, at="police")], "evidence of shared: 0 ×"),
    "a record of another reason": (
        GOT,
        [replace(SHARED, values={**SHARED.values, "reason": "E_CASE"})],
        "evidence of shared: 0 ×",
    ),
    "a record with another detail": (
        GOT,
        [replace(SHARED, values={**SHARED.values, "detail": "found"})],
        "evidence of shared: 0 ×",
    ),
}


@pytest.mark.parametrize(("got", "found", "surprise"), SURPRISES.values(), ids=SURPRISES)
def test_anything_else_is(got: Got, found: list[Found], surprise: str) -> None:
    result = judge(ACT, got, found)
    assert not result.ok
    assert any(text.startswith(surprise) for text in result.surprises), result.surprises


def test_where_no_client_is_told_a_reason_the_evidence_tells_it() -> None:
    assert judge(ACT, replace(GOT, reason=""), [SHARED]).ok


def test_a_counted_record_stands_for_as_many_as_it_says() -> None:
    counted = Found("police", "#9", {"kind": "counted", "reason": "E_TLS_SUITE", "count": 3})
    wanted = ExpectedRecord(at="police", has={"kind": "counted"})
    act = ACT.model_copy(update={"expect": EXPECTED.model_copy(update={"evidence": [wanted]})})
    assert not judge(act, GOT, [counted]).ok
    more = wanted.model_copy(update={"or_more": True})
    act = ACT.model_copy(update={"expect": EXPECTED.model_copy(update={"evidence": [more]})})
    assert judge(act, GOT, [counted]).ok


GOOD = """
acts:
  - id: a
    en: An act
    zh: 一幕
    do: call
    expect: {status: OK, reason: OK}
"""
BAD = {
    "not YAML": ("acts: [", "is not YAML"),
    "not a mapping": ("- 1", "should be a valid"),
    "nothing": ("", "should be a valid"),
    "no acts": ("acts: []", "at least 1"),
    "unknown key": (GOOD + "    colour: red\n", "colour: is not a known key"),
    "unknown verb": (GOOD.replace("do: call", "do: sing"), "acts.0.do"),
    "wrong type": (GOOD.replace("zh: 一幕", "zh: 3"), "acts.0.zh"),
    "nothing expected": (GOOD.replace("expect: {status: OK, reason: OK}", "at: x"), "expect: is missing"),
    "the same twice": (GOOD + GOOD.replace("\nacts:\n", ""), "a stands twice"),
    "an id that is none": (GOOD.replace("id: a", "id: a b"), "acts.0.id"),
}


def test_a_good_file() -> None:
    (act,) = read_acts("acts.yaml", GOOD.encode())
    assert (act.id, act.do, act.title) == ("a", Verb.CALL, "An act 一幕")


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_file_names_what_is_wrong(text: str, message: str) -> None:
    with pytest.raises(ProblemsError, match=message):
        read_acts("acts.yaml", text.encode())


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200), st.text(alphabet=" \n-:{}[]acts&*!'\"#|>%@`0idodoexpect", max_size=120).map(str.encode)
    )
)
def test_any_bytes_give_acts_or_the_named_error(content: bytes) -> None:
    try:
        read_acts("acts.yaml", content)
    except ProblemsError as error:
        assert error.reason is Reason.E_CONFIG


def test_results_for_people_and_for_machines() -> None:
    results = [judge(ACT, GOT, [SHARED]), judge(ACT, replace(GOT, status="OK"), [SHARED])]
    console = Console(width=170, force_terminal=False, no_color=True)
    with console.capture() as shown:
        console.print(results_table(results))
    text = shown.get()
    assert "✓ purpose" in text
    assert "✗ purpose" in text
    assert "未说明用途" in text
    acts = json.loads(as_json(results))["acts"]
    assert [act["ok"] for act in acts] == [True, False]
    assert set(acts[0]) >= {"id", "title", "expected", "got", "reason", "evidence", "ok"}
