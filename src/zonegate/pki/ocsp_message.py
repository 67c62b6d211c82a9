"""OCSP responses as bytes (RFC 6960, GB/T 19713): built and read in strict DER. [d]

By hand, because `hazmat.asn1` has no ENUMERATED and no IMPLICIT of any type (crypto-facts 3). Nothing is judged here
but form and size: who may answer and whether an answer counts is `ocsp`; what a responder says is `zonegate.ca.ocsp`.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import der
from zonegate.pki.certificate import Certificate, check_signature_algorithm, decode_time, load_certificate
from zonegate.pki.crl import REASON_CODES, Revocation, RevocationReason
from zonegate.pki.ocsp_request import (
    REQUEST_LIMIT_CERTIFICATES,
    CertId,
    nonce_extension,
    read_cert_id,
    read_extensions,
    read_nonce,
    refused,
)
from zonegate.pki.oids import OID_OCSP_BASIC, OID_OCSP_NONCE, OID_SM2_WITH_SM3

RESPONSE_LIMIT_BYTES = 1 << 16
_RESPONSE_LIMIT_CHAIN = 4
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


# --- responses


def encode_error(error: OcspError) -> bytes:
    """Return the response that only says why there is none."""
    return der.sequence(der.tlv(der.ENUMERATED, bytes((error,))))


def encode_answer_tbs(
    key_hash: bytes, produced_at: datetime, answers: tuple[SingleAnswer, ...], nonce: bytes | None = None
) -> bytes:
    """Return the ResponseData to be signed; the responder is named by its key."""
    extensions = b"" if nonce is None else der.tlv(der.context(1), der.sequence(nonce_extension(nonce)))
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
        raise refused(f"response: is {len(source)} bytes, 1 to {RESPONSE_LIMIT_BYTES} are allowed")
    try:
        return _read_response(source)
    except ValueError as exc:
        raise refused(f"response: {exc}") from exc
    except ZoneGateError as exc:
        # Certificates and the algorithm have reasons of their own; to the caller it is one unusable answer.
        raise refused(f"response: {exc.detail}") from exc


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
        found = read_extensions(body.enter(der.context(1), "responseExtensions"), known=frozenset({OID_OCSP_NONCE}))
        nonce = read_nonce(found.get(OID_OCSP_NONCE))
    body.end("ResponseData")
    return BasicAnswer(tbs, signature, name, key, produced_at, tuple(answers), nonce, certificates)


def _read_single(single: der.Reader) -> tuple[CertId, SingleAnswer]:
    cert_id = read_cert_id(single)
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
        read_extensions(single.enter(der.context(1), "singleExtensions"), known=frozenset())
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
