"""OCSP requests as bytes, and the CertID and extensions that answers share with them (RFC 6960, GB/T 19713). [d]

Strict DER, by hand. Nothing is judged here but form and size: what a responder says to a request is `zonegate.ca.ocsp`.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm3
from zonegate.pki.certificate import Certificate
from zonegate.pki.oids import OID_OCSP_NONCE, OID_SHA1, OID_SM3
from zonegate.reasons import Reason

REQUEST_LIMIT_BYTES = 1 << 13
REQUEST_LIMIT_CERTIFICATES = 32
# RFC 8954 2.1.
NONCE_MAX_BYTES = 32
_CERT_ID_LIMIT_BYTES = 160
_HASH_BYTES: Final = {OID_SHA1: 20, OID_SM3: 32}


@dataclass(frozen=True, slots=True)
class CertId:
    """Which certificate is asked about; `encoded` is what was sent, so that an answer can repeat it exactly."""

    algorithm: str
    name_hash: bytes
    key_hash: bytes
    serial: int
    encoded: bytes

    def names(self, issuer: Certificate) -> bool:
        """Whether both hashes are those of `issuer`."""
        return (self.name_hash, self.key_hash) == issuer_hashes(issuer, self.algorithm)


@dataclass(frozen=True, slots=True)
class OcspRequest:
    """A request: one or several certificates, perhaps a nonce."""

    cert_ids: tuple[CertId, ...]
    nonce: bytes | None


def digest(algorithm: str, content: bytes) -> bytes:
    """Return the digest of `content` under one of the two hashes of a CertID."""
    if algorithm == OID_SM3:
        return sm3.digest(content)
    if algorithm == OID_SHA1:
        # RFC 6960's CertID: an index, not a protection.
        return hashlib.sha1(content, usedforsecurity=False).digest()
    raise refused(f"hashAlgorithm: is {algorithm}, allowed are SM3 {OID_SM3} and SHA-1 {OID_SHA1}")


def issuer_hashes(issuer: Certificate, algorithm: str) -> tuple[bytes, bytes]:
    """Return issuerNameHash and issuerKeyHash."""
    return digest(algorithm, issuer.subject_der), digest(algorithm, issuer.public_key.point)


def responder_key_hash(certificate: Certificate) -> bytes:
    """Return the KeyHash of a ResponderID: SHA-1 of the key, as RFC 6960 4.2.1 fixes it."""
    return digest(OID_SHA1, certificate.public_key.point)


def make_cert_id(serial: int, issuer: Certificate, algorithm: str = OID_SM3) -> CertId:
    """Return the CertID of a certificate of `issuer`."""
    name_hash, key_hash = issuer_hashes(issuer, algorithm)
    encoded = der.sequence(
        der.sequence(der.oid(algorithm), der.NULL_TLV),
        der.octet_string(name_hash),
        der.octet_string(key_hash),
        der.integer(serial),
    )
    return CertId(algorithm, name_hash, key_hash, serial, encoded)


# --- requests


def encode_request(cert_ids: tuple[CertId, ...], nonce: bytes | None = None) -> bytes:
    """Return an OCSPRequest, unsigned."""
    wanted = der.sequence(*(der.sequence(cert_id.encoded) for cert_id in cert_ids))
    extensions = b"" if nonce is None else der.tlv(der.context(2), der.sequence(nonce_extension(nonce)))
    return der.sequence(der.sequence(wanted, extensions))


def parse_request(source: bytes) -> OcspRequest:
    """Return the request in `source`; `E_OCSP` names the field that is wrong.

    A request's own signature is not asked for and not looked at: whoever reaches the responder may ask.
    """
    if not 0 < len(source) <= REQUEST_LIMIT_BYTES:
        raise refused(f"request: is {len(source)} bytes, 1 to {REQUEST_LIMIT_BYTES} are allowed")
    try:
        return _read_request(source)
    except ValueError as exc:
        raise refused(f"request: {exc}") from exc


def _read_request(source: bytes) -> OcspRequest:
    outer = der.Reader(source)
    whole = outer.sequence("OCSPRequest")
    outer.end("OCSPRequest")
    body = whole.sequence("tbsRequest")
    if whole.peek() == der.context(0):
        _read_request_signature(whole.enter(der.context(0), "optionalSignature"))
    whole.end("OCSPRequest")
    if body.peek() == der.context(0):
        # v1 is the DEFAULT, so DER leaves it out; there is no other version.
        msg = "version: only v1, left out, is accepted"
        raise der.DerError(msg)
    if body.peek() == der.context(1):
        body.read(der.context(1), "requestorName")
    wanted = body.sequence("requestList")
    cert_ids: list[CertId] = []
    while not wanted.at_end():
        if len(cert_ids) == REQUEST_LIMIT_CERTIFICATES:
            msg = f"requestList: names more than {REQUEST_LIMIT_CERTIFICATES} certificates"
            raise der.DerError(msg)
        one = wanted.sequence("Request")
        cert_ids.append(read_cert_id(one))
        if one.peek() == der.context(0):
            read_extensions(one.enter(der.context(0), "singleRequestExtensions"), known=frozenset())
        one.end("Request")
    if not cert_ids:
        msg = "requestList: is empty"
        raise der.DerError(msg)
    nonce = None
    if body.peek() == der.context(2):
        found = read_extensions(body.enter(der.context(2), "requestExtensions"), known=frozenset({OID_OCSP_NONCE}))
        nonce = read_nonce(found.get(OID_OCSP_NONCE))
    body.end("tbsRequest")
    return OcspRequest(tuple(cert_ids), nonce)


def _read_request_signature(holder: der.Reader) -> None:
    signature = holder.sequence("Signature")
    holder.end("optionalSignature")
    signature.read(der.SEQUENCE, "signatureAlgorithm")
    signature.bit_string("signature")
    if signature.peek() == der.context(0):
        signature.read(der.context(0), "certs")
    signature.end("Signature")


def read_cert_id(reader: der.Reader) -> CertId:
    """Return the next CertID."""
    encoded = reader.tlv()
    if len(encoded) > _CERT_ID_LIMIT_BYTES:
        msg = f"CertID: is {len(encoded)} bytes, at most {_CERT_ID_LIMIT_BYTES} are allowed"
        raise der.DerError(msg)
    body = der.Reader(encoded).sequence("CertID")
    algorithm = body.sequence("hashAlgorithm")
    name = algorithm.oid("hashAlgorithm")
    if not algorithm.at_end() and algorithm.tlv() != der.NULL_TLV:
        msg = "hashAlgorithm: the parameters must be absent or NULL"
        raise der.DerError(msg)
    algorithm.end("hashAlgorithm")
    name_hash = body.read(der.OCTET_STRING, "issuerNameHash")
    key_hash = body.read(der.OCTET_STRING, "issuerKeyHash")
    serial = body.integer("serialNumber")
    body.end("CertID")
    size = _HASH_BYTES.get(name)
    if size is not None and (len(name_hash), len(key_hash)) != (size, size):
        msg = f"CertID: the hashes have {len(name_hash)} and {len(key_hash)} bytes, {size} are needed"
        raise der.DerError(msg)
    return CertId(name, name_hash, key_hash, serial, encoded)


def read_extensions(holder: der.Reader, *, known: frozenset[str]) -> dict[str, bytes]:
    """Return the values of the known extensions; an unknown one may stand there unless it is critical."""
    extensions = holder.sequence("extensions")
    holder.end("extensions")
    if extensions.at_end():
        msg = "extensions: are empty, they must then be absent"
        raise der.DerError(msg)
    found: dict[str, bytes] = {}
    seen: set[str] = set()
    while not extensions.at_end():
        extension = extensions.sequence("Extension")
        name = extension.oid("extnID")
        critical = extension.peek() == der.BOOLEAN
        if critical and extension.read(der.BOOLEAN, "critical") != b"\xff":
            msg = f"extension {name}: critical must be TRUE or absent"
            raise der.DerError(msg)
        value = extension.read(der.OCTET_STRING, "extnValue")
        extension.end("Extension")
        if name in seen:
            msg = f"extension {name}: stands there twice"
            raise der.DerError(msg)
        seen.add(name)
        if name in known:
            found[name] = value
        elif critical:
            msg = f"extension {name}: is critical and not understood here"
            raise der.DerError(msg)
    return found


def nonce_extension(nonce: bytes) -> bytes:
    """Return the Extension that carries a nonce."""
    return der.sequence(der.oid(OID_OCSP_NONCE), der.octet_string(der.octet_string(nonce)))


def read_nonce(value: bytes | None) -> bytes | None:
    """Return the nonce in the value of its extension, which may be absent."""
    if value is None:
        return None
    reader = der.Reader(value)
    nonce = reader.read(der.OCTET_STRING, "nonce")
    reader.end("nonce")
    if not 0 < len(nonce) <= NONCE_MAX_BYTES:
        msg = f"nonce: is {len(nonce)} bytes, 1 to {NONCE_MAX_BYTES} are allowed"
        raise der.DerError(msg)
    return nonce


def refused(detail: str) -> ZoneGateError:
    """Return the refusal of a message."""
    return ZoneGateError(Reason.E_OCSP, f"OCSP {detail}")
