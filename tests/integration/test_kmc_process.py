"""A key centre as a process: sealed start, holders one by one, dual issuance over its socket, kill -9, restart."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from support.kmc import HOLDERS
from support.pki import IssuedCredential, TestNet, make_net
from zonegate.ca.audit import first_broken
from zonegate.ca.config import load_settings
from zonegate.ca.kmc.lifecycle import KeyState
from zonegate.ca.kmc.link import open_link
from zonegate.ca.kmc.store import Store
from zonegate.ca.kmc.wire import FRAME_MAX_BYTES, LENGTH, UnixExchange
from zonegate.cli.main import root as command
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import keyfile
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki import csr_response
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import read_chain_file
from zonegate.reasons import Reason


class Site:
    """One net with a CA directory that knows its centre, and the centre's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.net: TestNet = make_net(path / "net", Net.EXTRA, SystemClock())
        self.kmc = path / "kmc"
        centre, ca = (self.net.issue(Profile.SYSTEM, name) for name in ("kmc", "ca-request"))
        arguments = ["kmc", "init", self.kmc, "--net", "extra", "--root", self.net.root_path]
        arguments += ["--chain", centre.cert_path, "--key", centre.key_path, "--secret", centre.secret_path]
        arguments += ["--ca", ca.cert_path, "--threshold", 3]
        for holder in HOLDERS:
            arguments += ["--holder", holder]
        self.founded = run(*arguments)
        self._link(centre, ca)
        self.process: subprocess.Popen[str] | None = None

    def _link(self, centre: IssuedCredential, ca: IssuedCredential) -> None:
        facts = {
            "socket": self.kmc / "kmc.sock",
            "centre": centre.cert_path,
            "chain": ca.cert_path,
            "key": ca.key_path,
            "secret": ca.secret_path,
        }
        lines = "\n".join(f"{key} = {json.dumps(str(value))}" for key, value in facts.items())
        with (self.net.ca_path / "ca.toml").open("a") as stream:
            stream.write(f"\n[kmc]\n{lines}\n")

    def start(self) -> None:
        arguments = [sys.executable, "-m", "zonegate", "kmc", "serve", str(self.kmc)]
        self.process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        assert "serving" in self.process.stderr.readline()

    def stop(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(timeout=20)
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.process = None

    def unseal(self, *places: int) -> Result:
        for place in places:
            result = run("kmc", "unseal", self.kmc, "--share", self.kmc / "shares" / f"share-{place}.txt")
        return result

    def status(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(run("kmc", "status", self.kmc, "--json").stdout)
        return found

    def dual(self, name: str) -> Result:
        key, secret, csr = (self.path / f"{name}.{suffix}" for suffix in ("key", "secret", "csr"))
        if not key.exists():
            run("key", "new", "--out", key, "--secret", secret)
            identity = str(self.net.identity(name))
            run(
                *("csr", "new", "--key", key, "--secret", secret, "--identity", identity),
                *("--organization", "测试单位", "--out", csr),
            )
        out = self.path / f"{name}.rsp"
        return run(
            *("ca", "issue", self.net.ca_path, "--profile", "system", "--csr", csr, "--out", out, "--dual", "--json")
        )


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(item) for item in arguments])


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    if made.process is not None:
        made.stop(signal.SIGKILL)
    made.net.close()


def _refused(result: Result, reason: Reason) -> str:
    assert isinstance(result.exception, ZoneGateError), result.output
    assert result.exception.reason is reason
    return result.exception.detail


@pytest.mark.req("CA-01", "CA-04", "CA-06", "CA-07", "CA-09")
def test_a_centre_from_founding_to_restart(site: Site) -> None:
    assert site.founded.exit_code == 0, site.founded.output
    assert all(holder in site.founded.output for holder in HOLDERS)
    assert {path.stat().st_mode & 0o077 for path in (site.kmc / "shares").iterdir()} == {0}

    # CA-01: no centre, then a sealed one.
    assert "does not answer" in _refused(site.dual("pop"), Reason.E_KMC)
    site.start()
    _refused(site.dual("pop"), Reason.E_KMC_SEALED)

    result = site.unseal(1, 4)
    assert "1 more of" in result.output
    assert all((holder in result.output) for holder in HOLDERS)
    _refused(site.unseal(4), Reason.E_KEY_SHARE)
    site.unseal(2)
    assert site.status()["state"] == "open"
    keys = site.status()["keys"]
    assert keys == {"standby": 100, "in-use": 0, "history": 0, "destroyed": 0}

    result = site.dual("pop")
    assert result.exit_code == 0, result.output
    signing, encryption = json.loads(result.stdout)
    assert (signing["profile"], encryption["profile"]) == ("system", "system-encryption")
    chain, sealed = site.path / "pop-enc.pem", site.path / "pop-enc.key"
    accepted = run(
        *("csr", "accept", "--response", site.path / "pop.rsp", "--key", site.path / "pop.key"),
        *("--secret", site.path / "pop.secret", "--root", site.net.root_path, "--out", site.path / "pop.pem"),
        *("--encryption-out", chain, "--encryption-key", sealed),
    )
    assert accepted.exit_code == 0, accepted.output
    leaf = read_chain_file(chain)[0]
    assert keyfile.read_key_file(sealed, site.path / "pop.secret").public_key == leaf.public_key

    envelope, opened = site.path / "pop.env", site.path / "pop-opened.key"
    envelope.write_bytes(csr_response.parse((site.path / "pop.rsp").read_bytes()).envelope or b"")
    arguments = ("key", "open-envelope", "--envelope", envelope, "--key", site.path / "pop.key")
    result = run(*arguments, "--secret", site.path / "pop.secret", "--out", opened)
    assert result.exit_code == 0, result.output
    assert keyfile.read_key_file(opened, site.path / "pop.secret").public_key == leaf.public_key
    _recover(site, signing["serial"], encryption["serial"])

    site.stop(signal.SIGKILL)
    _refused(site.dual("second"), Reason.E_KMC)
    site.start()
    assert site.status()["state"] == "sealed", "a restart needs the holders"
    site.unseal(5, 3, 1)
    assert site.dual("second").exit_code == 0

    revoked = run("ca", "revoke", site.net.ca_path, encryption["serial"], "--reason", "superseded")
    assert revoked.exit_code == 0, revoked.output
    assert site.status()["keys"] == {"standby": 98, "in-use": 1, "history": 1, "destroyed": 0}
    assert run("kmc", "seal", site.kmc).exit_code == 0
    site.stop(signal.SIGTERM)
    audit = run("kmc", "audit", site.kmc)
    assert audit.exit_code == 0, audit.output
    assert all(
        word in audit.output for word in ("key-divide", "key-compose", "key-dispense", "key-archive", "key-seal")
    )
    assert not (site.kmc / "kmc.sock").exists()


def _recover(site: Site, signing: str, encryption: str) -> None:
    """The commands up to the centre's door; behind it stands tests/unit/kmc/test_recovery.py."""
    renewed = site.net.issue(Profile.SYSTEM, "pop").cert_path
    payload, view, order = (site.path / name for name in ("payload", "view", "order"))
    files = ("--purpose", "user", "--recipient", renewed)
    written = ("--payload", payload, "--view", view)
    _refused(run("ca", "recover-order", site.net.ca_path, signing, *files, *written), Reason.E_NOT_ESCROWED)
    made = run("ca", "recover-order", site.net.ca_path, encryption, *files, *written)
    assert made.exit_code == 0, made.output
    assert renewed.exists()
    words = made.output.replace("\n", " ").split()
    applicant = str(site.net.identity("operator"))
    proposed = run(*[{"OPERATOR": applicant, "FILE": order}.get(word, word) for word in words[1:]])
    assert proposed.exit_code == 0, proposed.output
    asked = ("--order", order, "--approval", order, "--out", site.path / "recovered.env")
    detail = _refused(run("ca", "recover", site.net.ca_path, encryption, *files, *asked), Reason.E_RECOVERY)
    assert "roster" in detail
    _refused(run("ca", "recover", site.net.ca_path, signing, *files, *asked), Reason.E_NOT_ESCROWED)


@pytest.mark.req("CA-07", "CA-15")
def test_kill_9_while_keys_are_given_loses_none_and_gives_none_twice(site: Site) -> None:
    site.start()
    site.unseal(1, 2, 3)
    source = open_link(load_settings(site.net.ca_path), site.net.root, SystemClock())
    recipient = PrivateKey.generate().public_key
    given: dict[int, bytes] = {}
    enough = threading.Event()

    def ask() -> None:
        for serial in range(1, 1000):
            try:
                key = source.apply(serial, Profile.SYSTEM_ENCRYPTION, site.net.identity("pop"), recipient)
            except ZoneGateError:
                return
            given[serial] = key.public_key.point
            if serial == 25:
                enough.set()

    asking = threading.Thread(target=ask)
    asking.start()
    assert enough.wait(timeout=30)
    site.stop(signal.SIGKILL)
    asking.join(timeout=30)
    assert len(set(given.values())) == len(given) >= 25
    store = Store.open(site.kmc / "keys.sqlite", Net.EXTRA)
    stored = {row.owner.serial: row.public_key.point for row in store.rows(KeyState.IN_USE) if row.owner is not None}
    assert given.items() <= stored.items(), "what was answered had been written down"
    assert len(stored) - len(given) <= 1, "and at most the key under way besides"
    assert first_broken(store.audit_rows()) is None
    store.close()


@pytest.mark.req("CA-09")
def test_what_comes_in_over_the_sockets_and_is_no_message(site: Site) -> None:
    site.start()
    for name in ("kmc.sock", "admin.sock"):
        for sent in (b"", b"\x00", LENGTH.pack(0), LENGTH.pack(FRAME_MAX_BYTES + 1), LENGTH.pack(3) + b"abc"):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(20)
                connection.connect(str(site.kmc / name))
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(4096)
                assert answer == b"" or b"E_KMC_REQUEST" in answer
    for command_sent in ({"act": "open"}, {"act": "unseal"}, [], "unseal", {"act": "unseal", "share": 5}):
        raw = UnixExchange(site.kmc / "admin.sock")(json.dumps(command_sent).encode())
        assert json.loads(raw)["reason"] == "E_KMC_REQUEST"
    nobody = UnixExchange(site.kmc / "kmc.sock", users=(os.getuid() + 1,))
    with pytest.raises(ZoneGateError, match="belongs to user") as refused:
        nobody(b"x")
    assert refused.value.reason is Reason.E_KMC
    assert site.status()["state"] == "sealed"
    second = subprocess.run(
        [sys.executable, "-m", "zonegate", "kmc", "serve", str(site.kmc)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 1
    assert "another process serves there" in second.stderr


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"--threshold": "1"}, Reason.E_CONFIG),
        ({"--threshold": "6"}, Reason.E_CONFIG),
        ({"--net": "intra"}, Reason.E_TRUST_DOMAIN),
        ({"--key": "nothing"}, Reason.E_KEY_SEALED),
    ],
    ids=["1 of 5", "6 of 5", "the other net", "no key"],
)
def test_a_founding_that_fails_leaves_nothing(
    site: Site, tmp_path: Path, changed: dict[str, str], reason: Reason
) -> None:
    centre = site.net.issue(Profile.SYSTEM, "kmc-2")
    options = {
        "--net": "extra",
        "--root": str(site.net.root_path),
        "--chain": str(centre.cert_path),
        "--key": str(centre.key_path),
        "--secret": str(centre.secret_path),
        "--ca": str(centre.cert_path),
        "--threshold": "3",
    }
    arguments = [item for pair in {**options, **changed}.items() for item in pair]
    result = run("kmc", "init", tmp_path / "other", *arguments, *[x for name in HOLDERS for x in ("--holder", name)])
    _refused(result, reason)
    assert not list(tmp_path.glob("*other*"))
