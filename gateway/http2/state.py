"""What both halves of a connection share: its state, the windows it grants, faults, and the memory of closed streams.

Nothing here reads a frame (`inbound` does) or is called by the owner (`connection` is).
"""

from enum import StrEnum
from typing import Final

from zonegate.gateway.http2.decoder import HpackDecoder
from zonegate.gateway.http2.events import ConnectionFailed, Event, GoAwayReceived, StreamReset
from zonegate.gateway.http2.frames import DEFAULT_WINDOW, MAX_STREAM_ID, PREFACE, ErrorCode, goaway, window_update
from zonegate.gateway.http2.limits import Budget, Budgets, Limits
from zonegate.gateway.http2.memo import HeaderMemo
from zonegate.gateway.http2.outbound import Outbound, Stream
from zonegate.gateway.http2.settings import ConnectionFault, PeerSettings

_REMEMBERED_RESETS: Final = 256


class Role(StrEnum):
    """Which end of the connection this is."""

    CLIENT = "client"
    SERVER = "server"


class ConnectionState:
    """The state of one connection, and the steps that more than one kind of frame takes."""

    def __init__(self, role: Role, limits: Limits, memo: HeaderMemo | None = None) -> None:
        self.role = role
        self.limits = limits
        self.peer_settings = PeerSettings()
        self.failed: ConnectionFailed | None = None
        self.goaway_received: GoAwayReceived | None = None
        self.settings_acked = False
        self._server = role is Role.SERVER
        self._decoder = HpackDecoder(
            HeaderMemo() if memo is None else memo, max_list=limits.max_header_list, max_fields=limits.max_header_fields
        )
        self._budgets = Budgets(limits)
        self._outbound = Outbound()
        self._streams = self._outbound.streams
        self._tail = bytearray()
        self._need = 0
        # Before the first SETTINGS and inside a header block only one kind of frame may come.
        self._preface_left = len(PREFACE) if self._server else 0
        self._got_settings = False
        self._special = True
        self._block_stream = 0
        self._block_flags = 0
        self._block_frames = 0
        self._block = bytearray()
        self._window = DEFAULT_WINDOW
        self._credit = 0
        self._unacknowledged = 0
        self._half_window = max(1, limits.connection_window // 2)
        self._half_stream_window = max(1, limits.initial_window // 2)
        # Until our SETTINGS are acknowledged the peer may go by the default.
        self._stream_window = max(DEFAULT_WINDOW, limits.initial_window)
        self._highest = 0
        self._next_id = 1
        self._gaps: list[tuple[int, int]] = []
        self._resets: dict[int, bool] = {}
        self._last_accepted = MAX_STREAM_ID
        self._draining = 0
        self._open_pings: dict[bytes, None] = {}
        self._drain_ticks = 0
        self._flush_due = False
        self._window_credit = 0
        self._max_resets_noted = max(_REMEMBERED_RESETS, 2 * limits.max_concurrent_streams)

    def goaway(self, code: int, debug: bytes = b"") -> None:
        """Take no new streams; those that are open go on."""
        self._draining = 2
        self._last_accepted = self._highest if self._server else 0
        self._outbound.control(goaway(self._last_accepted, code, debug))

    def _give_back(self, n: int) -> None:
        self._credit += n
        if self._credit >= self._half_window:
            self._outbound.control(window_update(0, self._credit))
            self._window += self._credit
            self._credit = 0

    def _give_back_to(self, stream: Stream, n: int) -> None:
        stream.credit += n
        if stream.credit >= self._half_stream_window:
            self._outbound.control(window_update(stream.id, stream.credit))
            stream.receive_window += stream.credit
            stream.credit = 0

    def _remote_end(self, stream: Stream) -> None:
        stream.remote_closed = True
        if stream.local_closed:
            self._streams.pop(stream.id, None)

    def _abandon(self, stream: Stream, code: int) -> None:
        self._outbound.drop(stream)
        self._outbound.reset(stream.id, code)
        self._note_reset(stream.id, by_us=True)

    def _stream_fault(self, stream_id: int, code: ErrorCode, detail: str, events: list[Event]) -> None:
        """End a stream for the peer's fault (section 5.4.2)."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outbound.drop(stream)
        self._outbound.reset(stream_id, code)
        self._note_reset(stream_id, by_us=True)
        events.append(StreamReset(stream_id, code, True, detail))  # noqa: FBT003
        # a peer that makes us reset is a peer that resets (CVE-2025-8671)
        self._spend(self._budgets.resets, "stream errors")

    def _note_reset(self, stream_id: int, *, by_us: bool) -> None:
        resets = self._resets
        resets.pop(stream_id, None)
        resets[stream_id] = by_us
        if len(resets) > self._max_resets_noted:
            del resets[next(iter(resets))]

    def _is_idle(self, stream_id: int) -> bool:
        return stream_id > self._highest or not stream_id & 1

    def _closed(self, stream_id: int, frame: str) -> bool:
        """Judge a frame on a stream that is not open (section 5.1): True means that it is to be ignored."""
        if self._is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{frame} on idle stream {stream_id}")
        by_us = self._resets.get(stream_id)
        if by_us is not None:
            return by_us
        if any(low < stream_id < high for low, high in self._gaps):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{frame} on stream {stream_id}, which was skipped")
        raise ConnectionFault(ErrorCode.STREAM_CLOSED, f"{frame} on stream {stream_id}, which has ended")

    def _spend(self, budget: Budget, what: str, cost: int = 1) -> None:
        if not budget.spend(cost):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {what}")

    def _spend_window_update(self) -> None:
        outbound = self._outbound
        credit = min(self._window_credit + 4 * outbound.data_frames, self.limits.max_window_updates)
        outbound.data_frames = 0
        self._window_credit = credit - 1
        if not credit:
            self._window_credit = 0
            self._spend(self._budgets.window_updates, "WINDOW_UPDATE frames")

    def _fail(self, code: ErrorCode, detail: str, events: list[Event]) -> None:
        self.failed = ConnectionFailed(code, detail)
        self._outbound.control(goaway(self._highest if self._server else 0, code, detail.encode()[:128]))
        for stream in list(self._streams.values()):
            self._outbound.drop(stream)
        self._tail.clear()
        self._block.clear()
        events.append(self.failed)
