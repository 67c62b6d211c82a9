"""Personal numbers in free text (AU-06, shapes of C6.3, masks of C6.4)."""

import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zonegate.codes import citizen_check_char
from zonegate.gateway.evidence.masking import is_plain, masked

CASES = {
    "C6.3 citizen number with X": ("11010519491231002X", "1****************X"),
    "C6.3 citizen number of digits": ("440524188001010014", "4****************4"),
    "C6.3 leap day": ("办案对象 440300200002290027。", "办案对象 4****************7。"),
    "C6.3 wrong check digit is still nearly the number": ("110105194912310021", "1****************1"),
    "one character forgotten": ("11010519491231002", "1***************2"),
    "lower-case x": ("11010519491231002x", "1****************x"),
    "old form of 15 digits": ("110105491231002", "1*************2"),
    "blanks at the customary places": ("110000 1990 0307 1004", "1****************4"),
    "hyphens at the customary places": ("110000-19900307-1004", "1****************4"),
    "full-width digits": ("１１０１０５１９４９１２３１００２Ｘ", "1****************X"),
    "between letters": ("ID11010519491231002Xend", "ID1****************Xend"),
    "inside a longer number": ("2030110000199003071004", "20301****************4"),
    "twice": ("110000199003071004/320101198512311236", "1****************4/3****************6"),
    "C6.3 mobile": ("13812345678", "138****5678"),
    "mobile with country code": ("+86 138-1234-5678", "+138****5678"),
    "mobile in a sentence": ("请拨13812345678办理", "请拨138****5678办理"),
    "C6.3 bank card, Luhn holds": ("6222021234567890128", "***************0128"),
    "bank card in groups": ("6222 0212 3456 7890 128", "***************0128"),
    "bank card, Luhn fails": ("6222021234567890127", "6222021234567890127"),
    "case number of a year": ("20300101000123", "20300101000123"),
    "case number with hyphens": ("京0101-2030-000123", "京0101-2030-000123"),
    "USCC of an organ is shown (C6.4)": ("111000009900000172", "111000009900000172"),
    "impossible month": ("110105194913310021", "110105194913310021"),
    "ten digits": ("1381234567", "1381234567"),
    "an uuid": ("5c1c3c1a-3b1f-4a4f-9d5e-2b6c0d1e2f3a", "5c1c3c1a-3b1f-4a4f-9d5e-2b6c0d1e2f3a"),
    "control characters": ("a\x1b[31mb\n", "a?[31mb?"),
    "empty": ("", ""),
}


@pytest.mark.req("AU-06")
@pytest.mark.parametrize(("text", "shown"), CASES.values(), ids=CASES)
def test_mask(text: str, shown: str) -> None:
    assert masked(text, 128) == shown
    assert masked(shown, 128) == shown
    if text != shown and "Luhn" not in text:
        assert not is_plain(text)


@pytest.mark.req("AU-06")
def test_a_number_is_never_half_visible_at_the_limit() -> None:
    for before in range(100, 140):
        shown = masked("a" * before + "11010519491231002X", 128)
        assert len(shown) <= 128
        assert re.search(r"\d{5}", shown) is None


def test_work_is_bounded() -> None:
    assert len(masked("1" * 10_000_000, 128)) == 128


DATES = st.dates(min_value=date(1900, 1, 1), max_value=date(2030, 1, 1))


@st.composite
def citizen_numbers(draw: st.DrawFn) -> str:
    first17 = "999999" + draw(DATES).strftime("%Y%m%d") + f"{draw(st.integers(0, 999)):03d}"
    return first17 + citizen_check_char(first17)


@pytest.mark.req("AU-06")
@settings(max_examples=200)
@given(citizen_numbers(), st.text(max_size=30), st.text(max_size=30))
def test_no_citizen_number_survives(number: str, before: str, after: str) -> None:
    assert number not in masked(before + number + after, 256)


@settings(max_examples=200)
@given(st.text(max_size=300), st.integers(1, 128))
def test_any_text_comes_out_bounded_and_printable(text: str, limit: int) -> None:
    shown = masked(text, limit)
    assert len(shown) <= limit
    assert shown.isprintable()
