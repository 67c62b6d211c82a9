"""[d] Walks the wire form of a protobuf message beside its descriptor and names the first thing that is not allowed.

It refuses what `schema.py` promises to refuse and the runtime would let pass or report without a field: unknown
fields, wrong wire types, unknown enum values, strings that are not UTF-8, an unlisted `Any`, nesting too deep,
truncation. It builds no message and returns nothing but the refusal.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from google.protobuf.descriptor import Descriptor, FieldDescriptor

ANY = "google.protobuf.Any"
ANY_PREFIX = "type.googleapis.com/"
_VARINT_BYTES = 10
_FIELD_NUMBER_MAX = (1 << 29) - 1


class _Wire(IntEnum):
    VARINT = 0
    FIXED64 = 1
    LENGTH = 2
    GROUP_START = 3
    GROUP_END = 4
    FIXED32 = 5


_WIRE_OF = {
    **dict.fromkeys(
        (
            FieldDescriptor.TYPE_INT32,
            FieldDescriptor.TYPE_INT64,
            FieldDescriptor.TYPE_UINT32,
            FieldDescriptor.TYPE_UINT64,
            FieldDescriptor.TYPE_SINT32,
            FieldDescriptor.TYPE_SINT64,
            FieldDescriptor.TYPE_BOOL,
            FieldDescriptor.TYPE_ENUM,
        ),
        _Wire.VARINT,
    ),
    **dict.fromkeys(
        (FieldDescriptor.TYPE_FIXED64, FieldDescriptor.TYPE_SFIXED64, FieldDescriptor.TYPE_DOUBLE), _Wire.FIXED64
    ),
    **dict.fromkeys(
        (FieldDescriptor.TYPE_FIXED32, FieldDescriptor.TYPE_SFIXED32, FieldDescriptor.TYPE_FLOAT), _Wire.FIXED32
    ),
    **dict.fromkeys(
        (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_MESSAGE), _Wire.LENGTH
    ),
    FieldDescriptor.TYPE_GROUP: _Wire.GROUP_START,
}
_WIDTH = {_Wire.FIXED64: 8, _Wire.FIXED32: 4}


class WireError(ValueError):
    """What is not allowed, and the path of the field that holds it."""

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}" if path else what)


@dataclass(slots=True)
class Table:
    """One message type: its fields by number. Tables refer to each other, so recursion costs nothing to build."""

    name: str
    file: str
    rows: "dict[int, Row]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One field as the walk needs it."""

    name: str
    wire: _Wire
    packable: bool
    is_string: bool
    enum: frozenset[int] | None
    table: Table | None


def tables_of(
    descriptor: Descriptor, extensions: Callable[[Descriptor], Iterable[FieldDescriptor]]
) -> dict[str, Table]:
    """Return the table of `descriptor` and of every type it reaches, by full name."""
    tables: dict[str, Table] = {}
    waiting = [descriptor]
    while waiting:
        current = waiting.pop()
        if current.full_name in tables:
            continue
        table = tables[current.full_name] = Table(current.full_name, current.file.name)
        for item in (*current.fields, *extensions(current)):
            if item.message_type is not None:
                waiting.append(item.message_type)
            table.rows[item.number] = _row(item)
    # Second round: now that every table exists, point the rows at them.
    for table in tables.values():
        for number, row in table.rows.items():
            if row.table is not None:
                linked = tables[row.table.name]
                table.rows[number] = Row(row.name, row.wire, row.packable, row.is_string, row.enum, linked)
    return tables


def _row(item: FieldDescriptor) -> Row:
    wire = _WIRE_OF[item.type]
    enum = None if item.enum_type is None else frozenset(value.number for value in item.enum_type.values)
    target = None if item.message_type is None else Table(item.message_type.full_name, item.message_type.file.name)
    packable = item.is_repeated and wire in (_Wire.VARINT, _Wire.FIXED32, _Wire.FIXED64)
    name = f"[{item.full_name}]" if item.is_extension else item.name
    return Row(name, wire, packable, item.type == FieldDescriptor.TYPE_STRING, enum, target)


class Walker:
    """Checks messages of one type."""

    def __init__(self, root: Table, *, max_depth: int, any_tables: dict[str, Table]) -> None:
        self._root = root
        self._max_depth = max_depth
        self._any_tables = any_tables

    def check(self, message: bytes) -> None:
        """Raise `WireError` for the first thing in `message` that is not allowed."""
        self._message(message, 0, len(message), self._root, "", 1)

    def _message(self, data: bytes, at: int, end: int, table: Table, path: str, depth: int) -> None:
        if depth > self._max_depth:
            raise WireError(path, f"nests deeper than {self._max_depth} messages")
        if table.name == ANY:
            self._any(data, at, end, path, depth)
            return
        rows = table.rows
        while at < end:
            tag = data[at]
            if tag < 0x80:
                at += 1
            else:
                tag, at = _varint(data, at, end, path)
            wire = tag & 7
            row = rows.get(tag >> 3)
            if row is None:
                raise WireError(path, _unknown(tag))
            if wire == row.wire == _Wire.VARINT:
                value = data[at] if at < end else 0x80
                if value < 0x80:
                    at += 1
                else:
                    value, at = _varint(data, at, end, f"{path}.{row.name}")
                if row.enum is not None:
                    _check_enum(value, row, path)
            else:
                at = self._field(data, at, end, row, wire, tag >> 3, path, depth)

    def _field(self, data: bytes, at: int, end: int, row: Row, wire: int, number: int, path: str, depth: int) -> int:
        here = f"{path}.{row.name}" if path else row.name
        if wire == _Wire.LENGTH and (row.wire == _Wire.LENGTH or row.packable):
            length, at = _varint(data, at, end, here)
            stop = at + length
            if stop > end:
                raise WireError(here, f"is cut off: {length} bytes announced, {end - at} there")
            if row.table is not None:
                self._message(data, at, stop, row.table, here, depth + 1)
            elif row.is_string:
                _check_utf8(data[at:stop], here)
            elif row.packable:
                _packed(data, at, stop, row, path, here)
            return stop
        if wire != row.wire:
            raise WireError(here, f"has wire type {wire}, the descriptor says {row.wire.value}")
        if wire == _Wire.GROUP_START and row.table is not None:
            return self._group(data, at, end, row.table, number, here, depth + 1)
        stop = at + _WIDTH[row.wire]
        if stop > end:
            raise WireError(here, "is cut off")
        return stop

    def _group(self, data: bytes, at: int, end: int, table: Table, number: int, path: str, depth: int) -> int:
        if depth > self._max_depth:
            raise WireError(path, f"nests deeper than {self._max_depth} messages")
        while at < end:
            tag, at = _varint(data, at, end, path)
            if tag == number << 3 | _Wire.GROUP_END:
                return at
            row = table.rows.get(tag >> 3)
            if row is None:
                raise WireError(path, _unknown(tag))
            if tag & 7 == row.wire == _Wire.VARINT:
                value, at = _varint(data, at, end, f"{path}.{row.name}")
                if row.enum is not None:
                    _check_enum(value, row, path)
            else:
                at = self._field(data, at, end, row, tag & 7, tag >> 3, path, depth)
        raise WireError(path, "is cut off: the group does not end")

    def _any(self, data: bytes, at: int, end: int, path: str, depth: int) -> None:
        # Each of the two fields at most once: what is checked here must be what the runtime keeps.
        parts: dict[int, bytes] = {}
        while at < end:
            tag, at = _varint(data, at, end, path)
            if tag not in (0x0A, 0x12):
                raise WireError(path, _unknown(tag))
            if tag in parts:
                raise WireError(path, "carries a field of Any twice")
            length, at = _varint(data, at, end, path)
            if at + length > end:
                raise WireError(path, f"is cut off: {length} bytes announced, {end - at} there")
            parts[tag] = data[at : at + length]
            at += length
        url = parts.get(0x0A, b"").decode("utf-8", "replace")
        table = self._any_tables.get(url.removeprefix(ANY_PREFIX)) if url.startswith(ANY_PREFIX) else None
        if table is None:
            raise WireError(path, f"is an Any of {url[:120]!r}, which the resource does not list")
        value = parts.get(0x12, b"")
        self._message(value, 0, len(value), table, path, depth + 1)


def _unknown(tag: int) -> str:
    number = tag >> 3
    if not 0 < number <= _FIELD_NUMBER_MAX:
        return f"has field number {number}, which no message can have"
    return f"has the unknown field {number}"


def _varint(data: bytes, at: int, end: int, path: str) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(end, at + _VARINT_BYTES)):
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise WireError(path, "is cut off or not a number")


def _check_enum(value: int, row: Row, path: str) -> None:
    # Negative numbers travel as 64 bits; the runtime keeps the lower 32.
    number = (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)
    if row.enum is not None and number not in row.enum:
        raise WireError(f"{path}.{row.name}" if path else row.name, f"has the unknown enum value {number}")


def _check_utf8(text: bytes, path: str) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as exc:
        raise WireError(path, f"is not UTF-8 at byte {exc.start}") from exc


def _packed(data: bytes, at: int, end: int, row: Row, path: str, here: str) -> None:
    if row.wire != _Wire.VARINT:
        if (end - at) % _WIDTH[row.wire]:
            raise WireError(here, "is cut off")
        return
    while at < end:
        value, at = _varint(data, at, end, here)
        if row.enum is not None:
            _check_enum(value, row, path)
