"""What each certificate profile demands and allows (CE-05, CE-06, CE-08): a table and the arithmetic of validity.

Pure. Signing certificates only: encryption certificates come with the key management centre. Only the OCSP and the
TSA signer carry an extended key usage, because RFC 6960 and RFC 3161 make verifiers look for it; for the others the
profile's policy OID says what the certificate may do, and verifiers here check that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import NoReturn

from zonegate.errors import ZoneGateError
from zonegate.pki.oids import OID_EKU_OCSP_SIGNING, OID_EKU_TIME_STAMPING, Profile
from zonegate.reasons import Reason

SIGNING = frozenset({"digitalSignature", "nonRepudiation"})
CA_SIGNING = frozenset({"keyCertSign", "cRLSign"})
ENCRYPTION = frozenset({"keyEncipherment", "dataEncipherment", "keyAgreement"})
# A peer whose clock is a little slow must not refuse a certificate made just now.
BACKDATE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Purpose:
    """The one extended key usage of a profile, and whether it is critical."""

    oid: str
    critical: bool


@dataclass(frozen=True, slots=True)
class ProfileRules:
    """One row of the table; `path_length` is None for what is no CA, `issuer` is None for what signs itself."""

    profile: Profile
    issuer: Profile | None
    max_years: int
    key_usage: frozenset[str]
    path_length: int | None
    zh: str
    purpose: Purpose | None = None

    def __post_init__(self) -> None:
        # CE-05: never both in one certificate.
        if self.key_usage & ENCRYPTION and self.key_usage - ENCRYPTION:
            msg = f"profile {self.profile.value}: signs and encrypts, each needs a profile of its own"
            raise ValueError(msg)

    @property
    def encrypts(self) -> bool:
        """Whether certificates of this profile are for a key that the key centre makes (CA-04)."""
        return bool(self.key_usage & ENCRYPTION)

    @property
    def is_ca(self) -> bool:
        """Whether certificates of this profile sign certificates."""
        return self.path_length is not None

    @property
    def has_identity(self) -> bool:
        """Whether certificates of this profile speak for a URI identity (CE-03)."""
        return self.path_length is None

    @property
    def no_check(self) -> bool:
        """Whether the certificate says that no responder is asked about it: it is the responder's (RFC 6960)."""
        return self.purpose is OCSP_SIGNING


# RFC 6960 4.2.2.2 leaves criticality open; not critical, so that a TLS stack that does not know it is not upset.
OCSP_SIGNING = Purpose(OID_EKU_OCSP_SIGNING, critical=False)
# RFC 3161 2.3: critical, and the only one.
TIME_STAMPING = Purpose(OID_EKU_TIME_STAMPING, critical=True)


@dataclass(frozen=True, slots=True)
class Validity:
    """The two dates of a certificate, whole seconds, UTC."""

    not_before: datetime
    not_after: datetime


_ROWS = (
    # The root may have one more level of sub-CA below the national one.
    ProfileRules(Profile.ROOT, None, 20, CA_SIGNING, 2, "根证书"),
    ProfileRules(Profile.SUB_CA, Profile.ROOT, 10, CA_SIGNING, 0, "子 CA 证书"),
    ProfileRules(Profile.GATEWAY, Profile.SUB_CA, 2, SIGNING, None, "区网关证书"),
    ProfileRules(Profile.SYSTEM, Profile.SUB_CA, 3, SIGNING, None, "系统证书"),
    ProfileRules(Profile.OFFICER, Profile.SUB_CA, 3, SIGNING, None, "人员证书"),
    ProfileRules(Profile.EVIDENCE, Profile.SUB_CA, 3, SIGNING, None, "证据签名证书"),
    # Nobody asks whether a responder's certificate is revoked (nocheck), so it lives shortly.
    ProfileRules(Profile.OCSP, Profile.SUB_CA, 1, SIGNING, None, "OCSP 签名证书", OCSP_SIGNING),
    ProfileRules(Profile.TSA, Profile.SUB_CA, 3, SIGNING, None, "时间戳签名证书", TIME_STAMPING),
    ProfileRules(Profile.GATEWAY_ENCRYPTION, Profile.SUB_CA, 2, ENCRYPTION, None, "区网关加密证书"),
    ProfileRules(Profile.SYSTEM_ENCRYPTION, Profile.SUB_CA, 3, ENCRYPTION, None, "系统加密证书"),
    ProfileRules(Profile.OFFICER_ENCRYPTION, Profile.SUB_CA, 3, ENCRYPTION, None, "人员加密证书"),
)
RULES: Mapping[Profile, ProfileRules] = MappingProxyType({row.profile: row for row in _ROWS})
# What is issued on a request.
LEAF_PROFILES = tuple(row.profile for row in _ROWS if not row.is_ca and not row.encrypts)
# CE-05: who gets a second certificate, for encryption, with the signing one and never on a request of its own.
ENCRYPTION_OF: Mapping[Profile, Profile] = MappingProxyType(
    {
        Profile.GATEWAY: Profile.GATEWAY_ENCRYPTION,
        Profile.SYSTEM: Profile.SYSTEM_ENCRYPTION,
        Profile.OFFICER: Profile.OFFICER_ENCRYPTION,
    }
)


def years_after(when: datetime, years: int) -> datetime:
    """Return the same day `years` later; 29 February becomes the 28th where there is none."""
    try:
        return when.replace(year=when.year + years)
    except ValueError:
        return when.replace(year=when.year + years, day=28)


def choose_validity(
    rules: ProfileRules,
    *,
    now: datetime,
    not_before: datetime | None,
    not_after: datetime | None,
    limit: timedelta,
    issuer: Validity | None,
) -> Validity:
    """Return the validity to issue with; refuse what is asked beyond the limits (CE-08), with E_VALIDITY.

    `limit` is the CA's own, narrower or equal limit. What is not asked for is chosen: from a little before `now`, for
    as long as the limits and the issuer (None for a root) allow.
    """
    start = (not_before or _chosen_start(now, issuer)).replace(microsecond=0)
    latest = min(years_after(start, rules.max_years), start + limit)
    bounded = latest if issuer is None else min(latest, issuer.not_after)
    end = (not_after or bounded).replace(microsecond=0)
    name = rules.profile.value
    if end <= start:
        _refuse(f"notAfter: {_day(end)} is not after notBefore {_day(start)}")
    if end <= now:
        _refuse(f"notAfter: {_day(end)} has passed already, it is {_day(now)}")
    if end > latest:
        _refuse(f"notAfter: {_day(end)} is later than {_day(latest)}, the limit of profile {name}")
    if issuer is not None and start < issuer.not_before:
        _refuse(f"notBefore: {_day(start)} is before the issuer's own notBefore {_day(issuer.not_before)}")
    if issuer is not None and end > issuer.not_after:
        _refuse(f"notAfter: {_day(end)} outlives the issuer, which ends {_day(issuer.not_after)}")
    return Validity(start, end)


def _chosen_start(now: datetime, issuer: Validity | None) -> datetime:
    start = now - BACKDATE
    return start if issuer is None else max(start, issuer.not_before)


def _day(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def _refuse(detail: str) -> NoReturn:
    raise ZoneGateError(Reason.E_VALIDITY, detail)
