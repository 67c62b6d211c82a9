"""A process that only writes evidence, to be killed, limited and filled up by tests.

usage: evidence_writer.py DIRECTORY CERT KEY SECRET IN_FLIGHT. Each answered crossing is one line on stdout, written
before anything else happens to it: `ok ID` when its record is durable, `refused ID REASON` otherwise.
"""

import asyncio
import os
import secrets
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.log import EvidenceLimits, EvidenceLog
from zonegate.gateway.evidence.records import Basis, Caller, DecisionRecord, Executed, Flow, Hop, OutcomeRecord, Verdict
from zonegate.pki.credential import load_credential
from zonegate.reasons import Reason

GATEWAY = "spiffe://extra/111000009900000172/gw-shared"
FLOW = Flow(decision="guarded", reason=Reason.OK, source="a", target="b", level=1)
VERDICT = Verdict(allowed=True, reason=Reason.OK, request=FLOW, response=FLOW, path="/a.B/C")
CALLER = Caller(uri="spiffe://extra/111000009900000172/caller")
BASIS = Basis(policy="1", digest="ab" * 32)
# A refused caller comes back after a moment, as a client with backoff does.
PAUSE_SECONDS = 0.005


class Writer:
    def __init__(self, log: EvidenceLog, loop: asyncio.AbstractEventLoop) -> None:
        self.log = log
        self.loop = loop
        self.stopping = False
        self.in_flight = 0

    def cross(self) -> None:
        if self.stopping:
            return
        self.in_flight += 1
        crossing = secrets.token_hex(8)
        record = DecisionRecord(
            time=datetime.now(UTC),  # noqa: TID251 - a process of the tests
            crossing=crossing,
            hop=Hop.SINGLE,
            caller=CALLER,
            verdict=VERDICT,
            basis=BASIS,
        )
        self.log.append(record, lambda error: self.answer(crossing, error))

    def answer(self, crossing: str, error: ZoneGateError | None) -> None:
        self.in_flight -= 1
        if error is not None:
            os.write(1, f"refused {crossing} {error.reason}\n".encode())
            self.loop.call_later(PAUSE_SECONDS, self.cross)
            return
        os.write(1, f"ok {crossing}\n".encode())
        self.log.append(
            OutcomeRecord(
                time=datetime.now(UTC),  # noqa: TID251 - a process of the tests
                crossing=crossing,
                grpc=0,
                reason=Reason.OK,
                executed=Executed.YES,
            )
        )
        self.cross()


async def main(directory: str, cert: str, key: str, secret: str, in_flight: str) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    signer = load_credential(Path(cert), Path(key), Path(secret))
    limits = EvidenceLimits(segment_bytes=1 << 20, reserve_bytes=1 << 20)
    log = EvidenceLog(Path(directory), signer, SystemClock(), gateway=GATEWAY, limits=limits)
    log.start(loop)
    writer = Writer(log, loop)
    for _ in range(int(in_flight)):
        writer.cross()
    await stop.wait()
    writer.stopping = True
    while writer.in_flight:
        await asyncio.sleep(0.001)
    log.close()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
