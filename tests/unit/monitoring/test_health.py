"""The management address: two paths, bounded, and whoever reaches it cannot hold the process."""

import contextlib
import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from zonegate.errors import ZoneGateError
from zonegate.monitoring import health
from zonegate.monitoring.health import Health, MetricsServer, serve_metrics
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.reasons import Reason


@dataclass
class Process:
    metrics: GatewayMetrics
    state: Health
    server: MetricsServer

    def get(self, path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection(*self.server.address, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()


@pytest.fixture
def process() -> Iterator[Process]:
    metrics = GatewayMetrics(["z"])
    running = Process(metrics, Health(Reason.OK), None)  # type: ignore[arg-type]
    running.server = serve_metrics("127.0.0.1:0", metrics.registry(), lambda: running.state)
    yield running
    running.server.close()


@pytest.mark.req("MO-01")
def test_metrics_are_served(process: Process) -> None:
    process.metrics.handshake_refused(Reason.E_TLS_SUITE)
    status, text = process.get("/metrics")
    assert status == 200
    assert 'zonegate_handshake_refusals_total{reason="E_TLS_SUITE"} 1.0' in text
    assert "process_cpu_seconds_total" in text


def test_health_says_ok_or_the_reason(process: Process) -> None:
    assert process.get("/healthz") == (200, "OK\n")
    process.state = Health(Reason.E_EVIDENCE, "disk full")
    assert process.get("/healthz") == (503, "E_EVIDENCE disk full\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/metrics?name[]=x", 404), ("GET", "/../etc/passwd", 404), ("POST", "/metrics", 501)],
)
def test_nothing_else_is_there(process: Process, method: str, path: str, status: int) -> None:
    assert process.get(path, method)[0] == status


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\x00\x01", b"GET\r\n\r\n", b"\xff" * 70_000, b"GET /metrics HTTP/9.9\r\n\r\n", b""],
    ids=["a ClientHello", "no path", "a long line", "a strange version", "nothing"],
)
def test_garbage_gets_no_metrics_and_the_next_request_is_served(process: Process, garbage: bytes) -> None:
    with socket.create_connection(process.server.address, timeout=10) as stranger:
        stranger.sendall(garbage)
        stranger.shutdown(socket.SHUT_WR)
        assert b"zonegate_" not in stranger.recv(65536)
    assert process.get("/healthz")[0] == 200


def test_slow_clients_are_ended_and_make_room(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "REQUEST_SECONDS", 0.2)
    slow = [socket.create_connection(process.server.address, timeout=10) for _ in range(health.REQUESTS_AT_ONCE)]
    try:
        for client in slow:
            client.sendall(b"GET /met")
        # The server ends each of them: the peer sees the end of the stream, not a time-out.
        assert [client.recv(1) for client in slow] == [b""] * len(slow)
        assert process.get("/healthz")[0] == 200
    finally:
        for client in slow:
            client.close()


def test_close_ends_requests_under_way_and_may_be_called_twice() -> None:
    server = serve_metrics("127.0.0.1:0", GatewayMetrics([]).registry(), lambda: Health(Reason.OK))
    with socket.create_connection(server.address, timeout=10) as half:
        half.sendall(b"GET /metrics HTTP/1.1\r\n")
        server.close()
        server.close()
        # A connection that was still in the listener's queue is reset instead.
        with contextlib.suppress(ConnectionResetError):
            assert half.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(server.address, timeout=10)


ADDRESSES = {
    "no port": "127.0.0.1",
    "no host": ":9464",
    "port too large": "127.0.0.1:65536",
    "port not decimal": "127.0.0.1:９０",
    "not a local address": "192.0.2.1:0",
}


@pytest.mark.parametrize("address", ADDRESSES.values(), ids=ADDRESSES)
def test_addresses_refused(address: str) -> None:
    with pytest.raises(ZoneGateError, match="E_CONFIG: metrics address"):
        serve_metrics(address, GatewayMetrics([]).registry(), lambda: Health(Reason.OK))


def test_an_address_in_use_is_refused(process: Process) -> None:
    host, port = process.server.address
    with pytest.raises(ZoneGateError, match="cannot be listened on"):
        serve_metrics(f"{host}:{port}", GatewayMetrics([]).registry(), lambda: Health(Reason.OK))
