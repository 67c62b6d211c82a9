"""Rules about key identifiers, status addresses and the set of extensions. Pure."""

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from zonegate.ca.addresses import check_url
from zonegate.ca.lint.rule import Target, rule
from zonegate.ca.profile import RULES as PROFILES
from zonegate.pki.oids import OID_OCSP_NO_CHECK, OID_USCC

_SKI = "2.5.29.14"
_AKI = "2.5.29.35"
_KEY_IDENTIFIER_BYTES = 20
_COMMON = frozenset({_SKI, "2.5.29.15", "2.5.29.32", _AKI})
_CA_ONLY = frozenset({"2.5.29.19"})
_LEAF_ONLY = frozenset({"2.5.29.17", OID_USCC})
_CRL_POINTS = "2.5.29.31"
_AIA = "1.3.6.1.5.5.7.1.1"
_STATUS = frozenset({_CRL_POINTS, _AIA})
_EXTENDED_KEY_USAGE = "2.5.29.37"


@rule("zg_subject_key_identifier", "CE-07")
def subject_key_identifier(target: Target) -> str | None:
    """20 octets, not critical."""
    raw, value = target.raw(_SKI), target.extension(x509.SubjectKeyIdentifier)
    if raw is None or value is None:
        return "subjectKeyIdentifier: is missing"
    if raw.critical or len(value.digest) != _KEY_IDENTIFIER_BYTES:
        return f"subjectKeyIdentifier: has {len(value.digest)} octets, must have 20 and not be critical"
    return None


@rule("zg_authority_key_identifier", "CE-07")
def authority_key_identifier(target: Target) -> str | None:
    """The issuer's subject key identifier and nothing else, not critical."""
    raw, value = target.raw(_AKI), target.extension(x509.AuthorityKeyIdentifier)
    if raw is None or value is None or value.key_identifier is None:
        return "authorityKeyIdentifier: is missing"
    if raw.critical or value.authority_cert_issuer is not None or value.authority_cert_serial_number is not None:
        return "authorityKeyIdentifier: must hold the key identifier alone and not be critical"
    issuer = target.context.issuer
    own = target.extension(x509.SubjectKeyIdentifier)
    if issuer is not None and value.key_identifier != issuer.ski:
        return "authorityKeyIdentifier: is not the subject key identifier of the issuer's certificate"
    if target.tbs.issuer == target.tbs.subject and own is not None and value.key_identifier != own.digest:
        return "authorityKeyIdentifier: a root must name its own key"
    return None


@rule("zg_crl_distribution_points", "CE-07")
def crl_points(target: Target) -> str | None:
    """Everything but a root says where its issuer's list is, by http, whole, not critical."""
    if target.profile is None:
        return None
    raw, value = target.raw(_CRL_POINTS), target.extension(x509.CRLDistributionPoints)
    if PROFILES[target.profile].issuer is None:
        return None if raw is None else "cRLDistributionPoints: stands in a root, must be absent"
    if raw is None or value is None:
        return "cRLDistributionPoints: is missing"
    if raw.critical:
        return "cRLDistributionPoints: is critical, must not be"
    for point in value:
        if point.reasons is not None or point.crl_issuer is not None or not point.full_name:
            return "cRLDistributionPoints: each point must hold one full name alone"
        problem = _url_problem(point.full_name)
        if problem is not None:
            return f"cRLDistributionPoints: {problem}"
    return None


@rule("zg_ocsp_where_configured", "CE-07")
def ocsp(target: Target) -> str | None:
    """An OCSP address stands there exactly where a responder is configured; nothing else is in the AIA."""
    value = target.extension(x509.AuthorityInformationAccess)
    found = () if value is None else tuple(value)
    if any(item.access_method != AuthorityInformationAccessOID.OCSP for item in found):
        return "authorityInfoAccess: holds something other than an OCSP address"
    for item in found:
        problem = _url_problem([item.access_location])
        if problem is not None:
            return f"authorityInfoAccess: {problem}"
    wanted = target.context.ocsp_urls
    urls = tuple(item.access_location.value for item in found)
    is_root = target.profile is not None and PROFILES[target.profile].issuer is None
    # A responder is not asked about itself.
    is_silent = is_root or (target.profile is not None and PROFILES[target.profile].no_check)
    if wanted is not None and urls != (() if is_silent else wanted):
        return f"authorityInfoAccess: names {len(urls)} OCSP addresses that are not the {len(wanted)} configured ones"
    return None


@rule("zg_extended_key_usage", "CE-11, RFC 3161 2.3, RFC 6960 4.2.2.2")
def extended_key_usage(target: Target) -> str | None:
    """The OCSP and the TSA signer have their one purpose, the TSA's critical; nobody else has any."""
    if target.profile is None:
        return None
    raw, value = target.raw(_EXTENDED_KEY_USAGE), target.extension(x509.ExtendedKeyUsage)
    wanted = PROFILES[target.profile].purpose
    if wanted is None:
        return None if raw is None else f"extendedKeyUsage: stands in profile {target.profile.value}, must be absent"
    if raw is None or value is None:
        return f"extendedKeyUsage: is missing, {wanted.oid} is needed"
    found = [item.dotted_string for item in value]
    if found != [wanted.oid]:
        return f"extendedKeyUsage: holds {', '.join(found)}, must hold {wanted.oid} alone"
    if raw.critical is not wanted.critical:
        return f"extendedKeyUsage: critical is {raw.critical}, must be {wanted.critical}"
    return None


@rule("zg_ocsp_no_check", "CE-11, RFC 6960 4.2.2.2.1")
def ocsp_no_check(target: Target) -> str | None:
    """The OCSP signer says that it is not asked about, with a NULL, not critical; nobody else may."""
    if target.profile is None:
        return None
    raw = target.raw(OID_OCSP_NO_CHECK)
    if not PROFILES[target.profile].no_check:
        return None if raw is None else f"ocsp-nocheck: stands in profile {target.profile.value}, must be absent"
    if raw is None:
        return "ocsp-nocheck: is missing"
    return "ocsp-nocheck: must be a NULL and not critical" if raw.critical or raw.value != b"\x05\x00" else None


@rule("zg_extension_set", "CE-07, CE-11")
def extension_set(target: Target) -> str | None:
    """Only the extensions of the profile."""
    if target.profile is None:
        return None
    rules = PROFILES[target.profile]
    allowed = _COMMON | (_CA_ONLY if rules.is_ca else _LEAF_ONLY)
    allowed |= frozenset() if rules.issuer is None else _STATUS
    allowed |= frozenset() if rules.purpose is None else frozenset({_EXTENDED_KEY_USAGE})
    allowed |= frozenset({OID_OCSP_NO_CHECK}) if rules.no_check else frozenset()
    foreign = [item.oid for item in target.tbs.extensions if item.oid not in allowed]
    return f"extensions: {', '.join(foreign)} are not of profile {rules.profile.value}" if foreign else None


def _url_problem(names: list[x509.GeneralName]) -> str | None:
    for name in names:
        if not isinstance(name, x509.UniformResourceIdentifier):
            return f"holds a {type(name).__name__}, must be a URI"
        try:
            check_url(name.value)
        except ValueError as exc:
            return str(exc)
    return None


RULES = (
    subject_key_identifier,
    authority_key_identifier,
    crl_points,
    ocsp,
    extended_key_usage,
    ocsp_no_check,
    extension_set,
)
