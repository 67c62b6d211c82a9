"""`zonegate ocsp serve` and `tsa serve` as processes, over real HTTP, asked by other clients too (RV-03, RV-07)."""

# ruff: noqa: S310 - every address is a loopback one that the test itself made

import base64
import http.client
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509 import ocsp

from support.pki import TestNet, make_net
from zonegate.cli import main
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.crl import load_crl
from zonegate.pki.ocsp import check_ocsp
from zonegate.pki.ocsp_request import encode_request, make_cert_id
from zonegate.pki.timestamp import verify_token
from zonegate.pki.timestamp_message import encode_request as encode_query
from zonegate.pki.timestamp_message import parse_reply
from zonegate.reasons import Reason

CLOCK = SystemClock()
START_SECONDS = 20.0


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestNet]:
    made = make_net(tmp_path_factory.mktemp("status"), Net.EXTRA, CLOCK)
    yield made
    made.close()


@dataclass
class Service:
    process: subprocess.Popen[str]
    address: str
    management: str

    @property
    def url(self) -> str:
        return f"http://{self.address}/"

    def scrape(self, path: str = "/metrics") -> str:
        with urllib.request.urlopen(f"http://{self.management}{path}", timeout=10) as answer:
            return answer.read().decode()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def _serving(kind: str, config: Path, management: str) -> Iterator[Service]:
    command = [sys.executable, "-m", "zonegate", kind, "serve", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:2] == [kind, "serves"], "the service has not started"
        yield Service(process, words[-1], management)
    finally:
        process.terminate()
        process.wait(START_SECONDS)
        process.stdout.close()


@pytest.fixture(scope="module")
def responder(net: TestNet) -> Iterator[Service]:
    issued = net.issue(Profile.OCSP, "ocsp")
    management = f"127.0.0.1:{_free_port()}"
    config = net.path / "ocsp.toml"
    config.write_text(
        f'net = "extra"\nlisten = "127.0.0.1:0"\nmanagement = "{management}"\nledger = "ca/ledger.sqlite"\n'
        f'issuer = "ca/public/sub.crt"\ncertificate = "{issued.cert_path}"\nkey = "{issued.key_path}"\n'
        f'secret = "{issued.secret_path}"\npublic = "ca/public"\n'
    )
    with _serving("ocsp", config, management) as service:
        yield service


@pytest.fixture(scope="module")
def authority(net: TestNet) -> Iterator[Service]:
    issued = net.issue(Profile.TSA, "tsa")
    management = f"127.0.0.1:{_free_port()}"
    config = net.path / "tsa.toml"
    config.write_text(
        f'net = "extra"\nlisten = "127.0.0.1:0"\nmanagement = "{management}"\ncertificate = "{issued.cert_path}"\n'
        f'key = "{issued.key_path}"\nsecret = "{issued.secret_path}"\nserials = "serials"\n'
    )
    with _serving("tsa", config, management) as service:
        yield service


def _post(url: str, kind: str, body: bytes) -> tuple[int, str, bytes]:
    request = urllib.request.Request(url, body, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, exc.headers["content-type"], exc.read()


QUERY = "application/ocsp-request"
ANSWER = "application/ocsp-response"
QUERY_TYPE = "application/timestamp-query"


@pytest.mark.req("RV-03")
def test_ocsp_by_post_and_by_every_spelling_of_get(responder: Service, net: TestNet) -> None:
    subject = net.issue(Profile.SYSTEM, "population").certificate
    nonce = bytes(range(32))
    wanted = make_cert_id(subject.serial, net.sub_ca)
    status, kind, body = _post(responder.url, QUERY, encode_request((wanted,), nonce))
    assert (status, kind) == (200, ANSWER)
    check_ocsp(body, subject, net.sub_ca, CLOCK.now(), nonce)
    text = base64.b64encode(encode_request((wanted,))).decode()
    assert set(text) & set("+/="), "a request whose base64 needs escaping is wanted here"
    answers = set()
    for spelled in (text, urllib.parse.quote(text, safe=""), urllib.parse.quote(text)):
        with urllib.request.urlopen(responder.url + spelled, timeout=10) as answer:
            assert answer.headers["content-type"] == ANSWER
            assert "max-age=" in answer.headers["cache-control"]
            answers.add(answer.read())
    (one,) = answers
    check_ocsp(one, subject, net.sub_ca, CLOCK.now())
    assert ocsp.load_der_ocsp_response(one).certificate_status is ocsp.OCSPCertStatus.GOOD


@pytest.mark.req("RV-03")
def test_http_refusals(responder: Service) -> None:
    malformed = bytes.fromhex("30030a0101")
    rows = {
        "not a request": _post(responder.url, QUERY, b"hello"),
        "too long": _post(responder.url, QUERY, bytes(9000)),
        "another type": _post(responder.url, "text/plain", b"hello"),
        "nowhere": _post(responder.url + "crl/sub.crl", QUERY, b""),
    }
    assert {name: row[0] for name, row in rows.items()} == {
        "not a request": 200,
        "too long": 413,
        "another type": 415,
        "nowhere": 405,
    }
    assert rows["not a request"][1:] == (ANSWER, malformed)
    for path in ("%00", "AAAA", "a" * 300, "crl/../ca.toml", "!!"):
        with urllib.request.urlopen(responder.url + path, timeout=10) as answer:
            assert answer.read() == malformed


@pytest.mark.req("RV-04")
def test_a_revocation_reaches_the_answer_within_two_seconds(responder: Service, net: TestNet) -> None:
    subject = net.issue(Profile.SYSTEM, "lost").certificate
    request = encode_request((make_cert_id(subject.serial, net.sub_ca),))
    check_ocsp(_post(responder.url, QUERY, request)[2], subject, net.sub_ca, CLOCK.now())
    net.revoke(subject.serial)
    begin = time.monotonic()
    while True:
        try:
            check_ocsp(_post(responder.url, QUERY, request)[2], subject, net.sub_ca, CLOCK.now())
        except ZoneGateError as exc:
            assert exc.reason is Reason.E_CERT_REVOKED
            break
        assert time.monotonic() - begin < 2


@pytest.mark.req("RV-02", "RV-06")
def test_lists_and_certificates_with_etags(responder: Service, net: TestNet) -> None:
    connection = http.client.HTTPConnection(responder.address, timeout=10)

    def get(path: str, tag: str = "") -> tuple[int, str, str, bytes]:
        connection.request("GET", path, headers={"If-None-Match": tag} if tag else {})
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.headers.get("etag", ""), answer.read()

    status, kind, tag, body = get("/crl/sub.crl")
    assert (status, kind) == (200, "application/pkix-crl")
    assert load_crl(body).number == net.crls()[1].number
    assert get("/crl/sub.crl", tag)[0] == 304
    net.write_crl()
    status, _, newer, body = get("/crl/sub.crl", tag)
    assert (status, load_crl(body).number) == (200, net.crls()[1].number)
    assert newer != tag
    for path, kind in (("/ca/sub.crt", "application/pkix-cert"), ("/ca/sub.pem", "application/x-pem-file")):
        status, found, _, body = get(path)
        assert (status, found) == (200, kind)
        read = x509.load_pem_x509_certificate if path.endswith("pem") else x509.load_der_x509_certificate
        assert read(body).serial_number == net.sub_ca.serial
    for path in (
        "/crl/none.crl",
        "/crl/sub.crt",
        "/ca/sub.crl",
        "/crl/..%2fca.toml",
        "/crl/.hidden.crl",
        "/ca/ca.toml",
    ):
        assert get(path)[0] in (404, 200), path
        assert b"[sub]" not in get(path)[3]
    assert get("/crl/none.crl")[0] == get("/ca/sub.crl")[0] == 404
    connection.close()


@pytest.mark.req("RV-07")
def test_time_stamps_over_http_and_by_the_command(
    authority: Service, net: TestNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = sm3.digest(b"x")
    kind = "application/timestamp-query"
    serials = set()
    for nonce in range(1, 4):
        status, found, body = _post(authority.url, kind, encode_query(digest, nonce=nonce))
        assert (status, found) == (200, "application/timestamp-reply")
        stamp = verify_token(parse_reply(body), digest, net.anchors(), CLOCK.now(), nonce=nonce)
        serials.add(stamp.info.serial)
    assert len(serials) == 3
    assert _post(authority.url, kind, b"hello")[0] == 200
    assert _post(authority.url, "text/plain", b"hello")[0] == 415
    file, token = tmp_path / "decision.txt", tmp_path / "decision.tst"
    file.write_text("决定书")
    trust = ["--trust", str(net.root_path), "--crl", str(net.crl_paths[1])]
    assert main(["tsa", "request", str(file), "--url", authority.url, "--out", str(token), *trust]) == 0
    assert main(["tsa", "verify", str(file), "--token", str(token), *trust]) == 0
    assert "stamped 时间戳" in capsys.readouterr().out
    file.write_text("改过的决定书")
    assert main(["tsa", "verify", str(file), "--token", str(token), *trust]) == 1
    assert capsys.readouterr().err.startswith("E_TIMESTAMP: time stamp messageImprint")
    assert main(["tsa", "request", str(file), "--url", authority.url, "--out", str(token), *trust]) == 1


@pytest.mark.req("RV-03")
def test_the_ask_command(responder: Service, net: TestNet, capsys: pytest.CaptureFixture[str]) -> None:
    issued = net.issue(Profile.SYSTEM, "asked")
    options = ["--issuer", str(net.sub_path), "--url", responder.url]
    assert main(["ocsp", "ask", str(issued.cert_path), *options]) == 0
    assert "good 有效" in capsys.readouterr().out
    assert main(["ocsp", "ask", str(issued.cert_path), "--issuer", str(net.sub_path)]) == 1
    net.revoke(issued.serial)
    assert main(["ocsp", "ask", str(issued.cert_path), *options]) == 1
    assert capsys.readouterr().err.splitlines()[-3].startswith("E_CERT_REVOKED")


@pytest.mark.req("MO-03")
def test_metrics_and_health(responder: Service, authority: Service) -> None:
    _post(responder.url, QUERY, b"hello")
    _post(authority.url, "application/timestamp-query", b"hello")
    text = responder.scrape()
    assert 'zonegate_ocsp_answers_total{result="malformed_request",signing="error"}' in text
    assert 'zonegate_certificate_not_after_timestamp_seconds{use="ocsp"}' in text
    text = authority.scrape()
    assert 'zonegate_timestamps_total{result="bad_data_format"}' in text
    assert "zonegate_clock_trusted 1.0" in text
    assert [service.scrape("/healthz") for service in (responder, authority)] == ["OK\n", "OK\n"]


def test_sigterm_ends_what_is_under_way_and_exits_0(net: TestNet) -> None:
    issued = net.issue(Profile.TSA, "tsa-2")
    config = net.path / "tsa-2.toml"
    config.write_text(
        f'net = "extra"\nlisten = "127.0.0.1:0"\ncertificate = "{issued.cert_path}"\nkey = "{issued.key_path}"\n'
        f'secret = "{issued.secret_path}"\nserials = "serials-2"\n'
    )
    with _serving("tsa", config, "") as service:
        host, port = service.address.rsplit(":", 1)
        body = encode_query(sm3.digest(b"x"))
        with socket.create_connection((host, int(port)), timeout=10) as wire:
            head = ("POST / HTTP/1.1", "Host: x", f"Content-Type: {QUERY_TYPE}", f"Content-Length: {len(body)}", "", "")
            wire.sendall("\r\n".join(head).replace("Host", "Connection: close\r\nHost").encode() + body[:10])
            # Once it is answering others, this request has been accepted as well.
            assert _post(service.url, "application/timestamp-query", body)[0] == 200
            service.process.send_signal(signal.SIGTERM)
            with pytest.raises(subprocess.TimeoutExpired):
                service.process.wait(0.3)
            wire.sendall(body[10:])
            answer = b"".join(iter(lambda: wire.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 200")
        assert service.process.wait(START_SECONDS) == 0


CONFIGS = {
    "unknown key": ('net = "extra"\nlisten = "127.0.0.1:0"\ncolour = "red"\n', "colour"),
    "another net": ('net = "mars"\nlisten = "127.0.0.1:0"\n', "net"),
    "no port": ('net = "extra"\nlisten = "127.0.0.1"\n', "listen"),
}


@pytest.mark.parametrize("command", ["ocsp", "tsa"])
@pytest.mark.parametrize(("text", "field"), CONFIGS.values(), ids=CONFIGS)
def test_configuration_is_strict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, text: str, field: str
) -> None:
    (tmp_path / "c.toml").write_text(text)
    assert main([command, "serve", "--config", str(tmp_path / "c.toml")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("E_CONFIG")
    assert field in error


@pytest.mark.req("CA-01", "CE-11")
def test_a_service_starts_with_its_own_certificate_only(
    net: TestNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = net.issue(Profile.GATEWAY, "wrong")
    rows = f'certificate = "{wrong.cert_path}"\nkey = "{wrong.key_path}"\nsecret = "{wrong.secret_path}"\n'
    start = 'net = "extra"\nlisten = "127.0.0.1:0"\n'
    more = {
        "ocsp": f'ledger = "{net.ca_path}/ledger.sqlite"\nissuer = "{net.sub_path}"\n',
        "tsa": 'serials = "s"\n',
    }
    for command, reason in (("ocsp", "E_OCSP"), ("tsa", "E_CERT_USAGE")):
        config = tmp_path / f"{command}.toml"
        config.write_text(start + rows + more[command])
        assert main([command, "serve", "--config", str(config)]) == 1
        assert capsys.readouterr().err.startswith(reason)
