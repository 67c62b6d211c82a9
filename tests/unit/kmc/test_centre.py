"""The stores of a centre: sealed start, refill, one owner a key, nothing readable on disk, rotation, destruction."""

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.kmc import HOLDERS, LIMITS, THRESHOLD, KmcLab
from support.pki import ACTOR
from zonegate.ca.audit import Act, Result, first_broken
from zonegate.ca.kmc.centre import Centre
from zonegate.ca.kmc.lifecycle import STEPS, KeyState, check_step
from zonegate.ca.kmc.messages import Apply
from zonegate.ca.kmc.store import Store
from zonegate.errors import ZoneGateError
from zonegate.gm import enveloped
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

USER = PrivateKey.generate()
CA = "spiffe://extra/111000009900000172/ca"


def _apply(lab: KmcLab, serial: int, profile: Profile = Profile.SYSTEM_ENCRYPTION) -> Apply:
    return Apply(serial, profile, lab.net.identity("pop"), USER.public_key)


def _reason(act: Callable[[], object]) -> Reason:
    with pytest.raises(ZoneGateError) as refused:
        act()
    return refused.value.reason


@pytest.mark.req("CA-07")
def test_a_centre_starts_sealed_and_names_who_is_needed(sealed: KmcLab) -> None:
    status = sealed.centre.status()
    assert (status.is_open, status.progress.needed, status.progress.outstanding) == (False, THRESHOLD, HOLDERS)
    for act in (lambda: sealed.centre.apply(_apply(sealed, 1), ca=CA), sealed.centre.refill):
        assert _reason(act) is Reason.E_KMC_SEALED
    sealed.centre.give_share(sealed.shares[4], actor=ACTOR)
    assert sealed.centre.status().progress.given == (HOLDERS[4],)
    assert _reason(lambda: sealed.centre.give_share("academic", actor=ACTOR)) is Reason.E_KEY_SHARE
    sealed.centre.give_share(sealed.shares[0], actor=ACTOR)
    assert sealed.centre.give_share(sealed.shares[2], actor=ACTOR).needed == 0
    status = sealed.centre.status()
    assert status.is_open
    assert status.counts[KeyState.STANDBY] == LIMITS.target
    assert _reason(lambda: sealed.centre.give_share(sealed.shares[3], actor=ACTOR)) is Reason.E_KEY_STATE
    sealed.centre.seal(actor=ACTOR)
    assert _reason(lambda: sealed.centre.apply(_apply(sealed, 1), ca=CA)) is Reason.E_KMC_SEALED


@pytest.mark.req("CA-07")
def test_draining_standby_to_the_threshold_refills_it_with_an_event(lab: KmcLab) -> None:
    left = []
    for serial in range(1, 6):
        lab.centre.apply(_apply(lab, serial), ca=CA)
        left.append(lab.centre.status().counts[KeyState.STANDBY])
    assert left == [5, 4, 3, LIMITS.target, 5], "below the threshold of 3 the store is filled to its target"
    events = [entry.detail for entry in lab.audit() if entry.act is Act.KEY_GENERATE]
    assert events == [
        "0 keys left, below the threshold 3: 6 made",
        "2 keys left, below the threshold 3: 4 made",
    ]
    assert lab.centre.status().counts[KeyState.IN_USE] == 5


def _tree_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.mark.req("CA-07", "CR-15")
def test_dump_and_files_show_no_private_key(lab: KmcLab) -> None:
    keys = [enveloped.unseal(lab.centre.apply(_apply(lab, serial), ca=CA).envelope, USER) for serial in range(1, 9)]
    dump = "\n".join(sqlite3.connect(lab.path).iterdump()).lower()
    files = _tree_bytes(lab.path.parent)
    for key in keys:
        assert key.public_key.point in files, "the search finds what is there"
        for scalar in (key.to_scalar(), key.to_scalar()[::-1]):
            assert scalar not in files
            assert scalar.hex() not in dump
            assert scalar.hex().encode() not in files.lower()
    master = lab.centre._gathered(lab.shares[:3])
    assert master not in files
    assert master.hex() not in dump
    words = lab.shares[0].split()
    assert " ".join(words[5:9]).encode() not in files


@pytest.mark.req("CA-07")
def test_no_key_goes_out_twice(lab: KmcLab) -> None:
    other = lab.reopened()
    lab.unseal(other)
    points: list[bytes] = []
    errors: list[ZoneGateError] = []

    def ask(centre: Centre, ca: str) -> None:
        for serial in range(1, 11):
            try:
                points.append(centre.apply(_apply(lab, serial), ca=ca).public_key.point)
            except ZoneGateError as exc:
                errors.append(exc)

    threads = [threading.Thread(target=ask, args=(centre, ca)) for centre, ca in ((lab.centre, CA), (other, CA + "-2"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert errors == []
    assert len(set(points)) == len(points) == 20
    assert first_broken(lab.centre.store.audit_rows()) is None


@pytest.mark.req("CA-07")
def test_a_certificate_gets_one_key(lab: KmcLab) -> None:
    lab.centre.apply(_apply(lab, 7), ca=CA)
    assert _reason(lambda: lab.centre.apply(_apply(lab, 7), ca=CA)) is Reason.E_DUPLICATE_KEY
    lab.centre.apply(_apply(lab, 7), ca=CA + "-2")
    assert lab.centre.store.counts()[KeyState.IN_USE] == 2


@pytest.mark.req("CA-05")
@pytest.mark.parametrize("profile", [profile for profile in Profile if not profile.value.endswith("-encryption")])
def test_only_encryption_keys_are_escrowed(lab: KmcLab, profile: Profile) -> None:
    assert _reason(lambda: lab.centre.apply(_apply(lab, 9, profile), ca=CA)) is Reason.E_NOT_ESCROWED


@pytest.mark.parametrize("before", KeyState)
@pytest.mark.parametrize("after", KeyState)
def test_steps_of_a_life(before: KeyState, after: KeyState) -> None:
    if after in STEPS[before]:
        check_step(before, after)
    else:
        assert _reason(lambda: check_step(before, after)) is Reason.E_KEY_STATE


TAMPERING = {
    "in-use back to standby": "UPDATE keys SET state = 'standby', serial = NULL, ca = NULL WHERE state = 'in-use'",
    "history back to in-use": "UPDATE keys SET state = 'in-use' WHERE state = 'history'",
    "another owner": "UPDATE keys SET serial = 'ff' WHERE serial IS NOT NULL",
    "another public half": "UPDATE keys SET point = x'00' WHERE state = 'standby'",
    "a deleted key": "DELETE FROM keys",
    "a forgotten nonce": "DELETE FROM nonces",
    "an edited audit": "UPDATE audit SET detail = ''",
    "a destroyed key that is not": "UPDATE keys SET state = 'destroyed' WHERE state = 'standby'",
}


@pytest.mark.parametrize("statement", TAMPERING.values(), ids=TAMPERING)
def test_the_database_refuses(lab: KmcLab, statement: str) -> None:
    for serial in (1, 2):
        lab.centre.apply(_apply(lab, serial), ca=CA)
    lab.centre.revoke(2, "test", ca=CA)
    lab.centre.store.consume(CA, bytes(16), now=lab.clock.now())
    connection = sqlite3.connect(lab.path)
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute(statement)
    connection.close()


@pytest.mark.req("MP-04")
def test_a_life_from_generation_to_destruction_is_in_the_audit(lab: KmcLab) -> None:
    clock = lab.clock
    assert isinstance(clock, FakeClock)
    lab.centre.apply(_apply(lab, 5), ca=CA)
    assert _reason(lambda: lab.centre.destroy(CA, 5, actor=ACTOR)) is Reason.E_KEY_STATE
    lab.centre.revoke(5, "superseded", ca=CA)
    assert _reason(lambda: lab.centre.revoke(5, "superseded", ca=CA)) is Reason.E_KEY_STATE
    assert _reason(lambda: lab.centre.destroy(CA, 5, actor=ACTOR)) is Reason.E_KEY_STATE
    later = Centre(Store.open(lab.path, Net.EXTRA), LIMITS, FakeClock(clock.now() + LIMITS.retention))
    later.destroy(CA, 5, actor=ACTOR)
    row = later.store.find(CA, 5)
    later.close()
    assert (row.state, row.sealed) == (KeyState.DESTROYED, None)
    done = [entry.act for entry in lab.audit() if entry.result is Result.DONE]
    assert done == [
        Act.KEY_DIVIDE,
        *[Act.KEY_COMPOSE] * THRESHOLD,
        Act.KEY_GENERATE,
        Act.KEY_DISPENSE,
        Act.KEY_ARCHIVE,
        Act.KEY_DESTROY,
    ]
    assert sum(entry.result is Result.REFUSED for entry in lab.audit()) == 3


def test_standby_can_be_emptied(lab: KmcLab) -> None:
    sealed = [row.sealed for row in lab.centre.store.rows(KeyState.STANDBY)]
    assert lab.centre.destroy_standby(actor=ACTOR) == LIMITS.target
    lab.centre.store.close()
    files = _tree_bytes(lab.path.parent)
    assert all(item is not None and item not in files for item in sealed), "overwritten, not only unlinked"
    given = lab.centre.apply(_apply(lab, 1), ca=CA)
    assert given.public_key not in {row.public_key for row in lab.centre.store.rows(KeyState.DESTROYED)}


@pytest.mark.req("MP-04")
def test_rotating_the_data_key_seals_everything_anew(lab: KmcLab) -> None:
    first = enveloped.unseal(lab.centre.apply(_apply(lab, 1), ca=CA).envelope, USER)
    before = {row.key_id: row.sealed for row in lab.centre.store.rows(KeyState.STANDBY, KeyState.IN_USE)}
    stale = lab.reopened()
    lab.unseal(stale)
    assert _reason(lambda: lab.centre.rotate_data_key(lab.shares[:2], actor=ACTOR)) is Reason.E_KEY_SHARE
    assert lab.centre.rotate_data_key(lab.shares[2:], actor=ACTOR) == len(before)
    after = {row.key_id: row.sealed for row in lab.centre.store.rows(KeyState.STANDBY, KeyState.IN_USE)}
    assert all(before[key_id] != sealed for key_id, sealed in after.items())
    again = lab.centre.restore(CA, 1, USER.public_key, Act.KEY_RESTORE, actor=ACTOR, detail="test")
    assert enveloped.unseal(again.envelope, USER).to_scalar() == first.to_scalar()
    assert _reason(lambda: stale.apply(_apply(lab, 2), ca=CA)) is Reason.E_KMC_SEALED
    stale.close()
    reopened = lab.reopened()
    lab.unseal(reopened)
    reopened.apply(_apply(lab, 3), ca=CA)
    reopened.close()


@pytest.mark.req("CA-07")
def test_dividing_anew_makes_old_shares_worthless(lab: KmcLab) -> None:
    record, shares = lab.centre.divide_anew(("己", "庚", "辛"), 2, actor=ACTOR)
    assert (record.generation, record.threshold) == (2, 2)
    other = lab.reopened()
    assert other.status().holders == ("己", "庚", "辛")
    assert _reason(lambda: other.give_share(lab.shares[0], actor=ACTOR)) is Reason.E_KEY_SHARE
    for share in shares[1:]:
        other.give_share(share, actor=ACTOR)
    assert other.status().is_open
    other.close()


def test_a_process_that_ran_while_the_master_key_was_divided_anew_takes_the_new_shares(lab: KmcLab) -> None:
    other = lab.reopened()
    other.give_share(lab.shares[0], actor=ACTOR)
    _, shares = lab.centre.divide_anew(("己", "庚"), 2, actor=ACTOR)
    other.give_share(shares[0], actor=ACTOR)
    assert other.give_share(shares[1], actor=ACTOR).needed == 0
    other.close()


def test_a_sealed_key_moved_to_another_row_does_not_open(lab: KmcLab) -> None:
    lab.centre.apply(_apply(lab, 1), ca=CA)
    lab.centre.apply(_apply(lab, 2), ca=CA)
    one, two = (lab.centre.store.find(CA, serial) for serial in (1, 2))
    vault = lab.centre._open()
    assert one.sealed is not None
    assert two.sealed is not None
    for row in (replace(one, sealed=two.sealed), replace(one, public_key=two.public_key)):
        assert row.sealed is not None
        with pytest.raises(ZoneGateError) as refused:
            vault.open(row.key_id, row.public_key, row.sealed)
        assert refused.value.reason is Reason.E_CIPHERTEXT
    vault.close()
    assert _reason(lambda: vault.open(one.key_id, one.public_key, one.sealed or b"")) is Reason.E_KMC_SEALED


@pytest.mark.req("CA-15")
def test_a_copy_of_the_file_is_a_backup(lab: KmcLab, tmp_path: Path) -> None:
    keys = {
        serial: enveloped.unseal(lab.centre.apply(_apply(lab, serial), ca=CA).envelope, USER).to_scalar()
        for serial in (1, 2, 3)
    }
    with sqlite3.connect(lab.path) as source, sqlite3.connect(tmp_path / "copy.sqlite") as target:
        source.backup(target)
    source.close()
    target.close()
    restored = Centre(Store.open(tmp_path / "copy.sqlite", Net.EXTRA), LIMITS, lab.clock)
    assert restored.store.counts() == lab.centre.store.counts()
    assert restored.store.audit_rows() == lab.centre.store.audit_rows()
    lab.unseal(restored)
    for serial, scalar in keys.items():
        given = restored.restore(CA, serial, USER.public_key, Act.KEY_RESTORE, actor=ACTOR, detail="test")
        assert enveloped.unseal(given.envelope, USER).to_scalar() == scalar
    restored.close()


@pytest.mark.parametrize("net", [Net.INTRA])
def test_a_store_of_the_other_net_is_refused(sealed: KmcLab, net: Net) -> None:
    assert _reason(lambda: Store.open(sealed.path, net)) is Reason.E_LEDGER
    assert _reason(lambda: Store.open(sealed.path.with_name("none"), Net.EXTRA)) is Reason.E_LEDGER
    assert _reason(lambda: Store.create(sealed.path, Net.EXTRA)) is Reason.E_LEDGER


def test_shares_expire_while_the_holders_are_away(sealed: KmcLab) -> None:
    clock = FakeClock(sealed.clock.now())
    centre = Centre(Store.open(sealed.path, Net.EXTRA), LIMITS, clock)
    centre.give_share(sealed.shares[0], actor=ACTOR)
    clock.advance(timedelta(minutes=15).total_seconds())
    assert centre.status().progress.given == ()
    centre.close()
