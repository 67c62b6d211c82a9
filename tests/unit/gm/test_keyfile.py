"""Sealed key files (CR-15): opened by their secret only, and only from files that are what they should be."""

import os
import stat
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.contract import value_or_refusal
from zonegate.errors import ZoneGateError
from zonegate.gm import der, keyfile, pem, sm2, sm3, sm4
from zonegate.reasons import Reason

SECRET = b"correct horse battery staple"
KEY = sm2.PrivateKey.generate()
SEALED = keyfile.seal_key(KEY, SECRET)

SALT, NONCE = bytes(range(16)), bytes(range(12))
PRF = der.sequence(der.oid(keyfile.OID_HMAC_SM3), der.NULL_TLV)
COUNT = 1_000


def sealed(
    *,
    scheme: str = keyfile.OID_PBES2,
    kdf: str = keyfile.OID_PBKDF2,
    salt: bytes = SALT,
    count: int = COUNT,
    length: bytes = der.integer(16),
    prf: bytes = PRF,
    cipher: str = keyfile.OID_SM4_GCM,
    nonce: bytes = NONCE,
    tag: bytes = der.integer(16),
    content: bytes | None = None,
    after: bytes = b"",
) -> bytes:
    """Return a sealed key, right or wrong in one field."""
    wrapping = sm3.pbkdf2(SECRET, salt, max(min(count, COUNT), 1), 16)
    body = content if content is not None else KEY.to_pkcs8()
    text = sm4.gcm_seal(wrapping, nonce, body, b"") if len(nonce) == 12 else bytes(100)
    derivation = der.sequence(der.oid(kdf), der.sequence(der.octet_string(salt), der.integer(count), length, prf))
    encryption = der.sequence(der.oid(cipher), der.sequence(der.octet_string(nonce), tag))
    algorithm = der.sequence(der.oid(scheme), der.sequence(derivation, encryption))
    return pem.encode(keyfile.LABEL, der.sequence(algorithm, der.octet_string(text)) + after)


@pytest.mark.req("CR-15")
def test_round_trip() -> None:
    assert keyfile.open_key(SEALED, SECRET).to_pkcs8() == KEY.to_pkcs8()
    assert SEALED.startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    assert keyfile.seal_key(KEY, SECRET) != SEALED


@pytest.mark.req("CR-15")
def test_the_scalar_is_not_in_the_sealed_key() -> None:
    inside = pem.decode(keyfile.LABEL, SEALED)[0]
    plain = KEY.to_pkcs8()
    assert plain[36:68] not in inside


GOOD = {
    "as written": sealed(),
    "without keyLength": sealed(length=b""),
    "prf without parameters": sealed(prf=der.sequence(der.oid(keyfile.OID_HMAC_SM3))),
    "the other HMAC-SM3 identifier": sealed(prf=der.sequence(der.oid(keyfile.OID_HMAC_SM3_OTHER), der.NULL_TLV)),
    "text around the block": b"made by another tool\n" + sealed() + b"\n",
    "CRLF": sealed().replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("source", GOOD.values(), ids=GOOD)
def test_opened(source: bytes) -> None:
    assert keyfile.open_key(source, SECRET).public_key == KEY.public_key


BAD: dict[str, tuple[bytes, Reason, str]] = {
    "empty": (b"", Reason.E_DER, "0 bytes"),
    "huge": (bytes(keyfile.KEY_FILE_LIMIT_BYTES + 1), Reason.E_DER, "16385 bytes"),
    "no block": (b"hello", Reason.E_DER, "0 blocks"),
    "two blocks": (sealed() * 2, Reason.E_DER, "2 blocks"),
    "another label": (pem.encode("PRIVATE KEY", KEY.to_pkcs8()), Reason.E_DER, "0 blocks"),
    "not base64": (sealed().replace(b"\nMI", b"\nM="), Reason.E_DER, "not base64"),
    "block without end": (sealed()[:-30], Reason.E_DER, "no proper body or end"),
    "trailing bytes": (sealed(after=b"\x00"), Reason.E_DER, "left over"),
    "PBES1": (sealed(scheme="1.2.840.113549.1.5.3"), Reason.E_DER, "encryptionAlgorithm"),
    "scrypt": (sealed(kdf="1.3.6.1.4.1.11591.4.11"), Reason.E_DER, "keyDerivationFunc"),
    "HMAC-SHA256": (sealed(prf=der.sequence(der.oid("1.2.840.113549.2.9"), der.NULL_TLV)), Reason.E_DER, "prf"),
    "HMAC-SHA1 by default": (sealed(prf=b""), Reason.E_DER, "prf: is missing"),
    "prf with parameters": (
        sealed(prf=der.sequence(der.oid(keyfile.OID_HMAC_SM3), der.integer(1))),
        Reason.E_DER,
        "absent or NULL",
    ),
    "AES-256-GCM": (sealed(cipher="2.16.840.1.101.3.4.1.46"), Reason.E_DER, "encryptionScheme"),
    "SM4-CBC": (sealed(cipher="1.2.156.10197.1.104.2"), Reason.E_DER, "encryptionScheme"),
    "999 iterations": (sealed(count=999), Reason.E_DER, "iterationCount"),
    "a million and one iterations": (sealed(count=1_000_001), Reason.E_DER, "iterationCount"),
    "2^200 iterations": (sealed(count=1 << 200), Reason.E_DER, "iterationCount"),
    "salt of 7": (sealed(salt=bytes(7)), Reason.E_DER, "salt"),
    "keyLength 32": (sealed(length=der.integer(32)), Reason.E_DER, "keyLength"),
    "nonce of 16": (sealed(nonce=bytes(16)), Reason.E_DER, "nonce"),
    "tag of 12": (sealed(tag=der.integer(12)), Reason.E_DER, "icvlen"),
    "tag length by default": (sealed(tag=b""), Reason.E_DER, "icvlen"),
    "altered text": (sealed().replace(b"A", b"B", 1), Reason.E_DER, ""),
    "not a key inside": (sealed(content=b"hello"), Reason.E_DER, "private key"),
}


@pytest.mark.req("CR-15")
@pytest.mark.parametrize(("source", "reason", "words"), BAD.values(), ids=BAD)
def test_refused(source: bytes, reason: Reason, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        keyfile.open_key(source, SECRET)
    assert caught.value.reason is reason or (words == "" and caught.value.reason is Reason.E_KEY_SEALED)
    assert words in caught.value.detail


@pytest.mark.req("CR-15")
def test_the_wrong_secret() -> None:
    with pytest.raises(ZoneGateError) as caught:
        keyfile.open_key(SEALED, SECRET + b"r")
    assert caught.value.reason is Reason.E_KEY_SEALED
    assert SECRET.decode() not in caught.value.detail


@pytest.mark.parametrize("secret", [b"", b"x" * 11, b"x" * 4097], ids=["empty", "11", "4097"])
def test_secret_size(secret: bytes) -> None:
    for attempt in (lambda: keyfile.seal_key(KEY, secret), lambda: keyfile.open_key(SEALED, secret)):
        with pytest.raises(ZoneGateError) as caught:
            attempt()
        assert caught.value.reason is Reason.E_KEY_SEALED


@given(st.binary(max_size=400))
@settings(max_examples=150, deadline=None)
def test_any_block_is_a_key_or_refused(content: bytes) -> None:
    for source in (content, pem.encode(keyfile.LABEL, content)):
        value_or_refusal(
            lambda octets: keyfile.open_key(octets, SECRET), source, Reason.E_DER, Reason.E_KEY_SEALED, Reason.E_KEY
        )


@given(at=st.integers(0, len(pem.decode(keyfile.LABEL, sealed())[0]) - 1), octet=st.integers(0, 255))
@settings(max_examples=150, deadline=None)
def test_one_changed_byte_is_refused(at: int, octet: int) -> None:
    inside = bytearray(pem.decode(keyfile.LABEL, sealed())[0])
    unchanged = inside[at] == octet
    inside[at] = octet
    found = value_or_refusal(
        lambda octets: keyfile.open_key(octets, SECRET),
        pem.encode(keyfile.LABEL, bytes(inside)),
        Reason.E_DER,
        Reason.E_KEY_SEALED,
    )
    # The two HMAC-SM3 identifiers differ in length, so no single byte turns one into the other.
    assert (found is not None) is unchanged


def test_opening_is_quick_enough_for_an_unattended_restart() -> None:
    start = time.perf_counter()
    keyfile.open_key(SEALED, SECRET)
    # Measured 35 ms; the bound is wide because test machines are shared.
    assert time.perf_counter() - start < 1.0


# --- files


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.req("CR-15")
def test_files(tmp_path: Path) -> None:
    old_umask = os.umask(0)
    try:
        secret = keyfile.new_secret_file(tmp_path / "secret")
        keyfile.write_key_file(tmp_path / "key", KEY, secret)
    finally:
        os.umask(old_umask)
    assert (mode_of(tmp_path / "secret"), mode_of(tmp_path / "key")) == (0o600, 0o600)
    assert len(secret) == 64
    assert keyfile.read_secret_file(tmp_path / "secret") == secret
    assert keyfile.read_key_file(tmp_path / "key", tmp_path / "secret").public_key == KEY.public_key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "secret"]


@pytest.mark.req("CR-15")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o601, 0o777], ids=oct)
def test_a_secret_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "secret"
    keyfile.new_secret_file(path)
    path.chmod(mode)
    with pytest.raises(ZoneGateError) as caught:
        keyfile.read_secret_file(path)
    assert caught.value.reason is Reason.E_KEY_SEALED
    assert f"{mode:04o}" in caught.value.detail
    assert str(tmp_path) not in caught.value.detail


@pytest.mark.parametrize("mode", [0o600, 0o400], ids=oct)
def test_a_secret_of_its_owner_is_read(tmp_path: Path, mode: int) -> None:
    keyfile.new_secret_file(tmp_path / "secret")
    (tmp_path / "secret").chmod(mode)
    keyfile.read_secret_file(tmp_path / "secret")


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (bytes(5_000), "larger"), (b"short\n", "5 bytes")])
def test_secret_files_of_no_use(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ZoneGateError, match=words) as caught:
        keyfile.read_secret_file(written(tmp_path / "secret", content))
    assert caught.value.reason is Reason.E_KEY_SEALED


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (bytes(20_000), "larger")])
def test_key_files_of_no_use(tmp_path: Path, content: bytes, words: str) -> None:
    secret = written(tmp_path / "secret", SECRET)
    with pytest.raises(ZoneGateError, match=words) as caught:
        keyfile.read_key_file(written(tmp_path / "key", content), secret)
    assert caught.value.reason is Reason.E_KEY_SEALED


def test_a_missing_file_a_folder_and_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir()
    for name, words in (("missing", "No such file"), ("folder", "regular file"), ("pipe", "regular file")):
        with pytest.raises(ZoneGateError, match=words) as caught:
            keyfile.read_secret_file(tmp_path / name)
        assert caught.value.reason is Reason.E_KEY_SEALED


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    secret = keyfile.new_secret_file(tmp_path / "secret")
    for attempt in (
        lambda: keyfile.new_secret_file(tmp_path / "secret"),
        lambda: keyfile.write_key_file(tmp_path / "secret", KEY, secret),
    ):
        with pytest.raises(ZoneGateError, match="exists already") as caught:
            attempt()
        assert caught.value.reason is Reason.E_CONFIG
    assert keyfile.read_secret_file(tmp_path / "secret") == secret
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ZoneGateError, match="cannot be written") as caught:
        keyfile.new_secret_file(tmp_path / "nowhere" / "secret")
    assert caught.value.reason is Reason.E_CONFIG
