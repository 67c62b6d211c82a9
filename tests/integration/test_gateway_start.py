"""What stops a start: wrong files, wrong addresses; and what check-config says about the rest."""

import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lab import Lab, free_port
from zonegate.errors import ZoneGateError
from zonegate.gateway.process import listen_socket
from zonegate.reasons import Reason
from zonegate.strictconf import Address

pytestmark = pytest.mark.xdist_group("start")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab that is configured and never started."""
    lab = Lab(tmp_path_factory.mktemp("start"))
    yield lab
    lab.net.close()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zonegate", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def changed(lab: Lab, *changes: tuple[str, str], kind: str = "gateway-a") -> Path:
    text = (lab.path / f"{kind}.toml").read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = lab.path / f"changed-{kind}.toml"
    path.write_text(text)
    return path


def test_check_config_lists_what_is_not_checked(lab: Lab) -> None:
    done = run("gateway", "check-config", "-c", str(lab.path / "gateway-a.toml"))
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()
    assert "gateway-shared guards shared" in rows[0]
    assert sum(row.startswith("met") for row in rows) >= 6
    assert any(row.startswith("not checked") and "未" in row for row in rows), "never as met"
    assert not list(lab.evidence("a").glob("*.zge")), "nothing is served, nothing is written"
    assert not (lab.path / "policy-a.state").exists(), "a check shuts out no older bundle"


def test_all_problems_of_a_file_at_once(lab: Lab) -> None:
    path = changed(
        lab,
        ('zone = "shared"', "zone = 7\nzoom = 1"),
        ("[limits]", "[limits]\nconnections = 0\nopen_calls = 'many'"),
        ("poll_seconds = 0.2", "poll_seconds = 60"),
    )
    for command in ("run", "check-config"):
        done = run("gateway", command, "-c", str(path))
        assert done.returncode == 1
        for field in (
            "gateway.zone",
            "gateway.zoom",
            "limits.connections",
            "limits.open_calls",
            "status.poll_seconds",
        ):
            assert field in done.stderr, field
        assert "Traceback" not in done.stderr


def test_a_connector_without_a_side_or_with_half_of_one(lab: Lab) -> None:
    text = (lab.path / "connector-a.toml").read_text()
    path = lab.path / "half.toml"
    for cut in ("[gateway]", "[routes.default]"):
        path.write_text(text[: text.index(cut)])
        done = run("connector", "run", "-c", str(path))
        assert (done.returncode, "E_CONFIG" in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr


def unreadable(lab: Lab) -> Path:
    secret = lab.path / "open-secret"
    secret.write_bytes(lab.credentials["gw-a"].secret_path.read_bytes())
    secret.chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    return changed(lab, (str(lab.credentials["gw-a"].secret_path), str(secret)))


STOPS = {
    "a zone of nobody": (lambda lab: changed(lab, ('zone = "shared"', 'zone = "nowhere"')), "E_CONFIG"),
    "a zone of another gateway": (lambda lab: changed(lab, ('zone = "shared"', 'zone = "police"')), "E_PEER_IDENTITY"),
    "no bundle": (lambda lab: changed(lab, (str(lab.policy), str(lab.path / "none"))), "E_BUNDLE"),
    "a secret that others can read": (unreadable, "E_KEY_SEALED"),
    "a key of another certificate": (
        lambda lab: changed(
            lab,
            (str(lab.credentials["gw-a"].key_path), str(lab.credentials["gw-b"].key_path)),
            (str(lab.credentials["gw-a"].secret_path), str(lab.credentials["gw-b"].secret_path)),
        ),
        "E_",
    ),
    "evidence of another organ": (
        lambda lab: changed(
            lab, (str(lab.credentials["ev-a"].cert_path.parent), str(lab.credentials["ev-b"].cert_path.parent))
        ),
        "E_IDENTITY",
    ),
    "a gateway's certificate for the evidence": (
        lambda lab: changed(
            lab, (str(lab.credentials["ev-a"].cert_path.parent), str(lab.credentials["gw-a"].cert_path.parent))
        ),
        "E_CERT_USAGE",
    ),
}


@pytest.mark.parametrize(("make", "reason"), STOPS.values(), ids=STOPS)
def test_stops_the_start(lab: Lab, make, reason: str) -> None:
    done = run("gateway", "run", "-c", str(make(lab)))
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("which", ["gw-a", "m-a"])
def test_a_port_that_is_in_use(lab: Lab, which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("gateway", "run", "-c", str(changed(lab, (f"127.0.0.1:{lab.ports[which]}", f"127.0.0.1:{port}"))))
    assert done.returncode == 1
    assert "E_CONFIG" in done.stderr
    assert str(port) in done.stderr
    assert "Traceback" not in done.stderr


def test_an_evidence_directory_has_one_writer(lab: Lab) -> None:
    lab.gateway_a.start()
    try:
        lab.gateway_a.ready()
        changes = [(f"127.0.0.1:{lab.ports[name]}", f"127.0.0.1:{free_port()}") for name in ("gw-a", "m-a")]
        done = run("gateway", "run", "-c", str(changed(lab, *changes)))
        assert done.returncode == 1
        assert "E_" in done.stderr
        assert "Traceback" not in done.stderr
    finally:
        lab.gateway_a.stop()


BAD_ADDRESSES = {
    "a name that is nobody's": Address("no.such.host.invalid", 1),
    "an address of another machine": Address("192.0.2.1", 1),
}


@pytest.mark.parametrize("address", BAD_ADDRESSES.values(), ids=BAD_ADDRESSES)
def test_listen_socket_says_why_not(address: Address) -> None:
    with pytest.raises(ZoneGateError) as caught:
        listen_socket(address)
    assert caught.value.reason is Reason.E_CONFIG
    assert str(address) in caught.value.detail


def test_listen_socket_on_a_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ZoneGateError):
        listen_socket(Address("", 0, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "kept"
    with pytest.raises(ZoneGateError):
        listen_socket(Address("", 0, tmp_path / "no" / "folder"))
    listen_socket(Address("", 0, tmp_path / "socket")).close()
    again = listen_socket(Address("", 0, tmp_path / "socket"))
    assert (tmp_path / "socket").is_socket()
    again.close()
