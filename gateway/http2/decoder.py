"""HPACK in: bytes of a header block to a checked `HeaderBlock` (RFC 7541), fast where the bytes allow it.

While the peer's dynamic table has room (before it acknowledged our SETTINGS_HEADER_TABLE_SIZE of 0) each block is
decoded step by step with the hpack library's table. Once the table has no room, a block means the same on every
connection, and three memos answer, from the widest to the narrowest:

* whole blocks whose volatile fields are empty, by their bytes;
* layouts: the constant runs of a block around its volatile fields, found by the block's first bytes;
* fields, by their bytes and by (name, value).

Never-indexed fields are not remembered. What the fields mean to gRPC is not decided here.
"""

from typing import Final

from hpack import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from zonegate.gateway.http2.frames import DEFAULT_TABLE_SIZE
from zonegate.gateway.http2.headers import (
    FIELD_OVERHEAD,
    REMEMBERED_LENGTH,
    VALUE_IS_LEGAL,
    VISIBLE,
    VOLATILE_NAMES,
    Field,
    HeaderBlock,
    HeaderListTooLargeError,
    Kind,
    MalformedError,
    StablePart,
    literal,
    wire_name,
)
from zonegate.gateway.http2.memo import HeaderMemo, Layout

_STATIC: Final = (None, *(literal(name, value) for name, value in HeaderTable.STATIC_TABLE))
_STATIC_BY_VALUE: Final = {(field.name, field.value): field for field in _STATIC if field is not None}
_STATIC_COUNT: Final = len(HeaderTable.STATIC_TABLE)
_REMEMBERED_BLOCK: Final = 1_024
_LAYOUT_KEY: Final = 64
_LONGEST_INTEGER: Final = 5


class CompressionError(ValueError):
    """The block cannot be decoded: COMPRESSION_ERROR, the connection fails (RFC 9113 section 4.3)."""


class HpackDecoder:
    """Decodes the header blocks of one connection, in their order."""

    __slots__ = ("_blocks", "_layouts", "_max_capacity", "_max_fields", "_max_list", "_memo", "_must_update", "_table")

    def __init__(self, memo: HeaderMemo, *, max_list: int, max_fields: int) -> None:
        memo.bind(max_list, max_fields)
        self._memo = memo
        self._blocks = memo.blocks
        self._layouts = memo.layouts
        self._max_list = max_list
        self._max_fields = max_fields
        self._max_capacity = DEFAULT_TABLE_SIZE
        self._must_update = False
        self._table: HeaderTable | None = HeaderTable()

    @property
    def stateless(self) -> bool:
        """Whether the peer's dynamic table has no room."""
        return self._table is None

    def settings_acked(self) -> None:
        """The peer has taken our table size of 0: its next block must say so, and nothing is stored any more."""
        self._max_capacity = 0
        # RFC 9113 section 4.3.1; an encoder that already declared 0 has nothing to reduce
        self._must_update = self._table is not None

    def decode(self, data: bytes, kind: Kind) -> HeaderBlock:
        """Return the block; `CompressionError` ends the connection, `MalformedError` the stream."""
        if self._table is None:
            memo = self._blocks[kind]
            block = memo.young.get(data)
            if block is not None:
                return block
            layout = self._layouts[kind].young.get(data[:_LAYOUT_KEY])
            if layout is not None:
                block = self._by_layout(layout, data)
                if block is not None:
                    return block
            block = memo.find_old(data, len(data))
            if block is not None:
                return block
        return self._step_by_step(data, kind)

    def _by_layout(self, layout: Layout, data: bytes) -> HeaderBlock | None:
        """Decode a block that differs from an earlier one in its volatile values only; None if it does not."""
        position = 0
        size = layout.part.size
        volatile = []
        try:
            for lead, length, name, wire, fixed in layout.steps:
                if not data.startswith(lead, position):
                    return None
                position += length
                count = data[position]
                if count < 127:
                    end = position + 1 + count
                    value = data[position + 1 : end]
                    # a value cut short by the block's end fails at the tail's comparison
                    if value.translate(None, VISIBLE) and VALUE_IS_LEGAL(value) is None:
                        return None
                    volatile.append(Field(name, value, wire + data[position:end], fixed + count, 0, False, True))  # noqa: FBT003
                    size += fixed + count
                elif 128 <= count < 255:
                    end = position + count - 127
                    field = literal(name, decode_huffman(data[position + 1 : end]))
                    volatile.append(field)
                    size += field.size
                else:
                    return None
                position = end
        except (IndexError, ValueError, HPACKError):
            return None  # the careful way names the fault
        if data[position:] != layout.tail or position > len(data) or size > self._max_list:
            return None
        return HeaderBlock(layout.part, tuple(volatile))

    def _step_by_step(self, data: bytes, kind: Kind) -> HeaderBlock:
        try:
            return self._fields(data, kind)
        except IndexError:
            msg = "a field is cut short by the block's end"
            raise CompressionError(msg) from None

    def _fields(self, data: bytes, kind: Kind) -> HeaderBlock:
        position = start = self._size_updates(data)
        end = len(data)
        known = self._memo.by_wire.young
        table = self._table
        stable: list[Field] = []
        volatile: list[Field] = []
        values_at: list[tuple[int, int]] = []
        before_volatile = -1
        failure: MalformedError | None = None
        size = count = 0
        while position < end:
            at = position
            first = data[at]
            field: Field | None
            if first >= 0x80:
                value_at = -1
                index = first & 0x7F
                position += 1
                if index == 0x7F:
                    index, position = _integer(data, at, 0x7F)
                if 0 < index <= _STATIC_COUNT:
                    field = _STATIC[index]
                else:
                    field, failure = self._made(*self._dynamic(index), failure)
            else:
                if first >= 0x40:
                    index, full = first & 0x3F, 0x3F
                elif first < 0x20:
                    index, full = first & 0x0F, 0x0F
                else:
                    msg = "a table size update stands after a field"
                    raise CompressionError(msg)
                position += 1
                if index == full:
                    index, position = _integer(data, at, full)
                name_at = position
                if index == 0:
                    length = data[position] & 0x7F
                    position = position + 1 + length if length < 0x7F else _string_end(data, position)
                value_at = position
                length = data[position] & 0x7F
                position = position + 1 + length if length < 0x7F else _string_end(data, position)
                if position > end:
                    msg = "a string is longer than the block"
                    raise CompressionError(msg)
                field = known.get(data[at:position])
                if field is None:
                    name = _string(data, name_at, value_at) if index == 0 else self._name(index)
                    value = _string(data, value_at, position)
                    field, failure = self._made(name, value, failure, sensitive=0x10 <= first < 0x20)
                    if field is not None and index <= _STATIC_COUNT:
                        self._remember_wire(data[at:position], field)
                        known = self._memo.by_wire.young
                    if first >= 0x40 and table is not None:
                        table.add(name, value)
                elif first >= 0x40 and table is not None:
                    table.add(field.name, field.value)
            count += 1
            if field is not None:
                size += field.size
            if failure is None and (size > self._max_list or count > self._max_fields):
                failure = HeaderListTooLargeError(
                    f"header list: more than {self._max_list} bytes or {self._max_fields} fields"
                )
            if failure is not None or field is None:
                continue  # the rest may still be a compression error, and change the dynamic table
            if field.volatile:
                if before_volatile < 0:
                    before_volatile = len(stable)
                volatile.append(field)
                values_at.append((value_at, position))
            else:
                stable.append(field)
        if failure is not None:
            raise failure
        key = tuple(stable)
        part = self._known_part(key, kind)
        seen_before = part is not None
        if part is None:
            part = self._new_part(key, kind)
        if 0 <= before_volatile < part.pseudo:
            msg = "a pseudo-header comes after a regular field"
            raise MalformedError(msg)
        block = HeaderBlock(part, tuple(volatile))
        # what came once need not come again: a peer that varies its fields does not pay for layouts
        if seen_before and table is None and start == 0 and end <= _REMEMBERED_BLOCK:
            self._remember(data, kind, block, values_at)
        return block

    def _made(
        self, name: bytes, value: bytes, failure: MalformedError | None, *, sensitive: bool = False
    ) -> tuple[Field | None, MalformedError | None]:
        """Return a field, or None and why: a block is refused at its end, when the dynamic table has seen all of it."""
        try:
            return self._remembered(name, value, sensitive=sensitive), failure
        except MalformedError as exc:
            return None, failure or exc

    def _remember_wire(self, wire: bytes, field: Field) -> None:
        if len(wire) <= REMEMBERED_LENGTH and not field.sensitive and not field.volatile:
            self._memo.by_wire.put(wire, field, len(wire))

    def _remember(self, data: bytes, kind: Kind, block: HeaderBlock, values_at: list[tuple[int, int]]) -> None:
        # an empty grpc-message is in nearly every trailers block
        if not any(field.value or field.sensitive for field in block.volatile):
            self._blocks[kind].put(data, block, len(data))
            return
        steps = []
        position = 0
        for field, (value_at, value_end) in zip(block.volatile, values_at, strict=True):
            if field.sensitive or value_at < 0:
                return
            lead = data[position:value_at]
            fixed = len(field.name) + FIELD_OVERHEAD
            steps.append((lead, len(lead), field.name, wire_name(field.name, sensitive=False), fixed))
            position = value_end
        self._layouts[kind].put(data[:_LAYOUT_KEY], Layout(block.part, tuple(steps), data[position:]), len(data))

    def _known_part(self, stable: tuple[Field, ...], kind: Kind) -> StablePart | None:
        memo = self._memo.parts[kind]
        part = memo.young.get(stable)
        if part is None:
            part = memo.find_old(stable, sum([field.size for field in stable]))
        return part

    def _new_part(self, stable: tuple[Field, ...], kind: Kind) -> StablePart:
        part = StablePart(stable, kind)
        if part.cacheable:
            self._memo.parts[kind].put(stable, part, part.size)
        return part

    def _remembered(self, name: bytes, value: bytes, *, sensitive: bool) -> Field:
        if sensitive or name in VOLATILE_NAMES:
            return literal(name, value, sensitive=sensitive)
        key = (name, value)
        memo = self._memo.by_value
        field = _STATIC_BY_VALUE.get(key) or memo.young.get(key) or memo.find_old(key, len(name) + len(value))
        if field is None:
            field = literal(name, value, sensitive=False)
            if len(field.wire) <= REMEMBERED_LENGTH:
                memo.put(key, field, len(field.wire))
        return field

    def _size_updates(self, data: bytes) -> int:
        """Take the table size updates at the block's start (RFC 7541 section 4.2); return where the fields begin."""
        position = 0
        while position < len(data) and data[position] & 0xE0 == 0x20:
            capacity, position = _integer(data, position, 0x1F)
            if capacity > self._max_capacity:
                msg = f"table size update to {capacity}, {self._max_capacity} is allowed"
                raise CompressionError(msg)
            if capacity == 0:
                self._table = None
            else:
                self._table = self._table or HeaderTable()
                self._table.maxsize = capacity
            self._must_update = False
        if self._must_update:
            msg = "no table size update after the reduction to 0 was acknowledged"
            raise CompressionError(msg)
        return position

    def _dynamic(self, index: int) -> tuple[bytes, bytes]:
        if self._table is None:
            msg = f"index {index}: the dynamic table has no room"
            raise CompressionError(msg)
        try:
            return self._table.get_by_index(index)
        except HPACKError as exc:
            msg = f"index {index}: no such entry"
            raise CompressionError(msg) from exc

    def _name(self, index: int) -> bytes:
        field = _STATIC[index] if index <= _STATIC_COUNT else None
        return field.name if field is not None else self._dynamic(index)[0]


def _integer(data: bytes, at: int, mask: int) -> tuple[int, int]:
    """Return (value, position after it) of the integer whose prefix is `mask` of the byte at `at` (section 5.1)."""
    try:
        value = data[at] & mask
        at += 1
        if value < mask:
            return value, at
        for shift in range(0, 7 * _LONGEST_INTEGER, 7):
            byte = data[at]
            at += 1
            value += (byte & 0x7F) << shift
            if byte < 0x80:
                return value, at
    except IndexError:
        msg = "an integer is cut short by the block's end"
        raise CompressionError(msg) from None
    msg = f"an integer is longer than {_LONGEST_INTEGER + 1} bytes"
    raise CompressionError(msg)


def _string_end(data: bytes, at: int) -> int:
    length, at = _integer(data, at, 0x7F)
    return at + length


def _string(data: bytes, at: int, end: int) -> bytes:
    """Return the string literal between `at` and `end` (section 5.2)."""
    _length, begin = _integer(data, at, 0x7F)
    text = data[begin:end]
    if data[at] < 0x80:
        return text
    try:
        return decode_huffman(text)
    except HPACKError as exc:
        msg = "a Huffman string is invalid"
        raise CompressionError(msg) from exc
