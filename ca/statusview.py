"""The ledger as a responder sees it: the status of one serial, and which serials have changed. [a]

It only reads. What changed is found in the audit, whose rows are written in the transaction of every act: one small
query tells whether anything happened, so a revocation reaches pre-signed answers within one poll.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, func, select

from zonegate.ca import schema
from zonegate.ca.audit import Result
from zonegate.ca.database import open_engine, time_of, translated
from zonegate.ca.ledger import serial_text
from zonegate.ca.ocsp import SerialStatus
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.crl import Revocation, RevocationReason
from zonegate.pki.ocsp_message import CertState
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

_SERIAL_DIGITS = 32


class LedgerView:
    """One issuer's part of a ledger, read only."""

    def __init__(self, engine: Engine, issuer: Profile = Profile.SUB_CA) -> None:
        self._engine = engine
        self._issuer = issuer
        table, revoked = schema.certificates, schema.revocations
        self._joined = table.outerjoin(revoked, table.c.serial == revoked.c.serial)

    @classmethod
    def open(cls, path: Path, net: Net) -> Self:
        """Open the ledger file of `net`; E_LEDGER if it is missing or of the other net."""
        if not path.is_file():
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: is missing")
        view = cls(open_engine(path))
        try:
            view._check_net(net)
        except ZoneGateError:
            view.close()
            raise
        return view

    def _check_net(self, net: Net) -> None:
        with self._reading() as connection:
            found = connection.execute(select(schema.meta.c.value).where(schema.meta.c.key == "net")).scalar()
        if found != net.value:
            raise ZoneGateError(Reason.E_LEDGER, f"net: is {found!r}, this responder is of {net.value!r}")

    def close(self) -> None:
        """Give the file handles back."""
        self._engine.dispose()

    def status(self, serial: int) -> SerialStatus:
        """Return good, revoked or unknown. What is only reserved has not been issued."""
        table, revoked = schema.certificates, schema.revocations
        query = (
            select(table.c.state, revoked.c.reason, revoked.c.at)
            .select_from(self._joined)
            .where(table.c.serial == serial_text(serial), table.c.issuer == self._issuer.value)
        )
        with self._reading() as connection:
            row = connection.execute(query).first()
            if row is None or row.state != "issued":
                return SerialStatus(CertState.UNKNOWN)
            if row.reason is None:
                return SerialStatus(CertState.GOOD)
            return SerialStatus(CertState.REVOKED, Revocation(RevocationReason(row.reason), time_of(row.at)))

    def head(self) -> int:
        """Return the number of the newest act."""
        with self._reading() as connection:
            return connection.execute(select(func.max(schema.audit.c.seq))).scalar() or 0

    def changed_since(self, seq: int) -> tuple[int, frozenset[int]]:
        """Return the newest act's number and the serials that acts after number `seq` were about."""
        table = schema.audit
        query = select(table.c.seq, table.c.target).where(table.c.seq > seq, table.c.result == Result.DONE.value)
        with self._reading() as connection:
            rows = connection.execute(query).all()
            newest = connection.execute(select(func.max(table.c.seq))).scalar() or 0
        return max(newest, seq), frozenset(_serials(row.target for row in rows))

    def serials(self, limit: int) -> tuple[int, ...]:
        """Return the newest `limit` serials that were issued, to sign answers about them ahead of questions."""
        table = schema.certificates
        query = (
            select(table.c.serial)
            .where(table.c.state == "issued", table.c.issuer == self._issuer.value)
            .order_by(table.c.issued_at.desc())
            .limit(limit)
        )
        with self._reading() as connection:
            return tuple(int(row.serial, 16) for row in connection.execute(query))

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(), self._engine.connect().execution_options(zonegate_begin="BEGIN") as connection:
            yield connection


def _serials(targets: Iterator[str]) -> Iterator[int]:
    for target in targets:
        if len(target) == _SERIAL_DIGITS and set(target) <= set("0123456789abcdef"):
            yield int(target, 16)
