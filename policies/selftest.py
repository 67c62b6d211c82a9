"""[d] The self-test of a policy: nothing serves before it passes (architecture section 7). Pure.

It shows three things: that the code of the zone rule is the table of D4 (as a known answer) with its six invariants,
that this policy's own zones keep the invariants, and that the policy gives the decisions its officers expect of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.policies.decide import CallFacts, decide_call
from zonegate.policies.labels import Label, Level
from zonegate.policies.model import Policy, Zone
from zonegate.policies.zones import Decision, ZoneClass, ceiling, class_rule, zone_rule
from zonegate.reasons import Reason

FAILURES_SHOWN = 20

# D4 for EXTRA zones of grade 3 and above: level by level, row by row (NET, E-I, E-P, E-D, I-3, I-4, I-5).
TABLE = (
    "-GXXXXX OAGXXXX XGAGIIM XXGAIIM XXDDAGM XXDDRAM XXXXDDA",
    "-GXXXXX SAGXXXX XGAGIIM XXGAIIM XXDDAGM XXDDRAM XXXXDDA",
    "-QQQQQQ QQQQQQQ XXAGIIM XXGAIIM XXDDAGM XXDDRAM XXXXDDA",
    "-QQQQQQ QQQQQQQ QQQQQQQ QQQQQQQ XXXXAGM XXXXRAM XXXXDDA",
    "-QQQQQQ QQQQQQQ QQQQQQQ QQQQQQQ QQQQQQQ XXXXXAM XXXXXDA",
    "-QQQQQQ QQQQQQQ QQQQQQQ QQQQQQQ QQQQQQQ QQQQQQQ XXXXXXA",
)
_TABLE_GRADE = 3
_UNREGISTERED = "spiffe://extra/91350100M000100Y43/self-test"


@dataclass(frozen=True, slots=True)
class Expectation:
    """A call and what the policy must decide of it at an instant."""

    id: str
    caller: str
    path: str
    resource: str | None
    purpose: str | None
    case: str | None
    label: Label | None
    at: datetime
    decision: Decision
    reason: Reason


def self_test(policy: Policy, expectations: tuple[Expectation, ...]) -> None:
    """Return if `policy` may serve; `ZoneGateError(E_BUNDLE_SELFTEST)` names what failed."""
    failures = [*_table_failures(), *_zone_failures(policy), *_default_failures(policy)]
    failures.extend(_expectation_failures(policy, expectations))
    if failures:
        more = f"; and {len(failures) - FAILURES_SHOWN} more" if len(failures) > FAILURES_SHOWN else ""
        raise ZoneGateError(Reason.E_BUNDLE_SELFTEST, "; ".join(failures[:FAILURES_SHOWN]) + more)


def _table_failures() -> Iterator[str]:
    ceilings = {zone: ceiling(zone, _TABLE_GRADE if zone.net is Net.EXTRA else None) for zone in ZoneClass}
    for level, rows in zip(Level, TABLE, strict=True):
        for source, row in zip(ZoneClass, rows.split(), strict=True):
            for target, letter in zip(ZoneClass, row, strict=True):
                found = class_rule(source, ceilings[source], target, ceilings[target], level)
                if found.letter != letter:
                    yield f"zone rule {source} to {target} at {level.text}: D4 says {letter}, the code {found.letter}"


def _zone_failures(policy: Policy) -> Iterator[str]:
    # Zones of one class and ceiling behave alike: two of each kind show every pair of instances.
    kinds: dict[tuple[ZoneClass, Level], list[Zone]] = {}
    for zone in policy.zones.values():
        kinds.setdefault((zone.zone_class, zone.ceiling), []).append(zone)
    sample = [zone for zones in kinds.values() for zone in zones[:2]]
    for source in sample:
        for target in sample:
            for level in Level:
                broken = broken_invariant(source, target, level, zone_rule(source, target, level))
                if broken:
                    yield f"zones {source.name} to {target.name} at {level.text}: {broken}"


def broken_invariant(source: Zone, target: Zone, level: Level, decision: Decision) -> str:
    """Return which of the six invariants of D4 a cell breaks, or an empty text."""
    nets = (source.zone_class.net, target.zone_class.net)
    refusing = {Decision.DENY, Decision.QUARANTINE}
    internet = ZoneClass.INTERNET in {source.zone_class, target.zone_class}
    if source.name != target.name and decision is Decision.WITHIN:
        return "two zones are never within one another"
    # SUBJECT gives 内部 to the person it is about, who is no zone: the one cell above the Internet's ceiling.
    if decision.allows and level > target.ceiling and decision is not Decision.SUBJECT:
        return "(1) allows a level above the target's ceiling"
    if internet and Net.INTRA in nets and decision not in refusing:
        return "(2) something may pass between the intranet and the Internet"
    if nets == (Net.INTRA, Net.EXTRA) and decision not in {Decision.RELEASE, *refusing}:
        return "(3) something leaves the intranet other than by release"
    if nets == (Net.EXTRA, Net.INTRA) and decision not in {Decision.IMPORT, Decision.MEDIA, *refusing}:
        return "(4) something enters the intranet other than by import or media"
    others = {source.zone_class, target.zone_class} - {ZoneClass.INTERNET}
    if internet and others and others != {ZoneClass.EXT_INTERNET} and decision.allows:
        return "(5) the Internet touches more than ext.internet"
    if level >= Level.L3 and set(nets) & {Net.EXTRA, None} and decision.allows:
        return "(6) a state secret moves where an end is not in the intranet"
    return ""


def _default_failures(policy: Policy) -> Iterator[str]:
    """Who is not registered is refused, and so is a method that is not catalogued, for anybody (XZ-01)."""
    stranger = decide_call(policy, CallFacts(_UNREGISTERED, "/zonegate.SelfTest/None"), now=policy.not_before)
    if stranger.reason is not Reason.E_IDENTITY:
        yield f"an unregistered caller is answered {stranger.reason}"
    for system in policy.systems.values():
        decision = decide_call(policy, CallFacts(system.uri, "/zonegate.SelfTest/None"), now=policy.not_before)
        if decision.allowed:
            yield f"{system.uri} may call a method that is in no catalogue"


def _expectation_failures(policy: Policy, expectations: tuple[Expectation, ...]) -> Iterator[str]:
    for wanted in expectations:
        facts = CallFacts(
            caller_uri=wanted.caller,
            path=wanted.path,
            resource=wanted.resource,
            purpose=wanted.purpose,
            case=wanted.case,
            declared=wanted.label,
        )
        found = decide_call(policy, facts, now=wanted.at)
        if (found.decision, found.reason) != (wanted.decision, wanted.reason):
            yield (
                f"expectation {wanted.id}: expects {wanted.decision} {wanted.reason}, the policy decides "
                f"{found.decision} {found.reason} ({found.detail})"
            )
