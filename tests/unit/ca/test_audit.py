"""The audit chain shows an edited, removed, inserted or reordered row."""

import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.pki import ACTOR, TestNet
from zonegate.ca.audit import GENESIS, Act, AuditEntry, AuditRow, Result, chain, first_broken
from zonegate.errors import ZoneGateError
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import RevocationReason

ENTRY = AuditEntry("2030-01-01T12:00:00.000000Z", "officer", Act.ISSUE, "target", Result.DONE, "OK", "detail")


def _rows(count: int) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for seq in range(1, count + 1):
        previous = rows[-1].digest if rows else GENESIS
        rows.append(chain(replace(ENTRY, detail=f"row {seq}"), seq=seq, previous=previous))
    return rows


ROWS = _rows(6)
BROKEN = {
    "whole": (ROWS, None),
    "empty": ([], None),
    "first removed": (ROWS[1:], 1),
    "one removed": (ROWS[:2] + ROWS[3:], 3),
    "two swapped": ([*ROWS[:2], ROWS[3], ROWS[2], *ROWS[4:]], 3),
    "one twice": (ROWS[:3] + ROWS[2:], 4),
    "detail edited": ([*ROWS[:3], replace(ROWS[3], entry=replace(ENTRY, detail="other")), *ROWS[4:]], 4),
    "edited with its digest made anew": (
        [*ROWS[:3], chain(replace(ENTRY, detail="other"), seq=4, previous=ROWS[2].digest), *ROWS[4:]],
        5,
    ),
    "number edited": ([*ROWS[:3], replace(ROWS[3], seq=9), *ROWS[4:]], 4),
}


@pytest.mark.parametrize(("rows", "broken"), BROKEN.values(), ids=BROKEN)
def test_first_broken_row(rows: list[AuditRow], broken: int | None) -> None:
    assert first_broken(rows) == broken


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_fields_do_not_run_into_each_other(a: str, b: str, c: str, d: str) -> None:
    one = chain(replace(ENTRY, actor=a, target=b), seq=1, previous=GENESIS)
    two = chain(replace(ENTRY, actor=c, target=d), seq=1, previous=GENESIS)
    assert (one.digest == two.digest) == ((a, b) == (c, d))


@pytest.mark.req("CA-13")
def test_every_act_and_every_refusal_is_audited(own_net: TestNet) -> None:
    start = len(own_net.authority.ledger.audit_rows())
    issued = own_net.issue(Profile.SYSTEM, "audited")
    serial = f"{issued.serial:032x}"
    own_net.revoke(issued.serial, RevocationReason.CERTIFICATE_HOLD)
    own_net.release(issued.serial)
    for refused in (
        lambda: own_net.release(issued.serial),
        lambda: own_net.revoke(issued.serial + 1),
        lambda: own_net.revoke(own_net.root.serial),
        lambda: own_net.authority.issue(b"no request", Profile.SYSTEM, actor=ACTOR),
    ):
        with pytest.raises(ZoneGateError):
            refused()
    own_net.write_crl()
    rows = own_net.authority.ledger.audit_rows()
    assert first_broken(rows) is None
    found = [(row.entry.act, row.entry.result, row.entry.reason) for row in rows[start:]]
    assert found == [
        (Act.ISSUE, Result.DONE, "OK"),
        (Act.REVOKE, Result.DONE, "OK"),
        (Act.RELEASE, Result.DONE, "OK"),
        (Act.RELEASE, Result.REFUSED, "E_PROFILE"),
        (Act.REVOKE, Result.REFUSED, "E_UNKNOWN_SERIAL"),
        (Act.REVOKE, Result.REFUSED, "E_PROFILE"),
        (Act.ISSUE, Result.REFUSED, "E_CSR"),
        (Act.CRL, Result.DONE, "OK"),
    ]
    assert [row.entry.target for row in rows[start : start + 3]] == [serial] * 3
    assert str(issued.identity) in rows[start].entry.detail
    assert {row.entry.actor for row in rows} == {ACTOR}


@pytest.mark.req("CR-15")
def test_no_key_material_in_the_ledger(own_net: TestNet) -> None:
    issued = own_net.issue(Profile.SYSTEM, "secretive")
    scalar = issued.load().key.to_pkcs8()[36:68]
    secret = issued.secret_path.read_bytes().strip()
    own_net.close()
    files = [path for path in own_net.ca_path.rglob("*") if path.is_file()]
    assert own_net.ca_path / "ledger.sqlite" in files
    for path in files:
        content = path.read_bytes()
        assert scalar not in content
        assert scalar.hex().encode() not in content.lower()
        assert secret not in content


def test_an_edited_row_in_the_file_is_found(own_net: TestNet) -> None:
    own_net.issue(Profile.SYSTEM, "a")
    own_net.close()
    connection = sqlite3.connect(own_net.ca_path / "ledger.sqlite")
    connection.execute("DROP TRIGGER audit_no_update")
    connection.execute("UPDATE audit SET actor = 'somebody else' WHERE seq = 3")
    connection.commit()
    connection.close()
    assert first_broken(own_net.authority.ledger.audit_rows()) == 3
