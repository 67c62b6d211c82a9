"""[d] Tells a person why a call is decided as it is: every step, what was read, which one refused, in both languages.

Pure. It calls `decide_call` and reads its answer; it holds no rule of its own, so it cannot disagree with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from zonegate.policies.decide import CallDecision, CallFacts, decide_call
from zonegate.policies.flows import FlowDecision, LabelSource
from zonegate.policies.model import Policy
from zonegate.policies.zones import Decision
from zonegate.reasons import REGISTRY, Area, Reason


class Outcome(StrEnum):
    """How a step ended."""

    PASSED = "passed"
    REFUSED = "refused"
    NOT_REACHED = "not reached"

    @property
    def zh(self) -> str:
        """The Chinese word."""
        return {"passed": "通过", "refused": "拒绝", "not reached": "未到达"}[self.value]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the decision, in a sentence of each language."""

    name: str
    zh: str
    outcome: Outcome
    found: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A decision and how it came about."""

    decision: CallDecision
    steps: tuple[Step, ...]

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON shows it."""
        decision, info = self.decision, REGISTRY[self.decision.reason]
        return {
            "allowed": decision.allowed,
            "decision": decision.decision.value,
            "reason": decision.reason.value,
            "detail": decision.detail,
            "valid_until": decision.valid_until.isoformat(),
            "flow_rule": decision.flow_rule,
            "grant": decision.grant,
            "hint": {"en": info.hint_en, "zh": info.hint_zh},
            "steps": [
                {"step": step.name, "zh": step.zh, "outcome": step.outcome.value, "found": step.found}
                for step in self.steps
            ],
        }


# The order in which `decide_call` asks; a refusal ends it.
_STEPS = (
    ("admit", "准入", frozenset({Area.POLICY, Area.HANDSHAKE, Area.ADMIT})),
    ("catalogue", "目录", frozenset[Area]()),
    ("label", "标记", frozenset({Area.LABEL})),
    ("spill", "越界", frozenset({Area.SPILL})),
    ("zone rule", "区间规则", frozenset({Area.ZONE})),
    ("flow rule", "流动规则", frozenset[Area]()),
    ("dominance", "许可支配", frozenset({Area.DOMINANCE})),
    ("share", "共享规则", frozenset({Area.SHARE})),
)
_OWN_STEP = {Reason.E_NOT_CATALOGUED: "catalogue", Reason.E_NO_FLOW_RULE: "flow rule"}


def explain(policy: Policy, facts: CallFacts, *, now: datetime) -> Explanation:
    """Return the decision for `facts` with its steps."""
    decision = decide_call(policy, facts, now=now)
    ended = _refusing_step(decision)
    found = _found(policy, decision, facts)
    steps: list[Step] = []
    reached = True
    for name, zh, _ in _STEPS:
        if not reached:
            steps.append(Step(name, zh, Outcome.NOT_REACHED, ""))
        elif name == ended:
            reached = False
            steps.append(Step(name, zh, Outcome.REFUSED, f"{decision.reason.value}: {decision.detail}"))
        else:
            steps.append(Step(name, zh, Outcome.PASSED, found.get(name, "")))
    return Explanation(decision, tuple(steps))


def _refusing_step(decision: CallDecision) -> str:
    if decision.allowed:
        return ""
    if decision.reason in _OWN_STEP:
        return _OWN_STEP[decision.reason]
    return next(name for name, _, areas in _STEPS if decision.step in areas)


def _found(policy: Policy, decision: CallDecision, facts: CallFacts) -> dict[str, str]:
    """What each passed step saw. A step that was not reached has nothing here that is shown."""
    found: dict[str, str] = {}
    caller, source = decision.caller, decision.source_zone
    if caller is not None and source is not None:
        found["admit"] = f"{caller.uri} in zone {source.name} ({source.zone_class.value} {source.zone_class.zh})"
    resource, target = decision.resource, decision.target_zone
    if resource is None or target is None or caller is None:
        return found
    found["catalogue"] = f"resource {resource.id} ({resource.share_type.zh}) of {resource.provider} in {target.name}"
    flows = (("request", decision.request), ("response", decision.response))
    found["label"] = "; ".join(_labelled(field, flow) for field, flow in flows)
    found["spill"] = "; ".join(f"{flow.source} may hold it" for _, flow in flows if flow.decision is not Decision.NONE)
    found["zone rule"] = "; ".join(_ruled(field, flow) for field, flow in flows)
    rule = policy.flow_rules.get(decision.flow_rule)
    found["flow rule"] = f"FlowRule {decision.flow_rule}" + (
        "" if rule is None or rule.max_level is None else f", up to {rule.max_level.text}"
    )
    found["dominance"] = f"caller cleared to {caller.clearance.text}" + (
        "" if decision.provider is None else f", provider to {decision.provider.clearance.text}"
    )
    found["share"] = "; ".join(_shared(decision, facts))
    return found


def _labelled(field: str, flow: FlowDecision) -> str:
    if flow.label_source is LabelSource.NONE:
        return f"{field}: none"
    categories = f", {', '.join(sorted(flow.categories))}" if flow.categories else ""
    return f"{field}: {flow.level.text}{categories} ({flow.label_source.value})"


def _ruled(field: str, flow: FlowDecision) -> str:
    return f"{field} {flow.source} to {flow.target}: {flow.decision.letter} {flow.decision.value} {flow.decision.zh}"


def _shared(decision: CallDecision, facts: CallFacts) -> Iterator[str]:
    caller, provider, resource = decision.caller, decision.provider, decision.resource
    if caller is None or provider is None or resource is None:
        return
    if caller.organ == provider.organ:
        yield "one organ: the flow rule suffices 同一机构"
        return
    yield f"{resource.share_type.value} {resource.share_type.zh}"
    if decision.grant:
        yield f"grant {decision.grant}"
    if facts.purpose:
        yield f"purpose {facts.purpose[:64]}"
