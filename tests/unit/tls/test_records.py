from hypothesis import given
from hypothesis import strategies as st

from zonegate.gateway.tls.records import RecordCounter

RECORDS = st.lists(st.binary(max_size=300), max_size=20)


def wire(contents: list[bytes]) -> bytes:
    return b"".join(b"\x17\x03\x03" + len(one).to_bytes(2, "big") + one for one in contents)


@given(RECORDS, st.lists(st.integers(1, 200), max_size=60))
def test_any_split_of_the_stream_counts_alike(contents: list[bytes], sizes: list[int]):
    data, counter, count = wire(contents), RecordCounter(), 0
    for size in sizes:
        count += counter.feed(data[:size])
        data = data[size:]
    assert count + counter.feed(data) == len(contents)


def test_the_largest_record_byte_by_byte():
    data, counter = wire([bytes(16640)]), RecordCounter()
    assert sum(counter.feed(data[at : at + 1]) for at in range(len(data))) == 1


@given(st.binary(max_size=2000))
def test_any_bytes_are_counted_without_an_error(data: bytes):
    assert RecordCounter().feed(data) >= 0
