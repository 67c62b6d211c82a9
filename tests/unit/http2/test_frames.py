import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from zonegate.gateway.http2 import frames
from zonegate.gateway.http2.frames import ErrorCode, Setting


def parsed(data: bytes) -> Frame:
    """Read one frame with the hyperframe library."""
    frame, length = Frame.parse_frame_header(memoryview(data)[:9])
    assert len(data) == 9 + length
    frame.parse_body(memoryview(data)[9:])
    return frame


def test_settings_as_hyperframe_reads_them() -> None:
    frame = parsed(frames.settings({Setting.HEADER_TABLE_SIZE: 0, Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}))
    assert isinstance(frame, SettingsFrame)
    assert frame.settings == {1: 0, 4: 2**31 - 1}
    assert parsed(frames.SETTINGS_ACK).flags == {"ACK"}


@pytest.mark.parametrize("stream", [0, 1, 2**31 - 1])
def test_window_update_as_hyperframe_reads_it(stream: int) -> None:
    frame = parsed(frames.window_update(stream, 2**31 - 1))
    assert isinstance(frame, WindowUpdateFrame)
    assert (frame.stream_id, frame.window_increment) == (stream, 2**31 - 1)


@pytest.mark.parametrize("code", ErrorCode)
def test_rst_stream_as_hyperframe_reads_it(code: ErrorCode) -> None:
    frame = parsed(frames.rst_stream(7, code))
    assert isinstance(frame, RstStreamFrame)
    assert (frame.stream_id, frame.error_code) == (7, code)


def test_ping_and_goaway_as_hyperframe_reads_them() -> None:
    ping, ack = parsed(frames.ping(b"12345678")), parsed(frames.ping_ack(b"12345678"))
    assert isinstance(ping, PingFrame)
    assert isinstance(ack, PingFrame)
    assert (ping.opaque_data, ping.flags, ack.flags) == (b"12345678", set(), {"ACK"})
    away = parsed(frames.goaway(5, ErrorCode.ENHANCE_YOUR_CALM, b"slow down"))
    assert isinstance(away, GoAwayFrame)
    assert (away.last_stream_id, away.error_code, away.additional_data) == (5, 11, b"slow down")


def test_data_as_hyperframe_reads_it() -> None:
    frame = parsed(frames.data_head(3, 4, frames.END_STREAM) + b"body")
    assert isinstance(frame, DataFrame)
    assert (frame.data, frame.flags) == (b"body", {"END_STREAM"})


@pytest.mark.parametrize(("size", "pieces"), [(0, 1), (10, 1), (11, 2), (20, 2), (21, 3)])
def test_6_10_a_block_longer_than_a_frame_goes_on_in_continuation(size: int, pieces: int) -> None:
    data = frames.header_frames(9, bytes(range(size)), frames.END_STREAM, 10)
    got = []
    while data:
        length = 9 + int.from_bytes(data[:3])
        got.append(parsed(data[:length]))
        data = data[length:]
    assert len(got) == pieces
    assert isinstance(got[0], HeadersFrame)
    assert "END_STREAM" in got[0].flags
    assert all(isinstance(frame, ContinuationFrame) for frame in got[1:])
    assert ["END_HEADERS" in frame.flags for frame in got] == [False] * (pieces - 1) + [True]
    assert b"".join(frame.data for frame in got) == bytes(range(size))
