"""The types of document fields, catalogue codes and descriptors: what is taken, and the neighbour that is not."""

from datetime import UTC, datetime

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from support.descriptors import any_file, file_set, old_file, statistics_file, statistics_set
from zonegate.identity import Net
from zonegate.policies import fields
from zonegate.policies.builtin import builtin_documents
from zonegate.policies.catalogue import Attribute, ResourceCode, parse_resource_code
from zonegate.policies.descriptor import DESCRIPTOR_MAX_BYTES, FILES_MAX, read_descriptor
from zonegate.policies.labels import Label, Level

UTC_MIDNIGHT_IN_CHINA = datetime(2029, 12, 31, 16, tzinfo=UTC)

TAKEN = {
    "name": (fields.Name, "a", "a"),
    "name of 64": (fields.Name, "a" * 64, "a" * 64),
    "level": (fields.LevelField, "L3", Level.L3),
    "level with its word": (fields.LevelField, "L3 秘密", Level.L3),
    "label with the level's word": (
        fields.LabelField,
        "L1 内部;cat=案件",
        Label(Level.L1, frozenset({"案件"})),
    ),
    "flag": (fields.Flag, "true", True),
    "integer": (fields.Integer, "0", 0),
    "number": (fields.Number, "0.5", 0.5),
    "first day": (fields.Begin, "2030-01-01", UTC_MIDNIGHT_IN_CHINA),
    "last day": (fields.End, "2029-12-31", UTC_MIDNIGHT_IN_CHINA),
    "instant in China": (fields.Begin, "2030-01-01T00:00:00+08:00", UTC_MIDNIGHT_IN_CHINA),
    "instant in UTC": (fields.End, "2029-12-31T16:00:00Z", UTC_MIDNIGHT_IN_CHINA),
    "method": (fields.MethodPath, "/a.b_c.V1/Do_It", "/a.b_c.V1/Do_It"),
    "metadata": (fields.MetadataKey, "x-note-bin", "x-note-bin"),
    "file": (fields.FileName, "a/b-c.binpb", "a/b-c.binpb"),
    "code": (fields.Code, "1010010001/000001", "1010010001/000001"),
    "code without 细目": (fields.Code, "310203/1", "310203/1"),
    "category": (fields.Category, "纪检", "纪检"),
    "list": (fields.ListOf[fields.Name], ["a", "b"], ("a", "b")),
    "empty list": (fields.ListOf[fields.Name], [], ()),
}

REFUSED = {
    "name of 65": (fields.Name, "a" * 65),
    "name with a capital": (fields.Name, "Aa"),
    "name that ends with a dash": (fields.Name, "a-"),
    "name with a newline": (fields.Name, "a\n"),
    "no text": (fields.Name, None),
    "level with another word": (fields.LevelField, "L3 机密"),
    "word alone": (fields.LevelField, "秘密"),
    "label with a bad day": (fields.LabelField, "L1;until=2030-13-01"),
    "label with another word": (fields.LabelField, "L1 秘密;cat=a"),
    "flag yes": (fields.Flag, "yes"),
    "flag True": (fields.Flag, "True"),
    "integer signed": (fields.Integer, "+1"),
    "integer with a zero before": (fields.Integer, "01"),
    "integer in other digits": (fields.Integer, "１"),
    "integer of 17 digits": (fields.Integer, "1" * 17),
    "number with an exponent": (fields.Number, "1e3"),
    "number negative": (fields.Number, "-1"),
    "not a number": (fields.Number, "nan"),
    "no such day": (fields.Begin, "2030-02-30"),
    "instant without offset": (fields.Begin, "2030-01-01T00:00:00"),
    "no such hour": (fields.End, "2030-01-01T24:30:00Z"),
    "no such offset": (fields.End, "2030-01-01T00:00:00+25:00"),
    "before the calendar in UTC": (fields.Begin, "0001-01-01"),
    "before the calendar as an instant": (fields.Begin, "0001-01-01T00:00:00+08:00"),
    "after the calendar": (fields.End, "9999-12-31"),
    "method without slash": (fields.MethodPath, "a.B/C"),
    "method with query": (fields.MethodPath, "/a.B/C?x"),
    "method of 201": (fields.MethodPath, "/a.B/" + "C" * 196),
    "type with a leading dot": (fields.TypeName, ".a.B"),
    "metadata of ours": (fields.MetadataKey, "zg-label"),
    "metadata of gRPC": (fields.MetadataKey, "grpc-status"),
    "metadata of HTTP": (fields.MetadataKey, "content-type"),
    "authorization": (fields.MetadataKey, "authorization"),
    "pseudo header": (fields.MetadataKey, ":path"),
    "file above the folder": (fields.FileName, "../a"),
    "absolute file": (fields.FileName, "/a"),
    "hidden file": (fields.FileName, ".a"),
    "code of 类 4": (fields.Code, "4010010001/1"),
    "code without sequence": (fields.Code, "1010010001"),
    "code in other digits": (fields.Code, "1０1001/1"),
    "percent in a category": (fields.Category, "%61"),
    "identity of a third net": (fields.IdentityUri, "spiffe://other/111000009900000172/x"),
    "organ with a wrong digit": (fields.Uscc, "111000009900000173"),
    "key not base64": (fields.EncryptionKey, "*"),
    "key not DER": (fields.EncryptionKey, "AAAA"),
    "text for a list": (fields.ListOf[fields.Name], "a"),
    "entry twice": (fields.ListOf[fields.Name], ["a", "a"]),
    "list in a list": (fields.ListOf[fields.Name], [["a"]]),
    "blanks around": (fields.Title, " x"),
    "no title": (fields.Title, ""),
    "title with a line break": (fields.Title, "a\nb"),
}


@pytest.mark.parametrize(("kind", "text", "value"), TAKEN.values(), ids=TAKEN)
def test_taken(kind: object, text: object, value: object) -> None:
    assert TypeAdapter(kind).validate_python(text) == value


@pytest.mark.parametrize(("kind", "text"), REFUSED.values(), ids=REFUSED)
def test_refused(kind: object, text: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text)


FIELDS = [kind for kind, _, _ in TAKEN.values()] + [fields.EncryptionKey, fields.Uscc, fields.IdentityUri]


@given(st.sampled_from(FIELDS), st.text(max_size=40) | st.lists(st.text(max_size=5), max_size=3))
def test_any_value_is_taken_or_a_validation_error(kind: object, value: object) -> None:
    adapter = TypeAdapter(kind)
    failed = False
    try:
        adapter.validate_python(value)
    except ValidationError:
        failed = True
    assert failed or isinstance(value, (str, list))


@pytest.mark.req("SH-01")
def test_resource_codes() -> None:
    code = parse_resource_code("2030040005/42")
    assert code == ResourceCode(Attribute.TOPIC, "03", "004", "0005", "42")
    assert str(code) == "2030040005/42"
    assert [attribute.zh for attribute in Attribute] == ["基础", "主题", "部门"]


# --- descriptors


def test_a_descriptor_in_any_order() -> None:
    path = "/stats.v1.Statistics/Submit"
    for raw in (statistics_set(), file_set(any_file(), statistics_file())):
        shape = read_descriptor(raw)[path]
        assert (shape.request_type, shape.response_type) == ("stats.v1.Report", "stats.v1.Line")
        assert not shape.client_streaming
        assert not shape.server_streaming


def streaming() -> bytes:
    files = FileDescriptorSet.FromString(builtin_documents(Net.EXTRA)["statistics.binpb"])
    method = files.file[-1].service[0].method[0]
    method.client_streaming = method.server_streaming = True
    return files.SerializeToString()


def test_streaming_is_read() -> None:
    (shape,) = read_descriptor(streaming()).values()
    assert shape.client_streaming
    assert shape.server_streaming


def other_reference() -> bytes:
    file = statistics_file()
    file.service[0].method[0].input_type = ".stats.v1.Nothing"
    return file_set(any_file(), file)


BAD_DESCRIPTORS = {
    "garbage": (b"\xff\xff", "is not a serialized FileDescriptorSet"),
    "import missing": (file_set(statistics_file()), "lacks an import"),
    "refers to nothing": (other_reference(), "does not hold together"),
    "no service": (file_set(old_file()), "holds no service"),
    "empty": (b"", "holds no service"),
    "too large": (b"\x00" * (DESCRIPTOR_MAX_BYTES + 1), "at most"),
    "too many files": (file_set(*[any_file()] * (FILES_MAX + 1)), "at most"),
}


@pytest.mark.parametrize(("raw", "says"), BAD_DESCRIPTORS.values(), ids=BAD_DESCRIPTORS)
def test_bad_descriptors(raw: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_descriptor(raw)
