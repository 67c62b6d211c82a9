"""A gateway through its days: revocation, a broken disk, new policies, drain, and being killed."""

import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from support.lab import DOCUMENTS, METADATA, SERVER_STREAM, UNARY, Lab, refusal
from zonegate.cli.evidence import command as evidence
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import DecisionRecord, OutcomeRecord, PolicyRecord
from zonegate.pki.crl import RevocationReason

pytestmark = pytest.mark.xdist_group("life")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    lab.start()
    yield lab
    lab.close()


def until(what: Callable[[], bool], seconds: float = 10.0) -> float:
    """Ask until the answer is yes; return how long it took."""
    start = time.monotonic()
    pause = threading.Event()
    while time.monotonic() - start < seconds:
        if what():
            return time.monotonic() - start
        pause.wait(0.02)
    msg = f"not within {seconds} s"
    raise AssertionError(msg)


def listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def verified(lab: Lab, side: str) -> None:
    result = CliRunner().invoke(evidence, ["verify", str(lab.evidence(side)), "--trust", str(lab.net.root_path)])
    assert result.exit_code == 0, result.output


@pytest.mark.req("RV-04", "TL-07")
@pytest.mark.parametrize("who", ["caller", "provider"])
def test_revocation_ends_an_open_stream_and_refuses_the_next_call(lab: Lab, who: str) -> None:
    lab.echo.gate = threading.Event()
    with lab.channel() as channel:
        stream = channel.unary_stream(SERVER_STREAM)(b"3:x", metadata=METADATA)
        assert next(stream) == b"0:x"
        ended: list[tuple[float, grpc.RpcError]] = []

        def follow() -> None:
            try:
                for _ in stream:
                    pass
            except grpc.RpcError as error:
                ended.append((time.monotonic(), error))

        follower = threading.Thread(target=follow)
        follower.start()
        lab.net.revoke(lab.credentials[who].serial, RevocationReason.KEY_COMPROMISE)
        lab.net.write_crl()
        published = time.monotonic()
        follower.join(15)
        lab.echo.gate.set()
        assert ended, "the stream outlived the certificate"
        # The bound is the poll (0.2 s here, at most 2 s) and the time to judge the list; generous for a busy machine.
        assert ended[0][0] - published < 5.0
        with pytest.raises(grpc.RpcError):
            channel.unary_unary(UNARY)(b"x", metadata=METADATA, timeout=5)


@pytest.mark.req("AU-04", "XZ-14")
def test_no_evidence_no_crossing_and_healing_without_a_restart(lab: Lab) -> None:
    process = lab.gateway_a.process
    assert process is not None
    with lab.channel() as channel:
        call = channel.unary_unary(UNARY)
        assert call(b"before", metadata=METADATA) == b"before"
        calls = lab.echo.calls
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, hard))
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"during", metadata=METADATA)
            assert refusal(caught.value)[:2] == ("UNAVAILABLE", "E_EVIDENCE")
        assert lab.echo.calls == calls, "a call without a record reached the provider"
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (soft, hard))

        def served() -> bool:
            try:
                return bool(call(b"after", metadata=METADATA) == b"after")
            except grpc.RpcError:
                return False

        until(served)
    verified(lab, "a")


@pytest.mark.req("RO-05", "OP-04")
def test_only_a_newer_policy_of_two_officers_is_taken(lab: Lab) -> None:
    process = lab.gateway_a.process
    assert process is not None

    def reload_and_wait(reason: str) -> None:
        def refused() -> int:
            return sum(
                1
                for located in read_records(lab.evidence("a"))
                if isinstance(located.record, PolicyRecord) and located.record.reason.value == reason
            )

        before = refused()
        process.send_signal(signal.SIGHUP)
        until(lambda: refused() > before)

    def works() -> bool:
        with lab.channel() as channel:
            try:
                return bool(channel.unary_unary(UNARY)(b"x", metadata=METADATA) == b"x")
            except grpc.RpcError:
                return False

    assert works()
    no_grant = DOCUMENTS[: DOCUMENTS.index("kind: Grant") - len("---\napiVersion: zonegate/v1\n")]
    lab.sign_policy(2, no_grant, signers=1)
    reload_and_wait("E_BUNDLE_SIGNATURE")
    assert works(), "the policy in force stays when another is refused"
    lab.sign_policy(2, no_grant)
    reload_and_wait("OK")
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(b"x", metadata=METADATA)
    assert refusal(caught.value)[1] == "E_NEED_APPROVAL"
    lab.sign_policy(1)
    reload_and_wait("E_BUNDLE_VERSION")
    assert not works()
    verified(lab, "a")


@pytest.mark.req("XZ-14")
def test_a_policy_that_takes_the_grant_away_ends_open_streams(lab: Lab) -> None:
    lab.echo.gate = threading.Event()
    process = lab.gateway_a.process
    assert process is not None
    with lab.channel() as channel:
        stream = channel.unary_stream(SERVER_STREAM)(b"3:x", metadata=METADATA)
        assert next(stream) == b"0:x"
        lab.sign_policy(2, DOCUMENTS[: DOCUMENTS.index("kind: Grant") - len("---\napiVersion: zonegate/v1\n")])
        process.send_signal(signal.SIGHUP)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        lab.echo.gate.set()
        assert refusal(caught.value)[1] == "E_POLICY_CHANGED"


@pytest.mark.req("AU-01")
def test_a_stream_that_the_next_gateway_ends_is_recorded_as_executed_at_both(lab: Lab) -> None:
    lab.echo.gate = threading.Event()
    process = lab.gateway_b.process
    assert process is not None
    with lab.channel() as channel:
        stream = channel.unary_stream(SERVER_STREAM)(b"3:x", metadata=METADATA)
        assert next(stream) == b"0:x"
        lab.sign_policy(2, DOCUMENTS[: DOCUMENTS.index("kind: Grant") - len("---\napiVersion: zonegate/v1\n")])
        process.send_signal(signal.SIGHUP)
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        lab.echo.gate.set()
        assert refusal(caught.value)[1] == "E_POLICY_CHANGED"
    for side in ("a", "b"):

        def outcomes(side: str = side) -> list[OutcomeRecord]:
            records = [located.record for located in read_records(lab.evidence(side))]
            return [record for record in records if isinstance(record, OutcomeRecord)]

        until(lambda outcomes=outcomes: bool(outcomes()))
        (outcome,) = outcomes()
        assert (outcome.reason.value, outcome.executed.value) == ("E_POLICY_CHANGED", "yes"), side


def test_sigterm_lets_open_calls_finish(lab: Lab) -> None:
    lab.echo.gate = threading.Event()
    process = lab.gateway_a.process
    assert process is not None
    with lab.channel() as channel:
        stream = channel.unary_stream(SERVER_STREAM)(b"3:x", metadata=METADATA)
        assert next(stream) == b"0:x"
        process.send_signal(signal.SIGTERM)
        until(lambda: not listens(lab.ports["gw-a"]))
        lab.echo.gate.set()
        assert list(stream) == [b"1:x", b"2:x"]
    assert process.wait(20) == 0
    verified(lab, "a")


def test_whoever_watches_the_connectors_health_is_told_of_a_lost_gateway(lab: Lab) -> None:
    with lab.channel() as channel:
        watch = HealthStub(channel).Watch(HealthCheckRequest(service=""))
        assert next(watch).status == HealthCheckResponse.SERVING
        lab.gateway_a.kill()
        assert next(watch).status == HealthCheckResponse.NOT_SERVING
        lab.gateway_a.start()
        lab.gateway_a.ready()
        assert next(watch).status == HealthCheckResponse.SERVING
        watch.cancel()


def answered_calls_under_load(lab: Lab, victim: str, rounds: int) -> set[str]:
    """Call without pause while `victim` is killed and started again; return the crossings a client saw answered."""
    answered: set[str] = set()
    stop = threading.Event()

    def call_on() -> None:
        with lab.channel() as channel:
            call = channel.unary_unary(UNARY)
            while not stop.is_set():
                try:
                    _, done = call.with_call(b"x", metadata=METADATA, timeout=5)
                except grpc.RpcError:
                    stop.wait(0.02)
                    continue
                answered.add(dict(done.initial_metadata())["zg-crossing"])

    threads = [threading.Thread(target=call_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    service = lab.gateway_a if victim == "a" else lab.gateway_b
    try:
        for _ in range(rounds):
            goal = len(answered) + 40
            until(lambda goal=goal: len(answered) >= goal, 60)
            service.kill()
            service.start()
            service.ready()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return answered


def check_answered_calls_have_records(lab: Lab, answered: set[str]) -> None:
    for side in ("a", "b"):
        verified(lab, side)
        records = [located.record for located in read_records(lab.evidence(side))]
        decided = {
            record.crossing for record in records if isinstance(record, DecisionRecord) and record.verdict.allowed
        }
        ended = {record.crossing for record in records if isinstance(record, OutcomeRecord)}
        assert answered <= decided, f"{len(answered - decided)} answered calls have no record at {side}"
        assert decided <= ended, "every crossing has an outcome, if only an unknown one"


@pytest.mark.req("AU-02", "AU-04")
@pytest.mark.parametrize("victim", ["a", "b"])
def test_kill_9_under_load_loses_no_record_of_an_answered_call(lab: Lab, victim: str) -> None:
    answered = answered_calls_under_load(lab, victim, rounds=2)
    for service in (lab.gateway_a, lab.gateway_b):
        assert service.stop() == 0
    check_answered_calls_have_records(lab, answered)


@pytest.mark.stress
@pytest.mark.req("AU-02", "AU-04")
def test_kill_9_twenty_times(lab: Lab, record_property: Callable[[str, object], None]) -> None:
    answered = answered_calls_under_load(lab, "a", rounds=10) | answered_calls_under_load(lab, "b", rounds=10)
    for service in (lab.gateway_a, lab.gateway_b):
        assert service.stop() == 0
    check_answered_calls_have_records(lab, answered)
    record_property("answered calls, all with records", len(answered))
