"""Reads the extensions of a certificate: usage, policies, identity (CE-03), key identifiers, where to ask for status.

`cryptography.x509` decodes them; here is said which may stand there. A critical extension that is not understood is
refused, so name constraints are, until somebody enforces them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from zonegate.codes import check_uscc
from zonegate.errors import ZoneGateError
from zonegate.gm import der
from zonegate.identity import Identity, parse_identity
from zonegate.pki.oids import OID_USCC
from zonegate.reasons import Reason

_IDENTITY_SCHEME = "spiffe://"


@dataclass(slots=True)
class Extensions:
    """What the extensions of one certificate say; absent ones have the empty value."""

    is_ca: bool = False
    path_length: int | None = None
    key_usage: frozenset[str] = frozenset()
    extended_key_usage: frozenset[str] = frozenset()
    policies: tuple[str, ...] = ()
    identity: Identity | None = None
    organ: str | None = None
    ski: bytes | None = None
    aki: bytes | None = None
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()
    ocsp_no_check: bool = False


def read_extensions(found: x509.Extensions) -> Extensions:
    """Return the extensions' values; `ValueError` for their encoding, `E_IDENTITY` for whom they name."""
    result = Extensions()
    # RFC 5280 gives both lists at least one element; the library takes empty ones.
    if not len(found):
        msg = "extensions: are empty"
        raise ValueError(msg)
    for extension in found:
        match extension.value:
            case x509.BasicConstraints() as value:
                result.is_ca, result.path_length = value.ca, value.path_length
            case x509.KeyUsage() as value:
                result.key_usage = _key_usage(value)
            case x509.ExtendedKeyUsage() as value:
                result.extended_key_usage = frozenset(oid.dotted_string for oid in value)
            case x509.CertificatePolicies() as value:
                result.policies = tuple(item.policy_identifier.dotted_string for item in value)
            case x509.SubjectAlternativeName() as value:
                if not len(value):
                    msg = "subjectAltName: is empty"
                    raise ValueError(msg)
                result.identity = _identity(value.get_values_for_type(x509.UniformResourceIdentifier))
            case x509.SubjectKeyIdentifier() as value:
                result.ski = value.digest
            case x509.AuthorityKeyIdentifier() as value:
                result.aki = value.key_identifier
            case x509.OCSPNoCheck():
                result.ocsp_no_check = True
            case x509.CRLDistributionPoints() as value:
                result.crl_urls = tuple(_crl_urls(value))
            case x509.AuthorityInformationAccess() as value:
                result.ocsp_urls = tuple(_ocsp_urls(value))
            case x509.UnrecognizedExtension() as value if value.oid.dotted_string == OID_USCC:
                result.organ = _organ(value.value)
            case _ if extension.critical:
                msg = f"extension {extension.oid.dotted_string}: is critical and not understood here"
                raise ValueError(msg)
            case _:
                pass
    if result.identity and result.organ and result.identity.organ != result.organ:
        raise ZoneGateError(
            Reason.E_IDENTITY,
            f"certificate: the URI names organ {result.identity.organ}, the USCC extension {result.organ}",
        )
    return result


def _key_usage(usage: x509.KeyUsage) -> frozenset[str]:
    bits = {
        "digitalSignature": usage.digital_signature,
        "nonRepudiation": usage.content_commitment,
        "keyEncipherment": usage.key_encipherment,
        "dataEncipherment": usage.data_encipherment,
        "keyAgreement": usage.key_agreement,
        "keyCertSign": usage.key_cert_sign,
        "cRLSign": usage.crl_sign,
        # The library raises for these two where keyAgreement is not set.
        "encipherOnly": usage.key_agreement and usage.encipher_only,
        "decipherOnly": usage.key_agreement and usage.decipher_only,
    }
    return frozenset(name for name, present in bits.items() if present)


def _identity(uris: Iterable[str]) -> Identity | None:
    ours = [uri for uri in uris if uri.lower().startswith(_IDENTITY_SCHEME)]
    if not ours:
        return None
    if len(ours) > 1:
        raise ZoneGateError(Reason.E_IDENTITY, f"certificate: names {len(ours)} identities, at most one is allowed")
    try:
        return parse_identity(ours[0])
    except ValueError as exc:
        raise ZoneGateError(Reason.E_IDENTITY, f"certificate: {exc}") from exc


def _organ(value: bytes) -> str:
    """Return the USCC: PrintableString or UTF8String, bare or under the [0] that some issuers copy from CE-04."""
    reader = der.Reader(value)
    tag, content = reader.element()
    reader.end("USCC extension")
    if tag == der.context(0):
        inner = der.Reader(content)
        tag, content = inner.element()
        inner.end("USCC extension")
    if tag not in (der.PRINTABLE_STRING, der.UTF8_STRING, der.context_primitive(0)):
        msg = f"USCC extension: the tag is {tag:#04x}, expected is a PrintableString"
        raise der.DerError(msg)
    try:
        return check_uscc(content.decode("ascii"))
    except ValueError as exc:
        raise ZoneGateError(Reason.E_IDENTITY, f"certificate: USCC extension: {exc}") from exc


def _crl_urls(points: x509.CRLDistributionPoints) -> Iterable[str]:
    for point in points:
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                yield name.value


def _ocsp_urls(access: x509.AuthorityInformationAccess) -> Iterable[str]:
    for description in access:
        location = description.access_location
        if description.access_method == AuthorityInformationAccessOID.OCSP and isinstance(
            location, x509.UniformResourceIdentifier
        ):
            yield location.value
