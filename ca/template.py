"""Builds the TBSCertificate of a plan: every member and extension that the profile gives, and nothing else. Pure.

Step two of the issuing cycle (docs/trust.md): the plan has been checked, the result will be linted before it is
signed. No key is needed here: who signs is told by the issuer's name and key identifier.
"""

from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from zonegate.ca import asn1
from zonegate.ca.addresses import shard_of
from zonegate.ca.names import SubjectName
from zonegate.ca.profile import ProfileRules, Validity
from zonegate.ca.usage import key_usage_of
from zonegate.gm import sm2, sm3
from zonegate.identity import Identity, Net
from zonegate.pki import oids

KEY_IDENTIFIER_BYTES = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What one certificate is to say, all checked."""

    rules: ProfileRules
    subject: SubjectName
    identity: Identity | None
    public_key: sm2.PublicKey
    validity: Validity
    serial: int


@dataclass(frozen=True, slots=True)
class IssuerName:
    """What a certificate says of its issuer: name, key identifier, where its status is published."""

    subject_der: bytes
    public_key: sm2.PublicKey
    crl_urls: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    crl_shards: int = 0  # 0: the certificate names the full list


def key_identifier(public_key: sm2.PublicKey) -> bytes:
    """Return the SKI of `public_key`: the first 20 bytes of SM3 over the point (readers must take any length)."""
    return sm3.digest(public_key.point)[:KEY_IDENTIFIER_BYTES]


def build_tbs(plan: Plan, issuer: IssuerName, *, net: Net) -> bytes:
    """Return the DER of the TBSCertificate of `plan`."""
    return asn1.encode_tbs_certificate(
        serial=plan.serial,
        issuer=issuer.subject_der,
        not_before=plan.validity.not_before,
        not_after=plan.validity.not_after,
        subject=plan.subject.der,
        spki=plan.public_key.spki,
        extensions=_extensions(plan, issuer, net),
    )


def _extensions(plan: Plan, issuer: IssuerName, net: Net) -> list[asn1.Extension]:
    rules = plan.rules
    extensions = [
        _plain(x509.AuthorityKeyIdentifier(key_identifier(issuer.public_key), None, None)),
        _plain(x509.SubjectKeyIdentifier(key_identifier(plan.public_key))),
        _critical(key_usage_of(rules.key_usage)),
    ]
    # CE-06. Leaves carry none at all: the DER of "no CA" is an empty SEQUENCE, which some stacks refuse.
    if rules.is_ca:
        extensions.append(_critical(x509.BasicConstraints(ca=True, path_length=rules.path_length)))
    extensions.append(_plain(_policies(rules, net)))
    if plan.identity is not None:
        uri = x509.UniformResourceIdentifier(str(plan.identity))
        extensions.append(_plain(x509.SubjectAlternativeName([uri])))
        organ = asn1.encode_printable(plan.identity.organ)
        extensions.append(asn1.Extension(oids.OID_USCC, critical=False, value=organ))
    # CE-11.
    if rules.purpose is not None:
        purpose = x509.ExtendedKeyUsage([x509.ObjectIdentifier(rules.purpose.oid)])
        extensions.append(_critical(purpose) if rules.purpose.critical else _plain(purpose))
    if rules.no_check:
        extensions.append(_plain(x509.OCSPNoCheck()))
    # A root's own status is nobody's to publish.
    if rules.issuer is not None:
        extensions += _status_extensions(issuer, plan.serial, () if rules.no_check else issuer.ocsp_urls)
    return extensions


def _policies(rules: ProfileRules, net: Net) -> x509.CertificatePolicies:
    wanted = (oids.NET_POLICY[net], oids.PROFILE_POLICY[rules.profile])
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in wanted])


def _status_extensions(issuer: IssuerName, serial: int, ocsp_urls: tuple[str, ...]) -> list[asn1.Extension]:
    urls = issuer.crl_urls
    if issuer.crl_shards:
        shard = shard_of(serial, issuer.crl_shards)
        urls = tuple(shard.url(url) for url in urls)
    points = [x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None) for url in urls]
    extensions = [_plain(x509.CRLDistributionPoints(points))]
    responders = [
        x509.AccessDescription(AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(url))
        for url in ocsp_urls
    ]
    # CE-07: only where a responder is configured; an address that nobody serves slows every verifier down.
    if responders:
        extensions.append(_plain(x509.AuthorityInformationAccess(responders)))
    return extensions


def _plain(value: x509.ExtensionType) -> asn1.Extension:
    return asn1.Extension(value.oid.dotted_string, critical=False, value=value.public_bytes())


def _critical(value: x509.ExtensionType) -> asn1.Extension:
    return asn1.Extension(value.oid.dotted_string, critical=True, value=value.public_bytes())
