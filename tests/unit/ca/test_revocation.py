"""Revocation lists: reasons, hold and release, numbers, one list a second, atomic files (RV-01)."""

import os
from datetime import timedelta

import pytest
from cryptography import x509

from support.clock import NOON, FakeClock
from support.pki import ACTOR, TestNet
from zonegate.ca import asn1
from zonegate.ca.audit import Act, AuditEntry, Result
from zonegate.ca.authority import Authority
from zonegate.ca.ledger import Ledger, TooSoonError
from zonegate.ca.publication import replace_file
from zonegate.ca.revocation import RevokedCertificate, build_tbs_crl
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.identity import Net
from zonegate.pki import oids
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import RevocationReason, load_crl
from zonegate.reasons import Reason

DAY = timedelta(days=1)
ENTRY = AuditEntry("2030-01-01T12:00:00.000000Z", "test", Act.CRL, "x", Result.DONE, "OK", "")


def _sub_list(net: TestNet) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(net.crl_paths[1].read_bytes())


def _entries(net: TestNet) -> dict[int, str]:
    return {serial: item.reason.value for serial, item in net.crls()[1].revoked.items()}


@pytest.mark.req("RV-01")
def test_shape_of_a_list(own_net: TestNet) -> None:
    issued = own_net.issue(Profile.SYSTEM, "a")
    own_net.revoke(issued.serial, RevocationReason.KEY_COMPROMISE)
    own_net.write_crl()
    crl = _sub_list(own_net)
    assert crl.signature_algorithm_oid.dotted_string == oids.OID_SM2_WITH_SM3
    assert crl.issuer.public_bytes() == own_net.sub_ca.subject_der
    assert [(item.oid.dotted_string, item.critical) for item in crl.extensions] == [
        ("2.5.29.35", False),
        ("2.5.29.20", False),
    ]
    assert crl.next_update_utc - crl.last_update_utc == DAY
    (entry,) = crl
    assert entry.serial_number == issued.serial
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    own_net.crls()[1].verify(own_net.sub_ca)
    own_net.crls()[0].verify(own_net.root)


@pytest.mark.req("RV-01")
@pytest.mark.parametrize("reason", RevocationReason)
def test_every_reason(own_net: TestNet, reason: RevocationReason) -> None:
    issued = own_net.issue(Profile.SYSTEM, "a")
    own_net.revoke(issued.serial, reason)
    own_net.write_crl()
    assert _entries(own_net) == {issued.serial: reason.value}
    (entry,) = _sub_list(own_net)
    # RFC 5280 5.3.1: unspecified is said by saying none.
    assert len(entry.extensions) == (0 if reason is RevocationReason.UNSPECIFIED else 1)


@pytest.mark.req("RV-01")
def test_hold_and_release(own_net: TestNet) -> None:
    issued = own_net.issue(Profile.SYSTEM, "a")
    own_net.revoke(issued.serial, RevocationReason.CERTIFICATE_HOLD)
    own_net.write_crl()
    assert _entries(own_net) == {issued.serial: "certificateHold"}
    assert own_net.authority.ledger.find(issued.serial).state == "on hold"
    own_net.release(issued.serial)
    own_net.write_crl()
    assert _entries(own_net) == {}
    assert own_net.authority.ledger.find(issued.serial).state == "issued"
    with pytest.raises(ZoneGateError, match="is not revoked") as refused:
        own_net.release(issued.serial)
    assert refused.value.reason is Reason.E_PROFILE


@pytest.mark.req("RV-01")
def test_a_hold_may_become_final_and_then_stays(own_net: TestNet) -> None:
    issued = own_net.issue(Profile.SYSTEM, "a")
    own_net.revoke(issued.serial, RevocationReason.CERTIFICATE_HOLD)
    with pytest.raises(ZoneGateError, match="revoked already"):
        own_net.revoke(issued.serial, RevocationReason.CERTIFICATE_HOLD)
    own_net.revoke(issued.serial, RevocationReason.KEY_COMPROMISE)
    for change in (
        lambda: own_net.revoke(issued.serial, RevocationReason.SUPERSEDED),
        lambda: own_net.revoke(issued.serial, RevocationReason.CERTIFICATE_HOLD),
        lambda: own_net.release(issued.serial),
    ):
        with pytest.raises(ZoneGateError):
            change()
    own_net.write_crl()
    assert _entries(own_net) == {issued.serial: "keyCompromise"}


def test_a_sub_ca_is_on_the_roots_list_alone(own_net: TestNet) -> None:
    own_net.revoke(own_net.sub_ca.serial, RevocationReason.CA_COMPROMISE)
    own_net.write_crl()
    own_net.write_root_crl()
    root_list, sub_list = own_net.crls()
    assert set(root_list.revoked) == {own_net.sub_ca.serial}
    assert not sub_list.revoked


@pytest.mark.req("RV-01")
def test_numbers_grow_and_no_two_lists_share_a_second(own_net: TestNet) -> None:
    seen = [own_net.crls()[1]]
    for _ in range(4):
        own_net.write_crl()
        seen.append(own_net.crls()[1])
    assert [crl.number for crl in seen] == list(range(seen[0].number, seen[0].number + 5))
    assert len({crl.this_update for crl in seen}) == 5
    assert all(crl.this_update <= own_net.clock.now() for crl in seen)


@pytest.mark.parametrize("advance", [0, 0.999])
def test_a_second_list_in_one_second_waits(own_net: TestNet, advance: float) -> None:
    clock = own_net.clock
    assert isinstance(clock, FakeClock)
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        clock.advance(seconds)

    authority = own_net.authority
    patient = Authority(
        authority.settings, authority.ledger, authority._keystore, authority.publication, clock, pause=pause
    )
    clock.advance(5)
    first = patient.publish_crl(Profile.SUB_CA, actor=ACTOR)
    clock.advance(advance)
    second = patient.publish_crl(Profile.SUB_CA, actor=ACTOR)
    assert waits == [pytest.approx(1 - advance)]
    assert second.this_update - first.this_update == timedelta(seconds=1)


def test_a_clock_that_stands_still_or_ran_back_gives_no_list(own_net: TestNet) -> None:
    own_net.write_crl()
    before = own_net.crl_paths[1].read_bytes()
    authority = own_net.authority
    stuck = Authority(
        authority.settings,
        authority.ledger,
        authority._keystore,
        authority.publication,
        FakeClock(NOON - DAY),
        pause=lambda _seconds: None,
    )
    with pytest.raises(ZoneGateError, match="the clock stands still") as refused:
        stuck.publish_crl(Profile.SUB_CA, actor=ACTOR)
    assert refused.value.reason is Reason.E_CRL
    assert own_net.crl_paths[1].read_bytes() == before


def test_an_entry_stays_until_a_list_after_its_end_has_carried_it(own_net: TestNet) -> None:
    clock = own_net.clock
    assert isinstance(clock, FakeClock)
    issued = own_net.issue(Profile.SYSTEM, "a", days=10)
    own_net.revoke(issued.serial)
    for _ in range(3):
        own_net.write_crl()
        assert issued.serial in _entries(own_net)
    clock.advance(11 * 86400)
    own_net.write_crl()
    assert issued.serial in _entries(own_net), "the first list after its end"
    clock.advance(60)
    own_net.write_crl()
    assert _entries(own_net) == {}


def test_an_older_draft_never_replaces_a_newer_list(tmp_path) -> None:
    ledger = Ledger.create(tmp_path / "ledger.sqlite", Net.EXTRA)
    written: list[int] = []
    older = ledger.draft_crl(Profile.SUB_CA, now=NOON, lifetime=DAY)
    newer = ledger.draft_crl(Profile.SUB_CA, now=NOON + timedelta(seconds=1), lifetime=DAY)
    with pytest.raises(TooSoonError):
        ledger.draft_crl(Profile.SUB_CA, now=NOON + timedelta(seconds=1.5), lifetime=DAY)
    ledger.publish_crl(newer, "d" * 64, lambda: written.append(newer.number), ENTRY)
    ledger.publish_crl(older, "e" * 64, lambda: written.append(older.number), ENTRY)
    assert written == [2]
    # The root's numbers are its own.
    assert ledger.draft_crl(Profile.ROOT, now=NOON, lifetime=DAY).number == 1
    ledger.close()


def test_a_list_that_cannot_be_written_is_not_recorded(own_net: TestNet) -> None:
    public = own_net.crl_path
    own_net.write_crl()
    number = own_net.crls()[1].number
    kept = {path.name: path.read_bytes() for path in public.iterdir()}
    moved = public.with_name("elsewhere")
    own_net.authority.certificate(Profile.SUB_CA)
    public.rename(moved)
    public.mkdir()
    (public / "sub.crt").write_bytes(kept["sub.crt"])
    (public / "sub.crl").mkdir()
    with pytest.raises(ZoneGateError) as refused:
        own_net.write_crl()
    assert refused.value.reason is Reason.E_CONFIG
    assert sorted(path.name for path in public.iterdir()) == ["sub.crl", "sub.crt"], "no part is left behind"
    (public / "sub.crl").rmdir()
    own_net.write_crl()
    assert load_crl((public / "sub.crl").read_bytes()).number == number + 2, "a number is never used twice"


def test_replacing_a_file_is_whole(tmp_path) -> None:
    path = tmp_path / "list"
    replace_file(path, b"one")
    before = os.stat(path).st_ino
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.stat(path).st_ino != before
    assert [item.name for item in tmp_path.iterdir()] == ["list"]


def test_entries_are_in_order_and_times_whole() -> None:
    key = sm2.PrivateKey.generate()
    at = NOON + timedelta(microseconds=5)
    revoked = [RevokedCertificate(serial, at, RevocationReason.SUPERSEDED) for serial in (1 << 126, 1 << 125, 3 << 100)]
    name = b"0\x00"
    tbs = build_tbs_crl(name, key.public_key, revoked, number=7, this_update=NOON, next_update=NOON + DAY)
    parsed = load_crl(asn1.encode_signed(tbs, key.sign(tbs, signer_id=sm2.CERT_ID)))
    assert list(parsed.revoked) == [3 << 100, 1 << 125, 1 << 126]
    assert {item.at for item in parsed.revoked.values()} == {NOON}
    assert parsed.number == 7
