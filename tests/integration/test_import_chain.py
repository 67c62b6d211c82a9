"""From a stock grpcio client in ext.shared to a stock grpcio server in int.l4, over a folder, with real processes."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.importlab import METADATA, SUBMIT, ImportLab, figure
from support.policy import CREDIT
from zonegate.cli import main
from zonegate.gateway.boundary.convert import receipt_from_bytes
from zonegate.gateway.boundary.receipt import verify_receipt
from zonegate.gateway.evidence.counts import count_by_life
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import AnyRecord, DecisionRecord, ImportRecord, OutcomeRecord, ReceiptRecord
from zonegate.reasons import Reason

pytestmark = pytest.mark.xdist_group("import-lab")
WAIT_SECONDS = 15.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportLab]:
    lab = ImportLab(tmp_path_factory.mktemp("import"))
    lab.start()
    yield lab
    lab.close()


def submit(lab: ImportLab, value: int, *metadata: tuple[str, str]) -> grpc.Call:
    with lab.channel() as channel:
        response, call = channel.unary_unary(SUBMIT).with_call(
            figure(value), metadata=(*METADATA, *metadata), timeout=10
        )
    assert response == b"", "an Empty comes back, nothing of the intranet's"
    return call


def until(condition: object, what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    pause = threading.Event()
    while time.monotonic() < end:
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError(what)


def arrives(lab: ImportLab) -> None:
    assert lab.provider.arrived.acquire(timeout=WAIT_SECONDS), lab.importer.config.with_suffix(".log").read_text()


def records(lab: ImportLab, side: str) -> list[AnyRecord]:
    return [located.record for located in read_records(lab.evidence(side))]


def imports(lab: ImportLab) -> list[ImportRecord]:
    return [record for record in records(lab, "importer") if isinstance(record, ImportRecord)]


def samples(exposition: str, name: str) -> list[tuple[dict[str, str], float]]:
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == name
    ]


def settled(lab: ImportLab) -> None:
    """Wait until the importer has finished all it has taken."""
    until(lambda: "zonegate_import_queue_objects 0.0" in lab.importer.metrics(), "objects wait")


@pytest.mark.req("XZ-03", "XZ-14")
def test_a_one_way_call_arrives_inside_and_its_caller_holds_a_receipt(lab: ImportLab) -> None:
    call = submit(lab, 1)
    arrives(lab)
    assert lab.provider.executed[-1] == figure(1)
    seen = lab.provider.came[-1]
    assert (seen["zg-caller-organ"], seen["zg-caller-system"]) == (CREDIT, "credit")
    assert not any(name.startswith(("zg-peer", "zg-ticket", "zg-receipt")) for name in seen)
    raw = dict(call.trailing_metadata())["zg-receipt-bin"]
    receipt = receipt_from_bytes(raw)
    signer = verify_receipt(receipt, lab.extra.anchors(), now=lab.clock.now())
    assert signer.fingerprint == lab.gateway_credential.certificate.fingerprint
    assert seen["zg-crossing"] == receipt.accepted.crossing
    assert seen["zg-idempotency-key"] == receipt.accepted.object_id
    settled(lab)
    (sent,) = [
        record
        for record in records(lab, "shared")
        if isinstance(record, ReceiptRecord) and record.object == receipt.accepted.object_id
    ]
    taken = [record for record in imports(lab) if record.object == sent.object]
    assert [record.reason for record in taken] == [Reason.OK]
    assert taken[0].digest == sent.digest == receipt.accepted.digest
    of_crossing = [
        record
        for record in records(lab, "importer")
        if isinstance(record, DecisionRecord | OutcomeRecord) and record.crossing == sent.crossing
    ]
    assert [type(record) for record in of_crossing] == [DecisionRecord, OutcomeRecord]
    assert of_crossing[0].verdict.request.decision == "import"


def test_the_same_key_is_one_object(lab: ImportLab) -> None:
    before, files = len(lab.provider.came), len(os.listdir(lab.carrier))
    first = dict(submit(lab, 2, ("zg-idempotency-key", "q1")).trailing_metadata())["zg-receipt-bin"]
    again = dict(submit(lab, 2, ("zg-idempotency-key", "q1")).trailing_metadata())["zg-receipt-bin"]
    assert first == again
    arrives(lab)
    with pytest.raises(grpc.RpcError) as caught:
        submit(lab, 3, ("zg-idempotency-key", "q1"))
    assert caught.value.details().startswith("E_IMPORT_DUPLICATE")
    settled(lab)
    assert len(lab.provider.came) == before + 1
    assert lab.provider.came[-1]["zg-idempotency-key"] == "q1"
    assert len(os.listdir(lab.carrier)) == files + 1


@pytest.mark.req("XZ-03")
def test_the_same_transport_file_twice_is_delivered_once(lab: ImportLab) -> None:
    submit(lab, 4)
    arrives(lab)
    came = len(lab.provider.came)
    newest = sorted(lab.carrier.glob("*.zgt"))[-1]
    (lab.carrier / ".copy").write_bytes(newest.read_bytes())
    (lab.carrier / ".copy").rename(lab.carrier / "again.zgt")
    until(
        lambda: any(
            record.reason is Reason.E_IMPORT_DUPLICATE and record.file == "again.zgt" for record in imports(lab)
        ),
        "the duplicate was not recorded",
    )
    assert len(lab.provider.came) == came


@pytest.mark.req("XZ-04")
def test_garbage_in_the_carrier_is_recorded_once_and_stops_nothing(lab: ImportLab) -> None:
    newest = sorted(lab.carrier.glob("[0-9]*.zgt"))[-1].read_bytes()
    garbage = {
        "0-noise.zgt": os.urandom(3000),
        "0-cut.zgt": newest[:-1],
        "0-flip.zgt": newest[:-40] + b"\0" + newest[-39:],
    }
    for name, content in garbage.items():
        (lab.carrier / f".{name}").write_bytes(content)
        (lab.carrier / f".{name}").rename(lab.carrier / name)
    submit(lab, 5)
    arrives(lab)
    settled(lab)
    found = [(record.file, record.reason) for record in imports(lab) if record.file in garbage]
    assert sorted(found) == [
        ("0-cut.zgt", Reason.E_IMPORT_SEAL),
        ("0-flip.zgt", Reason.E_IMPORT_SEAL),
        ("0-noise.zgt", Reason.E_IMPORT_FORMAT),
    ]
    assert 'zonegate_import_objects_total{reason="E_IMPORT_SEAL"} 2.0' in lab.importer.metrics()


def test_what_the_descriptor_does_not_describe_leaves_neither_side(lab: ImportLab) -> None:
    came = len(lab.provider.came)
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SUBMIT)(figure(6) + b"\x22\x01x", metadata=METADATA, timeout=10)
    assert caught.value.details().startswith("E_SCHEMA")
    assert len(lab.provider.came) == came


def test_a_two_way_call_towards_the_intranet_is_refused(lab: ImportLab) -> None:
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/example.statistics.v1.Statistics/Query")(figure(1), metadata=METADATA, timeout=10)
    assert caught.value.details().startswith("E_NOT_CATALOGUED")


@pytest.mark.req("XZ-03")
def test_a_provider_that_is_down_gets_its_objects_later_and_in_order(lab: ImportLab) -> None:
    assert lab.server is not None
    lab.server.stop(None).wait()
    for value in (11, 12, 13):
        submit(lab, value)
    until(lambda: "zonegate_import_queue_objects 3.0" in lab.importer.metrics(), "the objects do not wait")
    lab.serve_provider()
    for _ in range(3):
        arrives(lab)
    settled(lab)
    assert lab.provider.executed[-3:] == [figure(11), figure(12), figure(13)]


@pytest.mark.req("XZ-03")
def test_kill_9_during_delivery_executes_once(lab: ImportLab) -> None:
    """The provider has executed and not answered when the importer dies: the same key comes again."""
    lab.provider.answers.clear()
    submit(lab, 21)
    arrives(lab)
    lab.importer.kill()
    executed, key = len(lab.provider.executed), lab.provider.came[-1]["zg-idempotency-key"]
    crossing = lab.provider.came[-1]["zg-crossing"]
    lab.provider.answers.set()
    submit(lab, 22)
    lab.importer.start()
    arrives(lab)
    arrives(lab)
    lab.importer.ready()
    settled(lab)
    again, later = lab.provider.came[-2:]
    assert (again["zg-idempotency-key"], again["zg-crossing"]) == (key, crossing)
    assert later["zg-idempotency-key"] != key
    assert lab.provider.executed[executed - 1 :] == [figure(21), figure(22)]
    outcomes = [
        (record.recovered, record.executed)
        for record in records(lab, "importer")
        if isinstance(record, OutcomeRecord) and record.crossing == crossing
    ]
    assert outcomes == [(True, "unknown"), (False, "yes")]


@pytest.mark.req("XZ-03")
def test_kill_9_again_and_again_under_load_executes_each_object_once_and_in_order(lab: ImportLab) -> None:
    before = len(lab.provider.executed)
    values = list(range(40, 80))
    for value in values:
        submit(lab, value)
        if value % 13 == 0:
            lab.importer.kill()
            lab.importer.start()
    lab.importer.ready()
    until(lambda: len(lab.provider.executed) >= before + len(values), "not everything arrived")
    settled(lab)
    assert lab.provider.executed[before:] == [figure(value) for value in values]


@pytest.mark.req("MO-02", "AU-01")
def test_counters_equal_evidence(lab: ImportLab) -> None:
    life = count_by_life(records(lab, "importer"))[-1]
    counted = {
        (labels["decision"], labels["source"], labels["target"], labels["reason"]): value
        for labels, value in samples(lab.importer.metrics(), "zonegate_decisions_total")
        if value
    }
    assert counted == {tuple(map(str, key)): number for key, number in life.decisions.items()}
    assert counted


@pytest.mark.req("AU-02")
def test_the_importers_evidence_verifies(lab: ImportLab, capsys: pytest.CaptureFixture[str]) -> None:
    settled(lab)
    for side, net in (("importer", lab.intra), ("shared", lab.extra)):
        assert main(["evidence", "verify", str(lab.evidence(side)), "--trust", str(net.root_path)]) == 0
        capsys.readouterr()
    assert main(["evidence", "verify", str(lab.evidence("importer")), "--trust", str(lab.extra.root_path)]) != 0


def test_a_restart_imports_nothing_again(lab: ImportLab) -> None:
    came = len(lab.provider.came)
    for service in (lab.verifier, lab.importer):
        assert service.stop() == 0
    (lab.path / "seen.sqlite").unlink()
    for service in (lab.importer, lab.verifier):
        service.start()
    lab.importer.ready()
    until(
        lambda: sum(record.reason is Reason.E_IMPORT_DUPLICATE for record in imports(lab)) >= 5,
        "the files were not offered again",
    )
    settled(lab)
    assert len(lab.provider.came) == came


def sockets_of(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            found.add(target[len("socket:[") : -1])
    return found


def tcp_sockets(pid: int, state: str = "") -> list[str]:
    inodes = sockets_of(pid)
    lines = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return [fields[1] for fields in lines if fields[9] in inodes and fields[3] == (state or fields[3])]


LISTENING = "0A"


@pytest.mark.req("XZ-03", "CA-14")
def test_the_verifier_has_no_network_and_the_importer_listens_for_management_only(lab: ImportLab) -> None:
    assert lab.verifier.process is not None
    assert lab.importer.process is not None
    assert tcp_sockets(lab.verifier.process.pid) == []
    listening = tcp_sockets(lab.importer.process.pid, LISTENING)
    assert listening == [f"0100007F:{lab.ports['m4']:04X}"]


@pytest.mark.req("XZ-03")
def test_the_verifier_opens_nothing_of_the_carrier_for_writing(lab: ImportLab) -> None:
    """No descriptor below the carrier is writable, and nothing in the folder changes."""
    assert lab.verifier.process is not None
    before = {path.name: path.stat() for path in lab.carrier.iterdir()}
    writable = []
    for _ in range(200):
        for info in Path(f"/proc/{lab.verifier.process.pid}/fdinfo").iterdir():
            try:
                target = Path(f"/proc/{lab.verifier.process.pid}/fd/{info.name}").readlink()
                flags = int(info.read_text().split("flags:")[1].split()[0], 8)
            except (FileNotFoundError, IndexError):
                continue
            if target.is_relative_to(lab.carrier) and flags & (os.O_WRONLY | os.O_RDWR):
                writable.append(target)
    assert writable == []
    after = {path.name: path.stat() for path in lab.carrier.iterdir()}
    assert {name: (item.st_ino, item.st_mtime_ns, item.st_size) for name, item in before.items()} == {
        name: (item.st_ino, item.st_mtime_ns, item.st_size) for name, item in after.items()
    }


def test_a_stranger_on_the_handover_socket_stops_nothing(lab: ImportLab) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(lab.path / "handover"))
        stranger.sendall(b"\xff" * 100)
        stranger.settimeout(5)
        assert stranger.recv(10) == b""
    submit(lab, 31)
    arrives(lab)
