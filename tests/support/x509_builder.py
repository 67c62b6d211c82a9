"""Builds certificates and CRLs for tests, right or deliberately wrong in one field.

It shares nothing with the CA: the shapes are written down here once more, so that a mistake in the one is not
repeated by the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from zonegate.gm import der, sm2, sm3
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.oids import NET_POLICY, OID_SM2_WITH_SM3, OID_USCC, PROFILE_POLICY, Profile

NOT_BEFORE = datetime(2029, 1, 1, tzinfo=UTC)
NOT_AFTER = datetime(2031, 1, 1, tzinfo=UTC)
ORGAN = "111000009900000172"

SM2_WITH_SM3 = der.sequence(der.oid(OID_SM2_WITH_SM3))
SM2_WITH_SM3_NULL = der.sequence(der.oid(OID_SM2_WITH_SM3), der.NULL_TLV)


def name(common_name: str, country: str = "CN") -> bytes:
    """Return a Name in DER."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "示例机关"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    ).public_bytes()


def time(instant: datetime) -> bytes:
    """Return a Time: UTCTime before 2050, GeneralizedTime from then on (RFC 5280)."""
    if instant.year < 2050:
        return der.tlv(der.UTC_TIME, instant.strftime("%y%m%d%H%M%SZ").encode())
    return der.tlv(der.GENERALIZED_TIME, instant.strftime("%Y%m%d%H%M%SZ").encode())


def extension(oid: str, value: bytes, critical: bytes = b"") -> bytes:
    """Return an Extension; `critical` is the DER of the BOOLEAN or nothing."""
    return der.sequence(der.oid(oid), critical, der.octet_string(value))


CRITICAL = b"\x01\x01\xff"


def encoded(value: x509.ExtensionType, critical: bytes = b"") -> bytes:
    """Return the Extension of a value that `cryptography` can encode."""
    return extension(value.oid.dotted_string, value.public_bytes(), critical)


def key_usage(*names: str) -> bytes:
    """Return a critical keyUsage of the attribute names of `x509.KeyUsage`."""
    fields = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return encoded(x509.KeyUsage(**{each: each in names for each in fields}), CRITICAL)


def policies(*oids: str) -> bytes:
    """Return a certificatePolicies extension."""
    return encoded(x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in oids]))


def ski(key: sm2.PublicKey) -> bytes:
    """Return the key identifier used in these tests."""
    return sm3.digest(key.point)[:20]


@dataclass(frozen=True)
class Template:
    """Everything of a certificate but its key and its issuer; the defaults make a good leaf."""

    common_name: str = "leaf"
    serial: bytes = der.tlv(der.INTEGER, bytes.fromhex("4a5b6c7d8e9fa0b1"))
    version: bytes = der.tlv(der.context(0), der.integer(2))
    inner_algorithm: bytes = SM2_WITH_SM3
    outer_algorithm: bytes = SM2_WITH_SM3
    subject: bytes | None = None
    not_before: datetime = NOT_BEFORE
    not_after: datetime = NOT_AFTER
    spki: bytes | None = None
    net: Net | None = Net.EXTRA
    profile: Profile | None = Profile.SYSTEM
    uris: tuple[str, ...] = ()
    organ: str | None = None
    ca: bool = False
    path_length: int | None = None
    usage: tuple[str, ...] = ("digital_signature", "content_commitment")
    aki: bytes | None = None
    signer_id: bytes = sm2.CERT_ID
    extra: tuple[bytes, ...] = ()
    drop: frozenset[str] = field(default_factory=frozenset)


def extensions_of(template: Template, key: sm2.PublicKey, issuer_key: sm2.PublicKey) -> list[bytes]:
    """Return the extensions that the template asks for."""
    wanted: dict[str, bytes | None] = {
        "basic": encoded(x509.BasicConstraints(ca=True, path_length=template.path_length), CRITICAL)
        if template.ca
        else None,
        "usage": key_usage(*template.usage),
        "ski": encoded(x509.SubjectKeyIdentifier(ski(key))),
        "aki": encoded(x509.AuthorityKeyIdentifier(template.aki or ski(issuer_key), None, None)),
        "policies": policies(
            *([NET_POLICY[template.net]] if template.net else []),
            *([PROFILE_POLICY[template.profile]] if template.profile else []),
        )
        if template.net or template.profile
        else None,
        "san": encoded(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in template.uris]))
        if template.uris
        else None,
        "organ": extension(OID_USCC, der.tlv(der.PRINTABLE_STRING, template.organ.encode()))
        if template.organ
        else None,
    }
    return [value for what, value in wanted.items() if value and what not in template.drop] + list(template.extra)


def certificate_der(template: Template, key: sm2.PublicKey, issuer_name: bytes, issuer_key: sm2.PrivateKey) -> bytes:
    """Return the signed certificate."""
    tbs = der.sequence(
        template.version,
        template.serial,
        template.inner_algorithm,
        issuer_name,
        der.sequence(time(template.not_before), time(template.not_after)),
        template.subject or name(template.common_name),
        template.spki or key.spki,
        der.tlv(der.context(3), der.sequence(*extensions_of(template, key, issuer_key.public_key))),
    )
    signature = issuer_key.sign(tbs, signer_id=template.signer_id)
    return der.sequence(tbs, template.outer_algorithm, der.bit_string(signature))


@dataclass(frozen=True)
class Holder:
    """A certificate with its private key."""

    certificate: Certificate
    key: sm2.PrivateKey

    def issue(self, template: Template, key: sm2.PrivateKey | None = None) -> "Holder":
        """Issue below this one, whether it may or not."""
        own = key or sm2.PrivateKey.generate()
        source = certificate_der(template, own.public_key, self.certificate.subject_der, self.key)
        return Holder(load_certificate(source), own)


ROOT = Template(
    common_name="root",
    ca=True,
    usage=("key_cert_sign", "crl_sign"),
    profile=Profile.ROOT,
    not_before=NOT_BEFORE - timedelta(days=365),
    not_after=NOT_AFTER + timedelta(days=3650),
)
SUB_CA = replace(
    ROOT,
    common_name="sub-ca",
    profile=Profile.SUB_CA,
    path_length=0,
    not_before=NOT_BEFORE - timedelta(days=100),
    not_after=NOT_AFTER + timedelta(days=1000),
)
LEAF = Template(uris=(f"spiffe://extra/{ORGAN}/population",), organ=ORGAN)


def self_signed(template: Template = ROOT) -> Holder:
    """Return a root."""
    key = sm2.PrivateKey.generate()
    subject = template.subject or name(template.common_name)
    return Holder(load_certificate(certificate_der(template, key.public_key, subject, key)), key)


# --- lists

OID_CRL_NUMBER = "2.5.29.20"


def entry(serial: int, at: datetime, *extensions: bytes) -> bytes:
    """Return one entry of revokedCertificates."""
    return der.sequence(der.integer(serial), time(at), der.sequence(*extensions) if extensions else b"")


def reason(code: int) -> bytes:
    """Return the reasonCode entry extension."""
    return extension("2.5.29.21", der.tlv(der.ENUMERATED, bytes((code,))))


@dataclass(frozen=True)
class ListTemplate:
    """Everything of a CRL but its issuer; the defaults make a good empty list."""

    number: int | None = 1
    this_update: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    next_update: datetime | None = datetime(2030, 1, 2, tzinfo=UTC)
    entries: Sequence[bytes] | None = None
    version: bytes = der.integer(1)
    inner_algorithm: bytes = SM2_WITH_SM3
    outer_algorithm: bytes = SM2_WITH_SM3
    aki: bytes | None = None
    extra: tuple[bytes, ...] = ()
    signer_id: bytes = sm2.CERT_ID


def crl_der(template: ListTemplate, issuer_name: bytes, issuer_key: sm2.PrivateKey) -> bytes:
    """Return the signed list."""
    found = [encoded(x509.AuthorityKeyIdentifier(template.aki or ski(issuer_key.public_key), None, None))]
    if template.number is not None:
        found.append(extension(OID_CRL_NUMBER, der.integer(template.number)))
    found.extend(template.extra)
    tbs = der.sequence(
        template.version,
        template.inner_algorithm,
        issuer_name,
        time(template.this_update),
        time(template.next_update) if template.next_update else b"",
        der.sequence(*template.entries) if template.entries is not None else b"",
        der.tlv(der.context(0), der.sequence(*found)) if found else b"",
    )
    signature = issuer_key.sign(tbs, signer_id=template.signer_id)
    return der.sequence(tbs, template.outer_algorithm, der.bit_string(signature))
