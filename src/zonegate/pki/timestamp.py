"""Decides whether a time stamp token holds: imprint, TSA certificate, signature, times (RV-07). [d]

Pure: token, digest, anchors and `now` in; what the token says or one refusal out. The chain is judged as of the
token's own time, because a token outlives its signer's certificate; a TSA certificate revoked later makes a token
void only where the reason says that the key may have been in other hands (RFC 3161 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from zonegate.errors import ZoneGateError
from zonegate.pki import cms
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Crl, RevocationReason
from zonegate.pki.oids import OID_EKU_TIME_STAMPING, OID_TST_INFO, Profile
from zonegate.pki.path import TrustAnchors, verify_path
from zonegate.pki.timestamp_message import TstInfo, parse_tst_info
from zonegate.reasons import Reason

# RV-08: a token from the future shows that the TSA's clock or ours is wrong.
SLOW_CLOCK = timedelta(seconds=60)
_KEY_WAS_SAFE = frozenset(
    {
        RevocationReason.AFFILIATION_CHANGED,
        RevocationReason.SUPERSEDED,
        RevocationReason.CESSATION_OF_OPERATION,
    }
)


@dataclass(frozen=True, slots=True)
class TimeStamp:
    """What a token that holds proves: the digest existed at `gen_time`, give or take `accuracy`."""

    info: TstInfo
    signer: Certificate
    chain: tuple[Certificate, ...]

    @property
    def gen_time(self) -> datetime:
        """When the TSA saw the digest."""
        return self.info.gen_time


def verify_token(
    token: bytes,
    digest: bytes,
    anchors: TrustAnchors,
    now: datetime,
    *,
    nonce: int | None = None,
    crls: Sequence[Crl] = (),
    intermediates: tuple[Certificate, ...] = (),
    policy: str | None = None,
) -> TimeStamp:
    """Return what `token` proves about the SM3 `digest`; otherwise `E_TIMESTAMP` or the path's own refusal."""
    message = _message(token)
    info = parse_tst_info(message.content)
    if info.imprint != digest:
        raise _refused("messageImprint: is of other content")
    if nonce is not None and info.nonce != nonce:
        raise _refused("nonce: is missing or another, so the token answers another request")
    if policy is not None and info.policy != policy:
        raise _refused(f"policy: is {info.policy}, expected is {policy}")
    if info.gen_time > now + SLOW_CLOCK:
        raise _refused(f"genTime: {info.gen_time.isoformat()} has not come yet; a clock is wrong (RV-08)")
    signer = _signer(message, intermediates)
    chain = verify_path(signer, (*message.certificates, *intermediates), anchors, now=info.gen_time)
    _check_status(chain, info.gen_time, crls)
    try:
        message.verify(signer)
    except ZoneGateError as exc:
        raise _refused(f"signature: {exc.detail}") from exc
    return TimeStamp(info, signer, chain)


def _message(token: bytes) -> cms.SignedData:
    try:
        message = cms.parse(token)
    except ZoneGateError as exc:
        raise _refused(exc.detail) from exc
    if message.content_type != OID_TST_INFO:
        raise _refused(f"eContentType: is {message.content_type}, a TSTInfo is needed")
    return message


def _signer(message: cms.SignedData, more: tuple[Certificate, ...]) -> Certificate:
    try:
        signer = message.signer(more)
    except ZoneGateError as exc:
        raise _refused(exc.detail) from exc
    if signer.profile is not Profile.TSA or signer.extended_key_usage != {OID_EKU_TIME_STAMPING}:
        raise _refused(f"signer: {signer.subject} is not a TSA (profile tsa, only time stamping; CE-11)")
    if "digitalSignature" not in signer.key_usage or signer.is_ca:
        raise _refused(f"signer: the key usage of {signer.subject} does not allow it to sign")
    return signer


def _check_status(chain: tuple[Certificate, ...], gen_time: datetime, crls: Sequence[Crl]) -> None:
    for subject, issuer in pairwise(chain):
        for crl in crls:
            revocation = crl.revoked.get(subject.serial) if crl.issued_by(issuer) else None
            if revocation is None:
                continue
            crl.verify(issuer)
            if revocation.reason not in _KEY_WAS_SAFE or revocation.at <= gen_time:
                at = revocation.at.isoformat()
                raise ZoneGateError(
                    Reason.E_CERT_REVOKED, f"status: {subject.subject} is revoked since {at} ({revocation.reason})"
                )


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_TIMESTAMP, f"time stamp {detail}")
