"""[a] What an exporting gateway remembers: its sequence, and the receipts of calls that carried an idempotency key.

A key is noted before its file is written, so that after a crash the same key takes up the same object again: the
importer then sees one object id twice, never one call as two objects. Calls without a key are only numbered.
"""

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.database import Database
from zonegate.gm import sm3
from zonegate.reasons import Reason

_APPLICATION_ID = 0x5A47_4558
_VERSION = 1
_SCHEMA = """
CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL);
INSERT INTO place VALUES (1, 0, 0);
CREATE TABLE keyed (
  key BLOB PRIMARY KEY, content TEXT NOT NULL, object_id TEXT NOT NULL, sequence INTEGER NOT NULL,
  ordinal INTEGER NOT NULL, created INTEGER NOT NULL, receipt BLOB
) WITHOUT ROWID;
CREATE INDEX keyed_created ON keyed (created)
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """The number and instant of one object. `fresh`: reserved just now; `receipt`: set when it was accepted before.

    `ordinal` is the instant too, but never earlier than that of the object before: names sort in sending order also
    when the clock was set back.
    """

    object_id: str
    sequence: int
    ordinal: int
    created: datetime
    fresh: bool
    receipt: bytes | None = None


def idempotency_key(caller: str, path: str, key: str) -> bytes:
    """Return the name under which a caller's key is kept: two callers or methods never share one."""
    return sm3.digest("\n".join((caller, path, key)).encode())


class ExportLedger:
    """The exporter's memory. Its owner calls it from one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path, application_id=_APPLICATION_ID, version=_VERSION, schema=_SCHEMA, reason=Reason.E_IMPORT_SPACE
        )

    def reserve(self, object_id: str, key: bytes | None, content: str, now: datetime) -> Place:
        """Return the place of a new object, or the one that `key` holds; E_IMPORT_DUPLICATE if its content differs."""
        with self._database.transaction() as connection:
            if key is not None:
                row = connection.execute("SELECT * FROM keyed WHERE key = ?", (key,)).fetchone()
                if row is not None:
                    if row["content"] != content:
                        detail = "zg-idempotency-key: was used before for another call with other content"
                        raise ZoneGateError(Reason.E_IMPORT_DUPLICATE, detail)
                    return _place(row)
            last = connection.execute("SELECT sequence, ordinal FROM place").fetchone()
            created = _number(now)
            place = Place(
                object_id, last["sequence"] + 1, max(created, last["ordinal"] + 1), _instant(created), fresh=True
            )
            connection.execute("UPDATE place SET sequence = ?, ordinal = ?", (place.sequence, place.ordinal))
            if key is not None:
                connection.execute(
                    "INSERT INTO keyed VALUES (?, ?, ?, ?, ?, ?, NULL)",
                    (key, content, place.object_id, place.sequence, place.ordinal, created),
                )
        return place

    def accept(self, key: bytes, receipt: bytes) -> None:
        """Remember the receipt that the same key gets again."""
        with self._database.transaction() as connection:
            connection.execute("UPDATE keyed SET receipt = ? WHERE key = ?", (receipt, key))

    def give_back(self, place: Place, key: bytes | None) -> None:
        """Undo a reservation whose file was not written, so that its number is not missing on the other side.

        A place that an earlier life reserved stays: its file may be on its way.
        """
        if not place.fresh:
            return
        with self._database.transaction() as connection:
            connection.execute("UPDATE place SET sequence = ? WHERE sequence = ?", (place.sequence - 1, place.sequence))
            if key is not None:
                connection.execute("DELETE FROM keyed WHERE key = ? AND receipt IS NULL", (key,))

    def forget(self, before: datetime) -> int:
        """Forget keys of objects made before an instant; return how many."""
        with self._database.transaction() as connection:
            return connection.execute("DELETE FROM keyed WHERE created < ?", (_number(before),)).rowcount

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def _place(row: sqlite3.Row) -> Place:
    instant = _instant(row["created"])
    return Place(row["object_id"], row["sequence"], row["ordinal"], instant, fresh=False, receipt=row["receipt"])


def _number(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _instant(number: int) -> datetime:
    return _EPOCH + number * _MICROSECOND
