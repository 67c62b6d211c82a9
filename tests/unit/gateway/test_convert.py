"""Messages of the data path: round trips, and any bytes are a value or one refusal."""

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from hypothesis import given
from hypothesis import strategies as st

from support.clock import NOON
from support.crossing import GATEWAY_POLICE, GATEWAY_SHARED, peer
from support.wire import Wire, block, message
from zonegate.errors import ZoneGateError
from zonegate.gateway import convert
from zonegate.gateway.evidence.seal import SignedHead, Statement, encode_statement
from zonegate.gateway.http2.events import DataReceived, HeadersReceived
from zonegate.gateway.witness import PATH, Witness
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason


@given(st.binary(max_size=200))
def test_a_head_comes_back(head: bytes) -> None:
    assert convert.head_from_bytes(convert.head_to_bytes(head)) == head


@given(st.binary(max_size=60))
def test_any_bytes_are_a_value_or_one_refusal(data: bytes) -> None:
    for read in (convert.head_from_bytes, convert.health_service_from_bytes):
        try:
            read(data)
        except ZoneGateError as error:
            assert error.reason is Reason.E_SCHEMA


def test_health() -> None:
    assert convert.health_service_from_bytes(HealthCheckRequest(service="a.B").SerializeToString()) == "a.B"
    assert HealthCheckResponse.FromString(convert.HEALTH_SERVING).status == HealthCheckResponse.SERVING
    assert HealthCheckResponse.FromString(convert.HEALTH_NOT_SERVING).status == HealthCheckResponse.NOT_SERVING


class KeptHeads:
    """The part of an evidence log that a witness asks."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def head(self) -> SignedHead | None:
        return None

    def keep_peer_head(self, head: bytes) -> None:
        self.kept.append(head)


def head_of(gateway: str) -> bytes:
    """A head as a gateway signs it; its signature is judged where it is kept, not here."""
    statement = Statement(
        chain="ab" * 16,
        gateway=gateway,
        batch=1,
        first=0,
        last=3,
        root="cd" * 32,
        previous_root="00" * 32,
        chain_hash="ef" * 32,
        time=NOON,
        signer="12" * 32,
    )
    return SignedHead(statement=encode_statement(statement), signature=b"s", certificates=(b"c",)).to_bytes()


def offer(body: list[bytes]) -> tuple[KeptHeads, str, bool]:
    """Offer `body` as gateway-shared; return what was kept, the reason of a refusal, whether there was an answer."""
    log = KeptHeads()
    witness = Witness(log)  # type: ignore[arg-type]  # the part that is asked
    wire = Wire(peer=peer(GATEWAY_SHARED, Profile.GATEWAY))
    wire.handler.decide = lambda call: None if witness.takes(call) else call.refuse(Reason.E_NOT_CATALOGUED, "")
    asked = block(
        (":method", "POST"),
        (":scheme", "https"),
        (":path", PATH),
        (":authority", "x"),
        ("content-type", "application/grpc"),
    )
    stream = wire.caller.open_stream(asked, end_stream=False)
    assert stream is not None
    wire.caller.send_data(stream, b"".join(map(message, body)), end_stream=True)
    wire.settle()
    events = wire.near.take()
    said = [event.block.get(b"zg-reason") or b"" for event in events if isinstance(event, HeadersReceived)]
    wire.close()
    return log, said[-1].decode(), any(isinstance(event, DataReceived) for event in events)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ([b""], ""),
        ([b"\xff"], "E_SCHEMA"),
        ([convert.head_to_bytes(b"no head")], "E_EVIDENCE_BROKEN"),
        ([b"", b""], "E_HTTP2"),
        ([b"x" * 20_000], "E_MESSAGE_SIZE"),
    ],
    ids=["none yet", "no message", "no head", "two", "too large"],
)
def test_what_a_peer_offers_as_its_head(body: list[bytes], reason: str) -> None:
    log, said, answered = offer(body)
    assert (said, answered, log.kept) == (reason, not reason, [])


@pytest.mark.req("AU-02")
def test_a_gateway_speaks_for_its_own_chain_only() -> None:
    own, other = head_of(GATEWAY_SHARED), head_of(GATEWAY_POLICE)
    log, said, answered = offer([convert.head_to_bytes(own)])
    assert (log.kept, said, answered) == ([own], "", True)
    log, said, answered = offer([convert.head_to_bytes(other)])
    assert (log.kept, said, answered) == ([], "E_PEER_IDENTITY", False)
