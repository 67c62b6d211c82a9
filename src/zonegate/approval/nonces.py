"""[a] The book of spent nonces in an SQLite file: an act is done once, also between processes and after a power cut.

One insert into a table with the nonce as its key, in one transaction with full synchronisation: of two who spend at
the same time one is refused. A nonce is forgotten when its act has long been expired, which refuses it as well.
"""

import os
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Self

from zonegate.approval.act import Act
from zonegate.approval.judge import CLOCK_SKEW
from zonegate.canonical import time_text
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

BUSY_TIMEOUT_SECONDS: Final = 10.0
# A clock that was set back by less than this lets nothing be done twice.
KEEP: Final = timedelta(days=31) + CLOCK_SKEW
_SCHEMA_VERSION = 1


class SqliteNonceBook:
    """One net's book. Safe to use from several processes and threads: each call opens the file anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a new book, readable by its owner only; E_LEDGER if there is a file."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with closing(_connect(path)) as connection:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute(
                    "CREATE TABLE spent (nonce TEXT PRIMARY KEY, act TEXT NOT NULL, spent_at TEXT NOT NULL,"
                    " not_after TEXT NOT NULL) STRICT, WITHOUT ROWID"
                )
                connection.execute(f"PRAGMA user_version={_SCHEMA_VERSION}")
        except OSError as exc:
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: cannot be made: {exc.strerror}") from exc
        except sqlite3.Error as exc:
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: {exc}") from exc
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a book; E_LEDGER if it is missing or not one: an empty new book would let everything be done again."""
        if not path.is_file():
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: is missing")
        book = cls(path)
        try:
            with closing(_connect(path)) as connection:
                found = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.Error as exc:
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: {exc}") from exc
        if found != _SCHEMA_VERSION:
            detail = f"{path.name}: has the version {found}, expected is {_SCHEMA_VERSION}"
            raise ZoneGateError(Reason.E_LEDGER, detail)
        return book

    def spend(self, act: Act, *, now: datetime) -> None:
        """Record the act's nonce, durably and once; `E_APPROVAL_REPLAY` if it is there already."""
        try:
            with closing(_connect(self._path)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("DELETE FROM spent WHERE not_after < ?", (time_text(now - KEEP),))
                row = (act.nonce, act.digest, time_text(now), time_text(act.not_after))
                try:
                    connection.execute("INSERT INTO spent VALUES (?, ?, ?, ?)", row)
                except sqlite3.IntegrityError as exc:
                    connection.execute("ROLLBACK")
                    raise ZoneGateError(Reason.E_APPROVAL_REPLAY, "nonce: the approval was used before") from exc
                connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise ZoneGateError(Reason.E_LEDGER, f"{self._path.name}: {exc}") from exc


def _connect(path: Path) -> sqlite3.Connection:
    # mode=rw: a book that was taken away is missed, not made anew.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    connection.execute("PRAGMA synchronous=FULL")
    return connection
