"""Stock grpcio on both ends, two gateways in between: what a department system sees of a crossing."""

import contextlib
import socket
import threading
from collections.abc import Iterator

import grpc
import pytest
from click.testing import CliRunner
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from prometheus_client.parser import text_string_to_metric_families

from support.lab import BIDI, CLIENT_STREAM, METADATA, PURPOSE, SERVER_STREAM, UNARY, Lab, refusal
from zonegate.cli.evidence import command as evidence
from zonegate.cli.why import command as why
from zonegate.gateway.evidence.counts import count_by_life
from zonegate.gateway.evidence.reader import read_records

pytestmark = pytest.mark.xdist_group("lab")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("lab"))
    lab.start()
    yield lab
    lab.close()


@pytest.mark.req("TL-06")
def test_all_four_call_kinds_are_byte_identical(lab: Lab) -> None:
    big = bytes(range(256)) * 40_960  # 10 MiB
    with lab.channel() as channel:
        assert channel.unary_unary(UNARY)(b"one", metadata=METADATA) == b"one"
        assert channel.unary_unary(UNARY)(b"", metadata=METADATA) == b""
        assert channel.unary_unary(UNARY)(big, metadata=METADATA) == big
        assert channel.stream_unary(CLIENT_STREAM)(iter([b"a", b"b", b"c"]), metadata=METADATA) == b"abc"
        listed = list(channel.unary_stream(SERVER_STREAM)(b"1000:x", metadata=METADATA))
        assert listed == [b"%d:x" % number for number in range(1000)]
        assert list(channel.stream_stream(BIDI)(iter([b"1", big, b"3"]), metadata=METADATA)) == [b"1", big, b"3"]


def test_a_call_without_purpose_is_refused_with_details(lab: Lab) -> None:
    before = lab.echo.calls
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(b"x")
    code, reason, crossing = refusal(caught.value)
    assert (code, reason, len(crossing)) == ("INVALID_ARGUMENT", "E_PURPOSE", 28)
    assert caught.value.details().startswith("E_PURPOSE")
    assert lab.echo.calls == before


def test_the_provider_learns_who_calls_and_nothing_else(lab: Lab) -> None:
    with lab.channel() as channel:
        channel.unary_unary(UNARY)(
            b"x",
            metadata=(
                *METADATA,
                ("zg-caller-organ", "spoofed"),
                ("zg-peer-uri", "spoofed"),
                ("x-note", "listed"),
                ("x-blob-bin", b"\x00\xff"),
                ("x-other", "not listed"),
            ),
        )
    seen = lab.echo.seen[-1]
    assert seen["zg-caller-organ"] == "1210000099030001XT"
    assert seen["zg-caller-system"] == "credit"
    assert seen["zg-purpose"] == "check"
    assert len(seen["zg-crossing"]) == 28
    assert seen["x-note"] == "listed"
    assert seen["x-blob-bin"] == b"\x00\xff"
    assert "x-other" not in seen
    assert not any(name.startswith(("zg-peer", "zg-ticket")) for name in seen)


def test_trailers_initial_metadata_and_errors_of_the_provider_come_back(lab: Lab) -> None:
    lab.echo.initial = (("x-note", "from the provider"), ("x-hidden", "not listed"))
    lab.echo.trailing = (("x-blob-bin", b"\x01\x02"),)
    try:
        with lab.channel() as channel:
            answer, call = channel.unary_unary(UNARY).with_call(b"x", metadata=METADATA)
        initial = dict(call.initial_metadata())
        assert answer == b"x"
        assert initial["x-note"] == "from the provider"
        assert "x-hidden" not in initial
        assert len(initial["zg-crossing"]) == 28
        assert dict(call.trailing_metadata())["x-blob-bin"] == b"\x01\x02"
        lab.echo.abort = (grpc.StatusCode.NOT_FOUND, "nobody of that number")
        with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(UNARY)(b"x", metadata=METADATA)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "nobody of that number"
    finally:
        lab.echo.initial = lab.echo.trailing = ()
        lab.echo.abort = None


@pytest.mark.req("TL-06")
def test_a_provider_cannot_speak_as_a_gateway(lab: Lab) -> None:
    forged = status_pb2.Status(code=5, message="forged")
    info = error_details_pb2.ErrorInfo(reason="E_CERT_REVOKED", domain="zonegate", metadata={"crossing": "f" * 28})
    forged.details.add().Pack(info)
    own = status_pb2.Status(code=5, message="own")
    own.details.add().Pack(error_details_pb2.ErrorInfo(reason="GONE", domain="population.example"))
    lab.echo.abort = (grpc.StatusCode.NOT_FOUND, "nobody of that number")
    try:
        for details, passes in ((forged, False), (own, True)):
            lab.echo.trailing = (("grpc-status-details-bin", details.SerializeToString()),)
            with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(UNARY)(b"x", metadata=METADATA)
            assert caught.value.code() is grpc.StatusCode.NOT_FOUND
            assert ("grpc-status-details-bin" in dict(caught.value.trailing_metadata())) is passes
    finally:
        lab.echo.abort, lab.echo.trailing = None, ()


def test_deadline_and_cancellation_reach_the_provider(lab: Lab) -> None:
    lab.echo.gate = threading.Event()
    try:
        with lab.channel() as channel:
            stream = channel.unary_stream(SERVER_STREAM)(b"5:x", metadata=METADATA, timeout=0.5)
            assert next(stream) == b"0:x"
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            stream = channel.unary_stream(SERVER_STREAM)(b"5:x", metadata=METADATA)
            assert next(stream) == b"0:x"
            stream.cancel()
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() is grpc.StatusCode.CANCELLED
    finally:
        lab.echo.gate.set()
        lab.echo.gate = None


def test_unknown_method_and_label(lab: Lab) -> None:
    cases = {
        "/lab.echo.v1.Echo/Nothing": ((), "E_NOT_CATALOGUED"),
        "/other.Service/Call": ((), "E_NOT_CATALOGUED"),
        UNARY: ((("zg-label", "L0"),), "E_LABEL_LOWER"),
    }
    with lab.channel() as channel:
        for path, (extra, wanted) in cases.items():
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(path)(b"x", metadata=(*METADATA, *extra))
            assert refusal(caught.value)[1] == wanted
        for label, wanted in (("L3", "E_SPILL"), ("L9", "E_LABEL")):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(UNARY)(b"x", metadata=(*METADATA, ("zg-label", label)))
            assert refusal(caught.value)[1] == wanted
        assert channel.unary_unary(UNARY)(b"x", metadata=(*METADATA, ("zg-label", "L2"))) == b"x"


@pytest.mark.req("MA-05", "XZ-11")
def test_a_spill_raises_an_alarm_and_not_the_level(lab: Lab) -> None:
    quarantined = 'zonegate_decisions_total{decision="quarantine",reason="E_SPILL",source="shared",target="police"}'
    with lab.channel() as channel:
        call = channel.unary_unary(UNARY)
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                call(b"x", metadata=(*METADATA, ("zg-label", "L4")))
            assert refusal(caught.value)[1] == "E_SPILL"
            # What was spilled has not made the zone one that holds it: a lower object goes on, the same one does not.
            assert call(b"x", metadata=METADATA) == b"x"
    (line,) = [line for line in lab.gateway_a.metrics().splitlines() if line.startswith(quarantined)]
    assert float(line.rpartition(" ")[2]) >= 2


def test_a_provider_may_raise_its_label_but_not_above_the_callers_ceiling(lab: Lab) -> None:
    try:
        lab.echo.initial = (("zg-label", "L2"),)
        with lab.channel() as channel:
            assert channel.unary_unary(UNARY)(b"x", metadata=METADATA) == b"x"
            lab.echo.initial = (("zg-label", "L4"),)
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(UNARY)(b"x", metadata=METADATA)
            assert refusal(caught.value)[1] == "E_RESPONSE_RAISED"
            lab.echo.initial = (("zg-label", "L0"),)
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(UNARY)(b"x", metadata=METADATA)
            assert refusal(caught.value)[1] == "E_RESPONSE_RAISED"
    finally:
        lab.echo.initial = ()


def test_a_message_above_the_catalogues_bound_is_refused(lab: Lab) -> None:
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(b"x" * (33 << 20), metadata=METADATA)
    assert refusal(caught.value)[:2] == ("RESOURCE_EXHAUSTED", "E_MESSAGE_SIZE")


def test_the_connector_answers_health(lab: Lab) -> None:
    with lab.channel() as channel:
        answer = HealthStub(channel).Check(HealthCheckRequest(service=""))
    assert answer.status == HealthCheckResponse.SERVING


def test_many_calls_at_once(lab: Lab) -> None:
    with lab.channel() as channel:
        call = channel.unary_unary(UNARY)
        futures = [call.future(b"%d" % number, metadata=METADATA) for number in range(500)]
        assert [future.result() for future in futures] == [b"%d" % number for number in range(500)]


def test_garbage_on_every_port_harms_nobody(lab: Lab) -> None:
    for port in (lab.ports["gw-a"], lab.ports["gw-b"], lab.ports["provider"], lab.route_port):
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 100, b"\0" * 70_000):
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock, contextlib.suppress(OSError):
                sock.sendall(garbage)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(4096):
                    pass
    with lab.channel() as channel:
        assert channel.unary_unary(UNARY)(b"still here", metadata=METADATA) == b"still here"


@pytest.mark.req("XZ-14", "AU-01")
def test_both_gateways_keep_a_record_of_the_same_crossing(lab: Lab) -> None:
    with lab.channel() as channel:
        _, call = channel.unary_unary(UNARY).with_call(b"x", metadata=METADATA)
    crossing = dict(call.initial_metadata())["zg-crossing"]
    told = CliRunner().invoke(
        why, [crossing, "--evidence", str(lab.evidence("a")), "--evidence", str(lab.evidence("b"))]
    )
    assert told.exit_code == 0, told.output
    assert "spiffe://extra/111000009900000172/gateway-shared" in told.output
    assert "spiffe://extra/11100000990000025W/gateway-police" in told.output


@pytest.mark.req("AU-02", "MO-02")
def test_evidence_verifies_and_equals_the_counters(lab: Lab) -> None:
    for side, gateway in (("a", lab.gateway_a), ("b", lab.gateway_b)):
        counted = CliRunner().invoke(evidence, ["verify", str(lab.evidence(side)), "--trust", str(lab.net.root_path)])
        assert counted.exit_code == 0, counted.output
        metrics = {
            tuple(sample.labels[name] for name in ("decision", "source", "target", "reason")): sample.value
            for family in text_string_to_metric_families(gateway.metrics())
            for sample in family.samples
            if sample.name == "zonegate_decisions_total" and sample.value
        }
        (life,) = count_by_life(located.record for located in read_records(lab.evidence(side)))
        summed = {
            (key.decision, key.source or "-", key.target or "-", key.reason.value): float(number)
            for key, number in life.decisions.items()
        }
        assert summed == metrics


def test_a_stranger_without_ticket_or_tls_gets_nothing(lab: Lab) -> None:
    with lab.channel(lab.ports["gw-a"]) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(b"x", metadata=METADATA, timeout=5)
    assert caught.value.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def test_purposes_are_compared_whole(lab: Lab) -> None:
    for wrong in (PURPOSE.upper(), PURPOSE + " ", PURPOSE[:-1]):
        with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(UNARY)(b"x", metadata=(("zg-purpose", wrong.replace(" ", "%20")),))
        assert refusal(caught.value)[1] == "E_PURPOSE"
