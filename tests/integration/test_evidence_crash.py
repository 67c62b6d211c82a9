"""Evidence of a process that is killed, limited, or out of disk, with real processes and real files."""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.evidence import verify_directory
from support.pki import IssuedCredential, TestNet, make_net
from zonegate.clock import SystemClock
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import DecisionRecord, Executed, GapRecord, OutcomeRecord, RecoveredRecord
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.identity import Net
from zonegate.pki.certificate import Profile

SUPPORT = Path(__file__).resolve().parent.parent / "support"
KILLS = 5
ANSWERS = 400


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> TestNet:
    return make_net(tmp_path_factory.mktemp("net"), Net.EXTRA, SystemClock())


@pytest.fixture(scope="module")
def issued(net: TestNet) -> IssuedCredential:
    return net.issue(Profile.EVIDENCE, "gw-shared-evidence")


def credential_arguments(issued: IssuedCredential) -> list[str]:
    return [str(issued.cert_path), str(issued.key_path), str(issued.secret_path)]


@contextmanager
def writer(directory: Path, issued: IssuedCredential, in_flight: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(SUPPORT / "evidence_writer.py"), str(directory)]
    process = subprocess.Popen(
        [*command, *credential_arguments(issued), str(in_flight)], stdout=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def answers(process: subprocess.Popen[str], word: str, count: int) -> list[str]:
    """Read answers until `count` of them are `word`; return the crossings of all that were `ok`."""
    assert process.stdout is not None
    granted, seen = [], 0
    while seen < count:
        line = process.stdout.readline()
        assert line, "the writer ended"
        parts = line.split()
        if parts[0] == "ok":
            granted.append(parts[1])
        else:
            assert parts[2] == "E_EVIDENCE"
        seen += parts[0] == word
    return granted


@pytest.mark.req("AU-02", "AU-04")
def test_killed_under_load_loses_no_answered_crossing(tmp_path: Path, net: TestNet, issued: IssuedCredential) -> None:
    """`kill -9` five times: every crossing that was answered has its record, and the chain verifies."""
    directory = tmp_path / "evidence"
    answered: list[str] = []
    for _ in range(KILLS):
        with writer(directory, issued, 64) as process:
            answered += answers(process, "ok", ANSWERS)
            process.kill()
            # What it still said before it died counts as answered too.
            assert process.stdout is not None
            said = process.stdout.read().splitlines()
            answered += [line.split()[1] for line in said if line.startswith("ok ") and len(line) == len("ok ") + 16]
    with writer(directory, issued, 1) as process:
        answered += answers(process, "ok", 1)
        process.terminate()
        assert process.stdout is not None
        answered += [line.split()[1] for line in process.stdout.read().splitlines()]
        assert process.wait(20) == 0
    report = verify_directory(directory, Trust(net.anchors()))
    assert (report.unsealed, report.orderly) == (0, True)
    records = [located.record for located in read_records(directory)]
    decided = {record.crossing for record in records if isinstance(record, DecisionRecord)}
    assert len(answered) >= KILLS * ANSWERS
    assert decided.issuperset(answered)
    ended = [record for record in records if isinstance(record, OutcomeRecord)]
    assert {record.crossing for record in ended} == decided
    assert len(ended) == len(decided), "one outcome a crossing"
    recovered = [record for record in ended if record.recovered]
    assert all(record.executed is Executed.UNKNOWN for record in recovered)
    told = [record for record in records if isinstance(record, RecoveredRecord)]
    assert len(told) == KILLS
    assert sum(record.without_outcome for record in told) == len(recovered)


@pytest.mark.req("AU-04")
def test_file_size_limit_refuses_and_heals_without_restart(
    tmp_path: Path, net: TestNet, issued: IssuedCredential
) -> None:
    """As `prlimit --fsize=1:` does on a running gateway: the soft limit only, no signal, healed when it is raised."""
    directory = tmp_path / "evidence"
    with writer(directory, issued, 8) as process:
        answered = answers(process, "ok", 50)
        before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, before[1]))
        answered += answers(process, "refused", 20)
        segments = len(list(directory.glob("segment-*")))
        answered += answers(process, "refused", 20)
        assert len(list(directory.glob("segment-*"))) == segments, "failed attempts leave nothing behind"
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)
        answered += answers(process, "ok", 50)
        process.terminate()
        assert process.stdout is not None
        answered += [line.split()[1] for line in process.stdout.read().splitlines() if line.startswith("ok ")]
        assert process.wait(20) == 0
    report = verify_directory(directory, Trust(net.anchors()))
    assert (report.unsealed, report.orderly) == (0, True)
    records = [located.record for located in read_records(directory)]
    decided = {record.crossing for record in records if isinstance(record, DecisionRecord)}
    assert decided == set(answered), "what was refused has no record, what was answered has one"
    assert {record.crossing for record in records if isinstance(record, OutcomeRecord)} == decided
    gaps = [record for record in records if isinstance(record, GapRecord)]
    assert sum(gap.lost for gap in gaps) >= 40
    assert {gap.why for gap in gaps} == {"EFBIG"}


@pytest.mark.req("AU-04")
def test_full_disk_still_takes_outcomes_and_the_gap(tmp_path: Path, net: TestNet, issued: IssuedCredential) -> None:
    """On a full file system crossings are refused, outcomes of open ones and a gap record go into the reserve."""
    unshare = shutil.which("unshare")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    namespace = [unshare or "unshare", *(["-m"] if os.geteuid() == 0 else ["-Urm"])]
    probe = ["sh", "-c", f"mount -t tmpfs -o size=8m tmpfs {mounted}"]
    if unshare is None or subprocess.run([*namespace, *probe], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespace for a small file system on this machine")
    script = [sys.executable, str(SUPPORT / "evidence_full_disk.py"), str(mounted), *credential_arguments(issued)]
    shell = 'mount -t tmpfs -o size=8m tmpfs "$0" && exec "$@"'
    done = subprocess.run(
        [*namespace, "sh", "-c", shell, str(mounted), *script, str(net.root_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["opened"] == 200
    assert len(seen["refused"]) >= 8
    assert all("ENOSPC" in detail for detail in seen["refused"])
    assert seen["outcomes_on_full_disk"] == seen["granted"]
    assert seen["gaps_on_full_disk"] >= 1
    assert seen["healed"]
    assert (seen["unsealed"], seen["orderly"]) == (0, True)
