"""[a] What an importer has taken and how far it came: an object is in it once, for as long as it could come again.

received -> delivering -> delivered | refused. `delivering` is durable before the first byte goes to the provider, so
after a crash the importer knows which objects may have been executed. Messages are kept until the end of an object
and then overwritten (XZ-12); the signed header stays, as long as the object could be offered again, so that an
auditor can verify who sent it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from zonegate.gateway.boundary.database import Database
from zonegate.gateway.boundary.handover import Offer
from zonegate.gateway.boundary.header import ObjectHeader
from zonegate.gateway.boundary.transport_file import read_proof
from zonegate.reasons import Reason

_APPLICATION_ID = 0x5A47_494D
_VERSION = 1
_SCHEMA = """
CREATE TABLE object (
  number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL, file TEXT NOT NULL,
  sender TEXT NOT NULL, resource TEXT NOT NULL, created INTEGER NOT NULL, received INTEGER NOT NULL,
  bytes INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '', proof BLOB NOT NULL
);
CREATE INDEX object_state ON object (state);
CREATE INDEX object_created ON object (created);
CREATE TABLE message (
  object INTEGER NOT NULL REFERENCES object (number) ON DELETE CASCADE, place INTEGER NOT NULL, body BLOB NOT NULL,
  PRIMARY KEY (object, place)
) WITHOUT ROWID;
CREATE TABLE gateway (uri TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class State(StrEnum):
    """How far an object came."""

    RECEIVED = "received"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    REFUSED = "refused"


OPEN = (State.RECEIVED, State.DELIVERING)


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that is not finished; its messages are fetched when it is delivered."""

    number: int
    object_id: str
    state: State
    sender: str
    resource: str
    bytes: int
    received: datetime

    @property
    def stream(self) -> tuple[str, str]:
        """Objects of one sender for one resource are delivered in the order in which they came."""
        return self.sender, self.resource


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is needed to decide on an object and deliver it."""

    header: ObjectHeader
    file: str
    messages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What storing an offer did: the object, or None where it was there before; how many numbers were missing."""

    stored: Stored | None
    gap: int


class ImportLedger:
    """The importer's memory. Its owner calls it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path, application_id=_APPLICATION_ID, version=_VERSION, schema=_SCHEMA, reason=Reason.E_LEDGER
        )

    def receive(self, offer: Offer, now: datetime) -> Receipt:
        """Store an offered object durably, once."""
        header = offer.header
        with self._database.transaction() as connection:
            known = connection.execute("SELECT 1 FROM object WHERE id = ?", (header.object_id,)).fetchone()
            if known is not None:
                return Receipt(None, 0)
            cursor = connection.execute(
                "INSERT INTO object (id, state, file, sender, resource, created, received, bytes, proof)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    header.object_id,
                    State.RECEIVED.value,
                    offer.file,
                    header.caller,
                    header.resource,
                    _number(header.created),
                    _number(now),
                    header.message_bytes,
                    offer.signed.proof,
                ),
            )
            number = int(cursor.lastrowid or 0)
            connection.executemany(
                "INSERT INTO message VALUES (?, ?, ?)",
                [(number, place, body) for place, body in enumerate(offer.messages)],
            )
            last = connection.execute("SELECT sequence FROM gateway WHERE uri = ?", (header.gateway,)).fetchone()
            connection.execute(
                "INSERT INTO gateway VALUES (?, ?) ON CONFLICT (uri) DO UPDATE SET sequence = MAX(sequence, ?)",
                (header.gateway, header.sequence, header.sequence),
            )
        stored = Stored(
            number, header.object_id, State.RECEIVED, header.caller, header.resource, header.message_bytes, now
        )
        gap = 0 if last is None else max(0, header.sequence - int(last["sequence"]) - 1)
        return Receipt(stored, gap)

    def unfinished(self) -> list[Stored]:
        """Return the objects that are not finished, in the order in which they came."""
        rows = self._database.rows("SELECT * FROM object WHERE state IN (?, ?) ORDER BY number", *map(str, OPEN))
        return [
            Stored(
                row["number"],
                row["id"],
                State(row["state"]),
                row["sender"],
                row["resource"],
                row["bytes"],
                _instant(row["received"]),
            )
            for row in rows
        ]

    def load(self, number: int) -> Loaded:
        """Return an unfinished object's header and messages."""
        (row,) = self._database.rows("SELECT file, proof FROM object WHERE number = ?", number)
        bodies = self._database.rows("SELECT body FROM message WHERE object = ? ORDER BY place", number)
        _, header = read_proof(row["proof"])
        return Loaded(header, row["file"], tuple(bytes(body["body"]) for body in bodies))

    def begin_delivery(self, number: int) -> int:
        """Note that the provider may see the object from now on; return how many times that was noted."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE object SET state = ?, attempts = attempts + 1 WHERE number = ?",
                (State.DELIVERING.value, number),
            )
            row = connection.execute("SELECT attempts FROM object WHERE number = ?", (number,)).fetchone()
        return int(row["attempts"])

    def finish(self, number: int, state: State, reason: Reason) -> None:
        """Note the end of an object and overwrite its messages."""
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE object SET state = ?, reason = ? WHERE number = ?", (state.value, reason.value, number)
            )
            connection.execute("DELETE FROM message WHERE object = ?", (number,))

    def clear_residue(self) -> None:
        """Overwrite what the log still holds of messages that are finished (XZ-12)."""
        self._database.checkpoint()

    def proof(self, object_id: str) -> bytes | None:
        """Return the signed header of an object, for an auditor."""
        rows = self._database.rows("SELECT proof FROM object WHERE id = ?", object_id)
        return bytes(rows[0]["proof"]) if rows else None

    def states(self) -> dict[str, int]:
        """Return how many objects are in each state."""
        rows = self._database.rows("SELECT state, COUNT(*) AS number FROM object GROUP BY state")
        return {row["state"]: row["number"] for row in rows}

    def forget(self, before: datetime) -> int:
        """Forget finished objects made before an instant: too old to be offered again. Return how many."""
        with self._database.transaction() as connection:
            cursor = connection.execute(
                "DELETE FROM object WHERE created < ? AND state NOT IN (?, ?)", (_number(before), *map(str, OPEN))
            )
            return cursor.rowcount

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def total_bytes(objects: Sequence[Stored]) -> int:
    """Return the bytes of the messages of some objects."""
    return sum(item.bytes for item in objects)


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _instant(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND
