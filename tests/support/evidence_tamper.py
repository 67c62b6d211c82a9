"""A second, independent reading of evidence segments, and what an attacker with the disk could do to them.

Nothing of `zonegate.gateway.evidence` is used here: the format of docs/evidence.md in a few lines, with another SM3.
"""

import json
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives import hashes

MAGIC = b"ZGEVID01"
HEADER, RECORD, SEAL = 1, 2, 3


def sm3(data: bytes) -> bytes:
    running = hashes.Hash(hashes.SM3())
    running.update(data)
    return running.finalize()


@dataclass
class RawEntry:
    byte: int
    payload: bytes
    chain: bytes

    @property
    def type(self) -> int:
        return self.byte & 0x7F

    def fields(self) -> dict:
        return json.loads(self.payload)

    def to_bytes(self) -> bytes:
        return struct.pack(">IB", len(self.payload), self.byte) + self.payload + self.chain


@dataclass
class RawSegment:
    path: Path
    entries: list[RawEntry] = field(default_factory=list)

    def to_bytes(self) -> bytes:
        return MAGIC + b"".join(entry.to_bytes() for entry in self.entries)


def parse(path: Path) -> RawSegment:
    data = path.read_bytes()
    assert data[:8] == MAGIC
    at, segment = 8, RawSegment(path)
    while at + 37 <= len(data):
        length, byte = struct.unpack_from(">IB", data, at)
        body = at + 5
        segment.entries.append(RawEntry(byte, data[body : body + length], data[body + length : body + length + 32]))
        at = body + length + 32
    return segment


def read_chain(directory: Path) -> list[RawSegment]:
    return [parse(path) for path in sorted(directory.glob("segment-*.zge"))]


def write_chain_back(segments: Sequence[RawSegment]) -> None:
    for segment in segments:
        segment.path.write_bytes(segment.to_bytes())


def rechain(segments: Sequence[RawSegment]) -> None:
    """Compute every hash anew, as an attacker without the key can; headers follow, seals stay as they are."""
    chain, records, before = bytes(32), 0, 0
    for segment in segments:
        for entry in segment.entries:
            if entry.type == HEADER:
                header = entry.fields() | {
                    "previous": chain.hex(),
                    "previous_bytes": before,
                    "first_record": records,
                }
                entry.payload = json.dumps(header, separators=(",", ":")).encode()
            records += entry.type == RECORD
            entry.chain = chain = sm3(chain + bytes([entry.byte]) + entry.payload)
        before = len(segment.to_bytes())


def walk(segments: Sequence[RawSegment]) -> Iterator[RawEntry]:
    for segment in segments:
        yield from segment.entries


def merkle_tree_hash(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962 section 2.1 as it is written there: split at the largest power of two below n."""
    if len(leaves) == 1:
        return sm3(b"\x00" + leaves[0])
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sm3(b"\x01" + merkle_tree_hash(leaves[:split]) + merkle_tree_hash(leaves[split:]))


def resign(
    segments: Sequence[RawSegment], sign: Callable[[bytes], bytes], certificates: Sequence[bytes], *, first: int = 0
) -> None:
    """Make hashes, roots, statements and signatures anew with a key of one's own: a whole chain, or from `first` on."""
    import base64

    chain, records, before, root = bytes(32), 0, 0, bytes(32).hex()
    unsealed: list[bytes] = []
    fingerprint = sm3(certificates[0]).hex()
    for place, segment in enumerate(segments):
        for entry in segment.entries:
            if place < first:
                if entry.type == SEAL:
                    root = json.loads(entry.fields()["statement"])["root"]
                    unsealed.clear()
            elif entry.type == HEADER:
                header = entry.fields() | {
                    "previous": chain.hex(),
                    "previous_bytes": before,
                    "first_record": records,
                    "certificates": [base64.b64encode(der).decode() for der in certificates],
                }
                entry.payload = json.dumps(header, separators=(",", ":")).encode()
            elif entry.type == SEAL:
                seal = entry.fields()
                statement = json.loads(seal["statement"])
                size = statement["last"] - statement["first"] + 1
                batch, unsealed = unsealed[:size], unsealed[size:]
                statement |= {"previous_root": root, "signer": fingerprint, "chain_hash": batch[-1].hex()}
                statement["root"] = root = merkle_tree_hash(batch).hex()
                text = json.dumps(statement, separators=(",", ":"), ensure_ascii=False)
                signature = sign(b"zonegate evidence seal v1\x00" + text.encode())
                seal |= {
                    "statement": text,
                    "signature": base64.b64encode(signature).decode(),
                    "hints": "".join(leaf[:4].hex() for leaf in batch),
                }
                entry.payload = json.dumps(seal, separators=(",", ":")).encode()
            entry.chain = chain = sm3(chain + bytes([entry.byte]) + entry.payload)
            if entry.type == RECORD:
                records += 1
                unsealed.append(chain)
        before = len(segment.to_bytes())
