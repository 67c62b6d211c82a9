"""A gateway's handler between two engines in memory: the real recorder and counters, fakes for disk, trust, tickets."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

from support.boundary import hand_net
from support.clock import NOON, FakeClock
from support.policy import CREDIT_FRONT, HUB, POLICE, VERIFY, sample_policy
from support.wire import Wire, block
from zonegate.errors import ZoneGateError
from zonegate.gateway.crossing import GatewayHandler
from zonegate.gateway.evidence import records
from zonegate.gateway.http2.events import DataReceived, HeadersReceived, StreamReset, TrailersReceived
from zonegate.gateway.inspection import Inspectors
from zonegate.gateway.metadata import write_binary
from zonegate.gateway.rate import Rate
from zonegate.gateway.recording import Recorder
from zonegate.gateway.ticket import Ticket
from zonegate.gateway.tls.channel import Peer
from zonegate.gm import sm3
from zonegate.identity import Net, parse_identity
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.credential import Credential
from zonegate.pki.path import StatusRule
from zonegate.policies.model import Policy
from zonegate.reasons import Reason

GATEWAY_SHARED = f"spiffe://extra/{HUB}/gateway-shared"
GATEWAY_POLICE = f"spiffe://extra/{POLICE}/gateway-police"
PURPOSE = "信用核查"
QUOTED = "%E4%BF%A1%E7%94%A8%E6%A0%B8%E6%9F%A5"
TICKET = b"the ticket of credit"
CROSSING = "ab" * 14
FAST = Rate(1000.0, 1000)


@cache
def credential(uri: str, profile: Profile = Profile.SYSTEM) -> Credential:
    return hand_net(Net.EXTRA).issue(uri, profile, organ=parse_identity(uri).organ)


def peer(uri: str, profile: Profile = Profile.SYSTEM) -> Peer:
    leaf = credential(uri, profile).leaf
    return Peer(
        address="192.0.2.1",
        chain=(leaf,),
        identity=parse_identity(uri),
        profile=profile,
        fingerprint=leaf.fingerprint,
        serial=leaf.serial,
        not_after=leaf.not_after,
    )


def verified(raw: bytes, uri: str = CREDIT_FRONT, ingress: str = GATEWAY_SHARED) -> Ticket:
    """Return what a ticket office says of a ticket that has verified."""
    return Ticket(
        parse_identity(uri),
        ingress,
        (credential(uri).leaf,),
        NOON - timedelta(minutes=1),
        NOON + timedelta(minutes=9),
        sm3.hexdigest(raw),
    )


class MemoryLog:
    """An evidence log whose disk is a list. While `held` is not None, records wait in it for `sync`."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.counted: list[tuple[records.Counted, Reason]] = []
        self.error: ZoneGateError | None = None
        self.held: list[Callable[[], None]] | None = None

    def append(self, record: Any, on_durable: Callable[[ZoneGateError | None], None] | None = None) -> None:
        def write() -> None:
            if self.error is None:
                self.written.append(record)
            if on_durable is not None:
                on_durable(self.error)

        if self.held is None:
            write()
        else:
            self.held.append(write)

    def sync(self) -> None:
        held, self.held = self.held or [], None
        for write in held:
            write()

    def count(self, what: records.Counted, reason: Reason) -> None:
        self.counted.append((what, reason))

    def of(self, kind: type) -> list[Any]:
        return [record for record in self.written if isinstance(record, kind)]


class FakeTickets:
    """A ticket office that knows what it has been told; a ticket in `pending` is verified by `settle`."""

    def __init__(self) -> None:
        self.known: dict[bytes, Ticket | ZoneGateError] = {}
        self.asked: list[tuple[bytes, str]] = []
        self.pending: list[Callable[[Ticket | ZoneGateError], None]] | None = None

    def verdict(
        self, ticket: bytes, ingress: str, then: Callable[[Ticket | ZoneGateError], None]
    ) -> Ticket | ZoneGateError | None:
        self.asked.append((ticket, ingress))
        if self.pending is not None:
            self.pending.append(then)
            return None
        return self.known.get(ticket) or ZoneGateError(Reason.E_TICKET, "ticket.signature: nobody has signed it")

    def settle(self, verdict: Ticket | ZoneGateError) -> None:
        waiting, self.pending = self.pending or [], None
        for then in waiting:
            then(verdict)


class FakeStatus:
    """Revocation status that says `error`, whoever is asked about."""

    def __init__(self) -> None:
        self.error: ZoneGateError | None = None
        self.view = SimpleNamespace(rule=StatusRule.REQUIRED)

    def check(self, path: Sequence[Certificate], now: datetime) -> None:  # noqa: ARG002 - as the real one
        if self.error is not None:
            raise self.error


class FakeTrust:
    """The part of a process's trust that the handler asks."""

    def __init__(self) -> None:
        self.status = FakeStatus()
        self.until = NOON + timedelta(days=1)

    def fresh_until(self) -> float:
        return self.until.timestamp()


class FakeWitness:
    """Takes no call."""

    def takes(self, call: Any) -> bool:  # noqa: ARG002 - as the real one
        return False


def request(*pairs: tuple[str, str], path: str = VERIFY) -> bytes:
    base = ((":method", "POST"), (":scheme", "https"), (":path", path), (":authority", "x"))
    return block(*base, ("te", "trailers"), ("content-type", "application/grpc"), *pairs)


def with_ticket(raw: bytes = TICKET) -> tuple[str, str]:
    return "zg-ticket-bin", write_binary(raw).decode()


GOOD = (with_ticket(), ("zg-purpose", QUOTED))


class Crossing:
    """One gateway: `shared` as the caller's, or `police` as the provider's behind `gateway-shared`."""

    def __init__(
        self,
        *,
        egress: bool = False,
        policy: Policy | None = None,
        by: Peer | None = None,
        exporting: Any = None,
        default_rate: Rate = FAST,
        calls_per_caller: int = 100_000,
    ) -> None:
        self.clock = FakeClock()
        self.policy = policy or sample_policy()
        self.log = MemoryLog()
        self.metrics = GatewayMetrics(sorted(self.policy.zones))
        self.tickets = FakeTickets()
        self.tickets.known[TICKET] = verified(TICKET)
        self.trust = FakeTrust()
        basis = records.Basis(policy="1", digest="00" * 32, status_epoch=1, crl=1)
        self.recorder = Recorder(self.log, self.metrics, self.clock, basis)  # type: ignore[arg-type]  # a fake disk
        self.handler = GatewayHandler(
            uri=GATEWAY_POLICE if egress else GATEWAY_SHARED,
            zone="police" if egress else "shared",
            policy=self.policy,
            trust=self.trust,  # type: ignore[arg-type]  # fakes of what is asked of it
            recorder=self.recorder,
            tickets=self.tickets,  # type: ignore[arg-type]
            inspectors=Inspectors(self.policy),
            witness=FakeWitness(),  # type: ignore[arg-type]
            exporting=exporting,
            default_rate=default_rate,
            calls_per_caller=calls_per_caller,
            clock=self.clock,
        )
        who = by or (peer(GATEWAY_SHARED, Profile.GATEWAY) if egress else peer(CREDIT_FRONT))
        self.wire = Wire(role=self.handler, clock=self.clock, peer=who)
        pools = self.handler.providers if egress else self.handler.peers
        pools["spiffe://extra/11100000990000025W/population" if egress else "police"] = self.wire.pool

    def call(self, *pairs: tuple[str, str], body: bytes = b"question", path: str = VERIFY, end: bool = True) -> int:
        return self.wire.call(body, end=end, request=request(*pairs, path=path))

    @property
    def asked(self) -> list[HeadersReceived]:
        """The requests that the next hop has seen."""
        return [event for event in self.far_events if isinstance(event, HeadersReceived)]

    @property
    def far_events(self) -> list[Any]:
        return [event for channel in self.wire.dialler.channels for event in channel.events]

    def answer(self, stream_id: int, *initial: tuple[str, str], body: bytes = b"answer", status: str = "0") -> None:
        head = block((":status", "200"), ("content-type", "application/grpc"), *initial)
        self.wire.provider.send_headers(stream_id, head, end_stream=False)
        self.wire.provider.send_data(stream_id, b"\0" + len(body).to_bytes(4, "big") + body, end_stream=False)
        self.wire.provider.send_headers(stream_id, block(("grpc-status", status)), end_stream=True)
        self.wire.settle()

    def got(self) -> tuple[int, str, bytes]:
        """Take what the caller has seen of its last call: gRPC status, reason, and DATA; -1 while there is no end."""
        events = self.wire.near.take()
        data = b"".join(event.data for event in events if isinstance(event, DataReceived))
        for event in reversed(events):
            if isinstance(event, (HeadersReceived, TrailersReceived)) and event.block.get(b"grpc-status"):
                return int(event.block.get(b"grpc-status")), (event.block.get(b"zg-reason") or b"").decode(), data
        return -1, "", data

    def resets(self) -> int:
        """How many streams the next hop has seen reset."""
        return sum(isinstance(event, StreamReset) for event in self.far_events)

    @property
    def decisions(self) -> list[records.DecisionRecord]:
        return self.log.of(records.DecisionRecord)

    @property
    def outcomes(self) -> list[records.OutcomeRecord]:
        return self.log.of(records.OutcomeRecord)

    def close(self) -> None:
        self.wire.close()
