"""The centre's memory: standby, in-use and history keys (sealed), data keys (wrapped), holders, nonces, audit (CA-07).

SQLAlchemy Core on SQLite like the ledger: WAL, synchronous=FULL, one writer at a time, each step and its audit row
one transaction. Two CAs that ask at once cannot get one key. Sealing and unsealing is `vault`'s; what may be done
is decided by `centre`.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import Connection, Engine, Row, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from zonegate.ca import audittable
from zonegate.ca import schema as common
from zonegate.ca.audit import AuditEntry, AuditRow
from zonegate.ca.database import open_engine, time_of, time_text, translated
from zonegate.ca.kmc import schema
from zonegate.ca.kmc.lifecycle import KeyState, check_step
from zonegate.ca.kmc.shares import Split
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import PublicKey
from zonegate.identity import Net
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key pair just made, sealed under data key `data_key`."""

    key_id: str
    public_key: PublicKey
    data_key: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose an encryption key is: the CA, the serial of the encryption certificate, the holder's identity."""

    ca: str
    serial: int
    holder: str


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key as stored; `sealed` is None once it is destroyed."""

    key_id: str
    state: KeyState
    public_key: PublicKey
    data_key: int
    sealed: bytes | None
    owner: Owner | None
    archived_at: datetime | None


@dataclass(frozen=True, slots=True)
class DataKey:
    """A data key that is in use, wrapped under the master key of `generation`."""

    number: int
    generation: int
    wrapped: bytes


def key_serial(serial: int) -> str:
    """Return a serial as the centre writes it: as the ledger does, longer ones whole."""
    return f"{serial:032x}"


class Store:
    """One centre's database file; safe to use from several threads and processes."""

    def __init__(self, engine: Engine) -> None:
        # What is overwritten is overwritten on the disk too, not only unlinked from the tree.
        event.listen(engine, "connect", _secure_delete)
        self._engine = engine

    @classmethod
    def create(cls, path: Path, net: Net) -> Self:
        """Make a new file, readable by its owner only."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as exc:
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: cannot be made: {exc.strerror}") from exc
        store = cls(open_engine(path))
        with store._writing() as connection:
            schema.metadata.create_all(connection)
            common.meta.create(connection)
            common.audit.create(connection)
            rows = [{"key": key, "value": value} for key, value in _marks(net).items()]
            connection.execute(insert(common.meta), rows)
        return store

    @classmethod
    def open(cls, path: Path, net: Net) -> Self:
        """Open a file; E_LEDGER if it is missing, of another schema version or of the other net."""
        if not path.is_file():
            raise ZoneGateError(Reason.E_LEDGER, f"{path.name}: is missing")
        store = cls(open_engine(path))
        try:
            with store._reading() as connection:
                found = {row.key: row.value for row in connection.execute(select(common.meta))}
            _check_marks(found, net)
        except ZoneGateError:
            store.close()
            raise
        return store

    def close(self) -> None:
        """Give the file handles back."""
        self._engine.dispose()

    # --- master and data keys

    def split(self) -> Split:
        """Return the split that is in force."""
        table = schema.masters
        with self._reading() as connection:
            row = connection.execute(select(table).order_by(table.c.generation.desc()).limit(1)).first()
            if row is None:
                raise ZoneGateError(Reason.E_LEDGER, "masters: is empty, the centre was not founded")
            people = schema.holders
            query = select(people.c.name).where(people.c.generation == row.generation).order_by(people.c.place)
            names = tuple(connection.execute(query).scalars())
        return Split(row.generation, row.identifier, row.threshold, names)

    def data_key(self) -> DataKey:
        """Return the data key that is in use."""
        table = schema.data_keys
        query = select(table).where(table.c.wrapped.is_not(None)).order_by(table.c.number.desc()).limit(1)
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise ZoneGateError(Reason.E_LEDGER, "data_keys: is empty, the centre was not founded")
        return DataKey(row.number, row.generation, row.wrapped)

    def put_split(self, split: Split, data_key: DataKey, entry: AuditEntry, *, now: datetime) -> None:
        """Record a new split of a new master key, with the data key wrapped under it; older splits open nothing."""
        with self._writing() as connection:
            values = {"generation": split.generation, "identifier": split.identifier, "threshold": split.threshold}
            connection.execute(insert(schema.masters).values(**values, made_at=time_text(now)))
            rows = [
                {"generation": split.generation, "place": place, "name": name}
                for place, name in enumerate(split.holders)
            ]
            connection.execute(insert(schema.holders), rows)
            table = schema.data_keys
            fresh = {"generation": data_key.generation, "wrapped": data_key.wrapped}
            change = update(table).where(table.c.number == data_key.number).values(fresh)
            if connection.execute(change).rowcount == 0:
                made = {"number": data_key.number, "made_at": time_text(now)}
                connection.execute(insert(table).values(**fresh, **made))
            audittable.append(connection, entry)

    def put_data_key(
        self, data_key: DataKey, resealed: Sequence[tuple[str, bytes]], entry: AuditEntry, *, now: datetime
    ) -> None:
        """Record a new data key with every key sealed under it; the older one is destroyed in the same step."""
        table, kept = schema.data_keys, schema.keys
        with self._writing() as connection:
            connection.execute(
                insert(table).values(
                    number=data_key.number,
                    generation=data_key.generation,
                    wrapped=data_key.wrapped,
                    made_at=time_text(now),
                )
            )
            for key_id, sealed in resealed:
                change = update(kept).where(kept.c.key_id == key_id, kept.c.sealed.is_not(None))
                connection.execute(change.values(sealed=sealed, data_key=data_key.number))
            behind = (kept.c.sealed.is_not(None)) & (kept.c.data_key != data_key.number)
            if connection.execute(select(func.count()).select_from(kept).where(behind)).scalar_one():
                raise ZoneGateError(Reason.E_LEDGER, "keys: some were made while the data key was changed; do it again")
            connection.execute(update(table).where(table.c.number < data_key.number).values(wrapped=None))
            audittable.append(connection, entry)

    # --- keys

    def add_standby(self, made: Sequence[NewKey], entry: AuditEntry, *, now: datetime) -> None:
        """Put keys into the standby store."""
        rows = [
            {
                "key_id": key.key_id,
                "state": KeyState.STANDBY.value,
                "point": key.public_key.point,
                "data_key": key.data_key,
                "sealed": key.sealed,
                "made_at": time_text(now),
            }
            for key in made
        ]
        with self._writing() as connection:
            active = select(func.max(schema.data_keys.c.number)).where(schema.data_keys.c.wrapped.is_not(None))
            if {key.data_key for key in made} - {connection.execute(active).scalar_one()}:
                raise ZoneGateError(Reason.E_LEDGER, "data key: was changed meanwhile; do it again")
            connection.execute(insert(schema.keys), rows)
            audittable.append(connection, entry)

    def give(self, owner: Owner, entry: AuditEntry, *, now: datetime) -> KeyRow:
        """Move the oldest standby key to `owner` for ever; E_KEY_STATE if there is none, E_DUPLICATE_KEY twice."""
        table = schema.keys
        with self._writing() as connection:
            self._refuse_owned(connection, owner)
            query = select(table.c.key_id).where(table.c.state == KeyState.STANDBY.value)
            key_id = connection.execute(query.order_by(table.c.made_at, table.c.key_id).limit(1)).scalar()
            if key_id is None:
                raise ZoneGateError(Reason.E_KEY_STATE, "standby store: is empty")
            values = {"ca": owner.ca, "serial": key_serial(owner.serial), "holder": owner.holder}
            change = update(table).where(table.c.key_id == key_id)
            moved = change.values(**values, state=KeyState.IN_USE.value, given_at=time_text(now))
            connection.execute(moved)
            audittable.append(connection, entry)
            return _key_row(connection.execute(select(table).where(table.c.key_id == key_id)).one())

    def find(self, ca: str, serial: int) -> KeyRow:
        """Return the key of an encryption certificate; E_NOT_ESCROWED if the centre never had one (CA-05)."""
        table = schema.keys
        query = select(table).where(table.c.ca == ca, table.c.serial == key_serial(serial))
        with self._reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            detail = f"serial: no encryption key was ever made for {key_serial(serial)}; signing keys are never here"
            raise ZoneGateError(Reason.E_NOT_ESCROWED, detail)
        return _key_row(row)

    def archive(self, key: KeyRow, reason: str, entry: AuditEntry, *, now: datetime) -> None:
        """Move a key from in-use to history."""
        values = {"archived_at": time_text(now), "archive_reason": reason}
        self._step(key, KeyState.HISTORY, values, entry)

    def destroy(self, key: KeyRow, entry: AuditEntry, *, now: datetime) -> None:
        """Overwrite the private half of a standby or history key; the public half and the owner stay."""
        self._step(key, KeyState.DESTROYED, {"sealed": None, "destroyed_at": time_text(now)}, entry)

    def rows(self, *states: KeyState) -> tuple[KeyRow, ...]:
        """Return the keys in `states`, oldest first."""
        table = schema.keys
        query = select(table).where(table.c.state.in_([state.value for state in states]))
        with self._reading() as connection:
            return tuple(_key_row(row) for row in connection.execute(query.order_by(table.c.made_at, table.c.key_id)))

    def counts(self) -> dict[KeyState, int]:
        """Return how many keys each store holds."""
        table = schema.keys
        with self._reading() as connection:
            found = {row.state: row.n for row in connection.execute(_count_query(table))}
        return {state: found.get(state.value, 0) for state in KeyState}

    def standby_left(self) -> int:
        """Return how many standby keys there are, without looking at the stores that grow for ever."""
        table = schema.keys
        query = select(func.count()).select_from(table).where(table.c.state == KeyState.STANDBY.value)
        with self._reading() as connection:
            return int(connection.execute(query).scalar_one())

    # --- requests and audit

    def consume(self, ca: str, nonce: bytes, *, now: datetime) -> None:
        """Use a request's nonce up; E_KMC_REPLAY if it was. Durable before the request is acted on."""
        with self._writing() as connection:
            try:
                connection.execute(insert(schema.nonces).values(ca=ca, nonce=nonce, at=time_text(now)))
            except IntegrityError as exc:
                raise ZoneGateError(Reason.E_KMC_REPLAY, "nonce: this request was used before") from exc

    def append_audit(self, entry: AuditEntry) -> None:
        """Record an act that changes nothing else: a refusal, an unsealing."""
        with self._writing() as connection:
            audittable.append(connection, entry)

    def audit_rows(self) -> tuple[AuditRow, ...]:
        """Return the audit, oldest first, as stored."""
        with self._reading() as connection:
            return audittable.rows(connection)

    # --- inside

    def _refuse_owned(self, connection: Connection, owner: Owner) -> None:
        table = schema.keys
        query = select(table.c.state).where(table.c.ca == owner.ca, table.c.serial == key_serial(owner.serial))
        if connection.execute(query).first() is not None:
            detail = f"serial: {key_serial(owner.serial)} has a key already; each certificate has a key of its own"
            raise ZoneGateError(Reason.E_DUPLICATE_KEY, detail)

    def _step(self, key: KeyRow, after: KeyState, values: dict[str, Any], entry: AuditEntry) -> None:
        check_step(key.state, after)
        table = schema.keys
        with self._writing() as connection:
            change = update(table).where(table.c.key_id == key.key_id, table.c.state == key.state.value)
            if connection.execute(change.values(**values, state=after.value)).rowcount != 1:
                raise ZoneGateError(Reason.E_KEY_STATE, f"key: is not {key.state.value} any more")
            audittable.append(connection, entry)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with translated(), self._engine.connect().execution_options(zonegate_begin="BEGIN") as connection:
            yield connection


def _marks(net: Net) -> dict[str, str]:
    return {"schema_version": str(schema.SCHEMA_VERSION), "net": net.value, "kind": "kmc"}


def _check_marks(found: dict[str, str], net: Net) -> None:
    for key, wanted in _marks(net).items():
        if found.get(key) != wanted:
            raise ZoneGateError(Reason.E_LEDGER, f"{key}: is {found.get(key)!r}, this program needs {wanted!r}")


def _secure_delete(dbapi_connection: Any, _record: Any) -> None:
    dbapi_connection.execute("PRAGMA secure_delete=ON").close()


def _count_query(table: Any) -> Any:
    return select(table.c.state, func.count().label("n")).group_by(table.c.state)


def _key_row(row: Row[Any]) -> KeyRow:
    owner = None if row.serial is None else Owner(row.ca, int(row.serial, 16), row.holder)
    return KeyRow(
        key_id=row.key_id,
        state=KeyState(row.state),
        public_key=PublicKey.from_point(row.point),
        data_key=row.data_key,
        sealed=row.sealed,
        owner=owner,
        archived_at=None if row.archived_at is None else time_of(row.archived_at),
    )
