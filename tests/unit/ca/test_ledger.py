"""The ledger: what the database itself refuses, schema and net, durability, and errors as E_LEDGER."""

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import NOON
from zonegate.ca import schema
from zonegate.ca.audit import Act, AuditEntry, Result, first_broken
from zonegate.ca.ledger import Ledger, Reservation
from zonegate.ca.revocation import RevokedCertificate
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.crl import RevocationReason
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

ENTRY = AuditEntry("2030-01-01T12:00:00.000000Z", "test", Act.ISSUE, "x", Result.DONE, "OK", "")


def reservation(serial: int = 5, key: str = "a" * 64, **changes: object) -> Reservation:
    members = {
        "serial": serial,
        "issuer": Profile.SUB_CA,
        "profile": Profile.SYSTEM,
        "subject": "C=CN, O=测试, CN=x",
        "identity": None,
        "key_digest": key,
        "tbs_digest": "b" * 64,
        "not_before": NOON,
        "not_after": NOON + timedelta(days=365),
    }
    return Reservation(**(members | changes))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger.create(tmp_path / "ledger.sqlite", Net.EXTRA)
    yield made
    made.close()


def _issue(ledger: Ledger, serial: int = 5, key: str = "a" * 64, **changes: object) -> None:
    ledger.reserve(reservation(serial, key, **changes), now=NOON)
    ledger.record(serial, b"DER", ENTRY, now=NOON)


def test_pragmas_and_mode(ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    assert path.stat().st_mode & 0o777 == 0o600
    with ledger._engine.connect() as connection:  # the pragmas are a property of the connection alone
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_reserve_then_record(ledger: Ledger) -> None:
    ledger.reserve(reservation(), now=NOON)
    row = ledger.find(5)
    assert (row.state, row.der, row.issued_at) == ("reserved", None, None)
    ledger.record(5, b"DER", ENTRY, now=NOON + timedelta(seconds=1))
    row = ledger.find(5)
    assert (row.state, row.der, row.issued_at) == ("issued", b"DER", NOON + timedelta(seconds=1))
    assert row.reservation == reservation()


def test_what_is_recorded_was_reserved(ledger: Ledger) -> None:
    with pytest.raises(ZoneGateError) as refused:
        ledger.record(5, b"DER", ENTRY, now=NOON)
    assert refused.value.reason is Reason.E_LEDGER
    _issue(ledger)
    with pytest.raises(ZoneGateError):
        ledger.record(5, b"OTHER", ENTRY, now=NOON)
    assert ledger.find(5).der == b"DER"
    assert len(ledger.audit_rows()) == 1, "an act that failed leaves no audit row behind"


def test_a_serial_is_reserved_once(ledger: Ledger) -> None:
    ledger.reserve(reservation(5, "a" * 64), now=NOON)
    with pytest.raises(ZoneGateError) as refused:
        ledger.reserve(reservation(5, "c" * 64), now=NOON)
    assert refused.value.reason is Reason.E_LEDGER


def test_the_database_refuses_two_certificates_of_one_key(ledger: Ledger) -> None:
    # Two reservations of one key, an hour apart: only one becomes a certificate.
    ledger.reserve(reservation(5), now=NOON)
    ledger.reserve(reservation(6), now=NOON + timedelta(hours=1))
    ledger.record(6, b"DER", ENTRY, now=NOON)
    with pytest.raises(ZoneGateError) as refused:
        ledger.record(5, b"DER", ENTRY, now=NOON)
    assert refused.value.reason is Reason.E_LEDGER


STATEMENTS = {
    "audit row changed": "UPDATE audit SET actor = 'nobody'",
    "audit row removed": "DELETE FROM audit",
    "certificate removed": "DELETE FROM certificates",
    "certificate changed": "UPDATE certificates SET subject = 'other'",
    "list removed": "DELETE FROM crls",
    "revocation of nothing": "INSERT INTO revocations VALUES ('ff', 'superseded', '2030')",
    "unknown state": "INSERT INTO certificates SELECT 'ff', issuer, profile, subject, identity, 'k', tbs_digest, "
    "not_before, not_after, 'lost', reserved_at, NULL, NULL FROM certificates",
    "issued without certificate": "INSERT INTO certificates SELECT 'ff', issuer, profile, subject, identity, 'k', "
    "tbs_digest, not_before, not_after, 'issued', reserved_at, NULL, NULL FROM certificates",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_the_database_refuses(ledger: Ledger, tmp_path: Path, statement: str) -> None:
    _issue(ledger)
    ledger.draft_crl(Profile.SUB_CA, now=NOON, lifetime=timedelta(days=1))
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    try:
        connection.execute("PRAGMA foreign_keys=ON")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(statement)
    finally:
        connection.close()


def test_unknown_serial(ledger: Ledger) -> None:
    for act in (
        lambda: ledger.find(7),
        lambda: ledger.revoke(RevokedCertificate(7, NOON, RevocationReason.SUPERSEDED), ENTRY),
        lambda: ledger.release(7, ENTRY),
    ):
        with pytest.raises(ZoneGateError) as refused:
            act()
        assert refused.value.reason is Reason.E_UNKNOWN_SERIAL
        assert refused.value.detail.startswith("serial")


OPENING = {
    "missing": (None, "is missing"),
    "empty file": (b"", "no such table"),
    "not a database": (b"not a database at all" * 100, "not a database"),
}


@pytest.mark.parametrize(("content", "problem"), OPENING.values(), ids=OPENING)
def test_opening_what_is_no_ledger(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "ledger.sqlite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ZoneGateError, match=problem) as refused:
        Ledger.open(path, Net.EXTRA)
    assert refused.value.reason is Reason.E_LEDGER


@pytest.mark.parametrize(
    ("key", "value"), [("schema_version", str(schema.SCHEMA_VERSION + 1)), ("schema_version", None), ("net", "intra")]
)
def test_opening_another_schema_or_net(tmp_path: Path, key: str, value: str | None) -> None:
    path = tmp_path / "ledger.sqlite"
    Ledger.create(path, Net.EXTRA).close()
    connection = sqlite3.connect(path)
    if value is None:
        connection.execute("DELETE FROM meta WHERE key = ?", (key,))
    else:
        connection.execute("UPDATE meta SET value = ? WHERE key = ?", (value, key))
    connection.commit()
    connection.close()
    with pytest.raises(ZoneGateError, match=key) as refused:
        Ledger.open(path, Net.EXTRA)
    assert refused.value.reason is Reason.E_LEDGER


def test_a_ledger_is_never_made_over_another(tmp_path: Path) -> None:
    Ledger.create(tmp_path / "ledger.sqlite", Net.EXTRA).close()
    with pytest.raises(ZoneGateError) as refused:
        Ledger.create(tmp_path / "ledger.sqlite", Net.EXTRA)
    assert refused.value.reason is Reason.E_LEDGER


def test_a_value_nobody_wrote_is_e_ledger(ledger: Ledger, tmp_path: Path) -> None:
    ledger.reserve(reservation(), now=NOON)
    connection = sqlite3.connect(tmp_path / "ledger.sqlite")
    connection.execute("UPDATE certificates SET profile = 'emperor'")
    connection.commit()
    connection.close()
    with pytest.raises(ZoneGateError) as refused:
        ledger.rows()
    assert refused.value.reason is Reason.E_LEDGER


def test_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger.create(path, Net.EXTRA)
    _issue(ledger)
    ledger.close()
    again = Ledger.open(path, Net.EXTRA)
    assert again.find(5).der == b"DER"
    again.append_audit(ENTRY)
    assert [row.seq for row in again.audit_rows()] == [1, 2]
    assert first_broken(again.audit_rows()) is None
    again.close()
