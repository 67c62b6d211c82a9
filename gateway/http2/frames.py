"""The HTTP/2 wire: frame types, flags, error codes, settings, and one serialiser for each frame that is sent.

Numbers are plain integers where the receive loop compares them; parsing is in `connection`, which reads frames in
place. RFC 9113 sections 4, 6 and 7.
"""

import struct
from enum import IntEnum
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

FRAME_HEADER_LENGTH: Final = 9
MAX_STREAM_ID: Final = 2**31 - 1
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_SIZE: Final = 16_384
LARGEST_FRAME_SIZE: Final = 2**24 - 1
DEFAULT_TABLE_SIZE: Final = 4_096

# Length and type share the first 32 bits: one unpack gives (length << 8 | type, flags, stream).
HEAD: Final = struct.Struct(">IBI")
_SETTING: Final = struct.Struct(">HI")
_U32: Final = struct.Struct(">I")
_CONTROL_U32: Final = struct.Struct(">IBII")
_GOAWAY: Final = struct.Struct(">IBIII")


class ErrorCode(IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Setting(IntEnum):
    """RFC 9113 section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


SETTINGS_ACK: Final = HEAD.pack(SETTINGS, ACK, 0)


def settings(values: dict[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(_SETTING.pack(code, value) for code, value in values.items())
    return HEAD.pack(len(payload) << 8 | SETTINGS, 0, 0) + payload


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the (code, value) pairs of a SETTINGS payload whose length is a multiple of 6."""
    return list(_SETTING.iter_unpack(payload))


def window_update(stream_id: int, increment: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection."""
    return _CONTROL_U32.pack(4 << 8 | WINDOW_UPDATE, 0, stream_id, increment)


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return _CONTROL_U32.pack(4 << 8 | RST_STREAM, 0, stream_id, code)


def ping(opaque: bytes) -> bytes:
    """Return a PING frame around 8 opaque bytes."""
    return HEAD.pack(8 << 8 | PING, 0, 0) + opaque


def ping_ack(opaque: bytes) -> bytes:
    """Return the answer to a PING."""
    return HEAD.pack(8 << 8 | PING, ACK, 0) + opaque


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """Return a GOAWAY frame."""
    return _GOAWAY.pack((8 + len(debug)) << 8 | GOAWAY, 0, 0, last_stream_id, code) + debug


def data_head(stream_id: int, length: int, flags: int) -> bytes:
    """Return the nine bytes before a DATA payload."""
    return HEAD.pack(length << 8, flags, stream_id)


def header_frames(stream_id: int, block: bytes, flags: int, max_frame_size: int) -> bytes:
    """Return HEADERS, with CONTINUATION frames when `block` is longer than one frame (RFC 9113 section 6.10)."""
    length = len(block)
    if length <= max_frame_size:
        return HEAD.pack(length << 8 | HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [HEAD.pack(max_frame_size << 8 | HEADERS, flags, stream_id), block[:max_frame_size]]
    for start in range(max_frame_size, length, max_frame_size):
        piece = block[start : start + max_frame_size]
        last = END_HEADERS if start + max_frame_size >= length else 0
        parts += (HEAD.pack(len(piece) << 8 | CONTINUATION, last, stream_id), piece)
    return b"".join(parts)
