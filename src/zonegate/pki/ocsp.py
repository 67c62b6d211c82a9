"""Decides whether an OCSP answer counts for a certificate: signer, nonce, freshness, status (RV-03). [d]

Pure: bytes, certificates and `now` in; the status or one refusal out. The signer must be the certificate's own issuer
or a responder that this very issuer has certified (profile `ocsp`); nobody else's word counts, whatever its chain.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.pki.certificate import Certificate
from zonegate.pki.ocsp_message import BasicAnswer, CertState, SingleAnswer, parse_response
from zonegate.pki.ocsp_request import responder_key_hash
from zonegate.pki.oids import OID_EKU_OCSP_SIGNING, OID_SHA1, OID_SM3, Profile
from zonegate.pki.path import is_issued_by
from zonegate.reasons import Reason

# An answer made just now reaches a peer whose clock is a little slow.
SLOW_CLOCK = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class OcspStatus:
    """A good status, who vouches for it and until when it may be relied on."""

    this_update: datetime
    next_update: datetime
    produced_at: datetime
    signer: Certificate


def check_ocsp(
    response: bytes, certificate: Certificate, issuer: Certificate, now: datetime, nonce: bytes | None = None
) -> OcspStatus:
    """Return if `response` says, validly and freshly, that `certificate` is good.

    Refusals: `E_OCSP` (no usable answer, or not by whom it must be), `E_OCSP_NONCE`, `E_STATUS_STALE`,
    `E_OCSP_UNKNOWN`, `E_CERT_REVOKED`. With a nonce the answer must repeat it; without one any nonce is ignored.
    """
    answer = parse_response(response)
    single = _find(answer, certificate, issuer)
    signer = _signer(answer, issuer, now)
    try:
        signer.public_key.verify(answer.signature, answer.tbs, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        raise _refused(f"signature: {signer.subject} has not signed the answer") from exc
    if nonce is not None and answer.nonce != nonce:
        raise ZoneGateError(Reason.E_OCSP_NONCE, f"nonce: {'is another' if answer.nonce else 'is missing'}")
    _check_fresh(answer, single, now)
    if single.state is CertState.UNKNOWN:
        raise ZoneGateError(Reason.E_OCSP_UNKNOWN, f"status: the responder does not know {certificate.subject}")
    if single.revocation is not None:
        at, reason = single.revocation.at.isoformat(), single.revocation.reason
        raise ZoneGateError(
            Reason.E_CERT_REVOKED, f"status: {certificate.subject} is revoked since {at} ({reason}), says OCSP"
        )
    return OcspStatus(single.this_update, single.next_update, answer.produced_at, signer)


def _find(answer: BasicAnswer, certificate: Certificate, issuer: Certificate) -> SingleAnswer:
    if not is_issued_by(certificate, issuer):
        raise _refused(f"issuer: {issuer.subject} is not the issuer of {certificate.subject}")
    found = [
        single
        for cert_id, single in answer.answers
        if cert_id.serial == certificate.serial and cert_id.algorithm in (OID_SM3, OID_SHA1) and cert_id.names(issuer)
    ]
    if len(found) != 1:
        raise _refused(f"responses: {len(found)} answers are about {certificate.subject}, one is needed")
    return found[0]


def _signer(answer: BasicAnswer, issuer: Certificate, now: datetime) -> Certificate:
    if _is_responder(answer, issuer):
        return issuer
    for candidate in answer.certificates:
        if _is_responder(answer, candidate):
            check_responder(candidate, issuer, now)
            return candidate
    raise _refused("responderID: names neither the issuer nor a certificate that came with the answer")


def _is_responder(answer: BasicAnswer, certificate: Certificate) -> bool:
    if answer.responder_name is not None:
        return answer.responder_name == certificate.subject_der
    return answer.responder_key == responder_key_hash(certificate)


def check_responder(signer: Certificate, issuer: Certificate, now: datetime) -> None:
    """Return if `signer` is a responder that `issuer` has certified (CE-11); otherwise `E_OCSP`."""
    who = f"responder {signer.subject}"
    if not is_issued_by(signer, issuer) or signer.net is not issuer.net:
        raise _refused(f"{who}: was not certified by the issuer of the certificate asked about (RFC 6960 4.2.2.2)")
    if signer.profile is not Profile.OCSP or OID_EKU_OCSP_SIGNING not in signer.extended_key_usage:
        raise _refused(f"{who}: its certificate is not of profile {Profile.OCSP.value} (CE-11)")
    if "digitalSignature" not in signer.key_usage or signer.is_ca:
        raise _refused(f"{who}: its key usage does not allow it to sign answers")
    if not signer.ocsp_no_check:
        raise _refused(f"{who}: has no ocsp-nocheck, so its own status would have to be known")
    if not signer.not_before <= now <= signer.not_after:
        raise _refused(f"{who}: is valid from {signer.not_before.isoformat()} to {signer.not_after.isoformat()} only")
    try:
        issuer.public_key.verify(signer.signature, signer.tbs, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        raise _refused(f"{who}: the issuer has not signed its certificate") from exc


def _check_fresh(answer: BasicAnswer, single: SingleAnswer, now: datetime) -> None:
    if max(single.this_update, answer.produced_at) > now + SLOW_CLOCK:
        made = answer.produced_at.isoformat()
        raise ZoneGateError(Reason.E_STATUS_STALE, f"producedAt: {made} has not come yet; a clock is wrong")
    if now >= single.next_update:
        raise ZoneGateError(
            Reason.E_STATUS_STALE, f"nextUpdate: the answer was good until before {single.next_update.isoformat()}"
        )


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_OCSP, f"OCSP {detail}")
