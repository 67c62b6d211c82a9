"""What a connection receives: frames to events, every rule of RFC 9113 on the way, and the flood limits.

The receive loop reads frames in place and handles DATA inline, since nearly all bytes are DATA. A rule whose breach
ends the connection raises `ConnectionFault`, which becomes GOAWAY and `ConnectionFailed` in `receive`; a breach that
ends a stream becomes RST_STREAM and `StreamReset`. The calls of the owner are in `connection`.
"""

from collections.abc import Callable
from typing import Final

from zonegate.gateway.http2.control import ControlFrames
from zonegate.gateway.http2.decoder import CompressionError
from zonegate.gateway.http2.events import (
    DataReceived,
    Event,
    HeadersReceived,
    TrailersReceived,
)
from zonegate.gateway.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEADERS,
    MAX_STREAM_ID,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PRIORITY_FLAG,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
)
from zonegate.gateway.http2.headers import HeaderBlock, Kind, MalformedError
from zonegate.gateway.http2.outbound import Stream
from zonegate.gateway.http2.settings import ConnectionFault

_unpack_head: Final = HEAD.unpack_from
_REMEMBERED_GAPS: Final = 16
_NOT_PLAIN: Final = END_HEADERS | PADDED | PRIORITY_FLAG


class Inbound(ControlFrames):
    """The receiving half."""

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the transport, cut anyhow; return what they mean."""
        events: list[Event] = []
        if self.failed is not None:
            return events
        try:
            self._read(data, events)
            outbound = self._outbound
            if outbound.backlog > self.limits.max_control_backlog:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the peer asks for answers and does not read them")  # noqa: TRY301 - one way out for all faults
        except ConnectionFault as fault:
            self._fail(fault.code, fault.detail, events)
        return events

    def _read(self, data: bytes, events: list[Event]) -> None:
        if self._tail:
            tail = self._tail
            tail += data
            if len(tail) < self._need:
                return
            data = bytes(tail)
            tail.clear()
        elif type(data) is not bytes:
            data = bytes(data)
        position = self._read_preface(data) if self._preface_left else 0
        end = len(data)
        largest = self.limits.max_frame_size
        streams = self._streams
        while end - position >= 9:
            word, flags, stream_id = _unpack_head(data, position)
            length = word >> 8
            if length > largest:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes, {largest} are allowed")
            begin = position + 9
            position = begin + length
            if position > end:
                self._need = 9 + length
                position = begin - 9
                break
            kind = word & 0xFF
            stream_id &= MAX_STREAM_ID
            if self._special:
                self._check_special(kind, flags, stream_id)
            if kind == DATA:
                payload = data[begin:position]
                self._window -= length
                if self._window < 0:
                    raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "DATA: the connection's window is exceeded")
                stream = streams.get(stream_id)
                if stream is None or stream.remote_closed or not stream.got_headers:
                    self._data_misplaced(stream_id, stream, length, events)
                    continue
                if flags & PADDED:
                    payload = _unpadded(payload)
                stream.receive_window -= length
                if (stream.receive_window < 0 or stream.expected >= 0 or not payload) and not self._data_special(
                    stream, payload, flags, length, events
                ):
                    continue
                ended = flags & END_STREAM
                if ended:
                    stream.remote_closed = True
                    if stream.local_closed:
                        del streams[stream_id]
                self._unacknowledged += length
                events.append(DataReceived(stream_id, payload, ended == 1, length))
            elif kind == HEADERS:
                if flags & _NOT_PLAIN == END_HEADERS:
                    self._on_block(flags, stream_id, data[begin:position], events)
                else:
                    self._on_headers(flags, stream_id, data[begin:position], events)
            else:
                handler = _HANDLERS.get(kind)
                if handler is None:
                    self._spend(self._budgets.empty, "frames of unknown types")
                else:
                    handler(self, flags, stream_id, data[begin:position], events)
        if position < end:
            if end - position < 9:
                self._need = 9
            self._tail += data[position:]
        if self._flush_due:
            self._flush_due = False
            self._outbound.flush(events)

    # -- the connection's beginning, and header blocks

    def _read_preface(self, data: bytes) -> int:
        """Compare what has come of the client's preface (section 3.4); return where the frames begin."""
        start = len(PREFACE) - self._preface_left
        expected = PREFACE[start : start + len(data)]
        if data[: self._preface_left] != expected:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the client's preface is not that of HTTP/2")
        self._preface_left -= len(expected)
        return len(expected)

    def _check_special(self, kind: int, flags: int, stream_id: int) -> None:
        if not self._got_settings:
            if kind != SETTINGS or flags & ACK:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        elif kind != CONTINUATION or stream_id != self._block_stream:
            raise ConnectionFault(
                ErrorCode.PROTOCOL_ERROR, f"stream {self._block_stream}: a header block is not continued"
            )

    def _on_headers(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:
        """Take HEADERS with padding, with a priority, or with a block that goes on (section 6.2)."""
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        if flags & PADDED:
            payload = _unpadded(payload)
        if flags & PRIORITY_FLAG:
            if len(payload) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS: too short for its priority")
            payload = payload[5:]
        if flags & END_HEADERS:
            self._on_block(flags, stream_id, payload, events)
            return
        self._block_stream = stream_id
        self._block_flags = flags
        self._block_frames = 0
        self._block += payload
        self._special = True

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:
        if not self._block_stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"CONTINUATION on stream {stream_id} after no HEADERS")
        self._block_frames += 1
        if self._block_frames > self.limits.max_continuation:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, f"a header block in more than {self.limits.max_continuation} CONTINUATION"
            )
        self._block += payload
        if len(self._block) > self.limits.max_header_block:
            raise ConnectionFault(
                ErrorCode.ENHANCE_YOUR_CALM, f"a header block of more than {self.limits.max_header_block} bytes"
            )
        if flags & END_HEADERS:
            block = bytes(self._block)
            self._block.clear()
            self._block_stream = 0
            self._special = False
            self._on_block(self._block_flags, stream_id, block, events)

    def _on_block(self, flags: int, stream_id: int, data: bytes, events: list[Event]) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None:
            kind = Kind.TRAILERS if stream.got_headers else Kind.RESPONSE
        elif self._server and stream_id > self._highest and stream_id & 1:
            kind = Kind.REQUEST
            self._note_new(stream_id)
        else:
            self._block_on_closed(stream_id, data, events)
            return
        try:
            block = self._decoder.decode(data, kind)
        except CompressionError as exc:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"stream {stream_id}: {exc}") from exc
        except MalformedError as exc:
            self._stream_fault(stream_id, exc.code, str(exc), events)
            return
        ended = flags & END_STREAM
        if stream is None:
            if len(self._streams) >= self.limits.max_concurrent_streams or stream_id > self._last_accepted:
                self._stream_fault(stream_id, ErrorCode.REFUSED_STREAM, "more streams than are allowed now", events)
                return
            stream = self._streams[stream_id] = Stream(stream_id, self._outbound.initial_window, self._stream_window)
            self._window_credit += 4
        elif kind is Kind.TRAILERS or stream.remote_closed:
            self._on_trailers(stream, block, ended, events)
            return
        elif block.part.informational:
            # RFC 9113 section 8.1: interim responses do not end the stream; gRPC has no use for them
            if ended:
                self._stream_fault(stream_id, ErrorCode.PROTOCOL_ERROR, "1xx response with END_STREAM", events)
            self._spend(self._budgets.empty, "1xx responses")
            return
        stream.got_headers = True
        stream.expected = block.part.content_length
        if ended:
            if stream.expected > 0:
                self._stream_fault(stream_id, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length", events)
                return
            self._remote_end(stream)
        events.append(HeadersReceived(stream_id, block, ended == END_STREAM))

    def _on_trailers(self, stream: Stream, block: HeaderBlock, ended: int, events: list[Event]) -> None:
        if stream.remote_closed:
            self._stream_fault(stream.id, ErrorCode.STREAM_CLOSED, "HEADERS after END_STREAM", events)
        elif not ended:
            self._stream_fault(stream.id, ErrorCode.PROTOCOL_ERROR, "trailers without END_STREAM", events)
        elif stream.expected > 0:
            self._stream_fault(stream.id, ErrorCode.PROTOCOL_ERROR, "less DATA than content-length", events)
        else:
            self._remote_end(stream)
            events.append(TrailersReceived(stream.id, block))

    def _note_new(self, stream_id: int) -> None:
        """Remember the peer's highest stream and the ids it skipped: those are closed, and were never open (5.1.1)."""
        if stream_id > self._highest + 2:
            self._gaps.append((self._highest, stream_id))
            del self._gaps[:-_REMEMBERED_GAPS]
        self._highest = stream_id

    def _block_on_closed(self, stream_id: int, data: bytes, events: list[Event]) -> None:
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on stream 0")
        by_us = self._closed(stream_id, "HEADERS")
        # decoded all the same: before the peer took our table size, its table must stay in step
        try:
            self._decoder.decode(data, Kind.TRAILERS)
        except CompressionError as exc:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"stream {stream_id}: {exc}") from exc
        except MalformedError:
            pass  # whatever it said, nobody is listening
        if not by_us:
            self._stream_fault(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after RST_STREAM", events)

    # -- DATA off the straight path

    def _data_misplaced(self, stream_id: int, stream: Stream | None, length: int, events: list[Event]) -> None:
        """DATA that no consumer will see: it still counts against the connection's window (section 6.9)."""
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on stream 0")
        if stream is None:
            if not self._closed(stream_id, "DATA"):
                self._stream_fault(stream_id, ErrorCode.STREAM_CLOSED, "DATA after RST_STREAM", events)
            elif not length:
                self._spend(self._budgets.empty, "empty frames")
        elif stream.remote_closed:
            self._stream_fault(stream_id, ErrorCode.STREAM_CLOSED, "DATA after END_STREAM", events)
        else:
            self._stream_fault(stream_id, ErrorCode.PROTOCOL_ERROR, "DATA before the response's headers", events)
        self._give_back(length)

    def _data_special(self, stream: Stream, payload: bytes, flags: int, length: int, events: list[Event]) -> bool:
        """Handle DATA that is empty, counted, or too much; whether it is to be reported."""
        # a reduced initial window may leave it negative, and an empty frame needs none (section 6.9.2)
        if stream.receive_window < 0 and length:
            self._stream_fault(stream.id, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window is exceeded", events)
            self._give_back(length)
            return False
        ended = flags & END_STREAM
        if stream.expected >= 0:
            stream.expected -= len(payload)
            if stream.expected < 0 or (ended and stream.expected > 0):
                self._stream_fault(
                    stream.id, ErrorCode.PROTOCOL_ERROR, "DATA does not add up to content-length", events
                )
                self._give_back(length)
                return False
        if not payload and not ended:
            self._spend(self._budgets.empty, "empty frames")
            self._give_back(length)
            self._give_back_to(stream, length)
            return False
        return True


def _unpadded(payload: bytes) -> bytes:
    """Return the payload without its padding (section 6.1)."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the padding is longer than the frame")
    return payload[1 : len(payload) - payload[0]]


# a table of the class's, not of each connection's: bound methods would make every connection a reference cycle
_HANDLERS: Final[dict[int, Callable[[Inbound, int, int, bytes, list[Event]], None]]] = {
    PRIORITY: Inbound._on_priority,
    RST_STREAM: Inbound._on_reset,
    SETTINGS: Inbound._on_settings,
    PUSH_PROMISE: Inbound._on_push_promise,
    PING: Inbound._on_ping,
    GOAWAY: Inbound._on_goaway,
    WINDOW_UPDATE: Inbound._on_window_update,
    CONTINUATION: Inbound._on_continuation,
}
