"""Rows of the audit chain in a database: appended inside the transaction of the act, read back as stored.

The table is `schema.audit`, in the ledger's file and in the key centre's. What a row's digest covers is `audit`'s.
"""

from typing import Any

from sqlalchemy import Connection, Row, insert, select

from zonegate.ca import schema
from zonegate.ca.audit import GENESIS, Act, AuditEntry, AuditRow, Result, chain


def append(connection: Connection, entry: AuditEntry) -> None:
    """Add `entry` to the chain."""
    table = schema.audit
    last = connection.execute(select(table.c.seq, table.c.digest).order_by(table.c.seq.desc()).limit(1)).first()
    row = (
        chain(entry, seq=1, previous=GENESIS) if last is None else chain(entry, seq=last.seq + 1, previous=last.digest)
    )
    connection.execute(
        insert(table).values(
            seq=row.seq,
            at=entry.at,
            actor=entry.actor,
            act=entry.act.value,
            target=entry.target,
            result=entry.result.value,
            reason=entry.reason,
            detail=entry.detail,
            previous=row.previous,
            digest=row.digest,
        )
    )


def rows(connection: Connection) -> tuple[AuditRow, ...]:
    """Return the chain, oldest first, as stored; `audit.first_broken` judges it."""
    return tuple(_row(row) for row in connection.execute(select(schema.audit).order_by("seq")))


def _row(row: Row[Any]) -> AuditRow:
    entry = AuditEntry(row.at, row.actor, Act(row.act), row.target, Result(row.result), row.reason, row.detail)
    return AuditRow(row.seq, entry, row.previous, row.digest)
