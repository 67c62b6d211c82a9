"""OCSP requests and responses as bytes (RFC 6960, GB/T 19713): built and read in strict DER. [d]

By hand, because `hazmat.asn1` has no ENUMERATED and no IMPLICIT of any type (crypto-facts 3). Nothing is judged here
but form and size: who may answer and whether an answer counts is `ocsp`; what a responder says is `zonegate.ca.ocsp`.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm3
from zonegate.pki.certificate import Certificate, check_signature_algorithm, decode_time, load_certificate
from zonegate.pki.crl import REASON_CODES, Revocation, RevocationReason
from zonegate.pki.oids import OID_OCSP_BASIC, OID_OCSP_NONCE, OID_SHA1, OID_SM2_WITH_SM3, OID_SM3
from zonegate.reasons import Reason

REQUEST_LIMIT_BYTES = 1 << 13
RESPONSE_LIMIT_BYTES = 1 << 16
REQUEST_LIMIT_CERTIFICATES = 32
# RFC 8954 2.1.
NONCE_MAX_BYTES = 32
_CERT_ID_LIMIT_BYTES = 160
_RESPONSE_LIMIT_CHAIN = 4
_HASH_BYTES: Final = {OID_SHA1: 20, OID_SM3: 32}
_REASON_NUMBERS: Final = {reason: number for number, reason in REASON_CODES.items()}


class OcspError(IntEnum):
    """OCSPResponseStatus of RFC 6960 4.2.1; 0 is "successful", which is not an error."""

    MALFORMED_REQUEST = 1
    INTERNAL_ERROR = 2
    TRY_LATER = 3
    SIG_REQUIRED = 5
    UNAUTHORIZED = 6


class CertState(StrEnum):
    """CertStatus."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"


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


@dataclass(frozen=True, slots=True)
class SingleAnswer:
    """What a responder says of one certificate; `cert_id` is the DER of its CertID."""

    cert_id: bytes
    state: CertState
    revocation: Revocation | None
    this_update: datetime
    next_update: datetime


@dataclass(frozen=True, slots=True)
class BasicAnswer:
    """A successful response. Unverified: `ocsp.check_ocsp` judges it."""

    tbs: bytes
    signature: bytes
    responder_name: bytes | None
    responder_key: bytes | None
    produced_at: datetime
    answers: tuple[tuple[CertId, SingleAnswer], ...]
    nonce: bytes | None
    certificates: tuple[Certificate, ...]


def digest(algorithm: str, content: bytes) -> bytes:
    """Return the digest of `content` under one of the two hashes of a CertID."""
    if algorithm == OID_SM3:
        return sm3.digest(content)
    if algorithm == OID_SHA1:
        # RFC 6960's CertID: an index, not a protection.
        return hashlib.sha1(content, usedforsecurity=False).digest()
    raise _refused(f"hashAlgorithm: is {algorithm}, allowed are SM3 {OID_SM3} and SHA-1 {OID_SHA1}")


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
    extensions = b"" if nonce is None else der.tlv(der.context(2), der.sequence(_nonce_extension(nonce)))
    return der.sequence(der.sequence(wanted, extensions))


def parse_request(source: bytes) -> OcspRequest:
    """Return the request in `source`; `E_OCSP` names the field that is wrong.

    A request's own signature is not asked for and not looked at: whoever reaches the responder may ask.
    """
    if not 0 < len(source) <= REQUEST_LIMIT_BYTES:
        raise _refused(f"request: is {len(source)} bytes, 1 to {REQUEST_LIMIT_BYTES} are allowed")
    try:
        return _read_request(source)
    except ValueError as exc:
        raise _refused(f"request: {exc}") from exc


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
        cert_ids.append(_read_cert_id(one))
        if one.peek() == der.context(0):
            _read_extensions(one.enter(der.context(0), "singleRequestExtensions"), known=frozenset())
        one.end("Request")
    if not cert_ids:
        msg = "requestList: is empty"
        raise der.DerError(msg)
    nonce = None
    if body.peek() == der.context(2):
        found = _read_extensions(body.enter(der.context(2), "requestExtensions"), known=frozenset({OID_OCSP_NONCE}))
        nonce = _read_nonce(found.get(OID_OCSP_NONCE))
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


def _read_cert_id(reader: der.Reader) -> CertId:
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


def _read_extensions(holder: der.Reader, *, known: frozenset[str]) -> dict[str, bytes]:
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


def _nonce_extension(nonce: bytes) -> bytes:
    return der.sequence(der.oid(OID_OCSP_NONCE), der.octet_string(der.octet_string(nonce)))


def _read_nonce(value: bytes | None) -> bytes | None:
    if value is None:
        return None
    reader = der.Reader(value)
    nonce = reader.read(der.OCTET_STRING, "nonce")
    reader.end("nonce")
    if not 0 < len(nonce) <= NONCE_MAX_BYTES:
        msg = f"nonce: is {len(nonce)} bytes, 1 to {NONCE_MAX_BYTES} are allowed"
        raise der.DerError(msg)
    return nonce


# --- responses


def encode_error(error: OcspError) -> bytes:
    """Return the response that only says why there is none."""
    return der.sequence(der.tlv(der.ENUMERATED, bytes((error,))))


def encode_answer_tbs(
    key_hash: bytes, produced_at: datetime, answers: tuple[SingleAnswer, ...], nonce: bytes | None = None
) -> bytes:
    """Return the ResponseData to be signed; the responder is named by its key."""
    extensions = b"" if nonce is None else der.tlv(der.context(1), der.sequence(_nonce_extension(nonce)))
    return der.sequence(
        der.tlv(der.context(2), der.octet_string(key_hash)),
        _time(produced_at),
        der.sequence(*(_encode_single(answer) for answer in answers)),
        extensions,
    )


def encode_response(tbs: bytes, signature: bytes, certificates: tuple[Certificate, ...]) -> bytes:
    """Return the whole successful response with the signer's certificate(s)."""
    chain = b""
    if certificates:
        chain = der.tlv(der.context(0), der.sequence(*(certificate.der for certificate in certificates)))
    basic = der.sequence(tbs, der.sequence(der.oid(OID_SM2_WITH_SM3)), der.bit_string(signature), chain)
    return der.sequence(
        der.tlv(der.ENUMERATED, b"\x00"),
        der.tlv(der.context(0), der.sequence(der.oid(OID_OCSP_BASIC), der.octet_string(basic))),
    )


def _encode_single(answer: SingleAnswer) -> bytes:
    return der.sequence(
        answer.cert_id,
        _encode_state(answer),
        _time(answer.this_update),
        der.tlv(der.context(0), _time(answer.next_update)),
    )


def _encode_state(answer: SingleAnswer) -> bytes:
    if answer.state is CertState.GOOD:
        return der.tlv(der.context_primitive(0), b"")
    if answer.state is CertState.UNKNOWN or answer.revocation is None:
        return der.tlv(der.context_primitive(2), b"")
    reason = answer.revocation.reason
    # As in lists: an unspecified reason is said by saying none.
    said = b""
    if reason is not RevocationReason.UNSPECIFIED:
        said = der.tlv(der.context(0), der.tlv(der.ENUMERATED, bytes((_REASON_NUMBERS[reason],))))
    return der.tlv(der.context(1), _time(answer.revocation.at) + said)


def _time(when: datetime) -> bytes:
    return der.tlv(der.GENERALIZED_TIME, when.strftime("%Y%m%d%H%M%SZ").encode())


def parse_response(source: bytes) -> BasicAnswer:
    """Return the successful response in `source`; `E_OCSP` says which error it is instead, or what is wrong."""
    if not 0 < len(source) <= RESPONSE_LIMIT_BYTES:
        raise _refused(f"response: is {len(source)} bytes, 1 to {RESPONSE_LIMIT_BYTES} are allowed")
    try:
        return _read_response(source)
    except ValueError as exc:
        raise _refused(f"response: {exc}") from exc
    except ZoneGateError as exc:
        # Certificates and the algorithm have reasons of their own; to the caller it is one unusable answer.
        raise _refused(f"response: {exc.detail}") from exc


def _read_response(source: bytes) -> BasicAnswer:
    outer = der.Reader(source)
    whole = outer.sequence("OCSPResponse")
    outer.end("OCSPResponse")
    status = whole.read(der.ENUMERATED, "responseStatus")
    if status != b"\x00":
        known = len(status) == 1 and status[0] in tuple(OcspError)
        whole.end("OCSPResponse")
        msg = f"responseStatus: the responder refuses: {OcspError(status[0]).name if known else status.hex()[:8]}"
        raise der.DerError(msg)
    holder = whole.enter(der.context(0), "responseBytes")
    whole.end("OCSPResponse")
    kind = holder.sequence("responseBytes")
    holder.end("responseBytes")
    if (found := kind.oid("responseType")) != OID_OCSP_BASIC:
        msg = f"responseType: is {found}, only id-pkix-ocsp-basic is accepted"
        raise der.DerError(msg)
    inner = der.Reader(kind.read(der.OCTET_STRING, "response"))
    kind.end("responseBytes")
    basic = inner.sequence("BasicOCSPResponse")
    inner.end("BasicOCSPResponse")
    tbs = basic.tlv()
    check_signature_algorithm(basic.tlv(), "BasicOCSPResponse.signatureAlgorithm")
    signature = basic.bit_string("signature")
    certificates: list[Certificate] = []
    if basic.peek() == der.context(0):
        holder = basic.enter(der.context(0), "certs")
        chain = holder.sequence("certs")
        holder.end("certs")
        while not chain.at_end():
            if len(certificates) == _RESPONSE_LIMIT_CHAIN:
                msg = f"certs: holds more than {_RESPONSE_LIMIT_CHAIN} certificates"
                raise der.DerError(msg)
            certificates.append(load_certificate(chain.tlv()))
    basic.end("BasicOCSPResponse")
    return _read_answer(tbs, signature, tuple(certificates))


def _read_answer(tbs: bytes, signature: bytes, certificates: tuple[Certificate, ...]) -> BasicAnswer:
    body = der.Reader(tbs).sequence("ResponseData")
    if body.peek() == der.context(0):
        msg = "version: only v1, left out, is accepted"
        raise der.DerError(msg)
    name: bytes | None = None
    key: bytes | None = None
    if body.peek() == der.context(1):
        holder = body.enter(der.context(1), "byName")
        name = holder.tlv()
        holder.end("byName")
    else:
        holder = body.enter(der.context(2), "byKey")
        key = holder.read(der.OCTET_STRING, "byKey")
        holder.end("byKey")
    produced_at = _read_time(body, "producedAt")
    singles = body.sequence("responses")
    answers: list[tuple[CertId, SingleAnswer]] = []
    while not singles.at_end():
        if len(answers) == REQUEST_LIMIT_CERTIFICATES:
            msg = f"responses: hold more than {REQUEST_LIMIT_CERTIFICATES} answers"
            raise der.DerError(msg)
        answers.append(_read_single(singles.sequence("SingleResponse")))
    nonce = None
    if body.peek() == der.context(1):
        found = _read_extensions(body.enter(der.context(1), "responseExtensions"), known=frozenset({OID_OCSP_NONCE}))
        nonce = _read_nonce(found.get(OID_OCSP_NONCE))
    body.end("ResponseData")
    return BasicAnswer(tbs, signature, name, key, produced_at, tuple(answers), nonce, certificates)


def _read_single(single: der.Reader) -> tuple[CertId, SingleAnswer]:
    cert_id = _read_cert_id(single)
    state, revocation = _read_state(single)
    this_update = _read_time(single, "thisUpdate")
    # RFC 6960 lets it be absent ("newer status is always available"); then nothing bounds a replay, so we refuse.
    if single.peek() != der.context(0):
        msg = "nextUpdate: is missing"
        raise der.DerError(msg)
    holder = single.enter(der.context(0), "nextUpdate")
    next_update = _read_time(holder, "nextUpdate")
    holder.end("nextUpdate")
    if this_update >= next_update:
        msg = "nextUpdate: is not after thisUpdate"
        raise der.DerError(msg)
    if single.peek() == der.context(1):
        _read_extensions(single.enter(der.context(1), "singleExtensions"), known=frozenset())
    single.end("SingleResponse")
    return cert_id, SingleAnswer(cert_id.encoded, state, revocation, this_update, next_update)


def _read_state(single: der.Reader) -> tuple[CertState, Revocation | None]:
    tag = single.peek()
    if tag == der.context(1):
        body = single.enter(der.context(1), "revoked")
        at = _read_time(body, "revocationTime")
        reason = RevocationReason.UNSPECIFIED
        if not body.at_end():
            holder = body.enter(der.context(0), "revocationReason")
            code = holder.read(der.ENUMERATED, "revocationReason")
            holder.end("revocationReason")
            if len(code) != 1 or code[0] not in REASON_CODES:
                msg = "revocationReason: is not a reason of RFC 5280"
                raise der.DerError(msg)
            reason = REASON_CODES[code[0]]
        body.end("revoked")
        return CertState.REVOKED, Revocation(reason, at)
    if tag not in (der.context_primitive(0), der.context_primitive(2)):
        msg = "certStatus: is none of good, revoked and unknown"
        raise der.DerError(msg)
    if single.element()[1]:
        msg = "certStatus: good and unknown are empty"
        raise der.DerError(msg)
    return (CertState.GOOD if tag == der.context_primitive(0) else CertState.UNKNOWN), None


def _read_time(reader: der.Reader, what: str) -> datetime:
    return decode_time(der.GENERALIZED_TIME, reader.read(der.GENERALIZED_TIME, what), what)


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_OCSP, f"OCSP {detail}")
