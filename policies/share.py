"""[d] The share overlay (standards.md C8.4): what another organ needs beside the mandatory rules.

Pure. It can only refuse: the mandatory rules have been decided before and no share type relaxes them (MA-08).
Within one organ it does not apply; there the FlowRule suffices.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from zonegate.policies.flows import Refusal
from zonegate.policies.model import Grant, Policy, Resource, ShareType, System
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class Shared:
    """The overlay's answer: a refusal or none, the grant that covers the call, when the answer may change."""

    refusal: Refusal | None = None
    grant: Grant | None = None
    ends: datetime | None = None


def decide_share(
    policy: Policy,
    resource: Resource,
    caller: System,
    *,
    path: str,
    purpose: str | None,
    case: str | None,
    now: datetime,
) -> Shared:
    """Return whether `caller` may call `path` of `resource` for `purpose` under its share type."""
    if caller.organ == policy.systems[resource.provider].organ:
        return Shared()
    match resource.share_type:
        case ShareType.UNCONDITIONAL:
            return Shared(_purpose(purpose, resource.purposes) or _case(resource, case))
        case ShareType.CONDITIONAL:
            return _conditional(policy, resource, caller, path=path, purpose=purpose, case=case, now=now)
        case ShareType.NONE:
            detail = f"resource {resource.id}: {resource.share_type.zh}; legal basis 法律依据: {resource.legal_basis}"
            return Shared(Refusal(Reason.E_NOT_SHARED, detail))


def _conditional(
    policy: Policy,
    resource: Resource,
    caller: System,
    *,
    path: str,
    purpose: str | None,
    case: str | None,
    now: datetime,
) -> Shared:
    held = [
        grant
        for holder in (caller.organ, caller.uri)
        for grant in policy.grants_by_holder.get((resource.id, holder), ())
        if not grant.methods or path in grant.methods
    ]
    in_force = [grant for grant in held if grant.not_before <= now < grant.not_after]
    if not in_force:
        return Shared(Refusal(Reason.E_NEED_APPROVAL, _why_none(resource, path, held, now)), ends=_change(held, now))
    refusal: Refusal | None = None
    for grant in in_force:
        found = _purpose(purpose, grant.purposes) or _purpose(purpose, resource.purposes) or _case(resource, case)
        if found is None:
            return Shared(grant=grant, ends=grant.not_after)
        refusal = refusal or found
    return Shared(refusal, ends=_change(held, now))


def _change(grants: Iterable[Grant], now: datetime) -> datetime | None:
    """The next instant at which one of these grants begins or ends."""
    return min((at for grant in grants for at in (grant.not_before, grant.not_after) if at > now), default=None)


def _why_none(resource: Resource, path: str, held: list[Grant], now: datetime) -> str:
    needs = f"resource {resource.id}: {resource.share_type.zh}, needs a grant in force for {path}"
    later = [grant for grant in held if grant.not_before > now]
    if later:
        first = min(later, key=lambda grant: grant.not_before)
        return f"{needs}; grant {first.id} begins {first.not_before.isoformat()}"
    if held:
        last = max(held, key=lambda grant: grant.not_after)
        return f"{needs}; grant {last.id} ended {last.not_after.isoformat()}"
    return f"{needs}; the caller holds none"


def _purpose(purpose: str | None, allowed: frozenset[str]) -> Refusal | None:
    if not allowed or purpose in allowed:
        return None
    if not purpose:
        return Refusal(Reason.E_PURPOSE, f"zg-purpose: missing, allowed are {', '.join(sorted(allowed))}")
    return Refusal(Reason.E_PURPOSE, f"zg-purpose: found {purpose[:64]!r}, allowed are {', '.join(sorted(allowed))}")


def _case(resource: Resource, case: str | None) -> Refusal | None:
    if resource.case_required and not case:
        return Refusal(Reason.E_CASE, f"zg-case: missing, resource {resource.id} demands the case number")
    return None
