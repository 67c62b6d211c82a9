"""Who may ask the key centre, and whose answer counts (CA-09): signatures, parties, time [d].

Request and answer are signed with SM2 under the certificate id, each over a context of its own, so that neither can
stand for the other nor for a certificate. Whether a nonce was used before is the store's to say; whether the act is
allowed is `centre`'s. The octets are `messages`'.
"""

from datetime import datetime, timedelta
from typing import NoReturn

from zonegate.ca import asn1
from zonegate.ca.kmc.messages import (
    Answer,
    Key,
    Refused,
    Request,
    Revoke,
    Revoked,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from zonegate.errors import ZoneGateError
from zonegate.gm import der, enveloped, sm2, sm3
from zonegate.pki.certificate import Certificate, read_signed
from zonegate.reasons import Reason

# Far above what the two clocks of one net may differ and a slow disk takes.
TIME_WINDOW = timedelta(minutes=5)
# A restore request carries the approvals of several persons with their chains.
MESSAGE_MAX_BYTES = 512 * 1024
_REQUEST_CONTEXT = b"zonegate kmc request v1\x00"
_ANSWER_CONTEXT = b"zonegate kmc answer v1\x00"


def sign_request(request: Request, key: sm2.PrivateKey) -> bytes:
    """Return the signed message of `request`."""
    return _signed(encode_request(request), key, _REQUEST_CONTEXT)


def sign_answer(answer: Answer, key: sm2.PrivateKey) -> bytes:
    """Return the signed message of `answer`."""
    return _signed(encode_answer(answer), key, _ANSWER_CONTEXT)


def _signed(body: bytes, key: sm2.PrivateKey, context: bytes) -> bytes:
    return asn1.encode_signed(body, key.sign(context + body, signer_id=sm2.CERT_ID))


def read_request(message: bytes) -> tuple[Request, bytes, bytes]:
    """Return the request, what was signed and the signature; nothing is verified. `E_DER` for its form."""
    body, signature = _split(message, "request")
    return decode_request(body), body, signature


def check_request(
    request: Request, body: bytes, signature: bytes, *, caller: Certificate, kmc: str, now: datetime
) -> None:
    """Refuse a request that `caller` has not signed for this centre within the time window."""
    if request.kmc != kmc:
        _refuse(f"kmName: is {request.kmc}, this centre is {kmc}")
    if str(caller.identity) != request.ca:
        _refuse(f"caName: is {request.ca}, the certificate is {caller.identity}'s")
    _check_valid(caller, now)
    try:
        caller.public_key.verify(signature, _REQUEST_CONTEXT + body, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        raise ZoneGateError(Reason.E_KMC_REQUEST, f"signature: {request.ca} has not signed this request") from exc
    check_time(request.at, now=now)


def check_time(at: datetime, *, now: datetime) -> None:
    """Refuse, with E_KMC_REPLAY, a message whose time is out of the window on either side."""
    if abs(now - at) > TIME_WINDOW:
        detail = f"time: is {at.isoformat()}, here it is {now.isoformat()}; at most {TIME_WINDOW} apart are allowed"
        raise ZoneGateError(Reason.E_KMC_REPLAY, detail)


def read_answer(
    message: bytes, *, request: Request, request_message: bytes, centre: Certificate, now: datetime
) -> Key | Revoked:
    """Return the outcome of the answer to `request`; every doubt about it is E_KMC, a refusal its own reason."""
    try:
        body, signature = _split(message, "answer")
        answer = decode_answer(body)
        _check_valid(centre, now)
        centre.public_key.verify(signature, _ANSWER_CONTEXT + body, signer_id=sm2.CERT_ID)
        check_time(answer.at, now=now)
    except ZoneGateError as exc:
        raise ZoneGateError(Reason.E_KMC, f"answer of the key centre: {exc.detail}") from exc
    wanted = (str(centre.identity), request.ca, request.task, request.nonce, sm3.digest(request_message))
    if (answer.kmc, answer.ca, answer.task, answer.nonce, answer.request_digest) != wanted or request.kmc != answer.kmc:
        raise ZoneGateError(Reason.E_KMC, "answer of the key centre: is not the answer to this request")
    outcome = answer.outcome
    if isinstance(outcome, Refused):
        raise ZoneGateError(outcome.reason, f"key centre: {outcome.detail}")
    if outcome.serial != request.body.serial or isinstance(outcome, Revoked) != isinstance(request.body, Revoke):
        raise ZoneGateError(Reason.E_KMC, "answer of the key centre: answers something else than was asked")
    if isinstance(outcome, Key) and enveloped.decode(outcome.envelope).public_key != outcome.public_key:
        raise ZoneGateError(Reason.E_KMC, "answer of the key centre: the envelope holds another key than it names")
    return outcome


def _check_valid(certificate: Certificate, now: datetime) -> None:
    if not certificate.not_before <= now <= certificate.not_after:
        _refuse(f"certificate: {certificate.identity} is outside its validity")
    if "digitalSignature" not in certificate.key_usage or certificate.is_ca:
        _refuse(f"certificate: {certificate.identity} does not sign (keyUsage)")


def _refuse(detail: str) -> NoReturn:
    raise ZoneGateError(Reason.E_KMC_REQUEST, detail)


def _split(message: bytes, what: str) -> tuple[bytes, bytes]:
    if not 0 < len(message) <= MESSAGE_MAX_BYTES:
        raise ZoneGateError(Reason.E_DER, f"{what}: is {len(message)} bytes, 1 to {MESSAGE_MAX_BYTES} are allowed")
    try:
        body, signature = read_signed(message, what)
    except der.DerError as exc:
        raise ZoneGateError(Reason.E_DER, f"{what}: {exc}") from exc
    return body, signature
