from google.protobuf import empty_pb2 as _empty_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Figure(_message.Message):
    __slots__ = ("indicator", "period", "value")
    INDICATOR_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    indicator: str
    period: str
    value: int
    def __init__(self, indicator: _Optional[str] = ..., period: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class Query(_message.Message):
    __slots__ = ("indicator",)
    INDICATOR_FIELD_NUMBER: _ClassVar[int]
    indicator: str
    def __init__(self, indicator: _Optional[str] = ...) -> None: ...
