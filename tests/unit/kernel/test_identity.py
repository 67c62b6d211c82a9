"""Identities: `spiffe://<net>/<USCC>/<system>`, and everything beside it refused by its part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonegate.identity import URI_MAX_CHARS, Identity, Net, parse_identity

ORGAN = "111000009900000172"
GOOD = {
    "system": (f"spiffe://extra/{ORGAN}/population", Identity(Net.EXTRA, ORGAN, "population")),
    "intra": (f"spiffe://intra/{ORGAN}/collector", Identity(Net.INTRA, ORGAN, "collector")),
    "one letter": (f"spiffe://extra/{ORGAN}/a", Identity(Net.EXTRA, ORGAN, "a")),
    "digits and marks": (f"spiffe://extra/{ORGAN}/gw-1.a_b", Identity(Net.EXTRA, ORGAN, "gw-1.a_b")),
    "64 characters": (f"spiffe://extra/{ORGAN}/{'a' * 64}", Identity(Net.EXTRA, ORGAN, "a" * 64)),
}
BAD = {
    "another scheme": (f"https://extra/{ORGAN}/a", "spiffe://"),
    "scheme in capitals": (f"SPIFFE://extra/{ORGAN}/a", "spiffe://"),
    "no name": (f"spiffe://extra/{ORGAN}", "2 parts"),
    "empty name": (f"spiffe://extra/{ORGAN}/", "system name"),
    "four parts": (f"spiffe://extra/{ORGAN}/a/b", "4 parts"),
    "another net": (f"spiffe://other/{ORGAN}/a", "the net is 'other'"),
    "net in capitals": (f"spiffe://EXTRA/{ORGAN}/a", "the net is 'EXTRA'"),
    "net with a port": (f"spiffe://extra:443/{ORGAN}/a", "the net is"),
    "bad check digit": ("spiffe://extra/111000009900000173/a", "GB 32100"),
    "capital in the name": (f"spiffe://extra/{ORGAN}/A", "system name"),
    "name ends in a mark": (f"spiffe://extra/{ORGAN}/a-", "system name"),
    "name of 65": (f"spiffe://extra/{ORGAN}/{'a' * 65}", "system name"),
    "percent": (f"spiffe://extra/{ORGAN}/a%2e", "system name"),
    "query": (f"spiffe://extra/{ORGAN}/a?x=1", "system name"),
    "dot segments": (f"spiffe://extra/{ORGAN}/..", "system name"),
    "blank": (f"spiffe://extra/{ORGAN}/a ", "system name"),
    "newline": (f"spiffe://extra/{ORGAN}/a\n", "system name"),
    "Chinese": (f"spiffe://extra/{ORGAN}/人口", "system name"),
    "too long": (f"spiffe://extra/{ORGAN}/" + "a" * URI_MAX_CHARS, "at most 128"),
    "empty": ("", "spiffe://"),
}


@pytest.mark.req("CE-03")
@pytest.mark.parametrize(("uri", "identity"), GOOD.values(), ids=GOOD)
def test_read(uri: str, identity: Identity) -> None:
    assert parse_identity(uri) == identity
    assert str(identity) == uri


@pytest.mark.req("CE-03")
@pytest.mark.parametrize(("uri", "words"), BAD.values(), ids=BAD)
def test_refused(uri: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_identity(uri)
    assert words in str(caught.value)


@given(st.text(max_size=160), st.sampled_from(["", "spiffe://", f"spiffe://extra/{ORGAN}/"]))
def test_any_text_is_the_one_spelling_of_an_identity_or_a_value_error(text: str, start: str) -> None:
    try:
        identity = parse_identity(start + text)
    except ValueError:
        return
    assert str(identity) == start + text
