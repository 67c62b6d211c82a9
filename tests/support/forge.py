"""Forges certificates and lists that the real CA would refuse to issue: wrong usages, foreign keys, odd dates.

For the refusing rows only; whatever should be accepted comes from the real CA (`support.pki`) where that exists.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from support.clock import NOON
from zonegate.gm import der, sm2
from zonegate.identity import Identity, Net
from zonegate.pki import oids
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.credential import Credential
from zonegate.pki.crl import Crl, load_crl
from zonegate.pki.path import TrustAnchors

ORGAN = "11999999MB0000000X"
_SM2_WITH_SM3 = der.sequence(der.oid(oids.OID_SM2_WITH_SM3))

CA_USAGE = frozenset({"key_cert_sign", "crl_sign"})
SIGN_USAGE = frozenset({"digital_signature", "content_commitment"})
ENCRYPT_USAGE = frozenset({"key_encipherment", "data_encipherment"})
_USAGES = (
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


class ForeignKey:
    """A P-256 or RSA key in the place of an SM2 key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
        self.key = key
        self.spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.point = self.spki

    @classmethod
    def p256(cls) -> "ForeignKey":
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def rsa(cls) -> "ForeignKey":
        return cls(rsa.generate_private_key(65537, 2048))

    @property
    def public_key(self) -> "ForeignKey":
        return self

    def to_pkcs8(self) -> bytes:
        return self.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


Key = sm2.PrivateKey | ForeignKey


@dataclass(frozen=True)
class Forged:
    """A certificate with its key and the chain above it, root left out of `chain`."""

    der: bytes
    key: Key
    name: x509.Name
    ski: bytes
    chain: tuple["Forged", ...] = ()
    root: bool = False

    @property
    def certificate(self) -> Certificate:
        return load_certificate(self.der)

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        return (self.der, *(one.der for one in self.chain))

    @property
    def credential(self) -> Credential:
        assert isinstance(self.key, sm2.PrivateKey)
        return Credential(tuple(load_certificate(one) for one in self.chain_der), self.key)


def name_of(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "CN"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "测试机关"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _time(at: datetime) -> bytes:
    if at.year < 2050:
        return der.tlv(der.UTC_TIME, at.strftime("%y%m%d%H%M%SZ").encode())
    return der.tlv(der.GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").encode())


def _extension(oid: str, value: bytes, *, critical: bool) -> bytes:
    parts = [der.oid(oid)]
    if critical:
        parts.append(der.tlv(der.BOOLEAN, b"\xff"))
    return der.sequence(*parts, der.octet_string(value))


def _extensions(entries: Iterable[tuple[x509.ExtensionType, bool]]) -> bytes:
    return der.sequence(
        *(_extension(value.oid.dotted_string, value.public_bytes(), critical=critical) for value, critical in entries)
    )


def _signed(tbs: bytes, algorithm: bytes, key: Key) -> bytes:
    if isinstance(key, sm2.PrivateKey):
        signature = key.sign(tbs, signer_id=sm2.CERT_ID)
    elif isinstance(key.key, rsa.RSAPrivateKey):
        from cryptography.hazmat.primitives.asymmetric import padding

        signature = key.key.sign(tbs, padding.PKCS1v15(), hashes.SHA256())
    else:
        signature = key.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return der.sequence(tbs, algorithm, der.bit_string(signature))


def _algorithm(key: Key) -> bytes:
    if isinstance(key, sm2.PrivateKey):
        return _SM2_WITH_SM3
    if isinstance(key.key, rsa.RSAPrivateKey):
        return der.sequence(der.oid("1.2.840.113549.1.1.11"), der.NULL_TLV)
    return der.sequence(der.oid("1.2.840.10045.4.3.2"))


def forge(
    common_name: str,
    *,
    issuer: Forged | None = None,
    key: Key | None = None,
    net: Net | None = Net.EXTRA,
    profile: Profile | None = Profile.SYSTEM,
    identity: str | None = None,
    usage: frozenset[str] = SIGN_USAGE,
    ca: bool = False,
    path_length: int | None = None,
    not_before: datetime = NOON - timedelta(days=1),
    not_after: datetime = NOON + timedelta(days=365),
    serial: int | None = None,
) -> Forged:
    """Return a certificate of exactly these fields, signed by `issuer` or by itself."""
    key = key or sm2.PrivateKey.generate()
    name = name_of(common_name)
    ski = x509.SubjectKeyIdentifier(bytes.fromhex(_digest(key))[:20])
    signer_key = issuer.key if issuer else key
    signer_name = issuer.name if issuer else name
    signer_ski = issuer.ski if issuer else ski.digest
    entries: list[tuple[x509.ExtensionType, bool]] = [
        (ski, False),
        (x509.AuthorityKeyIdentifier(signer_ski, None, None), False),
        (x509.KeyUsage(**{one: one in usage for one in _USAGES}), True),
    ]
    if ca:
        entries.append((x509.BasicConstraints(ca=True, path_length=path_length), True))
    policies = ([oids.NET_POLICY[net]] if net else []) + ([oids.PROFILE_POLICY[profile]] if profile else [])
    if policies:
        information = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in policies]
        entries.append((x509.CertificatePolicies(information), False))
    if identity is not None:
        entries.append((x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), False))
    algorithm = _algorithm(signer_key)
    tbs = der.sequence(
        der.tlv(der.context(0), der.integer(2)),
        der.integer(serial or secrets.randbits(127) | 1 << 120),
        algorithm,
        signer_name.public_bytes(),
        der.sequence(_time(not_before), _time(not_after)),
        name.public_bytes(),
        key.public_key.spki,
        der.tlv(der.context(3), _extensions(entries)),
    )
    above = () if issuer is None or issuer.root else (issuer, *issuer.chain)
    return Forged(_signed(tbs, algorithm, signer_key), key, name, ski.digest, above, root=issuer is None)


def _digest(key: Key) -> str:
    from zonegate.gm import sm3

    return sm3.hexdigest(key.public_key.point)


def uri(name: str, net: Net = Net.EXTRA, organ: str = ORGAN) -> str:
    return str(Identity(net, organ, name))


@dataclass
class ForgedNet:
    """A root, a sub-CA and whatever leaves a test needs."""

    net: Net = Net.EXTRA
    leaves: dict[str, Forged] = field(default_factory=dict)

    def __post_init__(self) -> None:
        word = self.net.value.upper()
        long = NOON + timedelta(days=3650)
        self.root = forge(f"{word} ROOT", net=self.net, profile=Profile.ROOT, usage=CA_USAGE, ca=True, not_after=long)
        self.sub_ca = forge(
            f"{word} SUB",
            issuer=self.root,
            net=self.net,
            profile=Profile.SUB_CA,
            usage=CA_USAGE,
            ca=True,
            path_length=0,
            not_after=long,
        )

    @property
    def anchors(self) -> TrustAnchors:
        return TrustAnchors(self.net, (self.root.certificate,))

    def leaf(self, name: str, profile: Profile = Profile.SYSTEM, **fields: Any) -> Forged:
        fields.setdefault("identity", uri(name, self.net))
        fields.setdefault("issuer", self.sub_ca)
        fields.setdefault("net", self.net)
        return forge(name, profile=profile, **fields)

    def crls(self, number: int = 1, revoked: Iterable[int] = (), **fields: Any) -> tuple[Crl, Crl]:
        """Return the lists of the sub-CA (with `revoked`) and of the root."""
        return (
            load_crl(forge_crl(self.sub_ca, number, revoked=dict.fromkeys(revoked, NOON), **fields)),
            load_crl(forge_crl(self.root, number, **fields)),
        )


def forge_crl(
    issuer: Forged,
    number: int,
    *,
    revoked: Mapping[int, datetime] | None = None,
    this_update: datetime = NOON - timedelta(minutes=5),
    next_update: datetime = NOON + timedelta(hours=24),
    key: Key | None = None,
) -> bytes:
    """Return a CRL v2 in DER."""
    entries = [der.sequence(der.integer(serial), _time(at)) for serial, at in (revoked or {}).items()]
    signer = key or issuer.key
    tbs = der.sequence(
        der.integer(1),
        _SM2_WITH_SM3,
        issuer.name.public_bytes(),
        _time(this_update),
        _time(next_update),
        *([der.sequence(*entries)] if entries else []),
        der.tlv(
            der.context(0),
            _extensions(
                [(x509.AuthorityKeyIdentifier(issuer.ski, None, None), False), (x509.CRLNumber(number), False)]
            ),
        ),
    )
    return _signed(tbs, _SM2_WITH_SM3, signer)
