"""[d] The field types of policy documents: text from YAML in, checked value out.

Every type begins from text (`yamltext` knows nothing else) and its refusal says what is allowed.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator

from zonegate.codes import check_uscc
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import PublicKey
from zonegate.identity import Net, parse_identity
from zonegate.policies.catalogue import parse_resource_code
from zonegate.policies.labels import CHINA_TIME, Label, Level, parse_categories, parse_day, parse_label, parse_level
from zonegate.policies.model import Inspection, ShareType
from zonegate.policies.zones import Decision, ZoneClass
from zonegate.reasons import Reason

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_METHOD = re.compile(r"/[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*/[A-Za-z_][A-Za-z0-9_]*")
_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_METADATA = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_RESERVED_METADATA = re.compile(r"zg-.*|grpc-.*|te|content-type|user-agent|connection|host|cookie|authorization")
_FILE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_INTEGER = re.compile(r"0|[1-9][0-9]{0,15}")
_NUMBER = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})")

METHOD_MAX_CHARS = 200
TITLE_MAX_CHARS = 100
TEXT_MAX_CHARS = 1000


def _from_text(parse: Callable[[str], T]) -> BeforeValidator:
    def validate(value: Any) -> T:
        if not isinstance(value, str):
            msg = "must be text, not a list or a mapping"
            raise ValueError(msg)  # noqa: TRY004 - pydantic collects ValueError
        return parse(value)

    return BeforeValidator(validate)


def _matching(pattern: re.Pattern[str], limit: int, allowed: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if len(text) > limit or not pattern.fullmatch(text):
            raise ValueError(allowed)
        return text

    return check


def _words(limit: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not 1 <= len(text) <= limit or text != text.strip():
            msg = f"must be 1 to {limit} characters without blanks around"
            raise ValueError(msg)
        if any(unicodedata.category(char).startswith("C") for char in text):
            msg = "must not hold control or formatting characters"
            raise ValueError(msg)
        return text

    return check


def _strip_word(text: str) -> str:
    """Take the Chinese word from ``L2 工作秘密``; it may stand there, and must then be the right one."""
    code, blank, word = text.partition(" ")
    if not blank:
        return text
    level = parse_level(code)
    if word != level.zh:
        msg = f"level: {code} is {level.zh}, found {word[:16]!r}"
        raise ValueError(msg)
    return code


def _level(text: str) -> Level:
    return parse_level(_strip_word(text))


def _label(text: str) -> Label:
    head, separator, rest = text.partition(";")
    try:
        return parse_label(_strip_word(head) + separator + rest)
    except ZoneGateError as exc:
        raise ValueError(exc.detail) from exc


def _category(text: str) -> str:
    if "%" in text:
        msg = "categories: % has no place here, write the characters"
        raise ValueError(msg)
    (name,) = parse_categories([text])
    return name


def _flag(text: str) -> bool:
    if text not in {"true", "false"}:
        msg = "must be true or false"
        raise ValueError(msg)
    return text == "true"


def _integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        msg = "must be a whole number in plain digits"
        raise ValueError(msg)
    return int(text)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        msg = "must be a number such as 20 or 0.5"
        raise ValueError(msg)
    return float(text)


def _instant(text: str) -> datetime:
    if not _INSTANT.fullmatch(text):
        msg = "must be a day YYYY-MM-DD or an instant YYYY-MM-DDThh:mm:ss with Z or +08:00"
        raise ValueError(msg)
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        msg = "is not an instant of the calendar"
        raise ValueError(msg) from exc


def _begin(text: str) -> datetime:
    if len(text) != len("YYYY-MM-DD"):
        return _instant(text)
    return _midnight(text, timedelta())


def _end(text: str) -> datetime:
    if len(text) != len("YYYY-MM-DD"):
        return _instant(text)
    return _midnight(text, timedelta(days=1))


def _midnight(text: str, after: timedelta) -> datetime:
    try:
        return (datetime.combine(parse_day(text), time(), CHINA_TIME) + after).astimezone(UTC)
    except OverflowError as exc:
        msg = "is outside the calendar"
        raise ValueError(msg) from exc


def _identity(text: str) -> str:
    return str(parse_identity(text))


def _metadata(text: str) -> str:
    if not _METADATA.fullmatch(text) or _RESERVED_METADATA.fullmatch(text):
        msg = "must be a lower-case metadata key of at most 64 characters, not a reserved one (zg-, grpc-, HTTP's own)"
        raise ValueError(msg)
    return text


def _encryption_key(text: str) -> bytes:
    try:
        der = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        msg = "must be base64 of a SubjectPublicKeyInfo"
        raise ValueError(msg) from exc
    try:
        return PublicKey.from_spki(der).spki
    except ZoneGateError as exc:
        msg = f"is not an SM2 public key: {exc.detail}"
        raise ValueError(msg) from exc


def _one_of(kind: type[Choice]) -> Callable[[str], Choice]:
    def check(text: str) -> Choice:
        try:
            return kind(text)
        except ValueError as exc:
            allowed = ", ".join(list(kind)[:16])
            msg = f"must be one of {allowed}"
            raise ValueError(msg) from exc

    return check


def _unique(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) != len(values):
        msg = "an entry stands twice"
        raise ValueError(msg)
    return values


def _as_tuple(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    msg = "must be a list"
    raise ValueError(msg)


def at_most(limit: int) -> AfterValidator:
    """Return the check that a list has no more than `limit` entries."""

    def check(values: tuple[T, ...]) -> tuple[T, ...]:
        if len(values) > limit:
            msg = f"has {len(values)} entries, at most {limit} are allowed"
            raise ValueError(msg)
        return values

    return AfterValidator(check)


def _some(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        msg = "must have at least one entry"
        raise ValueError(msg)
    return values


NOT_EMPTY = AfterValidator(_some)


Name = Annotated[
    str, _from_text(_matching(_NAME, 64, "must be 1 to 64 of a-z 0-9 . _ - with a letter or digit at both ends"))
]
Title = Annotated[str, _from_text(_words(TITLE_MAX_CHARS))]
Text = Annotated[str, _from_text(_words(TEXT_MAX_CHARS))]
Purpose = Annotated[str, _from_text(_words(64))]
Uscc = Annotated[str, _from_text(check_uscc)]
IdentityUri = Annotated[str, _from_text(_identity)]
MethodPath = Annotated[
    str, _from_text(_matching(_METHOD, METHOD_MAX_CHARS, "must be /package.Service/Method of at most 200 characters"))
]
TypeName = Annotated[str, _from_text(_matching(_TYPE, METHOD_MAX_CHARS, "must be a message type such as pkg.v1.Name"))]
MetadataKey = Annotated[str, _from_text(_metadata)]
FileName = Annotated[
    str, _from_text(_matching(_FILE, 200, "must be a path below the policy's folder: a-z A-Z 0-9 . _ - and /"))
]
Code = Annotated[str, _from_text(lambda text: str(parse_resource_code(text)))]
LevelField = Annotated[Level, _from_text(_level)]
LabelField = Annotated[Label, _from_text(_label)]
Category = Annotated[str, _from_text(_category)]
Flag = Annotated[bool, _from_text(_flag)]
Integer = Annotated[int, _from_text(_integer)]
Number = Annotated[float, _from_text(_number)]
Begin = Annotated[datetime, _from_text(_begin)]
End = Annotated[datetime, _from_text(_end)]
EncryptionKey = Annotated[bytes, _from_text(_encryption_key)]


# A list without repetition: ``ListOf[Name]``.
ListOf = Annotated[tuple[T, ...], BeforeValidator(_as_tuple), AfterValidator(_unique)]
ZoneClassField = Annotated[ZoneClass, _from_text(_one_of(ZoneClass))]
ShareField = Annotated[ShareType, _from_text(_one_of(ShareType))]
InspectionField = Annotated[Inspection, _from_text(_one_of(Inspection))]
NetField = Annotated[Net, _from_text(_one_of(Net))]
DecisionField = Annotated[Decision, _from_text(_one_of(Decision))]
ReasonField = Annotated[Reason, _from_text(_one_of(Reason))]
