"""The peer's settings and what is wrong with a bad one (RFC 9113 section 6.5); our own are in `limits`."""

from zonegate.gateway.http2.frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_TABLE_SIZE,
    DEFAULT_WINDOW,
    LARGEST_FRAME_SIZE,
    MAX_WINDOW,
    ErrorCode,
    Setting,
)

STREAMS_BEFORE_SETTINGS = 100
"""Streams a client opens before it has the server's SETTINGS: the least that section 6.5.2 recommends to allow."""


class ConnectionFault(Exception):  # noqa: N818 - RFC 9113 calls it a connection error; this is the cause, not the event
    """The peer broke a rule that ends the connection (RFC 9113 section 5.4.1). It does not leave the engine."""

    def __init__(self, code: ErrorCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class PeerSettings:
    """The values in force for what we send."""

    __slots__ = (
        "header_table_size",
        "initial_window",
        "max_concurrent_streams",
        "max_frame_size",
        "max_header_list",
    )

    def __init__(self) -> None:
        self.header_table_size = DEFAULT_TABLE_SIZE
        self.initial_window = DEFAULT_WINDOW
        self.max_concurrent_streams = STREAMS_BEFORE_SETTINGS
        self.max_frame_size = DEFAULT_FRAME_SIZE
        self.max_header_list: int | None = None

    def apply(self, code: int, value: int, *, from_server: bool) -> None:
        """Take one setting; `ConnectionFault` says what is wrong with it. Unknown codes are ignored (section 6.5.2)."""
        if code == Setting.HEADER_TABLE_SIZE:
            self.header_table_size = value
        elif code == Setting.ENABLE_PUSH:
            if value > (0 if from_server else 1):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_ENABLE_PUSH: {value} is not allowed")
        elif code == Setting.MAX_CONCURRENT_STREAMS:
            self.max_concurrent_streams = value
        elif code == Setting.INITIAL_WINDOW_SIZE:
            if value > MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, f"SETTINGS_INITIAL_WINDOW_SIZE: {value} > 2^31-1")
            self.initial_window = value
        elif code == Setting.MAX_FRAME_SIZE:
            if not DEFAULT_FRAME_SIZE <= value <= LARGEST_FRAME_SIZE:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS_MAX_FRAME_SIZE: {value} is out of range")
            self.max_frame_size = value
        elif code == Setting.MAX_HEADER_LIST_SIZE:
            self.max_header_list = value
