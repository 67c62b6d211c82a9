"""Power-on self-test (CR-13): known answers of SM2, SM3 and SM4, and the health of the random source (CR-09).

`run` returns, or raises `E_SELFTEST` naming the first answer that is wrong; it is called before anything listens.
It proves that the libraries of this machine compute what the standards print, not that they are certified.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import _libcrypto, sm2, sm3, sm4
from zonegate.reasons import Reason

_RANDOM_DRAW_BYTES = 64
# 64 fair bytes hold about 56 different values; fewer than this has a chance below 2^-100.
_RANDOM_MIN_DISTINCT = 24


@dataclass(frozen=True, slots=True)
class Vectors:
    """The published values that are compared (standards.md C4.1 to C4.4)."""

    sm3_message: bytes
    sm3_digest: bytes
    sm4_key: bytes
    sm4_block: bytes
    gcm_nonce: bytes
    gcm_aad: bytes
    gcm_plaintext: bytes
    gcm_sealed: bytes
    sm2_scalar: int
    sm2_point: bytes
    sm2_message: bytes
    sm2_signature: bytes
    sm2_plaintext: bytes
    sm2_ciphertext: bytes


def _hex(*lines: str) -> bytes:
    return bytes.fromhex("".join(lines))


PUBLISHED: Final = Vectors(
    sm3_message=b"abc",
    sm3_digest=_hex("66C7F0F462EEEDD9D1F2D46BDC10E4E24167C4875CF2F7A2297DA02B8F4BA8E0"),
    sm4_key=_hex("0123456789ABCDEFFEDCBA9876543210"),
    sm4_block=_hex("681EDF34D206965E86B3E94F536E4246"),
    gcm_nonce=_hex("00001234567800000000ABCD"),
    gcm_aad=_hex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2"),
    gcm_plaintext=b"".join(bytes((octet,)) * 8 for octet in _hex("AABBCCDDEEFFEEAA")),
    gcm_sealed=_hex(
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735",
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D",
        "83DE3541E4C2B58177E065A9BF7B62EC",
    ),
    # The example key of GB/T 32918.5: printed in the standard, nobody's secret.
    sm2_scalar=0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8,
    sm2_point=_hex(
        "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020",
        "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13",
    ),
    sm2_message=b"message digest",
    sm2_signature=_hex(
        "3046022100F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3",
        "022100B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA",
    ),
    sm2_plaintext=b"encryption standard",
    sm2_ciphertext=_hex(
        "307C022004EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73",
        "022100E858F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF0",
        "042059983C18F809E262923C53AEC295D30383B54E39D609D160AFCB1908D0BD8766",
        "041321886CA989CA9C7D58087307CA93092D651EFA",
    ),
)


def run(vectors: Vectors = PUBLISHED, *, draw: Callable[[int], bytes] = os.urandom) -> None:
    """Return if everything answers as published; otherwise raise `E_SELFTEST`. Tests pass broken vectors."""
    _libcrypto.library()
    for name, check in (
        ("SM3", _check_sm3),
        ("SM4", _check_sm4),
        ("SM4-GCM", _check_gcm),
        ("SM2 signature", _check_sm2_signature),
        ("SM2 encryption", _check_sm2_encryption),
    ):
        try:
            passed = check(vectors)
        except (ZoneGateError, ValueError) as exc:
            raise ZoneGateError(Reason.E_SELFTEST, f"{name}: the known answer was not reached: {exc}") from exc
        if not passed:
            raise ZoneGateError(Reason.E_SELFTEST, f"{name}: the answer differs from the published one")
    _check_random(draw)


def _check_sm3(vectors: Vectors) -> bool:
    key = vectors.sm3_message
    # HMAC and hash take different ways through the library: both must reach the same digest function.
    inner = sm3.digest(bytes(octet ^ 0x36 for octet in key.ljust(sm3.BLOCK_BYTES, b"\0")) + key)
    outer = sm3.digest(bytes(octet ^ 0x5C for octet in key.ljust(sm3.BLOCK_BYTES, b"\0")) + inner)
    return sm3.digest(vectors.sm3_message) == vectors.sm3_digest and sm3.hmac(key, key) == outer


def _check_sm4(vectors: Vectors) -> bool:
    return sm4.encrypt_block(vectors.sm4_key, vectors.sm4_key) == vectors.sm4_block


def _check_gcm(vectors: Vectors) -> bool:
    key, nonce, aad = vectors.sm4_key, vectors.gcm_nonce, vectors.gcm_aad
    if sm4.gcm_seal(key, nonce, vectors.gcm_plaintext, aad) != vectors.gcm_sealed:
        return False
    if sm4.gcm_open(key, nonce, vectors.gcm_sealed, aad) != vectors.gcm_plaintext:
        return False
    return _is_refused(lambda: sm4.gcm_open(key, nonce, _flipped(vectors.gcm_sealed), aad))


def _check_sm2_signature(vectors: Vectors) -> bool:
    public = sm2.PublicKey.from_point(vectors.sm2_point)
    public.verify(vectors.sm2_signature, vectors.sm2_message, signer_id=sm2.CERT_ID)
    key = sm2.PrivateKey.from_scalar(vectors.sm2_scalar)
    try:
        if key.public_key != public:
            return False
        signature = key.sign(vectors.sm2_message, signer_id=sm2.TLS_ID)
        public.verify(signature, vectors.sm2_message, signer_id=sm2.TLS_ID)
        return all(
            _is_refused(attempt)
            for attempt in (
                lambda: public.verify(signature, _flipped(vectors.sm2_message), signer_id=sm2.TLS_ID),
                lambda: public.verify(signature, vectors.sm2_message, signer_id=sm2.CERT_ID),
                lambda: public.verify(_flipped(signature), vectors.sm2_message, signer_id=sm2.TLS_ID),
            )
        )
    finally:
        key.close()


def _check_sm2_encryption(vectors: Vectors) -> bool:
    key = sm2.PrivateKey.from_scalar(vectors.sm2_scalar)
    try:
        if key.decrypt(vectors.sm2_ciphertext) != vectors.sm2_plaintext:
            return False
        ciphertext = key.public_key.encrypt(vectors.sm2_plaintext)
        if key.decrypt(ciphertext) != vectors.sm2_plaintext:
            return False
        return _is_refused(lambda: key.decrypt(_flipped(vectors.sm2_ciphertext)))
    finally:
        key.close()


def _check_random(draw: Callable[[int], bytes]) -> None:
    first, second = draw(_RANDOM_DRAW_BYTES), draw(_RANDOM_DRAW_BYTES)
    if first == second or min(len(set(first)), len(set(second))) < _RANDOM_MIN_DISTINCT:
        raise ZoneGateError(Reason.E_SELFTEST, "random source: its output is constant or repeats")
    one, other = sm2.PrivateKey.generate(), sm2.PrivateKey.generate()
    try:
        if one.public_key == other.public_key:
            raise ZoneGateError(Reason.E_SELFTEST, "random source: two generated keys are equal")
    finally:
        one.close()
        other.close()


def _flipped(octets: bytes) -> bytes:
    """Return `octets` with the last bit changed."""
    return octets[:-1] + bytes((octets[-1] ^ 1,))


def _is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except ZoneGateError:
        return True
    return False
