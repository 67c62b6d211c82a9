"""Each operation against implementations that share no code with ours: our plain-Python reference, gmssl, openssl.

gmssl's traps (crypto-facts section 2) shape this file: it may return None from sign, never compares C3, and takes
nonces from `random`, and strips every leading 0 and 4 of an X that begins with 04; so it signs with a nonce that we
pass, is handed its public key again, and its decryption is compared with ours only on text that is right.
"""

import ctypes
import ctypes.util
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest
from gmssl import func as gmssl_func
from gmssl import sm2 as gmssl_sm2
from gmssl import sm3 as gmssl_sm3
from gmssl import sm4 as gmssl_sm4
from hypothesis import given, settings
from hypothesis import strategies as st

from support import sm2_reference as reference
from zonegate.errors import ZoneGateError
from zonegate.gm import curve, der, pem, sm2, sm3, sm4
from zonegate.reasons import Reason

scalars = st.integers(1, curve.N - 2)
nonces = st.integers(1, curve.N - 1)
messages = st.binary(max_size=150)
ids = st.sampled_from([sm2.CERT_ID, sm2.TLS_ID, b"", b"zonegate"])


def affine(key: sm2.PublicKey) -> tuple[int, int]:
    return int.from_bytes(key.point[1:33], "big"), int.from_bytes(key.point[33:], "big")


def theirs(d: int, key: sm2.PublicKey) -> gmssl_sm2.CryptSM2:
    other = gmssl_sm2.CryptSM2(private_key=f"{d:064x}", public_key=key.point[1:].hex(), mode=1, asn1=False)
    other.public_key = key.point[1:].hex()
    return other


# --- our reference


@pytest.mark.req("CR-03", "CR-10")
@given(d=scalars, message=messages, signer_id=ids)
@settings(max_examples=15, deadline=None)
def test_reference_verifies_ours(d: int, message: bytes, signer_id: bytes) -> None:
    key = sm2.PrivateKey.from_scalar(d)
    point = reference.public(d)
    assert affine(key.public_key) == point
    r, s = der.decode_signature(key.sign(message, signer_id=signer_id))
    e = reference.digest(point, signer_id, message)
    assert reference.verify(point, e, r, s)
    assert not reference.verify(point, e ^ 1, r, s)


@pytest.mark.req("CR-03")
@given(d=scalars, k=nonces, message=messages, signer_id=ids)
@settings(max_examples=15, deadline=None)
def test_ours_verifies_reference(d: int, k: int, message: bytes, signer_id: bytes) -> None:
    key = sm2.PrivateKey.from_scalar(d)
    pair = reference.sign(d, reference.digest(affine(key.public_key), signer_id, message), k)
    if pair is not None:
        key.public_key.verify(der.encode_signature(*pair), message, signer_id=signer_id)


@pytest.mark.req("CR-03", "CR-05")
@given(d=scalars, e=st.integers(0, (1 << 256) - 1), r=nonces, s=nonces)
@settings(max_examples=15, deadline=None)
def test_both_refuse_the_same_random_pairs(d: int, e: int, r: int, s: int) -> None:
    key = sm2.PrivateKey.from_scalar(d)
    assert not reference.verify(reference.public(d), e, r, s)
    if r + s != curve.N:
        with pytest.raises(ZoneGateError) as caught:
            key.public_key.verify_digest(der.encode_signature(r, s), e.to_bytes(32, "big"))
        assert caught.value.reason is Reason.E_SIGNATURE


@pytest.mark.req("CR-04")
@given(d=scalars, message=st.binary(min_size=1, max_size=150))
@settings(max_examples=15, deadline=None)
def test_reference_decrypts_ours(d: int, message: bytes) -> None:
    cipher = der.decode_cipher(sm2.PrivateKey.from_scalar(d).public_key.encrypt(message))
    assert reference.decrypt(d, (cipher.x, cipher.y), cipher.hash, cipher.ciphertext) == message


@pytest.mark.req("CR-04")
@given(d=scalars, k=nonces, message=st.binary(min_size=1, max_size=150))
@settings(max_examples=15, deadline=None)
def test_ours_decrypts_reference(d: int, k: int, message: bytes) -> None:
    parts = reference.encrypt(reference.public(d), message, k)
    if parts is not None:
        c1, c3, c2 = parts
        assert sm2.PrivateKey.from_scalar(d).decrypt(der.encode_cipher(der.Cipher(*c1, c3, c2))) == message


@pytest.mark.req("CR-01")
@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_sm3_of_three(message: bytes) -> None:
    assert sm3.digest(message) == reference.sm3(message)
    assert sm3.digest(message).hex() == gmssl_sm3.sm3_hash(list(message))


# --- gmssl


@pytest.mark.req("CR-03")
def test_gmssl_verifies_ours() -> None:
    for _ in range(8):
        d = secrets.randbelow(curve.N - 2) + 1
        key = sm2.PrivateKey.from_scalar(d)
        message = secrets.token_bytes(40)
        r, s = der.decode_signature(key.sign(message, signer_id=sm2.CERT_ID))
        digest = sm2.digest_with_z(key.public_key, sm2.CERT_ID, message)
        assert theirs(d, key.public_key).verify(f"{r:064x}{s:064x}", digest)
        assert theirs(d, key.public_key).verify_with_sm3(f"{r:064x}{s:064x}", message)
        assert not theirs(d, key.public_key).verify_with_sm3(f"{r:064x}{s:064x}", message + b"\x00")


@pytest.mark.req("CR-03")
def test_ours_verifies_gmssl() -> None:
    verified = 0
    while verified < 8:
        d = secrets.randbelow(curve.N - 2) + 1
        key = sm2.PrivateKey.from_scalar(d)
        message = secrets.token_bytes(40)
        digest = sm2.digest_with_z(key.public_key, sm2.CERT_ID, message)
        found = theirs(d, key.public_key).sign(digest, f"{secrets.randbelow(curve.N - 1) + 1:064x}")
        if found is None:
            continue
        signature = der.encode_signature(int(found[:64], 16), int(found[64:], 16))
        key.public_key.verify(signature, message, signer_id=sm2.CERT_ID)
        verified += 1


@pytest.mark.req("CR-04")
def test_gmssl_and_ours_read_each_others_ciphertext() -> None:
    for size in (1, 16, 33, 100):
        d = secrets.randbelow(curve.N - 2) + 1
        key = sm2.PrivateKey.from_scalar(d)
        message = secrets.token_bytes(size)
        raw = der.encode_cipher_c1c3c2(der.decode_cipher(key.public_key.encrypt(message)))
        assert theirs(d, key.public_key).decrypt(raw[1:]) == message
        sealed = theirs(d, key.public_key).encrypt(message)
        # gmssl may leave the key stream of a single byte at zero, which ours refuses (GB/T 32918.4 B4).
        if sealed is not None and sealed[96:] != message:
            assert key.decrypt_c1c3c2(b"\x04" + sealed) == message


@pytest.mark.req("CR-02")
@given(key=st.binary(min_size=16, max_size=16), iv=st.binary(min_size=16, max_size=16), text=messages)
@settings(max_examples=30, deadline=None)
def test_gmssl_sm4_cbc(key: bytes, iv: bytes, text: bytes) -> None:
    other = gmssl_sm4.CryptSM4()
    other.set_key(key, gmssl_sm4.SM4_ENCRYPT)
    padding = 16 - len(text) % 16
    padded = text + bytes((padding,)) * padding
    chained, output = iv, b""
    for at in range(0, len(padded), 16):
        mixed = gmssl_func.xor(padded[at : at + 16], chained)
        chained = bytes(other.one_round(other.sk, mixed))
        output += chained
    assert sm4.cbc_encrypt(key, iv, text) == output
    assert sm4.cbc_decrypt(key, iv, output) == text


# --- libcrypto's own way: a signer id, and Z inside the library


class WithId:
    """EVP_DigestSign and EVP_DigestVerify with EVP_PKEY_CTX_set1_id, which production code does without."""

    def __init__(self, key: sm2.PrivateKey) -> None:
        self.lib = lib = ctypes.CDLL(ctypes.util.find_library("crypto"))
        pointer = ctypes.c_void_p
        for name in ("d2i_AutoPrivateKey", "EVP_PKEY_CTX_new", "EVP_MD_CTX_new", "EVP_get_digestbyname"):
            getattr(lib, name).restype = pointer
        source = key.to_pkcs8()
        at = ctypes.c_char_p(source)
        self.pkey = pointer(lib.d2i_AutoPrivateKey(None, ctypes.byref(at), ctypes.c_long(len(source))))
        self.sm3 = pointer(lib.EVP_get_digestbyname(b"SM3"))

    def started(self, how: str, signer_id: bytes) -> tuple[ctypes.c_void_p, ctypes.c_void_p]:
        context = ctypes.c_void_p(self.lib.EVP_PKEY_CTX_new(self.pkey, None))
        assert self.lib.EVP_PKEY_CTX_set1_id(context, signer_id, len(signer_id)) == 1
        running = ctypes.c_void_p(self.lib.EVP_MD_CTX_new())
        self.lib.EVP_MD_CTX_set_pkey_ctx(running, context)
        assert getattr(self.lib, f"EVP_Digest{how}Init")(running, None, self.sm3, None, self.pkey) == 1
        return running, context

    def freed(self, running: ctypes.c_void_p, context: ctypes.c_void_p) -> None:
        self.lib.EVP_MD_CTX_free(running)
        self.lib.EVP_PKEY_CTX_free(context)

    def sign(self, message: bytes, signer_id: bytes) -> bytes:
        objects = self.started("Sign", signer_id)
        length = ctypes.c_size_t(100)
        buffer = ctypes.create_string_buffer(100)
        size = ctypes.c_size_t(len(message))
        assert self.lib.EVP_DigestSign(objects[0], buffer, ctypes.byref(length), message, size) == 1
        self.freed(*objects)
        return buffer.raw[: length.value]

    def verifies(self, signature: bytes, message: bytes, signer_id: bytes) -> bool:
        objects = self.started("Verify", signer_id)
        sizes = ctypes.c_size_t(len(signature)), ctypes.c_size_t(len(message))
        result = self.lib.EVP_DigestVerify(objects[0], signature, sizes[0], message, sizes[1])
        self.freed(*objects)
        return bool(result == 1)


@pytest.mark.req("CR-03", "CR-06", "CR-08")
@pytest.mark.parametrize("signer_id", [sm2.CERT_ID, sm2.TLS_ID, b"zonegate"])
def test_our_digest_is_the_one_libcrypto_makes_of_the_id(signer_id: bytes) -> None:
    key = sm2.PrivateKey.generate()
    other = WithId(key)
    for size in (0, 1, 55, 56, 64, 1000):
        message = secrets.token_bytes(size)
        key.public_key.verify(other.sign(message, signer_id), message, signer_id=signer_id)
        assert other.verifies(key.sign(message, signer_id=signer_id), message, signer_id)
        assert not other.verifies(key.sign(message, signer_id=b"other"), message, signer_id)
    other.lib.EVP_PKEY_free(other.pkey)


# --- the system's openssl command

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="not run: no openssl command on this machine")


def openssl(*arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(OPENSSL), *map(str, arguments)], capture_output=True, check=False, timeout=30)


@needs_openssl
@pytest.mark.req("CR-08")
def test_openssl_needs_the_id(tmp_path: Path) -> None:
    key = sm2.PrivateKey.generate()
    (tmp_path / "message").write_bytes(b"a message")
    (tmp_path / "public").write_bytes(pem.encode("PUBLIC KEY", key.public_key.spki))

    def verdict(signer_id: bytes, *distid: str) -> int:
        (tmp_path / "signature").write_bytes(key.sign(b"a message", signer_id=signer_id))
        arguments = ("dgst", "-sm3", "-verify", tmp_path / "public", "-signature", tmp_path / "signature")
        return openssl(*arguments, *distid, tmp_path / "message").returncode

    with_cert_id = ("-sigopt", "distid:1234567812345678")
    assert verdict(sm2.CERT_ID, *with_cert_id) == 0
    assert verdict(sm2.TLS_ID, "-sigopt", "distid:TLSv1.3+GM+Cipher+Suite") == 0
    assert verdict(sm2.TLS_ID, *with_cert_id) != 0
    if openssl("version").stdout.startswith(b"OpenSSL 3."):
        assert verdict(sm2.CERT_ID) != 0
        assert verdict(b"") == 0


@needs_openssl
@pytest.mark.req("CR-08")
def test_ours_verifies_openssl(tmp_path: Path) -> None:
    key = sm2.PrivateKey.generate()
    (tmp_path / "message").write_bytes(b"a message")
    (tmp_path / "private").write_bytes(pem.encode("PRIVATE KEY", key.to_pkcs8()))
    sign = ("dgst", "-sm3", "-sign", tmp_path / "private", "-out", tmp_path / "signature")
    assert openssl(*sign, "-sigopt", "distid:1234567812345678", tmp_path / "message").returncode == 0
    signature = (tmp_path / "signature").read_bytes()
    key.public_key.verify(signature, b"a message", signer_id=sm2.CERT_ID)
    with pytest.raises(ZoneGateError):
        key.public_key.verify(signature, b"a message", signer_id=sm2.TLS_ID)


@needs_openssl
@pytest.mark.req("CR-04")
def test_openssl_decrypts_ours(tmp_path: Path) -> None:
    key = sm2.PrivateKey.generate()
    (tmp_path / "private").write_bytes(pem.encode("PRIVATE KEY", key.to_pkcs8()))
    (tmp_path / "sealed").write_bytes(key.public_key.encrypt(b"a text"))
    done = openssl("pkeyutl", "-decrypt", "-inkey", tmp_path / "private", "-in", tmp_path / "sealed")
    assert done.stdout == b"a text"
