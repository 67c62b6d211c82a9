"""Rules about what the certificate may be used for: key usage, CA bit, path length, policies. Pure."""

from cryptography import x509

from zonegate.ca.lint.rule import Target, rule
from zonegate.ca.profile import RULES as PROFILES
from zonegate.ca.usage import key_usage_names
from zonegate.pki.oids import NET_OF_POLICY, PROFILE_OF_POLICY

_KEY_USAGE = "2.5.29.15"
_BASIC_CONSTRAINTS = "2.5.29.19"
_POLICIES = "2.5.29.32"


@rule("zg_policies_net_and_profile", "CE-07, CE-10")
def policies(target: Target) -> str | None:
    """Exactly one net's policy and one profile's, in this order, not critical."""
    raw = target.raw(_POLICIES)
    if raw is None:
        return "certificatePolicies: is missing"
    if raw.critical:
        return "certificatePolicies: is critical, must not be"
    found = target.policies
    if len(found) == 2 and found[0] in NET_OF_POLICY and found[1] in PROFILE_OF_POLICY:
        return None
    return f"certificatePolicies: holds {', '.join(found)}, must hold one net and one profile"


@rule("zg_key_usage", "CE-05, CE-06")
def key_usage(target: Target) -> str | None:
    """Critical, and exactly the profile's bits: signing and encryption never share a certificate."""
    raw, usage = target.raw(_KEY_USAGE), target.extension(x509.KeyUsage)
    if raw is None or usage is None:
        return "keyUsage: is missing"
    if not raw.critical:
        return "keyUsage: is not critical, must be"
    if target.profile is None:
        return None
    found, wanted = key_usage_names(usage), PROFILES[target.profile].key_usage
    if found == wanted:
        return None
    return f"keyUsage: holds {', '.join(sorted(found)) or 'nothing'}, must hold {', '.join(sorted(wanted))}"


@rule("zg_ca_basic_constraints", "CE-06")
def ca_constraints(target: Target) -> str | None:
    """A CA certificate says so, critically, with the profile's path length."""
    if target.profile is None or not PROFILES[target.profile].is_ca:
        return None
    raw, constraints = target.raw(_BASIC_CONSTRAINTS), target.extension(x509.BasicConstraints)
    if raw is None or constraints is None or not constraints.ca:
        return "basicConstraints: does not say that this is a CA"
    if not raw.critical:
        return "basicConstraints: is not critical, must be"
    wanted = PROFILES[target.profile].path_length
    if constraints.path_length != wanted:
        return f"basicConstraints: the path length is {constraints.path_length}, must be {wanted}"
    return None


@rule("zg_leaf_no_basic_constraints", "CE-06")
def leaf_constraints(target: Target) -> str | None:
    """Leaves have none at all: the DER of "no CA" is an empty SEQUENCE, which some stacks refuse."""
    if target.profile is None or PROFILES[target.profile].is_ca or target.raw(_BASIC_CONSTRAINTS) is None:
        return None
    return "basicConstraints: stands in a leaf, must be absent"


@rule("zg_issuer_path_length", "CE-06")
def issuer_path(target: Target) -> str | None:
    """The issuer is a CA that may have this certificate below it."""
    issuer = target.context.issuer
    if issuer is None or target.profile is None or PROFILES[target.profile].issuer is None:
        return None
    if issuer.profile is not PROFILES[target.profile].issuer or not issuer.is_ca:
        return f"issuer: has profile {issuer.profile}, must be a CA of profile {PROFILES[target.profile].issuer}"
    if PROFILES[target.profile].is_ca and issuer.path_length == 0:
        return "issuer: its path length is 0, no CA may stand below it"
    return None


RULES = (policies, key_usage, ca_constraints, leaf_constraints, issuer_path)
