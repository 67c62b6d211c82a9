"""[d] One flow of a call: its label, the zone rule for it, and who may send and receive it (architecture 3, 2–5).

Pure. A call is two flows; `decide` puts them together. Nothing here knows share types, grants or rates.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from zonegate.policies.labels import Label, Level, dominates, effective_level, expires, join
from zonegate.policies.model import System, Zone
from zonegate.policies.zones import Decision, ZoneClass, path_between, zone_rule
from zonegate.reasons import Reason


class LabelSource(StrEnum):
    """Where a flow's label came from; `none` where the flow was not labelled."""

    CATALOGUE = "catalogue"
    DECLARED = "declared"
    CEILING = "ceiling"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason and the sentence that names the field, what was found and what is allowed."""

    reason: Reason
    detail: str
    # The next instant at which what was read for it may count differently.
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class FlowLabel:
    """The label that counts for one flow now; `ends` is the next instant at which it may count differently."""

    level: Level
    categories: frozenset[str]
    source: LabelSource
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class FlowDecision:
    """What the mandatory rules say of one flow. `decision` is the word of D3, `reason` why it does not pass."""

    decision: Decision
    reason: Reason
    source: str
    target: str
    level: Level
    categories: frozenset[str]
    label_source: LabelSource


def undecided(reason: Reason, source: str = "", target: str = "") -> FlowDecision:
    """Return the flow of a call that was refused before this flow was reached."""
    return FlowDecision(Decision.DENY, reason, source, target, Level.L0, frozenset(), LabelSource.NONE)


def no_flow(source: str, target: str) -> FlowDecision:
    """Return the response flow of an import: there is none."""
    return FlowDecision(Decision.NONE, Reason.OK, source, target, Level.L0, frozenset(), LabelSource.NONE)


def catalogue_label(label: Label | None, holder: Zone, *, now: datetime) -> FlowLabel:
    """Return what the catalogue's label counts as for a flow out of `holder`; without one, the zone's ceiling."""
    if label is None:
        # MA-01: what nobody labelled counts as high as the zone may hold.
        return FlowLabel(holder.ceiling, frozenset(), LabelSource.CEILING)
    return FlowLabel(effective_level(label, now), label.categories, LabelSource.CATALOGUE, _next_end((label,), now))


def raised_label(catalogue: Label | None, declared: Label, *, field: str, now: datetime) -> FlowLabel | Refusal:
    """Return what counts where a label was declared: it stands alone or raises the catalogue's, never lowers it."""
    level = effective_level(declared, now)
    if catalogue is None:
        return FlowLabel(level, declared.categories, LabelSource.DECLARED, _next_end((declared,), now))
    needed = effective_level(catalogue, now)
    if not dominates(level, declared.categories, needed, catalogue.categories):
        missing = sorted(catalogue.categories - declared.categories)
        lacks = f", without {', '.join(missing)}" if missing else ""
        return Refusal(
            Reason.E_LABEL_LOWER,
            f"zg-label of the {field}: declared is {level.text}{lacks}; the catalogue says {needed.text}, "
            "which may be raised only",
            _next_end((catalogue, declared), now),
        )
    joined = join(catalogue, declared)
    raised = level > needed or declared.categories != catalogue.categories
    return FlowLabel(
        effective_level(joined, now),
        joined.categories,
        LabelSource.DECLARED if raised else LabelSource.CATALOGUE,
        _next_end((catalogue, declared), now),
    )


def _next_end(labels: Iterable[Label], now: datetime) -> datetime | None:
    return min((end for label in labels if (end := expires(label)) is not None and end > now), default=None)


def decide_flow(source: Zone, target: Zone, label: FlowLabel) -> FlowDecision:
    """Return the zone rule's word for a flow, with the reason if no call may take it."""
    decision = zone_rule(source, target, label.level)
    return FlowDecision(
        decision,
        _zone_reason(decision, source, target),
        source.name,
        target.name,
        label.level,
        label.categories,
        label.source,
    )


def _zone_reason(decision: Decision, source: Zone, target: Zone) -> Reason:
    match decision:
        case Decision.WITHIN | Decision.GUARDED:
            return Reason.OK
        case Decision.OPEN | Decision.SUBJECT if target.zone_class is ZoneClass.INTERNET:
            return Reason.OK
        case Decision.QUARANTINE:
            return Reason.E_SPILL
        case Decision.DENY:
            within = source.name == target.name or path_between(source.zone_class, target.zone_class) is not None
            return Reason.E_CEILING if within else Reason.E_ZONE_RULE
        case Decision.NONE:
            return Reason.E_ZONE_RULE
        case _:
            return Reason.E_OBJECT_ONLY


def flow_refusal(flow: FlowDecision, source: Zone, target: Zone, *, field: str) -> Refusal | None:
    """Return the refusal that a flow's decision means for the call, in words, or None where it passes."""
    level = flow.level.text
    if flow.label_source is LabelSource.CEILING:
        level += " (no label from catalogue or caller: the zone's ceiling)"
    match flow.reason:
        case Reason.OK:
            return None
        case Reason.E_SPILL:
            detail = (
                f"{field}: labelled {level}, zone {source.name} holds up to {source.ceiling.text}; 封存 quarantined"
            )
        case Reason.E_CEILING:
            detail = f"{field}: labelled {level}, zone {target.name} takes up to {target.ceiling.text}"
        case Reason.E_OBJECT_ONLY:
            detail = (
                f"{field}: from {source.name} to {target.name} no call may pass, only an object by "
                f"{flow.decision.value} {flow.decision.zh}"
            )
        case _:
            detail = (
                f"{field}: no path leads from {source.zone_class.value} {source.zone_class.zh} ({source.name}) "
                f"to {target.zone_class.value} {target.zone_class.zh} ({target.name})"
            )
    return Refusal(flow.reason, detail)


def dominance_refusal(flow: FlowDecision, caller: System, provider: System, *, field: str) -> Refusal | None:
    """Return the refusal if caller or provider is not cleared for the flow's level and categories (MA-02)."""
    for party, system in (("caller", caller), ("provider", provider)):
        if system.clearance < flow.level:
            return Refusal(
                Reason.E_CLEARANCE, f"{field}: labelled {flow.level.text}, above the clearance of the {party}"
            )
    for party, system in (("caller", caller), ("provider", provider)):
        if not flow.categories <= system.categories:
            lacking = ", ".join(sorted(flow.categories - system.categories))
            return Refusal(Reason.E_CATEGORY, f"{field}: the {party} is not in the need-to-know scope of {lacking}")
    return None


def refused_flow(flow: FlowDecision, reason: Reason) -> FlowDecision:
    """Return the flow as denied for `reason`, keeping what was found of it."""
    return replace(flow, decision=Decision.DENY, reason=reason)
