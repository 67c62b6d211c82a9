"""Rules about the outer form: version, algorithms, key, serial, times. Pure."""

from zonegate.ca.asn1 import SM2_WITH_SM3
from zonegate.ca.lint.rule import Target, rule
from zonegate.ca.weakkeys import check_key_strength
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import PublicKey

_V3 = 2
_SERIAL_MIN_BITS = 64
_SERIAL_MAX_OCTETS = 20
_FIRST_GENERALIZED_YEAR = 2050


@rule("zg_version_3", "CE-01")
def version(target: Target) -> str | None:
    """X.509 v3."""
    return None if target.tbs.version == _V3 else f"version: is v{target.tbs.version + 1}, must be v3"


@rule("zg_signature_sm2_sm3", "CE-01")
def signature_algorithm(target: Target) -> str | None:
    """SM2-with-SM3 inside and outside the signed part."""
    for field, found in (("signature", target.tbs.algorithm), ("signatureAlgorithm", target.signed.algorithm)):
        if found != SM2_WITH_SM3.dotted_string:
            return f"{field}: is {found}, must be {SM2_WITH_SM3.dotted_string}"
    return None


@rule("zg_signature_parameters_absent", "CE-02")
def signature_parameters(target: Target) -> str | None:
    """No parameters beside SM2-with-SM3; NULL is accepted from others, never written."""
    if target.tbs.parameters_absent and target.signed.parameters_absent:
        return None
    return "signatureAlgorithm: has parameters, they must be absent"


@rule("zg_key_sm2_uncompressed", "CE-01, CR-10")
def key_form(target: Target) -> str | None:
    """A point of curve SM2, uncompressed."""
    try:
        PublicKey.from_spki(target.tbs.spki)
    except ZoneGateError as exc:
        return f"subjectPublicKeyInfo: {exc.detail}"
    return None


@rule("zg_key_not_published", "CR-10")
def key_strength(target: Target) -> str | None:
    """No key whose private half is printed in a standard or trivially small."""
    try:
        check_key_strength(PublicKey.from_spki(target.tbs.spki))
    except ZoneGateError as exc:
        # What is no SM2 key at all is the rule above.
        return f"subjectPublicKeyInfo: {exc.detail}" if exc.detail.startswith("publicKey") else None
    return None


@rule("zg_serial_64_bits", "CE-07, RFC 5280 4.1.2.2")
def serial(target: Target) -> str | None:
    """Positive, long enough to hold 64 random bits, at most 20 octets."""
    bits = target.tbs.serial.bit_length() if target.tbs.serial > 0 else 0
    if _SERIAL_MIN_BITS <= bits < 8 * _SERIAL_MAX_OCTETS:
        return None
    return (
        f"serialNumber: has {bits} bits, must be positive with {_SERIAL_MIN_BITS} bits to {_SERIAL_MAX_OCTETS} octets"
    )


@rule("zg_time_encoding", "RFC 5280 4.1.2.5")
def time_encoding(target: Target) -> str | None:
    """UTCTime through 2049, GeneralizedTime from 2050."""
    for field, (kind, when) in (("notBefore", target.tbs.not_before), ("notAfter", target.tbs.not_after)):
        wanted = "UTCTime" if when.year < _FIRST_GENERALIZED_YEAR else "GeneralizedTime"
        if kind != wanted:
            return f"{field}: is {kind}, the year {when.year} needs {wanted}"
    return None


RULES = (version, signature_algorithm, signature_parameters, key_form, key_strength, serial, time_encoding)
