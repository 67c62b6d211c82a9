"""Who may be on a connection, whose status is known, and how certificates are renewed: real processes."""

import shutil
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner

from support.lab import CREDIT, DOCUMENTS, HUB, METADATA, POLICE, SERVER_STREAM, UNARY, Lab, refusal, until
from zonegate.ca import asn1
from zonegate.ca.publication import replace_file
from zonegate.ca.revocation import build_tbs_crl
from zonegate.cli.gateway import command as gateway
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import PeerHeadRecord
from zonegate.gm import sm2
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import load_crl
from zonegate.reasons import Reason

pytestmark = pytest.mark.xdist_group("trust")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab(tmp_path_factory.mktemp("trust"))
    lab.start()
    yield lab
    lab.close()


def call(lab: Lab, port: int | None = None) -> str:
    """Call once and return the reason of the refusal, or OK."""
    with lab.channel(port) as channel:
        try:
            channel.unary_unary(UNARY)(b"x", metadata=METADATA, timeout=10, wait_for_ready=True)
        except grpc.RpcError as error:
            return refusal(error)[1]
    return "OK"


# -- outbound: the peer must be the one meant ------------------------------------------------------------------------


@pytest.mark.req("TL-06", "CE-03")
def test_another_system_does_not_serve_as_the_provider(lab: Lab) -> None:
    other = lab.net.issue(Profile.SYSTEM, "archive", organ=POLICE)
    change = (str(lab.credentials["provider"].cert_path.parent), str(other.cert_path.parent))
    lab.connector_b.stop()
    try:
        with lab.variant(lab.connector_b, change) as posing:
            posing.ready()
            before = lab.echo.calls
            until(lambda: call(lab) == "E_PEER_IDENTITY")
            assert lab.echo.calls == before
    finally:
        lab.connector_b.start()
    until(lambda: call(lab) == "OK")


def test_a_systems_certificate_does_not_serve_as_a_gateway(lab: Lab) -> None:
    # The address of the next gateway leads to a system's connector: gateway A finds a system's certificate there.
    changes = (
        (f"127.0.0.1:{lab.ports['gw-b']}", f"127.0.0.1:{lab.ports['provider']}"),
        (str(lab.evidence("a")), str(lab.path / "evidence-x")),
    )
    (lab.path / "evidence-x").mkdir(exist_ok=True)
    with lab.variant(lab.gateway_a, *changes, local=("gw-a",)) as gateway:
        gateway.ready()
        listens = gateway.config.read_text().split('listen = "', 1)[1].split('"', 1)[0]
        reached = ((f"127.0.0.1:{lab.ports['gw-a']}", listens),)
        with lab.variant(lab.connector_a, *reached, local=("route",)) as connector:
            connector.ready()
            port = int(connector.config.read_text().rsplit('listen = "127.0.0.1:', 1)[1].split('"', 1)[0])
            until(lambda: call(lab, port) == "E_PEER_IDENTITY")


def test_a_connector_calls_its_own_gateway_only(lab: Lab) -> None:
    changes = ((f"127.0.0.1:{lab.ports['gw-a']}", f"127.0.0.1:{lab.ports['gw-b']}"),)
    with lab.variant(lab.connector_a, *changes, local=("route",)) as connector:
        until(lambda: "connector serving" in connector.log())
        port = int(connector.config.read_text().rsplit('listen = "127.0.0.1:', 1)[1].split('"', 1)[0])
        until(lambda: call(lab, port) == "E_PEER_IDENTITY")


# -- inbound: the caller's zone must be the gateway's own ------------------------------------------------------------


@pytest.mark.req("XZ-14")
def test_a_caller_of_another_zone_is_refused_in_its_handshake(lab: Lab) -> None:
    refused = 'zonegate_handshake_refusals_total{reason="E_ZONE_IDENTITY"}'
    before = lab.gateway_b.figure(refused)
    changes = (
        (f"127.0.0.1:{lab.ports['gw-a']}", f"127.0.0.1:{lab.ports['gw-b']}"),
        (f"spiffe://extra/{HUB}/gateway-shared", f"spiffe://extra/{POLICE}/gateway-police"),
    )
    with lab.variant(lab.connector_a, *changes, local=("route",)):
        until(lambda: lab.gateway_b.figure(refused) > before)
    assert call(lab) == "OK"


POSING = {
    "a system's certificate": ("caller", "E_CERT_USAGE"),
    "another gateway's certificate": ("gw-b", "E_PEER_IDENTITY"),
    "an evidence certificate": ("ev-a", "E_CERT_USAGE"),
}


@pytest.mark.parametrize(("credential", "reason"), POSING.values(), ids=POSING)
def test_a_gateway_does_not_start_with(lab: Lab, credential: str, reason: str) -> None:
    own, other = (str(lab.credentials[name].cert_path.parent) for name in ("gw-a", credential))
    with lab.variant(lab.gateway_a, (own, other), local=("gw-a",)) as gateway:
        assert gateway.process is not None
        assert gateway.process.wait(20) == 1
        assert reason in gateway.log()


# -- status ----------------------------------------------------------------------------------------------------------


def publish_short_list(lab: Lab, seconds: float) -> int:
    """Publish a list of the sub-CA that ends soon, with the next number; return the number."""
    authority = lab.net.authority
    held = load_crl(lab.net.crl_paths[1].read_bytes())
    now = lab.clock.now().replace(microsecond=0)
    tbs = build_tbs_crl(
        lab.net.sub_ca.subject_der,
        lab.net.sub_ca.public_key,
        [],
        number=held.number + 1,
        this_update=now,
        next_update=now + timedelta(seconds=seconds),
    )
    signature = authority._keystore.sign(Profile.SUB_CA, tbs, signer_id=sm2.CERT_ID)
    replace_file(lab.net.crl_paths[1], asn1.encode_signed(tbs, signature))
    return held.number + 1


def held_number(lab: Lab) -> float:
    lines = [line for line in lab.gateway_a.metrics().splitlines() if line.startswith("zonegate_crl_number")]
    return max(float(line.rpartition(" ")[2]) for line in lines)


@pytest.mark.req("RV-02")
def test_a_stale_list_refuses_at_grade_3_ends_streams_and_heals(lab: Lab) -> None:
    number = publish_short_list(lab, 4)
    until(lambda: held_number(lab) == number)
    lab.echo.gate = threading.Event()
    try:
        with lab.channel() as channel:
            stream = channel.unary_stream(SERVER_STREAM)(b"3:x", metadata=METADATA)
            assert next(stream) == b"0:x"
            with pytest.raises(grpc.RpcError) as caught:
                next(stream)
            assert caught.value.code() is not grpc.StatusCode.OK
    finally:
        lab.echo.gate.set()
        lab.echo.gate = None
    until(lambda: call(lab) == "E_STATUS_STALE")
    assert lab.gateway_a.figure("zonegate_status_stale") == 1
    # A gateway that is started now serves nobody, and heals like the others.
    assert lab.gateway_b.stop() == 0
    lab.gateway_b.start()
    until(lambda: lab.gateway_b.figure("zonegate_status_stale") == 1 if answers(lab) else False, 20)
    for _ in range(2):
        lab.net.write_crl()
    until(lambda: call(lab) == "OK", 20)
    assert lab.gateway_a.figure("zonegate_status_stale") == 0


def answers(lab: Lab) -> bool:
    try:
        lab.gateway_b.metrics()
    except OSError:
        return False
    return True


@pytest.mark.req("RV-01")
def test_a_list_with_a_lower_number_changes_nothing(lab: Lab) -> None:
    path = lab.net.crl_paths[1]
    old = path.read_bytes()
    lab.net.write_crl()
    new = path.read_bytes()
    until(lambda: held_number(lab) == load_crl(new).number)
    failures = lab.gateway_a.figure("zonegate_status_poll_failures_total")
    path.write_bytes(old)
    until(lambda: lab.gateway_a.figure("zonegate_status_poll_failures_total") > failures)
    assert held_number(lab) == load_crl(new).number
    assert "E_CRL_NUMBER" in lab.gateway_a.log()
    path.write_bytes(new)
    assert call(lab) == "OK"


# -- renewal ---------------------------------------------------------------------------------------------------------


@pytest.mark.req("OP-03")
def test_every_certificate_is_renewed_under_load_without_a_failed_call(lab: Lab) -> None:
    stop = threading.Event()
    failed: list[grpc.RpcError] = []
    answered = [0]

    def call_on() -> None:
        with lab.channel() as channel:
            unary = channel.unary_unary(UNARY)
            while not stop.is_set():
                try:
                    unary(b"x", metadata=METADATA, timeout=10)
                except grpc.RpcError as error:
                    failed.append(error)
                else:
                    answered[0] += 1

    until(lambda: call(lab) == "OK")
    renewed = {
        "gw-a": (Profile.GATEWAY, "gateway-shared", HUB, lab.gateway_a),
        "ev-a": (Profile.EVIDENCE, "gateway-shared-evidence", HUB, lab.gateway_a),
        "gw-b": (Profile.GATEWAY, "gateway-police", POLICE, lab.gateway_b),
        "caller": (Profile.SYSTEM, "credit", CREDIT, lab.connector_a),
        "provider": (Profile.SYSTEM, "population", POLICE, lab.connector_b),
    }
    threads = [threading.Thread(target=call_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for name, (profile, who, organ, service) in renewed.items():
            fresh, used = lab.net.issue(profile, who, organ=organ), lab.credentials[name]
            for source, target in zip(
                (fresh.cert_path, fresh.key_path, fresh.secret_path),
                (used.cert_path, used.key_path, used.secret_path),
                strict=True,
            ):
                shutil.copyfile(source, target)
            assert service.process is not None
            goal = answered[0] + 50
            service.process.send_signal(signal.SIGHUP)
            until(lambda fresh=fresh, service=service: f"{fresh.serial:x}" in service.log())
            until(lambda goal=goal: answered[0] > goal or bool(failed))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed, failed[0]


# -- policy ----------------------------------------------------------------------------------------------------------


@pytest.mark.req("OP-04", "RO-05")
def test_a_bundle_that_cannot_serve_here_does_not_shut_out_the_one_that_does(lab: Lab) -> None:
    before = {path.name: path.read_bytes() for path in lab.policy.iterdir()}
    other = DOCUMENTS.replace(f"spiffe://extra/{HUB}/gateway-shared", f"spiffe://extra/{HUB}/gateway-other")
    lab.sign_policy(2, other)
    assert lab.gateway_a.process is not None
    lab.gateway_a.process.send_signal(signal.SIGHUP)
    until(lambda: "policy refused reason=E_PEER_IDENTITY" in lab.gateway_a.log())
    assert call(lab) == "OK"
    assert lab.gateway_a.figure("zonegate_policy_version") == 1
    for path in lab.policy.iterdir():
        path.unlink()
    for name, content in before.items():
        (lab.policy / name).write_bytes(content)
    assert lab.gateway_a.stop() == 0
    lab.gateway_a.start()
    lab.gateway_a.ready()
    until(lambda: call(lab) == "OK")


# -- below grade 3 ---------------------------------------------------------------------------------------------------


@pytest.mark.req("RV-02")
def test_a_zone_of_grade_2_goes_on_with_a_stale_list(tmp_path: Path) -> None:
    documents = DOCUMENTS.replace("mlpsGrade: 3", "mlpsGrade: 2").replace(
        "clearance: L2 工作秘密", "clearance: L1 内部"
    )
    lab = Lab(tmp_path, documents=documents)
    for service in lab.services:
        text = service.config.read_text()
        service.config.write_text(text.replace("[status]", "[status]\nstale_allowed = true"))
    lab.start()
    try:
        number = publish_short_list(lab, 2)
        until(lambda: held_number(lab) == number)
        until(lambda: lab.gateway_a.figure("zonegate_status_stale") == 1)
        assert call(lab) == "OK"
        assert lab.gateway_a.stop() == 0
        lab.gateway_a.start()
        lab.gateway_a.ready()
        until(lambda: call(lab) == "OK")
    finally:
        lab.close()


@pytest.mark.req("RV-02", "MA-06")
def test_a_gateway_whose_configuration_falls_short_of_its_grade_does_not_start(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    try:
        text = lab.gateway_a.config.read_text()
        lab.gateway_a.config.write_text(text.replace("[status]", "[status]\nstale_allowed = true"))
        result = CliRunner().invoke(gateway, ["check-config", "-c", str(lab.gateway_a.config)])
        assert isinstance(result.exception, ZoneGateError)
        assert result.exception.reason is Reason.E_GRADE_DEMAND
        assert "zone shared (grade 3)" in result.exception.detail
        assert "身份鉴别" in result.exception.detail
    finally:
        lab.net.close()


# -- what is exported and kept ---------------------------------------------------------------------------------------


@pytest.mark.req("MO-01", "AU-02")
def test_figures_of_trust_and_the_heads_of_peers(lab: Lab) -> None:
    assert call(lab) == "OK"
    for service, certificates in ((lab.gateway_a, {"tls", "evidence"}), (lab.connector_b, {"tls"})):
        text = service.metrics()
        for use in certificates:
            assert f'zonegate_certificate_not_after_timestamp_seconds{{use="{use}"}}' in text
        assert service.figure("zonegate_handshakes_total") >= 1
        assert service.figure("zonegate_handshake_seconds_count") >= 1
        assert 'zonegate_streams_open{side="upstream"}' in text
    assert lab.gateway_a.figure("zonegate_policy_info{") == 1
    assert lab.gateway_a.figure("zonegate_decision_seconds_count") >= 1
    assert "zonegate_policy_info{" not in lab.connector_b.metrics()

    def kept() -> bool:
        records = [located.record for located in read_records(lab.evidence("b"))]
        heads = [record for record in records if isinstance(record, PeerHeadRecord)]
        return bool(heads) and all(
            (head.gateway, head.conflict) == (f"spiffe://extra/{HUB}/gateway-shared", "") for head in heads
        )

    until(kept)
