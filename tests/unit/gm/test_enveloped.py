"""SM2EnvelopedKey: the value of C3.3, every refusal, and two other implementations that open what is sealed here."""

from collections.abc import Callable

import pytest
from gmssl import sm2 as gmssl_sm2
from gmssl import sm4 as gmssl_sm4
from hypothesis import given, settings
from hypothesis import strategies as st

from support import sm2_reference
from zonegate.errors import ZoneGateError
from zonegate.gm import der, enveloped, sm4
from zonegate.gm.sm2 import PrivateKey
from zonegate.reasons import Reason

# C3.3; recipient: the key of C4.3; enveloped: dB of C4.5.
KAT = bytes.fromhex(
    "3081F0300C06082A811CCF5501680105003079022004EBFC718E8D1798620432268E77FEB6415E2EDE0E073C0F4F640ECD2E149A73022100E858"
    "F9D81E5430A57B36DAAB8F950A3C64E6EE6A63094D99283AFF767E124DF004204423B448D18B4A1A86B0E264E928007803243A5A8D9D0B0E8953"
    "BFE4E928ADCF041045C54ABC791125FBC9BAE9ECC8A65559034200046AE848C57C53C7B1B5FA99EB2286AF078BA64C64591B8B566F7357D576F1"
    "6DFBEE489D771621A27B36C5C7992062E9CD09A9264386F3FBEA54DFF69305621C4D032100CC497521A3ED157B988F0F696B7C379FBFE7FDFA3B"
    "80B7D0A3681A3C74A7FBBF"
)
OWNER = PrivateKey.from_scalar(0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8)
ENVELOPED = 0x785129917D45A9EA5437A59356B82338EAADDA6CEB199088F14AE10DEFA229B5
KAT_SM4_KEY = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
OTHER = PrivateKey.from_scalar(0x1234567890ABCDEF)


@pytest.mark.req("CA-04")
def test_c3_3_value_opens() -> None:
    key = enveloped.unseal(KAT, OWNER)
    assert key.to_scalar() == ENVELOPED.to_bytes(32, "big")
    parts = enveloped.decode(KAT)
    assert OWNER.decrypt(parts.symmetric_key) == KAT_SM4_KEY
    scalar = ENVELOPED.to_bytes(32, "big")
    assert parts.private_key == b"".join(sm4.encrypt_block(KAT_SM4_KEY, scalar[at : at + 16]) for at in (0, 16))
    assert parts.algorithm == enveloped.OID_SM4_ECB


def test_what_is_written_is_sm4_ecb_without_parameters() -> None:
    sealed = enveloped.seal(OTHER, OWNER.public_key)
    assert der.sequence(der.oid("1.2.156.10197.1.104.1")) in sealed
    assert enveloped.unseal(sealed, OWNER).to_scalar() == OTHER.to_scalar()
    assert enveloped.seal(OTHER, OWNER.public_key) != sealed


@pytest.mark.req("CA-04")
def test_other_implementations_open_what_we_seal() -> None:
    parts = enveloped.decode(enveloped.seal(OTHER, OWNER.public_key))
    cipher = der.decode_cipher(parts.symmetric_key)
    d = int.from_bytes(OWNER.to_scalar(), "big")
    by_reference = sm2_reference.decrypt(d, (cipher.x, cipher.y), cipher.hash, cipher.ciphertext)
    assert by_reference is not None
    raw = der.encode_cipher_c1c3c2(cipher)[1:]
    stranger = gmssl_sm2.CryptSM2(OWNER.to_scalar().hex(), OWNER.public_key.point[1:].hex(), mode=1)
    assert stranger.decrypt(raw) == by_reference
    crypt = gmssl_sm4.CryptSM4(padding_mode=0)
    crypt.set_key(by_reference, gmssl_sm4.SM4_DECRYPT)
    scalar = b"".join(bytes(crypt.one_round(crypt.sk, parts.private_key[at : at + 16])) for at in (0, 16))
    assert scalar == OTHER.to_scalar()


def _with(change: Callable[[list[bytes]], None]) -> bytes:
    body = der.Reader(KAT).sequence("KAT")
    parts = [body.tlv() for _ in range(4)]
    change(parts)
    return der.sequence(*parts)


def _set(place: int, value: bytes) -> Callable[[list[bytes]], None]:
    def change(parts: list[bytes]) -> None:
        parts[place] = value

    return change


def _algorithm(dotted: str, *parameters: bytes) -> Callable[[list[bytes]], None]:
    return _set(0, der.sequence(der.oid(dotted), *parameters))


@pytest.mark.parametrize(
    "change",
    [
        _algorithm("1.2.156.10197.1.104.1"),
        _algorithm("1.2.156.10197.1.104"),
        _algorithm("1.2.156.10197.1.104", der.NULL_TLV),
    ],
    ids=[".104.1 without parameters", ".104 bare", ".104 bare with NULL"],
)
def test_read_forms(change: Callable[[list[bytes]], None]) -> None:
    assert enveloped.unseal(_with(change), OWNER).to_scalar() == ENVELOPED.to_bytes(32, "big")


REFUSED = {
    "SM4-CBC": (_with(_algorithm("1.2.156.10197.1.104.2")), Reason.E_DER),
    "AES": (_with(_algorithm("2.16.840.1.101.3.4.1.1")), Reason.E_DER),
    "parameters are no NULL": (_with(_algorithm("1.2.156.10197.1.104.1", der.octet_string(b"x"))), Reason.E_DER),
    "two parameters": (_with(_algorithm("1.2.156.10197.1.104.1", der.NULL_TLV, der.NULL_TLV)), Reason.E_DER),
    "SM4 key of 15 bytes": (_with(_set(1, OWNER.public_key.encrypt(bytes(15)))), Reason.E_DER),
    "SM4 key of 32 bytes": (_with(_set(1, OWNER.public_key.encrypt(bytes(32)))), Reason.E_DER),
    "SM2Cipher is none": (_with(_set(1, der.sequence(der.integer(1)))), Reason.E_CIPHERTEXT),
    "for another": (_with(_set(1, OTHER.public_key.encrypt(KAT_SM4_KEY))), Reason.E_CIPHERTEXT),
    "another SM4 key": (_with(_set(1, OWNER.public_key.encrypt(bytes(16)))), Reason.E_KEY),
    "another public key": (_with(_set(2, der.bit_string(OTHER.public_key.point))), Reason.E_KEY),
    "point off the curve": (_with(_set(2, der.bit_string(b"\x04" + bytes(63) + b"\x01"))), Reason.E_KEY),
    "d padded to 48": (_with(_set(3, der.bit_string(bytes(48)))), Reason.E_DER),
    "d cut to 31": (_with(_set(3, der.bit_string(bytes(31)))), Reason.E_DER),
    "a fifth member": (_with(lambda parts: parts.append(der.NULL_TLV)), Reason.E_DER),
    "a member missing": (_with(lambda parts: parts.pop() and None), Reason.E_DER),
    "bytes after the end": (KAT + b"\x00", Reason.E_DER),
    "cut off": (KAT[:-1], Reason.E_DER),
    "empty": (b"", Reason.E_DER),
    "too long": (bytes(513), Reason.E_DER),
}


@pytest.mark.parametrize(("envelope", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(envelope: bytes, reason: Reason) -> None:
    with pytest.raises(ZoneGateError) as refused:
        enveloped.unseal(envelope, OWNER)
    assert refused.value.reason is reason
    assert f"{ENVELOPED:064x}" not in str(refused.value)


def test_a_key_is_not_enveloped_for_itself() -> None:
    with pytest.raises(ZoneGateError) as refused:
        enveloped.seal(OWNER, OWNER.public_key)
    assert refused.value.reason is Reason.E_KEY


@given(st.one_of(st.binary(max_size=400), st.tuples(st.integers(0, len(KAT) - 1), st.integers(1, 255))))
@settings(max_examples=150, deadline=None)
def test_fuzz_a_key_or_one_named_error(case: bytes | tuple[int, int]) -> None:
    if isinstance(case, tuple):
        at, mask = case
        case = KAT[:at] + bytes((KAT[at] ^ mask,)) + KAT[at + 1 :]
    try:
        opened = enveloped.unseal(case, OWNER)
    except ZoneGateError as exc:
        assert exc.reason in (Reason.E_DER, Reason.E_KEY, Reason.E_CIPHERTEXT)
    else:
        assert opened.to_scalar() == ENVELOPED.to_bytes(32, "big")
