"""What the frames do that carry no content: PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, PUSH_PROMISE.

Each takes (flags, stream, payload, events) and either acts or raises `ConnectionFault` (RFC 9113 sections 6.3 to 6.9).
DATA and header blocks are `inbound`'s.
"""

from typing import Final

from zonegate.gateway.http2.events import Event, GoAwayReceived, PingAcked, SettingsChanged, StreamReset
from zonegate.gateway.http2.frames import (
    ACK,
    MAX_STREAM_ID,
    MAX_WINDOW,
    SETTINGS_ACK,
    ErrorCode,
    Setting,
    parse_settings,
    ping_ack,
)
from zonegate.gateway.http2.settings import ConnectionFault
from zonegate.gateway.http2.state import ConnectionState

DRAIN_PING: Final = b"zg-drain"
_SETTINGS_PER_COST: Final = 32


class ControlFrames(ConnectionState):
    """The handlers, by name; `inbound` has the table."""

    def _on_priority(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:  # noqa: ARG002 - one signature for all frames
        if stream_id == 0:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        self._spend(self._budgets.empty, "PRIORITY frames")
        if len(payload) != 5:
            if self._is_idle(stream_id):
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes")
            self._stream_fault(stream_id, ErrorCode.FRAME_SIZE_ERROR, f"PRIORITY of {len(payload)} bytes", events)

    def _on_reset(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:  # noqa: ARG002
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"RST_STREAM of {len(payload)} bytes")
        if self._is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"RST_STREAM on idle stream {stream_id}")
        self._spend(self._budgets.resets, "RST_STREAM frames")
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outbound.drop(stream)
            self._note_reset(stream_id, by_us=False)
            events.append(StreamReset(stream_id, int.from_bytes(payload), False))  # noqa: FBT003

    def _on_settings(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"SETTINGS on stream {stream_id}")
        if flags & ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            self._on_settings_ack()
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"SETTINGS of {len(payload)} bytes")
        pairs = parse_settings(payload)
        self._spend(self._budgets.settings, "SETTINGS", 1 + len(pairs) // _SETTINGS_PER_COST)
        peer, outbound = self.peer_settings, self._outbound
        table_size = peer.header_table_size
        for code, value in pairs:
            peer.apply(code, value, from_server=not self._server)
        if not self._got_settings:
            self._got_settings = True
            self._special = False
            if not any(code == Setting.MAX_CONCURRENT_STREAMS for code, _ in pairs):
                peer.max_concurrent_streams = MAX_STREAM_ID  # section 6.5.2: initially there is no limit
        if peer.header_table_size < table_size:
            outbound.announce_no_table()
        outbound.max_frame_size = peer.max_frame_size
        if peer.initial_window != outbound.initial_window:
            outbound.change_initial_window(peer.initial_window)
            self._flush_due = True
        outbound.control(SETTINGS_ACK)
        events.append(SettingsChanged())

    def _on_settings_ack(self) -> None:
        if self.settings_acked:
            self._spend(self._budgets.settings, "SETTINGS acknowledgements")
            return
        self.settings_acked = True
        self._decoder.settings_acked()
        excess = self._stream_window - self.limits.initial_window
        self._stream_window = self.limits.initial_window
        for stream in self._streams.values():
            stream.receive_window -= excess

    def _on_push_promise(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:  # noqa: ARG002
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE: push is not enabled")

    def _on_ping(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"PING on stream {stream_id}")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"PING of {len(payload)} bytes")
        if not flags & ACK:
            self._spend(self._budgets.pings, "PING frames")
            self._outbound.control(ping_ack(payload))
        elif self._draining == 1 and payload == DRAIN_PING:
            self.goaway(ErrorCode.NO_ERROR)
        elif payload in self._open_pings:
            del self._open_pings[payload]
            events.append(PingAcked(payload))
        else:
            self._spend(self._budgets.pings, "PING acknowledgements")

    def _on_goaway(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:  # noqa: ARG002
        if stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"GOAWAY on stream {stream_id}")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"GOAWAY of {len(payload)} bytes")
        self._spend(self._budgets.settings, "GOAWAY frames")
        last = int.from_bytes(payload[:4]) & MAX_STREAM_ID
        event = GoAwayReceived(last, int.from_bytes(payload[4:8]), payload[8:])
        self.goaway_received = event
        events.append(event)
        if not self._server:
            for stream in [stream for stream in self._streams.values() if stream.id > last]:
                self._outbound.drop(stream)
                events.append(StreamReset(stream.id, ErrorCode.REFUSED_STREAM, False, "not taken before GOAWAY"))  # noqa: FBT003

    def _on_window_update(self, flags: int, stream_id: int, payload: bytes, events: list[Event]) -> None:  # noqa: ARG002
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"WINDOW_UPDATE of {len(payload)} bytes")
        self._spend_window_update()
        increment = int.from_bytes(payload) & MAX_WINDOW
        if stream_id == 0:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._outbound.open_window(increment)
            self._flush_due = True
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            if self._is_idle(stream_id):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"WINDOW_UPDATE on idle stream {stream_id}")
        elif not increment:
            self._stream_fault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0", events)
        elif stream.send_window + increment > MAX_WINDOW:
            self._stream_fault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "the stream's window passes 2^31-1", events)
        else:
            stream.send_window += increment
            self._flush_due = True
