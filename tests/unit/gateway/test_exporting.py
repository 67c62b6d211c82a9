"""The way of a one_way call: whole messages only, within bounds, a receipt when all is durable; and the filters."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.boundary import FIGURE
from support.crossing import GOOD, Crossing, request
from support.policy import SUBMIT, sample_policy
from support.wire import message
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.export import Exported, ExportRequest
from zonegate.gateway.evidence import records
from zonegate.gateway.exporting import Exporting
from zonegate.gateway.inspection import Inspectors
from zonegate.identity import Net
from zonegate.policies.model import Policy
from zonegate.reasons import Reason

PURPOSE = ("zg-purpose", "%E7%BB%9F%E8%AE%A1%E6%8A%A5%E9%80%81")
GOOD_SUBMIT = (GOOD[0], PURPOSE)


class MemoryExporter:
    """Remembers what it was asked to export."""

    def __init__(self) -> None:
        self.asked: list[ExportRequest] = []
        self.error: ZoneGateError | None = None

    def export(self, asked: ExportRequest) -> Exported:
        if self.error is not None:
            raise self.error
        self.asked.append(asked)
        return Exported(b"receipt", "0123456789abcdef" * 2, "ab" * 32, sum(map(len, asked.messages)), "x.zgt", False)


class Export:
    """A gateway that exports into memory."""

    def __init__(self) -> None:
        self.exporter = MemoryExporter()
        self.crossing = Crossing(policy=sample_policy())
        self.executor = ThreadPoolExecutor(1)
        self.exporting = Exporting(
            self.crossing.wire.loop,
            self.executor,
            self.exporter,  # type: ignore[arg-type]  # the part that is asked
            self.crossing.recorder,
        )
        self.crossing.handler._exporting = self.exporting

    def send(self, *pairs: tuple[str, str], data: bytes, end: bool = True) -> tuple[int, str, bytes]:
        wire = self.crossing.wire
        stream = wire.caller.open_stream(request(*pairs, path=SUBMIT), end_stream=False)
        assert stream is not None
        wire.caller.send_data(stream, data, end_stream=end)
        wire.settle()
        self.work()
        return self.crossing.got()

    def work(self) -> None:
        """Let the worker end and its answer reach the loop."""
        self.executor.submit(lambda: None).result()
        for _ in range(4):
            self.crossing.wire.loop.run_until_complete(asyncio.sleep(0))
        self.crossing.wire.settle()

    def close(self) -> None:
        self.executor.shutdown()
        self.crossing.close()


@pytest.fixture
def export() -> Iterator[Export]:
    made = Export()
    yield made
    made.close()


@pytest.mark.req("XZ-03")
def test_a_one_way_call_is_answered_with_a_receipt(export: Export) -> None:
    status, reason, _ = export.send(*GOOD_SUBMIT, ("zg-idempotency-key", "k-1"), data=message(FIGURE))
    assert (status, reason) == (0, "")
    (asked,) = export.exporter.asked
    assert asked.messages == (FIGURE,)
    assert (asked.idempotency_key, asked.purpose, asked.source_zone, asked.target_zone) == (
        "k-1",
        "统计报送",
        "shared",
        "inner",
    )
    (decision,) = export.crossing.decisions
    assert decision.hop is records.Hop.EXPORT
    (receipt,) = export.crossing.log.of(records.ReceiptRecord)
    assert receipt.crossing == asked.crossing == decision.crossing
    assert export.crossing.outcomes[0].executed is records.Executed.UNKNOWN
    assert export.crossing.wire.dialler.attempts == 0


CUT = {
    "inside a message": (message(FIGURE)[:-1], Reason.E_HTTP2),
    "inside a second one": (message(FIGURE) + message(FIGURE)[:7], Reason.E_HTTP2),
    "inside a prefix": (message(FIGURE) + b"\0\0", Reason.E_HTTP2),
    "after an unknown field": (message(FIGURE + b"\x7a\x01x"), Reason.E_SCHEMA),
    "at a compressed one": (b"\1" + message(FIGURE)[1:], Reason.E_MESSAGE_COMPRESSED),
}


@pytest.mark.parametrize(("data", "reason"), CUT.values(), ids=CUT)
def test_nothing_is_exported_of_a_request_that_ends(export: Export, data: bytes, reason: Reason) -> None:
    assert export.send(*GOOD_SUBMIT, data=data)[1] == reason.value
    assert not export.exporter.asked


def test_an_exporter_that_refuses(export: Export) -> None:
    export.exporter.error = ZoneGateError(Reason.E_IMPORT_SPACE, "carrier: no room")
    assert export.send(*GOOD_SUBMIT, data=message(FIGURE))[1] == "E_IMPORT_SPACE"
    assert not export.crossing.log.of(records.ReceiptRecord)
    assert export.crossing.outcomes[0].executed is records.Executed.NO


def test_a_receipt_that_cannot_be_recorded_is_not_given(export: Export) -> None:
    export.crossing.log.held = []
    export.send(*GOOD_SUBMIT, data=message(FIGURE))
    export.crossing.log.sync()
    export.crossing.log.error = ZoneGateError(Reason.E_EVIDENCE, "disk full")
    export.work()
    assert export.crossing.got()[1] == "E_EVIDENCE"


def test_a_caller_that_leaves_takes_nothing_back(export: Export) -> None:
    wire = export.crossing.wire
    stream = wire.caller.open_stream(request(*GOOD_SUBMIT, path=SUBMIT), end_stream=False)
    assert stream is not None
    wire.caller.send_data(stream, message(FIGURE), end_stream=True)
    wire.settle()
    wire.near.abort(Reason.E_CERT_REVOKED)
    export.work()
    assert len(export.exporter.asked) == len(export.crossing.log.of(records.ReceiptRecord)) == 1
    (outcome,) = export.crossing.outcomes
    assert (outcome.reason, outcome.executed) == (Reason.E_CANCELLED, records.Executed.UNKNOWN)


def test_a_gateway_without_a_carrier_says_so() -> None:
    crossing = Crossing()
    crossing.call(*GOOD_SUBMIT, path=SUBMIT, body=FIGURE)
    assert crossing.got()[:2] == (14, "E_UPSTREAM")
    crossing.close()


# -- which calls are inspected ---------------------------------------------------------------------------------------


def plan(policy: Policy, resource: str, source: str, target: str) -> Any:
    found = policy.resources[resource]
    method = next(iter(found.methods.values()))
    decision = SimpleNamespace(
        resource=found, method=method, source_zone=policy.zones[source], target_zone=policy.zones[target]
    )
    return SimpleNamespace(decision=decision, inspection=None)


def test_xz_02_verbatim_only_in_extra_below_grade_4() -> None:
    policy = sample_policy()
    assert not Inspectors(policy).demanded(plan(policy, "population", "shared", "police"))
    assert Inspectors(policy).demanded(plan(policy, "statistics", "shared", "inner")), "the resource says schema"


@pytest.mark.parametrize(("grade", "demanded"), [(3, False), (4, True)])
def test_xz_02_the_grade_of_either_zone_counts(grade: int, *, demanded: bool) -> None:
    policy = sample_policy()
    found = plan(policy, "population", "shared", "police")
    for side in ("source_zone", "target_zone"):
        zone = getattr(found.decision, side)
        changed = SimpleNamespace(**{**vars(found.decision), side: SimpleNamespace(grade=grade, name=zone.name)})
        assert Inspectors(policy).demanded(SimpleNamespace(decision=changed)) is demanded


def test_xz_02_everything_in_the_intranet(tmp_path: Path) -> None:
    policy = sample_policy(Net.INTRA)
    resource = next(iter(policy.resources))
    zone = next(iter(policy.zones))
    assert Inspectors(policy).demanded(plan(policy, resource, zone, zone))


def test_a_resource_without_a_descriptor_cannot_be_inspected() -> None:
    policy = sample_policy()
    resource = policy.resources["population"]
    with pytest.raises(ZoneGateError) as caught:
        Inspectors(policy).request_filter(resource, next(iter(resource.methods.values())))
    assert caught.value.reason is Reason.E_SCHEMA
