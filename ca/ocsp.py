"""What an OCSP responder answers: request in, plan out (RV-03, RFC 6960, GB/T 19713). [d]

Pure: the ledger's view, the request and `now` are arguments. One issuer's certificates are answered for; about any
other issuer, and under any hash but SM3 and SHA-1, the answer is `unauthorized`. Signing, caching and rates are
`responder`'s.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Revocation
from zonegate.pki.ocsp_message import CertState, OcspError, SingleAnswer
from zonegate.pki.ocsp_request import CertId, issuer_hashes, parse_request
from zonegate.pki.oids import OID_SHA1, OID_SM3


@dataclass(frozen=True, slots=True)
class SerialStatus:
    """What the ledger says of one serial."""

    state: CertState
    revocation: Revocation | None = None


class LedgerStatus(Protocol):
    """The part of the ledger that a responder sees."""

    def status(self, serial: int) -> SerialStatus:
        """Return the status of a serial of the responder's issuer; unknown if that CA has not issued it."""
        ...


class NonceRule(StrEnum):
    """What is done with a request's nonce."""

    ECHO = "echo"  # repeated in an answer signed for this request alone
    IGNORE = "ignore"  # the pre-signed answer is given, as RFC 8954 2.1 allows


@dataclass(frozen=True, slots=True)
class Scope:
    """For whom and how a responder answers."""

    issuer: Certificate
    lifetime: timedelta
    nonces: NonceRule
    max_certificates: int
    hashes: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def of(cls, issuer: Certificate, *, lifetime: timedelta, nonces: NonceRule, max_certificates: int) -> "Scope":
        """Return the scope with the issuer's hashes computed once."""
        hashes = tuple((oid, *issuer_hashes(issuer, oid)) for oid in (OID_SM3, OID_SHA1))
        return cls(issuer, lifetime, nonces, max_certificates, hashes)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error status, and the sentence for the log."""

    error: OcspError
    detail: str


@dataclass(frozen=True, slots=True)
class Presigned:
    """The answer about one certificate, the same for everybody who asks."""

    cert_id: CertId


@dataclass(frozen=True, slots=True)
class Fresh:
    """An answer that only this request can have: it has a nonce, or several certificates."""

    cert_ids: tuple[CertId, ...]
    nonce: bytes | None


Asked = Refusal | Presigned | Fresh


@dataclass(frozen=True, slots=True)
class ResponsePlan:
    """What is to be signed."""

    answers: tuple[SingleAnswer, ...]
    nonce: bytes | None
    produced_at: datetime


def classify(request: bytes, scope: Scope) -> Asked:
    """Return what `request` asks for, without looking at the ledger."""
    try:
        parsed = parse_request(request)
    except ZoneGateError as exc:
        return Refusal(OcspError.MALFORMED_REQUEST, exc.detail)
    if len(parsed.cert_ids) > scope.max_certificates:
        detail = f"requestList: names {len(parsed.cert_ids)} certificates, at most {scope.max_certificates} are allowed"
        return Refusal(OcspError.MALFORMED_REQUEST, detail)
    for cert_id in parsed.cert_ids:
        if (cert_id.algorithm, cert_id.name_hash, cert_id.key_hash) not in scope.hashes:
            detail = f"CertID: under hash {cert_id.algorithm} it does not name {scope.issuer.subject}"
            return Refusal(OcspError.UNAUTHORIZED, detail)
    nonce = parsed.nonce if scope.nonces is NonceRule.ECHO else None
    if nonce is None and len(parsed.cert_ids) == 1:
        return Presigned(parsed.cert_ids[0])
    return Fresh(parsed.cert_ids, nonce)


def plan_answer(
    view: LedgerStatus, asked: Presigned | Fresh, now: datetime, *, scope: Scope, signer: Certificate
) -> ResponsePlan:
    """Return the answer to sign: never good for longer than the signer's own certificate."""
    made = now.replace(microsecond=0)
    next_update = min(made + scope.lifetime, signer.not_after)
    cert_ids = (asked.cert_id,) if isinstance(asked, Presigned) else asked.cert_ids
    nonce = asked.nonce if isinstance(asked, Fresh) else None
    answers = []
    for cert_id in cert_ids:
        found = view.status(cert_id.serial)
        answers.append(SingleAnswer(cert_id.encoded, found.state, found.revocation, made, next_update))
    return ResponsePlan(tuple(answers), nonce, made)


def plan_response(
    view: LedgerStatus, request: bytes, now: datetime, *, scope: Scope, signer: Certificate
) -> ResponsePlan | Refusal:
    """Return the whole decision for one request."""
    asked = classify(request, scope)
    return asked if isinstance(asked, Refusal) else plan_answer(view, asked, now, scope=scope, signer=signer)
