"""The OCSP responder: signs, keeps and renews answers (RV-03). [a]

An answer about one certificate is signed once and given to everybody until half its life is over; then it is signed
anew, by the refresher or by the next question. An act of the CA drops the answers about its serial within one poll.
Answers for one request alone (nonce, several certificates) and about unknown serials are bounded in rate, since each
costs a signature that anybody may ask for. If the ledger cannot be read, the answer is `tryLater`, never an old one.
"""

import heapq
import logging
import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from zonegate.ca.bucket import TokenBucket
from zonegate.ca.keystore import KeyStore
from zonegate.ca.ocsp import Asked, Fresh, LedgerStatus, Presigned, Refusal, ResponsePlan, Scope, classify, plan_answer
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.pki.certificate import Certificate
from zonegate.pki.ocsp import check_responder
from zonegate.pki.ocsp_message import (
    CertState,
    OcspError,
    encode_answer_tbs,
    encode_error,
    encode_response,
)
from zonegate.pki.ocsp_request import CertId, make_cert_id, responder_key_hash
from zonegate.pki.oids import OID_SHA1, OID_SM3, Profile
from zonegate.reasons import Reason

_LOG = logging.getLogger(__name__)


class ChangingLedger(LedgerStatus, Protocol):
    """A ledger's view that tells what has changed."""

    def head(self) -> int:
        """Return the number of the newest act."""
        ...

    def changed_since(self, seq: int) -> tuple[int, frozenset[int]]:
        """Return the newest act's number and the serials that later acts were about."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """What a responder keeps and how much it signs on demand."""

    cache_entries: int = 20_000
    fresh_per_second: float = 100.0
    poll: timedelta = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """The bytes of a response; `next_update` is None where a cache must not keep it."""

    body: bytes
    this_update: datetime | None = None
    next_update: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    cert_id: CertId
    word: str
    renew_at: datetime


class Responder:
    """One issuer's responder; safe to call from several threads."""

    def __init__(
        self,
        scope: Scope,
        signer: Certificate,
        view: ChangingLedger,
        keystore: KeyStore,
        clock: Clock,
        *,
        limits: Limits | None = None,
    ) -> None:
        check_responder(signer, scope.issuer, clock.now())
        if keystore.public_key(Profile.OCSP) != signer.public_key:
            raise ZoneGateError(Reason.E_KEY, "key: is not that of the responder's certificate")
        self.scope = scope
        self.signer = signer
        self.counts: Counter[tuple[str, str]] = Counter()
        self._view = view
        self._keystore = keystore
        self._clock = clock
        self._limits = limits or Limits()
        self._key_hash = responder_key_hash(signer)
        self._errors = {error: Answer(encode_error(error)) for error in OcspError}
        self._kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self._of_serial: dict[int, set[bytes]] = {}
        self._due: list[tuple[datetime, bytes]] = []
        self._bucket = TokenBucket(self._limits.fresh_per_second)
        self._lock = threading.Lock()
        self._polled_at = clock.monotonic()
        self._seq = view.head()
        self._blind: str | None = None

    @property
    def blind(self) -> str | None:
        """Why the ledger cannot be read; None while it can."""
        return self._blind

    @property
    def kept(self) -> int:
        """How many answers are kept."""
        return len(self._kept)

    def answer(self, request: bytes) -> Answer:
        """Return the response to `request`; every request has one."""
        asked = self.classify(request)
        return self.at_hand(asked) or self.make(asked)

    def classify(self, request: bytes) -> Asked:
        """Return what is asked for; cheap."""
        return classify(request, self.scope)

    def at_hand(self, asked: Asked) -> Answer | None:
        """Return the answer if nothing must be signed or read for it; cheap enough for an event loop."""
        if isinstance(asked, Refusal):
            return self._error(asked.error)
        if isinstance(asked, Fresh) or self._blind is not None or self._poll_due():
            return None
        with self._lock:
            kept = self._kept.get(asked.cert_id.encoded)
            if kept is None or not self._usable(kept, self._clock.now()):
                return None
            self._kept.move_to_end(asked.cert_id.encoded)
            self.counts[kept.word, "presigned"] += 1
        return kept.answer

    def make(self, asked: Asked) -> Answer:
        """Return the answer, signing it now if there is none to give."""
        self.poll()
        if self._blind is not None:
            return self._error(OcspError.TRY_LATER)
        found = self.at_hand(asked)
        if found is not None:
            return found
        assert not isinstance(asked, Refusal)  # noqa: S101 - a refusal is always at hand
        try:
            return self._sign_presigned(asked) if isinstance(asked, Presigned) else self._sign_fresh(asked)
        except ZoneGateError as exc:
            _LOG.error("no answer: %s: %s", exc.reason, exc.detail)
            later = exc.reason is Reason.E_LEDGER
            return self._error(OcspError.TRY_LATER if later else OcspError.INTERNAL_ERROR)

    def poll(self) -> None:
        """Look for acts of the CA if that is due, and drop the answers that they have overtaken."""
        with self._lock:
            if not self._poll_due():
                return
            self._polled_at = self._clock.monotonic()
        # Not under the lock: the event loop takes it for every answer at hand and must not wait for a disk.
        try:
            newest, changed = self._view.changed_since(self._seq)
        except ZoneGateError as exc:
            if self._blind is None:
                _LOG.error("the ledger cannot be read, every answer is tryLater: %s", exc.detail)
            self._blind = exc.detail
            return
        with self._lock:
            self._blind = None
            self._seq = max(self._seq, newest)
            for serial in changed:
                for key in self._of_serial.pop(serial, ()):
                    self._kept.pop(key, None)

    def warm(self, serials: Iterable[int]) -> int:
        """Sign answers about `serials` ahead of questions, under both hashes; return how many."""
        made = 0
        for serial in serials:
            for algorithm in (OID_SM3, OID_SHA1):
                if self.kept >= self._limits.cache_entries:
                    return made
                asked = Presigned(make_cert_id(serial, self.scope.issuer, algorithm))
                if asked.cert_id.encoded not in self._kept:
                    self._sign_presigned(asked)
                    made += 1
        return made

    def renew(self, budget: int) -> int:
        """Sign up to `budget` of the kept answers anew whose time has come; return how many."""
        self.poll()
        now = self._clock.now()
        if self._blind is not None:
            return 0
        due: list[CertId] = []
        with self._lock:
            while self._due and self._due[0][0] <= now and len(due) < budget:
                renew_at, key = heapq.heappop(self._due)
                kept = self._kept.get(key)
                # Dropped, or signed anew on demand, since it was put there.
                if kept is not None and kept.renew_at == renew_at:
                    due.append(kept.cert_id)
        for cert_id in due:
            self._sign_presigned(Presigned(cert_id))
        return len(due)

    # --- inside

    def _poll_due(self) -> bool:
        return self._clock.monotonic() - self._polled_at >= self._limits.poll.total_seconds()

    @staticmethod
    def _usable(kept: _Kept, now: datetime) -> bool:
        made = kept.answer.this_update
        return made is not None and made <= now < kept.renew_at

    def _error(self, error: OcspError) -> Answer:
        self.counts[error.name.lower(), "error"] += 1
        return self._errors[error]

    def _sign_presigned(self, asked: Presigned) -> Answer:
        seq = self._seq
        now = self._clock.now()
        plan = plan_answer(self._view, asked, now, scope=self.scope, signer=self.signer)
        (single,) = plan.answers
        if single.state is CertState.UNKNOWN and not self._take():
            return self._error(OcspError.TRY_LATER)
        answer = self._signed(plan)
        self.counts[single.state.value, "fresh"] += 1
        if single.state is CertState.UNKNOWN:
            # Nobody issued it, so anybody could fill the store with such answers.
            return answer
        renew_at = single.this_update + (single.next_update - single.this_update) / 2
        kept = _Kept(answer, asked.cert_id, single.state.value, renew_at)
        with self._lock:
            # An act of the CA seen meanwhile may have changed what was just signed: give it, do not keep it.
            if self._seq == seq:
                self._keep(kept)
        return answer

    def _take(self) -> bool:
        with self._lock:
            return self._bucket.take(self._clock.monotonic())

    def _keep(self, kept: _Kept) -> None:
        key = kept.cert_id.encoded
        self._kept[key] = kept
        heapq.heappush(self._due, (kept.renew_at, key))
        self._kept.move_to_end(key)
        self._of_serial.setdefault(kept.cert_id.serial, set()).add(key)
        while len(self._kept) > self._limits.cache_entries:
            old, dropped = self._kept.popitem(last=False)
            keys = self._of_serial.get(dropped.cert_id.serial)
            if keys is not None:
                keys.discard(old)
                if not keys:
                    del self._of_serial[dropped.cert_id.serial]

    def _sign_fresh(self, asked: Fresh) -> Answer:
        if not self._take():
            return self._error(OcspError.TRY_LATER)
        plan = plan_answer(self._view, asked, self._clock.now(), scope=self.scope, signer=self.signer)
        answer = self._signed(plan)
        self.counts[plan.answers[0].state.value if len(plan.answers) == 1 else "several", "fresh"] += 1
        return Answer(answer.body)

    def _signed(self, plan: ResponsePlan) -> Answer:
        if plan.produced_at >= self.signer.not_after:
            detail = f"responder: its certificate ended {self.signer.not_after.isoformat()}"
            raise ZoneGateError(Reason.E_CERT_EXPIRED, detail)
        tbs = encode_answer_tbs(self._key_hash, plan.produced_at, plan.answers, plan.nonce)
        signature = self._keystore.sign(Profile.OCSP, tbs, signer_id=sm2.CERT_ID)
        first = plan.answers[0]
        return Answer(encode_response(tbs, signature, (self.signer,)), first.this_update, first.next_update)
