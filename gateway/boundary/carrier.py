"""[a] Files in the carrier directory: the exporting gateway writes them whole, the verifier lists and reads them.

A name sorts by the instant of making. A file appears by rename only, so whoever sees a name sees the whole file; what
is being written begins with a dot. The reading side opens nothing for writing and needs no right to.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

SUFFIX: Final = ".zgt"
BLOCK_BYTES: Final = 1 << 16
_TEMPORARY: Final = ".zgt-"
HALF_WRITTEN_KEPT: Final = timedelta(hours=1)
_NAME = re.compile(r"([0-9]{16})-([0-9]{12})-([0-9a-f]{32})\.zgt")
# Readable by the carrier's group: the content is sealed, who sends what to whom is inside.
_FILE_MODE = 0o640
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def file_name(ordinal: int, sequence: int, object_id: str) -> str:
    """Return the name of an object's file; `ordinal` is its instant in microseconds since 1970."""
    return f"{ordinal:016d}-{sequence:012d}-{object_id}{SUFFIX}"


def write_file(directory: Path, name: str, blocks: Iterable[bytes]) -> int:
    """Write a file so that it is durable and whole when its name appears; return its size, or raise E_IMPORT_SPACE."""
    temporary = directory / f"{_TEMPORARY}{name}.{os.getpid()}"
    size = 0
    try:
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE
        )
        try:
            for block in blocks:
                size += _write_all(descriptor, block)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.rename(directory / name)
        _sync_directory(directory)
    except OSError as exc:
        with suppress(OSError):
            temporary.unlink()
        raise ZoneGateError(Reason.E_IMPORT_SPACE, f"carrier: cannot be written: {exc.strerror}") from exc
    return size


def _write_all(descriptor: int, block: bytes) -> int:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return len(block)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_old(directory: Path, now: datetime, keep: timedelta) -> int:
    """Remove transport files made more than `keep` ago and what a crash left half written; return how many."""
    oldest = {True: now - HALF_WRITTEN_KEPT, False: now - keep}
    removed = 0
    try:
        names = os.listdir(directory)
    except OSError as exc:
        raise ZoneGateError(Reason.E_IMPORT_SPACE, f"carrier: cannot be read: {exc.strerror}") from exc
    for name in names:
        # Other gateways may write to the same carrier: only what is surely nobody's any more goes.
        match = _NAME.match(name.removeprefix(_TEMPORARY))
        if match and int(match[1]) < (oldest[name.startswith(_TEMPORARY)] - _EPOCH) // _MICROSECOND:
            with suppress(OSError):
                (directory / name).unlink()
                removed += 1
    return removed


@dataclass(frozen=True, slots=True, order=True)
class Found:
    """A name in the carrier directory and what identifies the file behind it."""

    name: str
    inode: int
    size: int
    modified_ns: int
    regular: bool

    @property
    def shown(self) -> str:
        """The name as text that can be stored and printed: bytes that are no UTF-8 appear escaped."""
        return self.name.encode("utf-8", "backslashreplace").decode()


def changed_at(directory: Path) -> int:
    """Return when an entry of the directory last came or went, in nanoseconds; E_IMPORT_SPACE if it cannot be seen."""
    try:
        return directory.stat().st_mtime_ns
    except OSError as exc:
        raise ZoneGateError(Reason.E_IMPORT_SPACE, f"carrier: cannot be read: {exc.strerror}") from exc


def list_files(directory: Path) -> list[Found]:
    """Return the files, oldest name first; E_IMPORT_SPACE if the directory cannot be read."""
    found: list[Found] = []
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                with suppress(FileNotFoundError):
                    found.append(_found(entry.name, entry.stat(follow_symlinks=False)))
    except OSError as exc:
        raise ZoneGateError(Reason.E_IMPORT_SPACE, f"carrier: cannot be read: {exc.strerror}") from exc
    return sorted(found)


def _found(name: str, status: os.stat_result) -> Found:
    return Found(name, status.st_ino, status.st_size, status.st_mtime_ns, stat.S_ISREG(status.st_mode))


class CarrierFile:
    """One file being read. `blocks` yields its content; `unchanged` says afterwards whether it held still."""

    def __init__(self, directory: Path, found: Found, limit_bytes: int) -> None:
        self._found = found
        if not found.regular:
            raise ZoneGateError(Reason.E_IMPORT_FORMAT, "file: is not a regular file")
        if found.size > limit_bytes:
            detail = f"file: has {found.size} bytes, {limit_bytes} are allowed"
            raise ZoneGateError(Reason.E_IMPORT_FORMAT, detail)
        try:
            # NONBLOCK and NOFOLLOW: between listing and opening a name may have become a pipe or a link.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            self._descriptor = os.open(directory / found.name, flags)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENXIO):
                raise ZoneGateError(Reason.E_IMPORT_FORMAT, "file: is not a regular file") from exc
            raise ZoneGateError(Reason.E_IMPORT_SPACE, f"file: cannot be read: {exc.strerror}") from exc

    def __enter__(self) -> "CarrierFile":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def blocks(self) -> Iterator[bytes]:
        """Yield the content, never more than the size that was found."""
        left = self._found.size
        while left > 0:
            try:
                block = os.read(self._descriptor, min(BLOCK_BYTES, left))
            except OSError as exc:
                raise ZoneGateError(Reason.E_IMPORT_SPACE, f"file: cannot be read: {exc.strerror}") from exc
            if not block:
                return
            left -= len(block)
            yield block

    def unchanged(self) -> bool:
        """Tell whether the open file is still the one that was listed."""
        return _found(self._found.name, os.fstat(self._descriptor)) == self._found
