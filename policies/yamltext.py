"""[d] Reads YAML text into plain values with a line for each, or says what is wrong with it.

A small part of YAML only: mappings, sequences and scalars, and every scalar is text; what type a field has is the
document model's business, so `no`, `1e3` or an 18-digit organ code never turn into something else. Anchors, aliases,
tags, directives and doubled keys are refused. Works on parser events, never by recursion, with bounded depth and size.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from zonegate.errors import Problem

FILE_MAX_BYTES = 1 << 20
DEPTH_MAX = 12

Value: TypeAlias = "str | list[Value] | dict[str, Value]"
Path: TypeAlias = tuple[str | int, ...]

# The C parser where PyYAML was built with it; both parse the same events.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class TextDocument:
    """One YAML document: its value, and the line of each of its parts by path."""

    file: str
    line: int
    value: Value
    lines: Mapping[Path, int]

    def line_of(self, path: Path) -> int:
        """Return the line of the part at `path`, or of the nearest part around it that exists."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.line)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence being filled."""

    value: dict[str, Value] | list[Value]
    path: Path
    key: str | None = None
    doubled: bool = False


@dataclass(slots=True)
class _Reader:
    """Turns events into documents; broken parts are noted and reading goes on."""

    file: str
    problems: list[Problem] = field(default_factory=list)
    stack: list[_Open] = field(default_factory=list)
    lines: dict[Path, int] = field(default_factory=dict)
    value: "Value | None" = None
    first_line: int = 1

    def note(self, line: int, where: str, message: str) -> None:
        self.problems.append(Problem(self.file, line, where, message))

    def begin(self, line: int) -> None:
        self.stack, self.lines, self.value, self.first_line = [], {}, None, line

    def place(self, line: int) -> Path:
        """Return the path of the value that begins now."""
        if not self.stack:
            return ()
        parent = self.stack[-1]
        if isinstance(parent.value, list):
            return (*parent.path, len(parent.value))
        if parent.key is None:
            return (*parent.path, line)
        # The second of two equal keys is read, so that its own faults show, but apart from the first.
        return (*parent.path, parent.key, line) if parent.doubled else (*parent.path, parent.key)

    def put(self, value: Value, path: Path, line: int) -> None:
        self.lines.setdefault(path, line)
        if not self.stack:
            self.value = value
            return
        parent = self.stack[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
            return
        if parent.key is not None and not parent.doubled:
            parent.value[parent.key] = value
        parent.key, parent.doubled = None, False

    def scalar(self, text: str, line: int) -> None:
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            self.key(parent, text, line)
            return
        self.put(text, self.place(line), line)

    def key(self, parent: _Open, text: str, line: int) -> None:
        path = (*parent.path, text)
        parent.key = text
        if path in self.lines:
            parent.doubled = True
            self.note(line, _dotted(path), f"stands twice, first in line {self.lines[path]}")
        self.lines.setdefault(path, line)

    def open(self, value: dict[str, Value] | list[Value], line: int) -> None:
        path = self.place(line)
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.value, dict) and parent.key is None:
            self.note(line, _dotted(parent.path), "a key must be text")
            # What follows is its value: read it, so that its own faults show, but keep it nowhere.
            parent.key, parent.doubled = "", True
        else:
            self.put(value, path, line)
        self.stack.append(_Open(value, path))


def read_text(file: str, raw: bytes) -> tuple[list[TextDocument], list[Problem]]:
    """Return the documents in `raw` and every problem found; after a syntax error the rest of the file is not read."""
    if len(raw) > FILE_MAX_BYTES:
        return [], [Problem(file, None, "", f"is {len(raw)} bytes, at most {FILE_MAX_BYTES} are allowed")]
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        return [], [Problem(file, line, "", "is not UTF-8")]
    reader = _Reader(file)
    documents: list[TextDocument] = []
    try:
        documents.extend(_documents(reader, text))
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        reader.note(1 if mark is None else mark.line + 1, "", f"is not YAML: {exc.problem or exc.context}")
    except yaml.YAMLError:
        reader.note(1, "", "is not YAML: it holds characters that YAML does not allow")
    return documents, reader.problems


def _documents(reader: _Reader, text: str) -> Iterator[TextDocument]:
    for event in yaml.parse(text, Loader=_LOADER):
        line = 1 if event.start_mark is None else event.start_mark.line + 1
        match event:
            case yaml.DocumentStartEvent():
                reader.begin(line)
                if event.version or event.tags:
                    reader.note(line, "", "YAML directives are not allowed")
            case yaml.DocumentEndEvent():
                if reader.value is not None:
                    yield TextDocument(reader.file, reader.first_line, reader.value, reader.lines)
            case yaml.AliasEvent():
                reader.note(line, "", "aliases are not allowed: write the value out")
                reader.scalar("", line)
            case yaml.ScalarEvent():
                _plain_only(reader, event, line)
                reader.scalar(event.value, line)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                _plain_only(reader, event, line)
                reader.open({} if isinstance(event, yaml.MappingStartEvent) else [], line)
                if len(reader.stack) > DEPTH_MAX:
                    reader.note(line, "", f"is nested deeper than {DEPTH_MAX}; the rest of the file was not read")
                    return
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                reader.stack.pop()
            case _:
                pass


def _plain_only(reader: _Reader, event: Any, line: int) -> None:
    if event.anchor is not None:
        reader.note(line, "", "anchors are not allowed: write the value out")
    if event.tag is not None:
        reader.note(line, "", "tags are not allowed: every value is text, a list or a mapping")


def _dotted(path: Path) -> str:
    return ".".join(str(part)[:64] for part in path)
