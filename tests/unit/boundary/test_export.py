"""The exporter: one durable file a call, one receipt a key; a broken carrier is refused with nothing left behind."""

import errno
import os
import sqlite3
import stat
import threading
from datetime import timedelta

import pytest

from support.boundary import (
    CALLER,
    GATEWAY,
    MESSAGES,
    PATH,
    export_request,
    gateway_credential,
    hand_net,
    importer_key,
)
from support.clock import NOON, FakeClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary import carrier
from zonegate.gateway.boundary.convert import receipt_from_bytes
from zonegate.gateway.boundary.export import Exporter
from zonegate.gateway.boundary.receipt import verify_receipt
from zonegate.gateway.boundary.transport_file import Bounds, open_object
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.policies.labels import Label, Level
from zonegate.reasons import Reason

ANCHORS = hand_net(Net.EXTRA).anchors


class Desk:
    """An exporter on a folder, with its clock."""

    def __init__(self, folder, **settings):
        self.clock = FakeClock()
        self.carrier = folder / "carrier"
        self.carrier.mkdir(exist_ok=True)
        self.ledger = folder / "state" / "export.sqlite"
        self.settings = settings
        self.exporter = self.start()

    def start(self):
        return Exporter(self.carrier, self.ledger, gateway_credential(), self.clock, **self.settings)

    def restart(self):
        self.exporter.close()
        self.exporter = self.start()

    def export(self, **changes):
        return self.exporter.export(export_request(**changes))

    def names(self):
        return sorted(os.listdir(self.carrier))

    def objects(self):
        return [
            open_object([(self.carrier / name).read_bytes()], importer_key(), ANCHORS, now=self.clock.now())
            for name in self.names()
        ]


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path)
    yield made
    made.exporter.close()


def stamp(moment):
    return int(moment.timestamp() * 1_000_000)


def refusal(call):
    with pytest.raises(ZoneGateError) as caught:
        call()
    return caught.value


def test_a_call_becomes_one_file_and_a_receipt_that_verifies(desk):
    exported = desk.export()
    (item,) = desk.objects()
    assert item.messages == MESSAGES
    assert (item.header.object_id, item.header.caller, item.header.sequence) == (exported.object_id, CALLER, 1)
    assert item.header.created == NOON
    assert (exported.digest, exported.file, exported.repeated) == (item.header.digest, desk.names()[0], False)
    receipt = receipt_from_bytes(exported.receipt)
    assert verify_receipt(receipt, ANCHORS, now=NOON) == gateway_credential().leaf
    assert receipt.accepted.object_id == exported.object_id
    assert receipt.accepted.message_count == 3
    assert stat.S_IMODE((desk.carrier / exported.file).stat().st_mode) & 0o007 == 0


def test_numbers_and_names_go_up_also_when_the_clock_is_set_back(desk):
    first = desk.export(idempotency_key="")
    desk.clock.set_wall(NOON - timedelta(hours=1))
    second = desk.export(idempotency_key="")
    desk.restart()
    third = desk.export(idempotency_key="")
    desk.clock.set_wall(NOON)
    assert [item.header.sequence for item in desk.objects()] == [1, 2, 3]
    assert [first.file, second.file, third.file] == desk.names()


def test_calls_without_a_key_are_different_objects(desk):
    assert desk.export(idempotency_key="").object_id != desk.export(idempotency_key="").object_id
    assert len(desk.names()) == 2


def test_the_same_key_and_content_give_the_same_receipt_and_no_second_file(desk):
    first = desk.export()
    desk.clock.advance(60)
    again = desk.export(crossing="cd" * 14)
    desk.restart()
    after = desk.export()
    assert (again.receipt, again.repeated) == (first.receipt, True)
    assert after.receipt == first.receipt
    assert len(desk.names()) == 1


OTHER_CONTENT = {
    "messages": {"messages": (b"other",)},
    "label": {"label": Label(Level.L2)},
    "purpose": {"purpose": "另一用途"},
    "case": {"case": "A-1"},
}


@pytest.mark.parametrize("change", OTHER_CONTENT.values(), ids=OTHER_CONTENT)
def test_the_same_key_with_other_content_is_refused(desk, change):
    desk.export()
    assert refusal(lambda: desk.export(**change)).reason is Reason.E_IMPORT_DUPLICATE
    assert len(desk.names()) == 1


OTHER_CALL = {
    "caller": {"caller": CALLER + "2"},
    "method": {"path": PATH + "Again"},
    "key": {"idempotency_key": "k-2"},
}


@pytest.mark.parametrize("change", OTHER_CALL.values(), ids=OTHER_CALL)
def test_a_key_belongs_to_its_caller_and_method(desk, change):
    desk.export()
    assert not desk.export(messages=(b"other",), **change).repeated
    assert len(desk.names()) == 2


def test_a_key_is_free_again_only_when_its_object_can_no_longer_be_imported(desk):
    first = desk.export()
    desk.clock.advance(29 * 86400)
    assert desk.export().repeated
    desk.clock.advance(2 * 86400)
    again = desk.export()
    assert not again.repeated
    assert again.object_id != first.object_id
    assert desk.names() == [again.file]


def test_a_crash_between_number_and_receipt_takes_up_the_same_object(desk):
    """As after kill -9: the key is noted, the file may or may not be there, no receipt was given."""
    first = desk.export()
    desk.exporter.close()
    with sqlite3.connect(desk.ledger) as connection:
        connection.execute("UPDATE keyed SET receipt = NULL")
    connection.close()
    desk.exporter = desk.start()
    again = desk.export()
    assert (again.object_id, again.file, again.repeated) == (first.object_id, first.file, False)
    assert [item.header.sequence for item in desk.objects()] == [1]
    assert desk.export(idempotency_key="k-3").file > again.file


class BrokenDisk:
    """Stands for `os` in the carrier: one call fails as a disk does."""

    def __init__(self, monkeypatch, call, number):
        original = getattr(os, call)
        self.left = 0

        def failing(*arguments, **named):
            if self.left == 0:
                raise OSError(number, os.strerror(number))
            self.left -= 1
            return original(*arguments, **named)

        monkeypatch.setattr(carrier.os, call, failing)


@pytest.mark.req("XZ-03")
@pytest.mark.parametrize(("call", "number"), [("write", errno.ENOSPC), ("fsync", errno.EIO)])
def test_a_full_or_broken_carrier_is_refused_and_leaves_nothing(desk, monkeypatch, call, number):
    with monkeypatch.context() as patch:
        disk = BrokenDisk(patch, call, number)
        disk.left = 0
        error = refusal(desk.export)
        assert error.reason is Reason.E_IMPORT_SPACE
        assert os.strerror(number) in error.detail
    assert desk.names() == []
    healed = desk.export()
    assert [item.header.sequence for item in desk.objects()] == [1]
    assert not healed.repeated


def test_a_carrier_that_is_gone_is_refused(desk):
    desk.carrier.rmdir()
    assert refusal(desk.export).reason is Reason.E_IMPORT_SPACE
    desk.carrier.mkdir()
    desk.export()
    assert [item.header.sequence for item in desk.objects()] == [1]


def test_what_a_crash_left_half_written_goes_but_not_what_is_being_written(desk):
    old = carrier.file_name(stamp(NOON - timedelta(hours=2)), 1, "0" * 32)
    new = carrier.file_name(stamp(NOON), 2, "1" * 32)
    for name in (f".zgt-{old}.123", f".zgt-{new}.124", "readme.txt", ".hidden"):
        (desk.carrier / name).write_bytes(b"x")
    desk.restart()
    assert desk.names() == sorted([f".zgt-{new}.124", "readme.txt", ".hidden"])


SIZES = {
    "messages": Bounds(messages=2),
    "bytes in a message": Bounds(message_bytes=99),
    "bytes in all": Bounds(total_bytes=104),
}


@pytest.mark.parametrize("bounds", SIZES.values(), ids=SIZES)
def test_an_object_above_the_bounds_is_not_written(tmp_path, bounds):
    desk = Desk(tmp_path, bounds=bounds)
    assert refusal(desk.export).reason is Reason.E_MESSAGE_SIZE
    assert desk.names() == []
    desk.exporter.close()


def test_a_text_that_no_header_can_hold_is_refused_before_anything_is_written(desk):
    assert refusal(lambda: desk.export(purpose="a\nb")).reason is Reason.E_METADATA
    assert desk.names() == []
    assert desk.export().object_id
    assert [item.header.sequence for item in desk.objects()] == [1]


def test_several_threads_export_each_object_once(desk):
    keys = [f"k-{number % 5}" for number in range(20)]
    results = []

    def work(key):
        results.append(desk.export(idempotency_key=key))

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({item.object_id for item in results}) == len(desk.names()) == 5
    assert sorted(item.header.sequence for item in desk.objects()) == [1, 2, 3, 4, 5]


def test_a_renewed_certificate_signs_from_then_on_and_another_gateways_never(desk):
    renewed = hand_net(Net.EXTRA).issue(GATEWAY)
    desk.exporter.use_signer(renewed)
    desk.export()
    assert desk.objects()[0].signer == renewed.leaf
    with pytest.raises(ZoneGateError) as caught:
        desk.exporter.use_signer(hand_net(Net.EXTRA).issue(GATEWAY + "2"))
    assert caught.value.reason is Reason.E_CONFIG


def test_a_signer_without_identity_is_refused(tmp_path):
    nobody = hand_net(Net.EXTRA).issue("spiffe://extra/x/y", Profile.SUB_CA, drop=frozenset({"san"}))
    with pytest.raises(ZoneGateError) as caught:
        Exporter(tmp_path, tmp_path / "ledger", nobody, FakeClock())
    assert caught.value.reason is Reason.E_CERT_USAGE


def test_a_file_that_is_another_ledger_is_refused(tmp_path):
    path = tmp_path / "other.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(ZoneGateError) as caught:
        Exporter(tmp_path, path, gateway_credential(), FakeClock())
    assert caught.value.reason is Reason.E_LEDGER
    path.write_bytes(b"garbage" * 1000)
    with pytest.raises(ZoneGateError) as caught:
        Exporter(tmp_path, path, gateway_credential(), FakeClock())
    assert caught.value.reason is Reason.E_IMPORT_SPACE
