"""Evidence for tests: real logs on real files, signed by evidence certificates of the real CA."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvloop

from support.pki import ORGAN, TestNet, make_net
from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.files import list_segments, stored_segment
from zonegate.gateway.evidence.log import EvidenceLimits, EvidenceLog
from zonegate.gateway.evidence.records import (
    AnyRecord,
    Basis,
    Caller,
    DecisionRecord,
    Executed,
    Flow,
    Hop,
    OutcomeRecord,
    Verdict,
)
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.gateway.evidence.verify import Report, verify_chain
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
GATEWAY = f"spiffe://extra/{ORGAN}/gw-shared"
CALLER = Caller(
    uri=f"spiffe://extra/{ORGAN}/credit-front", organ=ORGAN, certificate="ab" * 32, serial="1234567890", peer=GATEWAY
)
REQUEST = Flow(decision="guarded", reason=Reason.OK, source="shared", target="population", level=1)
RESPONSE = Flow(decision="guarded", reason=Reason.OK, source="population", target="shared", level=1)
ALLOWED = Verdict(
    allowed=True,
    reason=Reason.OK,
    request=REQUEST,
    response=RESPONSE,
    step="forward",
    provider="spiffe://extra/11100000990000025W/population",
    organ="11100000990000025W",
    resource="population.verify",
    path="/population.v1.Verify/Check",
    flow_rule="shared-to-population",
    grant="grant-1",
)
REFUSED = Verdict(
    allowed=False,
    reason=Reason.E_NEED_APPROVAL,
    request=REQUEST,
    response=RESPONSE,
    step="share",
    path="/population.v1.Verify/Check",
)
BASIS = Basis(policy="3", digest="cd" * 32, status_epoch=2, crl=7)


def decision(crossing: str, verdict: Verdict = ALLOWED, **fields: Any) -> DecisionRecord:
    facts = {"time": NOW, "hop": Hop.INGRESS, "caller": CALLER, "basis": BASIS, "purpose": "贷款核验"} | fields
    return DecisionRecord(crossing=crossing, verdict=verdict, **facts)


def outcome(crossing: str, **fields: Any) -> OutcomeRecord:
    facts = {"time": NOW, "grpc": 0, "reason": Reason.OK, "executed": Executed.YES, "request_bytes": 200} | fields
    return OutcomeRecord(crossing=crossing, **facts)


@dataclass(frozen=True, slots=True)
class EvidenceNet:
    """A net with one evidence signer for each gateway that asks."""

    net: TestNet
    signer: Credential
    other: Credential

    @property
    def anchors(self) -> TrustAnchors:
        return self.net.anchors()


def make_evidence_net(path: Path, net: Net = Net.EXTRA, clock: Clock | None = None) -> EvidenceNet:
    made = make_net(path, net, clock or SystemClock())
    signer = made.issue(Profile.EVIDENCE, "gw-shared-evidence").load()
    other = made.issue(Profile.EVIDENCE, "gw-other-evidence").load()
    return EvidenceNet(made, signer, other)


def run(main: Callable[[asyncio.AbstractEventLoop], Awaitable[None]]) -> None:
    """Run `main` on the loop that the gateway uses."""

    async def started() -> None:
        await main(asyncio.get_running_loop())

    uvloop.run(started())


def open_log(
    directory: Path,
    signer: Credential,
    loop: asyncio.AbstractEventLoop,
    *,
    gateway: str = GATEWAY,
    limits: EvidenceLimits | None = None,
    anchors: TrustAnchors | None = None,
    clock: Clock | None = None,
) -> EvidenceLog:
    log = EvidenceLog(directory, signer, clock or SystemClock(), gateway=gateway, limits=limits, anchors=anchors)
    log.start(loop, policy="3", digest="cd" * 32)
    return log


async def written(log: EvidenceLog, *records: AnyRecord) -> list[ZoneGateError | None]:
    """Append `records` and return, in order, what became of each once the last is told."""
    told: list[asyncio.Future[ZoneGateError | None]] = []
    loop = asyncio.get_running_loop()
    for record in records:
        future: asyncio.Future[ZoneGateError | None] = loop.create_future()
        log.append(record, future.set_result)
        told.append(future)
    return list(await asyncio.gather(*told))


def write_chain(
    directory: Path,
    signer: Credential,
    batches: Sequence[Sequence[AnyRecord]],
    *,
    gateway: str = GATEWAY,
    limits: EvidenceLimits | None = None,
) -> None:
    """Write one process life in which each of `batches` has a seal of its own, then stop in order."""

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(directory, signer, loop, gateway=gateway, limits=limits or EvidenceLimits(seal_seconds=0.002))
        for batch in batches:
            assert await written(log, *batch) == [None] * len(batch)
            while log.stats.unsealed:
                await asyncio.sleep(0.001)
        log.close()

    run(main)


def verify_directory(directory: Path, trust: Trust, **options: Any) -> Report:
    segments = [stored_segment(number, path) for number, path in list_segments(directory)]
    return verify_chain(segments, trust, **options)
