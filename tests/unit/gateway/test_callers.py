"""Tickets are verified once, off the loop; verdicts end with what they rest on; nothing grows without bound."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from datetime import timedelta
from typing import Any

import pytest

from support.boundary import hand_net
from support.clock import FakeClock
from support.crossing import GATEWAY_SHARED, credential
from support.policy import CREDIT_FRONT
from zonegate.errors import ZoneGateError
from zonegate.gateway import callers
from zonegate.gateway.callers import REFUSED_SECONDS, TicketOffice, Verdict
from zonegate.gateway.ticket import SKEW, Ticket, issue
from zonegate.identity import Net
from zonegate.pki.path import SignatureCache
from zonegate.reasons import Reason


class ManualExecutor(Executor):
    """Runs what was submitted when the test says so."""

    def __init__(self) -> None:
        self.submitted = 0
        self.fault: Exception | None = None
        self._waiting: list[tuple[Future[Any], Any, tuple[Any, ...]]] = []

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        assert not named
        future: Future[Any] = Future()
        self.submitted += 1
        self._waiting.append((future, function, arguments))
        return future

    def work(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future, function, arguments in waiting:
            if self.fault is not None:
                future.set_exception(self.fault)
            else:
                future.set_result(function(*arguments))


class Desk:
    """An office with everything that it needs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.executor = ManualExecutor()
        anchors = hand_net(Net.EXTRA).anchors
        self.office = TicketOffice(self.loop, self.executor, anchors, SignatureCache(), self.clock)
        self.told: list[Verdict] = []

    def ask(self, ticket: bytes, ingress: str = GATEWAY_SHARED) -> Verdict | None:
        return self.office.verdict(ticket, ingress, self.told.append)

    def work(self) -> None:
        self.executor.work()
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))

    def ticket(self, *, after: float = 0.0, ingress: str = GATEWAY_SHARED) -> bytes:
        return issue(credential(CREDIT_FRONT), ingress, now=self.clock.now() + timedelta(seconds=after))


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.loop.close()


def reason_of(verdict: Verdict | None) -> Reason:
    assert verdict is not None
    return Reason.OK if isinstance(verdict, Ticket) else verdict.reason


def test_one_verification_for_all_that_ask(desk: Desk) -> None:
    ticket = desk.ticket()
    assert [desk.ask(ticket) for _ in range(5)] == [None] * 5
    desk.work()
    assert desk.executor.submitted == 1
    assert [reason_of(verdict) for verdict in desk.told] == [Reason.OK] * 5
    assert reason_of(desk.ask(ticket)) is Reason.OK
    assert desk.executor.submitted == 1


def test_a_ticket_is_for_one_gateway(desk: Desk) -> None:
    ticket = desk.ticket()
    for ingress in (GATEWAY_SHARED, GATEWAY_SHARED + "-2"):
        desk.ask(ticket, ingress)
    desk.work()
    assert [reason_of(verdict) for verdict in desk.told] == [Reason.OK, Reason.E_TICKET]


def test_a_verified_ticket_is_refused_from_the_instant_of_its_expiry(desk: Desk) -> None:
    ticket = desk.ticket()
    desk.ask(ticket)
    desk.work()
    desk.clock.advance(599)
    assert reason_of(desk.ask(ticket)) is Reason.OK
    desk.clock.advance(1)
    assert reason_of(desk.ask(ticket)) is Reason.E_TICKET_EXPIRED
    assert desk.executor.submitted == 1, "there is nothing to verify"


def test_a_refused_ticket_is_looked_at_again_when_clocks_may_agree(desk: Desk) -> None:
    ticket = desk.ticket(after=SKEW.total_seconds() + 2)
    desk.ask(ticket)
    desk.work()
    assert reason_of(desk.told[-1]) is Reason.E_TICKET
    assert reason_of(desk.ask(ticket)) is Reason.E_TICKET
    assert desk.executor.submitted == 1, "not each time that it is shown"
    desk.clock.advance(REFUSED_SECONDS)
    assert desk.ask(ticket) is None
    desk.work()
    assert reason_of(desk.told[-1]) is Reason.OK


@pytest.mark.parametrize("garbage", [b"", b"\x30\x00", b"x" * 9000], ids=["empty", "DER", "too long"])
def test_garbage_is_a_refusal(desk: Desk, garbage: bytes) -> None:
    desk.ask(garbage)
    desk.work()
    assert reason_of(desk.told[-1]) is Reason.E_TICKET


def test_what_waits_and_what_is_known_is_bounded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "WAITING_LIMIT", 2)
    monkeypatch.setattr(callers, "VERIFIED_LIMIT", 3)
    assert [desk.ask(bytes([number])) for number in (1, 2)] == [None, None]
    assert reason_of(desk.ask(b"\x03")) is Reason.E_STREAMS
    assert desk.ask(b"\x01") is None
    assert reason_of(desk.ask(b"\x01")) is Reason.E_STREAMS
    desk.work()
    for number in range(10, 16):
        desk.ask(bytes([number]))
        desk.work()
    assert len(desk.office._verdicts) == 3


def test_a_fault_of_the_worker_is_told_and_blocks_no_later_look(desk: Desk) -> None:
    ticket = issue(credential(CREDIT_FRONT), GATEWAY_SHARED, now=desk.clock.now())
    desk.executor.fault = RuntimeError("a fault of ours")
    assert desk.ask(ticket) is None
    desk.work()
    (told,) = desk.told
    assert isinstance(told, ZoneGateError)
    assert told.reason is Reason.E_INTERNAL
    desk.executor.fault = None
    desk.clock.advance(REFUSED_SECONDS + 0.1)
    assert desk.ask(ticket) is None, "it is looked at again"
    desk.work()
    assert isinstance(desk.told[-1], Ticket)
