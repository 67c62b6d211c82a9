"""[d] Seals and heads: a Merkle root over what is durable, signed by the evidence certificate (AU-02).

Pure. The tree is RFC 6962's with SM3: leaf = SM3(00 || chain hash of the record), node = SM3(01 || left || right).
A seal's statement names the batch, its first and last record, its root, the root before and the chain hash reached,
and is signed as the exact text that stands in the seal. A head is a statement with its signature and certificates,
so that a witness can keep it. Who may sign is `verify`'s question.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.records import Instant
from zonegate.gateway.evidence.segment import GENESIS, ChainId, Hex32
from zonegate.gm import sm3
from zonegate.reasons import Reason

CONTEXT = b"zonegate evidence seal v1\x00"
# With its hints a seal of this many records stays within the payload limit of an entry.
BATCH_LIMIT = 16384
HINT_CHARS = 8
# In base64 this is what a peer-head record takes.
HEAD_LIMIT_BYTES = 24 << 10
Side: TypeAlias = Literal["left", "right"]
_fresh = sm3.new()


class Statement(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a seal says. Records are counted from 0 over the whole chain; `last` is the last one sealed."""

    chain: ChainId
    gateway: Annotated[str, Meta(max_length=256)]
    batch: Annotated[int, Meta(ge=1)]
    first: Annotated[int, Meta(ge=0)]
    last: Annotated[int, Meta(ge=0)]
    root: Hex32
    previous_root: Hex32
    chain_hash: Hex32
    time: Instant
    # SM3 fingerprint of the evidence certificate that signs.
    signer: Hex32
    # The records were found durable but unsealed after a crash.
    recovered: bool = False


class Seal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="seal"):
    """The payload of a seal entry. `hints` are the first four bytes of each record's chain hash.

    They prove nothing: when a root does not verify they tell which record of the batch is the first that differs.
    """

    statement: Annotated[str, Meta(max_length=4096)]
    signature: Annotated[bytes, Meta(max_length=128)]
    hints: Annotated[str, Meta(max_length=HINT_CHARS * BATCH_LIMIT)]


class SignedHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="head"):
    """A statement that others may keep: the newest batch of a chain, with what is needed to check it."""

    statement: Annotated[str, Meta(max_length=4096)]
    signature: Annotated[bytes, Meta(max_length=128)]
    certificates: Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=8)]

    def to_bytes(self) -> bytes:
        """Return the head as a file or a message carries it."""
        return msgspec.json.encode(self)

    def read(self) -> Statement:
        """Return the statement; `E_EVIDENCE_BROKEN` where it cannot be read."""
        return read_statement(self.statement)


_statement_decoder = msgspec.json.Decoder(Statement)
_seal_decoder = msgspec.json.Decoder(Seal)
_head_decoder = msgspec.json.Decoder(SignedHead)


def leaf_hash(chain: bytes) -> bytes:
    """Return the leaf of a record with this chain hash."""
    running = _fresh.copy()
    running.update(b"\x00" + chain)
    return running.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the node above two others."""
    running = _fresh.copy()
    running.update(b"\x01" + left + right)
    return running.digest()


def merkle_root(chains: Sequence[bytes]) -> bytes:
    """Return the root over records with these chain hashes, in their order; none is a programming error."""
    if not chains:
        msg = "a batch holds at least one record"
        raise ValueError(msg)
    # Level by level, an odd last node moving up unchanged, is the same tree as RFC 6962's split at a power of two.
    level = [leaf_hash(chain) for chain in chains]
    while len(level) > 1:
        above = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level = above
    return level[0]


def inclusion_path(chains: Sequence[bytes], at: int) -> list[tuple[Side, bytes]]:
    """Return the siblings from leaf `at` up to the root, each with the side on which it stands."""
    path: list[tuple[Side, bytes]] = []
    level = [leaf_hash(chain) for chain in chains]
    while len(level) > 1:
        sibling = at ^ 1
        if sibling < len(level):
            path.append(("left" if sibling < at else "right", level[sibling]))
        above = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        if len(level) % 2:
            above.append(level[-1])
        level, at = above, at // 2
    return path


def root_of_path(chain: bytes, path: Sequence[tuple[Side, bytes]]) -> bytes:
    """Return the root that a record's chain hash and its path lead to."""
    node = leaf_hash(chain)
    for side, sibling in path:
        node = node_hash(sibling, node) if side == "left" else node_hash(node, sibling)
    return node


def message_of(statement: str) -> bytes:
    """Return the bytes that the signature of `statement` covers."""
    return CONTEXT + statement.encode()


def hints_of(chains: Sequence[bytes]) -> str:
    """Return the hints for records with these chain hashes."""
    return "".join([chain[: HINT_CHARS // 2].hex() for chain in chains])


def encode_statement(statement: Statement) -> str:
    """Return the text that is signed."""
    return msgspec.json.encode(statement).decode()


def encode_seal(seal: Seal) -> bytes:
    """Return the payload of a seal entry."""
    return msgspec.json.encode(seal)


def read_statement(text: str) -> Statement:
    """Return the statement in `text`; `E_EVIDENCE_BROKEN` says what is wrong."""
    try:
        statement = _statement_decoder.decode(text)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"seal statement: {str(exc)[:200]}") from exc
    if not 0 <= statement.last - statement.first < BATCH_LIMIT:
        problem = f"batch of records {statement.first} to {statement.last}, at most {BATCH_LIMIT} are allowed"
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"seal statement: {problem}")
    return statement


def read_seal(payload: bytes) -> tuple[Seal, Statement]:
    """Return the seal in `payload` and its statement; `E_EVIDENCE_BROKEN` says what is wrong."""
    try:
        seal = _seal_decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"seal: {str(exc)[:200]}") from exc
    return seal, read_statement(seal.statement)


def read_head(data: bytes) -> tuple[SignedHead, Statement]:
    """Return the head in `data` and its statement; `E_EVIDENCE_BROKEN` says what is wrong."""
    if len(data) > HEAD_LIMIT_BYTES:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"head: is {len(data)} bytes, at most {HEAD_LIMIT_BYTES}")
    try:
        head = _head_decoder.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"head: {str(exc)[:200]}") from exc
    return head, head.read()


FIRST_ROOT = GENESIS.hex()
