"""The object header: one encoding a header, every field bounded, the parties in the right nets."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.boundary import header
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.header import MessageDigest, ObjectHeader, decode_header, encode_header
from zonegate.identity import Net
from zonegate.reasons import Reason

GOOD = header()
ENCODED = encode_header(GOOD)
NAMES = [item.name for item in fields(ObjectHeader)]


def parts_of(encoded):
    parts, at = [], 0
    while at < len(encoded):
        length = int.from_bytes(encoded[at : at + 4], "big")
        parts.append(encoded[at + 4 : at + 4 + length])
        at += 4 + length
    return parts


def joined(parts):
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def with_part(name, content):
    parts = parts_of(ENCODED)
    parts[NAMES.index(name)] = content
    return joined(parts)


def test_a_header_survives_its_encoding():
    assert decode_header(ENCODED) == GOOD
    assert joined(parts_of(ENCODED)) == ENCODED


def test_the_instant_keeps_its_microseconds():
    moment = datetime(2030, 6, 1, 1, 2, 3, 456789, tzinfo=UTC)
    assert decode_header(encode_header(header(created=moment))).created == moment


REFUSED = {
    "object id too short": ("object_id", b"0123", "object_id"),
    "object id upper case": ("object_id", b"0123456789ABCDEF" * 2, "object_id"),
    "crossing of another shape": ("crossing", b"x" * 28, "crossing"),
    "number of 7 bytes": ("sequence", bytes(7), "sequence"),
    "number of 9 bytes": ("sequence", bytes(9), "sequence"),
    "number above 2^63": ("policy_version", b"\xff" * 8, "policy_version"),
    "instant past the year 9999": ("created", b"\x7f" + b"\xff" * 7, "created"),
    "unknown net": ("source_net", b"outer", "source_net"),
    "the same net twice": ("target_net", b"extra", "target_net"),
    "caller of the other net": ("caller", GOOD.provider.encode(), "caller"),
    "importer of the other net": ("importer", GOOD.gateway.encode(), "importer"),
    "provider that is no URI": ("provider", b"http://x", "provider"),
    "invalid UTF-8": ("purpose", b"\xff", "purpose"),
    "control character": ("purpose", b"a\nb", "purpose"),
    "too long a text": ("case", b"x" * 3000, "case"),
    "path without a slash": ("path", b"Submit", "path"),
    "path that climbs": ("path", b"/a/../b", "path"),
    "label that is none": ("label", b"L9", "label"),
    "label in another spelling": ("label", b"L2;cat=%E6%A1%88%E4%BB%B6", "label"),
    "name with a slash": ("resource", b"a/b", "resource"),
    "ticket too long": ("ticket", bytes((16 << 10) + 1), "ticket"),
}


@pytest.mark.parametrize(("name", "content", "field"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_field_is_refused_by_name(name, content, field):
    with pytest.raises(ZoneGateError) as caught:
        decode_header(with_part(name, content))
    assert caught.value.reason is Reason.E_IMPORT_FORMAT
    assert field in caught.value.detail


@pytest.mark.parametrize("encoded", [b"", ENCODED[:-1], ENCODED + b"\0", ENCODED[4:], b"\xff" * 200])
def test_a_header_of_another_length_is_refused(encoded):
    with pytest.raises(ZoneGateError) as caught:
        decode_header(encoded)
    assert caught.value.reason is Reason.E_IMPORT_FORMAT


WRONG = {
    "negative number": {"sequence": -1},
    "label lower case": {"label": "l1"},
    "line break": {"purpose": "a\nb"},
    "gateway of the other net": {"gateway": GOOD.importer},
    "one net": {"target_net": Net.EXTRA},
    "ticket too long": {"ticket": bytes(1 << 20)},
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_nothing_is_encoded_that_would_be_refused(change):
    with pytest.raises(ValueError):
        encode_header(header(**change))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_mutation_gives_a_header_with_this_encoding_or_one_error(data):
    mutated = bytearray(ENCODED)
    for _ in range(data.draw(st.integers(1, 3))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    mutated = bytes(mutated[: data.draw(st.sampled_from([len(mutated), len(mutated) - 3]))])
    try:
        decoded = decode_header(mutated)
    except ZoneGateError as error:
        reason = error.reason
    else:
        reason = None
        assert encode_header(decoded) == mutated
    assert reason in (None, Reason.E_IMPORT_FORMAT)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_one_error(data):
    with pytest.raises(ZoneGateError) as caught:
        decode_header(data)
    assert caught.value.reason is Reason.E_IMPORT_FORMAT


def test_messages_cut_elsewhere_have_another_digest():
    digests = set()
    for messages in ([b"ab", b"c"], [b"a", b"bc"], [b"abc"], [b"abc", b""], [b"", b"abc"]):
        digest = MessageDigest()
        for message in messages:
            digest.add(message)
        digests.add(digest.hexdigest())
    assert len(digests) == 5


def test_an_instant_of_another_zone_is_the_same_instant():
    moment = GOOD.created.astimezone(tz=None) + timedelta(0)
    assert encode_header(header(created=moment)) == ENCODED
