"""[d] Decodes a message strictly by a resource's descriptor set and encodes it anew (XZ-02, architecture section 3).

What leaves is never the bytes that came: it is the runtime's own deterministic encoding of what was understood.
Refused are unknown fields anywhere, unknown enum values, strings that are not UTF-8, missing required fields, an `Any`
whose type is not listed, nesting or size above the bound, trailing bytes. Values are not judged here: labels, marks
and personal numbers inside fields are the business of later inspectors, and `bytes` fields are opaque to this one.

Types without enums, recursion, `Any` or strings that the runtime does not check pass through the runtime alone; the
others are walked first. After a refusal by the runtime the walk names the field.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, EncodeError, Message

from zonegate.errors import ZoneGateError
from zonegate.gateway.inspect.wire import ANY, ANY_PREFIX, Table, Walker, WireError, tables_of
from zonegate.reasons import Reason

DESCRIPTOR_SET_LIMIT_BYTES = 4 << 20
MESSAGE_LIMIT_BYTES = 4 << 20
# The runtime refuses 100 levels by itself; no catalogued record needs half of this.
DEPTH_LIMIT = 32


def _schema_error(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_SCHEMA, detail)


class SchemaFilter:
    """Checks and re-encodes messages of one type; made by `Schemas.filter`, used for the life of a bundle."""

    def __init__(
        self,
        message_class: type[Message],
        walker: Walker,
        *,
        max_bytes: int,
        max_depth: int,
        walk_first: tuple[Walker, ...],
        any_filters: Mapping[str, "SchemaFilter"],
    ) -> None:
        self._from_string = message_class.FromString
        self._walker = walker
        self._walk_first = walk_first
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._any_filters = any_filters
        self.message_name = message_class.DESCRIPTOR.full_name

    def check(self, message: bytes) -> bytes:
        """Return `message` encoded anew, or raise E_SCHEMA or E_MESSAGE_SIZE naming what was found."""
        self._bound(len(message))
        try:
            known = self._renew(message, 1)
        except (DecodeError, EncodeError, WireError) as exc:
            raise self._refusal(message, exc) from exc
        self._bound(len(known))
        return known

    def _renew(self, message: bytes, depth: int) -> bytes:
        for walker in self._walk_first:
            walker.check(message)
        decoded = self._from_string(message)
        if self._any_filters:
            self._renew_anys(decoded, "", depth)
        encoded = decoded.SerializeToString(deterministic=True)
        # Unknown fields survive decoding and encoding; dropping them shows whether there were any.
        decoded.DiscardUnknownFields()
        known = decoded.SerializeToString(deterministic=True)
        if known != encoded:
            self._walker.check(message)
            raise WireError("", "has a field that its descriptor does not allow")
        return known

    def _renew_anys(self, message: Message, path: str, depth: int) -> None:
        # The walk saw each Any as it came; two of them in one singular field merge, so the result is checked again.
        if depth > self._max_depth:
            raise WireError(path, f"nests deeper than {self._max_depth} messages")
        if message.DESCRIPTOR.full_name == ANY:
            url = getattr(message, "type_url")  # noqa: B009 - a field of a class made at run time
            inner = self._any_filters.get(url.removeprefix(ANY_PREFIX))
            if inner is None:
                raise WireError(path, f"is an Any of {url[:120]!r}, which the resource does not list")
            setattr(message, "value", inner._renew(getattr(message, "value"), depth + 1))  # noqa: B009, B010
            return
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            here = f"{path}.{field.name}" if path else field.name
            for child in _children(field, value):
                self._renew_anys(child, here, depth + 1)

    def _bound(self, size: int) -> None:
        if size > self._max_bytes:
            raise ZoneGateError(Reason.E_MESSAGE_SIZE, f"message: has {size} bytes, {self._max_bytes} are allowed")

    def _refusal(self, message: bytes, error: Exception) -> ZoneGateError:
        if not isinstance(error, WireError):
            try:
                self._walker.check(message)
            except WireError as exc:
                error = exc
        return _schema_error(f"{self.message_name}: {str(error)[:300]}")


def _children(field: FieldDescriptor, value: Any) -> list[Message]:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return list(value.values()) if entry.fields_by_name["value"].message_type is not None else []
    return list(value) if field.is_repeated else [value]


class Schemas:
    """The message types of one descriptor set, in a pool of their own."""

    def __init__(self, descriptor_set: bytes) -> None:
        """Load a serialized `FileDescriptorSet` made with its imports; E_SCHEMA says what is wrong with it."""
        self._pool = descriptor_pool.DescriptorPool()
        self._lenient_files: set[str] = set()
        for file in _in_order(_parse_set(descriptor_set)):
            # proto2, and editions that ask for it, leave strings unchecked: the walk checks them.
            if file.syntax != "proto3":
                self._lenient_files.add(file.name)
            try:
                self._pool.Add(file)
            except TypeError as exc:
                raise _schema_error(f"descriptor set: {file.name[:80]!r} cannot be built: {str(exc)[:200]}") from exc

    def filter(
        self,
        message_name: str,
        *,
        max_bytes: int = MESSAGE_LIMIT_BYTES,
        max_depth: int = DEPTH_LIMIT,
        any_types: Iterable[str] = (),
    ) -> SchemaFilter:
        """Return the filter of one message type; `any_types` are the types that an `Any` may carry."""
        descriptor = self._descriptor(message_name)
        listed = {name: self._descriptor(name) for name in any_types}
        # Filled below: a listed type may itself carry an Any of a listed type.
        any_filters: dict[str, SchemaFilter] = {}
        tables: dict[str, Table] = {}
        for root in (*listed.values(), descriptor):
            tables |= tables_of(root, self._extensions)
        any_tables = {name: tables[name] for name in listed}
        needs_walk = self._needs_walk(tables)

        def build(root: Descriptor) -> SchemaFilter:
            walker = Walker(tables[root.full_name], max_depth=max_depth, any_tables=any_tables)
            return SchemaFilter(
                message_factory.GetMessageClass(root),
                walker,
                max_bytes=max_bytes,
                max_depth=max_depth,
                walk_first=(walker,) if needs_walk else (),
                any_filters=any_filters,
            )

        any_filters.update({name: build(root) for name, root in listed.items()})
        return build(descriptor)

    def method_types(self, path: str) -> tuple[str, str]:
        """Return request and response type of `/package.Service/Method`."""
        service_name, _, method_name = path.removeprefix("/").partition("/")
        try:
            method = self._pool.FindServiceByName(service_name).methods_by_name[method_name]
        except KeyError as exc:
            raise _schema_error(f"descriptor set: does not define the method {path[:160]!r}") from exc
        return method.input_type.full_name, method.output_type.full_name

    def _descriptor(self, message_name: str) -> Descriptor:
        try:
            return self._pool.FindMessageTypeByName(message_name)
        except KeyError as exc:
            raise _schema_error(f"descriptor set: does not define the type {message_name[:160]!r}") from exc

    def _extensions(self, descriptor: Descriptor) -> list[FieldDescriptor]:
        return list(self._pool.FindAllExtensions(descriptor))

    def _needs_walk(self, tables: Mapping[str, Table]) -> bool:
        return (
            ANY in tables
            or any(table.file in self._lenient_files for table in tables.values())
            or any(row.enum is not None for table in tables.values() for row in table.rows.values())
            or any(_on_cycle(table) for table in tables.values())
        )


def _on_cycle(start: Table) -> bool:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for row in waiting.pop().rows.values():
            if row.table is None:
                continue
            if row.table is start:
                return True
            if row.table.name not in seen:
                seen.add(row.table.name)
                waiting.append(row.table)
    return False


def _parse_set(descriptor_set: bytes) -> list[descriptor_pb2.FileDescriptorProto]:
    if len(descriptor_set) > DESCRIPTOR_SET_LIMIT_BYTES:
        detail = f"descriptor set: has {len(descriptor_set)} bytes, {DESCRIPTOR_SET_LIMIT_BYTES} are allowed"
        raise _schema_error(detail)
    try:
        parsed = descriptor_pb2.FileDescriptorSet.FromString(descriptor_set)
    except DecodeError as exc:
        raise _schema_error("descriptor set: is not a serialized google.protobuf.FileDescriptorSet") from exc
    if not parsed.file:
        raise _schema_error("descriptor set: holds no file")
    return list(parsed.file)


def _in_order(files: list[descriptor_pb2.FileDescriptorProto]) -> Iterator[descriptor_pb2.FileDescriptorProto]:
    """Yield imports before their users; the set may come in any order."""
    waiting: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    for file in files:
        if file.name in waiting:
            raise _schema_error(f"descriptor set: holds {file.name[:80]!r} twice")
        waiting[file.name] = file
    done: set[str] = set()
    while waiting:
        ready = [file for file in waiting.values() if done.issuperset(file.dependency)]
        if not ready:
            name, file = next(iter(waiting.items()))
            lacking = [item for item in file.dependency if item not in done]
            raise _schema_error(
                f"descriptor set: {name[:80]!r} imports {lacking[0][:80]!r}, which is not in the set "
                "or imports it back; make the set with --include_imports"
            )
        for file in ready:
            del waiting[file.name]
            done.add(file.name)
            yield file
