"""Check digits of the national codes (standards.md C6): pure, no I/O.

GB 32100-2015 (USCC), GB 11714 (the organisation code inside it) and GB 11643-1999 (citizen identity number).
"""

import re
from datetime import date

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_USCC_VALUE = {char: value for value, char in enumerate(USCC_ALPHABET)}
_USCC_WEIGHTS = tuple(pow(3, index, 31) for index in range(17))
_USCC_SHAPE = re.compile(rf"[{USCC_ALPHABET}]{{2}}[0-9]{{6}}[{USCC_ALPHABET}]{{10}}")
_ORGAN_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)
_CITIZEN_SHAPE = re.compile(r"[1-9][0-9]{16}[0-9X]")
_CITIZEN_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def uscc_check_char(first17: str) -> str:
    """Return the 18th character for the first 17 of a USCC (GB 32100-2015)."""
    total = sum(_USCC_VALUE[char] * weight for char, weight in zip(first17, _USCC_WEIGHTS, strict=True))
    return USCC_ALPHABET[-total % 31]


def organ_check_char(first8: str) -> str:
    """Return the 9th character of an organisation code (GB 11714); letters count 10 to 35."""
    total = sum(int(char, 36) * weight for char, weight in zip(first8, _ORGAN_WEIGHTS, strict=True))
    return "0123456789X0"[11 - total % 11]


def check_uscc(text: str) -> str:
    """Return `text` if it is a unified social credit code; `ValueError` says what is wrong with it.

    The inner organisation code is part of the check (CI-04): both digits must agree.
    """
    if not _USCC_SHAPE.fullmatch(text):
        msg = f"{text[:24]!r} is not 18 characters of the GB 32100 alphabet with a 6-digit division code"
        raise ValueError(msg)
    if uscc_check_char(text[:17]) != text[17]:
        msg = f"{text!r}: the check character is {text[17]}, GB 32100 gives {uscc_check_char(text[:17])}"
        raise ValueError(msg)
    if organ_check_char(text[8:16]) != text[16]:
        msg = f"{text!r}: the organisation code's check is {text[16]}, GB 11714 gives {organ_check_char(text[8:16])}"
        raise ValueError(msg)
    return text


def citizen_check_char(first17: str) -> str:
    """Return the 18th character of a citizen identity number (GB 11643-1999, ISO 7064 MOD 11-2)."""
    total = sum(int(char) * weight for char, weight in zip(first17, _CITIZEN_WEIGHTS, strict=True))
    return "10X98765432"[total % 11]


def check_citizen_number(text: str) -> str:
    """Return `text` if it is an 18-digit citizen identity number; `ValueError` says what is wrong, not the number."""
    if not _CITIZEN_SHAPE.fullmatch(text):
        msg = "a citizen identity number is 17 digits and a digit or X"
        raise ValueError(msg)
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError as exc:
        msg = "the birth date inside the citizen identity number does not exist"
        raise ValueError(msg) from exc
    if citizen_check_char(text[:17]) != text[17]:
        msg = "the check character of the citizen identity number is wrong (GB 11643)"
        raise ValueError(msg)
    return text
