"""The seal: content of any size survives; any change, cut, move or addition is E_IMPORT_SEAL."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.boundary import SECRET, importer_key, sealed
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.seal import CHUNK_BYTES, PREAMBLE, seal, unseal
from zonegate.gm.sm2 import PrivateKey
from zonegate.reasons import Reason

KEY = importer_key()
STEP = CHUNK_BYTES + 16
CONTENT = bytes(range(256)) * 1024  # four chunks exactly


def opened(file, key=KEY):
    return b"".join(unseal([file], key))


def refusal(file, key=KEY):
    with pytest.raises(ZoneGateError) as caught:
        opened(file, key)
    return caught.value


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES, 200_000])
def test_content_of_any_size_survives(size):
    content = (b"0123456789" * 20_000)[:size]
    file = b"".join(seal([content[:7], content[7:70_000], content[70_000:]], KEY.public_key, SECRET))
    assert opened(file) == content
    assert b"".join(unseal((file[at : at + 1000] for at in range(0, len(file), 1000)), KEY)) == content


FILE = sealed(CONTENT)
HEAD = len(FILE) - 4 * STEP


def test_the_same_content_is_sealed_differently_each_time():
    assert sealed(CONTENT) != FILE
    assert CONTENT[:64] not in FILE


TAMPERED = {
    "recipient's name": FILE[:8] + bytes([FILE[8] ^ 1]) + FILE[9:],
    "wrapped key": FILE[: HEAD - 5] + bytes([FILE[HEAD - 5] ^ 1]) + FILE[HEAD - 4 :],
    "first byte of a chunk": FILE[:HEAD] + bytes([FILE[HEAD] ^ 1]) + FILE[HEAD + 1 :],
    "last byte": FILE[:-1] + bytes([FILE[-1] ^ 1]),
    "last byte cut off": FILE[:-1],
    "last chunk cut off": FILE[:-STEP],
    "all chunks cut off": FILE[:HEAD],
    "one byte added": FILE + b"\0",
    "a chunk added": FILE + FILE[-STEP:],
    "two chunks exchanged": FILE[:HEAD]
    + FILE[HEAD + STEP : HEAD + 2 * STEP]
    + FILE[HEAD : HEAD + STEP]
    + FILE[HEAD + 2 * STEP :],
    "a chunk left out": FILE[:HEAD] + FILE[HEAD + STEP :],
}


@pytest.mark.parametrize("file", TAMPERED.values(), ids=TAMPERED)
def test_a_changed_file_does_not_open(file):
    assert refusal(file).reason is Reason.E_IMPORT_SEAL


FORMATS = {
    "empty": b"",
    "magic": b"XXXX" + FILE[4:],
    "version": FILE[:4] + b"\x02" + FILE[5:],
    "chunk size": FILE[:7] + b"\x1f" + FILE[8:],
    "head cut off": FILE[: len(PREAMBLE) + 10],
    "wrapped key cut off": FILE[: HEAD - 1],
    "wrapped key of length 0": FILE[:40] + b"\0\0" + FILE[42:],
    "wrapped key too long": FILE[:40] + b"\xff\xff" + FILE[42:],
}


@pytest.mark.parametrize("file", FORMATS.values(), ids=FORMATS)
def test_what_is_no_transport_file_is_refused_as_such(file):
    assert refusal(file).reason is Reason.E_IMPORT_FORMAT


def test_a_file_for_another_importer_names_both_keys():
    error = refusal(FILE, PrivateKey.generate())
    assert error.reason is Reason.E_IMPORT_SEAL
    assert "sealed to key" in error.detail


def test_a_key_wrapped_for_another_importer_under_our_name_does_not_open():
    other = PrivateKey.generate()
    foreign = sealed(CONTENT, other)
    file = FILE[:40] + foreign[40:]
    assert refusal(file).reason is Reason.E_IMPORT_SEAL


def test_chunks_of_one_file_do_not_serve_in_another():
    other = sealed(CONTENT)
    head = len(other) - 4 * STEP
    assert refusal(other[: head + STEP] + FILE[HEAD + STEP :]).reason is Reason.E_IMPORT_SEAL


def test_the_secret_has_one_length():
    with pytest.raises(ValueError):
        list(seal([b"x"], KEY.public_key, b"short"))


def test_a_wrapped_secret_of_another_length_is_refused():
    wrapped = KEY.public_key.encrypt(b"16 bytes of key.")
    file = FILE[:40] + len(wrapped).to_bytes(2, "big") + wrapped + FILE[HEAD:]
    assert refusal(file).reason is Reason.E_IMPORT_SEAL


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_one_error(data):
    for file in (data, PREAMBLE + data, FILE[:42] + data):
        assert refusal(file).reason in (Reason.E_IMPORT_FORMAT, Reason.E_IMPORT_SEAL)
