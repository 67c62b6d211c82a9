"""The segment format: any bytes give entries or one named error; a torn write is told from damage."""

import struct

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.evidence import NOW
from support.evidence_tamper import sm3
from zonegate.gateway.evidence.segment import (
    FORMAT,
    GENESIS,
    MAGIC,
    PAYLOAD_LIMIT_BYTES,
    BrokenEvidenceError,
    Entry,
    EntryType,
    Framer,
    Header,
    Opened,
    chain_hash,
    encode_header,
    entries,
    may_be_torn,
    read_header,
)


def header(**facts: object) -> Header:
    known = {
        "format": FORMAT,
        "chain": "ab" * 16,
        "gateway": "spiffe://extra/111000009900000172/gw",
        "segment": 1,
        "why": Opened.FIRST,
        "opened": NOW,
        "software": "0",
        "previous": GENESIS.hex(),
        "previous_bytes": 0,
        "first_record": 0,
        "certificates": (b"certificate",),
    }
    return Header(**(known | facts))


def record(number: int, size: int = 20) -> bytes:
    return b'{"kind":"stop","n":%d,"pad":"%s"}' % (number, b"x" * size)


def segment(*groups: tuple[bytes, ...], begun: Header | None = None) -> bytes:
    framer = Framer(bytes.fromhex((begun or header()).previous))
    framer.add(EntryType.HEADER, encode_header(begun or header()))
    data = MAGIC + framer.bytes()
    for group in groups:
        framer = Framer(framer.chain)
        for payload in group:
            framer.add(EntryType.RECORD, payload)
        data += framer.bytes()
    return data


SAMPLE = segment((record(0), record(1)), (record(2),), (record(3), record(4)))


def read(data: bytes) -> list[Entry]:
    _, first = read_header(data, file="s")
    return list(entries(data, first, file="s"))


def test_what_is_framed_is_read() -> None:
    found = read(SAMPLE)
    assert [entry.payload for entry in found] == [record(number) for number in range(5)]
    assert [entry.starts_group for entry in found] == [True, False, True, True, False]
    assert found[-1].end == len(SAMPLE)


@pytest.mark.req("AU-02")
def test_chain_hash_is_sm3_of_previous_type_payload() -> None:
    assert chain_hash(GENESIS, 0x82, b"payload") == sm3(bytes(32) + b"\x82" + b"payload")


@settings(max_examples=300)
@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: SAMPLE[:-1] + tail))
@example(MAGIC)
@example(MAGIC + struct.pack(">IB", 1, 0x81))
@example(MAGIC + struct.pack(">IB", 0xFFFFFFFF, 0x81))
def test_any_bytes_are_entries_or_one_named_error(data: bytes) -> None:
    try:
        read(data)
    except BrokenEvidenceError as error:
        assert error.problem


@settings(max_examples=300)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(at: int, change: int) -> None:
    data = SAMPLE[:at] + bytes([SAMPLE[at] ^ change]) + SAMPLE[at + 1 :]
    with pytest.raises(BrokenEvidenceError):
        read(data)


def second_header() -> bytes:
    framer = Framer(read(SAMPLE)[-1].chain)
    framer.add(EntryType.HEADER, encode_header(header()))
    return SAMPLE + framer.bytes()


WRONG = {
    "magic": (b"NOTEVID1" + SAMPLE[8:], "does not begin"),
    "record first": (MAGIC + SAMPLE[read(SAMPLE)[0].offset :], "header"),
    "no header": (MAGIC, "cut short"),
    "other format": (segment(begun=header(format=2)), "format is 2"),
    "chain id": (segment(begun=header(chain="xyz")), "header"),
    "no certificate": (segment(begun=header(certificates=())), "header"),
    "segment 0": (segment(begun=header(segment=0)), "header"),
    "too large": (SAMPLE + struct.pack(">IB", PAYLOAD_LIMIT_BYTES + 1, 2) + bytes(64), "at most"),
    "unknown type": (SAMPLE + struct.pack(">IB", 1, 4) + bytes(64), "type 4"),
    "empty payload": (SAMPLE + struct.pack(">IB", 0, 2) + bytes(64), "0 bytes"),
    "cut short": (SAMPLE[:-1], "cut short"),
    "second header": (second_header(), "second header"),
}


@pytest.mark.parametrize(("data", "problem"), WRONG.values(), ids=WRONG)
def test_wrong_segments_are_named(data: bytes, problem: str) -> None:
    with pytest.raises(BrokenEvidenceError, match=problem):
        read(data)


def broken_at(data: bytes) -> int:
    with pytest.raises(BrokenEvidenceError) as caught:
        read(data)
    return caught.value.offset


def test_every_cut_of_the_last_group_may_be_torn() -> None:
    last = next(entry.offset for entry in read(SAMPLE) if entry.payload == record(3))
    whole = {entry.end for entry in read(SAMPLE)}
    for end in range(last + 1, len(SAMPLE)):
        if end not in whole:
            assert may_be_torn(SAMPLE[:end], broken_at(SAMPLE[:end]))


def test_zeros_at_the_end_may_be_torn() -> None:
    """A file whose size reached the disk before its data, or a reserve that was not filled."""
    data = SAMPLE + bytes(8192)
    assert may_be_torn(data, broken_at(data))


def test_a_lost_page_inside_the_last_group_may_be_torn() -> None:
    data = bytearray(segment((record(0),), (record(1, 9000), record(2, 9000))))
    data[-9000:-4904] = bytes(4096)
    assert may_be_torn(bytes(data), broken_at(bytes(data)))


def test_damage_before_a_later_group_is_no_torn_write() -> None:
    """A group is written only when the one before it is durable: damage there is damage."""
    second = next(entry for entry in read(SAMPLE) if entry.payload == record(2))
    for at in range(second.offset, second.end):
        data = SAMPLE[:at] + bytes([SAMPLE[at] ^ 0xFF]) + SAMPLE[at + 1 :]
        assert not may_be_torn(data, broken_at(data)), at


def test_a_length_that_swallows_the_rest_is_no_torn_write() -> None:
    data = bytearray(SAMPLE)
    first = read(SAMPLE)[0]
    data[first.offset + 2] = 0x7F
    assert broken_at(bytes(data)) == first.offset
    assert not may_be_torn(bytes(data), first.offset)


@settings(max_examples=200)
@given(st.binary(max_size=600), st.integers(0, 600))
def test_torn_or_not_is_answered_for_any_bytes(data: bytes, offset: int) -> None:
    assert may_be_torn(data, min(offset, len(data))) in (True, False)


def test_a_file_that_looks_like_entries_everywhere_costs_little() -> None:
    """The search for a later group has a budget: such a file is no torn write, and it is answered at once."""
    lure = struct.pack(">IB", PAYLOAD_LIMIT_BYTES, 0x82) + b'{"kind":"'
    data = SAMPLE + lure * 100_000
    assert not may_be_torn(data, len(SAMPLE))
