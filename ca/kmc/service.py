"""Answers the signed requests of CAs: admits, uses the nonce up, acts, signs the answer (CA-09).

Bytes in, bytes out, over whatever transport. A message that cannot be read gets no answer: `E_DER` is raised and the
transport hangs up. Every other refusal is a signed error package.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from zonegate.ca.audit import Act
from zonegate.ca.kmc import recovery
from zonegate.ca.kmc.centre import Centre
from zonegate.ca.kmc.messages import (
    Answer,
    Apply,
    Key,
    Outcome,
    Purpose,
    Request,
    Restore,
    Revoke,
    Revoked,
    refusal,
)
from zonegate.ca.kmc.protocol import check_request, read_request, sign_answer
from zonegate.ca.kmc.recovery import Tribunal
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.pki.certificate import Certificate
from zonegate.pki.credential import Credential
from zonegate.reasons import Reason

_ACTS = {
    Purpose.USER: Act.KEY_RESTORE,
    Purpose.JUDICIAL: Act.KEY_RESTORE_JUDICIAL,
}


@dataclass(frozen=True, slots=True)
class Service:
    """One centre's answering side. Without a `tribunal` nothing is recovered."""

    centre: Centre
    credential: Credential
    callers: Mapping[str, Certificate]
    tribunal: Callable[[], Tribunal] | None
    clock: Clock

    def answer(self, message: bytes) -> bytes:
        """Return the signed answer to a signed request; `E_DER` if the message is none."""
        try:
            request, body, signature = read_request(message)
        except ZoneGateError as exc:
            self.centre.refuse(Act.KEY_REQUEST, f"message sm3:{sm3.digest(message).hex()}", "unknown", exc)
            raise
        outcome: Outcome
        try:
            self._admit(request, body, signature)
            outcome = self._act(request)
        except ZoneGateError as exc:
            outcome = refusal(exc)
        answer = Answer(
            kmc=str(self.credential.identity),
            ca=request.ca,
            at=self.clock.now(),
            task=request.task,
            nonce=request.nonce,
            request_digest=sm3.digest(message),
            outcome=outcome,
        )
        return sign_answer(answer, self.credential.key)

    def _admit(self, request: Request, body: bytes, signature: bytes) -> None:
        now = self.clock.now()
        try:
            caller = self._caller(request.ca)
            kmc = str(self.credential.identity)
            check_request(request, body, signature, caller=caller, kmc=kmc, now=now)
            # Before the act and whatever becomes of it: a refused request does not come back tomorrow and succeed.
            self.centre.store.consume(request.ca, request.nonce, now=now)
        except ZoneGateError as exc:
            if exc.reason is not Reason.E_LEDGER:
                self.centre.refuse(_act_of(request), f"task {request.task}", request.ca, exc)
            raise

    def _caller(self, ca: str) -> Certificate:
        if ca not in self.callers:
            raise ZoneGateError(Reason.E_KMC_REQUEST, f"caName: {ca} is no CA of this centre")
        return self.callers[ca]

    def _tribunal(self) -> Tribunal:
        if self.tribunal is None:
            raise ZoneGateError(Reason.E_RECOVERY, "roster: none is configured here, so nobody can approve")
        return self.tribunal()

    def _act(self, request: Request) -> Key | Revoked:
        asked = request.body
        if isinstance(asked, Apply):
            given = self.centre.apply(asked, ca=request.ca)
            return Key(asked.serial, given.public_key, given.envelope)
        if isinstance(asked, Revoke):
            self.centre.revoke(asked.serial, asked.reason, ca=request.ca)
            return Revoked(asked.serial)
        return self._restore(asked, request.ca)

    def _restore(self, asked: Restore, ca: str) -> Key:
        act = _ACTS[asked.purpose]
        try:
            # Everything that costs no signature of a person is looked at first: an act is spent once.
            row = self.centre.restorable(ca, asked.serial)
            tribunal = self._tribunal()
            now = self.clock.now()
            recovery.check_recipient(asked, row.holder, tribunal, now=now)
            approved = recovery.approve(asked, ca, row.holder, tribunal, now=now)
        except ZoneGateError as exc:
            if exc.reason is not Reason.E_LEDGER:
                self.centre.refuse(act, f"serial {asked.serial:032x}", ca, exc)
            raise
        detail = recovery.detail_of(approved, asked)
        given = self.centre.restore(ca, asked.serial, asked.recipient.public_key, act, actor=ca, detail=detail)
        return Key(asked.serial, given.public_key, given.envelope)


def _act_of(request: Request) -> Act:
    if isinstance(request.body, Apply):
        return Act.KEY_DISPENSE
    if isinstance(request.body, Revoke):
        return Act.KEY_ARCHIVE
    return _ACTS[request.body.purpose]
