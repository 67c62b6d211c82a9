"""The object identifiers of standards.md C1 that certificates carry, and zonegate's own policy identifiers.

Our arc is under 2.25 (ITU-T X.667: an identifier anybody may make from a UUID, no registration). It was drawn once
and is part of the format: changing it makes every certificate issued before unreadable as ours.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from zonegate.gm.sm2 import OID_EC_PUBLIC_KEY, OID_SM2
from zonegate.identity import Net

__all__ = ["OID_EC_PUBLIC_KEY", "OID_SM2"]


class Profile(StrEnum):
    """What a certificate is for; each has its own policy identifier."""

    ROOT = "root"
    SUB_CA = "sub-ca"
    GATEWAY = "gateway"
    SYSTEM = "system"
    OFFICER = "officer"
    EVIDENCE = "evidence"
    OCSP = "ocsp"
    TSA = "tsa"
    GATEWAY_ENCRYPTION = "gateway-encryption"
    SYSTEM_ENCRYPTION = "system-encryption"
    OFFICER_ENCRYPTION = "officer-encryption"


OID_SM3: Final = "1.2.156.10197.1.401"
OID_HMAC_SM3: Final = "1.2.156.10197.1.401.2"
OID_SM2_WITH_SM3: Final = "1.2.156.10197.1.501"
OID_SM2_SIGNATURE: Final = "1.2.156.10197.1.301.1"
OID_SM2_KEY_AGREEMENT: Final = "1.2.156.10197.1.301.2"
OID_SM2_ENCRYPTION: Final = "1.2.156.10197.1.301.3"
OID_SM4: Final = "1.2.156.10197.1.104"
OID_SM4_ECB: Final = "1.2.156.10197.1.104.1"
OID_SM4_CBC: Final = "1.2.156.10197.1.104.2"
OID_SM4_CTR: Final = "1.2.156.10197.1.104.7"
OID_SM4_GCM: Final = "1.2.156.10197.1.104.8"
OID_SM4_CCM: Final = "1.2.156.10197.1.104.9"

OID_PERSON_CODE: Final = "1.2.156.10260.4.1.1"
OID_SOCIAL_INSURANCE: Final = "1.2.156.10260.4.1.2"
OID_BUSINESS_REGISTRATION: Final = "1.2.156.10260.4.1.3"
OID_USCC: Final = "1.2.156.10260.4.1.4"
OID_TAX_NUMBER: Final = "1.2.156.10260.4.1.5"

OID_CLEARANCE: Final = "2.5.4.55"
OID_EKU_TIME_STAMPING: Final = "1.3.6.1.5.5.7.3.8"
OID_EKU_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
OID_TST_INFO: Final = "1.2.840.113549.1.9.16.1.4"
OID_SIGNED_DATA: Final = "1.2.840.113549.1.7.2"
OID_CONTENT_TYPE: Final = "1.2.840.113549.1.9.3"
OID_MESSAGE_DIGEST: Final = "1.2.840.113549.1.9.4"
OID_SIGNING_TIME: Final = "1.2.840.113549.1.9.5"
OID_SIGNING_CERTIFICATE_V2: Final = "1.2.840.113549.1.9.16.2.47"
OID_SHA1: Final = "1.3.14.3.2.26"
OID_OCSP_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
OID_OCSP_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
OID_OCSP_NO_CHECK: Final = "1.3.6.1.5.5.7.48.1.5"

# 2.25.<UUID 6f0c2a52-9b1e-4d67-a3f5-1c8e7d40b92a as a number>.<1 net | 2 profile>.<member>
_ARC: Final = f"2.25.{0x6F0C2A529B1E4D67A3F51C8E7D40B92A}"

NET_POLICY: Final[Mapping[Net, str]] = MappingProxyType({Net.EXTRA: f"{_ARC}.1.1", Net.INTRA: f"{_ARC}.1.2"})
PROFILE_POLICY: Final[Mapping[Profile, str]] = MappingProxyType(
    {
        Profile.ROOT: f"{_ARC}.2.1",
        Profile.SUB_CA: f"{_ARC}.2.2",
        Profile.GATEWAY: f"{_ARC}.2.3",
        Profile.SYSTEM: f"{_ARC}.2.4",
        Profile.OFFICER: f"{_ARC}.2.5",
        Profile.EVIDENCE: f"{_ARC}.2.6",
        Profile.OCSP: f"{_ARC}.2.7",
        Profile.TSA: f"{_ARC}.2.8",
        Profile.GATEWAY_ENCRYPTION: f"{_ARC}.2.9",
        Profile.SYSTEM_ENCRYPTION: f"{_ARC}.2.10",
        Profile.OFFICER_ENCRYPTION: f"{_ARC}.2.11",
    }
)
# The time stamping policy of a net's own TSA (RFC 3161 2.4.1 reqPolicy).
TSA_POLICY: Final[Mapping[Net, str]] = MappingProxyType({Net.EXTRA: f"{_ARC}.3.1", Net.INTRA: f"{_ARC}.3.2"})
NET_OF_POLICY: Final[Mapping[str, Net]] = MappingProxyType({oid: net for net, oid in NET_POLICY.items()})
PROFILE_OF_POLICY: Final[Mapping[str, Profile]] = MappingProxyType(
    {oid: profile for profile, oid in PROFILE_POLICY.items()}
)
