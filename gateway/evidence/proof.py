"""[d] Makes and checks the proof that one record is in a sealed batch, without the other records (RFC 6962).

Pure. The proof holds the record itself, the chain hash before it, its path to the root, and the seal with its
certificates; whoever has the net's root can check it alone.
"""

from collections.abc import Sequence
from typing import Annotated

import msgspec
from msgspec import Meta

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.heads import check_head
from zonegate.gateway.evidence.records import AnyRecord, decode
from zonegate.gateway.evidence.seal import Seal, Side, SignedHead, Statement, inclusion_path, read_head, root_of_path
from zonegate.gateway.evidence.segment import (
    PAYLOAD_LIMIT_BYTES,
    BrokenEvidenceError,
    Entry,
    EntryType,
    Hex32,
    chain_hash,
)
from zonegate.pki.path import SignatureCache, TrustAnchors

PROOF_LIMIT_BYTES = 1 << 20
# A batch holds at most 2^14 records.
_PATH_LIMIT = 14


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One sibling on the way to the root."""

    side: Side
    hash: Hex32


class Proof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="proof"):
    """That a record stands at `index` of a chain and is covered by the seal in `head`."""

    record: Annotated[str, Meta(max_length=PAYLOAD_LIMIT_BYTES)]
    type: Annotated[int, Meta(ge=0, le=255)]
    index: Annotated[int, Meta(ge=0)]
    previous: Hex32
    path: Annotated[tuple[Step, ...], Meta(max_length=_PATH_LIMIT)]
    head: SignedHead


_decoder = msgspec.json.Decoder(Proof)


def make_proof(entry: Entry, index: int, batch: Sequence[bytes], seal: Seal, certificates: Sequence[bytes]) -> Proof:
    """Return the proof for the record `entry`, `batch` being the chain hashes that `seal` covers."""
    statement = seal.statement
    head = SignedHead(statement=statement, signature=seal.signature, certificates=tuple(certificates))
    at = index - head.read().first
    path = tuple(Step(side, sibling.hex()) for side, sibling in inclusion_path(batch, at))
    return Proof(
        record=entry.payload.decode(),
        type=entry.type_byte,
        index=index,
        previous=entry.previous.hex(),
        path=path,
        head=head,
    )


def encode_proof(proof: Proof) -> bytes:
    """Return the proof as a file holds it."""
    return msgspec.json.encode(proof)


def check_proof(data: bytes, anchors: TrustAnchors) -> tuple[AnyRecord, Statement]:
    """Return the record and the statement that covers it; `E_EVIDENCE_BROKEN` where the proof does not hold."""
    if len(data) > PROOF_LIMIT_BYTES:
        raise BrokenEvidenceError(f"proof: is {len(data)} bytes, at most {PROOF_LIMIT_BYTES} are allowed")
    try:
        proof = _decoder.decode(data)
        payload = proof.record.encode()
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise BrokenEvidenceError(f"proof: {str(exc)[:200]}") from exc
    if proof.type & 0x7F != EntryType.RECORD:
        raise BrokenEvidenceError(f"proof: the entry is of type {proof.type & 0x7F}, a record is expected")
    record = decode(payload)
    head, _ = read_head(proof.head.to_bytes())
    try:
        statement = check_head(head, anchors, signatures=SignatureCache())
    except ZoneGateError as exc:
        raise BrokenEvidenceError(f"proof: seal: {exc}") from exc
    if not statement.first <= proof.index <= statement.last:
        problem = f"proof: record {proof.index} is outside the batch of {statement.first} to {statement.last}"
        raise BrokenEvidenceError(problem)
    sides = _sides(statement.last - statement.first + 1, proof.index - statement.first)
    if [step.side for step in proof.path] != sides:
        raise BrokenEvidenceError("proof: the path is not the one of this index")
    chain = chain_hash(bytes.fromhex(proof.previous), proof.type, payload)
    root = root_of_path(chain, [(step.side, bytes.fromhex(step.hash)) for step in proof.path])
    if root.hex() != statement.root:
        raise BrokenEvidenceError("proof: the path does not lead to the sealed root")
    return record, statement


def _sides(size: int, at: int) -> list[Side]:
    """Return on which sides the siblings of leaf `at` stand in a tree of `size` leaves."""
    sides: list[Side] = []
    while size > 1:
        sibling = at ^ 1
        if sibling < size:
            sides.append("left" if sibling < at else "right")
        size, at = (size + 1) // 2, at // 2
    return sides
