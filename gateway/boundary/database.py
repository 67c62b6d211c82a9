"""[a] Opens the small SQLite ledgers of the boundary: durable at commit, one writer, of one kind and version.

Every error of SQLite leaves this layer as the reason that its owner names, so that a full disk is a refusal and no
crash. What the tables mean is the business of `export_ledger`, `seen` and `import_ledger`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

_BUSY_SECONDS = 5.0


class Database:
    """One connection. The owner serialises its use; `transaction` commits or leaves no trace."""

    def __init__(self, path: Path, *, application_id: int, version: int, schema: str, reason: Reason) -> None:
        self._reason = reason
        self._name = path.name
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            self._prepare(application_id, version, schema)

    def _prepare(self, application_id: int, version: int, schema: str) -> None:
        connection = self._connection
        # FULL: a commit that returned survives the loss of power. secure_delete: messages leave no residue (XZ-12).
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        at = connection.execute("PRAGMA user_version").fetchone()[0]
        if found == 0 and at == 0:
            script = f"PRAGMA application_id={application_id}; PRAGMA user_version={version};"
            connection.executescript(f"BEGIN IMMEDIATE; {schema}; {script} COMMIT;")
        elif (found, at) != (application_id, version):
            detail = f"{self._name}: is not a ledger of this kind and version ({application_id}, {version})"
            raise ZoneGateError(Reason.E_LEDGER, detail)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as exc:
            raise ZoneGateError(self._reason, f"ledger {self._name}: {exc}") from exc

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Give the connection inside a write transaction that is durable when the block ends."""
        with self._translated():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def rows(self, query: str, *parameters: object) -> list[sqlite3.Row]:
        """Return what a query finds."""
        with self._translated():
            return self._connection.execute(query, parameters).fetchall()

    def checkpoint(self) -> None:
        """Move everything from the write-ahead log into the file and cut the log to nothing."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; a later use is an error of the owner."""
        self._connection.close()
