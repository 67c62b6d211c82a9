"""The HTTP/2 engine between stock grpcio peers and plain sockets: no TLS, no relay, nothing else of zonegate."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

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
from zonegate.gateway.http2.headers import HeaderBlock, encode, literal
from zonegate.gateway.http2.memo import HeaderMemo

TEN_MB = 10 * 1024 * 1024
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
WAIT = 30
RESPONSE = ((b":status", b"200"), (b"content-type", b"application/grpc"))


def block(*pairs: tuple[bytes, bytes]) -> bytes:
    return encode(literal(name, value) for name, value in pairs)


class EchoServer:
    """The engine as a server, a thread a connection: DATA goes back as it came, and `x-` metadata with it.

    The path's last part says otherwise: Refuse answers an error at once, Drain begins to drain.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._memo = HeaderMemo()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.target = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.blocks: list[HeaderBlock] = []
        self.resets: list[StreamReset] = []
        self.failures: list[ConnectionFailed] = []
        self.stateless: list[bool] = []
        self.connections = 0
        self.largest_queue = 0
        self.reset = threading.Event()
        self._workers: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in (self._thread, *self._workers):
            thread.join(WAIT)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._workers.append(threading.Thread(target=self._serve, args=(peer,)))
            self._workers[-1].start()

    def _serve(self, peer: socket.socket) -> None:
        engine = Connection(Role.SERVER, self._limits, self._memo)
        engine.start()
        with peer:
            while True:
                try:
                    peer.sendall(engine.take_output())
                    data = peer.recv(65_536)
                except ConnectionError:
                    data = b""
                if not data or engine.drained:
                    self.stateless.append(engine._decoder.stateless)
                    return
                for event in engine.receive(data):
                    self._answer(engine, event)
                self.largest_queue = max(self.largest_queue, engine.queued_total)

    def _answer(self, engine: Connection, event: Event) -> None:
        if isinstance(event, HeadersReceived):
            self.blocks.append(event.block)
            self._begin(engine, event)
        elif isinstance(event, DataReceived):
            sent = engine.send_data(event.stream_id, event.data, end_stream=False)
            engine.acknowledge(event.stream_id, sent + event.flow_bytes - len(event.data))
            if event.end_stream:
                trailers = block((b"grpc-status", b"0"), (b"x-trailer", b"end"))
                engine.send_headers(event.stream_id, trailers, end_stream=True)
        elif isinstance(event, DataSent):
            engine.acknowledge(event.stream_id, event.n)
        elif isinstance(event, StreamReset):
            self.resets.append(event)
            self.reset.set()
        elif isinstance(event, ConnectionFailed):
            self.failures.append(event)

    def _begin(self, engine: Connection, event: HeadersReceived) -> None:
        act = (event.block.get(b":path") or b"").rpartition(b"/")[2]
        if act == b"Refuse":
            refusal = (*RESPONSE, (b"grpc-status", b"7"), (b"grpc-message", b"not%20here"))
            engine.send_headers(event.stream_id, block(*refusal), end_stream=True)
            engine.reset(event.stream_id, ErrorCode.NO_ERROR)
            return
        if act == b"Drain":
            engine.drain()
        back = [(f.name, f.value) for f in event.block.fields if f.name.startswith(b"x-")]
        engine.send_headers(event.stream_id, block(*RESPONSE, *back), end_stream=False)


@pytest.fixture(params=["usual windows", "small windows"])
def server(request: pytest.FixtureRequest) -> Iterator[EchoServer]:
    small = Limits(initial_window=65_535, connection_window=65_535)
    made = EchoServer(small if request.param == "small windows" else Limits())
    yield made
    made.close()
    assert made.failures == []


@pytest.fixture
def channel(server: EchoServer) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.target, options=OPTIONS) as made:
        yield made


def test_unary_calls_and_their_metadata(server: EchoServer, channel: grpc.Channel) -> None:
    call = channel.unary_unary("/t.Echo/Say")
    for n in range(50):
        sent = (
            ("x-n", str(n)),
            ("x-raw-bin", bytes(range(n))),
            ("zg-purpose", "check"),
            ("traceparent", f"00-{n:032x}"),
        )
        answer, done = call.with_call(b"message %d" % n, metadata=sent, timeout=WAIT)
        assert answer == b"message %d" % n
        back = dict(done.initial_metadata())
        assert (back["x-n"], back["x-raw-bin"]) == (str(n), bytes(range(n)))
        assert ("x-trailer", "end") in done.trailing_metadata()
    assert server.connections == 1
    assert {b.get(b"zg-purpose") for b in server.blocks} == {b"check"}
    assert [b.get(b"traceparent") for b in server.blocks] == [b"00-%032x" % n for n in range(50)]
    assert all(b.get(b"grpc-timeout") for b in server.blocks)


def test_the_same_call_again_is_the_same_stable_fields(server: EchoServer, channel: grpc.Channel) -> None:
    call = channel.unary_unary("/t.Echo/Say")
    for n in range(20):
        call(b"x", metadata=(("zg-case", "17"), ("traceparent", f"00-{n:032x}")), timeout=WAIT - n / 10)
    assert len({b.stable for b in server.blocks}) == 1
    assert len({id(b.stable) for b in server.blocks[-5:]}) == 1


def test_many_calls_at_once(server: EchoServer, channel: grpc.Channel) -> None:
    call = channel.unary_unary("/t.Echo/Say")
    messages = [bytes((n % 256,)) * (n * 37 % 5_000) for n in range(400)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda m: call(m, timeout=WAIT), messages)) == messages


def test_a_large_message_with_bounded_memory(server: EchoServer, channel: grpc.Channel) -> None:
    message = bytes(range(256)) * (TEN_MB // 256)
    assert channel.unary_unary("/t.Echo/Say")(message, timeout=WAIT) == message
    assert server.largest_queue <= server._limits.connection_window


def test_streams_of_messages_both_ways(server: EchoServer, channel: grpc.Channel) -> None:
    messages = [b"%d" % n * (n % 50) for n in range(1_000)]
    assert list(channel.stream_stream("/t.Echo/Talk")(iter(messages), timeout=WAIT)) == messages
    # what is said is answered before the next is said
    turns: list[bytes] = []
    said = threading.Semaphore(1)

    def speak() -> Iterator[bytes]:
        for n in range(20):
            said.acquire(timeout=WAIT)
            yield b"turn %d" % n

    for answer in channel.stream_stream("/t.Echo/Talk")(speak(), timeout=WAIT):
        turns.append(answer)
        said.release()
    assert turns == [b"turn %d" % n for n in range(20)]


def test_a_refusal_before_the_request_is_read(server: EchoServer, channel: grpc.Channel) -> None:
    for message in (b"x", bytes(TEN_MB // 4)):
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/t.Echo/Refuse")(message, timeout=WAIT)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.details() == "not here"


def test_a_cancelled_call_is_a_reset(server: EchoServer, channel: grpc.Channel) -> None:
    over = threading.Event()

    def never_ending() -> Iterator[bytes]:
        yield b"first"
        over.wait(WAIT)

    call = channel.stream_stream("/t.Echo/Talk")(never_ending(), timeout=WAIT)
    assert next(call) == b"first"
    call.cancel()
    over.set()
    assert server.reset.wait(WAIT)
    assert server.resets[0].code == ErrorCode.CANCEL
    assert not server.resets[0].local


def test_a_drain_under_load_loses_no_call(server: EchoServer, channel: grpc.Channel) -> None:
    say, drain = channel.unary_unary("/t.Echo/Say"), channel.unary_unary("/t.Echo/Drain")
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit((drain if n % 60 == 30 else say), b"%d" % n, timeout=WAIT) for n in range(240)]
        assert [call.result(WAIT) for call in calls] == [b"%d" % n for n in range(240)]
    assert server.connections >= 2


class Echo(grpc.GenericRpcHandler):
    """The grpcio server's side: echoes in the four shapes."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        if details.method == "/t.Echo/Say":
            return grpc.unary_unary_rpc_method_handler(self._say)
        if details.method == "/t.Echo/Many":
            return grpc.unary_stream_rpc_method_handler(lambda request, _: (request for _n in range(1_000)))
        if details.method == "/t.Echo/Talk":
            return grpc.stream_stream_rpc_method_handler(lambda requests, _: requests)
        return None

    def _say(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("x-initial", "1"),))
        context.set_trailing_metadata((("x-raw-bin", b"\x00\xff"),))
        if request == b"fail":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return request


class Caller:
    """The engine as a client on a blocking socket."""

    def __init__(self, target: str, limits: Limits) -> None:
        host, _, port = target.rpartition(":")
        self._peer = socket.create_connection((host, int(port)), timeout=WAIT)
        self.engine = Connection(Role.CLIENT, limits)
        self.engine.start()

    def close(self) -> None:
        self._peer.close()

    def call(self, method: str, messages: list[bytes]) -> tuple[dict[bytes, bytes], list[bytes]]:
        """Return trailers (with the initial metadata) and the messages of the answer."""
        engine = self.engine
        request = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/t.Echo/" + method.encode()),
            (b":authority", b"test"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
        stream_id = engine.open_stream(block(*request), end_stream=False)
        assert stream_id is not None
        for message in messages:
            engine.send_data(stream_id, b"\0" + len(message).to_bytes(4) + message, end_stream=False)
        engine.send_data(stream_id, b"", end_stream=True)
        said: dict[bytes, bytes] = {}
        body = bytearray()
        while stream_id in engine.stream_ids:
            self._peer.sendall(engine.take_output())
            data = self._peer.recv(65_536)
            assert data, "the server hung up"
            for event in engine.receive(data):
                assert not isinstance(event, (StreamReset, ConnectionFailed)), event
                if isinstance(event, (HeadersReceived, TrailersReceived)):
                    said.update((f.name, f.value) for f in event.block.fields)
                elif isinstance(event, DataReceived):
                    body += event.data
                    engine.acknowledge(event.stream_id, event.flow_bytes)
        answers = []
        while body:
            length = int.from_bytes(body[1:5])
            answers.append(bytes(body[5 : 5 + length]))
            del body[: 5 + length]
        return said, answers


@pytest.fixture
def grpcio_server() -> Iterator[str]:
    made = grpc.server(ThreadPoolExecutor(4), handlers=[Echo()], options=OPTIONS)
    port = made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield f"127.0.0.1:{port}"
    made.stop(None).wait(WAIT)


@pytest.mark.parametrize("window", [65_535, 262_144], ids=["small windows", "usual windows"])
def test_the_engine_as_a_client_of_a_grpcio_server(grpcio_server: str, window: int) -> None:
    caller = Caller(grpcio_server, Limits(initial_window=window, connection_window=4 * window))
    try:
        for n in range(20):
            said, answers = caller.call("Say", [b"hello %d" % n])
            assert answers == [b"hello %d" % n]
            assert (said[b"grpc-status"], said[b"x-initial"], said[b"x-raw-bin"]) == (b"0", b"1", b"AP8")
        assert caller.engine.settings_acked
        assert caller.engine._decoder.stateless
        said, answers = caller.call("Say", [b"fail"])
        assert (answers, said[b"grpc-status"], said[b"grpc-message"]) == ([], b"5", b"no such thing")
        large = bytes(range(256)) * (TEN_MB // 256)
        assert caller.call("Say", [large])[1] == [large]
        assert caller.call("Many", [b"x" * 300])[1] == [b"x" * 300] * 1_000
        talk = [b"%d" % n * 40 for n in range(500)]
        assert caller.call("Talk", talk)[1] == talk
        said, answers = caller.call("Nothing", [b"x"])
        assert (said[b"grpc-status"], answers) == (b"12", [])
        assert caller.engine.unacknowledged == caller.engine.queued_total == caller.engine.open_streams == 0
    finally:
        caller.close()
