"""Keys and points (CR-10), what a private key shows (CR-15), ids, threads and closing."""

import copy
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import sm2_reference as reference
from support.contract import value_or_refusal
from support.vectors import EXAMPLE_D, EXAMPLE_POINT, SM, octets
from zonegate.errors import ZoneGateError
from zonegate.gm import _libcrypto, curve, der, sm2
from zonegate.reasons import Reason

ALGORITHM = der.sequence(der.oid(sm2.OID_EC_PUBLIC_KEY), der.oid(sm2.OID_SM2))
POINT = der.bit_string(EXAMPLE_POINT)


@pytest.fixture(scope="module")
def key() -> sm2.PrivateKey:
    return sm2.PrivateKey.generate()


# --- points

BAD_POINTS: dict[str, tuple[bytes, str]] = {
    "infinity": (b"\x00", "infinity"),
    "empty": (b"", "0 bytes"),
    "compressed": (b"\x02" + EXAMPLE_POINT[1:33], "compressed"),
    "compressed odd": (b"\x03" + EXAMPLE_POINT[1:33], "compressed"),
    "hybrid": (b"\x06" + EXAMPLE_POINT[1:], "beginning with 04"),
    "without 04": (EXAMPLE_POINT[1:], "beginning with 04"),
    "one byte short": (EXAMPLE_POINT[:-1], "64 bytes"),
    "one byte long": (EXAMPLE_POINT + b"\x00", "66 bytes"),
    "y off by one bit": (EXAMPLE_POINT[:-1] + bytes((EXAMPLE_POINT[-1] ^ 1,)), "not on the SM2 curve"),
    "origin": (b"\x04" + bytes(64), "not on the SM2 curve"),
    "x = p": (curve.encode_point(curve.P, 1), "below p"),
    "y = p": (curve.encode_point(1, curve.P), "below p"),
    "x not reduced": (
        # x = 0 is on the curve if b is a square; this writes an equal x as p + small where it fits.
        curve.encode_point(curve.P + 1, curve.GY),
        "below p",
    ),
    "on P-256, not on SM2": (
        bytes.fromhex(
            "046B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296"
            "4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5"
        ),
        "not on the SM2 curve",
    ),
}


@pytest.mark.req("CR-10")
@pytest.mark.parametrize(("point", "words"), BAD_POINTS.values(), ids=BAD_POINTS)
def test_point_refused(point: bytes, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        sm2.PublicKey.from_point(point)
    assert caught.value.reason is Reason.E_KEY
    assert words in caught.value.detail
    spki = der.sequence(ALGORITHM, der.bit_string(point))
    with pytest.raises(ZoneGateError) as caught:
        sm2.PublicKey.from_spki(spki)
    assert caught.value.reason is Reason.E_KEY


# --- SubjectPublicKeyInfo

P256 = der.oid("1.2.840.10045.3.1.7")
EC = der.oid(sm2.OID_EC_PUBLIC_KEY)
BAD_SPKI: dict[str, tuple[bytes, Reason, str]] = {
    "empty": (b"", Reason.E_DER, "is missing"),
    "trailing byte": (octets(SM["sm2"]["spki"]) + b"\x00", Reason.E_DER, "left over"),
    "no key": (der.sequence(ALGORITHM), Reason.E_DER, "subjectPublicKey: is missing"),
    "third field": (der.sequence(ALGORITHM, POINT, POINT), Reason.E_DER, "left over"),
    "unused bits": (der.sequence(ALGORITHM, der.tlv(3, b"\x01" + EXAMPLE_POINT)), Reason.E_DER, "whole octets"),
    "CE-01 RSA": (
        der.sequence(der.sequence(der.oid("1.2.840.113549.1.1.1"), der.NULL_TLV), POINT),
        Reason.E_KEY,
        "the algorithm is 1.2.840.113549.1.1.1",
    ),
    "CE-01 P-256": (der.sequence(der.sequence(EC, P256), POINT), Reason.E_KEY, "the curve is 1.2.840.10045.3.1.7"),
    "CE-01 explicit parameters": (
        der.sequence(der.sequence(EC, der.sequence(der.integer(1))), POINT),
        Reason.E_KEY,
        "not given by name",
    ),
    "no curve": (der.sequence(der.sequence(EC), POINT), Reason.E_KEY, "not given by name"),
    "algorithm with a third field": (
        der.sequence(der.sequence(EC, der.oid(sm2.OID_SM2), der.NULL_TLV), POINT),
        Reason.E_DER,
        "left over",
    ),
}


@pytest.mark.req("CE-01", "CR-10")
@pytest.mark.parametrize(("spki", "reason", "words"), BAD_SPKI.values(), ids=BAD_SPKI)
def test_spki_refused(spki: bytes, reason: Reason, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        sm2.PublicKey.from_spki(spki)
    assert caught.value.reason is reason
    assert words in caught.value.detail


# --- private keys

GOOD_D = octets(SM["sm2"]["d"])


def pkcs8(
    d: bytes = GOOD_D,
    *,
    version: int = 0,
    algorithm: bytes = ALGORITHM,
    inner_version: int = 1,
    rest: bytes = b"",
    after: bytes = b"",
) -> bytes:
    inner = der.sequence(der.integer(inner_version), der.octet_string(d), rest)
    return der.sequence(der.integer(version), algorithm, der.octet_string(inner), after)


def public_field(point: bytes) -> bytes:
    return der.tlv(der.context(1), der.bit_string(point))


def scalar(number: int) -> bytes:
    return number.to_bytes(32, "big")


NAMED = der.tlv(der.context(0), der.oid(sm2.OID_SM2))
GOOD_PKCS8 = {
    "without public key": pkcs8(),
    "with inner curve": pkcs8(rest=NAMED),
    "with both": pkcs8(rest=NAMED + public_field(EXAMPLE_POINT)),
}


@pytest.mark.parametrize("source", GOOD_PKCS8.values(), ids=GOOD_PKCS8)
def test_pkcs8_accepted(source: bytes) -> None:
    found = sm2.PrivateKey.from_pkcs8(source)
    assert found.public_key.point == EXAMPLE_POINT
    assert found.to_pkcs8() == octets(SM["sm2"]["pkcs8"])


BAD_PKCS8: dict[str, tuple[bytes, Reason, str]] = {
    "empty": (b"", Reason.E_DER, "is missing"),
    "trailing byte": (pkcs8() + b"\x00", Reason.E_DER, "left over"),
    "version 1": (pkcs8(version=1), Reason.E_DER, "version"),
    "inner version 2": (pkcs8(inner_version=2), Reason.E_DER, "must be 1"),
    "attributes": (pkcs8(after=der.tlv(der.context(0), b"")), Reason.E_DER, "left over"),
    "P-256": (pkcs8(algorithm=der.sequence(EC, P256)), Reason.E_KEY, "the curve is"),
    "inner curve differs": (pkcs8(rest=der.tlv(der.context(0), P256)), Reason.E_KEY, "inner curve"),
    "d of 31 bytes": (pkcs8(GOOD_D[1:]), Reason.E_DER, "31 bytes"),
    "d of 33 bytes": (pkcs8(b"\x00" + GOOD_D), Reason.E_DER, "33 bytes"),
    "CR-10 d = 0": (pkcs8(scalar(0)), Reason.E_KEY, "1 and n-2"),
    "CR-10 d = n - 1": (pkcs8(scalar(curve.N - 1)), Reason.E_KEY, "1 and n-2"),
    "CR-10 d = n": (pkcs8(scalar(curve.N)), Reason.E_KEY, "1 and n-2"),
    "CR-10 d = 2^256 - 1": (pkcs8(b"\xff" * 32), Reason.E_KEY, "1 and n-2"),
    "another's public key": (pkcs8(rest=public_field(curve.encode_point(curve.GX, curve.GY))), Reason.E_KEY, "another"),
    "public key off the curve": (pkcs8(rest=public_field(b"\x04" + bytes(64))), Reason.E_KEY, "another"),
}


@pytest.mark.req("CR-10")
@pytest.mark.parametrize(("source", "reason", "words"), BAD_PKCS8.values(), ids=BAD_PKCS8)
def test_pkcs8_refused(source: bytes, reason: Reason, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        sm2.PrivateKey.from_pkcs8(source)
    assert caught.value.reason is reason
    assert words in caught.value.detail
    assert SM["sm2"]["d"].lower() not in str(caught.value).lower()


REFUSED = (Reason.E_DER, Reason.E_KEY)


@given(st.binary(max_size=150))
@settings(max_examples=200)
def test_any_bytes_are_a_key_or_refused(source: bytes) -> None:
    for each in (source, der.sequence(source), der.sequence(ALGORITHM, source), der.sequence(source, POINT)):
        public = value_or_refusal(sm2.PublicKey.from_spki, each, *REFUSED)
        assert public is None or public.spki == each
        value_or_refusal(sm2.PrivateKey.from_pkcs8, each, *REFUSED)


@given(at=st.integers(0, len(pkcs8()) - 1), piece=st.binary(max_size=4), drop=st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_a_changed_piece_gives_another_key_or_a_refusal(at: int, piece: bytes, drop: int) -> None:
    full = octets(SM["sm2"]["pkcs8"])
    value_or_refusal(sm2.PrivateKey.from_pkcs8, full[:at] + piece + full[at + drop :], *REFUSED)
    spki = octets(SM["sm2"]["spki"])
    found = value_or_refusal(sm2.PublicKey.from_spki, spki[:at] + piece + spki[at + drop :], *REFUSED)
    assert found is None or found.point == EXAMPLE_POINT


@pytest.mark.req("CR-10")
@pytest.mark.parametrize("d", [1, 2, curve.N - 2], ids=["1", "2", "n-2"])
def test_the_ends_of_the_range_are_keys(d: int) -> None:
    found = sm2.PrivateKey.from_scalar(d)
    assert found.public_key.point == curve.encode_point(*reference.public(d))
    found.public_key.verify(found.sign(b"m", signer_id=sm2.CERT_ID), b"m", signer_id=sm2.CERT_ID)


@pytest.mark.req("CR-10")
@pytest.mark.parametrize("d", [-1, 0, curve.N - 1, curve.N, 1 << 256])
def test_outside_the_range_is_no_key(d: int) -> None:
    with pytest.raises(ZoneGateError) as caught:
        sm2.PrivateKey.from_scalar(d)
    assert caught.value.reason is Reason.E_KEY


def test_generated_keys_differ_and_come_back(key: sm2.PrivateKey) -> None:
    assert key.public_key != sm2.PrivateKey.generate().public_key
    again = sm2.PrivateKey.from_pkcs8(key.to_pkcs8())
    assert again.public_key == key.public_key
    again.public_key.verify(key.sign(b"m", signer_id=sm2.CERT_ID), b"m", signer_id=sm2.CERT_ID)


@pytest.mark.req("CR-15")
def test_a_private_key_never_shows_itself() -> None:
    key = sm2.PrivateKey.from_scalar(EXAMPLE_D)
    shown = f"{key!r} {key!s} {key} {vars(type(key))} {key.public_key!r}".lower()
    assert SM["sm2"]["d"].lower() not in shown
    assert str(EXAMPLE_D) not in shown
    assert not hasattr(key, "__dict__")
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            attempt(key)


@pytest.mark.req("CR-15")
def test_a_closed_key_is_refused_and_closing_twice_is_harmless() -> None:
    key = sm2.PrivateKey.generate()
    ciphertext = key.public_key.encrypt(b"text")
    key.sign(b"m", signer_id=sm2.CERT_ID)
    key.close()
    key.close()
    for attempt in (lambda: key.sign(b"m", signer_id=sm2.CERT_ID), lambda: key.decrypt(ciphertext), key.to_pkcs8):
        with pytest.raises(ZoneGateError) as caught:
            attempt()
        assert caught.value.reason is Reason.E_KEY


def test_public_keys_are_equal_by_their_point(key: sm2.PrivateKey) -> None:
    same = sm2.PublicKey.from_spki(key.public_key.spki)
    assert same == key.public_key
    assert hash(same) == hash(key.public_key)
    assert len({same, key.public_key}) == 1
    assert same != key.public_key.point


# --- signatures


@pytest.mark.req("CR-06", "CR-08")
@given(message=st.binary(max_size=200), signer_id=st.binary(max_size=40))
@settings(max_examples=60)
def test_sign_and_verify_round_trip(key: sm2.PrivateKey, message: bytes, signer_id: bytes) -> None:
    signature = key.sign(message, signer_id=signer_id)
    key.public_key.verify(signature, message, signer_id=signer_id)
    assert len(signature) <= der.SIGNATURE_MAX_BYTES
    for wrong_message, wrong_id in ((message + b"\x00", signer_id), (message, signer_id + b"\x00")):
        with pytest.raises(ZoneGateError) as caught:
            key.public_key.verify(signature, wrong_message, signer_id=wrong_id)
        assert caught.value.reason is Reason.E_SIGNATURE


def test_the_id_has_no_default(key: sm2.PrivateKey) -> None:
    with pytest.raises(TypeError):
        key.sign(b"m")  # type: ignore[call-arg]  # the refusal is what is shown
    with pytest.raises(TypeError):
        key.public_key.verify(b"", b"m")  # type: ignore[call-arg]  # the refusal is what is shown


def test_an_id_longer_than_entl_can_say_is_refused(key: sm2.PrivateKey) -> None:
    key.sign(b"m", signer_id=bytes(sm2.ID_MAX_BYTES))
    with pytest.raises(ValueError, match="8191"):
        key.sign(b"m", signer_id=bytes(sm2.ID_MAX_BYTES + 1))


def test_signatures_are_never_equal(key: sm2.PrivateKey) -> None:
    assert len({key.sign(b"m", signer_id=sm2.CERT_ID) for _ in range(20)}) == 20


def test_another_key_does_not_verify(key: sm2.PrivateKey) -> None:
    signature = key.sign(b"m", signer_id=sm2.CERT_ID)
    with pytest.raises(ZoneGateError) as caught:
        sm2.PrivateKey.generate().public_key.verify(signature, b"m", signer_id=sm2.CERT_ID)
    assert caught.value.reason is Reason.E_SIGNATURE


def test_message_in_pieces(key: sm2.PrivateKey) -> None:
    running = key.public_key.running_digest(signer_id=sm2.TLS_ID)
    for piece in (b"one ", b"message"):
        running.update(piece)
    signature = key.sign_digest(running.digest())
    key.public_key.verify(signature, b"one message", signer_id=sm2.TLS_ID)
    for attempt in (lambda: key.sign_digest(b"short"), lambda: key.public_key.verify_digest(signature, b"short")):
        with pytest.raises(ValueError, match="must be 32"):
            attempt()


def test_remembered_ids_are_bounded(key: sm2.PrivateKey) -> None:
    for number in range(50):
        key.sign(b"m", signer_id=number.to_bytes(2, "big"))
    assert len(key.public_key._states) <= 4


# --- encryption


@pytest.mark.req("CR-04")
@given(message=st.binary(min_size=1, max_size=300))
@settings(max_examples=60)
def test_encrypt_and_decrypt_round_trip(key: sm2.PrivateKey, message: bytes) -> None:
    ciphertext = key.public_key.encrypt(message)
    cipher = der.decode_cipher(ciphertext)
    assert key.decrypt(ciphertext) == message
    assert key.decrypt_c1c3c2(der.encode_cipher_c1c3c2(cipher)) == message
    assert cipher.ciphertext != message


@pytest.mark.req("CR-04")
@given(bit=st.integers(0, 124 * 8 - 1))
@settings(max_examples=60)
def test_a_flipped_bit_is_never_decrypted(bit: int) -> None:
    source = bytearray(octets(SM["sm2"]["encryption"]["der"]))
    source[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ZoneGateError) as caught:
        sm2.PrivateKey.from_scalar(EXAMPLE_D).decrypt(bytes(source))
    assert caught.value.reason is Reason.E_CIPHERTEXT


def test_another_key_does_not_decrypt(key: sm2.PrivateKey) -> None:
    with pytest.raises(ZoneGateError) as caught:
        sm2.PrivateKey.generate().decrypt(key.public_key.encrypt(b"text"))
    assert caught.value.reason is Reason.E_CIPHERTEXT


def test_one_byte_is_never_sent_in_clear(key: sm2.PrivateKey) -> None:
    # GB/T 32918.4 A5: with one byte, one key stream in 256 is zero.
    for _ in range(300):
        assert der.decode_cipher(key.public_key.encrypt(b"x")).ciphertext != b"x"


def test_an_all_zero_key_stream_is_refused() -> None:
    # A sender that skips A5: search a nonce whose key stream's first byte is zero, and build its ciphertext.
    point = reference.public(EXAMPLE_D)
    for k in range(1, 5_000):
        shared = reference.multiply(k, point)
        assert shared is not None
        x2, y2 = (number.to_bytes(32, "big") for number in shared)
        if reference.kdf(x2 + y2, 1) == b"\x00":
            break
    c1 = reference.public(k)
    clear = der.encode_cipher(der.Cipher(*c1, reference.sm3(x2 + b"x" + y2), b"x"))
    with pytest.raises(ZoneGateError) as caught:
        sm2.PrivateKey.from_scalar(EXAMPLE_D).decrypt(clear)
    assert caught.value.reason is Reason.E_CIPHERTEXT


@pytest.mark.parametrize("size", [0, sm2.PLAINTEXT_MAX_BYTES + 1])
def test_plaintext_size_is_bounded(key: sm2.PrivateKey, size: int) -> None:
    with pytest.raises(ValueError, match="are allowed"):
        key.public_key.encrypt(bytes(size))


def test_largest_plaintext(key: sm2.PrivateKey) -> None:
    largest = bytes(sm2.PLAINTEXT_MAX_BYTES)
    assert key.decrypt(key.public_key.encrypt(largest)) == largest


# --- threads and the library


def test_one_key_in_many_threads() -> None:
    key = sm2.PrivateKey.generate()
    start = threading.Barrier(8)

    def work(number: int) -> int:
        start.wait()
        for round_ in range(25):
            message = f"{number}/{round_}".encode()
            signature = key.sign(message, signer_id=sm2.CERT_ID)
            key.public_key.verify(signature, message, signer_id=sm2.CERT_ID)
            assert key.decrypt(key.public_key.encrypt(message)) == message
            with pytest.raises(ZoneGateError):
                key.public_key.verify(signature, b"other", signer_id=sm2.CERT_ID)
        return number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(work, range(8))) == list(range(8))


def test_closing_under_load_ends_in_named_errors_only() -> None:
    key = sm2.PrivateKey.generate()
    start = threading.Barrier(5)

    def work(_number: int) -> Reason:
        start.wait()
        while True:
            try:
                key.sign(b"m", signer_id=sm2.CERT_ID)
            except ZoneGateError as exc:
                return exc.reason

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(work, number) for number in range(4)]
        start.wait()
        key.close()
        assert {each.result(timeout=30) for each in running} == {Reason.E_KEY}


def test_failures_leave_the_error_queue_empty(key: sm2.PrivateKey) -> None:
    signature = key.sign(b"m", signer_id=sm2.CERT_ID)
    with pytest.raises(ZoneGateError):
        key.public_key.verify(signature, b"other", signer_id=sm2.CERT_ID)
    with pytest.raises(ZoneGateError):
        sm2.PrivateKey.generate().decrypt(key.public_key.encrypt(b"text"))
    assert _libcrypto.library().ERR_get_error() == 0


def test_library_errors_are_translated() -> None:
    # 65 bytes that are no point: what would come if a caller passed by the checks of `sm2`.
    with pytest.raises(ZoneGateError) as caught:
        _libcrypto.public_key(b"\x04" + bytes(64))
    assert caught.value.reason is Reason.E_INTERNAL
    assert "EVP_PKEY_fromdata" in caught.value.detail


def test_library_version() -> None:
    assert tuple(map(int, _libcrypto.version().split("."))) >= (3, 0, 0)


@pytest.mark.req("CR-15")
def test_keys_are_freed_quietly_at_exit() -> None:
    code = (
        "from zonegate.gm import sm2\n"
        "key = sm2.PrivateKey.generate()\n"
        "key.public_key.verify(key.sign(b'm', signer_id=b''), b'm', signer_id=b'')\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
