"""What is read from a call's metadata; each refusal beside the value that is just right."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.errors import ZoneGateError
from zonegate.gateway import metadata
from zonegate.gateway.http2.headers import HeaderBlock, Kind, StablePart, literal
from zonegate.reasons import Reason

BASE = ((":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), (":authority", "x"))
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))


def block(
    *pairs: tuple[str, str], base: tuple[tuple[str, str], ...] = BASE, grpc: tuple[tuple[str, str], ...] = GRPC
) -> HeaderBlock:
    fields = [literal(name.encode(), value.encode()) for name, value in (*base, *grpc, *pairs)]
    stable = tuple(field for field in fields if not field.volatile)
    volatile = tuple(field for field in fields if field.volatile)
    return HeaderBlock(StablePart(stable, Kind.REQUEST), volatile)


def test_everything_a_caller_may_say() -> None:
    read = metadata.read_request(
        block(
            ("zg-resource", "echo"),
            ("zg-purpose", "%E6%A0%B8%E9%AA%8C"),
            ("zg-case", "A-1"),
            ("zg-label", "L2;cat=%E7%BA%AA%E6%A3%80"),
            ("zg-declared-by", "connector"),
            ("x-note", "n"),
        )
    )
    assert (read.path, read.resource, read.purpose, read.case) == ("/a.B/C", "echo", "核验", "A-1")
    assert read.label == "L2;cat=%E7%BA%AA%E6%A3%80", "the label's own parser undoes its encoding"
    assert read.declared_by_connector
    assert [field.name for field in read.others] == [b"x-note"]
    assert [field.name for field in read.protocol] == [b"content-type", b"te"]
    assert read.spoofed == 0


@pytest.mark.req("TL-06")
@pytest.mark.parametrize(
    "name", ["zg-caller-organ", "zg-caller-anything", "zg-peer-uri", "zg-receipt-bin", "zg-reason", "zg-ticket-x"]
)
def test_reserved_names_are_counted_and_never_pass(name: str) -> None:
    read = metadata.read_request(block((name, "AAAA")))
    assert read.spoofed == 1
    assert not read.others


REFUSED = {
    "purpose twice": ((("zg-purpose", "a"), ("zg-purpose", "a")), Reason.E_METADATA),
    "purpose not UTF-8": ((("zg-purpose", "%FF"),), Reason.E_METADATA),
    "purpose with a line break": ((("zg-purpose", "a%0Ab"),), Reason.E_METADATA),
    "purpose too long": ((("zg-purpose", "a" * 513),), Reason.E_METADATA),
    "purpose empty": ((("zg-purpose", ""),), Reason.E_METADATA),
    "case with a bidi-less control": ((("zg-case", "%C2%85"),), Reason.E_METADATA),
}


@pytest.mark.parametrize(("pairs", "reason"), REFUSED.values(), ids=REFUSED)
def test_refused(pairs: tuple[tuple[str, str], ...], reason: Reason) -> None:
    with pytest.raises(ZoneGateError) as caught:
        metadata.read_request(block(*pairs))
    assert caught.value.reason is reason


def test_the_longest_purpose_passes() -> None:
    assert metadata.read_request(block(("zg-purpose", "a" * 512))).purpose == "a" * 512


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto", "application/grpc;x=1"])
def test_grpc_content_types(content_type: str) -> None:
    assert metadata.read_request(block(grpc=(("content-type", content_type),))).path == "/a.B/C"


@pytest.mark.parametrize("grpc", [(), (("content-type", "application/grpcx"),), (("content-type", "text/html"),)])
def test_what_is_not_grpc_is_refused(grpc: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(ZoneGateError) as caught:
        metadata.read_request(block(grpc=grpc))
    assert caught.value.reason is Reason.E_HTTP2


def test_a_get_is_refused() -> None:
    base = ((":method", "GET"), *BASE[1:])
    with pytest.raises(ZoneGateError, match="POST"):
        metadata.read_request(block(base=base))


TIMEOUTS = {"1S": 1.0, "100m": 0.1, "99999999H": 99999999 * 3600.0, "5u": 5e-6, "7n": 7e-9, "2M": 120.0}


@pytest.mark.parametrize(("text", "seconds"), TIMEOUTS.items())
def test_timeouts(text: str, seconds: float) -> None:
    assert metadata.read_timeout(text.encode()) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "123456789S", "1s", "-1S", "1.5S", "1 S"])
def test_malformed_timeouts(text: str) -> None:
    with pytest.raises(ZoneGateError, match="grpc-timeout"):
        metadata.read_timeout(text.encode())


def test_crossing_ids() -> None:
    crossing = "0123456789abcdef0123456789ab"
    assert metadata.read_crossing(block(("zg-crossing", crossing))) == crossing
    assert metadata.crossing_wire(crossing) == literal(b"zg-crossing", crossing.encode()).wire
    for wrong in (crossing[:-1], crossing + "0", crossing.upper(), "z" * 28):
        with pytest.raises(ZoneGateError, match="zg-crossing"):
            metadata.read_crossing(block(("zg-crossing", wrong)))
    with pytest.raises(ZoneGateError, match="missing"):
        metadata.read_crossing(block())


def test_trace_ids_are_hints() -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert metadata.read_trace(block(("traceparent", f"00-{trace}-00f067aa0ba902b7-01"))) == trace
    assert metadata.read_trace(block(("traceparent", "nonsense"))) == ""
    assert metadata.read_trace(block(("traceparent", f"00-{'z' * 32}-00f067aa0ba902b7-01"))) == ""
    assert metadata.read_trace(block()) == ""


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_quoted_text_is_read_back(text: str) -> None:
    try:
        wire = metadata.quoted(text)
    except UnicodeEncodeError:
        return  # a lone surrogate is no text
    try:
        assert metadata.read_text(b"zg-purpose", wire) == text
    except ZoneGateError as error:
        assert error.reason is Reason.E_METADATA


@settings(max_examples=300)
@given(st.binary(max_size=600))
def test_any_value_is_text_or_one_named_error(value: bytes) -> None:
    for read in (metadata.read_text, metadata.read_binary):
        try:
            read(b"zg-purpose", value)
        except ZoneGateError as error:
            assert error.reason is Reason.E_METADATA


@given(st.binary(max_size=100))
def test_binary_round_trip(value: bytes) -> None:
    assert metadata.read_binary(b"x-bin", metadata.write_binary(value)) == value
