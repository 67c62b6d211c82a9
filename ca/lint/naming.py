"""Rules about who the certificate speaks of and who issued it: names, URI identity, organ code. Pure."""

from cryptography import x509

from zonegate.ca import asn1
from zonegate.ca.lint.rule import Target, rule
from zonegate.ca.names import OID_COUNTRY, PRINTABLE_STRING, UTF8_STRING, parse_name
from zonegate.ca.profile import RULES as PROFILES
from zonegate.codes import check_uscc
from zonegate.identity import Identity, parse_identity
from zonegate.pki.oids import OID_USCC


@rule("zg_subject_attributes", "CE-09")
def subject(target: Target) -> str | None:
    """C=CN, O, OU (may be left out), CN, in this order, each once."""
    try:
        parse_name(target.tbs.subject)
    except ValueError as exc:
        return f"subject.{exc}"
    return None


@rule("zg_subject_string_types", "CE-09")
def subject_strings(target: Target) -> str | None:
    """PrintableString for C, UTF8String for the rest."""
    try:
        attributes = asn1.decode_name(target.tbs.subject)
    except ValueError:
        return None  # zg_subject_attributes says so
    for attribute in attributes:
        wanted = PRINTABLE_STRING if attribute.oid == OID_COUNTRY else UTF8_STRING
        if attribute.tag != wanted:
            return f"subject.{attribute.oid}: has string type 0x{attribute.tag:02x}, must be 0x{wanted:02x}"
    return None


@rule("zg_issuer_name", "CE-06, RFC 5280 4.1.2.4")
def issuer_name(target: Target) -> str | None:
    """The issuer's name is the issuer's subject, byte for byte; only a root names itself."""
    rules = None if target.profile is None else PROFILES[target.profile]
    if rules is not None and (rules.issuer is None) != (target.tbs.issuer == target.tbs.subject):
        return "issuer: a root names itself as issuer, and nothing else does"
    issuer = target.context.issuer
    if issuer is not None and target.tbs.issuer != issuer.subject_der:
        return "issuer: is not the subject of the issuer's certificate, byte for byte"
    return None


@rule("zg_identity_uri", "CE-03, architecture 3")
def identity(target: Target) -> str | None:
    """Leaves have exactly one URI identity of their own net; CA certificates have no alternative name."""
    if target.profile is None:
        return None
    names = target.extension(x509.SubjectAlternativeName)
    if PROFILES[target.profile].is_ca:
        return None if names is None else "subjectAltName: stands in a CA certificate, must be absent"
    if names is None:
        return "subjectAltName: is missing, one URI spiffe://<net>/<USCC>/<system> is needed"
    if len(names) != 1 or not isinstance(next(iter(names)), x509.UniformResourceIdentifier):
        return "subjectAltName: must hold exactly one URI and nothing else"
    try:
        found = _identity(names)
    except ValueError as exc:
        return f"subjectAltName: {exc}"
    if target.net is not None and found.net.value != target.net:
        return f"subjectAltName: the net is {found.net.value}, the policies name {target.net}"
    return None


@rule("zg_organ_code", "CE-03")
def organ_code(target: Target) -> str | None:
    """The USCC as a PrintableString with right check digits, not critical, equal to the URI's."""
    if target.profile is None or PROFILES[target.profile].is_ca:
        return None
    extension = target.raw(OID_USCC)
    if extension is None:
        return f"{OID_USCC}: is missing, the organ's USCC is needed"
    if extension.critical:
        return f"{OID_USCC}: is critical, must not be"
    try:
        code = check_uscc(asn1.decode_printable(extension.value))
    except ValueError as exc:
        return f"{OID_USCC}: {exc}"
    names = target.extension(x509.SubjectAlternativeName)
    try:
        named = None if names is None else _identity(names).organ
    except ValueError:
        return None  # zg_identity_uri says so
    return None if named in (None, code) else f"{OID_USCC}: is {code}, the URI names {named}"


def _identity(names: x509.SubjectAlternativeName) -> Identity:
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if len(uris) != 1:
        msg = "must hold exactly one URI"
        raise ValueError(msg)
    return parse_identity(uris[0])


RULES = (subject, subject_strings, issuer_name, identity, organ_code)
