"""[d] Secrecy levels and labels: reading them, joining them, comparing them (standards.md D1, D2, C5, MA-02, MA-10).

Pure: text and values in, values or one named error out. Which zone may hold a label is `zones`, who may read it is
`decide`. A label travels as `zg-label`, e.g. ``L2;cat=案件,纪检;until=2030-12-31``; where only ASCII can travel a
category is percent-encoded UTF-8. The period is a day in China: secrecy holds through the whole of that day.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import IntEnum
from urllib.parse import quote, unquote_to_bytes

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

LABEL_MAX_CHARS = 256
CATEGORIES_MAX = 16
CATEGORY_MAX_CHARS = 32
# Secrecy periods are stated in days of the country's one time zone (GB/T 7408: UTC+8, no summer time).
CHINA_TIME = timezone(timedelta(hours=8), "UTC+8")

_LEVEL = re.compile(r"L([0-5])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ESCAPE = re.compile(r"%(?![0-9A-F]{2})")
_CATEGORY_PUNCTUATION = "-_."


class Level(IntEnum):
    """The six secrecy levels, a total order (D1). English never stands without the Chinese word."""

    L0 = 0
    L1 = 1
    L2 = 2
    L3 = 3
    L4 = 4
    L5 = 5

    @property
    def zh(self) -> str:
        """The word of the law."""
        return _LEVEL_ZH[self]

    @property
    def en(self) -> str:
        """One English rendering; official translations of 秘密 and 机密 differ."""
        return _LEVEL_EN[self]

    @property
    def text(self) -> str:
        """Code and word as user-facing text shows them: ``L2 工作秘密``."""
        return f"{self.name} {_LEVEL_ZH[self]}"


_LEVEL_ZH = ("公开", "内部", "工作秘密", "秘密", "机密", "绝密")
_LEVEL_EN = ("public", "internal", "work secret", "secret", "highly secret", "top secret")


@dataclass(frozen=True, slots=True)
class Label:
    """What an object is marked with: level, need-to-know scope (知悉范围), last day of the secrecy period."""

    level: Level
    categories: frozenset[str] = frozenset()
    until: date | None = None

    def __str__(self) -> str:
        return _render(self, self.categories)

    @property
    def ascii(self) -> str:
        """The same label for ASCII metadata: categories percent-encoded."""
        return _render(self, frozenset(quote(category, safe="") for category in self.categories))


def _render(label: Label, categories: frozenset[str]) -> str:
    parts = [label.level.name]
    if categories:
        parts.append("cat=" + ",".join(sorted(categories)))
    if label.until is not None:
        parts.append(f"until={label.until.isoformat()}")
    return ";".join(parts)


def parse_level(text: str) -> Level:
    """Return the level that `text` names as ``L0`` … ``L5``; `ValueError` otherwise."""
    match = _LEVEL.fullmatch(text)
    if match is None:
        msg = f"level: found {text[:16]!r}, allowed are L0 to L5"
        raise ValueError(msg)
    return Level(int(match[1]))


def parse_label(text: str) -> Label:
    """Return the label in `text` (``L1;cat=a,b;until=YYYY-MM-DD``); `ZoneGateError(E_LABEL)` names what is wrong."""
    try:
        return _parse(text)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_LABEL, str(exc)) from exc


def _parse(text: str) -> Label:
    if len(text) > LABEL_MAX_CHARS:
        msg = f"zg-label: {len(text)} characters, at most {LABEL_MAX_CHARS} are allowed"
        raise ValueError(msg)
    head, *parts = text.split(";")
    level = parse_level(head)
    fields: dict[str, str] = {}
    # One order only, so that a label has one spelling and two parsers cannot disagree on a repeated field.
    for part, expected in zip(parts, _expected(parts), strict=False):
        key, separator, value = part.partition("=")
        if not separator or key != expected:
            msg = f"zg-label: found {part[:24]!r}, after the level come cat=… then until=…, each once"
            raise ValueError(msg)
        fields[key] = value
    if len(parts) > len(fields):
        msg = "zg-label: after the level come cat=… then until=…, each once"
        raise ValueError(msg)
    categories = parse_categories(fields["cat"].split(",")) if "cat" in fields else frozenset[str]()
    until = parse_day(fields["until"]) if "until" in fields else None
    return Label(level, categories, until)


def _expected(parts: list[str]) -> tuple[str, ...]:
    return ("until",) if parts and parts[0].startswith("until=") else ("cat", "until")


def parse_categories(names: Iterable[str]) -> frozenset[str]:
    """Return the categories, percent-encoding undone; `ValueError` for a malformed, double or surplus one."""
    found: set[str] = set()
    for raw in names:
        name = _category(raw)
        if name in found:
            msg = f"categories: {name!r} stands twice"
            raise ValueError(msg)
        found.add(name)
        if len(found) > CATEGORIES_MAX:
            msg = f"categories: at most {CATEGORIES_MAX} are allowed"
            raise ValueError(msg)
    return frozenset(found)


def _category(raw: str) -> str:
    if _ESCAPE.search(raw):
        msg = "categories: % must begin an escape of two upper-case hexadecimal digits"
        raise ValueError(msg)
    try:
        name = unquote_to_bytes(raw).decode()
    except UnicodeError as exc:
        msg = "categories: the percent-encoded bytes are not UTF-8"
        raise ValueError(msg) from exc
    well_formed = all(char.isalnum() or char in _CATEGORY_PUNCTUATION for char in name)
    # NFKC, so that a full-width or decomposed spelling cannot pass as another category than the one it looks like.
    if not (1 <= len(name) <= CATEGORY_MAX_CHARS and well_formed and unicodedata.is_normalized("NFKC", name)):
        msg = (
            f"categories: found {name[:CATEGORY_MAX_CHARS]!r}, allowed are 1 to {CATEGORY_MAX_CHARS} letters, "
            "digits, Chinese characters, - _ . in NFKC form"
        )
        raise ValueError(msg)
    return name


def parse_day(text: str) -> date:
    """Return the day in `text` (``YYYY-MM-DD``); `ValueError` otherwise."""
    if not (text.isascii() and _DATE.fullmatch(text)):
        msg = f"until: found {text[:16]!r}, a day is written YYYY-MM-DD"
        raise ValueError(msg)
    try:
        return date.fromisoformat(text)
    except ValueError as exc:
        msg = f"until: {text} is not a day of the calendar"
        raise ValueError(msg) from exc


def expires(label: Label) -> datetime | None:
    """Return the instant at which the secrecy period ends, or None where it has no end."""
    if label.until is None:
        return None
    if label.until == date.max:
        return datetime.max.replace(tzinfo=UTC)
    # The last day counts whole: when in doubt secrecy lasts longer.
    return datetime.combine(label.until + timedelta(days=1), time(), CHINA_TIME).astimezone(UTC)


def effective_level(label: Label, now: datetime) -> Level:
    """Return the level that counts at `now` (D2): after its period a label counts as 内部, never as 公开 (MA-10)."""
    if label.until is None or label.level <= Level.L1:
        return label.level
    end = expires(label)
    return Level.L1 if end is not None and now >= end else label.level


def dominates(level: Level, categories: frozenset[str], object_level: Level, needed: frozenset[str]) -> bool:
    """Say whether a clearance covers an object: level at least as high, every category held (MA-02)."""
    return level >= object_level and needed <= categories


def join(first: Label, *others: Label) -> Label:
    """Return the least label that covers all: highest level, all categories, longest period (汇编就高, BM3)."""
    parts = (first, *others)
    level = max(part.level for part in parts)
    # 公开 and 内部 have no secrecy period, so theirs does not lengthen the period of a secret part.
    periods = [part.until for part in parts if level <= Level.L1 or part.level > Level.L1]
    ends = [period for period in periods if period is not None]
    until = max(ends) if len(ends) == len(periods) else None
    return Label(level, frozenset().union(*(part.categories for part in parts)), until)
