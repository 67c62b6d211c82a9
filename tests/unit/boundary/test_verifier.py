"""The verifier on real files: good ones are handed over once, bad ones reported once, its own trouble loses nothing."""

import os
import socket
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from support.boundary import (
    FIGURE,
    GATEWAY,
    figure_file,
    figure_header,
    gateway_credential,
    hand_net,
    importer_key,
    sealed,
)
from support.clock import NOON, FakeClock
from support.x509_builder import ListTemplate, crl_der, entry
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary import carrier
from zonegate.gateway.boundary.handover import (
    Answer,
    Disposition,
    Listener,
    Offer,
    RefusedFile,
    Waiting,
    encode_answer,
)
from zonegate.gateway.boundary.seen import SeenFiles
from zonegate.gateway.boundary.transport_file import DEFAULT_BOUNDS, Bounds
from zonegate.gateway.boundary.verifier import POSTPONED_SECONDS, ImporterSocket, Trust, Verifier
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.crl import load_crl
from zonegate.reasons import Reason

EXTRA = hand_net(Net.EXTRA)


class FakeImporter:
    """Implements `Importing`: notes what it is told and answers as it is set to."""

    def __init__(self):
        self.offers: list[Offer] = []
        self.reports: list[RefusedFile] = []
        self.counts: list[int] = []
        self.disposition = Disposition.TAKEN
        self.gone = False

    def _answer(self):
        if self.gone:
            raise ZoneGateError(Reason.E_UPSTREAM, "importer: gone")
        return Answer(self.disposition, "")

    def offer(self, offer):
        answer = self._answer()
        self.offers.append(offer)
        return answer

    def report(self, refused):
        answer = self._answer()
        self.reports.append(refused)
        return answer

    def waiting(self, files):
        answer = Answer(Disposition.TAKEN)
        if self.gone:
            self._answer()
        self.counts.append(files)
        return answer


class Post:
    """A verifier on a folder."""

    def __init__(self, folder: Path, *, key=None, bounds=DEFAULT_BOUNDS):
        self.clock = FakeClock()
        self.carrier = folder / "carrier"
        self.carrier.mkdir()
        self.state = folder / "seen.sqlite"
        self.importer = FakeImporter()
        self.crls = ()
        self.key = key or importer_key()
        self.bounds = bounds
        self.start()

    def start(self):
        self.seen = SeenFiles(self.state)
        trust = Trust(self.key, EXTRA.anchors, lambda: self.crls)
        self.verifier = Verifier(self.carrier, self.seen, trust, self.importer, self.clock, self.bounds)

    def put(self, name, content):
        carrier.write_file(self.carrier, name, [content])

    def put_object(self, number=1, **changes):
        item = figure_header(object_id=f"{number:032x}", sequence=number)
        name = carrier.file_name(int(NOON.timestamp()) * 1_000_000 + number, number, item.object_id)
        self.put(name, figure_file(object_id=item.object_id, sequence=number, **changes))
        return name

    def reasons(self):
        return [report.reason for report in self.importer.reports]


@pytest.fixture
def post(tmp_path):
    made = Post(tmp_path)
    yield made
    made.seen.close()


def test_objects_are_handed_over_once_in_the_order_of_sending(post):
    names = [post.put_object(number) for number in (2, 1, 3)]
    assert post.verifier.scan() == 3
    assert [offer.file for offer in post.importer.offers] == sorted(names)
    assert [offer.header.sequence for offer in post.importer.offers] == [1, 2, 3]
    assert post.importer.offers[0].messages == (FIGURE,)
    assert post.verifier.scan() == 0
    assert post.importer.counts == [3, 0]


def test_what_was_seen_is_remembered_over_a_restart(post):
    post.put_object()
    post.verifier.scan()
    post.seen.close()
    post.start()
    assert post.verifier.scan() == 0
    assert len(post.importer.offers) == 1


def test_the_same_object_in_another_file_is_handed_over_again_for_the_importer_to_judge(post):
    name = post.put_object()
    post.verifier.scan()
    (post.carrier / "copy.zgt").write_bytes((post.carrier / name).read_bytes())
    post.importer.disposition = Disposition.DUPLICATE
    post.verifier.scan()
    assert [offer.file for offer in post.importer.offers] == [name, "copy.zgt"]


def test_a_file_that_comes_again_under_its_name_is_looked_at_again(post):
    name = post.put_object()
    post.verifier.scan()
    post.put(name, figure_file())
    assert post.verifier.scan() == 1


def test_files_that_are_gone_are_forgotten_but_not_while_the_carrier_is_empty(post):
    first, second = post.put_object(1), post.put_object(2)
    post.verifier.scan()
    (post.carrier / first).unlink()
    post.verifier.scan()
    assert len(post.seen) == 1
    (post.carrier / second).unlink()
    post.verifier.scan()
    assert len(post.seen) == 1


def put_link(post):
    (post.carrier / "x").symlink_to("/etc/hostname")


def put_pipe(post):
    os.mkfifo(post.carrier / "x")


def put_folder(post):
    (post.carrier / "x").mkdir()


def put_big(post):
    with (post.carrier / "x").open("wb") as stream:
        stream.truncate(DEFAULT_BOUNDS.file_bytes + 1)


GARBAGE = {
    "random bytes": (lambda post: post.put("x", os.urandom(5000)), Reason.E_IMPORT_FORMAT),
    "nothing": (lambda post: post.put("x", b""), Reason.E_IMPORT_FORMAT),
    "a truncated file": (lambda post: post.put("x", figure_file()[:-1]), Reason.E_IMPORT_SEAL),
    "an extended file": (lambda post: post.put("x", figure_file() + b"\0"), Reason.E_IMPORT_SEAL),
    "sealed garbage": (lambda post: post.put("x", sealed(os.urandom(300))), Reason.E_IMPORT_FORMAT),
    "for another importer": (lambda post: post.put("x", sealed(b"x", PrivateKey.generate())), Reason.E_IMPORT_SEAL),
    "too old": (lambda post: post.put("x", figure_file(created=NOON - timedelta(days=31))), Reason.E_IMPORT_EXPIRED),
    "no ticket": (lambda post: post.put("x", figure_file(ticket=b"")), Reason.E_IMPORT_SIGNATURE),
    "a name that is no text": (lambda post: post.put(os.fsdecode(b"x\xff\n"), b"x"), Reason.E_IMPORT_FORMAT),
    "a symbolic link": (put_link, Reason.E_IMPORT_FORMAT),
    "a pipe": (put_pipe, Reason.E_IMPORT_FORMAT),
    "a folder": (put_folder, Reason.E_IMPORT_FORMAT),
    "a file larger than any object": (put_big, Reason.E_IMPORT_FORMAT),
}


@pytest.mark.req("XZ-04")
@pytest.mark.parametrize(("put", "reason"), GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_reported_once_and_stops_nothing(post, put, reason):
    put(post)
    good = post.put_object()
    assert post.verifier.scan() == 2
    assert post.verifier.scan() == 0
    assert post.reasons() == [reason]
    assert [offer.file for offer in post.importer.offers] == [good]
    assert post.importer.reports[0].file.isprintable() or "\n" in post.importer.reports[0].file


def test_the_report_names_the_file_by_its_digest(post):
    from zonegate.gm import sm3

    content = figure_file()[:-1]
    post.put("x", content)
    post.verifier.scan()
    assert post.importer.reports[0].digest == sm3.digest(content).hex()


def test_what_is_being_written_is_not_looked_at(post):
    (post.carrier / ".zgt-half").write_bytes(b"x")
    assert post.verifier.scan() == 0
    assert post.importer.counts == [0]


def test_an_object_above_this_verifiers_bounds_is_refused(tmp_path):
    post = Post(tmp_path, bounds=Bounds(total_bytes=5))
    post.put_object()
    post.verifier.scan()
    assert post.reasons() == [Reason.E_IMPORT_FORMAT]
    post.seen.close()


# --- trouble that is not the file's


def test_without_the_importer_nothing_is_read_and_nothing_lost(post):
    post.put_object()
    post.importer.gone = True
    with pytest.raises(ZoneGateError) as caught:
        post.verifier.scan()
    assert caught.value.reason is Reason.E_UPSTREAM
    post.importer.gone = False
    assert post.verifier.scan() == 1


def test_an_importer_without_room_gets_the_object_later_and_in_order(post):
    post.put_object(1)
    post.put_object(2)
    post.importer.disposition = Disposition.BUSY
    assert post.verifier.scan() == 0
    assert [offer.header.sequence for offer in post.importer.offers] == [1]
    post.importer.disposition = Disposition.TAKEN
    assert post.verifier.scan() == 2
    assert [offer.header.sequence for offer in post.importer.offers] == [1, 1, 2]


def crl(holder, *serials, number=1):
    template = ListTemplate(number=number, entries=[entry(serial, NOON) for serial in serials] or None)
    return load_crl(crl_der(template, holder.certificate.subject_der, holder.key))


def test_a_stale_list_postpones_and_a_revoked_signer_refuses(post):
    post.put_object()
    post.crls = (crl(EXTRA.root),)
    assert post.verifier.scan() == 0
    assert post.reasons() == []
    post.crls = (crl(EXTRA.root), crl(EXTRA.sub_ca, gateway_credential().leaf.serial))
    assert post.verifier.scan() == 0, "postponed files wait a little"
    post.clock.advance(POSTPONED_SECONDS)
    assert post.verifier.scan() == 1
    assert post.reasons() == [Reason.E_CERT_REVOKED]


def test_a_carrier_that_is_gone_is_said_and_taken_up_when_it_is_back(post):
    name = post.put_object()
    post.carrier.rename(post.carrier.with_name("away"))
    with pytest.raises(ZoneGateError) as caught:
        post.verifier.scan()
    assert caught.value.reason is Reason.E_IMPORT_SPACE
    post.carrier.with_name("away").rename(post.carrier)
    assert post.verifier.scan() == 1
    assert post.importer.offers[0].file == name


def test_a_quiet_carrier_is_not_listed_at_every_look_but_nothing_is_overlooked(post):
    for _ in range(30):
        post.verifier.scan()
    post.put_object(1)
    done = sum(post.verifier.scan() for _ in range(2))
    assert done == 1


@pytest.mark.req("XZ-03")
def test_the_carrier_is_never_written_to(post):
    """A directory without write permission serves; nothing in it changes, access times aside."""
    post.put_object(1)
    post.put("x", b"garbage")
    post.carrier.chmod(0o555)
    before = [(found, (post.carrier / found.name).read_bytes()) for found in carrier.list_files(post.carrier)]
    changed = carrier.changed_at(post.carrier)
    assert post.verifier.scan() == 2
    assert [(found, (post.carrier / found.name).read_bytes()) for found in carrier.list_files(post.carrier)] == before
    assert carrier.changed_at(post.carrier) == changed
    post.carrier.chmod(0o755)


@pytest.mark.req("CA-14", "XZ-03")
def test_the_verifiers_program_knows_no_tls():
    program = (
        "import sys\nimport zonegate.gateway.boundary.verifier_process\n"
        "found = {'ssl', 'OpenSSL', 'asyncio', 'grpc', 'http.client'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {found}' if found else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- the socket towards the importer


class OneShot:
    """A Unix socket that answers the greeting, then each saying with the next of `answers`; None hangs up."""

    def __init__(self, path, answers):
        self.sayings = []
        self._answers = list(answers)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while self._answers:
            connection, _ = self._socket.accept()
            listener = Listener(DEFAULT_BOUNDS)
            with connection:
                self._converse(connection, listener)
        self._socket.close()

    def _converse(self, connection, listener):
        greeted = False
        while data := connection.recv(65536):
            for saying in listener.feed(data):
                self.sayings.append(saying)
                answer = Answer(Disposition.TAKEN) if not greeted else self._answers.pop(0)
                greeted = True
                if answer is None:
                    return
                connection.sendall(encode_answer(answer))
                if not self._answers:
                    return


def test_the_socket_speaks_the_handover_and_connects_again(tmp_path):
    answers = [Answer(Disposition.TAKEN), None, Answer(Disposition.DUPLICATE, "again")]
    server = OneShot(tmp_path / "s", answers)
    importer = ImporterSocket(tmp_path / "s", seconds=5)
    assert importer.waiting(3).disposition is Disposition.TAKEN
    with pytest.raises(ZoneGateError) as caught:
        importer.waiting(2)
    assert caught.value.reason is Reason.E_UPSTREAM
    report = RefusedFile("a", "", Reason.E_IMPORT_SEAL, "x")
    assert importer.report(report) == Answer(Disposition.DUPLICATE, "again")
    importer.close()
    server._thread.join(5)
    assert [saying for saying in server.sayings if isinstance(saying, Waiting | RefusedFile)] == [
        Waiting(3),
        Waiting(2),
        report,
    ]


def test_no_importer_is_a_named_error(tmp_path):
    with pytest.raises(ZoneGateError) as caught:
        ImporterSocket(tmp_path / "none", seconds=1).waiting(0)
    assert caught.value.reason is Reason.E_UPSTREAM
    assert GATEWAY not in caught.value.detail
