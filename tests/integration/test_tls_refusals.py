"""What strangers get from a listener on a real socket: one reason each, their alert, and nothing of the application."""

import socket
import ssl
import threading
from collections.abc import Callable

import pytest
from OpenSSL import SSL

from support.forge import ForgedNet
from support.tls import RecordForger, Stock, client_hello, forging_client, make_holder
from support.tls_bench import StockSocket, bench, gateway_leaf, quick, read_all, run, soon
from zonegate.gateway.tls.limits import TlsLimits
from zonegate.identity import Net
from zonegate.reasons import Reason

NET = ForgedNet()
SYSTEM = NET.leaf("system")
HOLDER, CLIENT = make_holder(NET, gateway_leaf(NET)), make_holder(NET, SYSTEM)
HELLO = client_hello(Stock())


def alert(code: int) -> bytes:
    return bytes((21, 3, 3, 0, 2, 2, code))


# Raw bytes, what comes back, and the reason that is counted.
RAW = {
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"", Reason.E_TLS_PROTOCOL),
    "HTTP/1 request": (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"", Reason.E_TLS_PROTOCOL),
    "zeros": (bytes(100), b"", Reason.E_TLS_PROTOCOL),
    "handshake record with garbage": (b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", alert(50), Reason.E_TLS_PROTOCOL),
    "TL-04 TLS 1.2 hello": (
        client_hello(Stock(minimum=SSL.TLS1_2_VERSION, maximum=SSL.TLS1_2_VERSION, groups=None, signatures=None)),
        alert(70),
        Reason.E_TLS_VERSION,
    ),
    "TL-04 AES hello": (client_hello(Stock(suites=b"TLS_AES_128_GCM_SHA256")), alert(40), Reason.E_TLS_SUITE),
    "TL-02 P-256 hello": (client_hello(Stock(groups=("P-256",))), alert(40), Reason.E_TLS_GROUP),
    "TL-02 ECDSA hello": (
        client_hello(Stock(signatures=("ecdsa_secp256r1_sha256",))),
        alert(40),
        Reason.E_TLS_SIGNATURE,
    ),
    "http/1.1 hello": (client_hello(Stock(alpn=(b"http/1.1",))), alert(120), Reason.E_TLS_ALPN),
}


@pytest.mark.req("TL-02", "TL-04")
@pytest.mark.parametrize(("data", "answer", "reason"), RAW.values(), ids=RAW)
def test_raw_bytes(data: bytes, answer: bytes, reason: Reason):
    async def test() -> None:
        async with bench(HOLDER) as b:
            assert await b.in_thread(read_all, b.port, data) == answer
            assert await b.reason() is reason
            await b.talk(CLIENT)
            assert b.refusals.empty()

    run(test)


def test_a_peer_that_leaves_is_counted_once():
    async def test() -> None:
        async with bench(HOLDER) as b:
            for data in (b"", HELLO[:50]):
                socket.create_connection(("127.0.0.1", b.port)).close() if not data else await b.in_thread(
                    lambda piece: read_all(b.port, piece, half_close=True), data
                )
                assert await b.reason() is Reason.E_TLS_INCOMPLETE
            await soon(lambda: b.listener is not None and b.listener.connections == 0)
            assert b.refusals.empty()

    run(test)


SLOW = {"nothing": b"", "half a hello": HELLO[: len(HELLO) // 2], "a hello and no more": HELLO}


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW)
def test_slow_peers_are_cut_at_the_deadline(data: bytes):
    async def test() -> None:
        async with bench(HOLDER, limits=quick(handshake_seconds=0.2)) as b:
            answer = await b.in_thread(read_all, b.port, data)
            assert await b.reason() is Reason.E_TLS_TIMEOUT
            assert answer[:1] in (b"", b"\x16")
            assert b.opened == []

    run(test)


def test_a_hello_byte_by_byte_is_served_as_any_other():
    async def test() -> None:
        def drip() -> bytes:
            with socket.create_connection(("127.0.0.1", b.port), timeout=10) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for at in range(len(HELLO)):
                    sock.sendall(HELLO[at : at + 1])
                return sock.recv(1)

        async with bench(HOLDER) as b:
            assert await b.in_thread(drip) == b"\x16"

    run(test)


# TL-04: a sweep over versions and suites with the stock libraries of this machine.


def attempt(context: ssl.SSLContext, port: int) -> str:
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        try:
            with context.wrap_socket(sock) as tls:
                return tls.recv(1).hex() or "connected"
        except (ssl.SSLError, ConnectionError) as exc:
            return getattr(exc, "reason", None) or type(exc).__name__


def system_context(version: ssl.TLSVersion, ciphers: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    if ciphers is not None:
        context.set_ciphers(ciphers)
    return context


SWEEP: dict[str, tuple[Callable[[], ssl.SSLContext], Reason]] = {
    "TLS 1.2, every cipher": (lambda: system_context(ssl.TLSVersion.TLSv1_2, "ALL:@SECLEVEL=0"), Reason.E_TLS_VERSION),
    "TLS 1.2, defaults": (lambda: system_context(ssl.TLSVersion.TLSv1_2), Reason.E_TLS_VERSION),
    "TLS 1.3, stock suites": (lambda: system_context(ssl.TLSVersion.TLSv1_3), Reason.E_TLS_SUITE),
}


@pytest.mark.req("TL-04")
@pytest.mark.parametrize(("make", "reason"), SWEEP.values(), ids=SWEEP)
def test_sweep_with_the_system_library(make: Callable[[], ssl.SSLContext], reason: Reason):
    async def test() -> None:
        async with bench(HOLDER) as b:
            outcome = await b.in_thread(attempt, make(), b.port)
            assert "ALERT" in outcome, outcome
            assert await b.reason() is reason

    run(test)


OTHER_SUITES = (
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_AES_128_CCM_SHA256",
)


@pytest.mark.req("TL-04")
def test_sweep_over_the_other_suites_of_tls_1_3_with_a_good_certificate():
    async def test() -> None:
        async with bench(HOLDER) as b:
            for suite in OTHER_SUITES:
                client = StockSocket(Stock(suites=suite.encode(), leaf=SYSTEM), b.port)
                await b.in_thread(client.handshake)
                client.close()
                assert await b.reason() is Reason.E_TLS_SUITE, suite
            assert b.opened == []

    run(test)


@pytest.mark.req("TL-01", "TL-11")
@pytest.mark.parametrize("suite", [b"TLS_SM4_GCM_SM3", b"TLS_SM4_CCM_SM3"])
def test_a_stock_client_that_keeps_the_rules_is_served(suite: bytes):
    async def test() -> None:
        def talk() -> bytes:
            client = StockSocket(Stock(suites=suite, groups=("curveSM2MLKEM768", "curveSM2"), leaf=SYSTEM), b.port)
            client.handshake()
            got = client.exchange(b"x" * 40_000)
            client.close()
            return got

        async with bench(HOLDER) as b:
            assert await b.in_thread(talk) == b"x" * 40_000
            assert b.opened[0].tls is not None
            assert b.opened[0].tls.suite == suite.decode()

    run(test)


STRANGERS = {
    "TL-03 no certificate": (None, Reason.E_NO_CERTIFICATE, "certificate required"),
    "CA-14 INTRA certificate in EXTRA": (ForgedNet(Net.INTRA).leaf("system"), Reason.E_TRUST_DOMAIN, "unknown ca"),
}


@pytest.mark.req("TL-03", "CA-14")
@pytest.mark.parametrize(("leaf", "reason", "words"), STRANGERS.values(), ids=STRANGERS)
def test_a_refused_client_reads_its_alert(leaf: object, reason: Reason, words: str):
    async def test() -> None:
        async with bench(HOLDER) as b:
            client = StockSocket(Stock(leaf=leaf), b.port)  # type: ignore[arg-type]
            await b.in_thread(client.handshake)
            assert words in await b.in_thread(client.refusal)
            client.close()
            assert await b.reason() is reason
            assert b.opened == []

    run(test)


# Limits.


def test_a_source_that_opens_too_many_connections_is_cut_without_a_byte():
    async def test() -> None:
        async with bench(HOLDER, limits=quick(pending_per_source=3)) as b:
            held = [socket.create_connection(("127.0.0.1", b.port)) for _ in range(3)]
            await soon(lambda: b.listener is not None and b.listener.handshakes_in_progress == 3)
            assert await b.in_thread(read_all, b.port, b"") == b""
            assert await b.reason() is Reason.E_CONNECTIONS
            for sock in held:
                sock.close()
            await soon(lambda: b.listener is not None and b.listener.connections == 0)
            await b.talk(CLIENT)

    run(test)


def test_an_identity_with_too_many_connections_is_told_in_order():
    async def test() -> None:
        async with bench(HOLDER, limits=quick(connections_per_identity=2)) as b:
            callers = [await b.talk(CLIENT) for _ in range(2)]
            third, _attempt = b.connect(CLIENT)
            assert await third.end is None
            assert await b.reason() is Reason.E_CONNECTIONS
            callers[0].ready.result().close()
            await callers[0].end
            await soon(lambda: b.listener is not None and b.listener.connections == 1)
            await b.talk(CLIENT)

    run(test)


def test_handshakes_beyond_the_rate_are_refused_before_they_cost():
    limits = quick(source_handshakes_per_second=0.001, source_burst=2)

    async def test() -> None:
        async with bench(HOLDER, limits=limits) as b:
            for _ in range(2):
                client = StockSocket(Stock(), b.port)
                await b.in_thread(client.handshake)
                client.close()
                assert await b.reason() is Reason.E_NO_CERTIFICATE
            assert await b.in_thread(read_all, b.port, HELLO) == b""
            assert await b.reason() is Reason.E_TLS_RATE

    run(test)


def test_a_known_source_gets_in_while_strangers_have_used_up_their_rate():
    limits = quick(handshakes_per_second=0.001, handshake_burst=3)

    async def test() -> None:
        async with bench(HOLDER, limits=limits) as b:
            known = await b.talk(CLIENT)
            known.ready.result().close()
            await known.end
            for number in range(2, 6):
                client = StockSocket(Stock(leaf=SYSTEM), b.port, source=f"127.0.0.{number}")
                await b.in_thread(client.handshake)
                client.close()
            reasons = [await b.reason() for _ in range(b.refusals.qsize())]
            assert Reason.E_TLS_RATE in reasons
            await b.talk(CLIENT)

    run(test)


# Floods inside an admitted connection.


def flood(port: int, make: Callable[[RecordForger], bytes], count: int) -> None:
    connection, secrets = forging_client(Stock(leaf=SYSTEM))
    client = StockSocket(Stock(leaf=SYSTEM), port)
    client.connection = connection
    client.handshake()
    forger = RecordForger(secrets[0])
    try:
        for _ in range(count):
            client.socket.sendall(make(forger))
        client.refusal()
    except OSError:
        # The connection has been cut: what is to be shown.
        pass
    client.close()


FLOODS: dict[str, Callable[[RecordForger], bytes]] = {
    "KeyUpdate": lambda forger: forger.key_update(answer=True),
    "empty records": lambda forger: forger.record(23, b""),
}


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
def test_records_without_data_are_bounded(make: Callable[[RecordForger], bytes]):
    async def test() -> None:
        async with bench(HOLDER) as b:
            other = await b.talk(CLIENT)
            await b.in_thread(flood, b.port, make, TlsLimits().silent_record_burst * 3)
            seen = await b.closed.get()
            assert seen is not None
            # Our own budget for KeyUpdate; OpenSSL's for empty records, which it counts too.
            assert seen.reason is Reason.E_TLS_PROTOCOL
            other.ready.result().write(b"ok")
            assert await other.read(2) == b"ok"

    run(test)


def test_a_cut_in_the_middle_of_a_record_is_reported_as_a_cut():
    async def test() -> None:
        def cut() -> None:
            client = StockSocket(Stock(leaf=SYSTEM), b.port)
            client.handshake()
            assert client.exchange(b"x") == b"x"
            client.socket.sendall(b"\x17\x03\x03\x01\x00half")
            client.close()

        async with bench(HOLDER) as b:
            await b.in_thread(cut)
            seen = await b.closed.get()
            assert seen is not None
            assert seen.reason is Reason.E_UPSTREAM_RESET

    run(test)


def test_garbage_after_the_handshake_ends_that_connection_alone():
    async def test() -> None:
        def spoil() -> None:
            client = StockSocket(Stock(leaf=SYSTEM), b.port)
            client.handshake()
            assert client.exchange(b"x") == b"x"
            client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
            client.refusal()
            client.close()

        async with bench(HOLDER) as b:
            other = await b.talk(CLIENT)
            await b.in_thread(spoil)
            seen = await b.closed.get()
            assert seen is not None
            assert seen.reason is Reason.E_TLS_PROTOCOL
            other.ready.result().write(b"ok")
            assert await other.read(2) == b"ok"

    run(test)


# "Must be shown" 7, small: the large one is `make stress`.


def storm(port: int, stop: threading.Event, sent: list[int], number: int) -> None:
    """Open a connection, send a hopeful hello, leave; again and again, from one source address."""
    while not stop.is_set():
        try:
            with socket.create_connection(
                ("127.0.0.1", port), 5, (f"127.1.{number}.{sent[number] % 200 + 1}", 0)
            ) as sock:
                sock.sendall(HELLO)
        except OSError:
            continue
        sent[number] += 1
        stop.wait(0.005)


@pytest.mark.req("TL-03")
def test_a_storm_of_hellos_costs_an_admitted_connection_nothing():
    async def test() -> None:
        limits = quick(handshakes_per_second=50.0, handshake_burst=50, connections=4096, pending=512)
        async with bench(HOLDER, limits=limits) as b:
            caller = await b.talk(CLIENT)
            channel = caller.ready.result()
            stop, sent = threading.Event(), [0, 0]
            threads = [threading.Thread(target=storm, args=(b.port, stop, sent, number)) for number in range(2)]
            begun = b.clock.monotonic()
            for thread in threads:
                thread.start()
            rounds, slowest = 0, 0.0
            while b.clock.monotonic() < begun + 2.0:
                message = rounds.to_bytes(4, "big") * 50
                then = b.clock.monotonic()
                channel.write(message)
                assert await caller.read(len(message)) == message
                slowest = max(slowest, b.clock.monotonic() - then)
                rounds += 1
            stop.set()
            for thread in threads:
                await b.in_thread(thread.join)
            rate = sum(sent) / (b.clock.monotonic() - begun)
            assert rate > 100, "the storm was too weak to show anything"
            assert rounds > 200
            assert slowest < 1.0
            # And somebody known still gets in.
            await b.talk(CLIENT)

    run(test)
