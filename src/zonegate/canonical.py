"""[d] Canonical JSON: one content, one spelling. Used for everything that people sign.

Pure. What is read is encoded anew and compared byte by byte, so that a doubled key, another order of keys or a blank
can never make a second file with the same meaning.
"""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"

Wire = TypeVar("Wire", bound=msgspec.Struct)


def encode(wire: msgspec.Struct) -> bytes:
    """Return the canonical bytes."""
    return msgspec.json.encode(wire) + b"\n"


def decode(raw: bytes, wire: type[Wire], *, limit_bytes: int, what: str, reason: Reason) -> Wire:
    """Return the value in `raw`; `ZoneGateError(reason)` unless `raw` is its canonical form."""
    if len(raw) > limit_bytes:
        raise ZoneGateError(reason, f"{what}: is {len(raw)} bytes, at most {limit_bytes} are allowed")
    try:
        decoded: Any = msgspec.json.decode(raw, type=wire)
        same = encode(decoded) == raw
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise ZoneGateError(reason, f"{what}: is not of the expected form: {exc}") from exc
    if not same:
        raise ZoneGateError(reason, f"{what}: is not in canonical form")
    return decoded  # type: ignore[no-any-return]  # checked by msgspec against `wire`


def to_base64(content: bytes) -> str:
    """Return the text form of bytes."""
    return base64.b64encode(content).decode()


def from_base64(text: str) -> bytes:
    """Return the bytes; `ValueError` unless the text is their one canonical form."""
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        msg = "base64 is malformed"
        raise ValueError(msg) from exc
    if to_base64(content) != text:
        msg = "base64 is not canonical"
        raise ValueError(msg)
    return content


def time_text(moment: datetime) -> str:
    """Return an instant in whole seconds, UTC, as it is written in signed files."""
    return moment.astimezone(UTC).strftime(TIME_FORM)


def parse_instant(text: str) -> datetime:
    """Return the instant; `ValueError` unless it is written YYYY-MM-DDThh:mm:ssZ."""
    msg = f"time: found {text[:24]!r}, the form is YYYY-MM-DDThh:mm:ssZ"
    try:
        moment = datetime.strptime(text, TIME_FORM).replace(tzinfo=UTC)
    except ValueError as exc:
        raise ValueError(msg) from exc
    if moment.strftime(TIME_FORM) != text:
        raise ValueError(msg)
    return moment
