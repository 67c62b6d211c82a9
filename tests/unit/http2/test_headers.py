"""RFC 9113 section 8.2 and 8.3: what a field and a header list may say. Each refused row is next to a granted one."""

import pytest
from hpack import Decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.gateway.http2.headers import (
    VOLATILE_NAMES,
    HeaderBlock,
    Kind,
    MalformedError,
    StablePart,
    encode,
    literal,
)

GOOD_REQUEST = [
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/a.B/C"),
    (b":authority", b"x:1"),
]
GOOD_RESPONSE = [(b":status", b"200")]


def part(pairs: list[tuple[bytes, bytes]], kind: Kind) -> StablePart:
    return StablePart(tuple(literal(name, value) for name, value in pairs), kind)


NAMES = {
    "8.2.1 token characters": (b"x-!#$%&'*+.^_`|~09az", True),
    "8.2.1 upper case": (b"X-a", False),
    "8.2.1 upper case inside": (b"x-aBc", False),
    "8.2.1 empty": (b"", False),
    "8.2.1 space": (b"x a", False),
    "8.2.1 NUL": (b"x\0", False),
    "8.2.1 CR": (b"x\r", False),
    "8.2.1 LF": (b"x\n", False),
    "8.2.1 DEL": (b"x\x7f", False),
    "8.2.1 obs-text": (b"x\xe4", False),
    "8.2.1 colon inside": (b"x:y", False),
    "8.3 colon first": (b":path", True),
    "8.3 colon alone": (b":", False),
    "5.6.2 delimiter": (b"x(y", False),
}


@pytest.mark.parametrize(("name", "legal"), NAMES.values(), ids=NAMES)
def test_field_name(name: bytes, legal: bool) -> None:
    if legal:
        assert literal(name, b"1").name == name
    else:
        with pytest.raises(MalformedError):
            literal(name, b"1")


VALUES = {
    "8.2.1 empty": (b"", True),
    "8.2.1 one character": (b"x", True),
    "8.2.1 space inside": (b"a b", True),
    "8.2.1 tab inside": (b"a\tb", True),
    "5.5 obs-text": (b"\xe4\xff", True),
    "8.2.1 space first": (b" a", False),
    "8.2.1 space last": (b"a ", False),
    "8.2.1 tab first": (b"\ta", False),
    "8.2.1 tab last": (b"a\t", False),
    "8.2.1 space alone": (b" ", False),
    "8.2.1 NUL": (b"a\0b", False),
    "8.2.1 CR": (b"a\rb", False),
    "8.2.1 LF": (b"a\nb", False),
    "8.2.1 LF last": (b"a\n", False),
    "5.5 other control character": (b"a\x01b", False),
    "5.5 DEL": (b"a\x7fb", False),
}


@pytest.mark.parametrize(("value", "legal"), VALUES.values(), ids=VALUES)
def test_field_value(value: bytes, legal: bool) -> None:
    if legal:
        assert literal(b"x", value).value == value
    else:
        with pytest.raises(MalformedError):
            literal(b"x", value)


REQUESTS = {
    "8.3.1 the four": ([], [], True),
    "8.3.1 regular fields after them": ([], [(b"te", b"trailers"), (b"x", b"1")], True),
    "8.3.1 no :method": ([b":method"], [], False),
    "8.3.1 no :scheme": ([b":scheme"], [], False),
    "8.3.1 no :path": ([b":path"], [], False),
    "8.3.1 no :authority": ([b":authority"], [], False),
    "8.3.1 empty :path": ([b":path"], [(b":path", b"")], False),
    "8.3.1 relative :path": ([b":path"], [(b":path", b"a")], False),
    "8.3.1 * with POST": ([b":path"], [(b":path", b"*")], False),
    "8.3.1 * with OPTIONS": ([b":method", b":path"], [(b":method", b"OPTIONS"), (b":path", b"*")], True),
    "8.3.1 user information": ([b":authority"], [(b":authority", b"u@x")], False),
    "8.3.1 host equal": ([], [(b"host", b"x:1")], True),
    "8.3.1 host different": ([], [(b"host", b"y")], False),
    "8.3 :path twice": ([], [(b":path", b"/a.B/C")], False),
    "8.3 :status in a request": ([], [(b":status", b"200")], False),
    "8.3 unknown pseudo-header": ([], [(b":protocol", b"x")], False),
    "8.3 pseudo-header after a field": ([b":path"], [(b"x", b"1"), (b":path", b"/a")], False),
    "8.2.2 connection": ([], [(b"connection", b"close")], False),
    "8.2.2 proxy-connection": ([], [(b"proxy-connection", b"close")], False),
    "8.2.2 keep-alive": ([], [(b"keep-alive", b"1")], False),
    "8.2.2 transfer-encoding": ([], [(b"transfer-encoding", b"chunked")], False),
    "8.2.2 upgrade": ([], [(b"upgrade", b"x")], False),
    "8.2.2 te other than trailers": ([], [(b"te", b"gzip")], False),
    "8.2.2 te list": ([], [(b"te", b"trailers, gzip")], False),
    "8.2.2 te by case": ([], [(b"te", b"Trailers")], True),
    "8.1.1 content-length": ([], [(b"content-length", b"12")], True),
    "8.1.1 content-length twice, equal": ([], [(b"content-length", b"12"), (b"content-length", b"12")], True),
    "8.1.1 content-length twice, different": ([], [(b"content-length", b"12"), (b"content-length", b"13")], False),
    "8.1.1 content-length no number": ([], [(b"content-length", b"-1")], False),
    "8.1.1 content-length endless": ([], [(b"content-length", b"9" * 20)], False),
}


@pytest.mark.parametrize(("without", "more", "legal"), REQUESTS.values(), ids=REQUESTS)
def test_request(without: list[bytes], more: list[tuple[bytes, bytes]], legal: bool) -> None:
    pairs = [(name, value) for name, value in GOOD_REQUEST if name not in without] + more
    if legal:
        assert len(part(pairs, Kind.REQUEST).fields) == len(pairs)
    else:
        with pytest.raises(MalformedError):
            part(pairs, Kind.REQUEST)


RESPONSES = {
    "8.3.2 200": ([(b":status", b"200")], True),
    "8.3.2 599": ([(b":status", b"599")], True),
    "8.3.2 100": ([(b":status", b"100")], True),
    "8.6 101": ([(b":status", b"101")], False),
    "8.3.2 99": ([(b":status", b"99")], False),
    "8.3.2 600": ([(b":status", b"600")], False),
    "8.3.2 no number": ([(b":status", b"2x0")], False),
    "8.3.2 none": ([(b"x", b"1")], False),
    "8.3.2 twice": ([(b":status", b"200"), (b":status", b"200")], False),
    "8.3 request's pseudo-header": ([(b":status", b"200"), (b":path", b"/")], False),
    "8.3 after a field": ([(b"x", b"1"), (b":status", b"200")], False),
}


@pytest.mark.parametrize(("pairs", "legal"), RESPONSES.values(), ids=RESPONSES)
def test_response(pairs: list[tuple[bytes, bytes]], legal: bool) -> None:
    if legal:
        assert part(pairs, Kind.RESPONSE).informational is pairs[0][1].startswith(b"1")
    else:
        with pytest.raises(MalformedError):
            part(pairs, Kind.RESPONSE)


def test_8_1_trailers_have_no_pseudo_headers() -> None:
    assert part([(b"grpc-status", b"0")], Kind.TRAILERS).pseudo == 0
    with pytest.raises(MalformedError):
        part([(b":status", b"200")], Kind.TRAILERS)


def test_the_size_of_a_list_is_name_value_and_32_a_field() -> None:
    assert part([(b"ab", b"cde"), (b"f", b"")], Kind.TRAILERS).size == 5 + 32 + 1 + 32


def test_a_block_answers_from_both_parts() -> None:
    stable = part([(b"x", b"1"), (b"x", b"2"), (b"y", b"3")], Kind.TRAILERS)
    block = HeaderBlock(stable, (literal(b"grpc-timeout", b"1S"),))
    assert block.get(b"x") == b"1"
    assert block.values(b"x") == (b"1", b"2")
    assert block.get(b"grpc-timeout") == b"1S"
    assert block.get(b"z") is None
    assert block.values(b"z") == ()
    assert block.cacheable


def test_7_1_3_a_sensitive_value_is_sent_never_indexed_and_not_shown() -> None:
    field = literal(b"authorization", b"very secret", sensitive=True)
    assert field.wire[0] == 0x10
    assert b"secret" not in repr(field).encode()
    assert not HeaderBlock(StablePart((field,), Kind.TRAILERS), ()).cacheable


def test_the_volatile_names_are_those_that_no_rule_reads() -> None:
    # a rule's input must be part of the key under which its decision is kept
    assert not VOLATILE_NAMES & {b"zg-purpose", b"zg-case", b"zg-label", b"zg-resource", b"content-type", b"te"}


NAME = st.from_regex(rb"[a-z][a-z0-9-]{0,40}", fullmatch=True)
VALUE = st.binary(max_size=300).filter(lambda v: v == v.strip(b" \t") and not any(c < 32 or c == 127 for c in v))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(NAME, VALUE, st.booleans()), max_size=8))
def test_what_is_encoded_the_hpack_library_decodes(rows: list[tuple[bytes, bytes, bool]]) -> None:
    fields = [literal(name, value, sensitive=sensitive) for name, value, sensitive in rows]
    decoder = Decoder()
    decoded = decoder.decode(encode(fields), raw=True)
    assert [(bytes(h[0]), bytes(h[1]), not h.indexable) for h in decoded] == rows
    assert not decoder.header_table.dynamic_entries
