"""`zonegate roles` and `zonegate approval` by hand: found a net, change its roster, approve a release, use it up."""

import json
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from support.officers import FOUNDERS, PEOPLE, World
from support.pki import ORGAN, IssuedCredential, TestNet, make_net
from zonegate.approval.act import encode_proposal
from zonegate.cli.main import main
from zonegate.clock import SystemClock
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.roles.matrix import Act


class Office:
    """A net by the machine's own clock, since that is the CLI's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.net: TestNet = make_net(path / "net", Net.INTRA, SystemClock())
        self.people: dict[str, IssuedCredential] = {
            name: self.net.issue(Profile.OFFICER, name, organ=organ) for name, (organ, _) in PEOPLE.items()
        }
        self.until = (SystemClock().now() + timedelta(days=90)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.folder = path / "roster"
        self.folder.mkdir()
        crls = [part for crl in self.net.crl_paths for part in ("--crl", str(crl))]
        self.trust = ["--trust", str(self.net.root_path), *crls]
        self.common = ["--net", "intra", *self.trust]

    def person(self, name: str, role: str, table: str) -> str:
        issued = self.people[name]
        return (
            f'[{table}]\nidentity = "{issued.identity}"\nperson = "p-{name}"\nrole = "{role}"\n'
            f'until = "{self.until}"\ncertificate = "{issued.cert_path}"\n'
        )

    def sign(self, proposal: Path, name: str, role: str, part: str) -> str:
        issued = self.people[name]
        out = self.path / f"{proposal.stem}-{name}.json"
        arguments = ["--certificate", str(issued.cert_path), "--key", str(issued.key_path)]
        arguments += ["--secret", str(issued.secret_path), "--role", role, "--part", part, "--out", str(out), "--yes"]
        assert main(["approval", "sign", str(proposal), *arguments]) == 0
        return str(out)

    def change(self, name: str, text: str, applicant: str, signers: list[tuple[str, str, str]]) -> int:
        plan, proposal = self.path / f"{name}.toml", self.path / f"{name}.json"
        plan.write_text(text, encoding="utf-8")
        who = str(self.people[applicant].identity)
        arguments = [str(self.folder), str(plan), *self.common, "--applicant", who, "--out", str(proposal)]
        assert main(["roles", "propose", *arguments]) == 0
        signed = [self.sign(proposal, *signer) for signer in signers]
        return main(["roles", "append", str(self.folder), str(plan), str(proposal), *signed, *self.common])


@pytest.mark.req("CA-11", "RO-05")
def test_a_net_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = Office(tmp_path)
    people = "\n".join(office.person(name, role.value, "[found.people]") for name, (_, role) in PEOPLE.items())
    founding = f'[found]\nnet = "intra"\n{people}'
    founders = [(name, role.value, part.value) for name, role, part in FOUNDERS]
    assert office.change("founding", founding, "zhao", founders) == 0
    grant = office.person("zheng", "kmc-operator", "grant")
    officers = [("zhao", "security-officer", "apply"), ("qian", "security-officer", "approve")]
    assert office.change("grant-one", grant, "zhao", officers[:1]) == 1
    assert "E_APPROVAL_TOO_FEW" in capsys.readouterr().err
    assert office.change("grant", grant, "zhao", officers) == 0
    capsys.readouterr()
    assert main(["roles", "check", str(office.folder), *office.common, "--json"]) == 0
    checked = json.loads(capsys.readouterr().out)
    assert checked["holders"]["kmc-operator"] == ["p-feng", "p-zheng"]
    assert (checked["entries"], checked["missing"]) == (2, {})
    assert main(["roles", "show", str(office.folder)]) == 0
    assert "授予角色 grant a role" in capsys.readouterr().out
    _release(office, tmp_path, capsys)
    office.net.close()


def _release(office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    payload, view, proposal = tmp_path / "object", tmp_path / "view.txt", tmp_path / "release.json"
    payload.write_bytes(b"object 7")
    view.write_text("导出对象 7\nrelease object 7", encoding="utf-8")
    applicant = str(office.people["chu"].identity)
    arguments = ["--payload", str(payload), "--view", str(view), "--target", "ext.shared/object-7"]
    arguments += ["--organ", ORGAN, "--applicant", applicant, "--out", str(proposal)]
    assert main(["approval", "propose", "release", *arguments]) == 0
    signed = [
        office.sign(proposal, "chu", "handler", "apply"),
        office.sign(proposal, "chen", "classifying-officer", "approve"),
    ]
    assert "导出对象 7" in capsys.readouterr().err
    checking = ["--roster", str(office.folder), *office.trust, "--payload", str(payload)]
    assert main(["approval", "check", str(proposal), *signed, *checking]) == 1
    assert "E_APPROVAL_TOO_FEW" in capsys.readouterr().err
    signed.append(office.sign(proposal, "zhao", "security-officer", "approve"))
    capsys.readouterr()
    assert main(["approval", "check", str(proposal), *signed, *checking, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["signers"]) == 3
    spend = ["--spend", str(tmp_path / "book")]
    assert main(["approval", "check", str(proposal), *signed, *checking, *spend]) == 0
    capsys.readouterr()
    assert main(["approval", "check", str(proposal), *signed, *checking, *spend]) == 1
    assert "E_APPROVAL_REPLAY" in capsys.readouterr().err
    payload.write_bytes(b"object 8")
    assert main(["approval", "check", str(proposal), *signed, *checking]) == 1
    assert "E_APPROVAL_PAYLOAD" in capsys.readouterr().err
    for file in (proposal, Path(signed[0])):
        assert main(["approval", "show", str(file)]) == 0
        assert "审批导出 release" in capsys.readouterr().out


def test_nothing_is_signed_without_a_yes(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "act.json", tmp_path / "signed.json"
    path.write_bytes(encode_proposal(world.proposal()))
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    arguments = ["--certificate", "none", "--key", "none", "--secret", "none", "--role", "handler"]
    assert main(["approval", "sign", str(path), *arguments, "--out", str(out)]) == 1
    assert "签名? sign?" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.req("RO-02")
def test_the_matrix_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["roles", "show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert set(shown["acts"]) == set(Act)
    assert shown["acts"]["delete-audit"] == {}
    assert main(["roles", "show"]) == 0
    assert "安全保密管理员 security officer" in capsys.readouterr().out


def test_a_plan_holds_one_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tmp_path / "plan.toml"
    text = f'[organ]\norgan = "{ORGAN}"\n[revoke]\nidentity = "spiffe://intra/{ORGAN}/zhao"\n'
    plan.write_text(text + 'role = "handler"\ncause = "x"\n', encoding="utf-8")
    arguments = [str(tmp_path), str(plan), "--net", "intra", "--trust", "x", "--crl", "x"]
    applicant = ["--applicant", f"spiffe://intra/{ORGAN}/zhao"]
    assert main(["roles", "propose", *arguments, *applicant, "--out", str(tmp_path / "p")]) == 1
    assert "exactly one of the tables" in capsys.readouterr().err
