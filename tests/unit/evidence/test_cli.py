"""`zonegate evidence` and `zonegate why` through `main`, on real evidence."""

import asyncio
import json
from pathlib import Path

import pytest
from msgspec import structs

from support.evidence import (
    GATEWAY,
    REFUSED,
    EvidenceNet,
    decision,
    open_log,
    outcome,
    run,
    write_chain,
    written,
)
from zonegate.cli.evidence import KINDS
from zonegate.cli.main import main
from zonegate.gateway.evidence import records
from zonegate.gateway.evidence.seal import SignedHead, encode_statement, message_of, read_head
from zonegate.gateway.evidence.segment import MAGIC
from zonegate.gm.sm2 import CERT_ID
from zonegate.pki.credential import Credential

PEER = GATEWAY.replace("gw-shared", "gw-peer")


@pytest.fixture
def directory(tmp_path: Path, evidence_net: EvidenceNet) -> Path:
    made = tmp_path / "evidence"
    write_chain(made, evidence_net.signer, [[decision("c1"), outcome("c1")], [decision("c2", REFUSED)]])
    return made


@pytest.fixture
def trust(evidence_net: EvidenceNet) -> str:
    return str(evidence_net.net.root_path)


def edit(directory: Path) -> None:
    path = directory / "segment-00000001.zge"
    path.write_bytes(path.read_bytes().replace(b"credit-front", b"credit-other", 1))


def test_verify_says_ok_in_both_languages(directory: Path, trust: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "verify", str(directory), "--trust", trust]) == 0
    out = capsys.readouterr().out
    assert "OK 校验通过" in out
    assert "later truncation not excluded" in out
    assert "不能排除其后被截断" in out


def test_verify_names_the_first_broken_record(directory: Path, trust: str, capsys: pytest.CaptureFixture[str]) -> None:
    edit(directory)
    assert main(["evidence", "verify", str(directory), "--trust", trust]) == 1
    err = capsys.readouterr().err
    assert "E_EVIDENCE_BROKEN: segment-00000001.zge, record 1, decision, crossing c1" in err
    assert "证据校验失败" in err
    assert main(["evidence", "verify", str(directory), "--trust", trust, "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    broken = said["broken"]
    assert said["ok"] is False
    assert (broken["file"], broken["index"], broken["kind"], broken["crossing"]) == (
        "segment-00000001.zge",
        1,
        "decision",
        "c1",
    )


def test_verify_json_second_opinion_crl_and_signer(
    directory: Path, trust: str, evidence_net: EvidenceNet, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--trust", trust, "--second-opinion", "--signer", str(evidence_net.signer.identity), "--json"]
    for path in evidence_net.net.crl_paths:
        options += ["--crl", str(path)]
    assert main(["evidence", "verify", str(directory), *options]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert said["gateway"] == GATEWAY
    assert said["second_opinions"] == said["batches"]
    assert said["unsealed"] == 0


def test_head_convicts_a_cut_chain(
    directory: Path, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = tmp_path / "head.json"
    assert main(["evidence", "head", str(directory), "--out", str(head)]) == 0
    assert main(["evidence", "verify", str(directory), "--trust", trust, "--head", str(head)]) == 0
    assert "a head confirms batch" in capsys.readouterr().out
    path = directory / "segment-00000001.zge"
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b'{"kind":"stop"') - 5])
    assert main(["evidence", "verify", str(directory), "--trust", trust]) == 0
    assert main(["evidence", "verify", str(directory), "--trust", trust, "--head", str(head)]) == 1
    assert "truncated" in capsys.readouterr().err


def slander(head: bytes, signer: Credential) -> bytes:
    """Return a head by `signer` that speaks of the chain of `head` as if it were longer."""
    statement = read_head(head)[1]
    lie = encode_statement(
        structs.replace(statement, gateway=PEER, batch=statement.batch + 100, signer=signer.leaf.fingerprint)
    )
    signature = signer.key.sign(message_of(lie), signer_id=CERT_ID)
    certificates = tuple(certificate.der for certificate in signer.chain)
    return SignedHead(statement=lie, signature=signature, certificates=certificates).to_bytes()


def test_peer_evidence_is_a_witness(
    directory: Path, trust: str, tmp_path: Path, evidence_net: EvidenceNet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evidence", "head", str(directory), "--out", str(tmp_path / "own")]) == 0
    peer = tmp_path / "peer"

    async def keep(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(peer, evidence_net.other, loop, gateway=PEER)
        log.keep_peer_head((tmp_path / "own").read_bytes())
        log.keep_peer_head(slander((tmp_path / "own").read_bytes(), evidence_net.other))
        assert await written(log, decision("p")) == [None]
        log.close()

    run(keep)
    assert main(["evidence", "verify", str(directory), "--trust", trust, "--witness", str(peer), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["heads"] == 1
    assert main(["evidence", "head", str(peer), "--peer", GATEWAY, "--out", str(tmp_path / "kept")]) == 0
    assert (tmp_path / "kept").read_bytes() == (tmp_path / "own").read_bytes()
    assert main(["evidence", "head", str(peer), "--peer", "spiffe://nobody"]) == 1
    assert "E_NO_RECORD" in capsys.readouterr().err


def test_show(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "show", str(directory), "c1"]) == 0
    out = capsys.readouterr().out
    assert "decision 判定" in out
    assert "outcome 结果" in out
    assert "c2" not in out
    assert main(["evidence", "show", str(directory), "--json", "--kind", "decision"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["crossing"] for line in lines] == ["c1", "c2"]
    assert main(["evidence", "show", str(directory), "--last", "1"]) == 0
    assert "stop 停止" in capsys.readouterr().out
    assert main(["evidence", "show", str(directory), "c9"]) == 1
    assert "E_NO_RECORD" in capsys.readouterr().err


def test_show_stops_at_damage(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(directory)
    assert main(["evidence", "show", str(directory)]) == 1
    captured = capsys.readouterr()
    assert "start 启动" in captured.out
    assert "E_EVIDENCE_BROKEN" in captured.err


def test_counts(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", "counts", str(directory), "--json"]) == 0
    [life] = json.loads(capsys.readouterr().out)
    assert {(row["decision"], row["reason"], row["count"]) for row in life["decisions"]} == {
        ("guarded", "OK", 1),
        ("deny", "E_NEED_APPROVAL", 1),
    }
    assert main(["evidence", "counts", str(directory)]) == 0
    assert "shared → population OK" in capsys.readouterr().out


def test_prove_and_check(directory: Path, trust: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = tmp_path / "proof"
    assert main(["evidence", "prove", str(directory), "c1", "--out", str(proof)]) == 0
    assert main(["evidence", "check-proof", str(proof), "--trust", trust]) == 0
    assert capsys.readouterr().out.count("OK 有效") == 2
    proof.write_bytes(proof.read_bytes().replace(b"credit-front", b"credit-other"))
    assert main(["evidence", "check-proof", str(proof), "--trust", trust]) == 1
    assert main(["evidence", "prove", str(directory), "c9"]) == 1


def test_why(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["why", "c2", "--evidence", str(directory)]) == 0
    out = capsys.readouterr().out
    for part in ("E_NEED_APPROVAL", "share", GATEWAY, "whom to call: the caller", "联系：调用方", "步骤 共享规则"):
        assert part in out
    assert main(["why", "c2", "--evidence", str(directory), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["reason"], said["step"], said["component"]) == ("E_NEED_APPROVAL", "share", GATEWAY)
    assert main(["why", "c9", "--evidence", str(directory)]) == 1
    assert "E_NO_RECORD" in capsys.readouterr().err
    assert main(["why", "\x1b[2J", "--evidence", str(directory)]) == 1


WRONG = {
    "no directory": (["verify", "{tmp}/none", "--trust", "{trust}"], "E_CONFIG"),
    "empty directory": (["verify", "{tmp}", "--trust", "{trust}"], "E_EVIDENCE_BROKEN"),
    "no root": (["verify", "{dir}", "--trust", "{tmp}/none"], "E_CONFIG"),
    "root is no certificate": (["verify", "{dir}", "--trust", "{tmp}/text"], "E_DER"),
    "head is no head": (["verify", "{dir}", "--trust", "{trust}", "--head", "{tmp}/text"], "E_EVIDENCE_BROKEN"),
    "witness is no evidence": (["verify", "{dir}", "--trust", "{trust}", "--witness", "{tmp}"], "E_EVIDENCE_BROKEN"),
    "out cannot be written": (["head", "{dir}", "--out", "{tmp}/none/head"], "E_CONFIG"),
    "another signer": (["verify", "{dir}", "--trust", "{trust}", "--signer", "spiffe://x"], "E_EVIDENCE_BROKEN"),
}


@pytest.mark.parametrize(("arguments", "code"), WRONG.values(), ids=WRONG)
def test_bad_input_is_one_clear_error(
    directory: Path, trust: str, tmp_path: Path, arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("text")
    filled = [part.format(tmp=tmp_path, dir=directory, trust=trust) for part in arguments]
    assert main(["evidence", *filled]) == 1
    err = capsys.readouterr().err
    assert err.startswith(code)
    assert "Traceback" not in err


def test_garbage_segment_is_named(tmp_path: Path, trust: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "segment-00000001.zge").write_bytes(MAGIC + b"\x00" * 100)
    assert main(["evidence", "verify", str(tmp_path), "--trust", trust]) == 1
    assert "segment-00000001.zge" in capsys.readouterr().err


def test_every_kind_has_a_chinese_title() -> None:
    kinds = {kind.__struct_config__.tag for kind in records.AnyRecord.__args__}
    assert set(KINDS) == kinds
