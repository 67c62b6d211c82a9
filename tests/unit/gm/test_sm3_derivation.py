"""SM3, HMAC and HKDF beyond the vectors."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support import sm2_reference as reference
from zonegate.gm import sm3


def hmac_by_definition(key: bytes, data: bytes) -> bytes:
    block = (reference.sm3(key) if len(key) > 64 else key).ljust(64, b"\x00")
    inner = reference.sm3(bytes(octet ^ 0x36 for octet in block) + data)
    return reference.sm3(bytes(octet ^ 0x5C for octet in block) + inner)


@pytest.mark.req("CR-12")
@given(key=st.binary(max_size=100), data=st.binary(max_size=100))
@settings(max_examples=40, deadline=None)
def test_hmac_by_its_definition(key: bytes, data: bytes) -> None:
    assert sm3.hmac(key, data) == hmac_by_definition(key, data)


@pytest.mark.req("CR-12")
def test_pbkdf2_by_its_definition() -> None:
    block = hmac_by_definition(b"password", b"saltsalt\x00\x00\x00\x01")
    total = block
    for _ in range(4):
        block = hmac_by_definition(b"password", block)
        total = bytes(one ^ other for one, other in zip(total, block, strict=True))
    assert sm3.pbkdf2(b"password", b"saltsalt", 5, 16) == total[:16]


@pytest.mark.req("CR-12")
@pytest.mark.parametrize("length", [1, 32, 33, 255 * 32])
def test_hkdf_lengths_share_their_beginning(length: int) -> None:
    longest = sm3.hkdf(b"ikm", b"salt", b"info", 255 * 32)
    assert sm3.hkdf(b"ikm", b"salt", b"info", length) == longest[:length]


@pytest.mark.parametrize("length", [0, -1, 255 * 32 + 1])
def test_hkdf_length_is_bounded(length: int) -> None:
    with pytest.raises(ValueError, match="asked for"):
        sm3.hkdf(b"ikm", b"", b"", length)


def test_a_copy_goes_its_own_way() -> None:
    running = sm3.new()
    running.update(b"a")
    branch = running.copy()
    branch.update(b"x")
    running.update(b"bc")
    assert running.digest() == sm3.digest(b"abc")
    assert branch.hexdigest() == sm3.hexdigest(b"ax")
    assert sm3.new().digest() == sm3.digest(b"")


def test_equal() -> None:
    assert sm3.equal(b"one", b"one")
    assert not sm3.equal(b"one", b"two")
    assert not sm3.equal(b"one", b"one ")
