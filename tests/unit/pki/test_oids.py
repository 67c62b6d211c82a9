"""Object identifiers of C1, and the fixed ones of zonegate's own policies."""

import uuid

import pytest
from cryptography import x509

from zonegate.gm import der
from zonegate.identity import Net
from zonegate.pki import oids

DER_OF = {
    oids.OID_SM2: "06082A811CCF5501822D",
    oids.OID_SM2_SIGNATURE: "06092A811CCF5501822D01",
    oids.OID_SM2_KEY_AGREEMENT: "06092A811CCF5501822D02",
    oids.OID_SM2_ENCRYPTION: "06092A811CCF5501822D03",
    oids.OID_SM2_WITH_SM3: "06082A811CCF55018375",
    oids.OID_SM3: "06082A811CCF55018311",
    oids.OID_HMAC_SM3: "06092A811CCF5501831102",
    oids.OID_SM4: "06072A811CCF550168",
    oids.OID_SM4_ECB: "06082A811CCF55016801",
    oids.OID_PERSON_CODE: "06082A811CD014040101",
    oids.OID_SOCIAL_INSURANCE: "06082A811CD014040102",
    oids.OID_BUSINESS_REGISTRATION: "06082A811CD014040103",
    oids.OID_USCC: "06082A811CD014040104",
    oids.OID_TAX_NUMBER: "06082A811CD014040105",
    oids.OID_CLEARANCE: "0603550437",
    oids.OID_EC_PUBLIC_KEY: "06072A8648CE3D0201",
    oids.OID_EKU_TIME_STAMPING: "06082B06010505070308",
    oids.OID_EKU_OCSP_SIGNING: "06082B06010505070309",
    oids.OID_TST_INFO: "060B2A864886F70D0109100104",
}


@pytest.mark.req("CE-01")
@pytest.mark.parametrize(("dotted", "encoded"), DER_OF.items(), ids=DER_OF)
def test_c1(dotted: str, encoded: str) -> None:
    assert der.oid(dotted) == bytes.fromhex(encoded)


def test_sm4_modes_stand_under_sm4() -> None:
    modes = {oids.OID_SM4_CBC: 2, oids.OID_SM4_CTR: 7, oids.OID_SM4_GCM: 8, oids.OID_SM4_CCM: 9}
    assert all(dotted == f"{oids.OID_SM4}.{number}" for dotted, number in modes.items())


@pytest.mark.req("CE-10")
def test_policies_never_change() -> None:
    arc = f"2.25.{uuid.UUID('6f0c2a52-9b1e-4d67-a3f5-1c8e7d40b92a').int}"
    assert {Net.EXTRA: f"{arc}.1.1", Net.INTRA: f"{arc}.1.2"} == oids.NET_POLICY
    assert [oids.PROFILE_POLICY[profile].removeprefix(arc) for profile in oids.Profile] == [
        f".2.{number}" for number in range(1, len(oids.Profile) + 1)
    ]
    assert {profile.value for profile in oids.Profile} == {
        "root",
        "sub-ca",
        "gateway",
        "system",
        "officer",
        "evidence",
        "ocsp",
        "tsa",
        "gateway-encryption",
        "system-encryption",
        "officer-encryption",
    }


def test_policies_read_back() -> None:
    for table, inverse in (
        (oids.NET_POLICY, oids.NET_OF_POLICY),
        (oids.PROFILE_POLICY, oids.PROFILE_OF_POLICY),
    ):
        assert {inverse[dotted]: dotted for dotted in inverse} == dict(table)
        for dotted in table.values():
            assert der.Reader(der.oid(dotted)).oid("policy") == dotted
            assert x509.ObjectIdentifier(dotted).dotted_string == dotted
