"""Differential test: decisions of random worlds against a small model of the rules, written differently.

The model lists every reason that applies and takes the first in the order of architecture section 3; it searches
plain lists, knows zones by their codes and letters, and shares no code with `decide`.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from support.d4 import reference
from zonegate.identity import Net
from zonegate.policies.decide import CallDecision, CallFacts, decide_call, decide_response
from zonegate.policies.labels import Label, Level
from zonegate.policies.model import (
    FlowRule,
    Grant,
    Method,
    Policy,
    Resource,
    ShareType,
    System,
    Zone,
    make_policy,
)
from zonegate.policies.zones import ZoneClass, ceiling

T = TypeVar("T")
NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ORGANS = ("A", "B")
PATHS = ("/s.S/One", "/s.S/Two")


class Dice:
    """Reproducible choices from a seed: a stream of SHA-256 blocks."""

    def __init__(self, seed: int) -> None:
        self._state = seed.to_bytes(8, "big")
        self._pool = b""

    def below(self, limit: int) -> int:
        if len(self._pool) < 2:
            self._state = hashlib.sha256(self._state).digest()
            self._pool = self._state
        value, self._pool = int.from_bytes(self._pool[:2], "big"), self._pool[2:]
        return value % limit

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]

    def chance(self, percent: int) -> bool:
        return self.below(100) < percent


CLASSES = [*ZoneClass, *[ZoneClass.EXT_SHARED, ZoneClass.EXT_DEDICATED] * 3, ZoneClass.EXT_INTERNET, ZoneClass.INT_L4]
DAYS = [None, None, None, date(2029, 6, 1), date(2031, 6, 1)]


def make_label(dice: Dice) -> Label:
    level = dice.pick([Level.L0, Level.L0, *[Level.L1] * 8, Level.L2, Level.L2, Level.L4])
    scope = dice.pick([frozenset[str]()] * 4 + [frozenset({"a"}), frozenset({"b"})])
    return Label(level, scope, dice.pick(DAYS))


def make_zone(dice: Dice, name: str) -> Zone:
    zone_class = dice.pick(CLASSES)
    grade = dice.pick([1, 2, 3, 3, 3, 3, 4]) if zone_class.net is Net.EXTRA else None
    return Zone(name, zone_class, "A", grade, ceiling(zone_class, grade), approved=dice.chance(97))


def make_purposes(dice: Dice) -> frozenset[str]:
    return dice.pick([frozenset[str](), frozenset({"p"}), frozenset({"p", "q"}), frozenset({"q"})])


def make_resource(dice: Dice, number: int) -> Resource:
    found = [
        Method(
            path,
            make_label(dice) if dice.chance(85) else None,
            make_label(dice) if dice.chance(85) else None,
            one_way=dice.chance(30),
        )
        for path in PATHS[: dice.pick([1, 2])]
    ]
    return Resource(
        f"r{number}",
        dice.pick(["u1", "u1", "u0"]),
        {method.path: method for method in found},
        dice.pick([ShareType.UNCONDITIONAL, ShareType.CONDITIONAL, ShareType.CONDITIONAL, ShareType.NONE]),
        legal_basis="law",
        purposes=make_purposes(dice),
        case_required=dice.chance(40),
    )


def make_system(dice: Dice, number: int) -> System:
    scope = dice.pick([frozenset({"a", "b"})] * 6 + [frozenset({"a"}), frozenset[str]()])
    clearance = dice.pick([Level.L0, Level.L1, Level.L2, *[Level.L5] * 6])
    return System(f"u{number}", "AB"[number] if dice.chance(80) else "A", f"z{number}", clearance, scope)


def make_grant(dice: Dice, number: int) -> Grant:
    holder = dice.pick(["A", "A", "B", "u0", "u0", "u1"])
    return Grant(
        f"g{number}",
        "A" if holder not in ORGANS else holder,
        dice.pick(["r0", "r0", "r1"]),
        dice.pick([NOW - DAY, NOW - DAY, NOW, NOW + DAY]),
        dice.pick([NOW, NOW + DAY, NOW + DAY]),
        system=None if holder in ORGANS else holder,
        methods=dice.pick([frozenset[str](), frozenset[str](), frozenset({PATHS[0]})]),
        purposes=make_purposes(dice),
    )


def make_policy_of(dice: Dice) -> Policy:
    one_zone = dice.chance(15)
    systems = [make_system(dice, number) for number in range(2)]
    if one_zone:
        systems = [replace(system, zone="z0") for system in systems]
    rules = [
        FlowRule(
            f"f{number}",
            dice.pick(["z0", "z0", "z0", "z1"]),
            dice.pick(["z1", "z1", "z0"]),
            frozenset({"r0", "r1"}),
            purposes=make_purposes(dice) if dice.chance(20) else frozenset(),
            max_level=dice.pick([None, None, None, Level.L1, Level.L0]),
        )
        for number in range(dice.pick([0, 3, 4, 5]))
    ]
    return make_policy(
        net=Net.EXTRA,
        version=1,
        not_before=NOW - DAY,
        not_after=NOW + DAY,
        zones=[make_zone(dice, "z0"), make_zone(dice, "z1")],
        systems=systems,
        resources=[make_resource(dice, number) for number in range(dice.pick([1, 1, 1, 2]))],
        flow_rules=rules,
        grants=[make_grant(dice, number) for number in range(dice.pick([0, 1, 2, 3]))],
    )


def make_facts(dice: Dice) -> CallFacts:
    return CallFacts(
        caller_uri=dice.pick(["u0"] * 12 + ["u1"] * 3 + ["u9"]),
        path=dice.pick([*[PATHS[0]] * 10, PATHS[1], "/s.S/Three"]),
        resource=dice.pick([None, "r0"] * 6 + ["r1", "r9"]),
        purpose=dice.pick([None, "p", "p", "q"]),
        case=dice.pick([None, "c"]),
        declared=make_label(dice) if dice.chance(20) else None,
    )


# --- the model


def counts_as(label: Label) -> int:
    """The level at NOW: everything here ends well before or well after it."""
    over = label.until is not None and label.until.year < 2030
    return min(int(label.level), 1) if over else int(label.level)


def letter(source: Zone, target: Zone, level: int) -> str:
    """D4 by the reference; two zones of one class are asked for as the architecture refines it."""
    ceil = {zone.zone_class.code: int(zone.ceiling) for zone in (source, target)}
    codes = source.zone_class.code, target.zone_class.code
    if codes[0] == codes[1] and codes[0] != "NET" and source.name != target.name:
        if level > source.ceiling:
            return "Q"
        return "G" if level <= target.ceiling else "X"
    return reference(*codes, level, ceil)


def why_not(word: str, source: Zone, target: Zone) -> str:
    if word in "AG" or (word in "OS" and target.zone_class is ZoneClass.INTERNET):
        return ""
    if word == "X":
        codes = {source.zone_class.code, target.zone_class.code}
        lowest = reference(source.zone_class.code, target.zone_class.code, 0, dict.fromkeys(codes, 5))
        return "E_CEILING" if lowest not in "X-" or len(codes) == 1 else "E_ZONE_RULE"
    return {"Q": "E_SPILL", "-": "E_ZONE_RULE"}.get(word, "E_OBJECT_ONLY")


def model(policy: Policy, facts: CallFacts) -> str:
    """The first of all reasons that apply, in the order of the steps; OK if none does."""
    return next(reasons(policy, facts), "OK")


def reasons(policy: Policy, facts: CallFacts) -> Iterator[str]:
    callers = [system for system in policy.systems.values() if system.uri == facts.caller_uri]
    if not callers:
        yield "E_IDENTITY"
        return
    caller = callers[0]
    offers = [
        resource
        for resource in policy.resources.values()
        if facts.path in resource.methods and facts.resource in {None, resource.id}
    ]
    if len(offers) != 1:
        yield "E_NOT_CATALOGUED"
        return
    resource = offers[0]
    method = resource.methods[facts.path]
    provider = policy.systems[resource.provider]
    here, there = policy.zones[caller.zone], policy.zones[provider.zone]

    asked = [label for label in (method.request_label, facts.declared) if label is not None]
    if len(asked) == 2 and (
        counts_as(asked[1]) < counts_as(asked[0]) or not asked[0].categories <= asked[1].categories
    ):
        yield "E_LABEL_LOWER"
        return
    # Parts of differing periods: the joined label has the highest level and the longest period of its secret parts.
    up = max((whole_level(asked),), default=0) if asked else int(here.ceiling)
    up_scope = {category for label in asked for category in label.categories}
    answered = [label for label in (method.response_label,) if label is not None]
    down = whole_level(answered) if answered else int(there.ceiling)
    down_scope = {category for label in answered for category in label.categories}

    flows = [(letter(here, there, up), here, there, up, up_scope)]
    imported = method.one_way and flows[0][0] == "I"
    if not imported:
        flows.append((letter(there, here, down), there, here, down, down_scope))
    if any(flow[0] == "Q" for flow in flows):
        yield "E_SPILL"
    if not (here.approved and there.approved):
        yield "E_ZONE_RULE"
    for word, source, target, _, _ in flows:
        found = "" if imported else why_not(word, source, target)
        if found:
            yield found
    highest = max(flow[3] for flow in flows)
    if not any(
        rule.source == here.name
        and rule.target == there.name
        and resource.id in rule.resources
        and (rule.max_level is None or highest <= rule.max_level)
        and (not rule.purposes or facts.purpose in rule.purposes)
        for rule in policy.flow_rules.values()
    ):
        yield "E_NO_FLOW_RULE"
    for _, _, _, level, scope in flows:
        if min(caller.clearance, provider.clearance) < level:
            yield "E_CLEARANCE"
        if not scope <= (caller.categories & provider.categories):
            yield "E_CATEGORY"
    if caller.organ != provider.organ:
        yield from overlay(policy, facts, caller, resource)


def whole_level(parts: list[Label]) -> int:
    """The effective level of a compilation: its highest nominal level, over only when the longest period is over."""
    highest = max(int(part.level) for part in parts)
    if highest <= 1:
        return highest
    secret = [part.until for part in parts if part.level >= 2]
    over = all(day is not None and day.year < 2030 for day in secret)
    return 1 if over else highest


def overlay(policy: Policy, facts: CallFacts, caller: System, resource: Resource) -> Iterator[str]:
    def refused(demanded: frozenset[str]) -> bool:
        return bool(demanded) and facts.purpose not in demanded

    no_case = resource.case_required and facts.case is None
    match resource.share_type:
        case ShareType.NONE:
            yield "E_NOT_SHARED"
        case ShareType.UNCONDITIONAL:
            if refused(resource.purposes):
                yield "E_PURPOSE"
            if no_case:
                yield "E_CASE"
        case ShareType.CONDITIONAL:
            held = [
                grant
                for grant in policy.grants.values()
                if grant.resource == resource.id
                and (grant.system == caller.uri if grant.system else grant.organ == caller.organ)
                and (not grant.methods or facts.path in grant.methods)
                and grant.not_before <= NOW < grant.not_after
            ]
            if not held:
                yield "E_NEED_APPROVAL"
            elif all(refused(grant.purposes) or refused(resource.purposes) for grant in held):
                yield "E_PURPOSE"
            elif no_case:
                # Some grant covers the purpose, so what is lacking is the case, unless an earlier grant's purpose was.
                organs = [grant for grant in held if grant.system is None]
                first = [*organs, *(grant for grant in held if grant.system)][0]
                yield "E_PURPOSE" if refused(first.purposes) or refused(resource.purposes) else "E_CASE"


WORLDS, CALLS = 3000, 10


def test_the_decision_is_the_models() -> None:
    seen: Counter[str] = Counter()
    for seed in range(WORLDS):
        dice = Dice(seed)
        policy = make_policy_of(dice)
        for _ in range(CALLS):
            facts = make_facts(dice)
            decision = decide_call(policy, facts, now=NOW)
            assert decision.reason.value == model(policy, facts), (seed, facts, decision.detail)
            check_shape(decision)
            seen[decision.reason.value] += 1
    # The comparison means something only if every reason was met many times.
    assert set(seen) == {"OK", *REFUSALS}, seen
    assert min(seen.values()) > 20, seen
    assert seen["OK"] > 500, seen


REFUSALS = {
    "E_IDENTITY",
    "E_NOT_CATALOGUED",
    "E_LABEL_LOWER",
    "E_SPILL",
    "E_ZONE_RULE",
    "E_CEILING",
    "E_OBJECT_ONLY",
    "E_NO_FLOW_RULE",
    "E_CLEARANCE",
    "E_CATEGORY",
    "E_NOT_SHARED",
    "E_NEED_APPROVAL",
    "E_PURPOSE",
    "E_CASE",
}


def check_shape(decision: CallDecision) -> None:
    assert decision.valid_until <= NOW + DAY
    if decision.allowed:
        assert decision.request.reason == decision.response.reason == "OK"
        assert decision.flow_rule
        assert decision.imported is (decision.request.decision.letter == "I")
        words = {decision.request.decision.letter, decision.response.decision.letter}
        assert words <= {"A", "G", "O", "S"} or words == {"I", "-"}
        if decision.request.source != decision.request.target:
            assert "A" not in words


def test_a_raised_response_is_decided_as_if_the_catalogue_had_said_it() -> None:
    raised = 0
    for seed in range(WORLDS, 2 * WORLDS):
        dice = Dice(seed)
        policy, facts, declared = make_policy_of(dice), make_facts(dice), make_label(dice)
        decision = decide_call(policy, facts, now=NOW)
        flow = decide_response(policy, decision, declared, now=NOW)
        if not decision.allowed or decision.imported:
            assert not flow.decision.allows
            continue
        assert decision.method is not None
        said = decision.method.response_label
        if said is not None and (counts_as(declared) < counts_as(said) or not said.categories <= declared.categories):
            assert flow.reason.value == "E_LABEL_LOWER"
            continue
        whole = Label(
            Level(whole_level([part for part in (said, declared) if part is not None])),
            declared.categories | (said.categories if said is not None else frozenset()),
        )
        assert decision.resource is not None
        as_said = replace(decision.method, response_label=whole)
        # The flow rule that allowed the call is the one that must allow the raised response.
        changed = replace(decision.resource, methods={as_said.path: as_said})
        again = make_policy(
            net=policy.net,
            version=1,
            not_before=policy.not_before,
            not_after=policy.not_after,
            zones=policy.zones.values(),
            systems=policy.systems.values(),
            resources=[changed],
            flow_rules=[policy.flow_rules[decision.flow_rule]],
            grants=policy.grants.values(),
        )
        assert flow.reason.value == model(again, replace(facts, resource=None)), seed
        raised += flow.reason.value == "OK"
    assert raised > 30


moments = st.datetimes(datetime(1, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
short = st.text(max_size=20)


@given(
    st.integers(0, 1 << 40),
    st.builds(
        CallFacts,
        caller_uri=short | st.just("u0"),
        path=short | st.sampled_from(PATHS),
        resource=st.none() | short,
        purpose=st.none() | short,
        case=st.none() | short,
        declared=st.none() | st.builds(Label, st.sampled_from(list(Level)), st.frozensets(short, max_size=3)),
        caller_valid_until=st.none() | moments,
    ),
    moments,
)
@settings(max_examples=200, deadline=None)
def test_decide_is_total(seed: int, facts: CallFacts, now: datetime) -> None:
    policy = make_policy_of(Dice(seed))
    for at in (now, NOW):
        decision = decide_call(policy, facts, now=at)
        assert decision.reason
        decide_response(policy, decision, Label(Level.L1), now=at)
