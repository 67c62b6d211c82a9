"""What a process proves itself with: chain and key that belong together, or a refusal that names the part."""

from pathlib import Path

import pytest

from support import x509_builder as xb
from zonegate.errors import ZoneGateError
from zonegate.gm import keyfile, sm2
from zonegate.pki.credential import load_credential, make_credential, read_chain_file
from zonegate.reasons import Reason

ROOT = xb.self_signed()
SUB = ROOT.issue(xb.SUB_CA)
LEAF = SUB.issue(xb.LEAF)


def write_files(folder: Path, *chain: xb.Holder, key: sm2.PrivateKey = LEAF.key) -> tuple[Path, Path, Path]:
    paths = (folder / "chain.pem", folder / "key.pem", folder / "key.secret")
    paths[0].write_bytes(b"".join(holder.certificate.pem for holder in chain))
    keyfile.write_key_file(paths[1], key, keyfile.new_secret_file(paths[2]))
    return paths


def test_loaded(tmp_path: Path) -> None:
    found = load_credential(*write_files(tmp_path, LEAF, SUB))
    assert found.chain == (LEAF.certificate, SUB.certificate)
    assert found.leaf == LEAF.certificate
    assert found.identity == LEAF.certificate.identity
    assert found.chain_pem == (tmp_path / "chain.pem").read_bytes()
    found.leaf.public_key.verify(found.key.sign(b"m", signer_id=sm2.TLS_ID), b"m", signer_id=sm2.TLS_ID)


@pytest.mark.req("CR-15")
def test_a_credential_never_shows_its_key() -> None:
    found = make_credential((LEAF.certificate,), LEAF.key)
    assert LEAF.key.to_pkcs8()[36:68].hex() not in repr(found)


GOOD = {"leaf alone": (LEAF,), "leaf and sub-CA": (LEAF, SUB), "with the root": (LEAF, SUB, ROOT)}


@pytest.mark.parametrize("chain", GOOD.values(), ids=GOOD)
def test_accepted(chain: tuple[xb.Holder, ...]) -> None:
    make_credential(tuple(holder.certificate for holder in chain), LEAF.key)


TWIN = xb.self_signed().issue(xb.SUB_CA)
BAD: dict[str, tuple[tuple[xb.Holder, ...], sm2.PrivateKey, Reason, str]] = {
    "no certificate": ((), LEAF.key, Reason.E_CERT_CHAIN, "0 certificates"),
    "five certificates": ((LEAF, SUB, ROOT, ROOT, ROOT), LEAF.key, Reason.E_CERT_CHAIN, "5 certificates"),
    "key of another": ((LEAF, SUB), SUB.key, Reason.E_KEY, "not the key of CN=leaf"),
    "sub-CA first": ((SUB, LEAF), SUB.key, Reason.E_CERT_CHAIN, "CN=sub-ca,O=示例机关,C=CN is followed by CN=leaf"),
    "sub-CA missing": ((LEAF, ROOT), LEAF.key, Reason.E_CERT_CHAIN, "is followed by"),
    "another sub-CA of the same name": ((LEAF, TWIN), LEAF.key, Reason.E_CERT_CHAIN, "is followed by"),
}


@pytest.mark.parametrize(("chain", "key", "reason", "words"), BAD.values(), ids=BAD)
def test_refused(chain: tuple[xb.Holder, ...], key: sm2.PrivateKey, reason: Reason, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        make_credential(tuple(holder.certificate for holder in chain), key)
    assert caught.value.reason is reason
    assert words in caught.value.detail


def test_a_sub_ca_that_did_not_sign() -> None:
    forged = xb.certificate_der(
        xb.Template(aki=SUB.certificate.ski), LEAF.key.public_key, SUB.certificate.subject_der, LEAF.key
    )
    leaf = xb.load_certificate(forged)
    with pytest.raises(ZoneGateError, match="has not signed") as caught:
        make_credential((leaf, SUB.certificate), LEAF.key)
    assert caught.value.reason is Reason.E_CERT_CHAIN


def test_files_that_are_not_there(tmp_path: Path) -> None:
    paths = write_files(tmp_path, LEAF, SUB)
    reasons = []
    for missing in range(3):
        asked = [tmp_path / "missing" if number == missing else path for number, path in enumerate(paths)]
        with pytest.raises(ZoneGateError, match="missing: cannot be read") as caught:
            load_credential(*asked)
        reasons.append(caught.value.reason)
    assert reasons == [Reason.E_CONFIG, Reason.E_KEY_SEALED, Reason.E_KEY_SEALED]


def test_a_chain_file_of_no_use(tmp_path: Path) -> None:
    path = tmp_path / "chain.pem"
    for content in (b"", bytes(2 << 20), b"hello"):
        path.write_bytes(content)
        with pytest.raises(ZoneGateError) as caught:
            read_chain_file(path)
        assert caught.value.reason is Reason.E_DER
