"""The importer: each object taken once, decided here, delivered in order and once; trouble waits, nothing is lost."""

import asyncio

import pytest

from support.boundary import CALLER, FIGURE, GATEWAY, IMPORTER, hand_net, offer
from support.clock import NOON, FakeClock
from support.policy import compile_sample, replaced, sample_policy
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.deliver import Delivered, Outcome, judge
from zonegate.gateway.boundary.handover import Disposition, Greeting, RefusedFile, Waiting
from zonegate.gateway.boundary.import_decision import Place
from zonegate.gateway.boundary.import_ledger import ImportLedger
from zonegate.gateway.boundary.importer import Importer, ImportLimits, InForce
from zonegate.gateway.boundary.transport_file import read_proof, verify_signer
from zonegate.gateway.evidence.counts import decision_key
from zonegate.gateway.evidence.records import Basis, DecisionRecord, ImportRecord, OutcomeRecord
from zonegate.gateway.inspection import Inspectors
from zonegate.identity import Net
from zonegate.monitoring import names
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.pki.certificate import Profile
from zonegate.reasons import Executed, GrpcCode, Reason

POLICY = sample_policy(Net.INTRA)
DONE = Delivered(Outcome.DELIVERED, 0, Reason.OK, Executed.YES, "", 2, 1, "ab" * 32)
DOWN = Delivered(Outcome.AGAIN, 14, Reason.E_UPSTREAM, Executed.NO, "the next hop is down")
NO = Delivered(Outcome.REJECTED, 3, Reason.OK, Executed.YES, "bad figure")


class FakeLog:
    """Implements `Log`: a record is durable at the next turn of the loop, or cannot be while `broken`."""

    def __init__(self):
        self.records = []
        self.broken = False

    def append(self, record, on_durable=None):
        error = ZoneGateError(Reason.E_EVIDENCE, "evidence: no room") if self.broken else None
        if error is None:
            self.records.append(record)
        if on_durable is not None:
            asyncio.get_running_loop().call_soon(on_durable, error)


class FakeDelivery:
    """Implements `Delivery`: answers from a list, then DONE; may be held."""

    def __init__(self):
        self.answers = []
        self.made = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def deliver(self, header, messages, *, attempt):
        await self.gate.wait()
        self.made.append((header.object_id, messages, attempt))
        return self.answers.pop(0) if self.answers else DONE


class Desk:
    """An importer on a folder."""

    def __init__(self, folder, **limits):
        self.clock = FakeClock()
        self.path = folder / "import.sqlite"
        self.log = FakeLog()
        self.delivery = FakeDelivery()
        self.metrics = GatewayMetrics(sorted(POLICY.zones))
        fast = {"first_backoff_seconds": 0.001, "last_backoff_seconds": 0.002}
        self.limits = ImportLimits(**{**fast, **limits})
        self.policy = POLICY

    def in_force(self):
        return InForce(self.policy, Inspectors(self.policy), Basis(policy="1", digest="ab" * 32))

    async def start(self):
        self.importer = Importer(
            ImportLedger(self.path),
            self.delivery,
            log=self.log,
            metrics=self.metrics,
            in_force=self.in_force(),
            place=Place(IMPORTER, "inner"),
            clock=self.clock,
            limits=self.limits,
        )
        await self.importer.start()

    async def restart(self):
        await self.importer.stop(1)
        await self.start()

    async def take(self, saying):
        return (await self.importer.take(saying)).disposition

    async def until(self, condition):
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0)

    async def settled(self):
        await self.until(lambda: self.importer.waiting_objects == 0)

    def of(self, kind):
        return [record for record in self.log.records if isinstance(record, kind)]

    def states(self):
        ledger = ImportLedger(self.path)
        found = ledger.states()
        ledger.close()
        return found

    def counted(self, metric):
        return {labels: value for labels, value in self.metrics._tallies[metric].snapshot().items() if value}


def run(folder, scenario, **limits):
    async def main():
        desk = Desk(folder, **limits)
        await desk.start()
        try:
            await scenario(desk)
        finally:
            await desk.importer.stop(1)
            assert not desk.importer.failure.done()
            desk.importer.failure.cancel()

    asyncio.run(main())


def number(count, **changes):
    return offer(object_id=f"{count:032x}", sequence=count, crossing=f"{count:028x}", **changes)


@pytest.mark.req("XZ-03", "XZ-14")
def test_an_object_is_decided_recorded_and_delivered(tmp_path):
    async def scenario(desk):
        assert await desk.take(Greeting()) is Disposition.TAKEN
        assert await desk.take(offer()) is Disposition.TAKEN
        await desk.settled()
        assert desk.delivery.made == [(offer().header.object_id, (FIGURE,), 1)]
        kinds = [type(record) for record in desk.log.records]
        assert kinds == [ImportRecord, DecisionRecord, OutcomeRecord]
        taken, decision, outcome = desk.log.records
        assert (taken.allowed, taken.sender, taken.origin, taken.step) == (True, CALLER, GATEWAY, "received")
        assert (decision.hop, decision.verdict.allowed, decision.caller.peer) == ("import", True, GATEWAY)
        assert decision.verdict.request.decision == "import"
        assert (outcome.grpc, outcome.executed, outcome.request_digest) == (0, "yes", offer().header.digest)
        assert (outcome.response_bytes, outcome.response_digest) == (2, "ab" * 32)
        key = decision_key(decision.verdict)
        assert desk.counted(names.DECISIONS_TOTAL) == {tuple(key): 1}
        assert desk.counted(names.IMPORT_OBJECTS) == {("OK",): 1}
        assert desk.states() == {"delivered": 1}

    run(tmp_path, scenario)


@pytest.mark.req("XZ-03")
def test_the_same_object_is_taken_once_also_after_a_restart(tmp_path):
    async def scenario(desk):
        await desk.take(offer())
        assert await desk.take(offer(file="again.zgt")) is Disposition.DUPLICATE
        await desk.settled()
        assert await desk.take(offer()) is Disposition.DUPLICATE
        await desk.restart()
        assert await desk.take(offer()) is Disposition.DUPLICATE
        assert len(desk.delivery.made) == 1
        reasons = [record.reason for record in desk.of(ImportRecord)]
        assert reasons == [Reason.OK, *[Reason.E_IMPORT_DUPLICATE] * 3]
        assert desk.counted(names.IMPORT_OBJECTS) == {("OK",): 1, ("E_IMPORT_DUPLICATE",): 3}

    run(tmp_path, scenario)


def test_a_refused_file_is_recorded_and_counted(tmp_path):
    async def scenario(desk):
        report = RefusedFile("坏.zgt", "cd" * 32, Reason.E_IMPORT_SEAL, "file: chunk 0 was altered")
        assert await desk.take(report) is Disposition.TAKEN
        (record,) = desk.of(ImportRecord)
        assert (record.allowed, record.reason, record.digest, record.step) == (
            False,
            report.reason,
            "cd" * 32,
            "verify",
        )
        assert desk.counted(names.IMPORT_OBJECTS) == {("E_IMPORT_SEAL",): 1}

    run(tmp_path, scenario)


REFUSED = {
    "by the policy": ({"purpose": "其他"}, Reason.E_PURPOSE),
    "by its label": ({"label": "L3"}, Reason.E_SPILL),
    "by its way": ({"target_zone": "archive"}, Reason.E_IMPORT_TARGET),
    "by its content": ({"messages": (FIGURE + b"\x22\x01x",)}, Reason.E_SCHEMA),
}


@pytest.mark.req("XZ-01", "XZ-02")
@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_here_is_recorded_and_never_delivered(tmp_path, change, reason):
    async def scenario(desk):
        assert await desk.take(offer(**change)) is Disposition.TAKEN
        await desk.settled()
        assert desk.delivery.made == []
        (decision,) = desk.of(DecisionRecord)
        assert (decision.verdict.allowed, decision.verdict.reason) == (False, reason)
        assert desk.of(OutcomeRecord) == []
        assert desk.counted(names.IMPORT_OBJECTS) == {(reason.value,): 1}
        assert desk.states() == {"refused": 1}

    run(tmp_path, scenario)


def test_an_object_older_than_the_ledgers_memory_is_refused(tmp_path):
    async def scenario(desk):
        desk.clock.advance(31 * 86400)
        assert await desk.take(offer()) is Disposition.REFUSED
        assert [record.reason for record in desk.of(ImportRecord)] == [Reason.E_IMPORT_EXPIRED]

    run(tmp_path, scenario)


def test_the_ledger_forgets_only_what_could_not_come_again(tmp_path):
    async def scenario(desk):
        await desk.take(offer())
        await desk.settled()
        desk.clock.advance(29 * 86400)
        await desk.take(Waiting(0))
        assert desk.states() == {"delivered": 1}
        desk.clock.advance(3 * 86400)
        await desk.take(Waiting(0))
        assert desk.states() == {}

    run(tmp_path, scenario)


# --- order and trouble


def test_a_stream_keeps_its_order_while_its_provider_is_down(tmp_path):
    async def scenario(desk):
        desk.delivery.answers = [DOWN, DOWN, DOWN]
        for count in (1, 2, 3):
            await desk.take(number(count))
        await desk.settled()
        assert [int(made[0], 16) for made in desk.delivery.made] == [1, 1, 1, 1, 2, 3]
        assert [made[2] for made in desk.delivery.made] == [1, 2, 3, 4, 1, 1]
        assert len(desk.of(DecisionRecord)) == 3
        assert [record.crossing for record in desk.of(OutcomeRecord)] == [f"{count:028x}" for count in (1, 2, 3)]

    run(tmp_path, scenario)


def test_one_senders_trouble_does_not_hold_another(tmp_path):
    other = CALLER.replace("credit", "portal")
    files = replaced(
        f"uri: {CALLER}\ntitle: 信用查询前端（外网）\nzone: shared\nclearance: L2 工作秘密\nforeign: true\n---\n",
        f"uri: {CALLER}\ntitle: a\nzone: shared\nclearance: L2 工作秘密\nforeign: true\n---\n"
        f"apiVersion: zonegate/v1\nkind: System\nuri: {other}\ntitle: b\nzone: shared\nclearance: L2 工作秘密\n"
        "foreign: true\n---\n",
        Net.INTRA,
    )
    policy = compile_sample(files).policy

    async def scenario(desk):
        desk.importer.use(InForce(policy, Inspectors(policy), Basis(policy="2", digest="")))
        held, answers = [], {1: asyncio.Event()}

        async def deliver(header, messages, *, attempt):
            if header.sequence in answers:
                await answers[header.sequence].wait()
            held.append(header.sequence)
            return DONE

        desk.importer._delivery.deliver = deliver
        await desk.take(number(1))
        await desk.take(number(2))
        await desk.take(number(3, caller=other))
        await desk.until(lambda: held == [3])
        answers[1].set()
        await desk.settled()
        assert held == [3, 1, 2]

    run(tmp_path, scenario)


def test_an_object_that_the_provider_refuses_is_finished_and_the_next_goes_on(tmp_path):
    async def scenario(desk):
        desk.delivery.answers = [NO]
        await desk.take(number(1))
        await desk.take(number(2))
        await desk.settled()
        assert [record.grpc for record in desk.of(OutcomeRecord)] == [3, 0]
        assert desk.counted(names.IMPORT_OBJECTS) == {("E_IMPORT_REJECTED",): 1, ("OK",): 1}
        assert desk.states() == {"delivered": 1, "refused": 1}

    run(tmp_path, scenario)


def test_an_object_is_given_up_after_its_time(tmp_path):
    async def scenario(desk):
        desk.delivery.answers = [DOWN] * 1000
        await desk.take(offer())
        await desk.until(lambda: desk.delivery.made)
        desk.clock.advance(3 * 86400)
        await desk.settled()
        (outcome,) = desk.of(OutcomeRecord)
        assert (outcome.grpc, outcome.reason, outcome.executed) == (14, Reason.E_UPSTREAM, "no")
        assert desk.states() == {"refused": 1}

    run(tmp_path, scenario)


@pytest.mark.req("AU-04")
def test_without_evidence_nothing_is_taken_or_delivered_and_nothing_lost(tmp_path):
    async def scenario(desk):
        desk.delivery.gate.clear()
        await desk.take(number(1))
        await desk.until(lambda: len(desk.of(DecisionRecord)) == 1)
        await desk.take(number(2))
        desk.log.broken = True
        assert await desk.take(RefusedFile("x", "", Reason.E_IMPORT_SEAL, "x")) is Disposition.BUSY
        desk.delivery.gate.set()
        await desk.until(lambda: desk.importer.waiting_objects == 1)
        for _ in range(50):
            await asyncio.sleep(0)
        assert [int(made[0], 16) for made in desk.delivery.made] == [1]
        desk.log.broken = False
        await desk.settled()
        assert [int(made[0], 16) for made in desk.delivery.made] == [1, 2]

    run(tmp_path, scenario)


def test_a_full_queue_says_busy_until_there_is_room(tmp_path):
    async def scenario(desk):
        desk.delivery.gate.clear()
        assert await desk.take(number(1)) is Disposition.TAKEN
        assert await desk.take(number(2)) is Disposition.TAKEN
        assert await desk.take(number(3)) is Disposition.BUSY
        desk.delivery.gate.set()
        await desk.settled()
        assert await desk.take(number(3)) is Disposition.TAKEN
        await desk.settled()

    run(tmp_path, scenario, waiting_objects=2)


def test_a_queue_is_bounded_in_bytes_too(tmp_path):
    async def scenario(desk):
        desk.delivery.gate.clear()
        assert await desk.take(number(1)) is Disposition.TAKEN
        assert await desk.take(number(2)) is Disposition.BUSY
        desk.delivery.gate.set()
        await desk.settled()

    run(tmp_path, scenario, waiting_bytes=len(FIGURE) + 1)


# --- restart


def test_what_was_not_delivered_is_taken_up_after_a_restart_in_order(tmp_path):
    async def scenario(desk):
        desk.delivery.answers = [DOWN] * 5
        for count in (1, 2, 3):
            await desk.take(number(count))
        await desk.until(lambda: len(desk.delivery.made) >= 1)
        await desk.importer.stop(0)
        assert desk.states() == {"delivering": 1, "received": 2}
        desk.delivery.answers = []
        desk.delivery.made.clear()
        await desk.start()
        await desk.settled()
        assert [int(made[0], 16) for made in desk.delivery.made] == [1, 2, 3]
        assert desk.delivery.made[0][2] >= 2, "the provider may have seen it: the attempt says so"

    run(tmp_path, scenario)


def test_a_new_bundle_decides_what_waits(tmp_path):
    strict = compile_sample(
        {
            "intra.yaml": replaced("maxLevel: L2 工作秘密\n", "maxLevel: L0 公开\n", Net.INTRA)["intra.yaml"].replace(
                b"expect: import\nreason: OK", b"expect: deny\nreason: E_NO_FLOW_RULE"
            ),
            **{name: raw for name, raw in replaced("maxLevel", "maxLevel", Net.INTRA).items() if name != "intra.yaml"},
        }
    ).policy

    async def scenario(desk):
        desk.delivery.answers = [DOWN] * 100_000
        await desk.take(offer())
        await desk.until(lambda: desk.delivery.made)
        desk.importer.use(InForce(strict, Inspectors(strict), Basis(policy="2", digest="")))
        await desk.settled()
        verdicts = [record.verdict.reason for record in desk.of(DecisionRecord)]
        assert verdicts == [Reason.OK, Reason.E_NO_FLOW_RULE]
        (outcome,) = desk.of(OutcomeRecord)
        assert (outcome.reason, outcome.executed) == (Reason.E_NO_FLOW_RULE, "no")
        assert desk.counted(names.IMPORT_OBJECTS) == {("E_NO_FLOW_RULE",): 1}

    run(tmp_path, scenario)


@pytest.mark.req("XZ-03")
def test_missing_numbers_are_counted(tmp_path):
    async def scenario(desk):
        for count in (5, 6, 9, 8, 10):
            await desk.take(number(count))
        await desk.settled()
        assert desk.counted(names.IMPORT_GAPS) == {(): 2}

    run(tmp_path, scenario)


@pytest.mark.req("XZ-12")
def test_messages_are_gone_from_the_ledger_when_an_object_is_finished(tmp_path):
    marker = b"residue of a message, 32 bytes.."
    message = b"\x0a\x20" + marker

    def found():
        return any(marker in path.read_bytes() for path in tmp_path.iterdir())

    async def scenario(desk):
        desk.delivery.gate.clear()
        await desk.take(offer((message,)))
        assert found()
        desk.delivery.gate.set()
        await desk.settled()
        await desk.until(lambda: not desk.importer._tasks)
        assert not found()
        proof = ImportLedger(desk.path)
        kept = proof.proof(offer().header.object_id)
        proof.close()
        assert kept is not None
        signed, header = read_proof(kept)
        assert verify_signer(signed, header, hand_net(Net.EXTRA).anchors, now=NOON).profile is Profile.GATEWAY

    run(tmp_path, scenario)


# --- what a status means

STATUSES = {
    "OK": (0, Reason.OK, 1, Outcome.DELIVERED),
    "the provider refuses": (GrpcCode.INVALID_ARGUMENT, Reason.OK, 1, Outcome.REJECTED),
    "the provider fails": (GrpcCode.UNKNOWN, Reason.OK, 1, Outcome.REJECTED),
    "the provider is not ready": (GrpcCode.UNAVAILABLE, Reason.OK, 1, Outcome.AGAIN),
    "the provider is too slow": (GrpcCode.DEADLINE_EXCEEDED, Reason.OK, 1, Outcome.AGAIN),
    "known to the provider at once": (GrpcCode.ALREADY_EXISTS, Reason.OK, 1, Outcome.REJECTED),
    "known to the provider the second time": (GrpcCode.ALREADY_EXISTS, Reason.OK, 2, Outcome.DELIVERED),
    "the connector is down": (GrpcCode.UNAVAILABLE, Reason.E_UPSTREAM, 1, Outcome.AGAIN),
    "another peer answers there": (GrpcCode.UNAVAILABLE, Reason.E_PEER_IDENTITY, 1, Outcome.AGAIN),
    "the connector does not offer it": (GrpcCode.UNIMPLEMENTED, Reason.E_NOT_CATALOGUED, 1, Outcome.REJECTED),
    "an answer too large to read": (GrpcCode.UNKNOWN, Reason.E_MESSAGE_SIZE, 1, Outcome.DELIVERED),
}


@pytest.mark.parametrize(("status", "reason", "attempt", "outcome"), STATUSES.values(), ids=STATUSES)
def test_what_a_status_means(status, reason, attempt, outcome):
    assert judge(status, reason, attempt=attempt) is outcome
