"""The handover between verifier and importer: what is said arrives however it is cut; anything else ends it."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.boundary import MESSAGES, figure_header, offer, signed
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.handover import (
    Answer,
    Disposition,
    FrameReader,
    Greeting,
    Kind,
    Listener,
    Offer,
    RefusedFile,
    Waiting,
    encode_answer,
    encode_greeting,
    encode_offer,
    encode_refused,
    encode_waiting,
    read_answer,
)
from zonegate.gateway.boundary.transport_file import DEFAULT_BOUNDS, Bounds
from zonegate.reasons import Reason

REPORT = RefusedFile("坏文件.zgt", "ab" * 32, Reason.E_IMPORT_SEAL, "file: chunk 0 was altered")
OFFER = offer(MESSAGES)
HELLO = encode_greeting()
OFFERED = b"".join(encode_offer(OFFER))


def heard(data, bounds=DEFAULT_BOUNDS):
    return Listener(bounds).feed(data)


def refusal(data, bounds=DEFAULT_BOUNDS):
    with pytest.raises(ZoneGateError) as caught:
        heard(data, bounds)
    assert caught.value.reason is Reason.E_IMPORT_FORMAT
    return caught.value.detail


@pytest.mark.parametrize("step", [1, 7, 1000, 100_000])
def test_everything_said_arrives_however_it_is_cut(step):
    data = HELLO + encode_waiting(Waiting(7)) + OFFERED + encode_refused(REPORT) + OFFERED
    listener = Listener(DEFAULT_BOUNDS)
    got = [saying for at in range(0, len(data), step) for saying in listener.feed(data[at : at + step])]
    assert got == [Greeting(), Waiting(7), OFFER, REPORT, OFFER]


@pytest.mark.parametrize("disposition", Disposition)
def test_an_answer_survives(disposition):
    answer = Answer(disposition, "因为")
    ((kind, body),) = FrameReader(4096).feed(encode_answer(answer))
    assert read_answer(kind, body) == answer


def test_names_that_are_no_text_and_long_details_are_made_readable():
    odd = replace(REPORT, file="a\udcff.zgt", detail="x" * 5000)
    _, got = heard(HELLO + encode_refused(odd))
    assert got.file == "a\\udcff.zgt"
    assert len(got.detail) == 1024


def frame(kind, body=b""):
    return (len(body) + 1).to_bytes(4, "big") + bytes((kind,)) + body


OTHER = signed(figure_header(MESSAGES[:2]))
REFUSED = {
    "no greeting": OFFERED,
    "another greeting": frame(Kind.GREETING, b"zonegate handover v2"),
    "an unknown kind": HELLO + frame(99),
    "an empty frame": HELLO + bytes(5),
    "a frame of 4 GiB": HELLO + b"\xff\xff\xff\xff\x02",
    "a message outside an object": HELLO + frame(Kind.MESSAGE, b"x"),
    "a report inside an object": HELLO + OFFERED[: OFFERED.index(b"first") - 5] + encode_refused(REPORT),
    "an object without its last message": HELLO
    + OFFERED[: -len(frame(Kind.MESSAGE, MESSAGES[2])) - 5]
    + frame(Kind.END),
    "a message too many": HELLO + OFFERED[:-5] + frame(Kind.MESSAGE, b"") + frame(Kind.END),
    "a message changed": HELLO + OFFERED.replace(b"first", b"fir5t"),
    "messages of another header": HELLO
    + b"".join(encode_offer(Offer("a", OTHER, figure_header(MESSAGES[:2]), MESSAGES[1:]))),
    "a proof that is none": HELLO + frame(Kind.OBJECT, b"\x00\x01aZGO1"),
    "a proof with more behind it": HELLO + frame(Kind.OBJECT, b"\x00\x01a" + OFFER.signed.proof + b"x"),
    "a text cut off": HELLO + frame(Kind.REFUSED, b"\x00\x09abc"),
    "a reason that is none": HELLO + encode_refused(REPORT).replace(b"E_IMPORT_SEAL", b"E_IMPORT_SEAX"),
    "bytes after the texts": HELLO + frame(Kind.REFUSED, encode_refused(REPORT)[5:] + b"x"),
    "a count of 3 bytes": HELLO + frame(Kind.WAITING, b"abc"),
    "an answer from the verifier": HELLO + encode_answer(Answer(Disposition.TAKEN)),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_anything_else_ends_the_conversation(data):
    assert refusal(data)


@pytest.mark.parametrize("bounds", [Bounds(messages=2), Bounds(total_bytes=104), Bounds(message_bytes=99)])
def test_the_importer_has_its_own_bounds(bounds):
    if bounds.message_bytes == 99:
        # One frame may still hold a proof; a message is bounded by what the header and the object may hold.
        assert heard(HELLO + OFFERED, bounds)[1] == OFFER
    else:
        refusal(HELLO + OFFERED, bounds)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_bytes_give_sayings_or_one_error(data):
    base = bytearray(HELLO + OFFERED)
    for _ in range(data.draw(st.integers(1, 3))):
        base[data.draw(st.integers(0, len(base) - 1))] ^= data.draw(st.integers(1, 255))
    for stream in (bytes(base), HELLO + data.draw(st.binary(max_size=100))):
        try:
            sayings = heard(stream)
        except ZoneGateError as error:
            sayings, reason = [], error.reason
        else:
            reason = Reason.E_IMPORT_FORMAT
        assert reason is Reason.E_IMPORT_FORMAT
        assert all(isinstance(saying, Greeting | Offer | RefusedFile | Waiting) for saying in sayings)


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=50))
def test_any_bytes_as_an_answer_give_an_answer_or_one_error(data):
    try:
        for kind, body in FrameReader(4096).feed(data):
            read_answer(kind, body)
    except ZoneGateError as error:
        reason = error.reason
    else:
        reason = Reason.E_IMPORT_FORMAT
    assert reason is Reason.E_IMPORT_FORMAT
