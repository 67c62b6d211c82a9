"""The CA's memory: every serial before it is signed, every certificate, revocation, CRL number and audited act.

SQLAlchemy Core on SQLite: WAL, synchronous=FULL, foreign keys, one writer at a time (BEGIN IMMEDIATE), so that two
processes cannot take one serial, one CRL number or issue one key twice. Each act and its audit row are one
transaction. It holds no private key, and decides nothing about the contents of certificates.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, Self

from sqlalchemy import Connection, Engine, Row, insert, inspect, select, update

from zonegate.ca import audittable, schema
from zonegate.ca.audit import AuditEntry, AuditRow
from zonegate.ca.database import open_engine, time_of, time_text, translated
from zonegate.ca.revocation import RevokedCertificate
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.crl import RevocationReason
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

# A reservation without certificate bars its key this long: another process may be about to sign it.
RESERVATION_HOLD = timedelta(minutes=5)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is recorded before a certificate is signed."""

    serial: int
    issuer: Profile
    profile: Profile
    subject: str
    identity: str | None
    key_digest: str
    tbs_digest: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One serial as the ledger knows it; `der` is None while it is only reserved."""

    reservation: Reservation
    reserved_at: datetime
    issued_at: datetime | None
    der: bytes | None
    revocation: RevokedCertificate | None

    @property
    def state(self) -> str:
        """`reserved`, `issued`, `on hold` or `revoked`."""
        if self.der is None:
            return "reserved"
        if self.revocation is None:
            return "issued"
        return "on hold" if self.revocation.reason is RevocationReason.CERTIFICATE_HOLD else "revoked"


@dataclass(frozen=True, slots=True)
class CrlDraft:
    """A number and a second that no other list of the issuer has, and what the list is to say."""

    issuer: Profile
    number: int
    this_update: datetime
    next_update: datetime
    revoked: tuple[RevokedCertificate, ...]


class TooSoonError(Exception):
    """A list of this issuer was made in this very second; `wait` says how long until the next."""

    def __init__(self, wait: timedelta) -> None:
        super().__init__(f"the next list may be made in {wait.total_seconds():.3f} s")
        self.wait = wait


def serial_text(serial: int) -> str:
    """Return a serial as the ledger and the CLI write it."""
    return f"{serial:032x}"


class Ledger:
    """One net's ledger file; safe to use from several threads and processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def create(cls, path: Path, net: Net) -> Self:
        """Make a new ledger file, readable by its owner only."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as exc:
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: cannot be made: {exc.strerror}") from exc
        ledger = cls(open_engine(path))
        with ledger._writing() as connection:
            schema.metadata.create_all(connection)
            rows = [{"key": "schema_version", "value": str(schema.SCHEMA_VERSION)}, {"key": "net", "value": net.value}]
            connection.execute(insert(schema.meta), rows)
        return ledger

    @classmethod
    def open(cls, path: Path, net: Net) -> Self:
        """Open a ledger file; E_LEDGER if it is missing, of another schema version or of the other net."""
        if not path.is_file():
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: is missing")
        ledger = cls(open_engine(path))
        try:
            with ledger._reading() as connection:
                found = {row.key: row.value for row in connection.execute(select(schema.meta))}
                has_key_requests = inspect(connection).has_table(schema.key_requests.name)
        except ZoneGateError:
            ledger.close()
            raise
        wanted = {"schema_version": str(schema.SCHEMA_VERSION), "net": net.value}
        for key, value in wanted.items():
            if found.get(key) != value:
                ledger.close()
                raise ZoneGateError(Reason.E_LEDGER, f"{key}: is {found.get(key)!r}, this program needs {value!r}")
        if not has_key_requests:
            # A ledger from before dual certificates; the table is added, nothing else changes.
            with ledger._writing() as connection:
                schema.key_requests.create(connection, checkfirst=True)
        return ledger

    def close(self) -> None:
        """Give the file handles back."""
        self._engine.dispose()

    # --- certificates

    def reserve(self, *reservations: Reservation, now: datetime) -> None:
        """Record serials before they are signed; E_DUPLICATE_KEY if a key has a certificate or is being issued."""
        with self._writing() as connection:
            for reservation in reservations:
                _refuse_known_key(connection, reservation.key_digest, now)
                connection.execute(insert(schema.certificates).values(_reserved(reservation, now)))

    def check_new_key(self, key_digest: str, *, now: datetime) -> None:
        """Refuse like `reserve` would, before anybody else is asked for anything."""
        with self._reading() as connection:
            _refuse_known_key(connection, key_digest, now)

    def record(self, serial: int, der: bytes, entry: AuditEntry, *, now: datetime) -> None:
        """Record the certificate that was signed under a reserved serial, with its audit row."""
        with self._writing() as connection:
            _record(connection, serial, der, now)
            audittable.append(connection, entry)

    def record_pair(
        self, signed: Sequence[tuple[int, bytes]], entries: Sequence[AuditEntry], *, escrowed: int, now: datetime
    ) -> None:
        """Record dual certificates together, and that the key asked for `escrowed` has its certificate."""
        table = schema.key_requests
        with self._writing() as connection:
            for serial, der in signed:
                _record(connection, serial, der, now)
            change = update(table).where(table.c.serial == serial_text(escrowed), table.c.state == "asked")
            if connection.execute(change.values(state="certified")).rowcount != 1:
                raise ZoneGateError(Reason.E_LEDGER, f"serial: no key is asked for {serial_text(escrowed)} any more")
            for entry in entries:
                audittable.append(connection, entry)

    # --- keys asked of the key centre

    def ask_key(self, serial: int, *, now: datetime) -> None:
        """Record that a key will be asked for the encryption certificate `serial`, before it is."""
        with self._writing() as connection:
            values = {"serial": serial_text(serial), "asked_at": time_text(now), "state": "asked"}
            connection.execute(insert(schema.key_requests).values(values))

    def leaving_keys(self, *, now: datetime) -> tuple[int, ...]:
        """Return whose keys the centre is to archive: never certified, or their certificate was revoked."""
        table = schema.key_requests
        left = (table.c.state == "asked") & (table.c.asked_at <= time_text(now - RESERVATION_HOLD))
        query = select(table.c.serial).where(left | (table.c.state == "leaving")).order_by(table.c.asked_at)
        with self._reading() as connection:
            return tuple(int(serial, 16) for serial in connection.execute(query).scalars())

    def settle_key(self, serial: int) -> None:
        """Record that the centre has archived the key, or never gave one."""
        table = schema.key_requests
        with self._writing() as connection:
            change = update(table).where(table.c.serial == serial_text(serial), table.c.state != "certified")
            connection.execute(change.values(state="settled"))

    def find(self, serial: int) -> LedgerRow:
        """Return the row of `serial`; E_UNKNOWN_SERIAL if there is none."""
        rows = self._rows(schema.certificates.c.serial == serial_text(serial))
        if not rows:
            raise ZoneGateError(Reason.E_UNKNOWN_SERIAL, f"serial: {serial_text(serial)} is not in the ledger")
        return rows[0]

    def rows(self) -> tuple[LedgerRow, ...]:
        """Return every row, oldest first."""
        return self._rows()

    # --- revocation

    def revoke(self, revoked: RevokedCertificate, entry: AuditEntry) -> None:
        """Enter a revocation; a hold may become a revocation for good, nothing else changes."""
        table = schema.revocations
        with self._writing() as connection:
            row = self._issued(connection, revoked.serial)
            values = {"reason": revoked.reason.value, "at": time_text(revoked.at)}
            if row.reason is None:
                connection.execute(insert(table).values(serial=row.serial, **values))
            elif row.reason == RevocationReason.CERTIFICATE_HOLD and revoked.reason != row.reason:
                connection.execute(update(table).where(table.c.serial == row.serial).values(values))
            else:
                raise ZoneGateError(Reason.E_CERT_REVOKED, f"serial: {row.serial} is revoked already ({row.reason})")
            if revoked.reason is not RevocationReason.CERTIFICATE_HOLD:
                asked = schema.key_requests
                certified = (asked.c.serial == row.serial) & (asked.c.state == "certified")
                connection.execute(update(asked).where(certified).values(state="leaving"))
            audittable.append(connection, entry)

    def release(self, serial: int, entry: AuditEntry) -> None:
        """Lift a hold; a revocation for good stays."""
        table = schema.revocations
        with self._writing() as connection:
            row = self._issued(connection, serial)
            if row.reason != RevocationReason.CERTIFICATE_HOLD:
                state = "is not revoked" if row.reason is None else f"is revoked for good ({row.reason})"
                raise ZoneGateError(Reason.E_PROFILE, f"serial: {row.serial} {state}, only a hold can be released")
            connection.execute(table.delete().where(table.c.serial == row.serial))
            audittable.append(connection, entry)

    # --- revocation lists

    def draft_crl(
        self, issuer: Profile, *, now: datetime, lifetime: timedelta, carried: datetime | None = None
    ) -> CrlDraft:
        """Reserve the next list; `TooSoonError` if its second is taken. `carried`: when the last full one was made."""
        table = schema.crls
        this_update = now.replace(microsecond=0)
        with self._writing() as connection:
            query = select(table).where(table.c.issuer == issuer.value).order_by(table.c.number.desc()).limit(1)
            last = connection.execute(query).first()
            if last is not None and time_of(last.this_update) >= this_update:
                raise TooSoonError(time_of(last.this_update) + _SECOND - now)
            since = time_text(carried) if carried else None if last is None else last.this_update
            draft = CrlDraft(
                issuer=issuer,
                number=1 if last is None else last.number + 1,
                this_update=this_update,
                next_update=this_update + lifetime,
                # RFC 5280 3.3: an entry stays until a list made after the certificate's end has carried it.
                revoked=_listed(connection, issuer, since),
            )
            times = {"this_update": time_text(this_update), "next_update": time_text(draft.next_update)}
            connection.execute(insert(table).values(issuer=issuer.value, number=draft.number, **times))
        return draft

    def publish_crl(self, draft: CrlDraft, digest: str, write: Callable[[], None], entry: AuditEntry) -> None:
        """Call `write` and record it, unless a newer list was published meanwhile: the file never steps back."""
        table = schema.crls
        with self._writing() as connection:
            newer = select(table.c.number).where(
                table.c.issuer == draft.issuer.value, table.c.number > draft.number, table.c.digest.is_not(None)
            )
            if connection.execute(newer).first() is not None:
                return
            write()
            mine = (table.c.issuer == draft.issuer.value) & (table.c.number == draft.number)
            connection.execute(update(table).where(mine).values(digest=digest))
            audittable.append(connection, entry)

    # --- audit

    def append_audit(self, entry: AuditEntry) -> None:
        """Record an act that changes nothing else: a refusal, an initialisation."""
        with self._writing() as connection:
            audittable.append(connection, entry)

    def audit_rows(self) -> tuple[AuditRow, ...]:
        """Return the audit, oldest first, as stored; `audit.first_broken` judges it."""
        with self._reading() as connection:
            return audittable.rows(connection)

    # --- inside

    def _rows(self, *where: Any) -> tuple[LedgerRow, ...]:
        table, revoked = schema.certificates, schema.revocations
        joined = table.outerjoin(revoked, table.c.serial == revoked.c.serial)
        query = select(table, revoked.c.reason, revoked.c.at).select_from(joined).where(*where)
        with self._reading() as connection:
            return tuple(
                _ledger_row(row) for row in connection.execute(query.order_by(table.c.reserved_at, table.c.serial))
            )

    def _issued(self, connection: Connection, serial: int) -> Any:
        table, revoked = schema.certificates, schema.revocations
        joined = table.outerjoin(revoked, table.c.serial == revoked.c.serial)
        query = select(table.c.serial, table.c.state, revoked.c.reason).select_from(joined)
        row = connection.execute(query.where(table.c.serial == serial_text(serial))).first()
        if row is None or row.state != "issued":
            raise ZoneGateError(Reason.E_UNKNOWN_SERIAL, f"serial: {serial_text(serial)} was not issued by this CA")
        return row

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(), self._engine.connect().execution_options(zonegate_begin="BEGIN") as connection:
            yield connection


def _reserved(reservation: Reservation, now: datetime) -> dict[str, str | None]:
    return {
        "serial": serial_text(reservation.serial),
        "issuer": reservation.issuer.value,
        "profile": reservation.profile.value,
        "subject": reservation.subject,
        "identity": reservation.identity,
        "key_digest": reservation.key_digest,
        "tbs_digest": reservation.tbs_digest,
        "not_before": time_text(reservation.not_before),
        "not_after": time_text(reservation.not_after),
        "state": "reserved",
        "reserved_at": time_text(now),
    }


def _record(connection: Connection, serial: int, der: bytes, now: datetime) -> None:
    table = schema.certificates
    change = (
        update(table)
        .where(table.c.serial == serial_text(serial), table.c.state == "reserved")
        .values(state="issued", der=der, issued_at=time_text(now))
    )
    if connection.execute(change).rowcount != 1:
        raise ZoneGateError(Reason.E_LEDGER, f"serial: {serial_text(serial)} is not reserved")


def _refuse_known_key(connection: Connection, key_digest: str, now: datetime) -> None:
    table = schema.certificates
    query = select(table.c.serial, table.c.state, table.c.reserved_at).where(table.c.key_digest == key_digest)
    for row in connection.execute(query):
        if row.state == "issued":
            _duplicate(f"certificate {row.serial} was issued for this key; each certificate has a key of its own")
        if now < time_of(row.reserved_at) + RESERVATION_HOLD:
            _duplicate(f"serial {row.serial} was reserved for this key at {row.reserved_at} and may be issued yet")


def _listed(connection: Connection, issuer: Profile, previous_update: str | None) -> tuple[RevokedCertificate, ...]:
    table, revoked = schema.certificates, schema.revocations
    query = (
        select(revoked)
        .join(table, table.c.serial == revoked.c.serial)
        .where(table.c.issuer == issuer.value)
        .order_by(revoked.c.serial)
    )
    if previous_update is not None:
        query = query.where(table.c.not_after >= previous_update)
    return tuple(_revoked(row.serial, row.reason, row.at) for row in connection.execute(query))


def _revoked(serial: str, reason: str, at: str) -> RevokedCertificate:
    return RevokedCertificate(int(serial, 16), time_of(at), RevocationReason(reason))


def _ledger_row(row: Row[Any]) -> LedgerRow:
    reservation = Reservation(
        serial=int(row.serial, 16),
        issuer=Profile(row.issuer),
        profile=Profile(row.profile),
        subject=row.subject,
        identity=row.identity,
        key_digest=row.key_digest,
        tbs_digest=row.tbs_digest,
        not_before=time_of(row.not_before),
        not_after=time_of(row.not_after),
    )
    return LedgerRow(
        reservation=reservation,
        reserved_at=time_of(row.reserved_at),
        issued_at=None if row.issued_at is None else time_of(row.issued_at),
        der=row.der,
        revocation=None if row.reason is None else _revoked(row.serial, row.reason, row.at),
    )


def _duplicate(problem: str) -> NoReturn:
    raise ZoneGateError(Reason.E_DUPLICATE_KEY, f"publicKey: {problem}")
