"""One message there, one back, over a Unix socket: four octets of length, then the message. The blocking side.

The peer is looked at before a byte is sent (SO_PEERCRED): a socket that another user has put in place of the
centre's gets nothing. What the messages say is not known here.
"""

import os
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

LENGTH = struct.Struct(">I")
FRAME_MAX_BYTES = 1 << 20
TIMEOUT_SECONDS = 20.0
_CREDENTIALS = struct.Struct("3i")
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class UnixExchange:
    """Calls the process that listens on `path`, which must run as one of `users` (None: this process's own user)."""

    path: Path
    users: Collection[int] | None = None

    def __call__(self, message: bytes) -> bytes:
        """Return the answer to `message`; E_KMC if there is nobody, another user, or no whole answer in time."""
        allowed = {os.getuid(), 0} if self.users is None else set(self.users)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(str(self.path))
                user = peer_user(connection)
                if user not in allowed:
                    raise ZoneGateError(Reason.E_KMC, f"{self.path.name}: belongs to user {user}, refused")
                connection.sendall(LENGTH.pack(len(message)) + message)
                (length,) = LENGTH.unpack(_read(connection, LENGTH.size))
                if not 0 < length <= FRAME_MAX_BYTES:
                    raise ZoneGateError(Reason.E_KMC, f"{self.path.name}: announces {length} bytes")
                return _read(connection, length)
        except OSError as exc:
            problem = exc.strerror or "no answer in time"
            raise ZoneGateError(Reason.E_KMC, f"{self.path.name}: {problem}; the centre does not answer") from exc


def peer_user(connection: socket.socket) -> int:
    """Return the user id of the process on the other side."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return int(user)


def _read(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(min(_CHUNK, count - len(parts)))
        if not part:
            raise ZoneGateError(Reason.E_KMC, "key centre: hung up without a whole answer")
        parts += part
    return bytes(parts)
