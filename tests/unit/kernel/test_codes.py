"""Check digits (C6): the examples of the standards, synthetic codes, and every single wrong character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonegate.codes import (
    USCC_ALPHABET,
    check_citizen_number,
    check_uscc,
    citizen_check_char,
    organ_check_char,
    uscc_check_char,
)

VALID_USCC = (
    "91350100M000100Y43",  # the example of GB 32100
    "111000009900000172",
    "11100000990000025W",
    "11320000990100018D",
    "11430000990200019X",
    "1210000099030001XT",
    "91110000990400010J",
    "511000009905000118",
    "11100000MB0000019L",
)
INVALID_USCC = {
    "check character": "91350100M000100Y4Z",
    "CI-04 inner organisation code": "91350211M0000XUF46",
    "CI-04 inner organisation code, another": "91350100M0001TGQXM",
    "17 characters": "11100000990000017",
    "19 characters": "1110000099000001722",
    "lower case": "11100000990000025w",
    "letter I": "1110000099000001I2",
    "letter in the division code": "11A000009900000172",
    "blank": " 11000009900000172",
    "full-width digit": "1１1000009900000172",
    "newline at the end": "111000009900000172\n",
    "empty": "",
}


@pytest.mark.req("CI-04")
@pytest.mark.parametrize("code", VALID_USCC)
def test_uscc(code: str) -> None:
    assert check_uscc(code) == code
    assert uscc_check_char(code[:17]) == code[17]
    assert organ_check_char(code[8:16]) == code[16]


@pytest.mark.req("CI-04")
@pytest.mark.parametrize("code", INVALID_USCC.values(), ids=INVALID_USCC)
def test_not_a_uscc(code: str) -> None:
    with pytest.raises(ValueError):
        check_uscc(code)


@pytest.mark.parametrize("code", VALID_USCC)
def test_every_single_wrong_character_of_a_uscc_is_found(code: str) -> None:
    for at in range(18):
        for char in USCC_ALPHABET:
            if char != code[at]:
                with pytest.raises(ValueError):
                    check_uscc(code[:at] + char + code[at + 1 :])


@given(st.text(alphabet=USCC_ALPHABET, min_size=8, max_size=8), st.text("0123456789", min_size=6, max_size=6))
def test_a_made_uscc_is_valid(organ: str, division: str) -> None:
    first17 = "11" + division + organ + organ_check_char(organ)
    assert check_uscc(first17 + uscc_check_char(first17))


VALID_CITIZENS = (
    "11010519491231002X",  # the examples of GB 11643
    "440524188001010014",
    "999999199003071005",
    "999999200002290026",  # leap day
)
INVALID_CITIZENS = {
    "check character": "110105194912310021",
    "29 February of a common year": "999999200102290020",
    "month 13": "999999199013071005",
    "day 0": "999999199003001005",
    "area beginning with 0": "099999199003071005",
    "lower-case x": "11010519491231002x",
    "15 digits": "110105491231002",
    "newline at the end": "11010519491231002X\n",
    "empty": "",
}


@pytest.mark.parametrize("number", VALID_CITIZENS)
def test_citizen_number(number: str) -> None:
    valid = number[:17] + citizen_check_char(number[:17])
    assert check_citizen_number(valid) == valid


@pytest.mark.parametrize("number", VALID_CITIZENS[:2])
def test_citizen_numbers_printed_in_the_standard(number: str) -> None:
    assert check_citizen_number(number) == number


@pytest.mark.parametrize("number", INVALID_CITIZENS.values(), ids=INVALID_CITIZENS)
def test_not_a_citizen_number(number: str) -> None:
    with pytest.raises(ValueError) as caught:
        check_citizen_number(number)
    assert not number or number not in str(caught.value)


@given(st.text(max_size=30))
def test_any_text_is_a_code_or_a_value_error(text: str) -> None:
    for check in (check_uscc, check_citizen_number):
        try:
            assert check(text) == text
        except ValueError:
            continue
