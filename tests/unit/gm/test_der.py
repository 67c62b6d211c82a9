"""Strict DER of signature and ciphertext: one encoding is right, its neighbours are refused with the reason."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.contract import value_or_refusal
from support.vectors import SM, octets
from zonegate.errors import ZoneGateError
from zonegate.gm import curve, der
from zonegate.reasons import Reason

N = curve.N
GOOD_R, GOOD_S = 0x0F5A, N - 2


def seq(*parts: bytes) -> bytes:
    return der.sequence(*parts)


def raw_int(content: str) -> bytes:
    return der.tlv(der.INTEGER, bytes.fromhex(content))


R, S = der.integer(GOOD_R), der.integer(GOOD_S)
N_HEX = f"00{N:064x}"

# name: (encoding, words that the refusal must contain)
BAD_SIGNATURES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is missing"),
    "one byte": (b"\x30", "cut off"),
    "not a sequence": (der.tlv(der.SET, R + S), "expected is 0x30"),
    "empty sequence": (seq(), "r: is missing"),
    "s missing": (seq(R), "s: is missing"),
    "three integers": (seq(R, S, R), "left over"),
    "CR-05 trailing byte": (seq(R, S) + b"\x00", "left over"),
    "CR-05 r = 0": (seq(der.integer(0), S), "r is not within"),
    "CR-05 s = 0": (seq(R, der.integer(0)), "s is not within"),
    "CR-05 r = n": (seq(raw_int(N_HEX), S), "r is not within"),
    "CR-05 s = n": (seq(R, raw_int(N_HEX)), "s is not within"),
    "CR-05 r = n + 1": (seq(der.integer(N + 1), S), "r is not within"),
    "CR-05 r + s = n": (seq(der.integer(2), S), "r + s equals n"),
    "CR-05 r padded": (seq(raw_int("000F5A"), S), "not minimal"),
    "CR-05 r negative": (seq(raw_int("8F5A"), S), "negative"),
    "CR-05 s negative one": (seq(R, raw_int("FF")), "negative"),
    "empty integer": (seq(raw_int(""), S), "empty"),
    "r is an octet string": (seq(der.octet_string(b"\x0f\x5a"), S), "expected is 0x02"),
    "indefinite length": (b"\x30\x80" + R + S + b"\x00\x00", "indefinite"),
    "long form of a short length": (b"\x30\x81" + bytes((len(R + S),)) + R + S, "not minimal"),
    "length of three octets": (b"\x30\x82\x00" + bytes((len(R + S),)) + R + S, "not minimal"),
    "length of five octets": (b"\x30\x85\x00\x00\x00\x00" + bytes((len(R + S),)) + R + S, "four octets"),
    "length beyond the end": (b"\x30" + bytes((len(R + S) + 1,)) + R + S, "bytes left"),
    "inner length beyond the outer": (b"\x30\x06\x02\x05\x01\x02\x01\x01", "bytes left"),
    "high tag number": (b"\x3f\x10\x00", "multi-octet tag"),
    "73 bytes": (seq(R, S) + bytes(73 - len(seq(R, S))), "at most 72"),
}


@pytest.mark.req("CR-05")
@pytest.mark.parametrize(("encoding", "words"), BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_signature_refused(encoding: bytes, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        der.decode_signature(encoding)
    assert caught.value.reason is Reason.E_SIGNATURE_FORMAT
    assert words in caught.value.detail


GOOD_SIGNATURES = {
    "smallest": (1, 1),
    "r has its top bit set": (0x80, 1),
    "largest": (N - 1, N - 1),
    "r + s one below n": (1, N - 2),
    "r + s one above n": (2, N - 1),
}


@pytest.mark.req("CR-05")
@pytest.mark.parametrize("pair", GOOD_SIGNATURES.values(), ids=GOOD_SIGNATURES)
def test_signature_accepted(pair: tuple[int, int]) -> None:
    assert der.decode_signature(der.encode_signature(*pair)) == pair


@pytest.mark.parametrize("pair", [(0, 1), (1, 0), (N, 1), (1, N), (1, N - 1), (-1, 1)])
def test_a_bad_pair_is_not_written(pair: tuple[int, int]) -> None:
    with pytest.raises(ValueError):
        der.encode_signature(*pair)


@given(st.integers(1, N - 1), st.integers(1, N - 1))
def test_signature_round_trip(r: int, s: int) -> None:
    if r + s != N:
        encoding = der.encode_signature(r, s)
        assert der.decode_signature(encoding) == (r, s)
        assert 8 <= len(encoding) <= der.SIGNATURE_MAX_BYTES


@given(st.binary(max_size=80))
@settings(max_examples=300)
def test_any_bytes_are_a_signature_in_one_encoding_or_refused(source: bytes) -> None:
    pair = value_or_refusal(der.decode_signature, source, Reason.E_SIGNATURE_FORMAT)
    assert pair is None or der.encode_signature(*pair) == source


GOOD_CIPHER = der.decode_cipher(octets(SM["sm2"]["encryption"]["der"]))
X, Y = der.integer(GOOD_CIPHER.x), der.integer(GOOD_CIPHER.y)
C3, C2 = der.octet_string(GOOD_CIPHER.hash), der.octet_string(GOOD_CIPHER.ciphertext)

BAD_CIPHERS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is missing"),
    "trailing byte": (seq(X, Y, C3, C2) + b"\x00", "left over"),
    "C2 missing": (seq(X, Y, C3), "cipherText: is missing"),
    "fifth field": (seq(X, Y, C3, C2, C2), "left over"),
    "x padded": (seq(der.tlv(der.INTEGER, b"\x00\x00" + X[2:]), Y, C3, C2), "not minimal"),
    "CR-10 C1 off the curve": (seq(der.integer(GOOD_CIPHER.x ^ 1), Y, C3, C2), "not on the SM2 curve"),
    "CR-10 C1 zero": (seq(der.integer(0), der.integer(0), C3, C2), "not on the SM2 curve"),
    "CR-10 x not reduced": (seq(der.integer(GOOD_CIPHER.x + curve.P), Y, C3, C2), "below p"),
    "C3 of 31 bytes": (seq(X, Y, der.octet_string(GOOD_CIPHER.hash[1:]), C2), "31 bytes"),
    "C2 empty": (seq(X, Y, C3, der.octet_string(b"")), "C2 is empty"),
    "C2 as a bit string": (seq(X, Y, C3, der.bit_string(b"12")), "expected is 0x04"),
    "too large": (bytes(der.CIPHER_MAX_BYTES + 1), "at most"),
}


@pytest.mark.req("CR-04", "CR-10")
@pytest.mark.parametrize(("encoding", "words"), BAD_CIPHERS.values(), ids=BAD_CIPHERS)
def test_cipher_refused(encoding: bytes, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        der.decode_cipher(encoding)
    assert caught.value.reason is Reason.E_CIPHERTEXT
    assert words in caught.value.detail


RAW = der.encode_cipher_c1c3c2(GOOD_CIPHER)
BAD_RAW: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "more than 97"),
    "no C2": (RAW[:97], "more than 97"),
    "C1 without 04": (b"\xf0" + RAW[2:], "begins with 0xf0"),
    "C1 compressed": (b"\x02" + RAW[1:], "begins with 0x02"),
    "C1 off the curve": (RAW[:64] + bytes((RAW[64] ^ 1,)) + RAW[65:], "not on the SM2 curve"),
}


@pytest.mark.req("CR-04")
@pytest.mark.parametrize(("raw", "words"), BAD_RAW.values(), ids=BAD_RAW)
def test_raw_cipher_refused(raw: bytes, words: str) -> None:
    for decode in (der.decode_cipher_c1c3c2, der.decode_cipher_obsolete_c1c2c3):
        with pytest.raises(ZoneGateError) as caught:
            decode(raw)
        assert caught.value.reason is Reason.E_CIPHERTEXT
        assert words in caught.value.detail


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_any_bytes_are_a_cipher_in_one_encoding_or_refused(source: bytes) -> None:
    cipher = value_or_refusal(der.decode_cipher, source, Reason.E_CIPHERTEXT)
    assert cipher is None or der.encode_cipher(cipher) == source


@given(st.integers(0, len(octets(SM["sm2"]["encryption"]["der"])) * 8 - 1))
def test_a_flipped_bit_is_another_cipher_or_refused(bit: int) -> None:
    source = bytearray(octets(SM["sm2"]["encryption"]["der"]))
    source[bit // 8] ^= 1 << bit % 8
    cipher = value_or_refusal(der.decode_cipher, bytes(source), Reason.E_CIPHERTEXT)
    assert cipher is None or der.encode_cipher(cipher) == source


@given(st.integers(min_value=0, max_value=1 << 300))
def test_integer_round_trip(value: int) -> None:
    reader = der.Reader(der.integer(value))
    assert reader.integer("value") == value
    reader.end("value")


@given(st.lists(st.integers(0, 1 << 130), max_size=8), st.integers(0, 2), st.integers(0, 39))
def test_oid_round_trip(arcs: list[int], first: int, second: int) -> None:
    dotted = ".".join(map(str, (first, second, *arcs)))
    if len(der.oid(dotted)) < 128:
        assert der.Reader(der.oid(dotted)).oid("oid") == dotted


@pytest.mark.parametrize("dotted", ["1", "3.1", "1.40", "1.2.-3", ""])
def test_not_an_oid(dotted: str) -> None:
    with pytest.raises(ValueError):
        der.oid(dotted)


BAD_OIDS = {"empty": "0600", "cut off": "060181", "arc not minimal": "06032A8001", "too long": "068181" + "01" * 129}


@pytest.mark.parametrize("encoding", BAD_OIDS.values(), ids=BAD_OIDS)
def test_oid_refused(encoding: str) -> None:
    with pytest.raises(der.DerError):
        der.Reader(bytes.fromhex(encoding)).oid("oid")


@given(st.binary(max_size=300))
def test_long_elements_round_trip(content: bytes) -> None:
    wide = content * 300
    reader = der.Reader(der.octet_string(wide))
    assert reader.read(der.OCTET_STRING, "content") == wide


def test_bit_string_of_odd_bits_is_refused() -> None:
    for encoding in (b"\x03\x02\x01\xfe", b"\x03\x00"):
        with pytest.raises(der.DerError):
            der.Reader(encoding).bit_string("bits")


def test_negative_integers_are_not_written() -> None:
    with pytest.raises(ValueError):
        der.integer(-1)
