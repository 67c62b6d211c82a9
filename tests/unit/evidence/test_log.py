"""The evidence log on real files, threads and loop: durable before told, sealed soon, bounded, healing, restarting."""

import asyncio
import os
import resource
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.evidence import (
    GATEWAY,
    NOW,
    REFUSED,
    EvidenceNet,
    decision,
    make_evidence_net,
    open_log,
    outcome,
    run,
    verify_directory,
    write_chain,
    written,
)
from support.evidence_tamper import RECORD, parse, read_chain, walk, write_chain_back
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.files import segment_name
from zonegate.gateway.evidence.log import EvidenceLimits, EvidenceLog
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import (
    AnyRecord,
    Caller,
    Counted,
    CountedRecord,
    DecisionRecord,
    Executed,
    Flow,
    GapRecord,
    OutcomeRecord,
    RecoveredRecord,
    StartRecord,
    StopRecord,
    Verdict,
    encode,
)
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.pki.certificate import Certificate, Profile
from zonegate.reasons import Reason

FAST = EvidenceLimits(seal_seconds=0.005, reserve_bytes=1 << 16, flood_seconds=0.05)


def kinds(directory: Path, kind: type[AnyRecord]) -> list[AnyRecord]:
    return [located.record for located in read_records(directory) if isinstance(located.record, kind)]


async def until(condition: object) -> None:
    """Wait for an answer of another thread, not for a duration."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


def file_limit(soft: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def test_told_only_when_durable_and_in_order(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    order: list[str] = []

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        done = loop.create_future()

        def told(crossing: str, error: ZoneGateError | None) -> None:
            assert error is None
            on_disk = {entry.fields().get("crossing") for entry in parse(tmp_path / segment_name(1)).entries}
            assert crossing in on_disk
            order.append(crossing)
            if len(order) == 50:
                done.set_result(None)

        for number in range(50):
            log.append(decision(f"c{number}"), lambda error, crossing=f"c{number}": told(crossing, error))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await done
        log.close()

    run(main)
    assert order == [f"c{number}" for number in range(50)]


@pytest.mark.req("AU-02")
def test_sealed_within_the_interval_and_head_is_durable(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop)
        assert log.head() is None
        await written(log, decision("c"), outcome("c"))
        await until(lambda: log.head() is not None and log.stats.unsealed == 0)
        head = log.head()
        assert head is not None
        assert head.read().last == 2
        seals = [entry for entry in parse(tmp_path / segment_name(1)).entries if entry.type == 3]
        assert seals[-1].fields()["statement"] == head.statement
        log.close()

    run(main)
    assert verify_directory(tmp_path, Trust(evidence_net.anchors)).unsealed == 0


def test_a_callback_that_raises_stops_no_other(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    told: list[str] = []

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        seen: list[dict[str, object]] = []
        loop.set_exception_handler(lambda _, context: seen.append(context))
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)

        def broken(_: ZoneGateError | None) -> None:
            raise RuntimeError("a bug in a caller")

        log.append(decision("a"), broken)
        log.append(decision("b"), lambda _: told.append("b"))
        await until(lambda: told)
        assert isinstance(seen[0]["exception"], RuntimeError)
        log.close()

    run(main)
    assert told == ["b"]


def test_full_queue_refuses_at_once_and_leaves_a_gap_record(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    limits = EvidenceLimits(queue_records=5, reserve_bytes=1 << 16, seal_seconds=0.005)

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=limits)
        errors: list[ZoneGateError | None] = []
        for number in range(20):
            log.append(decision(f"c{number}"), errors.append)
        refused = [error for error in errors if error is not None]
        assert len(refused) == 15
        assert {error.reason for error in refused} == {Reason.E_EVIDENCE}
        log.append(outcome("c0"))
        await until(lambda: len(errors) == 20)
        assert await written(log, decision("after")) == [None]
        await until(lambda: log.stats.queue_records == 0)
        assert log.stats.refused == 15
        log.close()

    run(main)
    gaps = kinds(tmp_path, GapRecord)
    assert [(gap.lost, gap.why) for gap in gaps] == [(15, "queue-full")]
    assert len(kinds(tmp_path, DecisionRecord)) == 6
    assert len(kinds(tmp_path, OutcomeRecord)) == 1


def test_a_record_that_no_reader_would_take_is_not_written(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    flow = Flow(decision="guarded", reason=Reason.OK, categories=tuple("x" * 1000 for _ in range(300)))
    huge = decision("huge", Verdict(allowed=True, reason=Reason.OK, request=flow))

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        [error] = await written(log, huge)
        assert error is not None
        assert error.reason is Reason.E_EVIDENCE
        assert await written(log, decision("a"), outcome("a")) == [None, None]
        log.close()
        open_log(tmp_path, evidence_net.signer, loop).close()

    run(main)
    assert verify_directory(tmp_path, Trust(evidence_net.anchors)).orderly
    assert [gap.lost for gap in kinds(tmp_path, GapRecord)] == [1]


def test_full_queue_by_bytes(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        size = len(encode(decision("c0")))
        limits = EvidenceLimits(queue_bytes=2 * size, reserve_bytes=1 << 16)
        log = open_log(tmp_path, evidence_net.signer, loop, limits=limits)
        errors: list[ZoneGateError | None] = []
        for number in range(3):
            log.append(decision(f"c{number}"), errors.append)
        assert [error.reason for error in errors if error] == [Reason.E_EVIDENCE]
        log.close()

    run(main)


@pytest.mark.req("AU-04")
def test_write_failure_refuses_then_heals_by_itself(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    """RLIMIT_FSIZE lowered on the running process: EFBIG, not SIGXFSZ; raised again: served without a restart."""

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        assert await written(log, decision("open"), decision("before")) == [None, None]
        file_limit(1)
        try:
            for attempt in range(3):
                [error] = await written(log, decision(f"refused{attempt}"))
                assert error is not None
                assert error.reason is Reason.E_EVIDENCE
                assert "EFBIG" in error.detail
            assert not log.stats.writable
            log.append(outcome("open"))
            log.append(outcome("before"))
            await until(lambda: log.stats.carried >= 2)
        finally:
            file_limit(resource.RLIM_INFINITY)
        assert await written(log, decision("after")) == [None]
        assert log.stats.writable
        assert log.stats.carried == 0
        log.append(outcome("after"))
        log.close()

    run(main)
    report = verify_directory(tmp_path, Trust(evidence_net.anchors))
    assert (report.unsealed, report.orderly) == (0, True)
    assert {record.crossing for record in kinds(tmp_path, DecisionRecord)} == {"open", "before", "after"}
    assert {record.crossing for record in kinds(tmp_path, OutcomeRecord)} == {"open", "before", "after"}
    assert [(gap.lost, gap.why) for gap in kinds(tmp_path, GapRecord)] == [(3, "EFBIG")]


def test_a_failed_segment_is_never_written_again(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    """The fsyncgate rule: after a failed write the next record stands in a new segment."""

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        assert await written(log, decision("a"), outcome("a")) == [None, None]
        await until(lambda: log.stats.unsealed == 0)
        size = (tmp_path / segment_name(1)).stat().st_size
        file_limit(size + 10)
        [error] = await written(log, decision("torn"))
        file_limit(resource.RLIM_INFINITY)
        assert error is not None
        assert await written(log, decision("b")) == [None]
        log.append(outcome("b"))
        log.close()
        assert (tmp_path / segment_name(1)).stat().st_size == size

    run(main)
    assert verify_directory(tmp_path, Trust(evidence_net.anchors)).segments == 2


def test_rotation_by_size_carries_open_crossings(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    limits = EvidenceLimits(segment_bytes=20_000, reserve_bytes=1 << 16, seal_seconds=0.005)

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=limits)
        assert await written(log, decision("long")) == [None]
        for number in range(60):
            assert await written(log, decision(f"c{number}"), outcome(f"c{number}")) == [None, None]
        log.close()

    run(main)
    segments = read_chain(tmp_path)
    assert len(segments) > 3
    assert all(segment.path.stat().st_size < 30_000 for segment in segments)
    assert segments[2].entries[1].fields()["crossings"] == ["long"]
    assert verify_directory(tmp_path, Trust(evidence_net.anchors)).segments == len(segments)

    async def again(loop: asyncio.AbstractEventLoop) -> None:
        open_log(tmp_path, evidence_net.signer, loop, limits=limits).close()

    run(again)
    [recovered] = kinds(tmp_path, RecoveredRecord)
    assert recovered.without_outcome == 1
    ended = {record.crossing: record for record in kinds(tmp_path, OutcomeRecord)}
    assert ended["long"].executed is Executed.UNKNOWN
    assert ended["long"].recovered


def test_restart_continues_the_chain(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    for life in range(3):
        write_chain(tmp_path, evidence_net.signer, [[decision(f"c{life}"), outcome(f"c{life}")]])
    report = verify_directory(tmp_path, Trust(evidence_net.anchors))
    assert (report.segments, report.unsealed) == (3, 0)
    assert [type(record) for record in kinds(tmp_path, StartRecord)] == [StartRecord] * 3
    assert len(kinds(tmp_path, StopRecord)) == 3
    assert kinds(tmp_path, RecoveredRecord) == []
    assert len({record.life for record in kinds(tmp_path, StartRecord)}) == 3


def damaged(directory: Path, segment: int, change: object) -> None:
    segments = read_chain(directory)
    change(segments[segment])
    write_chain_back(segments)


def flip(entry: int) -> object:
    def change(segment: object) -> None:
        stored = segment.entries[entry]
        stored.payload = stored.payload[:-2] + b"X" + stored.payload[-1:]

    return change


@pytest.mark.parametrize(
    ("segment", "entry"), [(1, 1), (1, 2), (1, 0), (0, -1)], ids=["record", "seal or record", "header", "link"]
)
def test_damage_stops_the_start(tmp_path: Path, evidence_net: EvidenceNet, segment: int, entry: int) -> None:
    directory = tmp_path / "evidence"
    for life in range(2):
        write_chain(directory, evidence_net.signer, [[decision(f"c{life}"), outcome(f"c{life}")], [decision("x")]])
    if entry == -1:
        damaged(directory, segment, lambda stored: stored.entries.pop())
    else:
        damaged(directory, segment, flip(entry))

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(ZoneGateError) as caught:
            open_log(directory, evidence_net.signer, loop)
        assert caught.value.reason is Reason.E_EVIDENCE_BROKEN
        # The operator moves the directory away: a new chain begins, the old one stays as it is.
        directory.rename(tmp_path / "kept")
        log = open_log(directory, evidence_net.signer, loop)
        assert await written(log, decision("new")) == [None]
        log.close()

    run(main)
    assert verify_directory(directory, Trust(evidence_net.anchors)).segments == 1


def test_missing_segment_stops_the_start(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    for _ in range(3):
        write_chain(tmp_path, evidence_net.signer, [[decision("c"), outcome("c")]])
    (tmp_path / segment_name(2)).unlink()

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(ZoneGateError, match="segment 2 is missing"):
            open_log(tmp_path, evidence_net.signer, loop)

    run(main)


def test_archived_segments_do_not_stop_the_start(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    for _ in range(3):
        write_chain(tmp_path, evidence_net.signer, [[decision("c"), outcome("c")]])
    (tmp_path / segment_name(1)).unlink()
    write_chain(tmp_path, evidence_net.signer, [[decision("d"), outcome("d")]])
    assert verify_directory(tmp_path, Trust(evidence_net.anchors, first_segment=2)).segments == 3


TAILS = {
    "half an entry": lambda data: data[:-17],
    "nothing of the payload": lambda data: data + b"\x00\x00",
    "zeros": lambda data: data + bytes(5000),
    "garbage": lambda data: data + bytes(range(1, 200)),
}


@pytest.mark.parametrize("tear", TAILS.values(), ids=TAILS)
def test_only_a_torn_last_write_is_dropped(tmp_path: Path, evidence_net: EvidenceNet, tear: object) -> None:
    """Unsealed but whole records are kept and sealed as recovered; the crossing without outcome gets one."""
    write_chain(tmp_path, evidence_net.signer, [[decision("whole")], [decision("last")]])
    path = tmp_path / segment_name(1)
    segments = read_chain(tmp_path)
    # A kill at the worst time: no stop record, the last seal not written, the write after it torn.
    while segments[0].entries[-1].fields().get("crossing") != "last":
        segments[0].entries.pop()
    write_chain_back(segments)
    path.write_bytes(tear(path.read_bytes()))
    kept = path.read_bytes()
    write_chain(tmp_path, evidence_net.signer, [[decision("next"), outcome("next")]])
    report = verify_directory(tmp_path, Trust(evidence_net.anchors))
    assert (report.unsealed, report.orderly) == (0, True)
    assert path.read_bytes() == kept, "evidence on the disk is never changed"
    [recovered] = kinds(tmp_path, RecoveredRecord)
    ended = {record.crossing: record for record in kinds(tmp_path, OutcomeRecord)}
    dropped = tear is TAILS["half an entry"]
    assert set(ended) == ({"whole", "next"} if dropped else {"whole", "last", "next"})
    assert recovered.dropped_bytes > 0
    assert recovered.without_outcome == len(ended) - 1
    assert ended["whole"].executed is Executed.UNKNOWN
    seals = [entry.fields()["statement"] for entry in walk(read_chain(tmp_path)) if entry.type == 3]
    assert sum('"recovered":true' in text for text in seals) == (0 if recovered.unsealed == 0 else 1)


def test_flood_of_identical_refusals_is_counted(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    told: list[ZoneGateError | None] = []

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        for number in range(500):
            log.append(decision(f"r{number}", REFUSED), told.append)
        # The nearest neighbour: another caller with the same reason is not the same flood.
        log.append(decision("other", REFUSED, caller=Caller(uri="spiffe://extra/other")), told.append)
        await until(lambda: len(told) == 501)
        assert log.stats.counted == 490
        log.close()

    run(main)
    assert set(told) == {None}
    refused = [record for record in kinds(tmp_path, DecisionRecord) if not record.verdict.allowed]
    counted = kinds(tmp_path, CountedRecord)
    assert len([record for record in refused if record.crossing.startswith("r")]) == FAST.flood_burst
    assert sum(record.count for record in counted) == 490
    assert counted[0].first_crossing == "r10"
    assert counted[-1].last_crossing == "r499"
    assert {record.reason for record in counted} == {Reason.E_NEED_APPROVAL}


def test_refusals_before_admission_are_counted_by_class(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        for _ in range(30):
            log.count(Counted.HANDSHAKE, Reason.E_TLS_SUITE, source_class="local")
        log.count(Counted.ADMISSION, Reason.E_TICKET, source_class="10.0.0.0/8")
        await until(lambda: log.stats.records >= 3)
        log.close()

    run(main)
    found = [(r.what, r.reason, r.source_class, r.count) for r in kinds(tmp_path, CountedRecord)]
    assert found == [
        (Counted.HANDSHAKE, Reason.E_TLS_SUITE, "local", 30),
        (Counted.ADMISSION, Reason.E_TICKET, "10.0.0.0/8", 1),
    ]


def test_a_second_writer_is_refused(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        with pytest.raises(ZoneGateError, match="another process writes"):
            open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        log.close()

    run(main)


def test_another_gateways_directory_is_refused(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    write_chain(tmp_path, evidence_net.signer, [[decision("c"), outcome("c")]])

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(ZoneGateError, match="holds the chain of") as caught:
            open_log(tmp_path, evidence_net.signer, loop, gateway=f"{GATEWAY}-2")
        assert caught.value.reason is Reason.E_CONFIG

    run(main)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        with pytest.raises(ZoneGateError) as caught:
            open_log(tmp_path / "file" / "evidence", evidence_net.signer, loop)
        assert caught.value.reason is Reason.E_EVIDENCE

    run(main)


def test_no_room_at_start_is_refused_and_leaves_nothing(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        file_limit(1000)
        try:
            with pytest.raises(ZoneGateError) as caught:
                open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        finally:
            file_limit(resource.RLIM_INFINITY)
        assert caught.value.reason is Reason.E_EVIDENCE
        assert sorted(os.listdir(tmp_path)) == ["lock"]
        open_log(tmp_path, evidence_net.signer, loop, limits=FAST).close()

    run(main)


def test_after_close_everything_is_refused(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        log.close()
        [error] = await written(log, decision("late"))
        assert error is not None
        assert "stopped" in error.detail

    run(main)


def test_a_renewed_signer_begins_a_segment(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    renewed = evidence_net.net.issue(Profile.EVIDENCE, "gw-shared-evidence").load()

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        assert await written(log, decision("a"), outcome("a")) == [None, None]
        log.replace_signer(renewed)
        await until(lambda: log.stats.segments == 2)
        assert await written(log, decision("b"), outcome("b")) == [None, None]
        await until(lambda: log.head() is not None and log.head().read().signer == renewed.leaf.fingerprint)
        log.close()

    run(main)
    assert verify_directory(tmp_path, Trust(evidence_net.anchors)).segments == 2


def test_one_chain_has_one_signer(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    """The verifier takes a second name within a chain for a rewritten one, so no process may bring it about."""

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        with pytest.raises(ZoneGateError, match=r"E_CONFIG: evidence certificate: names .*gw-other-evidence"):
            log.replace_signer(evidence_net.other)
        assert await written(log, decision("a"), outcome("a")) == [None, None]
        log.close()
        with pytest.raises(ZoneGateError, match=r"E_CONFIG: evidence certificate: names .*gw-other-evidence"):
            open_log(tmp_path, evidence_net.other, loop)
        open_log(tmp_path, evidence_net.signer, loop).close()

    run(main)
    assert verify_directory(tmp_path, Trust(evidence_net.anchors)).segments == 2


def test_an_expired_signer_refuses_until_it_is_replaced(tmp_path: Path) -> None:
    """What cannot be sealed is not evidence: fail closed (AU-04)."""
    clock = FakeClock(NOW)
    net = make_evidence_net(tmp_path / "net", clock=clock)
    short = net.net.issue(Profile.EVIDENCE, "gw-shared-evidence", days=1).load()

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path / "evidence", short, loop, limits=FAST, clock=clock)
        assert await written(log, decision("a")) == [None]
        await until(lambda: log.stats.unsealed == 0)
        clock.advance(2 * 86_400)
        log.append(outcome("a"))
        await until(lambda: log.stats.failed_seals > 0)
        [error] = await written(log, decision("b"))
        assert error is not None
        assert "expired" in error.detail
        assert not log.stats.writable
        renewed = net.net.issue(Profile.EVIDENCE, "gw-shared-evidence").load()
        log.replace_signer(renewed)
        await until(lambda: log.stats.segments == 2)
        assert await written(log, decision("c")) == [None]
        log.append(outcome("c"))
        log.close()

    run(main)
    assert verify_directory(tmp_path / "evidence", Trust(net.anchors)).unsealed == 0


@pytest.mark.req("AU-04")
def test_a_clock_before_the_certificate_refuses_until_it_is_right(tmp_path: Path) -> None:
    """A seal dated before its certificate would never verify."""
    clock = FakeClock(NOW)
    net = make_evidence_net(tmp_path / "net", clock=clock)

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path / "evidence", net.signer, loop, limits=FAST, clock=clock)
        assert await written(log, decision("a")) == [None]
        await until(lambda: log.stats.unsealed == 0)
        clock.set_wall(NOW - timedelta(days=2))
        log.append(outcome("a"))
        await until(lambda: log.stats.failed_seals > 0)
        [error] = await written(log, decision("b"))
        assert error is not None
        assert "not valid yet" in error.detail
        clock.set_wall(NOW)
        await until(lambda: log.stats.unsealed == 0)
        assert await written(log, decision("c")) == [None]
        log.append(outcome("c"))
        log.close()

    run(main)
    assert verify_directory(tmp_path / "evidence", Trust(net.anchors)).unsealed == 0


@dataclass(frozen=True)
class BrokenDevice:
    """A key whose device fails in a way that nobody foresaw."""

    def sign(self, _: bytes, *, signer_id: bytes) -> bytes:  # noqa: ARG002 - the key's signature
        raise RuntimeError("device gone")


@dataclass(frozen=True)
class BrokenSigner:
    chain: tuple[Certificate, ...]
    key: BrokenDevice


@pytest.mark.req("AU-04")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_unforeseen_end_of_sealing_refuses(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        signer = BrokenSigner(evidence_net.signer.chain, BrokenDevice())
        log = EvidenceLog(tmp_path, signer, SystemClock(), gateway=GATEWAY, limits=FAST)
        log.start(loop)
        await until(lambda: log.stats.failed_seals > 0)
        [error] = await written(log, decision("a"))
        assert error is not None
        assert "sealing thread has ended" in error.detail
        log.close()

    run(main)
    write_chain(tmp_path, evidence_net.signer, [[decision("next"), outcome("next")]])
    report = verify_directory(tmp_path, Trust(evidence_net.anchors))
    assert (report.unsealed, report.orderly) == (0, True)


def test_disk_state_has_levels(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    log = EvidenceLog(tmp_path, evidence_net.signer, SystemClock(), gateway=GATEWAY)
    state = log.disk()
    assert 0 <= state.percent <= 100
    assert state.free_bytes > 0
    expected = "critical" if state.percent >= 85 else "high" if state.percent >= 70 else "ok"
    assert state.level == expected


def test_stats_tell_what_happened(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path, evidence_net.signer, loop, limits=FAST)
        assert await written(log, decision("a"), decision("b")) == [None, None]
        stats = log.stats
        assert stats.open_crossings == 2
        log.append(outcome("a"))
        await until(lambda: stats.open_crossings == 1)
        await until(lambda: stats.unsealed == 0)
        assert stats.sync_seconds.count >= 2
        assert stats.group_records.count >= 2
        assert stats.seal_seconds.count == stats.sign_seconds.count == stats.batches
        assert stats.records == 4
        log.close()

    run(main)
    assert len([entry for entry in walk(read_chain(tmp_path)) if entry.type == RECORD]) == 5
