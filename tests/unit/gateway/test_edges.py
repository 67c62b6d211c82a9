"""A connector's two roles, with engines in memory: what a route adds, what is removed, what is answered here."""

from collections.abc import Iterator
from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from prometheus_client import generate_latest

from support.clock import FakeClock
from support.crossing import GATEWAY_POLICE, GATEWAY_SHARED, credential, peer, request
from support.policy import CREDIT_FRONT
from support.wire import RESPONSE, TRAILERS, Wire, block, message
from zonegate.errors import ZoneGateError
from zonegate.gateway.config import RouteSection
from zonegate.gateway.edges import CallingEdge, ProvidingEdge, TicketIssuer
from zonegate.gateway.http2.events import DataReceived, HeadersReceived, StreamReset, TrailersReceived
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.ticket import verify
from zonegate.identity import Net
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.pki.certificate import Profile
from zonegate.policies.labels import parse_label
from zonegate.reasons import Reason
from zonegate.strictconf import Address

ROUTES = {
    "bare": RouteSection(listen=Address("127.0.0.1", 1), uids=[0]),
    "full": RouteSection(
        listen=Address("127.0.0.1", 2),
        uids=[0],
        resource="population",
        purpose="社会救助审核",
        case="案 1",
        label="L1;cat=人口",
    ),
}
HEALTH = "/grpc.health.v1.Health/Check"


class Edge:
    """A calling edge between an engine that is the system and one that is the gateway."""

    def __init__(self, route: str = "bare") -> None:
        self.metrics = GatewayMetrics((), role="connector")
        self.edge = CallingEdge(ROUTES, self.metrics)
        self.wire = Wire(role=self.edge, context=route)
        self.edge.gateway = self.wire.pool

    def call(self, *pairs: tuple[str, str], path: str = "/a.B/C", body: bytes = b"x") -> int:
        return self.wire.call(body, request=request(*pairs, path=path))

    @property
    def sent(self) -> Any:
        """The newest request that the gateway has seen."""
        return [event for event in self.wire.far.events if isinstance(event, HeadersReceived)][-1].block

    def got(self) -> tuple[int, str, bytes]:
        events = self.wire.near.take()
        data = b"".join(event.data for event in events if isinstance(event, DataReceived))
        for event in reversed(events):
            if isinstance(event, (HeadersReceived, TrailersReceived)) and event.block.get(b"grpc-status"):
                return int(event.block.get(b"grpc-status")), (event.block.get(b"zg-reason") or b"").decode(), data
        return -1, "", data

    def tick(self) -> None:
        """Let ten seconds pass, so that the test is no reset flood."""
        self.wire.tick(10.0)

    def stripped(self) -> int:
        text = generate_latest(self.metrics.registry()).decode()
        (line,) = [line for line in text.splitlines() if line.startswith("zonegate_metadata_stripped_total ")]
        return int(float(line.split()[1]))


@pytest.fixture
def bare() -> Iterator[Edge]:
    made = Edge()
    yield made
    made.wire.close()


@pytest.fixture
def full() -> Iterator[Edge]:
    made = Edge("full")
    yield made
    made.wire.close()


def test_a_route_declares_for_systems_that_cannot(full: Edge) -> None:
    full.call()
    sent = full.sent
    assert sent.get(b"zg-resource") == b"population"
    assert sent.get(b"zg-purpose") == b"%E7%A4%BE%E4%BC%9A%E6%95%91%E5%8A%A9%E5%AE%A1%E6%A0%B8"
    assert sent.get(b"zg-case") == b"%E6%A1%88%201"
    assert parse_label(sent.get(b"zg-label").decode()) == parse_label("L1;cat=人口")
    assert sent.get(b"zg-declared-by") == b"connector"


def test_what_the_system_says_itself_stands(full: Edge) -> None:
    full.call(("zg-purpose", "own"), ("zg-label", "L2"))
    assert full.sent.values(b"zg-purpose") == (b"own",)
    assert full.sent.values(b"zg-label") == (b"L2",)
    assert full.sent.get(b"zg-resource") == b"population"


def test_a_bare_route_declares_nothing(bare: Edge) -> None:
    bare.call()
    assert bare.sent.get(b"zg-declared-by") is None


@pytest.mark.req("TL-06")
def test_reserved_names_are_removed_and_counted_on_each_call(bare: Edge) -> None:
    spoofed = (
        ("zg-caller-organ", "x"),
        ("zg-peer-uri", "x"),
        ("zg-ticket-bin", "AAAA"),
        ("zg-declared-by", "connector"),
        ("zg-crossing", "ab" * 14),
    )
    for times in (1, 2):
        bare.call(*spoofed, ("x-note", "n"))
        assert all(bare.sent.get(name.encode()) is None for name, _ in spoofed)
        assert bare.sent.get(b"x-note") == b"n"
        assert bare.stripped() == 5 * times


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ((("zg-purpose", "%FF"),), Reason.E_METADATA),
        ((("zg-purpose", "a"), ("zg-purpose", "b")), Reason.E_METADATA),
    ],
)
def test_wrong_metadata_goes_no_further(bare: Edge, pairs: tuple[tuple[str, str], ...], reason: Reason) -> None:
    bare.call(*pairs)
    assert bare.got()[1] == reason.value
    assert bare.wire.dialler.attempts == 0


def test_many_different_calls_do_not_fill_the_memory(bare: Edge) -> None:
    for number in range(1100):
        bare.wire.caller.reset(bare.call(("zg-purpose", str(number))), ErrorCode.CANCEL)
        bare.tick()
    assert 0 < len(bare.edge._heads) <= 1024


# -- health ----------------------------------------------------------------------------------------------------------


def test_health_is_answered_here(bare: Edge) -> None:
    def status() -> int:
        code, _, data = bare.got()
        assert code == 0
        return HealthCheckResponse.FromString(data[5:]).status

    question = HealthCheckRequest(service="a.B").SerializeToString()
    bare.call(path=HEALTH, body=question)
    assert status() == HealthCheckResponse.NOT_SERVING
    bare.call()
    bare.wire.near.take()
    bare.call(path=HEALTH, body=question)
    assert status() == HealthCheckResponse.SERVING


BAD_HEALTH = {
    "a method that health has not": ("/grpc.health.v1.Health/List", b"", Reason.E_NOT_CATALOGUED),
    "garbage": (HEALTH, b"\xff\xff\xff", Reason.E_SCHEMA),
    "larger than any question": (HEALTH, b"x" * 5000, Reason.E_MESSAGE_SIZE),
}


@pytest.mark.parametrize(("path", "body", "reason"), BAD_HEALTH.values(), ids=BAD_HEALTH)
def test_health_questions_that_are_none(bare: Edge, path: str, body: bytes, reason: Reason) -> None:
    bare.call(path=path, body=body)
    assert bare.got()[1] == reason.value
    assert bare.wire.dialler.attempts == 0


def test_a_health_question_cut_short(bare: Edge) -> None:
    stream = bare.wire.caller.open_stream(request(path=HEALTH), end_stream=False)
    assert stream is not None
    bare.wire.caller.send_data(stream, message(b"abcdef")[:7], end_stream=True)
    bare.wire.settle()
    assert bare.got()[1] == Reason.E_HTTP2


# -- the answer ------------------------------------------------------------------------------------------------------


def test_a_gateways_answer_passes_as_it_is(bare: Edge) -> None:
    bare.call()
    head = block((":status", "200"), ("content-type", "application/grpc"), ("zg-crossing", "ab" * 14))
    bare.wire.provider.send_headers(1, head, end_stream=False)
    bare.wire.provider.send_data(1, message(b"answer"), end_stream=False)
    bare.wire.provider.send_headers(1, TRAILERS, end_stream=True)
    bare.wire.settle()
    events = bare.wire.near.events
    (initial,) = [event for event in events if isinstance(event, HeadersReceived)]
    assert initial.block.get(b"zg-crossing") == b"ab" * 14
    assert bare.got() == (0, "", message(b"answer"))


@pytest.mark.parametrize("status", ["", "abc", "123"])
def test_trailers_without_a_status_are_an_error(bare: Edge, status: str) -> None:
    bare.call()
    bare.wire.provider.send_headers(1, RESPONSE, end_stream=False)
    tail = block(("grpc-status", status)) if status else block(("x-end", "1"))
    bare.wire.provider.send_headers(1, tail, end_stream=True)
    bare.wire.settle()
    assert bare.got()[1] == Reason.E_UPSTREAM_RESET


# -- tickets ---------------------------------------------------------------------------------------------------------


class Holder:
    """What an issuer asks a context holder for."""

    def __init__(self) -> None:
        self.credential = credential(CREDIT_FRONT)


def test_a_ticket_is_signed_once_and_renewed_before_it_ends() -> None:
    clock, holder = FakeClock(), Holder()
    issuer = TicketIssuer(holder, clock)  # type: ignore[arg-type]  # the part that is asked
    first = issuer.current(GATEWAY_SHARED)
    assert issuer.current(GATEWAY_SHARED) is first
    assert issuer.current(GATEWAY_POLICE) != first
    clock.advance(299)
    assert issuer.current(GATEWAY_SHARED) is first
    clock.advance(1)
    assert issuer.current(GATEWAY_SHARED) != first


@pytest.mark.req("OP-03")
def test_a_renewed_certificate_gets_a_ticket_of_its_own() -> None:
    from support.boundary import hand_net

    clock, holder = FakeClock(), Holder()
    issuer = TicketIssuer(holder, clock)  # type: ignore[arg-type]
    first = issuer.current(GATEWAY_SHARED)
    net = hand_net(Net.EXTRA)
    holder.credential = net.issue(CREDIT_FRONT, Profile.SYSTEM, organ="1210000099030001XT")
    second = issuer.current(GATEWAY_SHARED)
    assert second != first
    read = verify(second, net.anchors, ingress=GATEWAY_SHARED, now=clock.now())
    assert read.certificate.fingerprint == holder.credential.leaf.fingerprint


def test_a_ticket_travels_once_on_a_connection() -> None:
    clock, holder = FakeClock(), Holder()
    edge = Edge()
    issuer = TicketIssuer(holder, clock)  # type: ignore[arg-type]
    edge.wire.pool.decorate = issuer.decorate
    original = edge.wire.dialler.open

    def open_as_gateway(app: Any) -> None:
        original(app)
        edge.wire.far.peer = peer(GATEWAY_SHARED, Profile.GATEWAY)

    edge.wire.dialler.open = open_as_gateway  # type: ignore[method-assign]
    edge.wire.pool.connect()
    edge.wire.far.peer = peer(GATEWAY_SHARED, Profile.GATEWAY)
    for _ in range(3):
        edge.call()
    heads = [event.block for event in edge.wire.far.events if isinstance(event, HeadersReceived)]
    assert [head.get(b"zg-ticket-bin") is not None for head in heads] == [True, False, False]
    assert [head.get(b"zg-ticket-ref") is not None for head in heads] == [False, True, True]
    edge.wire.close()


# -- the provider's side ---------------------------------------------------------------------------------------------


class Providing:
    """A providing edge whose peer is `who`."""

    def __init__(self, who: Any) -> None:
        self.metrics = GatewayMetrics((), role="connector")
        self.edge = ProvidingEdge(frozenset({GATEWAY_POLICE}), self.metrics)
        self.wire = Wire(role=self.edge, peer=who)
        self.edge.targets["a.B"] = self.wire.pool


def test_a_service_goes_to_the_server_that_offers_it() -> None:
    providing = Providing(peer(GATEWAY_POLICE, Profile.GATEWAY))
    providing.wire.call(b"x", request=request(("zg-caller-system", "credit"), path="/a.B/C"))
    (asked,) = [event for event in providing.wire.far.events if isinstance(event, HeadersReceived)]
    assert asked.block.get(b"zg-caller-system") == b"credit"
    providing.wire.call(b"x", request=request(path="/a.Other/C"))
    events = providing.wire.near.take()
    assert any(
        isinstance(event, HeadersReceived) and event.block.get(b"zg-reason") == b"E_NOT_CATALOGUED" for event in events
    )
    assert not any(isinstance(event, StreamReset) and event.code for event in events)
    providing.wire.close()


@pytest.mark.parametrize(
    "who", [(GATEWAY_SHARED, Profile.GATEWAY), (GATEWAY_POLICE, Profile.SYSTEM)], ids=["another gateway", "a system"]
)
def test_only_the_configured_gateways_may_call_the_system(who: tuple[str, Profile]) -> None:
    providing = Providing(peer(*who))
    assert providing.wire.near.closed
    providing.wire.close()


def test_a_refusal_is_an_error_not_an_exception() -> None:
    with pytest.raises(ZoneGateError):
        TicketIssuer(
            type("H", (), {"credential": credential(GATEWAY_SHARED, Profile.GATEWAY)})(),  # type: ignore[arg-type]
            FakeClock(),
        ).current(GATEWAY_SHARED)
