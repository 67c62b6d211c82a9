"""Reads one SM2 certificate (CE-01..CE-06) into a value, or refuses it with the field that is wrong.

Accepted: X.509 v3, SM2 key as an uncompressed point, SM2-with-SM3 signature with parameters absent or NULL (CE-02).
Names and extensions are decoded by `cryptography.x509`, which cannot do SM2 keys; the rest is walked here in strict
DER. Nothing is judged here: whether a certificate may be used, by whom and when, is `path`'s business.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from zonegate.errors import ZoneGateError
from zonegate.gm import der, pem, sm2, sm3
from zonegate.identity import Identity, Net
from zonegate.pki.extensions import read_extensions
from zonegate.pki.oids import NET_OF_POLICY, OID_SM2_WITH_SM3, PROFILE_OF_POLICY, Profile
from zonegate.reasons import Reason

__all__ = ["Certificate", "Profile", "load_certificate", "load_certificates"]

PEM_LABEL: Final = "CERTIFICATE"
CERTIFICATE_LIMIT_BYTES = 1 << 16
FILE_LIMIT_BYTES = 1 << 20
FILE_LIMIT_CERTIFICATES = 64
SERIAL_MAX_OCTETS = 20
_Policy = TypeVar("_Policy", Net, Profile)
# The library only warns about these two X.520 bounds; we refuse them.
_COUNTRY_CHARS = 2
_COMMON_NAME_MAX_CHARS = 64


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Certificate:
    """A parsed certificate. Two are equal if their DER is."""

    der: bytes
    tbs: bytes
    signature: bytes
    signature_oid: str
    fingerprint: str
    serial: int
    subject: str
    subject_der: bytes
    issuer: str
    issuer_der: bytes
    not_before: datetime
    not_after: datetime
    public_key: sm2.PublicKey
    is_ca: bool
    path_length: int | None
    key_usage: frozenset[str]
    extended_key_usage: frozenset[str]
    policies: tuple[str, ...]
    net: Net | None
    profile: Profile | None
    identity: Identity | None
    organ: str | None
    ski: bytes | None
    aki: bytes | None
    crl_urls: tuple[str, ...]
    ocsp_urls: tuple[str, ...]
    ocsp_no_check: bool

    @property
    def pem(self) -> bytes:
        """The certificate as a PEM block."""
        return pem.encode(PEM_LABEL, self.der)

    @property
    def self_issued(self) -> bool:
        """Whether subject and issuer are the same name."""
        return self.subject_der == self.issuer_der

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Certificate({self.subject!r}, serial={self.serial:x})"


def load_certificate(source: bytes) -> Certificate:
    """Return the certificate in DER, or in PEM text that holds exactly one."""
    if not source.lstrip().startswith(b"-----"):
        return _load(source)
    found = load_certificates(source)
    if len(found) != 1:
        raise _refused("certificate", f"the PEM text holds {len(found)} certificates, exactly one is expected")
    return found[0]


def load_certificates(source: bytes) -> tuple[Certificate, ...]:
    """Return every certificate of a PEM text, in its order; at least one."""
    if len(source) > FILE_LIMIT_BYTES:
        raise _refused("certificates", f"the text is {len(source)} bytes, at most {FILE_LIMIT_BYTES} are allowed")
    try:
        blocks = pem.decode(PEM_LABEL, source)
    except ValueError as exc:
        raise _refused("certificates", str(exc)) from exc
    if not 0 < len(blocks) <= FILE_LIMIT_CERTIFICATES:
        raise _refused(
            "certificates", f"the text holds {len(blocks)} PEM blocks, 1 to {FILE_LIMIT_CERTIFICATES} are allowed"
        )
    return tuple(_load(block) for block in blocks)


def _refused(field: str, problem: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_DER, f"{field}: {problem}")


def _load(source: bytes) -> Certificate:
    if not 0 < len(source) <= CERTIFICATE_LIMIT_BYTES:
        raise _refused("certificate", f"is {len(source)} bytes, 1 to {CERTIFICATE_LIMIT_BYTES} are allowed")
    try:
        body = _read_body(source)
        parsed = x509.load_der_x509_certificate(source)
        subject, issuer = _name(parsed.subject, "subject"), _name(parsed.issuer, "issuer")
        extensions = read_extensions(parsed.extensions)
    except _LIBRARY_REFUSALS as exc:
        raise _refused("certificate", str(exc) or type(exc).__name__) from exc
    return Certificate(
        der=source,
        fingerprint=sm3.hexdigest(source),
        tbs=body.tbs,
        signature=body.signature,
        signature_oid=OID_SM2_WITH_SM3,
        serial=body.serial,
        subject=subject,
        subject_der=body.subject,
        issuer=issuer,
        issuer_der=body.issuer,
        not_before=body.not_before,
        not_after=body.not_after,
        public_key=sm2.PublicKey.from_spki(body.spki),
        is_ca=extensions.is_ca,
        path_length=extensions.path_length,
        key_usage=extensions.key_usage,
        extended_key_usage=extensions.extended_key_usage,
        policies=extensions.policies,
        net=_only(NET_OF_POLICY, extensions.policies, "net"),
        profile=_only(PROFILE_OF_POLICY, extensions.policies, "profile"),
        identity=extensions.identity,
        organ=extensions.organ,
        ski=extensions.ski,
        aki=extensions.aki,
        crl_urls=extensions.crl_urls,
        ocsp_urls=extensions.ocsp_urls,
        ocsp_no_check=extensions.ocsp_no_check,
    )


# `Warning`: what the library only warns about is an exception where a process runs with -W error.
_LIBRARY_REFUSALS = (
    ValueError,
    TypeError,
    Warning,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


# --- the signed body, in strict DER


@dataclass(frozen=True, slots=True)
class _Body:
    tbs: bytes
    signature: bytes
    serial: int
    issuer: bytes
    not_before: datetime
    not_after: datetime
    subject: bytes
    spki: bytes


def _read_body(source: bytes) -> _Body:
    tbs, signature = read_signed(source, "Certificate")
    body = der.Reader(tbs).sequence("TBSCertificate")
    if body.peek() != der.context(0):
        msg = "version: is missing, only v3 is accepted"
        raise der.DerError(msg)
    version = body.enter(der.context(0), "version")
    if version.integer("version") != 2:
        msg = "version: only v3 is accepted"
        raise der.DerError(msg)
    version.end("version")
    serial = _read_serial(body)
    check_signature_algorithm(body.tlv(), "TBSCertificate.signature")
    issuer = body.tlv()
    validity = body.sequence("validity")
    not_before, not_after = read_time(validity, "notBefore"), read_time(validity, "notAfter")
    validity.end("validity")
    if not_before > not_after:
        msg = "validity: notAfter is before notBefore"
        raise der.DerError(msg)
    subject, spki = body.tlv(), body.tlv()
    if body.peek() != der.context(3):
        msg = "extensions: are missing or follow a unique identifier, which is not accepted"
        raise der.DerError(msg)
    body.tlv()
    body.end("TBSCertificate")
    return _Body(tbs, signature, serial, issuer, not_before, not_after, subject, spki)


def _read_serial(body: der.Reader) -> int:
    serial = body.integer("serialNumber")
    if serial == 0 or serial.bit_length() > 8 * SERIAL_MAX_OCTETS - 1:
        msg = f"serialNumber: must be positive and at most {SERIAL_MAX_OCTETS} octets"
        raise der.DerError(msg)
    return serial


def read_signed(source: bytes, what: str) -> tuple[bytes, bytes]:
    """Return the signed part and the signature of `SEQUENCE { tbs, algorithm, BIT STRING }` signed SM2-with-SM3."""
    outer = der.Reader(source)
    whole = outer.sequence(what)
    outer.end(what)
    tbs = whole.tlv()
    check_signature_algorithm(whole.tlv(), f"{what}.signatureAlgorithm")
    signature = whole.bit_string("signatureValue")
    whole.end(what)
    return tbs, signature


_SM2_WITH_SM3_ABSENT = der.sequence(der.oid(OID_SM2_WITH_SM3))
_SM2_WITH_SM3_NULL = der.sequence(der.oid(OID_SM2_WITH_SM3), der.NULL_TLV)


def check_signature_algorithm(algorithm: bytes, what: str) -> None:
    """Return if `algorithm` is SM2-with-SM3, parameters absent or NULL (CE-02); otherwise `E_TLS_SIGNATURE`."""
    if algorithm in (_SM2_WITH_SM3_ABSENT, _SM2_WITH_SM3_NULL):
        return
    name = der.Reader(algorithm).sequence(what).oid(what)
    if name == OID_SM2_WITH_SM3:
        msg = f"{what}: the parameters of SM2-with-SM3 must be absent or NULL"
        raise der.DerError(msg)
    raise ZoneGateError(Reason.E_TLS_SIGNATURE, f"{what}: is {name}, expected is {OID_SM2_WITH_SM3} (SM2 with SM3)")


_UTC_TIME = re.compile(rb"[0-9]{12}Z")
_GENERALIZED_TIME = re.compile(rb"[0-9]{14}Z")


def read_time(reader: der.Reader, what: str) -> datetime:
    """Return the next Time of RFC 5280: UTCTime or GeneralizedTime, seconds and Z, nothing else."""
    tag, content = reader.element()
    return decode_time(tag, content, what)


def decode_time(tag: int, content: bytes, what: str) -> datetime:
    """Return the instant of a Time's tag and content."""
    text = content.decode("ascii", errors="replace")
    if tag == der.UTC_TIME and _UTC_TIME.fullmatch(content):
        # RFC 5280 4.1.2.5.1: 50 to 99 are of the last century.
        text = ("19" if text[0] >= "5" else "20") + text
    elif tag != der.GENERALIZED_TIME or not _GENERALIZED_TIME.fullmatch(content):
        msg = f"{what}: is not a UTCTime or GeneralizedTime with seconds and Z"
        raise der.DerError(msg)
    year, month, day, hour, minute, second = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as exc:
        msg = f"{what}: {text!r} is not an instant"
        raise der.DerError(msg) from exc


# --- names and policies


def _name(name: x509.Name, what: str) -> str:
    for attribute in name:
        size = len(attribute.value)
        if attribute.oid == NameOID.COUNTRY_NAME and size != _COUNTRY_CHARS:
            msg = f"{what}: the country has {size} characters, two are needed"
            raise ValueError(msg)
        if attribute.oid == NameOID.COMMON_NAME and not 0 < size <= _COMMON_NAME_MAX_CHARS:
            msg = f"{what}: the common name has {size} characters, 1 to {_COMMON_NAME_MAX_CHARS} are allowed"
            raise ValueError(msg)
    return name.rfc4514_string()


def _only(known: Mapping[str, _Policy], policies: tuple[str, ...], what: str) -> _Policy | None:
    found = [known[oid] for oid in policies if oid in known]
    if len(found) > 1:
        raise _refused("certificatePolicies", f"names {len(found)} policies of kind {what}, at most one is allowed")
    return found[0] if found else None
