"""[a] Replays an imported call to its provider's connector under the importer's identity, and discards the answer.

The Protocol is what the importer needs; `PoolDelivery` fulfils it with the process's own connections. What came back
is judged here only so far: delivered, not accepted, or to be tried again. Its messages go nowhere: nothing of the
intranet ever travels back (architecture section 3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from zonegate.gateway import metadata as names
from zonegate.gateway.boundary.header import ObjectHeader
from zonegate.gateway.http2.headers import Field, literal
from zonegate.gateway.relay.owncall import OwnCall, request_block
from zonegate.gateway.relay.upstream import UpstreamPool
from zonegate.gm import sm3
from zonegate.identity import parse_identity
from zonegate.policies.labels import parse_label
from zonegate.reasons import REGISTRY, Executed, GrpcCode, Reason

ANSWER_LIMIT_BYTES = 4 << 20
# The provider's own words for "not now": an object that meets them waits. Any other status is the provider's last word.
_NOT_NOW = frozenset({GrpcCode.UNAVAILABLE, GrpcCode.DEADLINE_EXCEEDED, GrpcCode.RESOURCE_EXHAUSTED, GrpcCode.ABORTED})


class Outcome(StrEnum):
    """What an attempt came to."""

    DELIVERED = "delivered"
    REJECTED = "rejected"
    AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Delivered:
    """One attempt: gRPC status, a hop's reason if it gave one, and of the answer only size and digest."""

    outcome: Outcome
    status: int
    reason: Reason
    executed: Executed
    detail: str
    response_bytes: int = 0
    response_messages: int = 0
    response_digest: str = ""


class Delivery(Protocol):
    """How an object reaches its provider."""

    async def deliver(self, header: ObjectHeader, messages: tuple[bytes, ...], *, attempt: int) -> Delivered:
        """Make one attempt; it never raises."""
        ...


class PoolDelivery:
    """Delivers over the process's connections to the providers' connectors."""

    def __init__(self, pools: Mapping[str, UpstreamPool], *, seconds: float) -> None:
        self._pools = pools
        self._seconds = seconds

    async def deliver(self, header: ObjectHeader, messages: tuple[bytes, ...], *, attempt: int) -> Delivered:
        """Make one attempt, as if the caller had called."""
        pool = self._pools.get(header.provider)
        if pool is None:
            detail = f"{header.provider}: this importer has no address for it"
            return Delivered(Outcome.AGAIN, GrpcCode.UNAVAILABLE, Reason.E_UPSTREAM, Executed.NO, detail)
        block = request_block(header.path, authority(header.provider), request_fields(header, self._seconds))
        call = OwnCall(block, list(messages), answer_bytes=ANSWER_LIMIT_BYTES)
        answer = await call.run(pool, self._seconds)
        digest = sm3.new()
        for message in answer.messages:
            digest.update(message)
        return Delivered(
            judge(answer.status, answer.reason, attempt=attempt),
            answer.status,
            answer.reason,
            answer.executed,
            answer.detail,
            sum(map(len, answer.messages)),
            len(answer.messages),
            digest.hexdigest(),
        )


def judge(status: int, reason: Reason, *, attempt: int) -> Outcome:
    """Return what a status means for the object."""
    if status == GrpcCode.OK:
        return Outcome.DELIVERED
    # A provider that keeps keys says so of an object whose first delivery was cut off before its answer came.
    if status == GrpcCode.ALREADY_EXISTS and attempt > 1:
        return Outcome.DELIVERED
    # The answer was too large to be looked at and would have been thrown away: the provider has executed.
    if reason is Reason.E_MESSAGE_SIZE:
        return Outcome.DELIVERED
    again = status in _NOT_NOW or (reason is not Reason.OK and REGISTRY[reason].retryable)
    return Outcome.AGAIN if again else Outcome.REJECTED


def request_fields(header: ObjectHeader, seconds: float) -> tuple[Field, ...]:
    """Return the metadata that the provider sees; the same at every attempt, so that it can know a second one."""
    caller = parse_identity(header.caller)
    texts = (
        (names.RESOURCE, header.resource),
        (names.PURPOSE, header.purpose),
        (names.CASE, header.case),
    )
    return (
        literal(b"grpc-timeout", f"{max(1, int(seconds * 1000))}m".encode()),
        literal(names.CALLER_ORGAN, caller.organ.encode()),
        literal(names.CALLER_SYSTEM, caller.name.encode()),
        *(literal(name, names.quoted(text)) for name, text in texts if text),
        literal(names.LABEL, parse_label(header.label).ascii.encode()),
        literal(names.CROSSING, header.crossing.encode()),
        literal(names.IDEMPOTENCY_KEY, names.quoted(header.idempotency_key or header.object_id)),
    )


def authority(provider: str) -> str:
    """Return the authority under which a provider is called, as gateways write it."""
    return provider.removeprefix("spiffe://").replace("/", ".")
