"""[d] The segment file format: bytes to entries and back, strict and bounded (docs/evidence.md draws it).

Pure: no file is opened here. A segment is MAGIC and then entries; the first entry is the header. Each entry ends with
its chain hash, SM3(previous chain hash || type || payload), and the header continues the chain of the segment before.
Any bytes give entries or one `BrokenEvidenceError`; whether a broken tail may be a torn write is decided here too.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.records import Instant
from zonegate.gm import sm3
from zonegate.reasons import Reason

MAGIC = b"ZGEVID01"
FORMAT = 1
HASH_BYTES = 32
GENESIS = bytes(HASH_BYTES)
PAYLOAD_LIMIT_BYTES = 1 << 18
# One segment is rotated at far less; a reader refuses to hold more than this in memory.
SEGMENT_LIMIT_BYTES = 1 << 28
GROUP_START = 0x80
_PREFIX = struct.Struct(">IB")
OVERHEAD_BYTES = _PREFIX.size + HASH_BYTES
_SEARCH_BYTES = SEGMENT_LIMIT_BYTES

Hex32 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
ChainId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]


class EntryType(IntEnum):
    """What an entry holds; the high bit of the byte on disk says that a group of entries starts here."""

    HEADER = 1
    RECORD = 2
    SEAL = 3


class Opened(StrEnum):
    """Why a segment was begun."""

    FIRST = "first"
    SIZE = "size"
    RESTART = "restart"
    WRITE_FAILED = "write-failed"
    RESERVE = "reserve"
    SIGNER = "signer"


class BrokenEvidenceError(ZoneGateError):
    """Evidence that does not verify: what is wrong and, as far as known, where it begins."""

    def __init__(
        self,
        problem: str,
        *,
        file: str = "",
        index: int | None = None,
        kind: str = "",
        crossing: str = "",
        offset: int = 0,
    ) -> None:
        self.problem = problem
        self.file = file
        self.index = index
        self.kind = kind
        self.crossing = crossing
        self.offset = offset
        place = [file] if file else []
        if index is not None:
            place.append(f"record {index}")
        if kind:
            place.append(kind)
        if crossing:
            place.append(f"crossing {crossing}")
        super().__init__(Reason.E_EVIDENCE_BROKEN, f"{', '.join(place)}: {problem}" if place else problem)


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="header"):
    """The first entry of a segment."""

    format: int
    chain: ChainId
    gateway: Annotated[str, Meta(max_length=256)]
    segment: Annotated[int, Meta(ge=1)]
    why: Opened
    opened: Instant
    software: Annotated[str, Meta(max_length=64)]
    # The chain hash that this segment continues, and how many bytes of the segment before lead to it: what stands
    # there behind them was never acknowledged (a failed or torn write).
    previous: Hex32
    previous_bytes: Annotated[int, Meta(ge=0)]
    first_record: Annotated[int, Meta(ge=0)]
    # Leaf first, DER in base64.
    certificates: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=8)]


_header_decoder = msgspec.json.Decoder(Header)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as it stands in a segment."""

    offset: int
    end: int
    type: EntryType
    starts_group: bool
    payload: bytes
    previous: bytes
    chain: bytes

    @property
    def type_byte(self) -> int:
        """The type as it stands on the disk and enters the chain hash."""
        return self.type | (GROUP_START if self.starts_group else 0)


_fresh = sm3.new()


def chain_hash(previous: bytes, type_byte: int, payload: bytes) -> bytes:
    """Return SM3(previous || type || payload)."""
    running = _fresh.copy()
    running.update(previous + bytes((type_byte,)) + payload)
    return running.digest()


class Framer:
    """Frames one group of entries behind a chain hash; nothing is shared with the chain until the group is durable."""

    __slots__ = ("chain", "parts", "size")

    def __init__(self, chain: bytes) -> None:
        self.chain = chain
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, type_: EntryType, payload: bytes) -> bytes:
        """Frame one entry; return its chain hash."""
        byte = type_ if self.parts else type_ | GROUP_START
        running = _fresh.copy()
        running.update(b"%b%c%b" % (self.chain, byte, payload))
        self.chain = running.digest()
        self.parts.append(_PREFIX.pack(len(payload), byte))
        self.parts.append(payload)
        self.parts.append(self.chain)
        self.size += len(payload) + OVERHEAD_BYTES
        return self.chain

    def bytes(self) -> bytes:
        """Return the framed group."""
        return b"".join(self.parts)


def encode_header(header: Header) -> bytes:
    """Return the payload of a header entry."""
    return msgspec.json.encode(header)


def read_header(data: bytes, *, file: str = "") -> tuple[Header, Entry]:
    """Return the header of a segment and its entry; whether it continues a chain is the caller's question."""
    if not data.startswith(MAGIC):
        raise BrokenEvidenceError(f"does not begin with {MAGIC.decode()}", file=file)
    entry = _entry_at(data, len(MAGIC), None, file)
    if entry.type is not EntryType.HEADER:
        raise BrokenEvidenceError("does not begin with a header", file=file, offset=entry.offset)
    try:
        header = _header_decoder.decode(entry.payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise BrokenEvidenceError(f"header: {str(exc)[:200]}", file=file, offset=entry.offset) from exc
    if header.format != FORMAT:
        raise BrokenEvidenceError(f"header: format is {header.format}, this version reads {FORMAT}", file=file)
    if chain_hash(bytes.fromhex(header.previous), entry.type | GROUP_START, entry.payload) != entry.chain:
        raise BrokenEvidenceError("the header's chain hash does not follow from it", file=file, offset=entry.offset)
    return header, entry


def entries(data: bytes, start: Entry, *, file: str = "", end: int | None = None) -> Iterator[Entry]:
    """Yield the entries after `start` up to byte `end`; the first one that does not follow raises."""
    stop = len(data) if end is None else end
    offset, chain = start.end, start.chain
    while offset < stop:
        entry = _entry_at(data, offset, chain, file)
        if entry.end > stop:
            raise BrokenEvidenceError("an entry runs past the end of the segment", file=file, offset=offset)
        if entry.type is EntryType.HEADER:
            raise BrokenEvidenceError("a second header", file=file, offset=offset)
        yield entry
        offset, chain = entry.end, entry.chain


def _entry_at(data: bytes, offset: int, previous: bytes | None, file: str) -> Entry:
    if len(data) - offset < OVERHEAD_BYTES:
        raise BrokenEvidenceError("an entry is cut short", file=file, offset=offset)
    length, byte = _PREFIX.unpack_from(data, offset)
    type_value = byte & ~GROUP_START
    if not 1 <= length <= PAYLOAD_LIMIT_BYTES or not 1 <= type_value <= 3:
        problem = (
            f"an entry of type {type_value}, {length} bytes; types are 1 to 3, at most {PAYLOAD_LIMIT_BYTES} bytes"
        )
        raise BrokenEvidenceError(problem, file=file, offset=offset)
    body = offset + _PREFIX.size
    end = body + length + HASH_BYTES
    if end > len(data):
        raise BrokenEvidenceError("an entry is cut short", file=file, offset=offset)
    payload = data[body : body + length]
    chain = data[body + length : end]
    if previous is not None and chain_hash(previous, byte, payload) != chain:
        raise BrokenEvidenceError("the chain hash does not follow from what stands before it", file=file, offset=offset)
    return Entry(offset, end, EntryType(type_value), bool(byte & GROUP_START), payload, previous or GENESIS, chain)


# Every payload is a JSON object whose first key is its kind: what an entry looks like when the framing is lost.
_ENTRY_START = re.compile(rb'\x00[\x00-\x04][\x00-\xff]{2}[\x01-\x03\x81-\x83](?=\{"kind":")')


def may_be_torn(data: bytes, offset: int) -> bool:
    """Return whether everything from the broken entry at `offset` on can be one write that a crash tore.

    A group is written only after the one before it is durable. So if any later entry still verifies against the
    chain hash in front of it and starts a group, the broken one was durable once and has been damaged since.
    """
    if _followed_by_group(data, offset):
        return False
    # A file made to look like entries everywhere must not cost a hash of 256 KiB at each: no writer leaves more behind.
    budget = _SEARCH_BYTES
    for match in _ENTRY_START.finditer(data, offset + 1):
        at = match.start()
        budget -= int.from_bytes(data[at : at + 4], "big")
        if budget < 0 or _starts_group(data, at, data[at - HASH_BYTES : at]):
            return False
    return True


def _followed_by_group(data: bytes, offset: int) -> bool:
    """Whether the entry at `offset` is broken in its own chain hash only, and a group follows on what it should be."""
    if len(data) - offset < OVERHEAD_BYTES:
        return False
    length, byte = _PREFIX.unpack_from(data, offset)
    body = offset + _PREFIX.size
    end = body + length + HASH_BYTES
    if end > len(data) or length > PAYLOAD_LIMIT_BYTES:
        return False
    expected = chain_hash(data[offset - HASH_BYTES : offset], byte, data[body : body + length])
    return _starts_group(data, end, expected)


def _starts_group(data: bytes, at: int, previous: bytes) -> bool:
    if len(data) - at < OVERHEAD_BYTES:
        return False
    length, byte = _PREFIX.unpack_from(data, at)
    body = at + _PREFIX.size
    end = body + length + HASH_BYTES
    if not byte & GROUP_START or end > len(data):
        return False
    return chain_hash(previous, byte, data[body : body + length]) == data[body + length : end]
