"""How the ledger's SQLite file is opened: WAL, full synchronisation, foreign keys, one writer at a time.

No tables and no meaning here; `ledger` has them. Errors of the database leave this package as E_LEDGER.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

BUSY_TIMEOUT_MS = 10_000


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's errors, and values that this program never wrote, into E_LEDGER."""
    try:
        yield
    except SQLAlchemyError as exc:
        # The statement and its values stay out of the message; the driver's sentence says what the operator needs.
        cause = getattr(exc, "orig", None)
        raise ZoneGateError(Reason.E_LEDGER, f"ledger: {cause or type(exc).__name__}") from exc
    except ValueError as exc:
        raise ZoneGateError(Reason.E_LEDGER, f"ledger: holds a value that this program does not write: {exc}") from exc


def open_engine(path: Path) -> Engine:
    """Return an engine on the SQLite file at `path` whose transactions write at once or not at all."""
    engine = create_engine(URL.create("sqlite", database=str(path)))
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(dbapi_connection: Any, _record: Any) -> None:
    # The driver's own transaction handling would begin late and never IMMEDIATE.
    dbapi_connection.isolation_level = None
    for pragma in (f"busy_timeout={BUSY_TIMEOUT_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        dbapi_connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("zonegate_begin", "BEGIN IMMEDIATE"))


def time_text(when: datetime) -> str:
    """Return an instant as the ledger writes it."""
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def time_of(text: str) -> datetime:
    """Return the instant that `time_text` wrote."""
    return datetime.fromisoformat(text)
