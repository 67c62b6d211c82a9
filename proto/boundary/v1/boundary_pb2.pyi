from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Receipt(_message.Message):
    __slots__ = ("object_id", "crossing_id", "digest", "message_count", "message_bytes", "accepted_at", "caller", "resource", "path", "gateway", "statement", "signature", "certificates")
    OBJECT_ID_FIELD_NUMBER: _ClassVar[int]
    CROSSING_ID_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_AT_FIELD_NUMBER: _ClassVar[int]
    CALLER_FIELD_NUMBER: _ClassVar[int]
    RESOURCE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    STATEMENT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    object_id: str
    crossing_id: str
    digest: str
    message_count: int
    message_bytes: int
    accepted_at: str
    caller: str
    resource: str
    path: str
    gateway: str
    statement: str
    signature: bytes
    certificates: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, object_id: _Optional[str] = ..., crossing_id: _Optional[str] = ..., digest: _Optional[str] = ..., message_count: _Optional[int] = ..., message_bytes: _Optional[int] = ..., accepted_at: _Optional[str] = ..., caller: _Optional[str] = ..., resource: _Optional[str] = ..., path: _Optional[str] = ..., gateway: _Optional[str] = ..., statement: _Optional[str] = ..., signature: _Optional[bytes] = ..., certificates: _Optional[_Iterable[bytes]] = ...) -> None: ...
