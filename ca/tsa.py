"""What a time stamping authority answers: request in, plan out (RV-07, RFC 3161, GM/T 0033). [d]

Pure: settings, the request, the time and whether the clock may be trusted are arguments. The serial is drawn and the
token signed by `timestamper`. Every refusal is one failInfo bit with a sentence.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from zonegate.errors import ZoneGateError
from zonegate.pki.oids import OID_SM3
from zonegate.pki.timestamp_message import (
    IMPRINT_BYTES,
    Failure,
    TimeStampRequest,
    TstInfo,
    parse_request,
)


@dataclass(frozen=True, slots=True)
class TsaRules:
    """The one policy of this TSA and how exact its clock is."""

    policy: str
    accuracy: timedelta


@dataclass(frozen=True, slots=True)
class Rejection:
    """No token, and why."""

    failure: Failure
    text: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A token is due for this request."""

    request: TimeStampRequest

    def info(self, rules: TsaRules, serial: int, now: datetime) -> TstInfo:
        """Return what the token will say; the time to the millisecond, which is finer than any accuracy here."""
        gen_time = now.replace(microsecond=now.microsecond // 1000 * 1000)
        # Tokens of one instant may be out of order, so `ordering` is not claimed (RFC 3161 2.4.2).
        return TstInfo(
            policy=rules.policy,
            imprint=self.request.imprint,
            serial=serial,
            gen_time=gen_time,
            accuracy=rules.accuracy,
            ordering=False,
            nonce=self.request.nonce,
        )


def plan_reply(source: bytes, rules: TsaRules, *, clock_problem: str | None) -> Grant | Rejection:
    """Return whether `source` gets a token. `clock_problem` says why the time is not known, None if it is."""
    try:
        request = parse_request(source)
    except ZoneGateError as exc:
        return Rejection(Failure.BAD_DATA_FORMAT, exc.detail)
    if request.version != 1:
        return Rejection(Failure.BAD_REQUEST, f"version: is {request.version}, 1 is needed")
    if request.algorithm != OID_SM3:
        return Rejection(Failure.BAD_ALG, f"hashAlgorithm: is {request.algorithm}, SM3 {OID_SM3} is needed")
    if len(request.imprint) != IMPRINT_BYTES:
        text = f"hashedMessage: is {len(request.imprint)} bytes, SM3 has {IMPRINT_BYTES}"
        return Rejection(Failure.BAD_DATA_FORMAT, text)
    if request.policy not in (None, rules.policy):
        return Rejection(Failure.UNACCEPTED_POLICY, f"reqPolicy: only {rules.policy} is served")
    if request.extensions:
        # RFC 3161 2.4.1: whether critical or not, an extension that is not understood means no token.
        return Rejection(Failure.UNACCEPTED_EXTENSION, f"extensions: {request.extensions[0]} is not understood")
    if clock_problem is not None:
        return Rejection(Failure.TIME_NOT_AVAILABLE, clock_problem)
    return Grant(request)
