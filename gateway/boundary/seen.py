"""[a] What a verifier has dealt with, so that a file that stays in the carrier is not read again at every look.

Losing this memory costs work and nothing else: the importer knows an object that comes again.
"""

from collections.abc import Collection
from pathlib import Path

from zonegate.gateway.boundary.carrier import Found
from zonegate.gateway.boundary.database import Database
from zonegate.reasons import Reason

_APPLICATION_ID = 0x5A47_5345
_VERSION = 1
_SCHEMA = """
CREATE TABLE seen (
  name TEXT PRIMARY KEY, inode INTEGER NOT NULL, size INTEGER NOT NULL, modified_ns INTEGER NOT NULL,
  digest TEXT NOT NULL, disposition TEXT NOT NULL
) WITHOUT ROWID
"""


class SeenFiles:
    """Names and identities of files that need no second look."""

    def __init__(self, path: Path) -> None:
        self._database = Database(
            path, application_id=_APPLICATION_ID, version=_VERSION, schema=_SCHEMA, reason=Reason.E_LEDGER
        )
        self._files: dict[str, tuple[int, int, int]] = {
            row["name"]: (row["inode"], row["size"], row["modified_ns"])
            for row in self._database.rows("SELECT * FROM seen")
        }

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, found: Found) -> bool:
        return self._files.get(found.shown) == (found.inode, found.size, found.modified_ns)

    def remember(self, found: Found, digest: str, disposition: str) -> None:
        """Note what became of a file."""
        identity = (found.inode, found.size, found.modified_ns)
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?, ?)",
                (found.shown, *identity, digest, disposition),
            )
        self._files[found.shown] = identity

    def forget_gone(self, names: Collection[str]) -> None:
        """Forget files that are not among `names` (`Found.shown`): the carrier no longer holds them."""
        gone = self._files.keys() - set(names)
        if not gone:
            return
        with self._database.transaction() as connection:
            connection.executemany("DELETE FROM seen WHERE name = ?", [(name,) for name in gone])
        for name in gone:
            del self._files[name]

    def close(self) -> None:
        """Close the file."""
        self._database.close()
