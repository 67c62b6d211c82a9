"""Serial numbers of time stamp tokens: durable, rising, never given twice (RFC 3161 2.4.2). [a]

Numbers are leased in blocks: the file names the first number that no process has leased, and is on the disk before a
number of the block is used. A crash skips the rest of a block. Each lease also begins no lower than the time in
seconds times 2^20, so that a file restored from an old backup, or lost, does not bring old numbers back.
"""

import fcntl
import os
import threading
from pathlib import Path

from zonegate.ca.publication import replace_file
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

BLOCK = 4096
_SHIFT = 20


class SerialFile:
    """The numbers of one TSA; several threads and processes may draw from one file."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0
        self._end = 0

    def take(self) -> int:
        """Return the next number."""
        with self._lock:
            if self._next == self._end:
                self._next = self._lease()
                self._end = self._next + BLOCK
            self._next += 1
            return self._next - 1

    def _lease(self) -> int:
        guard = self._path.with_name(f".{self._path.name}.lock")
        try:
            handle = os.open(guard, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ZoneGateError(Reason.E_CONFIG, f"{guard.name}: cannot be opened: {exc.strerror}") from exc
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            first = max(self._stored(), int(self._clock.timestamp()) << _SHIFT)
            replace_file(self._path, f"{first + BLOCK}\n".encode())
        finally:
            os.close(handle)
        return first

    def _stored(self) -> int:
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return 1
        except (OSError, ValueError) as exc:
            raise ZoneGateError(Reason.E_CONFIG, f"{self._path.name}: cannot be read: {exc}") from exc
        if not text.isdigit() or len(text) > 40:
            raise ZoneGateError(Reason.E_CONFIG, f"{self._path.name}: does not hold one number; serials may be lost")
        return int(text)
