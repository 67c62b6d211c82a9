"""RFC 9113 sections 5.2 and 6.9: both windows, both ways, with bounded memory; nothing is lost or reordered."""

import itertools

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from support.http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PING,
    REQUEST,
    RESPONSE,
    TRAILERS,
    WINDOW,
    block,
    client,
    exchange,
    frame,
    frames,
    server,
    settings,
    window,
)
from zonegate.gateway.http2.connection import Connection, Limits, Role
from zonegate.gateway.http2.events import (
    ConnectionFailed,
    DataReceived,
    DataSent,
    Event,
    HeadersReceived,
    StreamReset,
    TrailersReceived,
)
from zonegate.gateway.http2.frames import ErrorCode


def data_lengths(engine: Connection) -> list[tuple[int, int, int]]:
    return [(f.stream, len(f.payload), f.flags) for f in frames(engine.take_output()) if f.kind == DATA]


def test_6_9_1_data_leaves_as_the_windows_allow_and_the_rest_waits() -> None:
    engine = client(streams=1)
    assert engine.send_data(1, bytes(70_000), end_stream=True) == 65_535
    assert engine.queued(1) == engine.queued_total == 70_000 - 65_535
    assert data_lengths(engine) == [(1, 16_384, 0), (1, 16_384, 0), (1, 16_384, 0), (1, 16_383, 0)]
    assert engine.receive(window(1, 1_000)) == [], "the connection's window is still shut"
    assert engine.receive(window(0, 400)) == [DataSent(1, 400, False)]
    assert engine.receive(window(0, 600)) == [DataSent(1, 600, False)]
    assert engine.receive(window(0, 100_000) + window(1, 100_000)) == [DataSent(1, 3_465, True)]
    assert data_lengths(engine) == [(1, 400, 0), (1, 600, 0), (1, 3_465, 1)]
    assert engine.queued_total == 0


def test_6_9_1_an_empty_frame_needs_no_window() -> None:
    engine = client(streams=2)
    engine.receive(settings((4, 0)))
    engine.take_output()
    assert engine.send_data(1, b"", end_stream=True) == 0
    assert data_lengths(engine) == [(1, 0, END_STREAM)]
    assert engine.send_data(3, b"x", end_stream=False) == 0
    assert engine.send_data(3, b"", end_stream=True) == 0
    assert data_lengths(engine) == []
    assert engine.receive(window(3, 1)) == [DataSent(3, 1, True)]
    assert data_lengths(engine) == [(3, 1, 0), (3, 0, END_STREAM)]


def test_6_9_2_a_window_may_become_negative() -> None:
    engine = client(streams=1)
    engine.receive(settings((4, 10)))
    engine.receive(settings((4, 65_535)))
    assert engine.send_data(1, bytes(65_535), end_stream=False) == 65_535
    engine.receive(window(0, 100_000) + settings((4, 0)))
    assert engine.send_data(1, b"abc", end_stream=False) == 0
    assert engine.receive(window(1, 65_535)) == []
    assert engine.receive(window(1, 2)) == [DataSent(1, 2, False)]
    assert engine.receive(settings((4, 1)))[1:] == [DataSent(1, 1, True)]


def test_6_9_2_a_larger_window_lets_waiting_data_go() -> None:
    engine = client()
    engine.receive(settings((4, 5)))
    engine.open_stream(REQUEST, end_stream=False)
    assert engine.send_data(1, b"abcdefgh", end_stream=False) == 5
    assert engine.receive(settings((4, 7)))[1:] == [DataSent(1, 2, False)]


def test_trailers_wait_behind_data() -> None:
    engine = server()
    engine.receive(settings((4, 3)) + frame(HEADERS, END_HEADERS | END_STREAM, 3, REQUEST))
    engine.send_headers(3, RESPONSE, end_stream=False)
    assert engine.send_data(3, b"abcdef", end_stream=False) == 3
    engine.send_headers(3, TRAILERS, end_stream=True)
    with pytest.raises(ValueError, match="END_STREAM"):
        engine.send_data(3, b"x", end_stream=False)
    assert [f.kind for f in frames(engine.take_output())] == [4, HEADERS, DATA]
    assert engine.open_streams == 1
    assert engine.receive(window(3, 3)) == [DataSent(3, 3, True)]
    assert [(f.kind, f.flags) for f in frames(engine.take_output())] == [(DATA, 0), (HEADERS, 5)]
    assert engine.open_streams == 0


def test_headers_that_are_no_trailers_may_not_overtake_data() -> None:
    engine = server()
    engine.receive(settings((4, 0)) + frame(HEADERS, END_HEADERS | END_STREAM, 3, REQUEST))
    engine.send_data(3, b"abc", end_stream=False)
    with pytest.raises(ValueError, match="only trailers"):
        engine.send_headers(3, RESPONSE, end_stream=False)


def test_streams_take_turns_when_the_connections_window_opens() -> None:
    engine = client(streams=3)
    engine.receive(settings((4, 10**6)))
    engine.take_output()
    for stream in (1, 3, 5):
        engine.send_data(stream, bytes(100_000), end_stream=False)
    assert sum(length for _, length, _ in data_lengths(engine)) == 65_535
    events = engine.receive(window(0, 6 * 16_384))
    assert {type(e) for e in events} == {DataSent}
    assert [stream for stream, _, _ in data_lengths(engine)] == [1, 3, 5, 1, 3, 5]


def test_discarded_data_lets_a_refusal_overtake_it() -> None:
    engine = server()
    engine.receive(settings((4, 3)) + frame(HEADERS, END_HEADERS | END_STREAM, 3, REQUEST))
    engine.send_headers(3, RESPONSE, end_stream=False)
    assert engine.send_data(3, b"abcdef", end_stream=False) == 3
    engine.send_headers(3, TRAILERS, end_stream=True)
    engine.discard(3)
    assert engine.queued(3) == engine.queued_total == 0
    engine.send_headers(3, TRAILERS, end_stream=True)
    assert [(f.kind, f.flags) for f in frames(engine.take_output())][1:] == [(HEADERS, 4), (DATA, 0), (HEADERS, 5)]
    assert engine.open_streams == 0
    engine.discard(3)
    assert engine.receive(window(3, 100)) == []


class TestPaused:
    def test_data_waits_while_the_transport_is_paused(self) -> None:
        engine = client(streams=2)
        assert engine.set_writable(False) == []
        assert engine.send_data(1, b"abc", end_stream=False) == 0
        assert engine.send_data(1, b"def", end_stream=True) == 0
        assert engine.send_data(3, b"x", end_stream=False) == 0
        assert engine.take_output() == b""
        assert engine.receive(window(0, 10)) == []
        assert engine.set_writable(True) == [DataSent(1, 6, True), DataSent(3, 1, True)]
        assert data_lengths(engine) == [(1, 3, 0), (3, 1, 0), (1, 3, 1)]
        assert engine.set_writable(True) == []

    def test_control_frames_go_out_though(self) -> None:
        engine = client(streams=1)
        engine.set_writable(False)
        engine.reset(1, ErrorCode.CANCEL)
        engine.receive(frame(PING, 0, 0, bytes(8)))
        assert [f.kind for f in frames(engine.take_output())] == [3, PING]

    def test_a_peer_that_asks_and_does_not_read_is_cut_off(self) -> None:
        engine = client(Limits(max_control_backlog=100))
        engine.set_writable(False)
        for _ in range(5):
            assert engine.receive(frame(PING, 0, 0, bytes(8))) == []
        (event,) = engine.receive(frame(PING, 0, 0, bytes(8)))
        assert isinstance(event, ConnectionFailed)
        assert event.code is ErrorCode.ENHANCE_YOUR_CALM


class TestReceiving:
    LIMITS = Limits(initial_window=65_535, connection_window=100_000)

    def engine(self) -> Connection:
        engine = server(self.LIMITS)
        engine.receive(b"".join(frame(HEADERS, END_HEADERS, n, REQUEST) for n in (3, 5)))
        return engine

    def updates(self, engine: Connection) -> list[tuple[int, int]]:
        return [(f.stream, int.from_bytes(f.payload)) for f in frames(engine.take_output()) if f.kind == WINDOW]

    def test_windows_open_again_in_halves(self) -> None:
        engine = self.engine()
        for _ in range(3):
            engine.receive(frame(DATA, 0, 3, bytes(16_384)))
        engine.acknowledge(3, 16_384)
        assert self.updates(engine) == []
        engine.acknowledge(3, 16_384)
        assert self.updates(engine) == [(3, 32_768)]
        engine.acknowledge(3, 16_384)
        assert self.updates(engine) == []
        assert engine.unacknowledged == 0
        engine.receive(frame(DATA, 0, 5, bytes(1_000)))
        engine.acknowledge(5, 1_000)
        assert self.updates(engine) == [(0, 50_152)]

    def test_padding_counts(self) -> None:
        engine = self.engine()
        (event,) = engine.receive(frame(DATA, PADDED, 3, b"\x04abc" + bytes(4)))
        assert isinstance(event, DataReceived)
        assert (event.data, event.flow_bytes) == (b"abc", 8)
        engine.acknowledge(3, 8)
        with pytest.raises(ValueError, match="0 are open"):
            engine.acknowledge(3, 1)

    def test_data_that_is_not_reported_acknowledges_itself(self) -> None:
        engine = self.engine()
        assert engine.receive(frame(DATA, PADDED, 3, b"\x02" + bytes(2)) * 20) == []
        assert engine.unacknowledged == 0
        assert engine._credit == 60

    def test_after_the_stream_only_the_connections_window_opens(self) -> None:
        engine = self.engine()
        engine.receive(frame(DATA, END_STREAM, 3, bytes(16_384)) + frame(DATA, 0, 5, bytes(16_384)) * 3)
        engine.reset(5, ErrorCode.CANCEL)
        engine.take_output()
        engine.acknowledge(3, 16_384)
        engine.acknowledge(5, 3 * 16_384)
        assert self.updates(engine) == [(0, 4 * 16_384)]

    def test_6_9_1_the_connections_window_binds(self) -> None:
        engine = self.engine()
        engine.receive(frame(DATA, 0, 3, bytes(16_384)) * 3 + frame(DATA, 0, 5, bytes(16_384)) * 3)
        room = 100_000 - 6 * 16_384
        assert len(engine.receive(frame(DATA, 0, 5, bytes(room)))) == 1
        (event,) = engine.receive(frame(DATA, 0, 5, b"x"))
        assert isinstance(event, ConnectionFailed)
        assert event.code is ErrorCode.FLOW_CONTROL_ERROR

    def test_6_9_data_on_a_stream_we_reset_gives_its_window_back(self) -> None:
        engine = self.engine()
        engine.reset(3, ErrorCode.CANCEL)
        engine.take_output()
        for _ in range(40):
            assert engine.receive(frame(DATA, 0, 3, bytes(16_384))) == []
        assert engine.failed is None
        assert sum(n for _, n in self.updates(engine)) > 39 * 16_384 - 50_000


SIZES = st.lists(st.integers(0, 40_000), min_size=1, max_size=4)
WINDOWS = st.integers(50, 70_000)


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    payloads=st.lists(SIZES, min_size=1, max_size=3),
    client_window=WINDOWS,
    server_window=WINDOWS,
    connection_window=st.integers(65_535, 120_000),
    schedule=st.lists(st.integers(0, 9), min_size=1, max_size=60),
)
def test_two_engines_deliver_identical_bytes_in_any_order_of_acts(
    payloads: list[list[int]], client_window: int, server_window: int, connection_window: int, schedule: list[int]
) -> None:
    one = Connection(Role.CLIENT, Limits(initial_window=client_window, connection_window=connection_window))
    two = Connection(Role.SERVER, Limits(initial_window=server_window, connection_window=connection_window))
    one.start()
    two.start()
    counter = itertools.count()
    plan = {2 * n + 1: [bytes((next(counter) % 251,)) * size for size in sizes] for n, sizes in enumerate(payloads)}
    got: dict[tuple[Role, int], bytearray] = {}
    ended: dict[tuple[Role, int], bytes | None] = {}
    sent: dict[tuple[Role, int], int] = {}
    unacked: list[tuple[Connection, int, int]] = []
    todo: list[tuple[Connection, int, bytes | None]] = []

    def take(engine: Connection, events: list[Event]) -> None:
        for event in events:
            assert not isinstance(event, (StreamReset, ConnectionFailed)), event
            if isinstance(event, HeadersReceived):
                got[engine.role, event.stream_id] = bytearray()
                if engine is two:
                    two.send_headers(event.stream_id, RESPONSE, end_stream=False)
                    todo.extend((two, event.stream_id, piece) for piece in plan[event.stream_id])
                    todo.append((two, event.stream_id, None))
            elif isinstance(event, DataReceived):
                got[engine.role, event.stream_id] += event.data
                unacked.append((engine, event.stream_id, event.flow_bytes))
                if event.end_stream:
                    ended[engine.role, event.stream_id] = None
            elif isinstance(event, TrailersReceived):
                ended[engine.role, event.stream_id] = event.block.get(b"grpc-status")
            elif isinstance(event, DataSent):
                sent[engine.role, event.stream_id] = sent.get((engine.role, event.stream_id), 0) + event.n
        bound = max(65_535, one.limits.connection_window)
        assert one.unacknowledged <= bound
        assert two.unacknowledged <= bound

    def step(act: int) -> None:
        if act < 3 and todo:
            engine, stream, piece = todo.pop(0)
            if piece is None:
                if engine is one:
                    engine.send_data(stream, b"", end_stream=True)
                else:
                    engine.send_headers(stream, TRAILERS, end_stream=True)
                return
            at_once = engine.send_data(stream, piece, end_stream=False)
            sent[engine.role, stream] = sent.get((engine.role, stream), 0) + at_once
        elif act < 5:
            take(two, two.receive(one.take_output()))
        elif act < 7:
            take(one, one.receive(two.take_output()))
        elif act < 9 and unacked:
            engine, stream, n = unacked.pop()
            engine.acknowledge(stream, n)
        else:
            for engine in (one, two):
                take(engine, engine.set_writable(not engine._outbound.writable))

    for stream, pieces in plan.items():
        assert one.open_stream(REQUEST, end_stream=False) == stream
        todo.extend((one, stream, piece) for piece in pieces)
        todo.append((one, stream, None))
    for act in schedule:
        step(act)
    for engine in (one, two):
        take(engine, engine.set_writable(True))
    for _ in range(100_000):
        if not (todo or unacked or one.open_streams or two.open_streams):
            break
        for act in (0, 3, 5, 7):
            step(act)
    for stream, pieces in plan.items():
        whole = b"".join(pieces)
        for role in Role:
            assert got[role, stream] == whole
            assert sent.get((role, stream), 0) == len(whole)
        assert ended == ended | {(Role.SERVER, stream): None, (Role.CLIENT, stream): b"0"}
    assert one.queued_total == two.queued_total == 0
    assert one.unacknowledged == two.unacknowledged == 0


def test_6_9_2_an_empty_frame_passes_a_negative_receive_window() -> None:
    engine = server(Limits(initial_window=1), acked=False)
    engine.receive(frame(HEADERS, END_HEADERS, 1, REQUEST) + frame(DATA, 0, 1, bytes(100)) + frame(4, 1))
    assert engine._streams[1].receive_window == 1 - 100
    (event,) = engine.receive(frame(DATA, END_STREAM, 1))
    assert event == DataReceived(1, b"", True, 0)


def test_a_large_message_crosses_with_small_windows() -> None:
    one = Connection(Role.CLIENT, Limits())
    two = Connection(Role.SERVER, Limits(initial_window=65_535, connection_window=65_535))
    one.start()
    two.start()
    exchange(one, two)
    stream = one.open_stream(REQUEST, end_stream=False)
    assert stream == 1
    message = bytes(range(256)) * 4096 * 10
    left = one.send_data(stream, message, end_stream=True)
    received = bytearray()
    while not received or two.unacknowledged or one.queued_total:
        for role, event in exchange(one, two):
            if isinstance(event, DataReceived):
                received += event.data
                two.acknowledge(1, event.flow_bytes)
                assert two.unacknowledged <= 65_535
            elif isinstance(event, DataSent):
                assert role is Role.CLIENT
                left += event.n
    assert received == message
    assert left == len(message)


def test_a_block_that_names_nothing_new_is_small_on_the_wire() -> None:
    assert len(block((b"grpc-status", b"0"))) == len(TRAILERS) == 15
