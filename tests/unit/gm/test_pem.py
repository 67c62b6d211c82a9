"""PEM text: what other tools write is read, what is broken is named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonegate.gm import pem

BLOCK = pem.encode("THING", bytes(range(100)))


@given(st.lists(st.binary(max_size=200), max_size=4))
def test_round_trip(contents: list[bytes]) -> None:
    text = b"".join(pem.encode("THING", content) for content in contents)
    assert pem.decode("THING", text) == tuple(contents)


def test_lines_are_of_64_characters() -> None:
    assert {len(line) for line in BLOCK.splitlines()[1:-2]} == {64}


GOOD = {
    "text before and after": b"subject=x\n" + BLOCK + b"trailing words\n",
    "CRLF": BLOCK.replace(b"\n", b"\r\n"),
    "one long line": b"-----BEGIN THING-----\n" + b"".join(BLOCK.splitlines()[1:-1]) + b"\n-----END THING-----",
    "blanks after the begin line": BLOCK.replace(b"THING-----\n", b"THING----- \t\n", 1),
    "another block before": pem.encode("OTHER", b"x") + BLOCK,
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_read(text: bytes) -> None:
    assert pem.decode("THING", text) == (bytes(range(100)),)


BAD = {
    "end missing": BLOCK[:-20],
    "another end": BLOCK.replace(b"END THING", b"END OTHER"),
    "foreign characters": BLOCK.replace(b"AAEC", b"AA*C"),
    "padding in the middle": BLOCK.replace(b"AAEC", b"AA=C"),
    "cut in the middle of a group": BLOCK.replace(b"AAEC", b"AEC"),
    "headers of RFC 1421": BLOCK.replace(b"-----\n", b"-----\nProc-Type: 4,ENCRYPTED\n\n", 1),
    "a block inside a block": BLOCK[:60] + BLOCK,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match="PEM block"):
        pem.decode("THING", text)


def test_size_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pem, "PEM_LIMIT_BYTES", 100)
    with pytest.raises(ValueError, match="at most 100"):
        pem.decode("THING", bytes(101))


@given(st.binary(max_size=200))
def test_any_bytes_are_blocks_or_a_value_error(source: bytes) -> None:
    for text in (source, b"-----BEGIN THING-----\n" + source + b"\n-----END THING-----\n"):
        try:
            pem.decode("THING", text)
        except ValueError:
            continue
