"""Strict decoding: what is refused, where, and that what leaves is a new encoding."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.descriptors import OPTIONAL, F, any_file, file_set, old_file, statistics_file, statistics_set
from zonegate.errors import ZoneGateError
from zonegate.gateway.inspect.schema import Schemas
from zonegate.gateway.inspect.wire import ANY_PREFIX
from zonegate.reasons import Reason

SCHEMAS = Schemas(statistics_set())
FLAT = SCHEMAS.filter("stats.v1.Report", max_bytes=1000)
RICH = SCHEMAS.filter("stats.v1.Rich", any_types=["stats.v1.Line", "stats.v1.Rich"])
CLOSED = SCHEMAS.filter("stats.v1.Rich")
OLD = Schemas(file_set(old_file())).filter("old.Paper")


def block(number: int, content: bytes) -> bytes:
    """One length-delimited field, `content` below 16 KiB."""
    size = len(content)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])) + length + content


def an_any(name: str, value: bytes) -> bytes:
    return block(8, block(1, (ANY_PREFIX + name).encode()) + block(2, value))


def nested(depth: int) -> bytes:
    content = b""
    for _ in range(depth - 1):
        content = block(7, content)
    return content


LINE = block(1, "杭州".encode())

PASSES = {
    "empty": (FLAT, b""),
    "flat": (FLAT, block(1, b"organ") + b"\x18\x05" + block(4, LINE)),
    "enum": (RICH, b"\x08\x02"),
    "negative enum": (RICH, b"\x08\xfb\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
    "packed enums": (RICH, block(2, b"\x01\x02")),
    "map of messages": (RICH, block(3, block(1, b"a") + block(2, LINE))),
    "map of enums": (RICH, block(4, b"\x08\x07\x10\x01")),
    "oneof": (RICH, block(6, LINE)),
    "listed any": (RICH, an_any("stats.v1.Line", LINE)),
    "any in any": (RICH, an_any("stats.v1.Rich", an_any("stats.v1.Line", LINE))),
    "depth at the bound": (RICH, nested(32)),
    "packed fixed": (RICH, block(10, bytes(8))),
    "wide tag": (RICH, b"\xa1\x01" + bytes(7) + b"\x01"),
    "proto2 group and extension": (OLD, block(1, b"t") + b"\x1b\x08\x01\x1c" + b"\xa2\x06\x01s"),
}


@pytest.mark.req("XZ-02")
@pytest.mark.parametrize(("schema", "message"), PASSES.values(), ids=PASSES)
def test_canonical_messages_pass_unchanged(schema, message):
    assert schema.check(message) == message


ANEW = {
    "unpacked enums are packed": (RICH, b"\x10\x01\x10\x02", block(2, b"\x01\x02")),
    "long varints are shortened": (FLAT, b"\x18\x85\x80\x00", b"\x18\x05"),
    "long tags are shortened": (FLAT, b"\x98\x80\x00\x05", b"\x18\x05"),
    "fields are put in order": (FLAT, b"\x18\x05" + block(1, b"o"), block(1, b"o") + b"\x18\x05"),
    "the last value of a field stays": (FLAT, b"\x18\x05\x18\x06", b"\x18\x06"),
    "the last member of a oneof stays": (RICH, block(5, b"hidden") + block(6, LINE), block(6, LINE)),
    "the content of an any is encoded anew": (
        RICH,
        an_any("stats.v1.Line", LINE + LINE),
        an_any("stats.v1.Line", LINE),
    ),
}


@pytest.mark.req("XZ-02")
@pytest.mark.parametrize(("schema", "message", "wanted"), ANEW.values(), ids=ANEW)
def test_what_leaves_is_encoded_anew(schema, message, wanted):
    assert schema.check(message) == wanted


REFUSED = {
    "unknown field": (FLAT, block(9, b"x"), "has the unknown field 9"),
    "unknown varint field": (FLAT, b"\x78\x01", "has the unknown field 15"),
    "unknown field in a repeated message": (FLAT, block(4, LINE + b"\x78\x01"), "lines: has the unknown field 15"),
    "unknown field in a map value": (RICH, block(3, block(2, b"\x78\x01")), "by_area.value: has the unknown field 15"),
    "unknown field in a map entry": (RICH, block(3, block(1, b"a") + b"\x78\x01"), "by_area: has the unknown field 15"),
    "unknown field in a oneof": (RICH, block(6, b"\x78\x01"), "line: has the unknown field 15"),
    "unknown field in a listed any": (RICH, an_any("stats.v1.Line", b"\x78\x01"), "extra: has the unknown field 15"),
    "wrong wire type": (FLAT, block(3, b"x"), "count: has wire type 2, the descriptor says 0"),
    "a number where a string stands": (FLAT, b"\x08\x01", "organ: has wire type 0"),
    "group in proto3": (FLAT, b"\x0b\x0c", "organ: has wire type 3"),
    "field number 0": (FLAT, b"\x00", "has field number 0"),
    "trailing byte": (FLAT, b"\x18\x05\x18", "count: is cut off"),
    "trailing garbage": (FLAT, b"\x18\x05\xff\xff\xff", "is cut off"),
    "truncated string": (FLAT, b"\x0a\x05ab", "organ: is cut off: 5 bytes announced, 2 there"),
    "truncated double": (FLAT, block(4, b"\x11\x00"), "lines.value: is cut off"),
    "varint of 11 bytes": (FLAT, b"\x18" + b"\xff" * 10 + b"\x01", "count: is cut off or not a number"),
    "invalid UTF-8": (FLAT, block(4, block(1, b"a\xff")), "lines.area: is not UTF-8 at byte 1"),
    "invalid UTF-8 in a map key": (RICH, block(3, block(1, b"\xff")), "by_area.key: is not UTF-8"),
    "unknown enum value": (RICH, b"\x08\x03", "kind: has the unknown enum value 3"),
    "unknown enum value in a list": (RICH, b"\x10\x01\x10\x09", "kinds: has the unknown enum value 9"),
    "unknown enum value, packed": (RICH, block(2, b"\x01\x09"), "kinds: has the unknown enum value 9"),
    "unknown enum value in a map": (
        RICH,
        block(4, b"\x08\x01\x10\x09"),
        "kind_by_age.value: has the unknown enum value 9",
    ),
    "unknown enum value in a nested message": (RICH, block(7, b"\x08\x03"), "child.kind: has the unknown enum value 3"),
    "an enum overwritten later": (RICH, b"\x08\x03\x08\x01", "kind: has the unknown enum value 3"),
    "any where none is listed": (CLOSED, an_any("stats.v1.Line", LINE), "extra: is an Any of"),
    "any of another type": (RICH, an_any("stats.v1.Report", b""), "which the resource does not list"),
    "any of another host": (RICH, block(8, block(1, b"evil.example/stats.v1.Line")), "evil.example/stats.v1.Line"),
    "empty any": (RICH, block(8, b""), "is an Any of ''"),
    "any with a third field": (RICH, block(8, b"\x18\x01"), "extra: has the unknown field 3"),
    "any with its value twice": (
        RICH,
        block(8, block(1, b"type.googleapis.com/stats.v1.Line") + block(2, LINE) + block(2, b"\x78\x01")),
        "twice",
    ),
    "two anys that merge": (
        RICH,
        an_any("stats.v1.Rich", block(5, b"t")) + block(8, block(1, b"type.googleapis.com/stats.v1.Line")),
        "has the unknown field 5",
    ),
    "too deep": (RICH, nested(33), "nests deeper than 32 messages"),
    "far too deep": (RICH, nested(2000), "nests deeper than 32 messages"),
    "packed fixed of a bad length": (RICH, block(10, bytes(5)), "fixed: is cut off"),
    "proto2: required field missing": (OLD, b"", "title"),
    "proto2: invalid UTF-8": (OLD, block(1, b"\xff"), "title: is not UTF-8"),
    "proto2: invalid UTF-8 in an extension": (OLD, block(1, b"t") + b"\xa2\x06\x01\xff", "[old.stamp]: is not UTF-8"),
    "proto2: unknown value of a closed enum": (
        OLD,
        block(1, b"t") + b"\x10\x07",
        "level: has the unknown enum value 7",
    ),
    "proto2: unknown field in a group": (OLD, block(1, b"t") + b"\x1b\x10\x01\x1c", "part: has the unknown field 2"),
    "proto2: group that does not end": (OLD, block(1, b"t") + b"\x1b\x08\x01", "part: is cut off"),
}


@pytest.mark.req("XZ-02", "CI-08")
@pytest.mark.parametrize(("schema", "message", "detail"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_described_is_refused_by_field(schema, message, detail):
    with pytest.raises(ZoneGateError) as caught:
        schema.check(message)
    assert caught.value.reason is Reason.E_SCHEMA
    assert detail in caught.value.detail


def test_a_message_above_the_bound_is_refused_before_it_is_decoded():
    with pytest.raises(ZoneGateError) as caught:
        FLAT.check(b"\xff" * 1001)
    assert caught.value.reason is Reason.E_MESSAGE_SIZE
    assert "1001 bytes, 1000 are allowed" in caught.value.detail


def test_growth_by_encoding_anew_is_bounded_too():
    file = descriptor_pb2.FileDescriptorProto(name="g.proto", package="g")
    message = file.message_type.add(name="M")
    message.field.add(name="n", number=1000, type=F.TYPE_INT32, label=F.LABEL_REPEATED)
    schema = Schemas(file_set(file)).filter("g.M", max_bytes=100)
    packed = b"\xc2\x3e\x50" + b"\x01" * 80
    with pytest.raises(ZoneGateError) as caught:
        schema.check(packed)
    assert caught.value.reason is Reason.E_MESSAGE_SIZE


SETS = {
    "not a set": (b"\xff\xff", "is not a serialized"),
    "empty": (b"", "holds no file"),
    "import missing": (file_set(statistics_file()), "--include_imports"),
    "a file twice": (file_set(any_file(), any_file()), "twice"),
    "a type that is not there": (
        file_set(
            descriptor_pb2.FileDescriptorProto(
                name="x.proto",
                message_type=[
                    descriptor_pb2.DescriptorProto(
                        name="M", field=[F(name="a", number=1, type=F.TYPE_MESSAGE, type_name=".No", label=OPTIONAL)]
                    )
                ],
            )
        ),
        "cannot be built",
    ),
    "too large": (bytes((4 << 20) + 1), "are allowed"),
}


@pytest.mark.parametrize(("data", "detail"), SETS.values(), ids=SETS)
def test_a_bad_descriptor_set_is_refused_with_its_fault(data, detail):
    with pytest.raises(ZoneGateError) as caught:
        Schemas(data)
    assert caught.value.reason is Reason.E_SCHEMA
    assert detail in caught.value.detail


def test_types_come_from_the_set_and_from_nowhere_else():
    assert SCHEMAS.method_types("/stats.v1.Statistics/Submit") == ("stats.v1.Report", "stats.v1.Line")
    for ask in (
        lambda: SCHEMAS.filter("google.protobuf.Struct"),
        lambda: SCHEMAS.filter("stats.v1.Rich", any_types=["stats.v1.None"]),
        lambda: SCHEMAS.method_types("/stats.v1.Statistics/Drop"),
        lambda: SCHEMAS.method_types("nonsense"),
    ):
        with pytest.raises(ZoneGateError) as caught:
            ask()
        assert caught.value.reason is Reason.E_SCHEMA


def _message_class(name):
    pool = descriptor_pool.DescriptorPool()
    pool.Add(any_file())
    pool.Add(statistics_file())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


RICH_CLASS = _message_class("stats.v1.Rich")


def outcome(call):
    """The value, or the reason; any other exception fails the test."""
    try:
        return call()
    except ZoneGateError as error:
        return error.reason


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
@example(b"\x0b\x0c")
@example(block(8, b""))
def test_any_bytes_give_a_value_or_one_error(message):
    for schema in (FLAT, RICH, OLD):
        known = outcome(lambda schema=schema: schema.check(message))
        assert known is Reason.E_SCHEMA or schema.check(known) == known


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_what_the_walk_allows_the_runtime_reads_alike(data):
    """A mutated message is refused, or what leaves means what another decoder reads in what came."""
    message = RICH_CLASS(
        kind=1, kinds=[1, 2], text=data.draw(st.text(max_size=5)), blob=data.draw(st.binary(max_size=5)), fixed=[1]
    )
    message.by_area["a"].value = 1.5
    message.kind_by_age[3] = 2
    message.child.line.area = "b"
    raw = bytearray(message.SerializeToString())
    assert RICH.check(bytes(raw)) == message.SerializeToString(deterministic=True)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    known = outcome(lambda: RICH.check(bytes(raw)))
    assert known is Reason.E_SCHEMA or RICH_CLASS.FromString(known) == RICH_CLASS.FromString(bytes(raw))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_as_a_descriptor_set_give_a_value_or_one_error(data):
    loaded = outcome(lambda: Schemas(data))
    assert loaded is Reason.E_SCHEMA or isinstance(loaded, Schemas)
