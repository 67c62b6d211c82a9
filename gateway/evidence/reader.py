"""[a] Reads the records of an evidence directory, one after another, checking chain hashes but no signatures.

For showing, counting and explaining; what must be believed is verified first (`verify`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zonegate.gateway.evidence.files import list_segments, stored_segment
from zonegate.gateway.evidence.proof import Proof, make_proof
from zonegate.gateway.evidence.records import crossing_of, decode
from zonegate.gateway.evidence.recovery import StoredSegment
from zonegate.gateway.evidence.seal import Seal, SignedHead, Statement, read_seal
from zonegate.gateway.evidence.segment import (
    BrokenEvidenceError,
    Entry,
    EntryType,
    Header,
    entries,
    may_be_torn,
    read_header,
)
from zonegate.gateway.evidence.verify import Located
from zonegate.gm import sm3


def stored_segments(directory: Path) -> list[StoredSegment]:
    """Return the segments of a directory, in order; none is `E_EVIDENCE_BROKEN`."""
    found = [stored_segment(number, path) for number, path in list_segments(directory)]
    if not found:
        raise BrokenEvidenceError("there is no segment in the directory", file=directory.name)
    return found


def first_header(directory: Path) -> Header:
    """Return the header of the first segment: whose evidence this is."""
    segment = stored_segments(directory)[0]
    return read_header(segment.read_start(), file=segment.name)[0]


def read_records(directory: Path) -> Iterator[Located]:
    """Yield each record of a directory with its place; damage raises where it is met."""
    for stored in _read_segments(directory):
        index = stored.header.first_record
        for entry in stored.entries:
            if entry.type is EntryType.RECORD:
                yield Located(stored.file, index, entry, decode(entry.payload))
                index += 1


def prove_crossing(directory: Path, crossing: str) -> list[Proof]:
    """Return a proof for each sealed record of `crossing`, in order."""
    proofs: list[Proof] = []
    wanted: list[tuple[int, Entry]] = []
    unsealed: list[bytes] = []
    certificates: dict[str, tuple[bytes, ...]] = {}
    for stored in _read_segments(directory):
        certificates[sm3.hexdigest(stored.header.certificates[0])] = stored.header.certificates
        index = stored.header.first_record
        for entry in stored.entries:
            if entry.type is EntryType.RECORD:
                unsealed.append(entry.chain)
                if crossing_of(decode(entry.payload)) == crossing:
                    wanted.append((index, entry))
                index += 1
                continue
            seal, statement = read_seal(entry.payload)
            batch, unsealed = _split(unsealed, statement, index)
            covered = [found for found in wanted if found[0] <= statement.last]
            wanted = [found for found in wanted if found[0] > statement.last]
            proofs += _proofs(covered, batch, seal, certificates.get(statement.signer))
    return proofs


@dataclass(frozen=True, slots=True)
class _Read:
    file: str
    header: Header
    entries: Iterator[Entry]


def _read_segments(directory: Path) -> Iterator[_Read]:
    segments = stored_segments(directory)
    for place, segment in enumerate(segments):
        data = segment.read()
        header, start = read_header(data, file=segment.name)
        if place + 1 < len(segments):
            after = read_header(segments[place + 1].read_start(), file=segments[place + 1].name)[0]
            yield _Read(segment.name, header, entries(data, start, file=segment.name, end=after.previous_bytes))
        else:
            yield _Read(segment.name, header, _up_to_torn_write(segment.name, data, start))


def _up_to_torn_write(file: str, data: bytes, start: Entry) -> Iterator[Entry]:
    try:
        yield from entries(data, start, file=file)
    except BrokenEvidenceError as exc:
        if not may_be_torn(data, exc.offset):
            raise


def _split(unsealed: list[bytes], statement: Statement, index: int) -> tuple[list[bytes], list[bytes]]:
    """Return the chain hashes that a seal covers, and those after it, out of the newest ones before `index`."""
    begin = index - len(unsealed)
    if not begin <= statement.first <= statement.last < index:
        raise BrokenEvidenceError(f"seal of batch {statement.batch}: its records are not here", index=statement.first)
    return unsealed[statement.first - begin : statement.last + 1 - begin], unsealed[statement.last + 1 - begin :]


def _proofs(
    covered: list[tuple[int, Entry]], batch: list[bytes], seal: Seal, certificates: tuple[bytes, ...] | None
) -> Iterator[Proof]:
    for index, entry in covered:
        if certificates is None:
            raise BrokenEvidenceError("the seal names a certificate that no header holds", index=index)
        yield make_proof(entry, index, batch, seal, certificates)


def newest_head(directory: Path) -> SignedHead | None:
    """Return the newest seal of a directory as a head, None before the first."""
    certificates: dict[str, tuple[bytes, ...]] = {}
    newest: tuple[Seal, Statement] | None = None
    for stored in _read_segments(directory):
        certificates[sm3.hexdigest(stored.header.certificates[0])] = stored.header.certificates
        for entry in stored.entries:
            if entry.type is EntryType.SEAL:
                newest = read_seal(entry.payload)
    if newest is None:
        return None
    seal, statement = newest
    if statement.signer not in certificates:
        raise BrokenEvidenceError(f"seal of batch {statement.batch}: it names a certificate that no header holds")
    chain = certificates[statement.signer]
    return SignedHead(statement=seal.statement, signature=seal.signature, certificates=chain)
