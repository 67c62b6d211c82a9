"""`zonegate policy` as people run it: exit codes, what goes to stdout and stderr, both languages."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.pki import TestNet, make_net
from support.policy import CLUE, RELIEF, VERIFY
from zonegate.cli import main
from zonegate.clock import SystemClock
from zonegate.identity import Net
from zonegate.pki.certificate import Profile

NOW = SystemClock().now()


@pytest.fixture
def documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    folder = tmp_path / "documents"
    assert main(["policy", "init", "--net", "extra", str(folder)]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> TestNet:
    return make_net(tmp_path_factory.mktemp("net"), Net.EXTRA, FakeClock(NOW - timedelta(minutes=5)))


def test_the_whole_way(documents: Path, net: TestNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bundle"
    assert main(["policy", "check", str(documents)]) == 0
    assert "未检查签名" in capsys.readouterr().err
    assert main(["policy", "build", str(documents), str(folder), "--version", "7"]) == 0
    trust = ["policy", "check", str(folder), "--trust", str(net.root_path)]
    assert main(trust) == 1
    assert "E_BUNDLE_SIGNATURE" in capsys.readouterr().err
    for name in ("officer-zhao", "officer-qian"):
        officer = net.issue(Profile.OFFICER, name)
        arguments = ["--certificate", officer.cert_path, "--key", officer.key_path, "--secret", officer.secret_path]
        assert main(["policy", "sign", str(folder), *map(str, arguments)]) == 0
    capsys.readouterr()
    crls = [part for path in net.crl_paths for part in ("--crl", str(path))]
    assert main([*trust, *crls, "--json"]) == 0
    out = capsys.readouterr()
    shown = json.loads(out.out)
    assert (shown["net"], shown["version"], len(shown["signers"])) == ("extra", 7, 2)
    assert main(["policy", "show", str(folder), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["signature_files"], sorted(shown["files"])) == (2, ["extra.yaml", "statistics.binpb"])
    assert main(["policy", "show", str(folder)]) == 0
    assert "extra.yaml SM3 " in capsys.readouterr().out
    assert main(["policy", "show", str(folder), "--document", "extra.yaml"]) == 0
    assert capsys.readouterr().out == (documents / "extra.yaml").read_text(encoding="utf-8")
    assert main(["policy", "show", str(folder), "--document", "x"]) == 1
    assert main(["policy", "matrix", str(folder), "--json"]) == 0
    capsys.readouterr()


def test_a_gateways_certificate_does_not_sign(
    documents: Path, net: TestNet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["policy", "build", str(documents), str(tmp_path / "b"), "--version", "1"]) == 0
    gateway = net.issue(Profile.GATEWAY, "gateway")
    arguments = ["--certificate", gateway.cert_path, "--key", gateway.key_path, "--secret", gateway.secret_path]
    assert main(["policy", "sign", str(tmp_path / "b"), *map(str, arguments)]) == 1
    assert "needed is an officer's certificate" in capsys.readouterr().err
    assert not list((tmp_path / "b").glob("bundle.sig.*"))


def test_every_problem_is_printed(documents: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (documents / "more.yaml").write_text("a: 1\n---\nkind: Organ\n", encoding="utf-8")
    for command in (["check", str(documents)], ["build", str(documents), str(tmp_path / "b"), "--version", "1"]):
        assert main(["policy", *command]) == 1
        err = capsys.readouterr().err
        assert "more.yaml:1: apiVersion" in err
        assert "more.yaml:3: apiVersion" in err
        assert "策略文档有误" in err
    assert not (tmp_path / "b").exists()


def test_explain(documents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["policy", "explain", str(documents), "--caller", RELIEF]
    assert main([*call, "--path", VERIFY, "--purpose", "社会救助审核"]) == 0
    assert "= guarded 受控交换  OK" in capsys.readouterr().out
    assert main([*call, "--path", CLUE]) == 0
    refused = capsys.readouterr().out
    assert "x share 共享规则: refused 拒绝" in refused
    assert "示例条例第八条" in refused
    assert main([*call, "--path", VERIFY, "--json", "--label", "L3"]) == 0
    assert json.loads(capsys.readouterr().out)["reason"] == "E_SPILL"
    assert main([*call, "--path", VERIFY, "--label", "secret"]) == 1
    assert "E_LABEL" in capsys.readouterr().err
    assert main([*call, "--path", VERIFY, "--at", "tomorrow"]) == 2
    assert main([*call, "--path", VERIFY, "--purpose", "社会救助审核", "--at", "2019-06-01T00:00:00Z"]) == 0
    assert "begins 2019-12-31T16:00:00+00:00" in capsys.readouterr().out
    # an expectation that fails can be explained, and is refused by check
    text = (documents / "extra.yaml").read_text(encoding="utf-8")
    (documents / "extra.yaml").write_text(text.replace("notBefore: 2020-01-01", "notBefore: 2048-01-01"), "utf-8")
    assert main([*call, "--path", VERIFY, "--purpose", "社会救助审核"]) == 0
    assert "E_NEED_APPROVAL" in capsys.readouterr().out
    assert main(["policy", "check", str(documents)]) == 1
    assert "expectation relief-may-verify: expects guarded OK" in capsys.readouterr().err


def test_matrix(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "matrix", "--json"]) == 0
    cells = json.loads(capsys.readouterr().out)
    assert len(cells) == 294
    assert cells[0] == {
        "from": "internet",
        "to": "internet",
        "level": 0,
        "code": "-",
        "decision": "none",
        "reason": "E_ZONE_RULE",
    }
    assert main(["policy", "matrix", "--mlps-grade", "1"]) == 0
    assert "L5 绝密" in capsys.readouterr().out
    assert main(["policy", "matrix", "--mlps-grade", "6"]) == 2


def test_wrong_usage_and_missing_things(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["policy", "check"]) == 2
    assert main(["policy", "check", str(tmp_path / "none")]) == 1
    assert main(["policy", "show", str(tmp_path)]) == 1
    assert main(["policy", "init", "--net", "other", str(tmp_path / "x")]) == 2
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    assert main(["policy", "init", "--net", "intra", str(tmp_path / "full")]) == 1
    assert "is not empty" in capsys.readouterr().err
