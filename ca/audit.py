"""The hash chain of the CA's audit: what a row's digest covers, and whether a chain holds. Pure.

SM3 over the digest before and every field, each with its length, so that no two rows have one encoding. The chain
shows an edited, removed or reordered row; it cannot show that the newest rows were cut off together with every copy
of the head, which the operator keeps elsewhere (`zonegate ca audit` prints it).
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from enum import StrEnum

from zonegate.gm import sm3

GENESIS = "0" * 64


class Act(StrEnum):
    """What an actor did or tried to do."""

    INIT = "init"
    ISSUE = "issue"
    REVOKE = "revoke"
    RELEASE = "release"
    CRL = "crl"
    # the key management centre; the names are those of GM/T 0006 (standards.md C2)
    KEY_REQUEST = "key-request"
    KEY_GENERATE = "key-generate"
    KEY_DISPENSE = "key-dispense"
    KEY_DIVIDE = "key-divide"
    KEY_COMPOSE = "key-compose"
    KEY_RENEW = "key-renew"
    KEY_ARCHIVE = "key-archive"
    KEY_RESTORE = "key-restore"
    KEY_RESTORE_JUDICIAL = "key-restore-judicial"
    KEY_DESTROY = "key-destroy"
    KEY_SEAL = "key-seal"


class Result(StrEnum):
    """How it ended."""

    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to what, when, and with which result; no secrets and no key material."""

    at: str
    actor: str
    act: Act
    target: str
    result: Result
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An entry in its place in the chain."""

    seq: int
    entry: AuditEntry
    previous: str
    digest: str


def chain(entry: AuditEntry, *, seq: int, previous: str) -> AuditRow:
    """Return the row that follows the row whose digest is `previous`."""
    running = sm3.new()
    for field in (str(seq), previous, *(str(value) for value in astuple(entry))):
        octets = field.encode()
        running.update(len(octets).to_bytes(4, "big") + octets)
    return AuditRow(seq, entry, previous, running.digest().hex())


def first_broken(rows: Iterable[AuditRow]) -> int | None:
    """Return the sequence number of the first row that does not fit, or None if the chain from 1 holds."""
    previous = GENESIS
    expected = 1
    for row in rows:
        if row != chain(row.entry, seq=expected, previous=previous):
            return expected
        previous = row.digest
        expected += 1
    return None
