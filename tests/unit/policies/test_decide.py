"""Decisions of calls: beside each granting row the nearest refusing ones (architecture section 3, B6, B7, C8.4)."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from zonegate.identity import Net
from zonegate.policies.decide import CallFacts, LabelSource, decide_call, decide_response
from zonegate.policies.labels import Label, Level
from zonegate.policies.model import (
    FlowRule,
    Grant,
    Method,
    Policy,
    Rate,
    Resource,
    ShareType,
    System,
    Zone,
    make_policy,
)
from zonegate.policies.zones import Decision, ZoneClass, ceiling
from zonegate.reasons import REGISTRY, Area, Reason

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
BEGIN, END = NOW - timedelta(days=10), NOW + timedelta(days=90)
DAY, JUST = timedelta(days=1), timedelta(microseconds=1)

POLICE, CIVIL, HUB = "11100000990000025W", "11320000990100018D", "111000009900000172"
CALLER = f"spiffe://extra/{CIVIL}/relief"
TWIN = f"spiffe://extra/{CIVIL}/second"
PROVIDER = f"spiffe://extra/{POLICE}/population"
SISTER = f"spiffe://extra/{POLICE}/duty"
FRONT = f"spiffe://extra/{HUB}/front"
INNER = f"spiffe://intra/{HUB}/statistics"
READER = f"spiffe://intra/{HUB}/reader"
CITIZEN = f"spiffe://extra/{HUB}/app"

VERIFY, LIST, SECRET, UNMARKED = "/p.v1.P/Verify", "/p.v1.P/List", "/p.v1.P/Secret", "/p.v1.P/Unmarked"
SUBMIT, ASK = "/s.v1.S/Submit", "/s.v1.S/Ask"
NOTICE, OPEN_NOTICE = "/n.v1.N/Get", "/n.v1.N/Open"

L0, L1, L2, L3, L4, L5 = (Label(level) for level in Level)


def zone(name: str, zone_class: ZoneClass, organ: str = HUB, grade: int | None = 3, **more: Any) -> Zone:
    own = grade if zone_class.net is Net.EXTRA else None
    return Zone(name, zone_class, organ, own, ceiling(zone_class, own), **more)


def methods(*found: Method) -> dict[str, Method]:
    return {method.path: method for method in found}


ZONES = (
    zone("net", ZoneClass.INTERNET),
    zone("portal", ZoneClass.EXT_INTERNET),
    zone("shared", ZoneClass.EXT_SHARED),
    zone("police", ZoneClass.EXT_DEDICATED, POLICE),
    zone("civil", ZoneClass.EXT_DEDICATED, CIVIL),
    zone("inner", ZoneClass.INT_L4, foreign=True),
    zone("archive", ZoneClass.INT_L3, foreign=True),
)
SYSTEMS = (
    System(CALLER, CIVIL, "civil", Level.L2, frozenset({"人口"})),
    System(TWIN, CIVIL, "civil", Level.L1),
    System(PROVIDER, POLICE, "police", Level.L2, frozenset({"人口", "案件"})),
    System(SISTER, POLICE, "police", Level.L2),
    System(FRONT, HUB, "portal", Level.L1),
    System(CITIZEN, HUB, "net", Level.L1),
    System(INNER, HUB, "inner", Level.L4, foreign=True),
    System(READER, HUB, "archive", Level.L3, foreign=True),
)
POPULATION = Resource(
    "population",
    PROVIDER,
    methods(
        Method(VERIFY, L1, L1),
        Method(LIST, L1, Label(Level.L1, frozenset({"人口"}))),
        Method(SECRET, L1, L2),
        Method(UNMARKED),
    ),
    ShareType.CONDITIONAL,
    purposes=frozenset({"审核", "核查"}),
)
STATISTICS = Resource(
    "statistics",
    INNER,
    methods(Method(SUBMIT, L1, None, one_way=True), Method(ASK, L1, L1)),
    ShareType.UNCONDITIONAL,
)
NOTICES = Resource(
    "notices", FRONT, methods(Method(NOTICE, L0, L1), Method(OPEN_NOTICE, L0, L0)), ShareType.UNCONDITIONAL
)
RULES = (
    FlowRule("civil-police", "civil", "police", frozenset({"population"})),
    FlowRule("police-police", "police", "police", frozenset({"population"})),
    FlowRule("civil-inner", "civil", "inner", frozenset({"statistics"})),
    FlowRule("net-portal", "net", "portal", frozenset({"notices"})),
    FlowRule("archive-inner", "archive", "inner", frozenset({"statistics"})),
)
GRANT = Grant(
    "g1",
    CIVIL,
    "population",
    NOW - DAY,
    NOW + 5 * DAY,
    purposes=frozenset({"审核"}),
    rate=Rate(10, 20),
)


def policy(**changes: Any) -> Policy:
    parts: dict[str, Any] = {
        "net": Net.EXTRA,
        "version": 7,
        "not_before": BEGIN,
        "not_after": END,
        "zones": ZONES,
        "systems": SYSTEMS,
        "resources": (POPULATION, STATISTICS, NOTICES),
        "flow_rules": RULES,
        "grants": (GRANT,),
    }
    return make_policy(**{**parts, **changes})


def but(items: tuple[Any, ...], key: str, **changes: Any) -> tuple[Any, ...]:
    """The same items, one of them changed; every item begins with its name."""
    found = [item for item in items if key in {getattr(item, name, None) for name in ("id", "name", "uri")}]
    assert len(found) == 1
    return tuple(replace(item, **changes) if item is found[0] else item for item in items)


POLICY = policy()
GOOD = CallFacts(CALLER, VERIFY, purpose="审核")


def test_the_granting_row() -> None:
    decision = decide_call(POLICY, GOOD, now=NOW)
    assert decision.allowed
    assert (decision.reason, decision.step, decision.detail) == (Reason.OK, Area.SHARE, "")
    assert (decision.decision, decision.request.decision, decision.response.decision) == (Decision.GUARDED,) * 3
    assert (decision.request.source, decision.request.target) == ("civil", "police")
    assert (decision.response.source, decision.response.target) == ("police", "civil")
    assert (decision.flow_rule, decision.grant, decision.rate) == ("civil-police", "g1", Rate(10, 20))
    assert decision.caller is not None
    assert decision.provider is not None
    assert (decision.caller.uri, decision.provider.uri) == (CALLER, PROVIDER)
    assert not decision.imported


# Every row differs from the granting one in one place.
CALLS: dict[str, tuple[dict[str, Any], dict[str, Any], timedelta, Reason]] = {
    "granted": ({}, {}, timedelta(), Reason.OK),
    "other purpose of the grant's resource": ({"purpose": "核查"}, {}, timedelta(), Reason.E_PURPOSE),
    "C8.4 purpose missing": ({"purpose": None}, {}, timedelta(), Reason.E_PURPOSE),
    "C8.4 purpose empty": ({"purpose": ""}, {}, timedelta(), Reason.E_PURPOSE),
    "purpose unknown": ({"purpose": "x"}, {}, timedelta(), Reason.E_PURPOSE),
    "unknown caller": ({"caller_uri": CALLER + "x"}, {}, timedelta(), Reason.E_IDENTITY),
    "unknown caller before unknown method": (
        {"caller_uri": "", "path": "/x.Y/Z"},
        {},
        timedelta(),
        Reason.E_IDENTITY,
    ),
    "unknown method": ({"path": "/p.v1.P/Other"}, {}, timedelta(), Reason.E_NOT_CATALOGUED),
    "method in other case": ({"path": VERIFY.lower()}, {}, timedelta(), Reason.E_NOT_CATALOGUED),
    "resource named": ({"resource": "population"}, {}, timedelta(), Reason.OK),
    "another resource named": ({"resource": "notices"}, {}, timedelta(), Reason.E_NOT_CATALOGUED),
    "unknown resource named": ({"resource": "x"}, {}, timedelta(), Reason.E_NOT_CATALOGUED),
    "XZ-01 no flow rule": ({}, {"flow_rules": RULES[1:]}, timedelta(), Reason.E_NO_FLOW_RULE),
    "flow rule of the other direction": (
        {},
        {"flow_rules": but(RULES, "civil-police", source="police", target="civil")},
        timedelta(),
        Reason.E_NO_FLOW_RULE,
    ),
    "flow rule of another resource": (
        {},
        {"flow_rules": but(RULES, "civil-police", resources=frozenset({"notices"}))},
        timedelta(),
        Reason.E_NO_FLOW_RULE,
    ),
    "flow rule up to the level": (
        {},
        {"flow_rules": but(RULES, "civil-police", max_level=Level.L1)},
        timedelta(),
        Reason.OK,
    ),
    "flow rule one below the level": (
        {},
        {"flow_rules": but(RULES, "civil-police", max_level=Level.L0)},
        timedelta(),
        Reason.E_NO_FLOW_RULE,
    ),
    "flow rule for the purpose": (
        {},
        {"flow_rules": but(RULES, "civil-police", purposes=frozenset({"审核"}))},
        timedelta(),
        Reason.OK,
    ),
    "flow rule for another purpose": (
        {},
        {"flow_rules": but(RULES, "civil-police", purposes=frozenset({"核查"}))},
        timedelta(),
        Reason.E_NO_FLOW_RULE,
    ),
    "SH-04 no grant": ({}, {"grants": ()}, timedelta(), Reason.E_NEED_APPROVAL),
    "grant of another organ": ({}, {"grants": (replace(GRANT, organ=HUB),)}, timedelta(), Reason.E_NEED_APPROVAL),
    "grant of another resource": (
        {},
        {"grants": (replace(GRANT, resource="notices"),)},
        timedelta(),
        Reason.E_NEED_APPROVAL,
    ),
    "grant of the system": ({}, {"grants": (replace(GRANT, system=CALLER),)}, timedelta(), Reason.OK),
    "grant of a sister system": ({}, {"grants": (replace(GRANT, system=TWIN),)}, timedelta(), Reason.E_NEED_APPROVAL),
    "grant of the method": ({}, {"grants": (replace(GRANT, methods=frozenset({VERIFY})),)}, timedelta(), Reason.OK),
    "grant of another method": (
        {},
        {"grants": (replace(GRANT, methods=frozenset({LIST})),)},
        timedelta(),
        Reason.E_NEED_APPROVAL,
    ),
    "grant at its first instant": ({}, {}, -DAY, Reason.OK),
    "grant an instant before": ({}, {}, -DAY - JUST, Reason.E_NEED_APPROVAL),
    "grant at its last instant": ({}, {}, 5 * DAY - JUST, Reason.OK),
    "grant at its end": ({}, {}, 5 * DAY, Reason.E_NEED_APPROVAL),
    "a second grant covers the purpose": (
        {"purpose": "核查"},
        {"grants": (GRANT, replace(GRANT, id="g2", purposes=frozenset({"核查"})))},
        timedelta(),
        Reason.OK,
    ),
    "grant without purposes: the resource's": (
        {"purpose": "核查"},
        {"grants": (replace(GRANT, purposes=frozenset()),)},
        timedelta(),
        Reason.OK,
    ),
    "grant wider than the resource": (
        {"purpose": "其他"},
        {"grants": (replace(GRANT, purposes=frozenset({"其他"})),)},
        timedelta(),
        Reason.E_PURPOSE,
    ),
    "policy at its first instant": ({}, {"grants": (replace(GRANT, not_before=BEGIN),)}, BEGIN - NOW, Reason.OK),
    "policy before its time": ({}, {}, BEGIN - NOW - JUST, Reason.E_BUNDLE_EXPIRED),
    "policy at its end": ({}, {}, END - NOW, Reason.E_BUNDLE_EXPIRED),
    "certificate ends later": ({"caller_valid_until": NOW + JUST}, {}, timedelta(), Reason.OK),
    "certificate ends now": ({"caller_valid_until": NOW}, {}, timedelta(), Reason.E_CERT_EXPIRED),
    "source zone not approved": (
        {},
        {"zones": but(ZONES, "civil", approved=False)},
        timedelta(),
        Reason.E_ZONE_RULE,
    ),
    "target zone not approved": (
        {},
        {"zones": but(ZONES, "police", approved=False)},
        timedelta(),
        Reason.E_ZONE_RULE,
    ),
}


@pytest.mark.parametrize(("facts", "changes", "later", "reason"), CALLS.values(), ids=CALLS)
def test_calls(facts: dict[str, Any], changes: dict[str, Any], later: timedelta, reason: Reason) -> None:
    decision = decide_call(policy(**changes), replace(GOOD, **facts), now=NOW + later)
    assert decision.reason is reason
    assert decision.allowed is (reason is Reason.OK)
    assert decision.step is (Area.SHARE if decision.allowed else REGISTRY[reason].area)
    assert bool(decision.detail) is not decision.allowed
    assert decision.decision is (Decision.GUARDED if decision.allowed else Decision.DENY)


# --- labels: what the catalogue says, what is declared, what is missing

LABELS: dict[str, tuple[str, Label | None, Reason, Level, LabelSource]] = {
    "the catalogue's": (VERIFY, None, Reason.OK, Level.L1, LabelSource.CATALOGUE),
    "declared the same": (VERIFY, L1, Reason.OK, Level.L1, LabelSource.CATALOGUE),
    "declared higher": (VERIFY, L2, Reason.OK, Level.L2, LabelSource.DECLARED),
    "declared lower": (VERIFY, L0, Reason.E_LABEL_LOWER, Level.L0, LabelSource.NONE),
    "declared higher, but its period is over": (
        VERIFY,
        Label(Level.L2, until=date(2029, 12, 31)),
        Reason.OK,
        Level.L1,
        LabelSource.CATALOGUE,
    ),
    "MA-01 missing label fails high": (UNMARKED, None, Reason.OK, Level.L2, LabelSource.CEILING),
    "declared where the catalogue has none": (UNMARKED, L0, Reason.OK, Level.L0, LabelSource.DECLARED),
    "declared above the ceiling of its zone": (VERIFY, L3, Reason.E_SPILL, Level.L3, LabelSource.DECLARED),
    "declared far above": (VERIFY, L5, Reason.E_SPILL, Level.L5, LabelSource.DECLARED),
}


@pytest.mark.req("MA-01")
@pytest.mark.parametrize(("path", "declared", "reason", "level", "source"), LABELS.values(), ids=LABELS)
def test_request_labels(path: str, declared: Label | None, reason: Reason, level: Level, source: LabelSource) -> None:
    decision = decide_call(POLICY, replace(GOOD, path=path, declared=declared), now=NOW)
    assert decision.reason is reason
    assert (decision.request.level, decision.request.label_source) == (level, source)
    if reason is Reason.E_SPILL:
        assert decision.decision is Decision.QUARANTINE
        assert decision.request.decision is Decision.QUARANTINE


def test_a_declared_label_must_keep_the_catalogues_categories() -> None:
    marked = replace(POPULATION, methods=methods(Method(VERIFY, Label(Level.L1, frozenset({"人口"})), L1)))
    with_scope = policy(resources=(marked,))
    assert decide_call(with_scope, GOOD, now=NOW).allowed
    for declared, reason in (
        (Label(Level.L2), Reason.E_LABEL_LOWER),
        (Label(Level.L2, frozenset({"人口"})), Reason.OK),
        (Label(Level.L1, frozenset({"人口", "案件"})), Reason.E_CATEGORY),
    ):
        assert decide_call(with_scope, replace(GOOD, declared=declared), now=NOW).reason is reason


@pytest.mark.req("MA-10")
def test_a_catalogue_label_after_its_period_counts_as_internal() -> None:
    method = Method(VERIFY, Label(Level.L2, until=date(2030, 1, 1)), L1)
    ending = policy(resources=(replace(POPULATION, methods=methods(method)),))
    end = datetime(2030, 1, 1, 16, tzinfo=UTC)
    before, after = (decide_call(ending, GOOD, now=at) for at in (end - JUST, end))
    assert (before.request.level, before.valid_until) == (Level.L2, end)
    assert (after.request.level, after.valid_until) == (Level.L1, GRANT.not_after)


# --- zones: what may call what


def grants_for(organ: str) -> tuple[Grant, ...]:
    return (GRANT, replace(GRANT, id="g-hub", organ=organ, purposes=frozenset()))


ZONE_CASES: dict[str, tuple[CallFacts, dict[str, Any], Reason, str]] = {
    "between two zones of one class: guarded": (GOOD, {}, Reason.OK, ""),
    "inside one zone": (CallFacts(SISTER, VERIFY), {}, Reason.OK, ""),
    "inside one zone needs a rule too": (
        CallFacts(SISTER, VERIFY),
        {"flow_rules": RULES[:1]},
        Reason.E_NO_FLOW_RULE,
        "police",
    ),
    "no zone is skipped": (CallFacts(FRONT, VERIFY, purpose="审核"), {}, Reason.E_ZONE_RULE, "ext.internet"),
    "no zone is skipped, whatever the rules say": (
        CallFacts(FRONT, VERIFY, purpose="审核"),
        {
            "flow_rules": (*RULES, FlowRule("x", "portal", "police", frozenset({"population"}))),
            "grants": grants_for(HUB),
        },
        Reason.E_ZONE_RULE,
        "ext.internet",
    ),
    "a two-way call into the intranet": (CallFacts(CALLER, ASK), {}, Reason.E_OBJECT_ONLY, "import 单向导入"),
    "a two-way call into the intranet without labels": (
        CallFacts(CALLER, ASK),
        {"resources": (replace(STATISTICS, methods=methods(Method(ASK))),)},
        Reason.E_OBJECT_ONLY,
        "import 单向导入",
    ),
    "an answer that needs review": (CallFacts(READER, ASK), {}, Reason.E_OBJECT_ONLY, "review 人工复核"),
    "the Internet asks and is told what is open": (CallFacts(CITIZEN, OPEN_NOTICE), {}, Reason.OK, ""),
    "the Internet asks about itself": (CallFacts(CITIZEN, NOTICE), {}, Reason.OK, ""),
    "a response above the caller's ceiling": (
        CallFacts(CITIZEN, NOTICE),
        {
            "zones": but(ZONES, "portal", zone_class=ZoneClass.EXT_SHARED, ceiling=Level.L2),
        },
        Reason.E_ZONE_RULE,
        "internet",
    ),
    "a response above the ceiling of the provider's zone": (
        GOOD,
        {"resources": (replace(POPULATION, methods=methods(Method(VERIFY, L1, L3))),)},
        Reason.E_SPILL,
        "response",
    ),
    "a response above the ceiling of the caller's zone": (
        replace(GOOD, path=SECRET),
        {"zones": but(ZONES, "civil", grade=2, ceiling=Level.L1)},
        Reason.E_CEILING,
        "response",
    ),
    "a request above the ceiling of the provider's zone": (
        replace(GOOD, declared=L2),
        {"zones": but(ZONES, "police", grade=2, ceiling=Level.L1)},
        Reason.E_CEILING,
        "request",
    ),
    "a missing response label is the provider zone's ceiling": (
        replace(GOOD, path=UNMARKED, declared=L1),
        {"zones": but(ZONES, "civil", grade=2, ceiling=Level.L1)},
        Reason.E_CEILING,
        "no label",
    ),
    "a spill of the response is told before the request's zone rule": (
        CallFacts(FRONT, VERIFY),
        {"resources": (replace(POPULATION, methods=methods(Method(VERIFY, L1, L3))),)},
        Reason.E_SPILL,
        "response",
    ),
}


@pytest.mark.req("MA-03", "XZ-01")
@pytest.mark.parametrize(("facts", "changes", "reason", "says"), ZONE_CASES.values(), ids=ZONE_CASES)
def test_zones(facts: CallFacts, changes: dict[str, Any], reason: Reason, says: str) -> None:
    decision = decide_call(policy(**changes), facts, now=NOW)
    assert decision.reason is reason, decision.detail
    assert says in decision.detail


@pytest.mark.req("MA-08")
@pytest.mark.parametrize("level", [Level.L3, Level.L4, Level.L5])
def test_unconditional_sharing_never_moves_a_state_secret_into_the_extranet(level: Level) -> None:
    free = replace(POPULATION, share_type=ShareType.UNCONDITIONAL, methods=methods(Method(VERIFY, L1, Label(level))))
    assert decide_call(policy(resources=(free,)), GOOD, now=NOW).reason is Reason.E_SPILL


# --- imports


def test_a_one_way_call_into_the_intranet_is_an_import() -> None:
    decision = decide_call(POLICY, CallFacts(CALLER, SUBMIT), now=NOW)
    assert decision.allowed
    assert decision.imported
    assert decision.decision is Decision.IMPORT
    assert (decision.response.decision, decision.response.reason) == (Decision.NONE, Reason.OK)
    assert decision.response.label_source is LabelSource.NONE


def test_the_importer_decides_again_for_the_same_sender() -> None:
    """Under INTRA's own policy the extranet's zone and system are stubs, and the decision is an import again."""
    stubs = tuple(replace(item, foreign=not item.foreign) for item in SYSTEMS)
    inner = policy(net=Net.INTRA, systems=stubs, zones=tuple(replace(item, foreign=not item.foreign) for item in ZONES))
    assert decide_call(inner, CallFacts(CALLER, SUBMIT), now=NOW).imported


IMPORTS: dict[str, tuple[dict[str, Any], Label | None, Reason]] = {
    "工作秘密 may go in": ({}, L2, Reason.OK),
    "a spill does not": ({}, L3, Reason.E_SPILL),
    "no rule": ({"flow_rules": RULES[:2]}, None, Reason.E_NO_FLOW_RULE),
    "rule up to the level": ({"flow_rules": but(RULES, "civil-inner", max_level=Level.L1)}, L1, Reason.OK),
    "rule one below": ({"flow_rules": but(RULES, "civil-inner", max_level=Level.L1)}, L2, Reason.E_NO_FLOW_RULE),
    "into 绝密 by media only": (
        {"zones": but(ZONES, "inner", zone_class=ZoneClass.INT_L5, ceiling=Level.L5)},
        None,
        Reason.E_OBJECT_ONLY,
    ),
    "share type 不予共享": (
        {"resources": (replace(STATISTICS, share_type=ShareType.NONE, legal_basis="条例"),)},
        None,
        Reason.E_NOT_SHARED,
    ),
}


@pytest.mark.parametrize(("changes", "declared", "reason"), IMPORTS.values(), ids=IMPORTS)
def test_imports(changes: dict[str, Any], declared: Label | None, reason: Reason) -> None:
    decision = decide_call(policy(**changes), CallFacts(CALLER, SUBMIT, declared=declared), now=NOW)
    assert decision.reason is reason
    assert decision.imported is (reason is Reason.OK)


def test_a_one_way_method_inside_a_net_is_called_as_any_other() -> None:
    one_way = replace(POPULATION, methods=methods(Method(VERIFY, L1, None, one_way=True)))
    decision = decide_call(policy(resources=(one_way,)), GOOD, now=NOW)
    assert decision.allowed
    assert not decision.imported
    assert decision.response.label_source is LabelSource.CEILING


# --- dominance

DOMINANCE: dict[str, tuple[dict[str, Any], str, Label | None, Reason, str]] = {
    "both cleared": ({}, SECRET, None, Reason.OK, ""),
    "caller one below the response": (
        {"systems": but(SYSTEMS, CALLER, clearance=Level.L1)},
        SECRET,
        None,
        Reason.E_CLEARANCE,
        "response",
    ),
    "caller one below the request": (
        {"systems": but(SYSTEMS, CALLER, clearance=Level.L1)},
        VERIFY,
        L2,
        Reason.E_CLEARANCE,
        "request",
    ),
    "provider one below the request": (
        {"systems": but(SYSTEMS, PROVIDER, clearance=Level.L1)},
        VERIFY,
        L2,
        Reason.E_CLEARANCE,
        "provider",
    ),
    "both in the scope": ({}, LIST, None, Reason.OK, ""),
    "caller outside the scope": (
        {"systems": but(SYSTEMS, CALLER, categories=frozenset())},
        LIST,
        None,
        Reason.E_CATEGORY,
        "caller",
    ),
    "provider outside the scope": (
        {"systems": but(SYSTEMS, PROVIDER, categories=frozenset())},
        LIST,
        None,
        Reason.E_CATEGORY,
        "provider",
    ),
    "caller declares a scope it is not in": (
        {},
        VERIFY,
        Label(Level.L1, frozenset({"案件"})),
        Reason.E_CATEGORY,
        "caller",
    ),
}


@pytest.mark.req("MA-02")
@pytest.mark.parametrize(("changes", "path", "declared", "reason", "says"), DOMINANCE.values(), ids=DOMINANCE)
def test_dominance(changes: dict[str, Any], path: str, declared: Label | None, reason: Reason, says: str) -> None:
    decision = decide_call(policy(**changes), replace(GOOD, path=path, declared=declared), now=NOW)
    assert decision.reason is reason
    assert says in decision.detail
    if reason is not Reason.OK:
        refused = decision.response if says == "response" or path == LIST else decision.request
        assert (refused.reason, refused.decision) == (reason, Decision.DENY)


# --- the share overlay (C8.4)


def shared(share_type: ShareType, **more: Any) -> dict[str, Any]:
    return {"resources": (replace(POPULATION, share_type=share_type, **more),), "grants": ()}


FREE, NONE = ShareType.UNCONDITIONAL, ShareType.NONE
SHARES: dict[str, tuple[dict[str, Any], dict[str, Any], Reason]] = {
    "无条件 without purposes": (shared(FREE, purposes=frozenset()), {"purpose": None}, Reason.OK),
    "无条件 takes any purpose then": (shared(FREE, purposes=frozenset()), {"purpose": "任意"}, Reason.OK),
    "无条件 that demands a purpose": (shared(FREE), {}, Reason.OK),
    "无条件 purpose missing": (shared(FREE), {"purpose": None}, Reason.E_PURPOSE),
    "无条件 case demanded": (shared(FREE, case_required=True), {}, Reason.E_CASE),
    "无条件 case given": (shared(FREE, case_required=True), {"case": "A-1"}, Reason.OK),
    "有条件 case demanded": (
        {"resources": (replace(POPULATION, case_required=True),)},
        {},
        Reason.E_CASE,
    ),
    "有条件 case given": ({"resources": (replace(POPULATION, case_required=True),)}, {"case": "A-1"}, Reason.OK),
    "不予共享": (shared(NONE, legal_basis="示例条例第八条"), {}, Reason.E_NOT_SHARED),
    "不予共享 whatever the grant": (
        {"resources": (replace(POPULATION, share_type=NONE, legal_basis="示例条例第八条"),)},
        {},
        Reason.E_NOT_SHARED,
    ),
    "不予共享 within the organ": (
        shared(NONE, legal_basis="示例条例第八条", case_required=True),
        {"caller_uri": SISTER, "purpose": None},
        Reason.OK,
    ),
    "有条件 within the organ": ({"grants": ()}, {"caller_uri": SISTER, "purpose": None}, Reason.OK),
}


@pytest.mark.req("SH-03", "SH-04", "SH-06")
@pytest.mark.parametrize(("changes", "facts", "reason"), SHARES.values(), ids=SHARES)
def test_share_overlay(changes: dict[str, Any], facts: dict[str, Any], reason: Reason) -> None:
    decision = decide_call(policy(**changes), replace(GOOD, **facts), now=NOW)
    assert decision.reason is reason
    if reason is Reason.E_NOT_SHARED:
        assert "示例条例第八条" in decision.detail


def test_mandatory_rules_are_told_before_share_rules() -> None:
    """MA-08: a call that both refuse is refused by the mandatory rule."""
    refused = replace(GOOD, declared=L3, purpose=None)
    assert decide_call(policy(grants=()), refused, now=NOW).reason is Reason.E_SPILL


# --- several organs offering one service


def test_a_service_of_several_organs_needs_its_resource_named() -> None:
    other = Resource("duty", SISTER, POPULATION.methods, ShareType.UNCONDITIONAL)
    rules = (*RULES, FlowRule("duty", "civil", "police", frozenset({"duty"})))
    both = policy(resources=(POPULATION, other), flow_rules=rules)
    unnamed = decide_call(both, GOOD, now=NOW)
    assert unnamed.reason is Reason.E_NOT_CATALOGUED
    assert "zg-resource" in unnamed.detail
    for name, provider in (("population", PROVIDER), ("duty", SISTER)):
        decision = decide_call(both, replace(GOOD, resource=name), now=NOW)
        assert decision.provider is not None
        assert (decision.reason, decision.provider.uri) == (Reason.OK, provider)


# --- valid_until

HOUR = timedelta(hours=1)
VALIDITY: dict[str, tuple[dict[str, Any], dict[str, Any], datetime]] = {
    "the grant's end": ({}, {}, GRANT.not_after),
    "the certificate's end": ({"caller_valid_until": NOW + HOUR}, {}, NOW + HOUR),
    "the policy's end": ({}, {"not_after": NOW + HOUR}, NOW + HOUR),
    "the end of the declared secrecy period": (
        {"declared": Label(Level.L2, until=date(2030, 1, 1))},
        {},
        datetime(2030, 1, 1, 16, tzinfo=UTC),
    ),
    "refused: a grant that begins": (
        {},
        {"grants": (replace(GRANT, not_before=NOW + HOUR),)},
        NOW + HOUR,
    ),
    "refused: a label lower than one whose period ends": (
        {"declared": L1},
        {
            "resources": (
                replace(POPULATION, methods=methods(Method(VERIFY, Label(Level.L2, until=date(2030, 1, 1)), L1))),
            )
        },
        datetime(2030, 1, 1, 16, tzinfo=UTC),
    ),
    "refused: a policy that begins": ({}, {"not_before": NOW + HOUR}, NOW + HOUR),
    "refused: none held": ({}, {"grants": ()}, END),
    "refused: by a grant in force with another purpose": ({"purpose": "核查"}, {}, GRANT.not_after),
    "within the organ no grant is read": ({"caller_uri": SISTER}, {}, END),
}


@pytest.mark.parametrize(("facts", "changes", "until"), VALIDITY.values(), ids=VALIDITY)
def test_valid_until(facts: dict[str, Any], changes: dict[str, Any], until: datetime) -> None:
    assert decide_call(policy(**changes), replace(GOOD, **facts), now=NOW).valid_until == until


# --- a provider's raised label

RAISED: dict[str, tuple[str, Label, Reason, Level]] = {
    "the same": (VERIFY, L1, Reason.OK, Level.L1),
    "higher, within both": (VERIFY, L2, Reason.OK, Level.L2),
    "lower": (VERIFY, L0, Reason.E_LABEL_LOWER, Level.L1),
    "above the provider's zone": (VERIFY, L3, Reason.E_SPILL, Level.L3),
    "with a scope that the caller is in": (VERIFY, Label(Level.L1, frozenset({"人口"})), Reason.OK, Level.L1),
    "with a scope that the caller is not in": (
        VERIFY,
        Label(Level.L1, frozenset({"案件"})),
        Reason.E_CATEGORY,
        Level.L1,
    ),
    "instead of a missing one": (UNMARKED, L1, Reason.OK, Level.L1),
}


@pytest.mark.parametrize(("path", "declared", "reason", "level"), RAISED.values(), ids=RAISED)
def test_decide_response(path: str, declared: Label, reason: Reason, level: Level) -> None:
    decision = decide_call(POLICY, replace(GOOD, path=path), now=NOW)
    flow = decide_response(POLICY, decision, declared, now=NOW)
    assert (flow.reason, flow.level) == (reason, level)
    assert (flow.source, flow.target) == ("police", "civil")
    assert flow.decision.allows is (reason is Reason.OK)


RAISED_POLICIES: dict[str, tuple[dict[str, Any], Reason]] = {
    "above the caller's zone": ({"zones": but(ZONES, "civil", grade=2, ceiling=Level.L1)}, Reason.E_CEILING),
    "above the caller's clearance": ({"systems": but(SYSTEMS, CALLER, clearance=Level.L1)}, Reason.E_CLEARANCE),
    "above the flow rule": ({"flow_rules": but(RULES, "civil-police", max_level=Level.L1)}, Reason.E_NO_FLOW_RULE),
}


@pytest.mark.parametrize(("changes", "reason"), RAISED_POLICIES.values(), ids=RAISED_POLICIES)
def test_a_response_raised_too_high(changes: dict[str, Any], reason: Reason) -> None:
    found = policy(**changes)
    decision = decide_call(found, GOOD, now=NOW)
    assert decision.allowed
    assert decide_response(found, decision, L1, now=NOW).reason is Reason.OK
    assert decide_response(found, decision, L2, now=NOW).reason is reason


def test_no_response_where_none_was_allowed() -> None:
    refused = decide_call(POLICY, replace(GOOD, purpose=None), now=NOW)
    assert decide_response(POLICY, refused, L1, now=NOW).reason is Reason.E_PURPOSE
    imported = decide_call(POLICY, CallFacts(CALLER, SUBMIT), now=NOW)
    assert not decide_response(POLICY, imported, L1, now=NOW).decision.allows
