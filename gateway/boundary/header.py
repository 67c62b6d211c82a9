"""[d] The header of a transported object: who sends what to whom, in one canonical form (docs/import.md, "Header").

Pure: bytes in, value or E_IMPORT_FORMAT out. The form is a fixed sequence of length-prefixed fields, so that a header
has one encoding only and `decode(encode(h)) == h`. Whether the header may be believed is `transport_file`'s business.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.identity import URI_MAX_CHARS, Net, parse_identity
from zonegate.policies.labels import LABEL_MAX_CHARS, parse_label
from zonegate.reasons import Reason

HEADER_LIMIT_BYTES: Final = 64 << 10
TICKET_LIMIT_BYTES: Final = 16 << 10
TEXT_LIMIT_CHARS: Final = 512
NAME_LIMIT_CHARS: Final = 64
PATH_LIMIT_CHARS: Final = 256

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LENGTH_BYTES = 4
_NUMBER_BYTES = 8
_HEX = {size: re.compile(rf"[0-9a-f]{{{size}}}") for size in (28, 32, 64)}
_NAME = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_PATH = re.compile(r"/[A-Za-z0-9_.]{1,180}/[A-Za-z0-9_]{1,70}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """What the exporting gateway's signature covers, the messages by their digest."""

    object_id: str
    crossing: str
    sequence: int
    created: datetime
    source_net: Net
    target_net: Net
    source_zone: str
    target_zone: str
    caller: str
    caller_certificate: str
    gateway: str
    signer: str
    importer: str
    recipient: str
    resource: str
    path: str
    provider: str
    label: str
    purpose: str
    case: str
    idempotency_key: str
    policy: str
    policy_version: int
    message_count: int
    message_bytes: int
    digest: str
    ticket: bytes


def key_id(spki: bytes) -> str:
    """Return the name of an encryption key: SM3 of its SubjectPublicKeyInfo, hex."""
    return sm3.digest(spki).hex()


def instant(moment: datetime) -> datetime:
    """Return `moment` as a header holds it: UTC, whole microseconds."""
    return moment.astimezone(UTC)


class MessageDigest:
    """SM3 over messages with their lengths, so that no two lists of messages share a digest."""

    def __init__(self) -> None:
        self._state = sm3.new()
        self.count = 0
        self.total_bytes = 0

    def add(self, message: bytes) -> None:
        """Absorb the next message."""
        self._state.update(len(message).to_bytes(_LENGTH_BYTES, "big"))
        self._state.update(message)
        self.count += 1
        self.total_bytes += len(message)

    def hexdigest(self) -> str:
        """Return the digest of what was absorbed."""
        return self._state.hexdigest()


def _hex(size: int) -> Callable[[str], None]:
    def check(text: str) -> None:
        if not _HEX[size].fullmatch(text):
            msg = f"is not {size} lower-case hexadecimal digits"
            raise ValueError(msg)

    return check


def _uri(text: str) -> None:
    parse_identity(text)


def _name(text: str) -> None:
    if not _NAME.fullmatch(text):
        msg = f"is not 1 to {NAME_LIMIT_CHARS} letters, digits and . _ : -"
        raise ValueError(msg)


def _path(text: str) -> None:
    if not _PATH.fullmatch(text):
        msg = "is not /package.Service/Method"
        raise ValueError(msg)


def _text(text: str) -> None:
    if len(text) > TEXT_LIMIT_CHARS or _CONTROL.search(text):
        msg = f"is longer than {TEXT_LIMIT_CHARS} characters or holds control characters"
        raise ValueError(msg)


def _label(text: str) -> None:
    try:
        label = parse_label(text)
    except ZoneGateError as exc:
        raise ValueError(exc.detail) from exc
    if str(label) != text:
        msg = "is not written in its one form"
        raise ValueError(msg)


# Longest encoded form and check of each text field; what is not here is a number, the instant, a net or the ticket.
_TEXTS: Final[dict[str, tuple[int, Callable[[str], None]]]] = {
    "object_id": (32, _hex(32)),
    "crossing": (28, _hex(28)),
    "source_zone": (NAME_LIMIT_CHARS, _name),
    "target_zone": (NAME_LIMIT_CHARS, _name),
    "caller": (URI_MAX_CHARS, _uri),
    "caller_certificate": (64, _hex(64)),
    "gateway": (URI_MAX_CHARS, _uri),
    "signer": (64, _hex(64)),
    "importer": (URI_MAX_CHARS, _uri),
    "recipient": (64, _hex(64)),
    "resource": (NAME_LIMIT_CHARS, _name),
    "path": (PATH_LIMIT_CHARS, _path),
    "provider": (URI_MAX_CHARS, _uri),
    "label": (LABEL_MAX_CHARS * 4, _label),
    "purpose": (TEXT_LIMIT_CHARS * 4, _text),
    "case": (TEXT_LIMIT_CHARS * 4, _text),
    "idempotency_key": (TEXT_LIMIT_CHARS * 4, _text),
    "policy": (64, _hex(64)),
    "digest": (64, _hex(64)),
}
_NUMBERS: Final = frozenset({"sequence", "policy_version", "message_count", "message_bytes"})
_NETS: Final = frozenset({"source_net", "target_net"})
_ORDER: Final = tuple(item.name for item in fields(ObjectHeader))


def encode_header(header: ObjectHeader) -> bytes:
    """Return the one encoding of `header`; `ValueError` names a field that may not be as it is."""
    parts: list[bytes] = []
    for name in _ORDER:
        content = _encode_field(name, getattr(header, name))
        parts.append(len(content).to_bytes(_LENGTH_BYTES, "big"))
        parts.append(content)
    encoded = b"".join(parts)
    _check_parties(header)
    return encoded


def _encode_field(name: str, value: Any) -> bytes:
    if name in _TEXTS:
        try:
            _TEXTS[name][1](value)
            return bytes(value.encode())
        except ValueError as exc:
            msg = f"{name}: {exc}"
            raise ValueError(msg) from exc
    if name in _NUMBERS:
        if not 0 <= value < 1 << 63:
            msg = f"{name}: is {value}, 0 to 2^63 - 1 are allowed"
            raise ValueError(msg)
        return int(value).to_bytes(_NUMBER_BYTES, "big")
    if name in _NETS:
        return bytes(value.value.encode())
    if name == "created":
        return int((value - _EPOCH) // _MICROSECOND).to_bytes(_NUMBER_BYTES, "big")
    if len(value) > TICKET_LIMIT_BYTES:
        msg = f"{name}: has {len(value)} bytes, {TICKET_LIMIT_BYTES} are allowed"
        raise ValueError(msg)
    return bytes(value)


def decode_header(encoded: bytes) -> ObjectHeader:
    """Return the header in `encoded`, or raise E_IMPORT_FORMAT naming the field."""
    try:
        return _decode(encoded)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, f"header: {exc}") from exc


def _decode(encoded: bytes) -> ObjectHeader:
    at = 0
    values: dict[str, Any] = {}
    for name in _ORDER:
        length = int.from_bytes(encoded[at : at + _LENGTH_BYTES], "big")
        start = at + _LENGTH_BYTES
        at = start + length
        if at > len(encoded) or start > len(encoded):
            msg = f"{name}: is cut off"
            raise ValueError(msg)
        values[name] = _decode_field(name, encoded[start:at])
    if at != len(encoded):
        msg = f"has {len(encoded) - at} bytes after its last field"
        raise ValueError(msg)
    header = ObjectHeader(**values)
    _check_parties(header)
    return header


def _decode_field(name: str, content: bytes) -> object:
    limit, check = _TEXTS.get(name, (TICKET_LIMIT_BYTES, None))
    if len(content) > limit:
        msg = f"{name}: has {len(content)} bytes, {limit} are allowed"
        raise ValueError(msg)
    if name in _NUMBERS or name == "created":
        if len(content) != _NUMBER_BYTES or content[0] & 0x80:
            msg = f"{name}: is not a number of {_NUMBER_BYTES} bytes below 2^63"
            raise ValueError(msg)
        number = int.from_bytes(content, "big")
        return _instant_of(number) if name == "created" else number
    if name == "ticket":
        return content
    try:
        text = content.decode()
    except UnicodeDecodeError as exc:
        msg = f"{name}: is not UTF-8"
        raise ValueError(msg) from exc
    if name in _NETS:
        if text not in set(Net):
            msg = f"{name}: is {text[:16]!r}, allowed are {', '.join(Net)}"
            raise ValueError(msg)
        return Net(text)
    if check is not None:
        try:
            check(text)
        except ValueError as exc:
            msg = f"{name}: {exc}"
            raise ValueError(msg) from exc
    return text


def _instant_of(microseconds: int) -> datetime:
    try:
        return _EPOCH + microseconds * _MICROSECOND
    except OverflowError as exc:
        msg = "created: is past the year 9999"
        raise ValueError(msg) from exc


def _check_parties(header: ObjectHeader) -> None:
    if header.source_net is header.target_net:
        msg = f"target_net: is {header.target_net.value}, as the source net; an object goes from one net to the other"
        raise ValueError(msg)
    for name, net in (
        ("caller", header.source_net),
        ("gateway", header.source_net),
        ("importer", header.target_net),
        ("provider", header.target_net),
    ):
        if parse_identity(getattr(header, name)).net is not net:
            msg = f"{name}: is not of the {net.value} net"
            raise ValueError(msg)
