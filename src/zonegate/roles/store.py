"""[a] A roster in a folder: the file, replaced as a whole, and how many entries have been seen, which never shrinks.

The pinned founding and the count stand in `roster.pin` beside it; without that file nothing is read, since anybody
could have founded what lies there.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from zonegate.canonical import decode, encode
from zonegate.errors import ZoneGateError
from zonegate.pki.crl import Crl
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason
from zonegate.roles.roster import ROSTER_MAX_BYTES, Roster, encode_roster, read_roster

ROSTER_NAME: Final = "roster.json"
PIN_NAME: Final = "roster.pin"
LOCK_NAME: Final = "roster.lock"
_PIN_MAX_BYTES = 1 << 10


class _Pin(msgspec.Struct, forbid_unknown_fields=True):
    founding: str
    entries: int
    head: str


def load_roster(folder: Path, *, anchors: TrustAnchors, crls: Sequence[Crl] = ()) -> Roster:
    """Return the roster in `folder`; E_ROSTER if it is not the pinned one, or older than what was there."""
    pin = _read_pin(folder)
    raw = read_limited(folder / ROSTER_NAME, ROSTER_MAX_BYTES)
    roster = read_roster(raw, founding=pin.founding, anchors=anchors, crls=crls, at_least=pin.entries)
    if not 1 <= pin.entries <= len(roster.digests) or roster.digests[pin.entries - 1] != pin.head:
        raise ZoneGateError(Reason.E_ROSTER, f"entry {pin.entries}: is not the one that was there before")
    return roster


def save_roster(folder: Path, roster: Roster) -> None:
    """Replace the roster in `folder` by one that continues it, durably; the first one pins its founding."""
    with _locked(folder):
        _save(folder, roster)


def _save(folder: Path, roster: Roster) -> None:
    if (folder / PIN_NAME).exists():
        pin = _read_pin(folder)
        if roster.founding != pin.founding or len(roster.digests) < pin.entries:
            raise ZoneGateError(Reason.E_ROSTER, "roster: does not continue the one in the folder")
        if roster.digests[pin.entries - 1] != pin.head:
            raise ZoneGateError(Reason.E_ROSTER, f"entry {pin.entries}: is not the one in the folder")
    # The roster first: a pin that runs ahead would refuse the file that is there.
    _replace(folder / ROSTER_NAME, encode_roster(roster))
    _replace(folder / PIN_NAME, encode(_Pin(roster.founding, len(roster.digests), roster.head)))


def read_limited(path: Path, limit_bytes: int) -> bytes:
    """Return the content of a file that is not larger than allowed; otherwise E_CONFIG."""
    try:
        with path.open("rb") as stream:
            content = stream.read(limit_bytes + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(content) > limit_bytes:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: is larger than {limit_bytes} bytes")
    return content


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Of two who append at the same time the second one finds the first one's entry, and is refused."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_CREAT | os.O_RDWR, 0o644)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{LOCK_NAME}: cannot be opened: {exc.strerror}") from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_pin(folder: Path) -> _Pin:
    raw = read_limited(folder / PIN_NAME, _PIN_MAX_BYTES)
    return decode(raw, _Pin, limit_bytes=_PIN_MAX_BYTES, what="pin", reason=Reason.E_ROSTER)


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    try:
        descriptor = os.open(new, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc
