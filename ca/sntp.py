"""Asks a time server how far this clock is from its own (RFC 4330, unauthenticated). [a]

One datagram each way, bounded wait. The network between must be the organ's own: an answer is believed if it repeats
the question's time stamp, comes from a synchronised server and within the time-out.
"""

import secrets
import socket
import struct
from datetime import timedelta

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason
from zonegate.strictconf import Address

_PACKET = struct.Struct("!BBbb11I")
_EPOCH = 2_208_988_800  # seconds from 1900 to 1970
_CLIENT = 0x23  # no warning, version 4, mode 3
_SERVER_MODE = 4
_MAX_STRATUM = 15
_UNSYNCHRONISED = 3


def offset_of(server: Address, clock: Clock, *, seconds: float = 2.0) -> timedelta:
    """Return this clock minus the server's; `E_TIME_UNAVAILABLE` if it does not answer as it should."""
    # A random question instead of our time: nobody off the path can answer it.
    asked = secrets.token_bytes(8)
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as wire:
            wire.settimeout(seconds)
            wire.connect((server.host, server.port))
            sent = clock.timestamp()
            wire.send(bytes((_CLIENT,)) + bytes(39) + asked)
            answer = wire.recv(256)
            received = clock.timestamp()
    except OSError as exc:
        raise ZoneGateError(Reason.E_TIME_UNAVAILABLE, f"time server {server}: {exc}") from exc
    theirs = read_answer(answer, asked)
    return timedelta(seconds=(sent + received) / 2 - (theirs[0] + theirs[1]) / 2)


def read_answer(answer: bytes, asked: bytes) -> tuple[float, float]:
    """Return when the server received the question and sent the answer, in seconds since 1970."""
    if len(answer) < _PACKET.size:
        raise _refused(f"is {len(answer)} bytes, {_PACKET.size} are needed")
    first, stratum, *_rest = fields = _PACKET.unpack_from(answer)
    if first & 7 != _SERVER_MODE or first >> 6 == _UNSYNCHRONISED or not 1 <= stratum <= _MAX_STRATUM:
        raise _refused("is not of a synchronised server")
    if answer[24:32] != asked:
        raise _refused("is to another question")
    received, sent = ((fields[at] - _EPOCH) % (1 << 32) + fields[at + 1] / (1 << 32) for at in (11, 13))
    return received, sent


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_TIME_UNAVAILABLE, f"time server's answer: {detail}")
