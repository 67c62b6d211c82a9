"""`zonegate status`: what a person and a machine read, from processes that run, are ill, or are not there."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from zonegate.cli import main
from zonegate.monitoring import names
from zonegate.monitoring.health import Health, serve_metrics
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.monitoring.overview import overview
from zonegate.monitoring.scrape import Scrape, scrape
from zonegate.reasons import Reason

NOW = datetime(2030, 1, 1, tzinfo=UTC)
DAY = 86400.0
# The CLI reads the machine's clock: far enough for every run of this test.
FAR = 32503680000.0


def gateway(**watched: float) -> GatewayMetrics:
    metrics = GatewayMetrics(["ext.shared", "ext.dedicated"], role="gateway", zone="ext.shared")
    metrics.decision("guarded", "ext.shared", "ext.dedicated", Reason.OK, 7)
    metrics.decision("deny", "ext.shared", "ext.dedicated", Reason.E_NOT_SHARED, 2)
    metrics.decision("deny", "ext.dedicated", "ext.shared", Reason.E_RATE, 5)
    metrics.handshake_refused(Reason.E_TLS_SUITE, 3)
    metrics.watch(names.CROSSINGS_OPEN, lambda: 2)
    metrics.watch(names.POLICY_VERSION, lambda: 4)
    metrics.watch(names.POLICY_NOT_AFTER, lambda: watched.get("policy", FAR))
    metrics.watch(names.EVIDENCE_DISK_USED_RATIO, lambda: watched.get("disk", 0.4))
    metrics.watch(names.EVIDENCE_REFUSING, lambda: watched.get("refusing", 0.0))
    metrics.watch_each(names.UPSTREAM_UP, lambda: {"hop [b]": watched.get("upstream", 1.0)})
    metrics.watch_each(names.CERTIFICATE_NOT_AFTER, lambda: {"tls": watched.get("certificate", FAR)})
    metrics.watch_each(names.CRL_NEXT_UPDATE, lambda: {"sub-ca": watched.get("crl", FAR)})
    return metrics


def answer(metrics: GatewayMetrics, health: str = "OK\n") -> Scrape:
    return Scrape("gw:1", generate_latest(metrics.registry()).decode(), health)


def test_overview_of_a_gateway_that_is_well() -> None:
    ends = NOW.timestamp() + 10 * DAY
    row = overview(answer(gateway(policy=ends, certificate=ends, crl=NOW.timestamp() + 3600)), now=NOW)
    assert (row.role, row.zone, row.policy_version, row.crossings_open) == ("gateway", "ext.shared", 4, 2)
    assert (row.decided, row.allowed) == (14, 7)
    assert list(row.refusals.items()) == [("E_RATE", 5), ("E_TLS_SUITE", 3), ("E_NOT_SHARED", 2)]
    assert [expiry.text for expiry in row.expiries] == ["certificate tls 10 d", "crl sub-ca 1.0 h", "policy 10 d"]
    assert row.well


ILL = {
    "evidence refuses": ({"refusing": 1.0}, "OK"),
    "health is not OK": ({}, "E_EVIDENCE disk full"),
    "an upstream is away": ({"upstream": 0.0}, "OK"),
    "a certificate expires this instant": ({"certificate": NOW.timestamp()}, "OK"),
    "a list is stale": ({"crl": NOW.timestamp() - 1}, "OK"),
    "the policy has expired": ({"policy": NOW.timestamp() - 1}, "OK"),
    "the disk is at 85 %": ({"disk": 0.85}, "OK"),
}


@pytest.mark.parametrize(("change", "health"), ILL.values(), ids=ILL)
def test_what_needs_an_operator(change: dict[str, float], health: str) -> None:
    assert not overview(answer(gateway(**change), health), now=NOW).well


WELL = {
    "the disk just below 85 %": {"disk": 0.8499},
    "a certificate with one second": {"certificate": NOW.timestamp() + 1},
}


@pytest.mark.parametrize("change", WELL.values(), ids=WELL)
def test_the_nearest_that_needs_none(change: dict[str, float]) -> None:
    assert overview(answer(gateway(**change)), now=NOW).well


@given(st.text(max_size=300) | st.sampled_from(["# TYPE x counter\nx{a=", 'x{a="b} 1', "x 1 2 3 4", "\x00", "x{} nan"]))
@settings(max_examples=200)
def test_any_text_is_an_overview_or_a_problem(text: str) -> None:
    assert overview(Scrape("a:1", text, text), now=NOW).problem


def test_an_address_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        assert scrape(address, timeout_seconds=2).problem == "no answer (ConnectionRefusedError)"


def _same(health: Health) -> Health:
    return health


@pytest.fixture
def running() -> Iterator[dict[str, str]]:
    """Addresses of a process that is well and of one that is ill."""
    with ExitStack() as stack:
        found = {}
        for name, health in (("well", Health(Reason.OK)), ("ill", Health(Reason.E_STATUS_STALE, "sub-ca"))):
            server = serve_metrics("127.0.0.1:0", gateway().registry(), partial(_same, health))
            stack.callback(server.close)
            found[name] = "{}:{}".format(*server.address)
        yield found


def test_table_for_a_person(running: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", running["well"]]) == 0
    text = capsys.readouterr().out
    for word in ("gateway", "ext.shared", "40%", "hop [b]", "E_RATE", "策略 v4", "允许 7"):
        assert word in text


def test_json_for_a_machine(running: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--json", running["well"], running["ill"], running["well"]]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["address"], row["well"], row["health"]) for row in rows] == [
        (running["well"], True, "OK"),
        (running["ill"], False, "E_STATUS_STALE sub-ca"),
    ]


def test_targets_from_a_folder_of_configurations(
    running: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, address in running.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "gateway.toml").write_text(f'[management]\nlisten = "{address}"\n')
    (tmp_path / "broken.toml").write_text("[management\n")
    (tmp_path / "other.toml").write_text("management = 3\n")
    assert main(["status", "--json", str(tmp_path)]) == 1
    assert {row["address"] for row in json.loads(capsys.readouterr().out)} == set(running.values())
    assert main(["status", "--json", str(tmp_path / "well" / "gateway.toml")]) == 0


@pytest.mark.parametrize("target", ["nowhere", "http://host:1/metrics", ":9464"])
def test_targets_refused(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", target]) == 1
    assert "E_CONFIG: TARGET" in capsys.readouterr().err


def test_a_folder_without_configurations(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path)]) == 1
    assert "no *.toml with [management] listen" in capsys.readouterr().err
