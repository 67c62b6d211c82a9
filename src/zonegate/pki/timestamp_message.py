"""Time stamp requests, replies and TSTInfo as bytes (RFC 3161, GM/T 0033, C3.7): built and read in strict DER. [d]

The imprint is SM3. Nothing is judged here but form: what a TSA refuses is `zonegate.ca.tsa`, whether a token holds is
`timestamp`.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import der
from zonegate.pki.oids import OID_SM3
from zonegate.reasons import Reason

REQUEST_LIMIT_BYTES = 1 << 12
REPLY_LIMIT_BYTES = 1 << 17
IMPRINT_BYTES = 32
# 64 bits are the custom, RFC 3161 names no bound; a serial has at most 160 bits.
INTEGER_MAX_BITS = 160
_GRANTED = (0, 1)
_TIME: Final = re.compile(r"[0-9]{14}(\.[0-9]{0,5}[1-9])?Z")


class Failure(IntEnum):
    """PKIFailureInfo of RFC 3161 2.4.2: numbers of bits."""

    BAD_ALG = 0
    BAD_REQUEST = 2
    BAD_DATA_FORMAT = 5
    TIME_NOT_AVAILABLE = 14
    UNACCEPTED_POLICY = 15
    UNACCEPTED_EXTENSION = 16
    ADD_INFO_NOT_AVAILABLE = 17
    SYSTEM_FAILURE = 25


@dataclass(frozen=True, slots=True)
class TimeStampRequest:
    """A request as it came: whether its algorithm, policy and extensions are acceptable is judged elsewhere."""

    version: int
    algorithm: str
    imprint: bytes
    policy: str | None
    nonce: int | None
    with_certificate: bool
    extensions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TstInfo:
    """What a token says."""

    policy: str
    imprint: bytes
    serial: int
    gen_time: datetime
    accuracy: timedelta
    ordering: bool
    nonce: int | None


# --- requests


def encode_request(imprint: bytes, *, policy: str | None = None, nonce: int | None = None) -> bytes:
    """Return a TimeStampReq over an SM3 digest; it asks for the TSA's certificates."""
    return der.sequence(
        der.integer(1),
        _imprint(imprint),
        b"" if policy is None else der.oid(policy),
        b"" if nonce is None else der.integer(nonce),
        der.tlv(der.BOOLEAN, b"\xff"),
    )


def parse_request(source: bytes) -> TimeStampRequest:
    """Return the request in `source`; `E_TIMESTAMP` names the field that is wrong."""
    if not 0 < len(source) <= REQUEST_LIMIT_BYTES:
        raise _refused(f"request: is {len(source)} bytes, 1 to {REQUEST_LIMIT_BYTES} are allowed")
    try:
        return _read_request(source)
    except ValueError as exc:
        raise _refused(f"request: {exc}") from exc


def _read_request(source: bytes) -> TimeStampRequest:
    outer = der.Reader(source)
    body = outer.sequence("TimeStampReq")
    outer.end("TimeStampReq")
    version = body.integer("version")
    algorithm, imprint = _read_imprint(body)
    policy = body.oid("reqPolicy") if body.peek() == der.OID else None
    nonce = _bounded(body, "nonce") if body.peek() == der.INTEGER else None
    with_certificate = False
    if body.peek() == der.BOOLEAN:
        # FALSE is the default, so DER leaves it out.
        if body.read(der.BOOLEAN, "certReq") != b"\xff":
            msg = "certReq: must be TRUE or absent"
            raise der.DerError(msg)
        with_certificate = True
    extensions: list[str] = []
    if body.peek() == der.context(0):
        found = body.enter(der.context(0), "extensions")
        if found.at_end():
            msg = "extensions: are empty, they must then be absent"
            raise der.DerError(msg)
        while not found.at_end():
            extensions.append(found.sequence("Extension").oid("extnID"))
    body.end("TimeStampReq")
    return TimeStampRequest(version, algorithm, imprint, policy, nonce, with_certificate, tuple(extensions))


def _imprint(digest: bytes) -> bytes:
    return der.sequence(der.sequence(der.oid(OID_SM3)), der.octet_string(digest))


def _read_imprint(body: der.Reader) -> tuple[str, bytes]:
    imprint = body.sequence("messageImprint")
    algorithm = imprint.sequence("hashAlgorithm")
    name = algorithm.oid("hashAlgorithm")
    if not algorithm.at_end() and algorithm.tlv() != der.NULL_TLV:
        msg = "hashAlgorithm: the parameters must be absent or NULL"
        raise der.DerError(msg)
    algorithm.end("hashAlgorithm")
    digest = imprint.read(der.OCTET_STRING, "hashedMessage")
    imprint.end("messageImprint")
    return name, digest


def _bounded(body: der.Reader, what: str) -> int:
    value = body.integer(what)
    if value.bit_length() > INTEGER_MAX_BITS:
        msg = f"{what}: has {value.bit_length()} bits, at most {INTEGER_MAX_BITS} are allowed"
        raise der.DerError(msg)
    return value


# --- TSTInfo


def encode_tst_info(info: TstInfo) -> bytes:
    """Return the DER of a TSTInfo; `tsa` is left out, the signer's certificate names it."""
    return der.sequence(
        der.integer(1),
        der.oid(info.policy),
        _imprint(info.imprint),
        der.integer(info.serial),
        der.tlv(der.GENERALIZED_TIME, _time_text(info.gen_time).encode()),
        _accuracy(info.accuracy),
        der.tlv(der.BOOLEAN, b"\xff") if info.ordering else b"",
        b"" if info.nonce is None else der.integer(info.nonce),
    )


def _time_text(when: datetime) -> str:
    # RFC 3161 2.4.2: a fraction without trailing zeros, or none at all.
    fraction = f".{when.microsecond:06d}".rstrip("0") if when.microsecond else ""
    return f"{when:%Y%m%d%H%M%S}{fraction}Z"


def _accuracy(accuracy: timedelta) -> bytes:
    seconds, micros = accuracy.days * 86400 + accuracy.seconds, accuracy.microseconds % 1000
    millis = accuracy.microseconds // 1000
    return der.sequence(
        der.integer(seconds) if seconds else b"",
        der.tlv(der.context_primitive(0), der.integer(millis)[2:]) if millis else b"",
        der.tlv(der.context_primitive(1), der.integer(micros)[2:]) if micros else b"",
    )


def parse_tst_info(source: bytes) -> TstInfo:
    """Return the TSTInfo in `source`; `E_TIMESTAMP` names the field that is wrong."""
    try:
        return _read_tst_info(source)
    except ValueError as exc:
        raise _refused(f"TSTInfo: {exc}") from exc


def _read_tst_info(source: bytes) -> TstInfo:
    outer = der.Reader(source)
    body = outer.sequence("TSTInfo")
    outer.end("TSTInfo")
    if body.integer("version") != 1:
        msg = "version: must be 1"
        raise der.DerError(msg)
    policy = body.oid("policy")
    algorithm, imprint = _read_imprint(body)
    if algorithm != OID_SM3 or len(imprint) != IMPRINT_BYTES:
        msg = f"messageImprint: is {len(imprint)} bytes under {algorithm}, SM3 with {IMPRINT_BYTES} is needed"
        raise der.DerError(msg)
    serial = _bounded(body, "serialNumber")
    gen_time = _read_time(body.read(der.GENERALIZED_TIME, "genTime"))
    accuracy = _read_accuracy(body.sequence("accuracy")) if body.peek() == der.SEQUENCE else timedelta(0)
    ordering = False
    if body.peek() == der.BOOLEAN:
        if body.read(der.BOOLEAN, "ordering") != b"\xff":
            msg = "ordering: must be TRUE or absent"
            raise der.DerError(msg)
        ordering = True
    nonce = _bounded(body, "nonce") if body.peek() == der.INTEGER else None
    if body.peek() == der.context(0):
        body.read(der.context(0), "tsa")
    if body.peek() == der.context(1):
        msg = "extensions: are not accepted"
        raise der.DerError(msg)
    body.end("TSTInfo")
    return TstInfo(policy, imprint, serial, gen_time, accuracy, ordering, nonce)


def _read_time(content: bytes) -> datetime:
    text = content.decode("ascii", errors="replace")
    if not _TIME.fullmatch(text):
        msg = "genTime: is not a GeneralizedTime in UTC without trailing zeros"
        raise der.DerError(msg)
    whole, _, fraction = text[:-1].partition(".")
    try:
        # Not by strptime: it takes shapes that DER has not.
        year, month, day, hour, minute, second = int(whole[:4]), *(int(whole[at : at + 2]) for at in range(4, 14, 2))
        return datetime(year, month, day, hour, minute, second, int(fraction.ljust(6, "0")), tzinfo=UTC)
    except ValueError as exc:
        msg = f"genTime: {text!r} is not an instant"
        raise der.DerError(msg) from exc


def _read_accuracy(body: der.Reader) -> timedelta:
    seconds = body.integer("accuracy.seconds") if body.peek() == der.INTEGER else 0
    parts = [0, 0]
    for number, name in enumerate(("millis", "micros")):
        tag = der.context_primitive(number)
        if body.peek() == tag:
            parts[number] = der.Reader(der.tlv(der.INTEGER, body.read(tag, name))).integer(name)
            if not 1 <= parts[number] <= 999:
                msg = f"accuracy.{name}: is {parts[number]}, 1 to 999 are allowed"
                raise der.DerError(msg)
    body.end("accuracy")
    if seconds > 86400:
        msg = "accuracy: is more than a day"
        raise der.DerError(msg)
    return timedelta(seconds=seconds, milliseconds=parts[0], microseconds=parts[1])


# --- replies


def encode_granted(token: bytes) -> bytes:
    """Return the TimeStampResp that carries a token."""
    return der.sequence(der.sequence(der.integer(0)), token)


def encode_rejection(failure: Failure, text: str) -> bytes:
    """Return the TimeStampResp that says why there is no token: status 2, a text, one failure bit."""
    octets = bytearray(failure // 8 + 1)
    octets[failure // 8] = 0x80 >> failure % 8
    # DER of a named bit list: no trailing zero bits.
    bits = der.tlv(der.BIT_STRING, bytes((7 - failure % 8,)) + bytes(octets))
    free_text = der.sequence(der.tlv(der.UTF8_STRING, text.encode()))
    return der.sequence(der.sequence(der.integer(2), free_text, bits))


def parse_reply(source: bytes) -> bytes:
    """Return the token in a TimeStampResp; `E_TIMESTAMP` says what the TSA said instead, or what is wrong."""
    if not 0 < len(source) <= REPLY_LIMIT_BYTES:
        raise _refused(f"reply: is {len(source)} bytes, 1 to {REPLY_LIMIT_BYTES} are allowed")
    try:
        outer = der.Reader(source)
        whole = outer.sequence("TimeStampResp")
        outer.end("TimeStampResp")
        status = whole.sequence("status")
        number = status.integer("status")
        if number not in _GRANTED:
            reason, text = _read_failure(status)
            whole.end("TimeStampResp")
            raise ZoneGateError(reason, f"time stamp: the TSA refuses with status {number}: {text}")
        token = whole.tlv()
        whole.end("TimeStampResp")
    except ValueError as exc:
        raise _refused(f"reply: {exc}") from exc
    return token


def _read_failure(status: der.Reader) -> tuple[Reason, str]:
    if status.peek() == der.SEQUENCE:
        status.tlv()
    if status.peek() != der.BIT_STRING:
        return Reason.E_TIMESTAMP, "no failure is named"
    content = status.read(der.BIT_STRING, "failInfo")
    bits = "".join(f"{octet:08b}" for octet in content[1:])
    found = [item for item in Failure if bits[item : item + 1] == "1"]
    reason = Reason.E_TIME_UNAVAILABLE if Failure.TIME_NOT_AVAILABLE in found else Reason.E_TIMESTAMP
    return reason, ", ".join(item.name for item in found) or "an unknown failure"


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_TIMESTAMP, f"time stamp {detail}")
