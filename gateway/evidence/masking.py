"""[d] Masks personal numbers in the free text that a record keeps (AU-06; shapes of standards.md C6.3, masks of C6.4).

Decides nothing about access and reads no payload: it sees only what a caller wrote into purpose, case, label, path
and the like. It prefers to mask too much: a mistyped citizen number is still nearly a citizen number, so its check
digit is not asked, only a plausible birth date. A bank card needs its Luhn digit, or every case number would look
like one.
"""

import re
import unicodedata

CUT = "…"
_G = r"[ \-]?"
# Two cheap looks that most texts pass, the cheapest first: eleven characters of digits and separators, then the
# beginnings that what is masked can have. `\d` is any script's digit.
_RUN = re.compile(r"\d{3}[\d \-]{8}")
_SUSPECT = re.compile(
    r"\d{3}(?:\d{8}|\d{3}[ \-]\d{4}|\d{7}[ \-]\d\d|\d(?:[ \-]\d{4}){2}[ \-]\d)|(?<!\d)1\d\d[ \-]\d{4}[ \-]?\d{4}"
)
_OTHER_DIGIT = re.compile(r"[^\D0-9]")
_BIRTH = rf"(?:0[1-9]|1[0-2]){_G}(?:0[1-9]|[12]\d|3[01])"
# 18 digits, or 17 and X: also inside a longer run of digits.
_WHOLE = rf"[1-9]\d{{5}}{_G}(?:18|19|20)\d{{2}}{_G}{_BIRTH}{_G}\d{{3}}{_G}[0-9Xx]"
_CITIZEN = re.compile(rf"(?P<citizen>{_WHOLE})")
_NUMBERS = re.compile(
    rf"(?=\d)(?:(?P<citizen>{_WHOLE}"
    # one character forgotten
    rf"|(?<!\d)[1-9]\d{{5}}{_G}(?:18|19|20)\d{{2}}{_G}{_BIRTH}{_G}\d{{3}}(?!\d)"
    # the old form of 15 digits
    rf"|(?<!\d)[1-9]\d{{5}}{_G}\d{{2}}{_G}{_BIRTH}{_G}\d{{3}}(?!\d))"
    rf"|(?<!\d)(?P<mobile>(?:(?:00)?86{_G})?1[3-9]\d{_G}\d{{4}}{_G}\d{{4}})(?!\d)"
    rf"|(?<!\d)(?P<card>[34569]\d{{12,18}}|[34569]\d{{3}}(?:[ \-]\d{{4}}){{2,3}}[ \-]\d{{1,4}})(?!\d))"
)


def is_plain(text: str) -> bool:
    """Return whether `text` needs no mask and no clean-up; a bank card's Luhn digit is not looked at here."""
    if not text.isprintable():
        return False
    if _RUN.search(text) is None or _SUSPECT.search(text) is None:
        return True
    return _NUMBERS.search(_ascii_digits(text)) is None


def masked(text: str, limit: int) -> str:
    """Return `text` with personal numbers masked, control characters replaced and at most `limit` characters."""
    # What lies far beyond the limit is cut before the search, so that the work is bounded; the margin is longer
    # than any number, so that none is left half visible by the cut.
    text = text[: limit + 64]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else "?" for char in text)
    if _SUSPECT.search(text) is not None:
        # Whole citizen numbers first: nothing else may take their first digits away.
        text = _NUMBERS.sub(_mask, _CITIZEN.sub(_mask, _ascii_digits(text)))
    return text if len(text) <= limit else text[: limit - 1] + CUT


def _ascii_digits(text: str) -> str:
    if _OTHER_DIGIT.search(text) is None:
        return text
    plain = "".join(str(unicodedata.digit(char)) if char.isdecimal() else char for char in text)
    return plain.replace("Ｘ", "X").replace("ｘ", "x")


def _mask(match: re.Match[str]) -> str:
    kind = match.lastgroup
    found = match.group()
    plain = "".join(char for char in found if char.isalnum())
    if kind == "citizen":
        return f"{plain[0]}{'*' * (len(plain) - 2)}{plain[-1]}"
    if kind == "mobile":
        return f"{plain[-11:-8]}****{plain[-4:]}"
    return f"{'*' * (len(plain) - 4)}{plain[-4:]}" if _luhn(plain) else found


def _luhn(digits: str) -> bool:
    total = 0
    for place, char in enumerate(reversed(digits)):
        value = int(char) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0
