"""[a] Who calls, as far as a gateway has verified it: tickets checked in threads, verdicts cached by digest.

A ticket costs three SM2 verifications, so each is checked once, off the event loop; calls that refer to it wait
meanwhile. A ticket that has verified is good until it expires; one that was refused is looked at again some seconds
later, since a clock may have caught up. Revocation is not part of what is cached: it is asked for each time a plan is
made (architecture section 3).
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from zonegate.errors import ZoneGateError
from zonegate.gateway.ticket import Ticket, verify
from zonegate.gm import sm3
from zonegate.reasons import Reason

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from concurrent.futures import Executor

    from zonegate.clock import Clock
    from zonegate.pki.path import SignatureCache, TrustAnchors

_LOG = logging.getLogger("zonegate")

VERIFIED_LIMIT = 4096
WAITING_LIMIT = 4096
REFUSED_SECONDS = 5.0

Verdict: TypeAlias = Ticket | ZoneGateError


class TicketOffice:
    """Verifies tickets of one net; each distinct ticket once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        executor: Executor,
        anchors: TrustAnchors,
        signatures: SignatureCache,
        clock: Clock,
    ) -> None:
        self._loop = loop
        self._executor = executor
        self._anchors = anchors
        self._signatures = signatures
        self._clock = clock
        # Verdict and until when it holds, in seconds since 1970.
        self._verdicts: OrderedDict[tuple[bytes, str], tuple[Verdict, float]] = OrderedDict()
        self._waiting: dict[tuple[bytes, str], list[Callable[[Verdict], None]]] = {}

    def verdict(self, ticket: bytes, ingress: str, then: Callable[[Verdict], None]) -> Verdict | None:
        """Return what is known of `ticket`, issued for the gateway `ingress`; None: `then` will be called with it."""
        key = (sm3.digest(ticket), ingress)
        known = self._verdicts.get(key)
        if known is not None:
            verdict, until = known
            if self._clock.timestamp() < until:
                return verdict
            if isinstance(verdict, Ticket):
                return ZoneGateError(Reason.E_TICKET_EXPIRED, f"ticket.notAfter: {verdict.expires:%FT%TZ} is past")
        waiting = self._waiting.get(key)
        if waiting is not None:
            if len(waiting) >= WAITING_LIMIT:
                return ZoneGateError(Reason.E_STREAMS, "too many calls wait for a ticket to be verified")
            waiting.append(then)
            return None
        if len(self._waiting) >= WAITING_LIMIT:
            return ZoneGateError(Reason.E_STREAMS, "too many tickets wait to be verified")
        self._waiting[key] = [then]
        future = self._loop.run_in_executor(self._executor, self._check, ticket, ingress)
        future.add_done_callback(lambda done: self._checked(key, done))
        return None

    def _checked(self, key: tuple[bytes, str], done: asyncio.Future[Verdict]) -> None:
        if done.cancelled():
            return
        # A fault of ours refuses this ticket; calls that wait for it are told, and none waits for ever.
        fault = done.exception()
        if fault is not None:
            _LOG.error("ticket could not be verified: %s", type(fault).__name__, exc_info=fault)
            self._settle(key, ZoneGateError(Reason.E_INTERNAL, "ticket: could not be verified"))
        else:
            self._settle(key, done.result())

    def _check(self, ticket: bytes, ingress: str) -> Verdict:
        try:
            return verify(ticket, self._anchors, ingress=ingress, now=self._clock.now(), signatures=self._signatures)
        except ZoneGateError as error:
            return error

    def _settle(self, key: tuple[bytes, str], verdict: Verdict) -> None:
        if isinstance(verdict, Ticket):
            until = verdict.expires.timestamp()
        else:
            until = self._clock.timestamp() + REFUSED_SECONDS
        self._verdicts[key] = verdict, until
        if len(self._verdicts) > VERIFIED_LIMIT:
            self._verdicts.popitem(last=False)
        for then in self._waiting.pop(key, []):
            then(verdict)
