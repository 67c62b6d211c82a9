"""`zonegate ca`, `key` and `csr` as a person or a program calls them: exit codes, stdout, stderr, JSON."""

import json
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from support.pki import CA_ORGAN_NAME, ORGAN
from zonegate.cli import main
from zonegate.pki.certificate import Profile, load_certificates
from zonegate.pki.credential import load_credential
from zonegate.pki.crl import load_crl

IDENTITY = f"spiffe://extra/{ORGAN}/population"
INIT = ["--net", "extra", "--organization", CA_ORGAN_NAME, "--crl-url", "http://crl.extra.example/"]


class _AnyText:
    """Equals every text but the empty one."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(other)

    __hash__ = object.__hash__


ANY_TEXT = _AnyText()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "extra"
    assert main(["ca", "init", str(path), *INIT]) == 0
    return path


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    return _request(tmp_path, "population")


def _request(folder: Path, name: str, identity: str = IDENTITY) -> Path:
    key, secret, csr = (folder / f"{name}.{kind}" for kind in ("key", "secret", "csr"))
    assert main(["key", "new", "--out", str(key), "--secret", str(secret)]) == 0
    options = ["--key", str(key), "--secret", str(secret), "--identity", identity, "--organization", "测试单位"]
    assert main(["csr", "new", *options, "--out", str(csr)]) == 0
    return csr


def _issue(directory: Path, csr: Path, *more: str) -> tuple[int, Path]:
    out = csr.with_suffix(".pem")
    return main(
        ["ca", "issue", str(directory), "--profile", "system", "--csr", str(csr), "--out", str(out), *more]
    ), out


def _json(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


@pytest.mark.req("CA-03", "CA-05")
def test_key_csr_issue_show_list(directory: Path, request_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    code, out = _issue(directory, request_file, "--days", "30", "--json")
    assert code == 0
    facts = _json(capsys)
    assert (facts["identity"], facts["profile"]) == (IDENTITY, "system")
    leaf, sub_ca = load_certificates(out.read_bytes())
    assert (leaf.profile, sub_ca.profile) == (Profile.SYSTEM, Profile.SUB_CA)
    # 30 days from the call, not from the backdated start.
    assert (leaf.not_after - leaf.not_before).days == 30
    credential = load_credential(out, request_file.with_suffix(".key"), request_file.with_suffix(".secret"))
    assert str(credential.identity) == IDENTITY
    assert main(["ca", "show", str(directory), facts["serial"], "--json"]) == 0
    assert _json(capsys) == {
        **{name: facts[name] for name in ("serial", "profile", "identity", "not_before", "not_after")},
        "state": "issued",
        "issuer": "sub-ca",
        "subject": "C=CN, O=测试单位, CN=population",
        "reserved_at": ANY_TEXT,
        "issued_at": ANY_TEXT,
        "revoked_at": None,
        "reason": None,
        "key_sm3": ANY_TEXT,
    }
    assert main(["ca", "show", str(directory), facts["serial"].upper()]) == 0
    assert "state        issued" in capsys.readouterr().out
    assert main(["ca", "show", str(directory), facts["serial"], "--pem"]) == 0
    assert load_certificates(capsys.readouterr().out.encode()) == (leaf,)
    assert main(["ca", "list", str(directory), "--json"]) == 0
    assert facts["serial"] in [row["serial"] for row in _json(capsys)]
    assert main(["ca", "list", str(directory), "--state", "reserved"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.req("RV-01")
def test_revoke_hold_release_and_lists(directory: Path, request_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    _issue(directory, request_file, "--json")
    serial = _json(capsys)["serial"]
    number = load_crl((directory / "public/sub.crl").read_bytes()).number
    assert main(["ca", "revoke", str(directory), serial, "--reason", "certificateHold"]) == 0
    crl = load_crl((directory / "public/sub.crl").read_bytes())
    assert (crl.number, set(crl.revoked)) == (number + 1, {int(serial, 16)})
    assert main(["ca", "release", str(directory), serial]) == 0
    crl = load_crl((directory / "public/sub.crl").read_bytes())
    assert (crl.number, set(crl.revoked)) == (number + 2, set())
    assert main(["ca", "release", str(directory), serial]) == 1
    assert capsys.readouterr().err.startswith("E_PROFILE: serial")
    root_number = load_crl((directory / "public/root.crl").read_bytes()).number
    assert main(["ca", "crl", str(directory), "--root"]) == 0
    assert load_crl((directory / "public/root.crl").read_bytes()).number == root_number + 1


def test_lint_of_files(directory: Path, request_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out = _issue(directory, request_file)
    issuer = str(directory / "public/sub.crt")
    capsys.readouterr()
    leaf = out.with_name("leaf.pem")
    leaf.write_bytes(load_certificates(out.read_bytes())[0].pem)
    assert main(["ca", "lint", str(leaf), "--issuer", issuer]) == 0
    assert main(["ca", "lint", str(out), str(directory / "public/root.crt")]) == 0
    # The root under the wrong issuer, as JSON and as text.
    capsys.readouterr()
    assert main(["ca", "lint", str(directory / "public/root.crt"), "--issuer", issuer, "--json"]) == 1
    rules = [row["rule"] for row in _json(capsys)]
    assert "zg_issuer_name" in rules
    assert main(["ca", "lint", str(directory / "public/root.crt"), "--issuer", issuer]) == 1
    assert "root.crt[1] zg_issuer_name (CE-06" in capsys.readouterr().out


def test_audit_prints_and_checks_the_chain(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["ca", "audit", str(directory)]) == 0
    assert "chain holds" in capsys.readouterr().out
    assert main(["ca", "audit", str(directory), "--json"]) == 0
    rows = _json(capsys)
    assert [row["act"] for row in rows[:4]] == ["init", "init", "crl", "crl"]
    assert "uid" in rows[0]["actor"]


def test_issue_refusals_name_the_field(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    intra = _request(tmp_path, "abroad", IDENTITY.replace("extra", "intra"))
    garbage = tmp_path / "garbage.csr"
    garbage.write_bytes(b"garbage")
    good = _request(tmp_path, "good")
    taken = tmp_path / "taken.pem"
    taken.write_text("x")
    cases = [
        (intra, tmp_path / "1.pem", (), "E_PROFILE: subjectAltName"),
        (garbage, tmp_path / "2.pem", (), "E_CSR: request"),
        (tmp_path / "missing.csr", tmp_path / "3.pem", (), "E_CONFIG: missing.csr"),
        (good, taken, (), "E_CONFIG: taken.pem: exists already"),
        (good, tmp_path / "none" / "4.pem", (), "E_CONFIG: 4.pem: has no folder"),
    ]
    for csr, out, more, message in cases:
        capsys.readouterr()
        command = ["ca", "issue", str(directory), "--profile", "gateway", "--csr", str(csr), "--out", str(out), *more]
        assert main(command) == 1
        assert capsys.readouterr().err.startswith(message)
    assert taken.read_text() == "x"
    # Three years are a system's, not a gateway's.
    command = [
        "ca",
        "issue",
        str(directory),
        "--profile",
        "gateway",
        "--csr",
        str(good),
        "--out",
        str(tmp_path / "5.pem"),
    ]
    assert main([*command, "--days", "800"]) == 1
    assert capsys.readouterr().err.startswith("E_VALIDITY: notAfter")
    assert not (tmp_path / "5.pem").exists()
    # Nothing above used the key up.
    assert main(command) == 0


USAGE = {
    "unknown profile": ["ca", "issue", "d", "--profile", "root", "--csr", "a", "--out", "b"],
    "unknown reason": ["ca", "revoke", "d", "ff", "--reason", "boredom"],
    "removeFromCRL is for delta lists": ["ca", "revoke", "d", "ff", "--reason", "removeFromCRL"],
    "no reason": ["ca", "revoke", "d", "ff"],
    "serial is not hexadecimal": ["ca", "show", "d", "xyz"],
    "serial too long": ["ca", "show", "d", "f" * 41],
    "unknown net": ["ca", "init", "d", "--net", "third", "--organization", "x", "--crl-url", "http://a"],
    "too many days": ["ca", "issue", "d", "--profile", "system", "--csr", "a", "--out", "b", "--days", "1097"],
    "no file to lint": ["ca", "lint"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE)
def test_wrong_usage_is_exit_2(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert list(tmp_path.iterdir()) == []


def test_key_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, secret = tmp_path / "a.key", tmp_path / "a.secret"
    command = ["key", "new", "--out", str(key), "--secret", str(secret)]
    assert main(command) == 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in (key, secret)} == {0o600}
    assert key.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
    # The same secret may seal a second key; a key is never overwritten.
    assert main(["key", "new", "--out", str(tmp_path / "b.key"), "--secret", str(secret)]) == 0
    before = key.read_bytes()
    capsys.readouterr()
    assert main(command) == 1
    assert capsys.readouterr().err.startswith("E_CONFIG: a.key: exists already")
    assert key.read_bytes() == before


CSR_REFUSED = {
    "not a URI identity": (["--identity", "https://a/b/c"], "E_CSR: identity"),
    "check digit": (["--identity", IDENTITY.replace(ORGAN, ORGAN[:-1] + "3")], "E_CSR: identity"),
    "organ name too long": (["--organization", "名" * 65], "E_CSR: subject.O"),
    "invisible character": (["--name", "a\u200b"], "E_CSR: subject.CN"),
}


@pytest.mark.parametrize(("change", "message"), CSR_REFUSED.values(), ids=CSR_REFUSED)
def test_csr_refusals(tmp_path: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    key, secret = str(tmp_path / "k"), str(tmp_path / "s")
    assert main(["key", "new", "--out", key, "--secret", secret]) == 0
    options = ["--key", key, "--secret", secret, "--identity", IDENTITY, "--organization", "测试单位"]
    out = tmp_path / "out.csr"
    assert main(["csr", "new", *options, "--out", str(out), *change]) == 1
    assert capsys.readouterr().err.startswith(message)
    assert not out.exists()
    assert main(["csr", "new", *options, "--out", str(out)]) == 0
    assert main(["csr", "new", *options, "--out", str(out)]) == 1
    assert "out.csr: cannot be written" in capsys.readouterr().err


def test_a_directory_that_is_no_ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for verb in (["list"], ["audit"], ["crl"], ["show", "ff"]):
        assert main(["ca", verb[0], str(tmp_path), *verb[1:]]) == 1
        assert capsys.readouterr().err.startswith("E_CONFIG: ca.toml: cannot be read")


def test_a_tampered_audit_is_found(directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(directory, copy)
    connection = sqlite3.connect(copy / "ledger.sqlite")
    connection.execute("DROP TRIGGER audit_no_delete")
    connection.execute("DELETE FROM audit WHERE seq = 2")
    connection.commit()
    connection.close()
    assert main(["ca", "audit", str(copy)]) == 1
    assert capsys.readouterr().err.startswith("E_LEDGER: audit: row 2")
