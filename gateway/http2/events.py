"""What a connection reports: plain slotted classes, made by the million, so they carry no behaviour.

Dispatch on `type(event)`. Nothing here acts; the owner's duties are in each class's text.
"""

from zonegate.gateway.http2.headers import HeaderBlock
from zonegate.reasons import Reason


class Event:
    """Base of all events."""

    __slots__: tuple[str, ...] = ()

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and all(getattr(self, n) == getattr(other, n) for n in self.__slots__)

    __hash__ = None  # type: ignore[assignment]  # events compare by content and are never keys


class HeadersReceived(Event):
    """A request arrived (server), or the final response headers of a stream (client)."""

    __slots__ = ("block", "end_stream", "stream_id")

    def __init__(self, stream_id: int, block: HeaderBlock, end_stream: bool) -> None:  # noqa: FBT001 - a fact, no mode
        self.stream_id = stream_id
        self.block = block
        self.end_stream = end_stream


class TrailersReceived(Event):
    """The trailing field section; the peer has ended its side of the stream."""

    __slots__ = ("block", "stream_id")

    def __init__(self, stream_id: int, block: HeaderBlock) -> None:
        self.stream_id = stream_id
        self.block = block


class DataReceived(Event):
    """A DATA frame. `flow_bytes` (padding included) goes to `acknowledge` once, also when the stream has ended."""

    __slots__ = ("data", "end_stream", "flow_bytes", "stream_id")

    def __init__(self, stream_id: int, data: bytes, end_stream: bool, flow_bytes: int) -> None:  # noqa: FBT001
        self.stream_id = stream_id
        self.data = data
        self.end_stream = end_stream
        self.flow_bytes = flow_bytes

    def __repr__(self) -> str:
        # no payload in a log line
        return f"DataReceived({self.stream_id}, {len(self.data)} bytes, {self.end_stream}, {self.flow_bytes})"


class DataSent(Event):
    """`n` queued bytes of a stream left; `drained`: its queue is empty now."""

    __slots__ = ("drained", "n", "stream_id")

    def __init__(self, stream_id: int, n: int, drained: bool) -> None:  # noqa: FBT001
        self.stream_id = stream_id
        self.n = n
        self.drained = drained


class StreamReset(Event):
    """A stream ended early; `local`: by us, for the peer's fault that `detail` names.

    A stream that was refused before it was announced is reported too, so a consumer ignores ids it does not know.
    """

    __slots__ = ("code", "detail", "local", "stream_id")

    def __init__(self, stream_id: int, code: int, local: bool, detail: str = "") -> None:  # noqa: FBT001
        self.stream_id = stream_id
        self.code = code
        self.local = local
        self.detail = detail


class GoAwayReceived(Event):
    """The peer takes no new streams; own streams above `last_stream_id` follow as reset with REFUSED_STREAM."""

    __slots__ = ("code", "debug", "last_stream_id")

    def __init__(self, last_stream_id: int, code: int, debug: bytes) -> None:
        self.last_stream_id = last_stream_id
        self.code = code
        self.debug = debug


class PingAcked(Event):
    """The answer to `ping`."""

    __slots__ = ("opaque",)

    def __init__(self, opaque: bytes) -> None:
        self.opaque = opaque


class SettingsChanged(Event):
    """The peer's settings arrived or changed; `peer_settings` has them, `can_open` may have changed."""

    __slots__ = ()


class ConnectionFailed(Event):
    """The connection is over: GOAWAY is queued, write it and close. Always the last event."""

    __slots__ = ("code", "detail", "reason")

    def __init__(self, code: int, detail: str, reason: Reason = Reason.E_HTTP2) -> None:
        self.code = code
        self.detail = detail
        self.reason = reason
