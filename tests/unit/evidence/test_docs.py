"""The format is an interface: docs/evidence.md names every kind and every field of it."""

import re
from pathlib import Path

import msgspec
import pytest

from zonegate.gateway.evidence import proof, records, seal, segment

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "evidence.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([a-z_\-]+)`", TEXT))
STRUCTS = [
    *records.AnyRecord.__args__,
    records.Caller,
    records.Verdict,
    records.Flow,
    records.Basis,
    segment.Header,
    seal.Seal,
    seal.Statement,
    seal.SignedHead,
    proof.Proof,
    proof.Step,
]


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_every_field_is_documented(struct: type[msgspec.Struct]) -> None:
    assert {field.encode_name for field in msgspec.structs.fields(struct)} <= NAMED
    tag = struct.__struct_config__.tag
    assert tag is None or tag in NAMED


@pytest.mark.parametrize(
    "words",
    [records.Hop, records.Executed, records.DeclaredBy, records.Counted, segment.Opened],
    ids=lambda w: w.__name__,
)
def test_every_word_is_documented(words: type[records.Hop]) -> None:
    assert {word.value for word in words} <= NAMED
