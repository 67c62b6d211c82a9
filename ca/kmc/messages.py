"""What CA and key centre say to each other (CA-09), after the shapes of GM/T 0014: values and strict DER [d].

A request applies for, restores or revokes ONE encryption key; both messages name both parties, the time, a task number
and a nonce, and an answer the digest of its request. Signing and checking is `protocol`'s. The 2012 edition's text was
not at hand: the shapes are those of its request and respond lists, not claimed to be its octets.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from zonegate.errors import ZoneGateError
from zonegate.gm import der, enveloped, sm2, sm3
from zonegate.identity import Identity, parse_identity
from zonegate.pki.certificate import Certificate, load_certificate, read_time
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

VERSION = 1
NONCE_BYTES = 16
STATEMENTS_MAX = 8
_TASK_MAX = (1 << 63) - 1
_TEXT_MAX_CHARS = 500
_SERIAL_MAX_BITS = 159


class Purpose(StrEnum):
    """Whom a restored key goes to (CA-08)."""

    USER = "user"
    JUDICIAL = "judicial"


@dataclass(frozen=True, slots=True)
class Apply:
    """Give a new key pair for the encryption certificate `serial` of `holder`, enveloped for `recipient`."""

    serial: int
    profile: Profile
    holder: Identity
    recipient: sm2.PublicKey


@dataclass(frozen=True, slots=True)
class Restore:
    """Give the key of `serial` once more, enveloped for the key of `recipient`; `order` says who wants it why."""

    serial: int
    purpose: Purpose
    recipient: Certificate
    order: bytes
    statements: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Revoke:
    """The certificate of `serial` was revoked, replaced or never made: the key goes to history."""

    serial: int
    reason: str


Body = Apply | Restore | Revoke


@dataclass(frozen=True, slots=True)
class Request:
    """What a CA asks of a centre, once."""

    ca: str
    kmc: str
    at: datetime
    task: int
    nonce: bytes
    body: Body


@dataclass(frozen=True, slots=True)
class Key:
    """Answer to apply and restore: the public half, and the pair as SM2EnvelopedKey."""

    serial: int
    public_key: sm2.PublicKey
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Revoked:
    """Answer to revoke."""

    serial: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The error package: number, name of the reason and the sentence."""

    number: int
    reason: Reason
    detail: str


Outcome = Key | Revoked | Refused


@dataclass(frozen=True, slots=True)
class Answer:
    """What the centre says to the request whose SM3 digest is `request_digest`."""

    kmc: str
    ca: str
    at: datetime
    task: int
    nonce: bytes
    request_digest: bytes
    outcome: Outcome


# The error codes on the wire; a reason that is not here travels as OTHER beside its name.
ERROR_NUMBERS = {
    Reason.E_KMC_REQUEST: 1,
    Reason.E_KMC_REPLAY: 2,
    Reason.E_KMC_SEALED: 3,
    Reason.E_DER: 4,
    Reason.E_DUPLICATE_KEY: 5,
    Reason.E_NOT_ESCROWED: 6,
    Reason.E_KEY_STATE: 7,
    Reason.E_RECOVERY: 8,
    Reason.E_KEY: 9,
    Reason.E_LEDGER: 10,
}
OTHER_ERROR = 99


def refusal(error: ZoneGateError) -> Refused:
    """Return the error package of a refusal; an internal failure is told without its detail."""
    if error.reason is Reason.E_INTERNAL:
        return Refused(OTHER_ERROR, Reason.E_KMC, "the centre has failed; its audit says how")
    shown = "".join(char if char.isprintable() else " " for char in error.detail[:_TEXT_MAX_CHARS])
    return Refused(ERROR_NUMBERS.get(error.reason, OTHER_ERROR), error.reason, shown or error.reason.value)


# --- codec

_APPLY, _RESTORE, _REVOKE = der.context(0), der.context(1), der.context(2)
_KEY, _REVOKED, _REFUSED = der.context(0), der.context(2), der.context(3)


def encode_request(request: Request) -> bytes:
    """Return the DER of the part that is signed."""
    return der.sequence(
        der.integer(VERSION),
        _text(request.ca),
        _text(request.kmc),
        _time(request.at),
        der.integer(request.task),
        der.octet_string(request.nonce),
        _encode_body(request.body),
    )


def _encode_body(body: Body) -> bytes:
    serial = der.integer(body.serial)
    if isinstance(body, Apply):
        return der.tlv(_APPLY, serial + _text(body.profile.value) + _text(str(body.holder)) + body.recipient.spki)
    if isinstance(body, Restore):
        statements = der.sequence(*(der.octet_string(item) for item in body.statements))
        content = _text(body.purpose.value) + body.recipient.der + der.octet_string(body.order) + statements
        return der.tlv(_RESTORE, serial + content)
    return der.tlv(_REVOKE, serial + _text(body.reason))


def decode_request(source: bytes) -> Request:
    """Return the request in the signed part; `E_DER` if it is not strict DER of one."""
    return _whole(source, "KSRequest", _read_request)


def _read_request(body: der.Reader) -> Request:
    _version(body)
    ca, kmc = _read_party(body, "caName"), _read_party(body, "kmName")
    at, task, nonce = _read_time(body, "requestTime"), _read_task(body), _read_nonce(body)
    tag = body.peek()
    if tag not in (_APPLY, _RESTORE, _REVOKE):
        msg = "request: is none of applyKeyReq [0], restoreKeyReq [1], revokeKeyReq [2]"
        raise der.DerError(msg)
    inside = body.enter(tag, "request")
    serial = _read_serial(inside)
    reader = {_APPLY: _read_apply, _RESTORE: _read_restore, _REVOKE: _read_revoke}[tag]
    asked = reader(inside, serial)
    inside.end("request")
    return Request(ca, kmc, at, task, nonce, asked)


def _read_apply(inside: der.Reader, serial: int) -> Body:
    profile = _member(Profile, _read_text(inside, "profile"), "profile")
    holder = parse_identity(_read_text(inside, "userName"))
    return Apply(serial, profile, holder, sm2.PublicKey.from_spki(inside.tlv()))


def _read_restore(inside: der.Reader, serial: int) -> Body:
    purpose = _member(Purpose, _read_text(inside, "purpose"), "purpose")
    recipient = load_certificate(inside.tlv())
    order = inside.read(der.OCTET_STRING, "order")
    holder = inside.sequence("statements")
    statements: list[bytes] = []
    while not holder.at_end():
        if len(statements) == STATEMENTS_MAX:
            msg = f"statements: are more than {STATEMENTS_MAX}"
            raise der.DerError(msg)
        statements.append(holder.read(der.OCTET_STRING, "statement"))
    return Restore(serial, purpose, recipient, order, tuple(statements))


def _read_revoke(inside: der.Reader, serial: int) -> Body:
    return Revoke(serial, _read_text(inside, "reason"))


def encode_answer(answer: Answer) -> bytes:
    """Return the DER of the part that is signed."""
    return der.sequence(
        der.integer(VERSION),
        _text(answer.kmc),
        _text(answer.ca),
        _time(answer.at),
        der.integer(answer.task),
        der.octet_string(answer.nonce),
        der.octet_string(answer.request_digest),
        _encode_outcome(answer.outcome),
    )


def _encode_outcome(outcome: Outcome) -> bytes:
    if isinstance(outcome, Key):
        return der.tlv(_KEY, der.integer(outcome.serial) + outcome.public_key.spki + outcome.envelope)
    if isinstance(outcome, Revoked):
        return der.tlv(_REVOKED, der.integer(outcome.serial))
    return der.tlv(_REFUSED, der.integer(outcome.number) + _text(outcome.reason.value) + _text(outcome.detail))


def decode_answer(source: bytes) -> Answer:
    """Return the answer in the signed part; `E_DER` if it is not strict DER of one."""
    return _whole(source, "KSRespond", _read_answer)


def _read_answer(body: der.Reader) -> Answer:
    _version(body)
    kmc, ca = _read_party(body, "kmName"), _read_party(body, "caName")
    at, task, nonce = _read_time(body, "respondTime"), _read_task(body), _read_nonce(body)
    digest = body.read(der.OCTET_STRING, "requestDigest")
    if len(digest) != sm3.DIGEST_BYTES:
        msg = f"requestDigest: is {len(digest)} bytes, must be {sm3.DIGEST_BYTES}"
        raise der.DerError(msg)
    tag = body.peek()
    if tag not in (_KEY, _REVOKED, _REFUSED):
        msg = "respond: is none of retKey [0], revoked [2], error [3]"
        raise der.DerError(msg)
    inside = body.enter(tag, "respond")
    outcome: Outcome
    if tag == _KEY:
        serial, public_key, envelope = _read_serial(inside), sm2.PublicKey.from_spki(inside.tlv()), inside.tlv()
        enveloped.decode(envelope)
        outcome = Key(serial, public_key, envelope)
    elif tag == _REVOKED:
        outcome = Revoked(_read_serial(inside))
    else:
        number, name = inside.integer("errNo"), _read_text(inside, "reason")
        # A later version's reason is a failure of the centre to this one.
        reason = Reason(name) if name in set(Reason) and name != Reason.OK else Reason.E_KMC
        outcome = Refused(number, reason, _read_text(inside, "errDesc"))
    inside.end("respond")
    return Answer(kmc, ca, at, task, nonce, digest, outcome)


_Message = TypeVar("_Message", Request, Answer)
_Member = TypeVar("_Member", Profile, Purpose)


def _whole(source: bytes, what: str, read: Callable[[der.Reader], _Message]) -> _Message:
    try:
        outer = der.Reader(source)
        body = outer.sequence(what)
        outer.end(what)
        message = read(body)
        body.end(what)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_DER, f"{what}: {exc}") from exc
    return message


def _version(body: der.Reader) -> None:
    if body.integer("version") != VERSION:
        msg = f"version: must be {VERSION}"
        raise der.DerError(msg)


def _read_party(body: der.Reader, what: str) -> str:
    return str(parse_identity(_read_text(body, what)))


def _read_task(body: der.Reader) -> int:
    task = body.integer("taskNO")
    if task > _TASK_MAX:
        msg = "taskNO: is longer than 63 bits"
        raise der.DerError(msg)
    return task


def _read_nonce(body: der.Reader) -> bytes:
    nonce = body.read(der.OCTET_STRING, "nonce")
    if len(nonce) != NONCE_BYTES:
        msg = f"nonce: is {len(nonce)} bytes, must be {NONCE_BYTES}"
        raise der.DerError(msg)
    return nonce


def _read_serial(inside: der.Reader) -> int:
    serial = inside.integer("userCertNo")
    if serial == 0 or serial.bit_length() > _SERIAL_MAX_BITS:
        msg = "userCertNo: is not the serial number of a certificate"
        raise der.DerError(msg)
    return serial


def _member(kind: type[_Member], value: str, what: str) -> _Member:
    try:
        return kind(value)
    except ValueError as exc:
        msg = f"{what}: is {value[:24]!r}, allowed are {', '.join(kind)}"
        raise der.DerError(msg) from exc


def _text(text: str) -> bytes:
    return der.tlv(der.UTF8_STRING, text.encode())


def _read_text(reader: der.Reader, what: str) -> str:
    content = reader.read(der.UTF8_STRING, what)
    text = content.decode()
    if not 0 < len(text) <= _TEXT_MAX_CHARS or not text.isprintable():
        msg = f"{what}: must be 1 to {_TEXT_MAX_CHARS} visible characters"
        raise der.DerError(msg)
    return text


def _time(when: datetime) -> bytes:
    return der.tlv(der.GENERALIZED_TIME, when.astimezone(UTC).strftime("%Y%m%d%H%M%SZ").encode())


def _read_time(reader: der.Reader, what: str) -> datetime:
    if reader.peek() != der.GENERALIZED_TIME:
        msg = f"{what}: is not a GeneralizedTime"
        raise der.DerError(msg)
    return read_time(reader, what)
