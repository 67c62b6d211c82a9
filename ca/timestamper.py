"""The time stamping authority: reads the clock, draws the serial, signs the token (RV-07). [a]

It signs only while the clock guard trusts the clock, and reads the time after the guard has looked. Every request has
a reply; what fails inside is `systemFailure`, and the log says why.
"""

import logging
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta

from zonegate.ca.clockguard import ClockGuard
from zonegate.ca.keystore import KeyStore
from zonegate.ca.serialfile import SerialFile
from zonegate.ca.tsa import Grant, Rejection, TsaRules, plan_reply
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.pki import cms
from zonegate.pki.certificate import Certificate
from zonegate.pki.oids import OID_EKU_TIME_STAMPING, OID_TST_INFO, Profile
from zonegate.pki.timestamp_message import Failure, encode_granted, encode_rejection, encode_tst_info
from zonegate.reasons import Reason

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TsaCredential:
    """The TSA's certificate and what is sent along when a request wants it (certReq)."""

    signer: Certificate
    chain: tuple[Certificate, ...]


class TimeStamper:
    """One TSA; safe to call from several threads."""

    def __init__(
        self,
        rules: TsaRules,
        credential: TsaCredential,
        keystore: KeyStore,
        serials: SerialFile,
        guard: ClockGuard,
        clock: Clock,
    ) -> None:
        check_tsa(credential.signer)
        if keystore.public_key(Profile.TSA) != credential.signer.public_key:
            raise ZoneGateError(Reason.E_KEY, "key: is not that of the TSA's certificate")
        self.rules = rules
        self.credential = credential
        self.guard = guard
        self.counts: Counter[str] = Counter()
        self._keystore = keystore
        self._serials = serials
        self._clock = clock
        self._lock = threading.Lock()

    def clock_problem(self) -> str | None:
        """Return why the time is not to be trusted now, or None."""
        with self._lock:
            now = self._clock.now()
            problem = self.guard.problem(now, self._clock.monotonic())
        signer = self.credential.signer
        if problem is None and not signer.not_before <= now < signer.not_after:
            return f"certificate: the TSA's is valid to {signer.not_after.isoformat()} only"
        return problem

    def measured(self, offset: timedelta) -> None:
        """Take the difference to the time reference, measured just now."""
        with self._lock:
            self.guard.measured(offset, self._clock.now(), self._clock.monotonic())

    def reply(self, request: bytes) -> bytes:
        """Return the TimeStampResp to `request`."""
        plan = plan_reply(request, self.rules, clock_problem=self.clock_problem())
        if isinstance(plan, Grant):
            try:
                token = self._token(plan)
            except ZoneGateError as exc:
                _LOG.error("no token: %s: %s", exc.reason, exc.detail)
                plan = Rejection(Failure.SYSTEM_FAILURE, "the TSA cannot sign now")
            else:
                self.counts["granted"] += 1
                return encode_granted(token)
        self.counts[plan.failure.name.lower()] += 1
        return encode_rejection(plan.failure, plan.text)

    def _token(self, grant: Grant) -> bytes:
        serial = self._serials.take()
        info = grant.info(self.rules, serial, self._clock.now())
        content = encode_tst_info(info)
        signer = self.credential.signer
        attributes = cms.signed_attributes(OID_TST_INFO, content, signer, signing_time=info.gen_time)
        signature = self._keystore.sign(Profile.TSA, attributes, signer_id=sm2.CERT_ID)
        chain = self.credential.chain if grant.request.with_certificate else ()
        return cms.encode(OID_TST_INFO, content, attributes, signature, signer, chain=chain)


def check_tsa(signer: Certificate) -> None:
    """Return if the certificate is a TSA's (CE-11); otherwise `E_CERT_USAGE`."""
    if signer.profile is not Profile.TSA or signer.extended_key_usage != {OID_EKU_TIME_STAMPING}:
        raise ZoneGateError(Reason.E_CERT_USAGE, f"certificate: {signer.subject} is not of profile tsa")
