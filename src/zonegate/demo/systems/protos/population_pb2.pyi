from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Citizen(_message.Message):
    __slots__ = ("number", "birth_date")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BIRTH_DATE_FIELD_NUMBER: _ClassVar[int]
    number: str
    birth_date: str
    def __init__(self, number: _Optional[str] = ..., birth_date: _Optional[str] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("matches",)
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    matches: bool
    def __init__(self, matches: _Optional[bool] = ...) -> None: ...

class ListRequest(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class ClueRequest(_message.Message):
    __slots__ = ("clue",)
    CLUE_FIELD_NUMBER: _ClassVar[int]
    clue: str
    def __init__(self, clue: _Optional[str] = ...) -> None: ...

class Clue(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: str
    def __init__(self, text: _Optional[str] = ...) -> None: ...
