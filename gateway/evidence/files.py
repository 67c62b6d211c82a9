"""[a] The evidence directory on disk: names, lock, atomic creation of a segment, the reserve. Decides nothing.

A segment comes into being whole: written under a working name with header and first group, synced, renamed. So a
directory never holds a segment without its header. The reserve is a preallocated file that becomes a segment when the
disk is full, so that outcomes and the gap record still find room.
"""

import errno
import fcntl
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.recovery import StoredSegment
from zonegate.gateway.evidence.segment import HASH_BYTES, SEGMENT_LIMIT_BYTES, BrokenEvidenceError
from zonegate.reasons import Reason

_NAME = re.compile(r"segment-([0-9]{8})\.zge")
_WORKING = "segment.working"
_RESERVE = "reserve"
_LOCK = "lock"
# A new segment needs this much room, so that a disk at its brim is not met with a new file for each group.
ROOM_BYTES = 1 << 20
HEADER_LIMIT_BYTES = 1 << 16


class DiskLevel(StrEnum):
    """How full the evidence disk is."""

    OK = "ok"
    HIGH = "high"
    CRITICAL = "critical"


HIGH_PERCENT = 70
CRITICAL_PERCENT = 85


@dataclass(frozen=True, slots=True)
class DiskState:
    """Use of the file system that holds the evidence."""

    percent: float
    free_bytes: int
    level: DiskLevel


def segment_name(number: int) -> str:
    """Return the file name of segment `number`."""
    return f"segment-{number:08d}.zge"


def list_segments(directory: Path) -> list[tuple[int, Path]]:
    """Return number and path of each segment, in order."""
    try:
        names = sorted(os.listdir(directory))
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"evidence directory: cannot be read: {exc.strerror}") from exc
    return [(int(match.group(1)), directory / name) for name in names if (match := _NAME.fullmatch(name))]


def read_segment_file(path: Path) -> bytes:
    """Return the bytes of a segment, at most `SEGMENT_LIMIT_BYTES`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(SEGMENT_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(data) > SEGMENT_LIMIT_BYTES:
        raise BrokenEvidenceError(f"is larger than {SEGMENT_LIMIT_BYTES} bytes", file=path.name)
    return data


def disk_state(directory: Path) -> DiskState:
    """Return how full the file system of `directory` is, as `df` counts it."""
    facts = os.statvfs(directory)
    used = facts.f_blocks - facts.f_bfree
    # As df: the share of what an ordinary user could have.
    percent = 100.0 * used / ((used + facts.f_bavail) or 1)
    if percent >= CRITICAL_PERCENT:
        level = DiskLevel.CRITICAL
    else:
        level = DiskLevel.HIGH if percent >= HIGH_PERCENT else DiskLevel.OK
    return DiskState(percent, facts.f_bavail * facts.f_frsize, level)


class EvidenceDirectory:
    """One chain's directory, locked against a second writer."""

    def __init__(self, path: Path, *, reserve_bytes: int) -> None:
        self.path = path
        self._reserve_bytes = reserve_bytes
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise ZoneGateError(Reason.E_EVIDENCE, f"evidence directory: {exc.strerror}") from exc
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock)
            raise ZoneGateError(Reason.E_EVIDENCE, "evidence directory: another process writes to it") from exc

    def close(self) -> None:
        """Give up the lock."""
        os.close(self._lock)

    def segments(self) -> list[tuple[int, Path]]:
        """Return number and path of each segment, in order."""
        return list_segments(self.path)

    def create(self, number: int, content: bytes) -> "SegmentFile":
        """Return segment `number`, durable with `content`; on `OSError` nothing is left behind."""
        self.ensure_reserve()
        working = self.path / _WORKING
        fd = os.open(working, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_DSYNC, 0o600)
        try:
            os.posix_fallocate(fd, 0, len(content) + ROOM_BYTES)
            os.ftruncate(fd, 0)
            write_all(fd, content)
            os.fsync(fd)
            os.rename(working, self.path / segment_name(number))
            self._sync()
        except OSError:
            os.close(fd)
            # The name may already be the segment's: a next attempt makes and renames it anew.
            working.unlink(missing_ok=True)
            raise
        return SegmentFile(fd, self.path / segment_name(number), len(content), None)

    def create_from_reserve(self, number: int, content: bytes) -> "SegmentFile":
        """Return segment `number` in the preallocated reserve; `OSError` where there is none or it is too small."""
        reserve = self.path / _RESERVE
        fd = os.open(reserve, os.O_WRONLY | os.O_CLOEXEC | os.O_DSYNC)
        try:
            size = os.fstat(fd).st_size
            _check_room(len(content), size)
            write_all(fd, content)
            os.fsync(fd)
            os.rename(reserve, self.path / segment_name(number))
            self._sync()
        except OSError:
            os.close(fd)
            raise
        return SegmentFile(fd, self.path / segment_name(number), len(content), size)

    def ensure_reserve(self) -> None:
        """Preallocate the reserve if it is not there."""
        reserve = self.path / _RESERVE
        if reserve.exists() and reserve.stat().st_size == self._reserve_bytes:
            return
        fd = os.open(reserve, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(fd, 0, self._reserve_bytes)
            os.fsync(fd)
        except OSError:
            reserve.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)

    def drop_working_file(self) -> None:
        """Remove what an interrupted creation left."""
        (self.path / _WORKING).unlink(missing_ok=True)

    def _sync(self) -> None:
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class SegmentFile:
    """An open segment. O_DSYNC makes one write do what write and fdatasync do, with one turn of the GIL, not two."""

    __slots__ = ("_fd", "allocated", "path", "size")

    def __init__(self, fd: int, path: Path, size: int, allocated: int | None) -> None:
        self._fd = fd
        self.path = path
        self.size = size
        # The bytes set aside where the segment lives in the reserve, None for an ordinary one.
        self.allocated = allocated

    def append(self, data: bytes) -> None:
        """Write `data` durably; after an `OSError` the segment must be given up."""
        if self.allocated is not None:
            _check_room(self.size + len(data), self.allocated)
        write_all(self._fd, data)
        self.size += len(data)

    def close(self) -> None:
        """Close; what was set aside but not used is given back if the disk allows."""
        if self.allocated is not None:
            with suppress(OSError):
                os.ftruncate(self._fd, self.size)
        os.close(self._fd)

    def give_up(self) -> None:
        """Close after a failed write. The unacknowledged bytes are cut off if the disk allows; readers skip them."""
        # Where it does not, the next segment's header still says where the acknowledged bytes end.
        with suppress(OSError):
            os.ftruncate(self._fd, self.size)
        os.close(self._fd)


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a short write is continued so that the disk says why it was short."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def _check_room(needed: int, allocated: int) -> None:
    if needed > allocated:
        raise OSError(errno.ENOSPC, "the reserve is used up")


def stored_segment(number: int, path: Path) -> StoredSegment:
    """Return a segment of a directory for `recovery`."""
    return StoredSegment(
        number=number,
        name=path.name,
        read=lambda: read_segment_file(path),
        read_start=lambda: _read_range(path, 0, HEADER_LIMIT_BYTES),
        read_hash=lambda end: _read_range(path, max(0, end - HASH_BYTES), HASH_BYTES),
    )


def _read_range(path: Path, offset: int, length: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            return stream.read(length)
    except OSError as exc:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"{path.name}: cannot be read: {exc.strerror}") from exc
