"""SM4 modes beyond the vectors: round trips, and an altered byte is never opened."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.errors import ZoneGateError
from zonegate.gm import sm4
from zonegate.reasons import Reason

KEY, NONCE, IV = bytes(range(16)), bytes(range(12)), bytes(range(16))
SEALERS = {"gcm": (sm4.gcm_seal, sm4.gcm_open), "ccm": (sm4.ccm_seal, sm4.ccm_open)}
Seal = Callable[[bytes, bytes, bytes, bytes], bytes]


@pytest.mark.req("CR-02")
@pytest.mark.parametrize(("seal", "open_"), SEALERS.values(), ids=SEALERS)
@given(text=st.binary(max_size=200), aad=st.binary(max_size=100))
@settings(max_examples=50)
def test_round_trip(seal: Seal, open_: Seal, text: bytes, aad: bytes) -> None:
    sealed = seal(KEY, NONCE, text, aad)
    assert len(sealed) == len(text) + sm4.TAG_BYTES
    assert open_(KEY, NONCE, sealed, aad) == text


@pytest.mark.req("CR-02")
@pytest.mark.parametrize(("seal", "open_"), SEALERS.values(), ids=SEALERS)
def test_anything_altered_is_refused(seal: Seal, open_: Seal) -> None:
    sealed = seal(KEY, NONCE, b"a text of two blocks' length", b"aad")
    flipped = [sealed[:at] + bytes((sealed[at] ^ 1,)) + sealed[at + 1 :] for at in range(len(sealed))]
    attempts = [(KEY, NONCE, each, b"aad") for each in (*flipped, sealed[:-1], sealed[:15], b"", sealed + b"\x00")]
    attempts += [(KEY, NONCE, sealed, b"aae"), (KEY, bytes(12), sealed, b"aad"), (bytes(16), NONCE, sealed, b"aad")]
    for attempt in attempts:
        with pytest.raises(ZoneGateError) as caught:
            open_(*attempt)
        assert caught.value.reason is Reason.E_CIPHERTEXT


@pytest.mark.req("CR-02")
@pytest.mark.parametrize("size", [0xFEFF, 0xFF00, 0x1_0000], ids=hex)
def test_ccm_writes_long_aad_as_rfc_3610_does(size: int) -> None:
    # RFC 3610 2.2 changes the length's form at 0xFF00; `cryptography` has no SM4-CCM to compare with, so the two
    # forms are shown to differ from each other and to open.
    sealed = sm4.ccm_seal(KEY, NONCE, b"text", bytes(size))
    assert sm4.ccm_open(KEY, NONCE, sealed, bytes(size)) == b"text"
    with pytest.raises(ZoneGateError):
        sm4.ccm_open(KEY, NONCE, sealed, bytes(size + 1))


def test_ccm_length_has_three_octets() -> None:
    with pytest.raises(ValueError, match="at most 16777215"):
        sm4.ccm_seal(KEY, NONCE, bytes(sm4.CCM_MAX_BYTES + 1), b"")


@given(text=st.binary(max_size=100))
@settings(max_examples=50)
def test_cbc_round_trip(text: bytes) -> None:
    assert sm4.cbc_decrypt(KEY, IV, sm4.cbc_encrypt(KEY, IV, text)) == text


def without_padding(last_block: bytes) -> bytes:
    """Return one CBC block that decrypts to `last_block`."""
    return sm4.cbc_encrypt(KEY, IV, last_block)[:16]


BAD_CBC = {
    "empty": b"",
    "not a block": bytes(15),
    "padding 0": without_padding(bytes(16)),
    "padding 17": without_padding(bytes((17,)) * 16),
    "padding of 3 with a 2 in it": without_padding(bytes(13) + b"\x03\x02\x03"),
}


@pytest.mark.parametrize("ciphertext", BAD_CBC.values(), ids=BAD_CBC)
def test_cbc_refused(ciphertext: bytes) -> None:
    with pytest.raises(ZoneGateError) as caught:
        sm4.cbc_decrypt(KEY, IV, ciphertext)
    assert caught.value.reason is Reason.E_CIPHERTEXT


BAD_SIZES: dict[str, Callable[[], object]] = {
    "key of 15": lambda: sm4.gcm_seal(bytes(15), NONCE, b"", b""),
    "key of 32": lambda: sm4.gcm_seal(bytes(32), NONCE, b"", b""),
    "GCM nonce of 11": lambda: sm4.gcm_seal(KEY, bytes(11), b"", b""),
    "GCM nonce of 16 on opening": lambda: sm4.gcm_open(KEY, bytes(16), bytes(16), b""),
    "CCM nonce of 13": lambda: sm4.ccm_seal(KEY, bytes(13), b"", b""),
    "IV of 12": lambda: sm4.cbc_encrypt(KEY, bytes(12), b""),
    "counter of 12": lambda: sm4.ctr(KEY, bytes(12), b""),
    "two blocks": lambda: sm4.encrypt_block(KEY, bytes(32)),
}


@pytest.mark.parametrize("attempt", BAD_SIZES.values(), ids=BAD_SIZES)
def test_sizes_are_checked(attempt: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        attempt()
