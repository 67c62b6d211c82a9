"""What a connection sends: windows, queues and the bytes for the transport (RFC 9113 sections 5.2 and 6.9).

DATA that the peer's windows or a paused transport hold back waits in its stream's queue, trailers behind it; everything
else goes out at once, in the order of the calls. What is received, and when a stream may be opened, is `connection`'s.
"""

from collections import deque
from typing import Final

from zonegate.gateway.http2.events import DataSent, Event
from zonegate.gateway.http2.frames import (
    DEFAULT_FRAME_SIZE,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEADERS,
    MAX_WINDOW,
    ErrorCode,
    header_frames,
    rst_stream,
)
from zonegate.gateway.http2.settings import ConnectionFault

_pack: Final = HEAD.pack
_NO_TABLE: Final = b"\x20"


class Stream:
    """One open stream, both directions."""

    __slots__ = (
        "credit",
        "ending",
        "expected",
        "got_headers",
        "id",
        "local_closed",
        "queue",
        "queued",
        "receive_window",
        "remote_closed",
        "send_window",
        "trailers",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        self.id = stream_id
        self.send_window = send_window
        self.receive_window = receive_window
        self.credit = 0
        """Received bytes the consumer is done with and the peer has not been told of."""
        self.got_headers = False
        """The peer's first (a client: final) header block has come; the next are trailers."""
        self.expected = -1
        """Bytes of DATA still to come by content-length; negative when none was declared."""
        self.remote_closed = False
        self.local_closed = False
        self.ending = False
        """END_STREAM is queued: nothing more may be sent."""
        self.queue: deque[bytes] | None = None
        self.queued = 0
        self.trailers: bytes | None = None


class Outbound:
    """The sending half. `streams` is shared with the connection: a stream leaves it when both sides have ended."""

    __slots__ = (
        "_no_table",
        "_out",
        "_waiting",
        "backlog",
        "data_frames",
        "initial_window",
        "max_frame_size",
        "queued_total",
        "streams",
        "window",
        "writable",
    )

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.window = DEFAULT_WINDOW
        self.initial_window = DEFAULT_WINDOW
        self.max_frame_size = DEFAULT_FRAME_SIZE
        self.writable = True
        self.queued_total = 0
        self.data_frames = 0
        self.backlog = 0
        """Bytes of frames other than DATA that were queued while the transport was paused."""
        self._out: list[bytes | memoryview] = []
        self._waiting: dict[int, Stream] = {}
        self._no_table = True

    def take(self) -> bytes:
        """Return all bytes that are ready, and forget them."""
        out = self._out
        if not out:
            return b""
        joined = b"".join(out)
        out.clear()
        return joined

    def control(self, frame: bytes) -> None:
        """Queue a frame that is not flow-controlled."""
        self._out.append(frame)
        if not self.writable:
            self.backlog += len(frame)

    def announce_no_table(self) -> None:
        """Begin the next header block with a table size update to 0 (RFC 9113 section 4.3.1).

        No block ever refers to the dynamic table, so the update is due on the first block and, for peers that count
        only the table's declared size, after each reduction.
        """
        self._no_table = True

    def headers(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        """Send a header block, behind the stream's queued DATA if there is any."""
        if stream.ending:
            msg = f"stream {stream.id}: headers after END_STREAM"
            raise ValueError(msg)
        if stream.queue:
            if not end_stream:
                msg = f"stream {stream.id}: only trailers may follow DATA"
                raise ValueError(msg)
            stream.trailers = block
            stream.ending = True
            return
        if self._no_table:
            self._no_table = False
            block = _NO_TABLE + block
        length = len(block)
        flags = 1 if end_stream else 0
        if length <= self.max_frame_size:
            frame = _pack(length << 8 | HEADERS, flags | END_HEADERS, stream.id) + block
        else:
            frame = header_frames(stream.id, block, flags, self.max_frame_size)
        self._out.append(frame)
        if not self.writable:
            self.backlog += len(frame)
        if flags:
            stream.ending = stream.local_closed = True
            if stream.remote_closed:
                self.streams.pop(stream.id, None)

    def data(self, stream: Stream, data: bytes, *, end_stream: bool) -> int:
        """Send or queue DATA; return how many bytes left at once."""
        if stream.ending:
            msg = f"stream {stream.id}: data after END_STREAM"
            raise ValueError(msg)
        length = len(data)
        if (
            stream.queue
            or length > self.window
            or length > stream.send_window
            or length > self.max_frame_size
            or not self.writable
        ):
            return self._data_by_parts(stream, data, end_stream=end_stream)
        self.window -= length
        stream.send_window -= length
        self.data_frames += 1
        self._out.append(_pack(length << 8, 1 if end_stream else 0, stream.id) + data)
        if end_stream:
            self._end(stream)
        return length

    def _data_by_parts(self, stream: Stream, data: bytes, *, end_stream: bool) -> int:
        waited = bool(stream.queue)
        if stream.queue is None:
            stream.queue = deque()
        stream.queue.append(data)
        stream.queued += len(data)
        self.queued_total += len(data)
        stream.ending = end_stream
        self._waiting[stream.id] = stream
        if waited or not self.writable:
            return 0
        sent = 0
        while (n := self._next_frame(stream)) >= 0:
            sent += n
        return sent

    def flush(self, events: list[Event]) -> None:
        """Send what the windows allow now, one frame of each stream in turn."""
        if not self.writable or not self._waiting:
            return
        sent: dict[int, int] = {}
        ready = list(self._waiting.values())
        while ready:
            still = []
            for stream in ready:
                n = self._next_frame(stream)
                if n >= 0:
                    sent[stream.id] = sent.get(stream.id, 0) + n
                    still.append(stream)
            ready = still
        waiting = self._waiting
        events.extend(DataSent(stream_id, n, stream_id not in waiting) for stream_id, n in sent.items())

    def _next_frame(self, stream: Stream) -> int:
        """Send one DATA frame of the stream's queue, and the trailers after the last; -1 when none can go."""
        queue = stream.queue
        if not queue:
            return -1
        piece = queue[0]
        length = len(piece)
        room = min(self.window, stream.send_window, self.max_frame_size)
        if length > room and length:  # an empty frame needs no window (RFC 9113 section 6.9.1)
            if room <= 0:
                return -1
            # the queued rest shares the caller's bytes: no copy for each frame of a large message
            queue[0] = memoryview(piece)[room:]  # type: ignore[assignment]  # read like bytes from here on
            piece, length = memoryview(piece)[:room], room  # type: ignore[assignment]  # joined in `take`
        else:
            queue.popleft()
        self.window -= length
        stream.send_window -= length
        stream.queued -= length
        self.queued_total -= length
        self.data_frames += 1
        last = not queue
        flags = END_STREAM if last and stream.ending and stream.trailers is None else 0
        self._out += (_pack(length << 8, flags, stream.id), piece)
        if last:
            del self._waiting[stream.id]
            if stream.trailers is not None:
                trailers, stream.trailers, stream.ending = stream.trailers, None, False
                self.headers(stream, trailers, end_stream=True)
            elif flags:
                self._end(stream)
        return length

    def _end(self, stream: Stream) -> None:
        stream.ending = True
        stream.local_closed = True
        if stream.remote_closed:
            self.streams.pop(stream.id, None)

    def open_window(self, increment: int) -> None:
        """Take a WINDOW_UPDATE of the connection."""
        self.window += increment
        if self.window > MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "WINDOW_UPDATE: the connection's window passes 2^31-1")

    def change_initial_window(self, value: int) -> None:
        """Move every stream's window by the difference; it may become negative (RFC 9113 section 6.9.2)."""
        change = value - self.initial_window
        self.initial_window = value
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise ConnectionFault(
                    ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE: a stream's window passes 2^31-1"
                )

    def drop(self, stream: Stream) -> None:
        """Forget a stream and what it had queued."""
        self.streams.pop(stream.id, None)
        if self._waiting.pop(stream.id, None) is not None:
            self.queued_total -= stream.queued
        stream.queue = stream.trailers = None
        stream.queued = 0
        stream.ending = stream.local_closed = stream.remote_closed = True

    def discard(self, stream: Stream) -> None:
        """Forget what a stream has queued, so that its end can be told at once; the stream stays."""
        if self._waiting.pop(stream.id, None) is not None:
            self.queued_total -= stream.queued
            stream.queue = stream.trailers = None
            stream.queued = 0
            stream.ending = False

    def reset(self, stream_id: int, code: int) -> None:
        """Queue a RST_STREAM."""
        self.control(rst_stream(stream_id, code))
