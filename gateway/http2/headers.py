"""Header fields and header blocks, and what RFC 9113 section 8 lets them say.

A `Field` is one name and value with its outgoing encoding made once; a `HeaderBlock` is a checked list of them, split
into what is the same on each call (`stable`) and what varies (`volatile`). Nothing here reads HPACK (`decoder` does)
and nothing knows gRPC's own rules (the relay does).

Fields compare and hash by identity. The decoder returns the same `Field` for the same (name, value), so a tuple of
them is a cheap key; a field that may not be remembered (never-indexed, long) is a new object each time, and then
`HeaderBlock.cacheable` is false: keep such a tuple out of caches, it will not come again.
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from zonegate.gateway.http2.frames import ErrorCode

VOLATILE_NAMES: Final = frozenset(
    {
        b"b3",
        b"baggage",
        b"date",
        b"grpc-message",
        b"grpc-previous-rpc-attempts",
        b"grpc-tags-bin",
        b"grpc-timeout",
        b"grpc-trace-bin",
        b"traceparent",
        b"tracestate",
        b"x-b3-parentspanid",
        b"x-b3-sampled",
        b"x-b3-spanid",
        b"x-b3-traceid",
        b"x-request-id",
        b"zg-crossing",
        b"zg-idempotency-key",
    }
)
"""Names whose values differ from call to call: never part of a cache key, never remembered."""

# The bits of `Field.mark`: which pseudo-header a field is, or why it needs a look of its own.
METHOD: Final = 1
SCHEME: Final = 2
PATH: Final = 4
AUTHORITY: Final = 8
STATUS: Final = 16
UNKNOWN_PSEUDO: Final = 32
PSEUDO: Final = 63
FORBIDDEN: Final = 64
SPECIAL: Final = 128

_REQUEST_PSEUDO: Final = METHOD | SCHEME | PATH | AUTHORITY
_MARKS: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":path": PATH,
    b":authority": AUTHORITY,
    b":status": STATUS,
    # RFC 9113 section 8.2.2
    b"connection": FORBIDDEN,
    b"proxy-connection": FORBIDDEN,
    b"keep-alive": FORBIDDEN,
    b"transfer-encoding": FORBIDDEN,
    b"upgrade": FORBIDDEN,
    b"te": SPECIAL,
    b"host": SPECIAL,
    b"content-length": SPECIAL,
}

# RFC 9113 section 8.2.1 with the token characters of RFC 9110 section 5.6.2; upper case is malformed.
_NAME: Final = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
# RFC 9110 section 5.5: no control characters but a tab inside, no white space at either end.
VALUE_IS_LEGAL: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?").fullmatch
# Nearly every value has nothing else; a value without these is looked at by the rule above.
VISIBLE: Final = bytes(range(0x21, 0x7F))

FIELD_OVERHEAD: Final = 32
REMEMBERED_LENGTH: Final = 512
"""Longest encoding of a field that a decoder remembers."""

# RFC 7541 appendix A: whole fields that have a one-byte encoding, and names with a small index.
_INDEXED: Final = {
    (b":method", b"GET"): b"\x82",
    (b":method", b"POST"): b"\x83",
    (b":path", b"/"): b"\x84",
    (b":scheme", b"http"): b"\x86",
    (b":scheme", b"https"): b"\x87",
    (b":status", b"200"): b"\x88",
    (b":status", b"204"): b"\x89",
    (b":status", b"400"): b"\x8c",
    (b":status", b"404"): b"\x8d",
    (b":status", b"500"): b"\x8e",
}
_NAME_INDEX: Final = {b":authority": 1, b":method": 2, b":path": 4, b":scheme": 6, b":status": 8}


class Kind(IntEnum):
    """What a header block must be, by its place on the stream."""

    REQUEST = 0
    RESPONSE = 1
    TRAILERS = 2


class MalformedError(ValueError):
    """The header list breaks RFC 9113 section 8: the stream fails, the connection lives."""

    code = ErrorCode.PROTOCOL_ERROR


class HeaderListTooLargeError(MalformedError):
    """The header list is larger than was advertised."""

    code = ErrorCode.ENHANCE_YOUR_CALM


class Field:
    """One header field; equal to nothing but itself."""

    __slots__ = ("mark", "name", "sensitive", "size", "value", "volatile", "wire")

    def __init__(
        self,
        name: bytes,
        value: bytes,
        wire: bytes,
        size: int,
        mark: int,
        sensitive: bool,  # noqa: FBT001 - positional for the hot loop; `literal` is the public maker
        volatile: bool,  # noqa: FBT001
    ) -> None:
        self.name = name
        self.value = value
        self.wire = wire
        self.size = size
        self.mark = mark
        self.sensitive = sensitive
        self.volatile = volatile

    def __repr__(self) -> str:
        return f"Field({self.name!r}, {'(sensitive)' if self.sensitive else repr(self.value)})"


def encode_length(length: int) -> bytes:
    """Return a string length as an integer with a 7-bit prefix, no Huffman (RFC 7541 sections 5.1 and 5.2)."""
    if length < 127:
        return bytes((length,))
    out = bytearray((127,))
    length -= 127
    while length >= 128:
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out)


def wire_name(name: bytes, *, sensitive: bool) -> bytes:
    """Return how a literal field that no table stores begins: first byte and name (RFC 7541 section 6.2)."""
    kind = 0x10 if sensitive else 0x00
    index = _NAME_INDEX.get(name)
    if index is not None:
        return bytes((kind | index,))
    return bytes((kind,)) + encode_length(len(name)) + name


def literal(name: bytes, value: bytes, *, sensitive: bool = False) -> Field:
    """Return a checked field that is sent without indexing, or never-indexed when `sensitive`.

    Raises `MalformedError` when the name or the value is not legal in HTTP/2.
    """
    if _NAME(name) is None:
        msg = f"field name {name[:64]!r}: lower-case token characters only"
        raise MalformedError(msg)
    if VALUE_IS_LEGAL(value) is None:
        msg = f"field {name[:64].decode('ascii')}: its value has a control character or white space at an end"
        raise MalformedError(msg)
    wire = None if sensitive else _INDEXED.get((name, value))
    if wire is None:
        wire = wire_name(name, sensitive=sensitive) + encode_length(len(value)) + value
    mark = _MARKS.get(name, UNKNOWN_PSEUDO if name.startswith(b":") else 0)
    size = len(name) + len(value) + FIELD_OVERHEAD
    return Field(name, value, wire, size, mark, sensitive, name in VOLATILE_NAMES)


def encode(fields: Iterable[Field]) -> bytes:
    """Return the HPACK block of `fields` in their order."""
    return b"".join([field.wire for field in fields])


class StablePart:
    """The checked part of a block that does not vary; shared by all blocks that have it."""

    __slots__ = ("by_name", "cacheable", "content_length", "fields", "informational", "pseudo", "size")

    def __init__(self, fields: tuple[Field, ...], kind: Kind) -> None:
        self.fields = fields
        self.size = sum([field.size for field in fields])
        self.cacheable = all(not field.sensitive and len(field.wire) <= REMEMBERED_LENGTH for field in fields)
        self.content_length = -1
        self.pseudo = _check(fields, kind)
        self.by_name: dict[bytes, bytes] = {}
        for field in fields:
            self.by_name.setdefault(field.name, field.value)
        if b"content-length" in self.by_name:
            self.content_length = _content_length([f.value for f in fields if f.name == b"content-length"])
        # 1xx: another header block follows (RFC 9110 section 15.2)
        self.informational = kind is Kind.RESPONSE and self.by_name[b":status"].startswith(b"1")


class HeaderBlock:
    """One checked header list: `stable` in wire order, `volatile` in wire order."""

    __slots__ = ("part", "stable", "volatile")

    def __init__(self, part: StablePart, volatile: tuple[Field, ...]) -> None:
        self.part = part
        self.stable = part.fields
        self.volatile = volatile

    @property
    def cacheable(self) -> bool:
        """Whether `stable` is worth being a key: its fields are remembered and come again as the same objects."""
        return self.part.cacheable

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, the stable before the volatile."""
        return self.stable + self.volatile

    def get(self, name: bytes) -> bytes | None:
        """Return the value of the first field called `name`; a rule that must see all of them uses `values`."""
        value = self.part.by_name.get(name)
        if value is None:
            for field in self.volatile:
                if field.name == name:
                    return field.value
        return value

    def values(self, name: bytes) -> tuple[bytes, ...]:
        """Return the values of all fields called `name`."""
        return tuple(field.value for field in self.fields if field.name == name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HeaderBlock) and _pairs(self) == _pairs(other)

    __hash__ = None  # type: ignore[assignment]  # `stable` is the key, a block is not

    def __repr__(self) -> str:
        return f"HeaderBlock({list(self.fields)!r})"


def _pairs(block: HeaderBlock) -> tuple[list[tuple[bytes, bytes, bool]], list[tuple[bytes, bytes, bool]]]:
    return (
        [(field.name, field.value, field.sensitive) for field in block.stable],
        [(field.name, field.value, field.sensitive) for field in block.volatile],
    )


def _check(fields: tuple[Field, ...], kind: Kind) -> int:
    """Return how many pseudo-headers `fields` begins with, or raise `MalformedError` (RFC 9113 sections 8.2, 8.3)."""
    seen = count = 0
    for position, field in enumerate(fields):
        mark = field.mark
        if mark & PSEUDO:
            if mark & UNKNOWN_PSEUDO:
                msg = f"pseudo-header {field.name[:64]!r} is not defined"
                raise MalformedError(msg)
            if seen & mark:
                msg = f"pseudo-header {field.name.decode()} occurs twice"
                raise MalformedError(msg)
            if position != count:
                msg = f"pseudo-header {field.name.decode()} comes after a regular field"
                raise MalformedError(msg)
            seen |= mark
            count += 1
        elif mark & FORBIDDEN:
            msg = f"field {field.name.decode()}: connection-specific fields do not exist in HTTP/2"
            raise MalformedError(msg)
        elif mark and field.name == b"te" and field.value.lower() != b"trailers":
            msg = "field te: only `trailers` is allowed"
            raise MalformedError(msg)
    _PSEUDO_CHECKS[kind](seen, fields)
    return count


def _check_request(seen: int, fields: tuple[Field, ...]) -> None:
    if seen != _REQUEST_PSEUDO:
        msg = "a request has :method, :scheme, :path and :authority, each exactly once, and no :status"
        raise MalformedError(msg)
    values = {field.name: field.value for field in fields if field.mark & PSEUDO}
    path, authority = values[b":path"], values[b":authority"]
    if not path.startswith(b"/") and not (path == b"*" and values[b":method"] == b"OPTIONS"):
        msg = ":path: is empty or does not begin with `/`"
        raise MalformedError(msg)
    if b"@" in authority:
        msg = ":authority: user information is not allowed"
        raise MalformedError(msg)
    for field in fields:
        if field.mark & SPECIAL and field.name == b"host" and field.value != authority:
            msg = "field host: differs from :authority"
            raise MalformedError(msg)


def _check_response(seen: int, fields: tuple[Field, ...]) -> None:
    if seen != STATUS:
        msg = "a response has :status exactly once and no other pseudo-header"
        raise MalformedError(msg)
    status = fields[0].value
    # RFC 9113 section 8.6: HTTP/2 has no 101
    if not (len(status) == 3 and status.isdigit() and b"100" <= status <= b"599") or status == b"101":
        msg = f":status: {status[:16]!r} is not a status code of HTTP/2"
        raise MalformedError(msg)


def _check_trailers(seen: int, fields: tuple[Field, ...]) -> None:  # noqa: ARG001 - one signature for the three kinds
    if seen:
        msg = "trailers have no pseudo-headers"
        raise MalformedError(msg)


_PSEUDO_CHECKS: Final = {
    Kind.REQUEST: _check_request,
    Kind.RESPONSE: _check_response,
    Kind.TRAILERS: _check_trailers,
}


def _content_length(values: list[bytes]) -> int:
    """Return the one declared length (RFC 9110 section 8.6: equal repetitions are one)."""
    first = values[0]
    if not first.isdigit() or len(first) > 19 or any(value != first for value in values):
        msg = "field content-length: is not one decimal number"
        raise MalformedError(msg)
    return int(first)
