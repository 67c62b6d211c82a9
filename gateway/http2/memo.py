"""What the header decoder remembers, within bounds: whole blocks, layouts, checked parts, fields.

A memo holds two generations and drops the older one when the younger is full, so what is used stays, and a peer that
varies its fields without end costs a bounded number of bytes. What may be remembered is `decoder`'s to say.
"""

from typing import Generic, TypeVar

from zonegate.gateway.http2.headers import Field, HeaderBlock, Kind, StablePart

_K = TypeVar("_K")
_V = TypeVar("_V")


class Memo(Generic[_K, _V]):
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


# The bytes up to a volatile value, their length, the field's name, how it begins on the wire, its size but the value.
Step = tuple[bytes, int, bytes, bytes, int]


class Layout:
    """A block's shape: for each volatile field the constant bytes up to its value, then the constant tail."""

    __slots__ = ("part", "steps", "tail")

    def __init__(self, part: StablePart, steps: tuple[Step, ...], tail: bytes) -> None:
        self.part = part
        self.steps = steps
        self.tail = tail


class HeaderMemo:
    """What decoders remember. One may serve many connections of the same limits: it holds nothing that belongs to one.

    A peer can tell from timing whether a field that is not never-indexed was seen before by the same memo
    (RFC 7541 section 7.1), and can push others' entries out of it; give each identity its own where that matters.
    """

    __slots__ = ("__weakref__", "_limits", "blocks", "by_value", "by_wire", "layouts", "parts")

    def __init__(self, *, max_entries: int = 128, max_bytes: int = 32_768) -> None:
        self.blocks: tuple[Memo[bytes, HeaderBlock], ...] = tuple(Memo(max_entries, max_bytes) for _ in Kind)
        self.layouts: tuple[Memo[bytes, Layout], ...] = tuple(Memo(max_entries, max_bytes) for _ in Kind)
        self.parts: tuple[Memo[tuple[Field, ...], StablePart], ...] = tuple(Memo(max_entries, max_bytes) for _ in Kind)
        self.by_wire: Memo[bytes, Field] = Memo(max_entries, max_bytes)
        self.by_value: Memo[tuple[bytes, bytes], Field] = Memo(max_entries, max_bytes)
        self._limits: tuple[int, int] | None = None

    def bind(self, max_list: int, max_fields: int) -> None:
        """Serve decoders of these limits only: a block that is remembered is not measured again."""
        if self._limits is None:
            self._limits = (max_list, max_fields)
        elif self._limits != (max_list, max_fields):
            msg = f"memo: serves header lists of {self._limits}, not of {(max_list, max_fields)}"
            raise ValueError(msg)

    def __len__(self) -> int:
        several = (self.blocks, self.layouts, self.parts)
        return len(self.by_wire) + len(self.by_value) + sum(sum(map(len, memos)) for memos in several)
