from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL

from support.contract import value_or_refusal
from support.tls import Stock, client_hello
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.clienthello import (
    CURVE_SM2,
    CURVE_SM2_MLKEM768,
    HELLO_LIMIT_BYTES,
    SM2SIG_SM3,
    TLS_1_3,
    TLS_SM4_CCM_SM3,
    TLS_SM4_GCM_SM3,
    ClientHello,
    check_client_hello,
    parse_client_hello,
)
from zonegate.reasons import Reason

OURS = client_hello(Stock())
PLAIN = frozenset({CURVE_SM2})
HYBRID = frozenset({CURVE_SM2, CURVE_SM2_MLKEM768})
REFUSALS = (Reason.E_TLS_PROTOCOL, Reason.E_TLS_VERSION)


def parsed(data: bytes) -> ClientHello:
    hello = parse_client_hello(data)
    assert hello is not None
    return hello


GOOD = parsed(OURS)


@pytest.mark.req("TL-01")
def test_rfc8998_hello_bytes():
    """The numbers of standards.md C10 stand in the captured bytes themselves, not only in what we parsed."""
    assert b"\x00\xc6\x00\xc7" in OURS
    assert b"\x00\x0a\x00\x04\x00\x02\x00\x29" in OURS  # supported_groups: curveSM2 alone
    assert b"\x00\x0d\x00\x04\x00\x02\x07\x08" in OURS  # signature_algorithms: sm2sig_sm3 alone
    assert b"\x00\x29\x00\x41\x04" in OURS  # key_share: curveSM2, 65 bytes, an uncompressed point
    assert GOOD.suites[:2] == (TLS_SM4_GCM_SM3, TLS_SM4_CCM_SM3)
    assert (GOOD.groups, GOOD.signatures, GOOD.share_groups) == ((CURVE_SM2,), (SM2SIG_SM3,), (CURVE_SM2,))
    assert TLS_1_3 in GOOD.versions
    assert GOOD.alpn == (b"h2",)
    check_client_hello(GOOD, PLAIN)


# What a stock client was built with, and the reason that its hello is refused with; None: let through.
STOCKS = {
    "GCM alone": (Stock(suites=b"TLS_SM4_GCM_SM3"), PLAIN, None),
    "CCM alone": (Stock(suites=b"TLS_SM4_CCM_SM3"), PLAIN, None),
    "AES beside SM4": (Stock(suites=b"TLS_AES_128_GCM_SHA256:TLS_SM4_GCM_SM3"), PLAIN, None),
    "TL-04 AES only": (Stock(suites=b"TLS_AES_128_GCM_SHA256"), PLAIN, Reason.E_TLS_SUITE),
    "TL-04 stock OpenSSL": (Stock(suites=None, groups=None, signatures=None), PLAIN, Reason.E_TLS_SUITE),
    "TL-04 TLS 1.2 only": (
        Stock(minimum=SSL.TLS1_2_VERSION, maximum=SSL.TLS1_2_VERSION, groups=None, signatures=None),
        PLAIN,
        Reason.E_TLS_VERSION,
    ),
    "TL-02 P-256 only": (Stock(groups=("P-256",)), PLAIN, Reason.E_TLS_GROUP),
    "TL-02 P-256 share, curveSM2 listed": (Stock(groups=("P-256", "curveSM2")), PLAIN, Reason.E_TLS_GROUP),
    "TL-02 ECDSA signatures only": (Stock(signatures=("ecdsa_secp256r1_sha256",)), PLAIN, Reason.E_TLS_SIGNATURE),
    "TL-11 hybrid first, curveSM2 listed": (Stock(groups=("curveSM2MLKEM768", "curveSM2")), PLAIN, None),
    "TL-11 hybrid alone, off here": (Stock(groups=("curveSM2MLKEM768",)), PLAIN, Reason.E_TLS_GROUP),
    "TL-11 hybrid alone, on here": (Stock(groups=("curveSM2MLKEM768",)), HYBRID, None),
    "no ALPN": (Stock(alpn=()), PLAIN, Reason.E_TLS_ALPN),
    "http/1.1 only": (Stock(alpn=(b"http/1.1",)), PLAIN, Reason.E_TLS_ALPN),
    "h2 among others": (Stock(alpn=(b"http/1.1", b"h2")), PLAIN, None),
}


@pytest.mark.req("TL-02", "TL-04")
@pytest.mark.parametrize(("stock", "groups", "reason"), STOCKS.values(), ids=STOCKS)
def test_hellos_of_real_clients(stock: Stock, groups: frozenset[int], reason: Reason | None):
    hello = parsed(client_hello(stock))
    if reason is None:
        check_client_hello(hello, groups)
        return
    with pytest.raises(ZoneGateError) as caught:
        check_client_hello(hello, groups)
    assert caught.value.reason is reason


# One field of a good hello changed.
EDITS = {
    "version missing": ({"versions": ()}, Reason.E_TLS_VERSION),
    "legacy version 1.3": ({"legacy_version": 0x0304}, Reason.E_TLS_PROTOCOL),
    "suite next to GCM": ({"suites": (0x00C5, 0x00C8)}, Reason.E_TLS_SUITE),
    "group next to curveSM2": ({"groups": (40, 42)}, Reason.E_TLS_GROUP),
    "no share": ({"share_groups": ()}, Reason.E_TLS_GROUP),
    "signature next to sm2sig_sm3": ({"signatures": (0x0707, 0x0709)}, Reason.E_TLS_SIGNATURE),
    "certificate signatures without SM2": ({"certificate_signatures": (0x0403,)}, Reason.E_TLS_SIGNATURE),
    "certificate signatures with SM2": ({"certificate_signatures": (0x0403, SM2SIG_SM3)}, None),
    "alpn H2": ({"alpn": (b"H2",)}, Reason.E_TLS_ALPN),
}


@pytest.mark.parametrize(("change", "reason"), EDITS.values(), ids=EDITS)
def test_edited_hello(change: dict[str, tuple[int, ...]], reason: Reason | None):
    hello = replace(GOOD, **change)
    if reason is None:
        check_client_hello(hello, PLAIN)
        return
    with pytest.raises(ZoneGateError) as caught:
        check_client_hello(hello, PLAIN)
    assert caught.value.reason is reason


def record(message: bytes, version: bytes = b"\x03\x01") -> bytes:
    return b"\x16" + version + len(message).to_bytes(2, "big") + message


MESSAGE = OURS[5:]
BAD = {
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Reason.E_TLS_PROTOCOL),
    "HTTP/1 request": (b"GET / HTTP/1.1\r\n", Reason.E_TLS_PROTOCOL),
    "zeros": (bytes(64), Reason.E_TLS_PROTOCOL),
    "application data first": (b"\x17\x03\x03\x00\x01\x00", Reason.E_TLS_PROTOCOL),
    "server hello": (record(b"\x02" + MESSAGE[1:]), Reason.E_TLS_PROTOCOL),
    "empty record": (b"\x16\x03\x01\x00\x00", Reason.E_TLS_PROTOCOL),
    "record of 16385": (b"\x16\x03\x01\x40\x01", Reason.E_TLS_PROTOCOL),
    "bytes after the hello": (record(MESSAGE + b"\x00"), Reason.E_TLS_PROTOCOL),
    "hello of 8193": (record(b"\x01" + (HELLO_LIMIT_BYTES + 1).to_bytes(3, "big")), Reason.E_TLS_PROTOCOL),
    "record version 4.0": (record(MESSAGE, b"\x04\x00"), Reason.E_TLS_PROTOCOL),
    "TL-04 SSL 2 hello": (bytes.fromhex("802e0100020015000000100100800300"), Reason.E_TLS_VERSION),
    "TL-04 TLCP 1.1": (record(MESSAGE, b"\x01\x01"), Reason.E_TLS_VERSION),
}


@pytest.mark.parametrize(("data", "reason"), BAD.values(), ids=BAD)
def test_not_a_hello(data: bytes, reason: Reason):
    with pytest.raises(ZoneGateError) as caught:
        parse_client_hello(data)
    assert caught.value.reason is reason


def test_tls_1_0_hello_without_extensions_is_too_old_not_garbage():
    body = b"\x03\x01" + bytes(32) + b"\x00" + b"\x00\x02\x00\x2f" + b"\x01\x00"
    hello = parsed(record(b"\x01" + len(body).to_bytes(3, "big") + body))
    with pytest.raises(ZoneGateError, match=r"TLS 1\.0") as caught:
        check_client_hello(hello, PLAIN)
    assert caught.value.reason is Reason.E_TLS_VERSION


def test_every_prefix_is_incomplete():
    assert all(parse_client_hello(OURS[:size]) is None for size in range(len(OURS)))


def test_a_peer_that_never_completes_is_cut_by_size():
    header = b"\x01" + HELLO_LIMIT_BYTES.to_bytes(3, "big")
    drip = record(header) + b"".join(record(b"\x00") for _ in range(HELLO_LIMIT_BYTES))
    with pytest.raises(ZoneGateError, match="not complete"):
        parse_client_hello(drip[: HELLO_LIMIT_BYTES + 1025])


@given(st.lists(st.integers(1, 400), max_size=40))
def test_fragments_in_any_records_read_alike(sizes: list[int]):
    rest, data = MESSAGE, b""
    for size in sizes:
        piece, rest = rest[:size], rest[size:]
        if piece:
            data += record(piece)
    if rest:
        data += record(rest)
    assert parsed(data) == GOOD


@settings(max_examples=300)
@given(st.binary(max_size=600))
@example(b"\x16")
@example(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00")
def test_any_bytes_give_a_value_or_one_named_error(data: bytes):
    value_or_refusal(parse_client_hello, data, *REFUSALS)


@settings(max_examples=300)
@given(st.binary(max_size=600))
def test_any_hello_body_gives_a_value_or_one_named_error(body: bytes):
    value_or_refusal(parse_client_hello, record(b"\x01" + len(body).to_bytes(3, "big") + body), *REFUSALS)


@settings(max_examples=300)
@given(st.integers(0, len(OURS) - 1), st.integers(0, 255))
def test_any_changed_byte_gives_a_value_or_one_named_error(position: int, value: int):
    data = OURS[:position] + bytes([value]) + OURS[position + 1 :]
    hello = value_or_refusal(parse_client_hello, data, *REFUSALS)
    if hello is not None:
        reasons = [reason for reason in Reason if reason.startswith("E_TLS_")]
        value_or_refusal(lambda _data: check_client_hello(hello, PLAIN), data, *reasons)
