"""Zones of grade 4: messages are decoded by the catalogue's descriptor, unknown fields refused, and encoded anew."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import descriptor_pb2

from support.descriptors import OPTIONAL, F, file_set
from support.lab import BIDI, CLIENT_STREAM, DOCUMENTS, METADATA, SERVER_STREAM, SERVICE, UNARY, Lab, refusal
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import Executed, OutcomeRecord

pytestmark = pytest.mark.xdist_group("inspection")


def descriptor() -> bytes:
    file = descriptor_pb2.FileDescriptorProto(name="lab/echo/v1/echo.proto", package="lab.echo.v1", syntax="proto3")
    note = file.message_type.add(name="Note")
    note.field.add(name="text", number=1, type=F.TYPE_STRING, label=OPTIONAL)
    note.field.add(name="count", number=2, type=F.TYPE_INT32, label=OPTIONAL)
    service = file.service.add(name="Echo")
    for path in (UNARY, CLIENT_STREAM, SERVER_STREAM, BIDI):
        service.method.add(
            name=path.rpartition("/")[2],
            input_type=".lab.echo.v1.Note",
            output_type=".lab.echo.v1.Note",
            client_streaming=path in {CLIENT_STREAM, BIDI},
            server_streaming=path in {SERVER_STREAM, BIDI},
        )
    return file_set(file)


def note(text: str, count: int = 0) -> bytes:
    raw = text.encode()
    return b"\x0a" + bytes((len(raw),)) + raw + (b"\x10" + bytes((count,)) if count else b"")


UNKNOWN = note("x") + b"\x1a\x01y"
# The same message in another order: legal, but not how it is written anew.
SHUFFLED = b"\x10\x05" + note("x")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    documents = DOCUMENTS.replace(
        "organ: 11100000990000025W\nmlpsGrade: 3", "organ: 11100000990000025W\nmlpsGrade: 4"
    ).replace("inspection: none", "inspection: schema\ndescriptor: echo.binpb")
    assert "mlpsGrade: 4" in documents
    lab = Lab(tmp_path_factory.mktemp("inspection"), documents=documents, attachments={"echo.binpb": descriptor()})
    lab.start()
    yield lab
    lab.close()


def refused(lab: Lab, path: str, messages: list[bytes]) -> str:
    with lab.channel() as channel:
        kind = {CLIENT_STREAM: channel.stream_unary, BIDI: channel.stream_stream}.get(path, channel.unary_unary)
        request = iter(messages) if path in {CLIENT_STREAM, BIDI} else messages[0]
        try:
            list(kind(path)(request, metadata=METADATA, timeout=10))
        except grpc.RpcError as error:
            return refusal(error)[1]
    return "OK"


@pytest.mark.req("XZ-02")
def test_messages_are_made_anew(lab: Lab) -> None:
    lab.echo.seen.clear()
    with lab.channel() as channel:
        assert channel.unary_unary(UNARY)(SHUFFLED, metadata=METADATA) == note("x", 5)
        sent = [note("a", 1), b"\x10\x02" + note("b"), b""]
        assert list(channel.stream_stream(BIDI)(iter(sent), metadata=METADATA)) == [note("a", 1), note("b", 2), b""]


@pytest.mark.req("XZ-02")
@pytest.mark.parametrize("path", [UNARY, CLIENT_STREAM, BIDI])
@pytest.mark.parametrize("message", [UNKNOWN, b"\xff\xff", b"\x0a\x05ab"], ids=["unknown field", "garbage", "cut"])
def test_a_request_that_the_descriptor_does_not_know(lab: Lab, path: str, message: bytes) -> None:
    calls = [note("fine"), message] if path != UNARY else [message]
    assert refused(lab, path, calls) == "E_SCHEMA"


def outcome_of(lab: Lab, side: str, reason: str) -> list[OutcomeRecord]:
    records = [located.record for located in read_records(lab.evidence(side))]
    return [record for record in records if isinstance(record, OutcomeRecord) and record.reason == reason]


@pytest.mark.req("XZ-02")
def test_a_response_that_the_descriptor_does_not_know(lab: Lab) -> None:
    lab.echo.answer = UNKNOWN
    try:
        assert refused(lab, UNARY, [note("x")]) == "E_SCHEMA"
        assert refused(lab, BIDI, [note("x"), note("y")]) == "E_SCHEMA"
    finally:
        lab.echo.answer = None
    ended = [record for record in outcome_of(lab, "b", "E_SCHEMA") if record.response_bytes]
    assert {record.executed for record in ended} == {Executed.YES}, "the provider has executed: the record says so"


def test_a_compressed_message_is_refused(lab: Lab) -> None:
    with lab.channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(UNARY)(note("x" * 100), metadata=METADATA, compression=grpc.Compression.Gzip)
    assert refusal(caught.value)[1] == "E_MESSAGE_COMPRESSED"


def test_the_method_is_still_the_catalogues(lab: Lab) -> None:
    assert refused(lab, f"/{SERVICE}/Nothing", [note("x")]) == "E_NOT_CATALOGUED"
