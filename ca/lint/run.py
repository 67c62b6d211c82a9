"""Runs every rule over one certificate. Pure: DER and context in, findings out; none means that it may be signed."""

from cryptography import x509

from zonegate.ca import asn1
from zonegate.ca.lint import encoding, extensions, naming, usage, validity
from zonegate.ca.lint.rule import Context, Finding, Rule, Target

RULES: tuple[Rule, ...] = (*encoding.RULES, *naming.RULES, *usage.RULES, *extensions.RULES, *validity.RULES)
SHAPE_RULE = "zg_der_shape"
_SHAPE_CLAUSE = "CE-01, RFC 5280 4.1"


def lint(der: bytes, context: Context) -> tuple[Finding, ...]:
    """Return what is wrong with the certificate `der`, in the order of the rules."""
    try:
        target = _target(der, context)
    except (
        ValueError,
        TypeError,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as exc:
        return (Finding(SHAPE_RULE, _SHAPE_CLAUSE, f"is not strict DER of an X.509 certificate: {exc}"),)
    found = ((rule, rule.check(target)) for rule in RULES)
    return tuple(Finding(rule.rule_id, rule.clause, problem) for rule, problem in found if problem is not None)


def _target(der: bytes, context: Context) -> Target:
    signed = asn1.decode_signed(der)
    return Target(
        signed=signed,
        tbs=asn1.decode_tbs_certificate(signed.body),
        extensions=tuple(x509.load_der_x509_certificate(der).extensions),
        context=context,
    )
