"""HPACK in: bytes of a header block to a checked `HeaderBlock` (RFC 7541), fast where the bytes allow it.

While the peer's dynamic table has room (before it acknowledged our SETTINGS_HEADER_TABLE_SIZE of 0) each block is
decoded step by step with the hpack library's table. Once the table has no room, a block means the same on every
connection, and three memos answer, from the widest to the narrowest:

* whole blocks whose volatile fields are empty, by their bytes;
* layouts: the constant runs of a block around its volatile fields, found by the block's first bytes;
* fields, by their bytes and by (name, value).

A memo holds two generations and drops the older one when the younger is full, so what is used stays and a peer that
varies its fields without end costs a bounded number of bytes. Never-indexed fields are not remembered.
What the fields mean to gRPC is not decided here.
"""

from typing import Final, Generic, TypeVar

from hpack import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from zonegate.gateway.http2.frames import DEFAULT_TABLE_SIZE
from zonegate.gateway.http2.headers import (
    FIELD_OVERHEAD,
    REMEMBERED_LENGTH,
    VALUE_IS_LEGAL,
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

_STATIC: Final = (None, *(literal(name, value) for name, value in HeaderTable.STATIC_TABLE))
_STATIC_BY_VALUE: Final = {(field.name, field.value): field for field in _STATIC if field is not None}
_STATIC_COUNT: Final = len(HeaderTable.STATIC_TABLE)
_REMEMBERED_BLOCK: Final = 1_024
_LAYOUT_KEY: Final = 64
_LONGEST_INTEGER: Final = 5


_K = TypeVar("_K")
_V = TypeVar("_V")


class CompressionError(ValueError):
    """The block cannot be decoded: COMPRESSION_ERROR, the connection fails (RFC 9113 section 4.3)."""


class _Memo(Generic[_K, _V]):
    """A bounded mapping in two generations; reading an old entry makes it young again."""

    __slots__ = ("_bytes", "_max_bytes", "_max_entries", "_old", "young")

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._bytes = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes

    def find_old(self, key: _K, cost: int) -> _V | None:
        """Return an entry that the caller did not find in `young`."""
        value = self._old.get(key)
        if value is not None:
            self.put(key, value, cost)
        return value

    def put(self, key: _K, value: _V, cost: int) -> None:
        """Remember; `cost` is what the entry holds in bytes."""
        if key in self.young:
            self.young[key] = value
            return
        if len(self.young) >= self._max_entries or self._bytes + cost > self._max_bytes:
            self._old = self.young
            self.young = {}
            self._bytes = 0
        self.young[key] = value
        self._bytes += cost

    def __len__(self) -> int:
        return len(self.young) + len(self._old)


class _Layout:
    """A block's shape: for each volatile field the constant bytes up to its value, then the constant tail."""

    __slots__ = ("part", "size", "steps", "tail")

    def __init__(self, part: StablePart, steps: tuple[tuple[bytes, int, bytes, bytes], ...], tail: bytes) -> None:
        self.part = part
        self.steps = steps
        self.tail = tail
        self.size = part.size + sum(len(name) + FIELD_OVERHEAD for _lead, _length, name, _wire in steps)


class HeaderMemo:
    """What decoders remember. One may serve many connections: it holds nothing that belongs to one.

    A peer can tell from timing whether a field that is not never-indexed was seen before by the same memo
    (RFC 7541 section 7.1), and can push others' entries out of it; give each identity its own where that matters.
    """

    __slots__ = ("blocks", "by_value", "by_wire", "layouts", "parts")

    def __init__(self, *, max_entries: int = 512, max_bytes: int = 131_072) -> None:
        self.blocks: tuple[_Memo[bytes, HeaderBlock], ...] = tuple(_Memo(max_entries, max_bytes) for _ in Kind)
        self.layouts: tuple[_Memo[bytes, _Layout], ...] = tuple(_Memo(max_entries, max_bytes) for _ in Kind)
        self.parts: tuple[_Memo[tuple[Field, ...], StablePart], ...] = tuple(
            _Memo(max_entries, max_bytes) for _ in Kind
        )
        self.by_wire: _Memo[bytes, Field] = _Memo(max_entries, max_bytes)
        self.by_value: _Memo[tuple[bytes, bytes], Field] = _Memo(max_entries, max_bytes)

    def __len__(self) -> int:
        several = (self.blocks, self.layouts, self.parts)
        return len(self.by_wire) + len(self.by_value) + sum(sum(map(len, memos)) for memos in several)


class HpackDecoder:
    """Decodes the header blocks of one connection, in their order."""

    __slots__ = ("_blocks", "_layouts", "_max_capacity", "_max_fields", "_max_list", "_memo", "_must_update", "_table")

    def __init__(self, memo: HeaderMemo, *, max_list: int, max_fields: int) -> None:
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

    def _by_layout(self, layout: _Layout, data: bytes) -> HeaderBlock | None:
        """Decode a block that differs from an earlier one in its volatile values only; None if it does not."""
        position = 0
        size = layout.size
        volatile = []
        try:
            for lead, length, name, wire in layout.steps:
                if not data.startswith(lead, position):
                    return None
                position += length
                count = data[position]
                if count < 127:
                    end = position + 1 + count
                    value = data[position + 1 : end]
                    # a value cut short by the block's end fails at the tail's comparison
                    if VALUE_IS_LEGAL(value) is None:
                        return None
                    volatile.append(Field(name, value, wire + data[position:end], 0, False, True))  # noqa: FBT003
                    size += count
                elif 128 <= count < 255:
                    end = position + count - 127
                    field = literal(name, decode_huffman(data[position + 1 : end]))
                    volatile.append(field)
                    size += len(field.value)
                else:
                    return None
                position = end
        except (IndexError, ValueError, HPACKError):
            return None  # the careful way names the fault
        if data[position:] != layout.tail or position > len(data) or size > self._max_list:
            return None
        return HeaderBlock(layout.part, tuple(volatile))

    def _step_by_step(self, data: bytes, kind: Kind) -> HeaderBlock:
        position = start = self._size_updates(data)
        end = len(data)
        by_wire = self._memo.by_wire.young
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
            if first >= 0x80:
                index, position = _integer(data, at, 0x7F)
                field = _STATIC[index] if 0 < index <= _STATIC_COUNT else None
                name, value = (b"", b"") if field is not None else self._dynamic(index)
                sensitive = False
                value_at = -1
            else:
                if 0x20 <= first < 0x40:
                    msg = "a table size update stands after a field"
                    raise CompressionError(msg)
                index, position = _integer(data, at, 0x3F if first >= 0x40 else 0x0F)
                name_at = position
                if index == 0:
                    position = _string_end(data, position)
                value_at = position
                position = _string_end(data, position)
                if position > end:
                    msg = "a string is longer than the block"
                    raise CompressionError(msg)
                sensitive = 0x10 <= first < 0x20
                field = by_wire.get(data[at:position])
                if field is None:
                    name = _string(data, name_at, value_at) if index == 0 else self._name(index)
                    value = _string(data, value_at, position)
                else:
                    name, value = field.name, field.value
                if first >= 0x40 and table is not None:
                    table.add(name, value)
            count += 1
            size += FIELD_OVERHEAD + (len(field.name) + len(field.value) if field else len(name) + len(value))
            if size > self._max_list or count > self._max_fields:
                failure = HeaderListTooLargeError(
                    f"header list: more than {self._max_list} bytes or {self._max_fields} fields"
                )
                if table is None:
                    raise failure
            if failure is not None:
                continue  # the rest is read only for what it does to the dynamic table
            if field is None:
                try:
                    field = self._remembered(name, value, sensitive=sensitive)
                except MalformedError as exc:
                    failure = exc
                    continue
                if (
                    not sensitive
                    and not field.volatile
                    and index <= _STATIC_COUNT
                    and position - at <= REMEMBERED_LENGTH
                ):
                    self._memo.by_wire.put(data[at:position], field, position - at)
                    by_wire = self._memo.by_wire.young
            if field.volatile:
                if before_volatile < 0:
                    before_volatile = len(stable)
                volatile.append(field)
                values_at.append((value_at, position))
            else:
                stable.append(field)
        if failure is not None:
            raise failure
        part = self._part(tuple(stable), kind)
        if 0 <= before_volatile < part.pseudo:
            msg = "a pseudo-header comes after a regular field"
            raise MalformedError(msg)
        block = HeaderBlock(part, tuple(volatile))
        if table is None and start == 0 and part.cacheable and end <= _REMEMBERED_BLOCK:
            self._remember(data, kind, block, values_at)
        return block

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
            steps.append((lead, len(lead), field.name, wire_name(field.name, sensitive=False)))
            position = value_end
        self._layouts[kind].put(data[:_LAYOUT_KEY], _Layout(block.part, tuple(steps), data[position:]), len(data))

    def _part(self, stable: tuple[Field, ...], kind: Kind) -> StablePart:
        memo = self._memo.parts[kind]
        part = memo.young.get(stable)
        if part is None:
            part = memo.find_old(stable, sum([len(field.wire) for field in stable]))
        if part is None:
            part = StablePart(stable, kind)
            if part.cacheable:
                memo.put(stable, part, part.size)
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
