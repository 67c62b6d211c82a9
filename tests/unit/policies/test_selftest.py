"""The self-test: invariants are recognised when broken, expectations when not met, and nothing else is in the way."""

from dataclasses import replace

import pytest

from support.policy import RELIEF, VERIFY, compile_sample
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.policies import selftest
from zonegate.policies.builtin import builtin_documents
from zonegate.policies.decide import CallFacts, decide_call
from zonegate.policies.labels import Label, Level
from zonegate.policies.model import Policy, Zone, make_policy
from zonegate.policies.selftest import Expectation, broken_invariant, self_test
from zonegate.policies.zones import Decision, ZoneClass, ceiling
from zonegate.reasons import Reason

COMPILED = compile_sample(builtin_documents(Net.EXTRA))


def zone(zone_class: ZoneClass, name: str = "") -> Zone:
    grade = 3 if zone_class.net is Net.EXTRA else None
    return Zone(name or zone_class.value, zone_class, "", grade, ceiling(zone_class, grade))


NET, E_I, E_P, E_D, I_3, I_4, I_5 = (zone(zone_class) for zone_class in ZoneClass)
TWIN = zone(ZoneClass.EXT_SHARED, "twin")

BROKEN = {
    "(1)": (E_P, E_D, Level.L3, Decision.GUARDED, "(1)"),
    "(1) into 互联网区": (E_P, E_I, Level.L2, Decision.GUARDED, "(1)"),
    "(2) out": (I_4, NET, Level.L0, Decision.OPEN, "(2)"),
    "(2) in": (NET, I_3, Level.L0, Decision.GUARDED, "(2)"),
    "(3)": (I_4, E_P, Level.L1, Decision.GUARDED, "(3)"),
    "(4)": (E_P, I_4, Level.L1, Decision.GUARDED, "(4)"),
    "(5)": (NET, E_P, Level.L0, Decision.GUARDED, "(5)"),
    "(6)": (E_P, I_4, Level.L3, Decision.IMPORT, "(6)"),
    "two zones within": (E_P, TWIN, Level.L1, Decision.WITHIN, "two zones are never within"),
    "kept: guarded": (E_P, TWIN, Level.L1, Decision.GUARDED, ""),
    "kept: within itself": (E_P, E_P, Level.L2, Decision.WITHIN, ""),
    "kept: subject": (E_I, NET, Level.L1, Decision.SUBJECT, ""),
    "kept: import": (E_D, I_5, Level.L2, Decision.MEDIA, ""),
    "kept: release": (I_3, E_P, Level.L2, Decision.RELEASE, ""),
    "kept: state secret inside the intranet": (I_4, I_5, Level.L4, Decision.MEDIA, ""),
}


@pytest.mark.req("MA-03")
@pytest.mark.parametrize(("source", "target", "level", "decision", "says"), BROKEN.values(), ids=BROKEN)
def test_invariants(source: Zone, target: Zone, level: Level, decision: Decision, says: str) -> None:
    found = broken_invariant(source, target, level, decision)
    assert found.startswith(says)
    assert bool(found) is bool(says)


def fails(expectation: Expectation) -> str:
    with pytest.raises(ZoneGateError) as caught:
        self_test(COMPILED.policy, (expectation,))
    assert caught.value.reason is Reason.E_BUNDLE_SELFTEST
    return caught.value.detail


GOOD = Expectation(
    id="x",
    caller=RELIEF,
    path=VERIFY,
    resource=None,
    purpose="社会救助审核",
    case=None,
    label=None,
    at=COMPILED.policy.not_before,
    decision=Decision.GUARDED,
    reason=Reason.OK,
)


def test_an_expectation_that_is_met() -> None:
    self_test(COMPILED.policy, (GOOD,))


UNMET = {
    "another word": {"decision": Decision.WITHIN},
    "another reason": {"decision": Decision.DENY, "reason": Reason.E_PURPOSE},
    "the word alone": {"purpose": None, "decision": Decision.DENY, "reason": Reason.E_CASE},
    "another purpose": {"purpose": "信用核查"},
    "another label": {"label": Label(Level.L3)},
    "at another time": {"at": COMPILED.policy.not_after},
    "another caller": {"caller": RELIEF + "x"},
}


@pytest.mark.parametrize("change", UNMET.values(), ids=UNMET)
def test_expectations_that_are_not_met(change: dict[str, object]) -> None:
    assert fails(replace(GOOD, **change)).startswith("expectation x: expects ")  # type: ignore[arg-type]


def test_failures_are_counted_past_the_limit() -> None:
    many = tuple(replace(GOOD, id=f"e{number}", purpose=None) for number in range(selftest.FAILURES_SHOWN + 5))
    with pytest.raises(ZoneGateError) as caught:
        self_test(COMPILED.policy, many)
    assert caught.value.detail.endswith("; and 5 more")


# --- the self-test notices when the code or the policy is not what it should be


def failures(policy: Policy = COMPILED.policy) -> str:
    with pytest.raises(ZoneGateError) as caught:
        self_test(policy, ())
    assert caught.value.reason is Reason.E_BUNDLE_SELFTEST
    return caught.value.detail


def test_a_table_that_is_not_d4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "TABLE", (selftest.TABLE[0].replace("-GX", "-GG"), *selftest.TABLE[1:]))
    assert failures() == "zone rule internet to ext.shared at L0 公开: D4 says G, the code X"


def with_zone(place: Zone) -> Policy:
    policy = COMPILED.policy
    return make_policy(
        net=policy.net,
        version=1,
        not_before=policy.not_before,
        not_after=policy.not_after,
        zones=[*policy.zones.values(), place],
    )


def test_an_extranet_zone_that_says_it_may_hold_a_state_secret() -> None:
    assert "(6) a state secret moves" in failures(with_zone(replace(E_P, name="bad", ceiling=Level.L4)))
    self_test(with_zone(replace(E_P, name="good")), ())


def test_anyone_who_may_call_what_is_in_no_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    granted = decide_call(COMPILED.policy, CallFacts(RELIEF, VERIFY, purpose=GOOD.purpose), now=GOOD.at)
    assert granted.allowed
    monkeypatch.setattr(selftest, "decide_call", lambda *_args, **_facts: granted)
    found = failures()
    assert "an unregistered caller is answered OK" in found
    assert f"{RELIEF} may call a method that is in no catalogue" in found
