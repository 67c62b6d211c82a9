"""Explanations agree with decisions and name the step that refused; the matrix prints 294 cells."""

import pytest

from support.policy import (
    CLUE,
    CREDIT_FRONT,
    LIST,
    NOTICE,
    RELIEF,
    SUBMIT,
    VERIFY,
    compile_sample,
    sample_policy,
    with_documents,
)
from zonegate.policies.decide import CallFacts, decide_call
from zonegate.policies.explain import Outcome, explain
from zonegate.policies.labels import Label, Level
from zonegate.policies.matrix import as_text, class_cells, policy_cells
from zonegate.policies.selftest import TABLE
from zonegate.policies.zones import Decision, ZoneClass
from zonegate.reasons import REGISTRY, Reason

POLICY = sample_policy()
NOW = POLICY.not_before
PURPOSE = "社会救助审核"

CASES = {
    "granted": (CallFacts(RELIEF, VERIFY, purpose=PURPOSE), None, Reason.OK),
    "import": (CallFacts(CREDIT_FRONT, SUBMIT, purpose="统计报送"), None, Reason.OK),
    "stranger": (CallFacts(RELIEF + "x", VERIFY), "admit", Reason.E_IDENTITY),
    "method": (CallFacts(RELIEF, "/x.Y/Z"), "catalogue", Reason.E_NOT_CATALOGUED),
    "lower label": (CallFacts(RELIEF, VERIFY, declared=Label(Level.L0)), "label", Reason.E_LABEL_LOWER),
    "spill": (CallFacts(RELIEF, VERIFY, declared=Label(Level.L3)), "spill", Reason.E_SPILL),
    "zone": (CallFacts(RELIEF, NOTICE), "zone rule", Reason.E_ZONE_RULE),
    "flow rule": (CallFacts(RELIEF, SUBMIT, purpose="统计报送"), "flow rule", Reason.E_NO_FLOW_RULE),
    "category": (CallFacts(CREDIT_FRONT, LIST, purpose="信用核查"), "dominance", Reason.E_CATEGORY),
    "not shared": (CallFacts(RELIEF, CLUE), "share", Reason.E_NOT_SHARED),
}


@pytest.mark.parametrize(("facts", "step", "reason"), CASES.values(), ids=CASES)
def test_the_step_that_refuses_is_named(facts: CallFacts, step: str | None, reason: Reason) -> None:
    explanation = explain(POLICY, facts, now=NOW)
    assert explanation.decision == decide_call(POLICY, facts, now=NOW)
    assert explanation.decision.reason is reason
    outcomes = [found.outcome for found in explanation.steps]
    refused = [found for found in explanation.steps if found.outcome is Outcome.REFUSED]
    assert [found.name for found in refused] == ([] if step is None else [step])
    # passed, then the refusal, then nothing
    at = outcomes.index(Outcome.REFUSED) if refused else len(outcomes)
    assert set(outcomes[:at]) <= {Outcome.PASSED}
    assert set(outcomes[at + 1 :]) <= {Outcome.NOT_REACHED}
    assert all(found.zh and found.outcome.zh for found in explanation.steps)
    assert all(bool(found.found) is (found.outcome is not Outcome.NOT_REACHED) for found in explanation.steps)
    if refused:
        assert refused[0].found == f"{reason.value}: {explanation.decision.detail}"


def test_within_one_organ_the_flow_rule_suffices() -> None:
    files = with_documents(
        """apiVersion: zonegate/v1
kind: System
uri: spiffe://extra/11100000990000025W/duty
title: 值班系统
zone: police
clearance: L1
---
apiVersion: zonegate/v1
kind: FlowRule
id: within-police
from: police
to: police
resources: [population]
"""
    )
    facts = CallFacts("spiffe://extra/11100000990000025W/duty", VERIFY)
    explanation = explain(compile_sample(files).policy, facts, now=NOW)
    assert explanation.decision.decision is Decision.WITHIN
    assert "同一机构" in explanation.steps[-1].found


def test_an_explanation_as_json() -> None:
    shown = explain(POLICY, CallFacts(RELIEF, CLUE), now=NOW).as_dict()
    assert (shown["allowed"], shown["decision"], shown["reason"]) == (False, "deny", "E_NOT_SHARED")
    assert "示例条例第八条" in str(shown["detail"])
    assert shown["hint"] == {
        "en": REGISTRY[Reason.E_NOT_SHARED].hint_en,
        "zh": REGISTRY[Reason.E_NOT_SHARED].hint_zh,
    }


def test_every_refusal_has_a_step() -> None:
    """Whatever reason a decision may carry, `explain` knows where it belongs."""
    expired = explain(POLICY, CallFacts(RELIEF, VERIFY), now=POLICY.not_after)
    assert expired.steps[0].outcome is Outcome.REFUSED
    late = explain(POLICY, CallFacts(RELIEF, VERIFY, caller_valid_until=NOW), now=NOW)
    assert (late.decision.reason, late.steps[0].outcome) == (Reason.E_CERT_EXPIRED, Outcome.REFUSED)


@pytest.mark.req("MA-03")
def test_294_cells() -> None:
    cells = [cell.as_dict() for cell in class_cells(3)]
    assert len(cells) == 294
    assert all(list(cell) == ["from", "to", "level", "code", "decision", "reason"] for cell in cells)
    letters = "".join("".join(rows.split()) for rows in TABLE)
    assert "".join(str(cell["code"]) for cell in cells) == letters
    classes = [zone_class.value for zone_class in ZoneClass]
    assert [(cell["level"], cell["from"], cell["to"]) for cell in cells] == [
        (level, source, target) for level in range(6) for source in classes for target in classes
    ]
    words = {word.letter: word.value for word in Decision}
    assert all(cell["decision"] == words[str(cell["code"])] for cell in cells)


REASONS = {"A": "OK", "G": "OK", "O": "OK", "S": "OK", "Q": "E_SPILL", "-": "E_ZONE_RULE"}


def test_the_reasons_of_the_cells() -> None:
    for cell in class_cells(3):
        wanted = REASONS.get(cell.decision.letter)
        if wanted is not None:
            assert cell.reason.value == wanted
        elif cell.decision.letter == "X":
            assert cell.reason in {Reason.E_ZONE_RULE, Reason.E_CEILING}
        else:
            assert cell.reason is Reason.E_OBJECT_ONLY


def test_matrices_as_text() -> None:
    text = as_text(list(class_cells(3)))
    assert text.count("from \\ to") == 6
    assert "L2 工作秘密 (work secret)" in text
    of_policy = as_text(list(policy_cells(POLICY)))
    row = next(line.split() for line in of_policy.splitlines() if line.startswith("police "))
    # zones in the order of the documents: portal shared police civil inner
    assert row == ["police", "X", "G", "A", "G", "I"]
