"""`zonegate import`: configurations are strict, each refusal names its field, receipts and keys are shown."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.boundary import GATEWAY
from support.importlab import ImportLab, key_pair, text
from support.pki import IssuedCredential
from zonegate.cli import main
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.convert import receipt_to_bytes
from zonegate.gateway.boundary.receipt import Accepted, sign_receipt
from zonegate.gateway.boundary.verifier_process import ForeignLists, foreign_anchors
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

pytestmark = pytest.mark.xdist_group("import-lab")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImportLab]:
    """The files of a set-up that is not started."""
    made = ImportLab(tmp_path_factory.mktemp("import-config"))
    yield made
    made.extra.close()
    made.intra.close()


def check(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    code = main(["import", "check-config", "--config", str(path)])
    said = capsys.readouterr()
    return code, said.out + said.err


def changed(lab: ImportLab, config: Path, old: str, new: str) -> Path:
    content = config.read_text()
    assert content.count(old) == 1, content
    path = lab.path / "changed.toml"
    path.write_text(content.replace(old, new))
    return path


def test_both_configurations_are_checked_without_running(lab: ImportLab, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = check(lab.verifier.config, capsys)
    assert (code, said) == (0, "verifier of objects of the extra net; revocation is judged by its lists\n")
    code, said = check(lab.importer.config, capsys)
    assert code == 0
    assert "importer imports into inner (int.l4)" in said
    assert "met" in said
    assert "not checked" in said


def test_a_verifier_without_lists_says_that_status_is_not_judged(
    lab: ImportLab, capsys: pytest.CaptureFixture[str]
) -> None:
    line = next(line for line in lab.verifier.config.read_text().splitlines() if line.startswith("crls"))
    code, said = check(changed(lab, lab.verifier.config, line, ""), capsys)
    assert code == 0
    assert "not judged" in said


def wrong(lab: ImportLab) -> dict[str, tuple[Path, str, str]]:
    """Configurations wrong in one place, with the reason and the field that must be named."""
    verifier, importer = lab.verifier.config, lab.importer.config
    both = lab.path / "both.pem"
    both.write_bytes(lab.extra.root_path.read_bytes() + lab.intra.root_path.read_bytes())
    handover = f"unix:{lab.path / 'handover'}"
    key = next(line for line in importer.read_text().split("[tls]")[1].splitlines() if line.startswith("certificate"))
    system = lab.intra.issue(Profile.SYSTEM, "posing")
    return {
        "verifier: anchors of both nets": (
            changed_to(lab, verifier, text(lab.extra.root_path), text(both), "v1"),
            "E_CONFIG",
            "CA-14",
        ),
        "verifier: a TCP importer": (
            changed_to(lab, verifier, text(handover), '"127.0.0.1:4000"', "v2"),
            "E_CONFIG",
            "verifier.importer",
        ),
        "verifier: unknown key": (
            changed_to(lab, verifier, "poll_seconds = 0.1", "poll_seconds = 0.1\nwrite_back = true", "v3"),
            "E_CONFIG",
            "verifier.write_back: is not a known key",
        ),
        "verifier: looks too seldom": (
            changed_to(lab, verifier, "poll_seconds = 0.1", "poll_seconds = 5.0", "v4"),
            "E_CONFIG",
            "verifier.poll_seconds",
        ),
        "verifier: no carrier": (
            changed_to(lab, verifier, text(lab.carrier), text(lab.path / "none"), "v5"),
            "E_IMPORT_SPACE",
            "carrier",
        ),
        "verifier: another secret": (
            changed_to(lab, verifier, text(lab.secret_path), text(system.secret_path), "v6"),
            "E_KEY_SEALED",
            "secret",
        ),
        "verifier: a list that is none": (
            changed_to(lab, verifier, text(lab.extra.crl_paths[0]), text(lab.extra.root_path), "v7"),
            "E_CRL",
            "CRL",
        ),
        "importer: a TCP listener": (
            changed_to(lab, importer, text(handover), '"127.0.0.1:4000"', "i1"),
            "E_CONFIG",
            "importer.listen",
        ),
        "importer: a zone of the policy that it does not serve": (
            changed_to(lab, importer, 'zone = "inner"', 'zone = "archive"', "i2"),
            "E_PEER_IDENTITY",
            "archive",
        ),
        "importer: a zone of the other net": (
            changed_to(lab, importer, 'zone = "inner"', 'zone = "shared"', "i3"),
            "E_CONFIG",
            "importer.zone",
        ),
        "importer: the other net's root": (
            changed_to(
                lab, importer, f"root = {text(lab.intra.root_path)}", f"root = {text(lab.extra.root_path)}", "i4"
            ),
            "E_TRUST_DOMAIN",
            "certificate",
        ),
        "importer: a system's certificate": (
            with_credential(lab, importer, key, system, "i5"),
            "E_CERT_USAGE",
            "tls.certificate",
        ),
        "importer: nobody may speak": (
            changed_to(lab, importer, f"verifier_uids = [{os.getuid()}]", "verifier_uids = []", "i6"),
            "E_CONFIG",
            "importer.verifier_uids",
        ),
        "neither": (changed_to(lab, verifier, "[verifier]", "[something]", "n1"), "E_CONFIG", "something"),
    }


def changed_to(lab: ImportLab, config: Path, old: str, new: str, name: str) -> Path:
    return changed(lab, config, old, new).rename(lab.path / f"{name}.toml")


def with_credential(lab: ImportLab, config: Path, line: str, issued: IssuedCredential, name: str) -> Path:
    """Put another key pair in the three lines that begin with `line`."""
    lines = config.read_text().splitlines()
    at = lines.index(line)
    lines[at : at + 3] = key_pair(issued).splitlines()
    path = lab.path / f"{name}.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.req("CA-14")
def test_what_is_wrong_is_refused_by_field(lab: ImportLab, capsys: pytest.CaptureFixture[str]) -> None:
    for name, (path, reason, detail) in wrong(lab).items():
        code, said = check(path, capsys)
        assert code == 1, name
        assert said.startswith(f"{reason}: "), (name, said)
        assert detail in said, (name, said)


def test_the_public_key_is_shown_as_a_policy_pins_it(lab: ImportLab, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--key", str(lab.key_path), "--secret", str(lab.secret_path)]
    assert main(["import", "public-key", *arguments]) == 0
    said = capsys.readouterr().out
    pinned = (lab.path / "policy-extra" / "bundle.zgp").read_bytes()
    assert said.split("encryptionKey: ")[1].split("\n")[0].encode() in pinned


def test_a_receipt_is_verified_and_shown(lab: ImportLab, capsys: pytest.CaptureFixture[str]) -> None:
    signer = lab.gateway_credential.load()
    caller = str(lab.caller.identity)
    accepted = Accepted("01" * 16, "ab" * 14, "cd" * 32, 1, 9, lab.clock.now(), caller, "statistics", "/a.B/C", GATEWAY)
    receipt = sign_receipt(accepted, signer.key, [certificate.der for certificate in signer.chain])
    path = lab.path / "receipt.bin"
    path.write_bytes(receipt_to_bytes(receipt))
    assert main(["import", "receipt", str(path), "--trust", str(lab.extra.root_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith(accepted.text.decode())
    assert f"verified: signed by {GATEWAY}" in said
    assert main(["import", "receipt", str(path), "--trust", str(lab.intra.root_path)]) == 1
    assert capsys.readouterr().err.startswith("E_TRUST_DOMAIN")


def test_foreign_lists_are_read_again_and_never_replaced_by_an_older_one(lab: ImportLab, tmp_path: Path) -> None:
    paths = [tmp_path / path.name for path in lab.extra.crl_paths]
    for source, path in zip(lab.extra.crl_paths, paths, strict=True):
        path.write_bytes(source.read_bytes())
    lists = ForeignLists(paths)
    first = lists.current()
    old = paths[1].read_bytes()
    lab.extra.write_crl()
    paths[1].write_bytes(lab.extra.crl_paths[1].read_bytes())
    second = lists.current()
    assert second[1].number == first[1].number + 1
    paths[1].write_bytes(old)
    assert lists.current() == second
    paths[1].write_bytes(b"garbage")
    assert lists.current() == second
    paths[1].unlink()
    assert lists.current() == second
    with pytest.raises(ZoneGateError) as caught:
        ForeignLists([tmp_path / "none"])
    assert caught.value.reason is Reason.E_CRL


@pytest.mark.req("CA-14")
def test_anchors_are_of_one_net(lab: ImportLab) -> None:
    assert foreign_anchors(lab.extra.root_path).net is Net.EXTRA
