"""Rules about the two dates (CE-08). Pure; the present time is not asked."""

from zonegate.ca.lint.rule import Target, rule
from zonegate.ca.profile import RULES as PROFILES
from zonegate.ca.profile import years_after


@rule("zg_validity_limit", "CE-08")
def limit(target: Target) -> str | None:
    """Not longer than the profile's years, and not backwards."""
    if target.not_after <= target.not_before:
        return "notAfter: is not after notBefore"
    if target.profile is None:
        return None
    rules = PROFILES[target.profile]
    if target.not_after <= years_after(target.not_before, rules.max_years):
        return None
    days = (target.not_after - target.not_before).days
    return f"notAfter: gives {days} days, profile {rules.profile.value} allows {rules.max_years} years"


@rule("zg_validity_within_issuer", "CE-08")
def within_issuer(target: Target) -> str | None:
    """Never before the issuer, never after it."""
    issuer = target.context.issuer
    if issuer is None:
        return None
    if target.not_before < issuer.not_before:
        return "notBefore: is before the issuer's"
    return "notAfter: outlives the issuer" if target.not_after > issuer.not_after else None


RULES = (limit, within_issuer)
