"""One test for each profile: every member of the certificate (CE-01, CE-02, CE-03, CE-05 to CE-09, CE-11)."""

from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID

from support.clock import NOON, FakeClock
from support.pki import ACTOR, CA_ORGAN_NAME, ORGAN, TestNet, founding_plan
from zonegate.ca import asn1
from zonegate.ca.authority import Term
from zonegate.ca.ceremony import CeremonyPlan, create_ca, open_ca
from zonegate.ca.names import SubjectName, parse_name
from zonegate.ca.profile import BACKDATE, RULES, Validity, choose_validity, years_after
from zonegate.ca.subscriber import build_request
from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki import oids
from zonegate.pki.certificate import Certificate, Profile
from zonegate.reasons import Reason

LEAF_EXTENSIONS = [
    (ExtensionOID.AUTHORITY_KEY_IDENTIFIER.dotted_string, False),
    (ExtensionOID.SUBJECT_KEY_IDENTIFIER.dotted_string, False),
    (ExtensionOID.KEY_USAGE.dotted_string, True),
    (ExtensionOID.CERTIFICATE_POLICIES.dotted_string, False),
    (ExtensionOID.SUBJECT_ALTERNATIVE_NAME.dotted_string, False),
    (oids.OID_USCC, False),
    (ExtensionOID.CRL_DISTRIBUTION_POINTS.dotted_string, False),
]
CA_EXTENSIONS = [
    *LEAF_EXTENSIONS[:3],
    (ExtensionOID.BASIC_CONSTRAINTS.dotted_string, True),
    LEAF_EXTENSIONS[3],
]
SUB_CA_EXTENSIONS = [*CA_EXTENSIONS, LEAF_EXTENSIONS[6]]


def _common(certificate: Certificate, issuer: Certificate, profile: Profile) -> None:
    """What every certificate has."""
    signed = asn1.decode_signed(certificate.der)
    tbs = asn1.decode_tbs_certificate(signed.body)
    parsed = x509.load_der_x509_certificate(certificate.der)
    assert parsed.version is x509.Version.v3
    assert signed.algorithm == tbs.algorithm == oids.OID_SM2_WITH_SM3
    assert signed.parameters_absent
    assert tbs.parameters_absent
    assert tbs.spki[23:27] == b"\x03\x42\x00\x04", "an uncompressed point"
    assert certificate.serial.bit_length() == 127
    assert certificate.ski == sm3.digest(certificate.public_key.point)[:20]
    assert certificate.aki == issuer.ski
    assert certificate.issuer_der == issuer.subject_der
    assert certificate.policies == (oids.NET_POLICY[Net.EXTRA], oids.PROFILE_POLICY[profile])
    assert certificate.profile is profile
    assert certificate.net is Net.EXTRA
    tags = [(item.oid, item.tag) for item in asn1.decode_name(certificate.subject_der)]
    assert tags == [("2.5.4.6", 0x13), ("2.5.4.10", 0x0C), ("2.5.4.3", 0x0C)]
    issuer.public_key.verify(certificate.signature, certificate.tbs, signer_id=CERT_ID)


def _shape(certificate: Certificate) -> list[tuple[str, bool]]:
    tbs = asn1.decode_tbs_certificate(certificate.tbs)
    return [(item.oid, item.critical) for item in tbs.extensions]


@pytest.mark.req("CE-01", "CE-02", "CE-06", "CE-08", "CE-11")
def test_root(extra: TestNet) -> None:
    root = extra.root
    _common(root, root, Profile.ROOT)
    assert _shape(root) == CA_EXTENSIONS
    assert (root.is_ca, root.path_length) == (True, 2)
    assert root.key_usage == {"keyCertSign", "cRLSign"}
    assert root.not_after == years_after(root.not_before, 20)
    assert parse_name(root.subject_der) == SubjectName(CA_ORGAN_NAME, "EXTRA Root CA")
    assert (root.identity, root.organ, root.crl_urls) == (None, None, ())


@pytest.mark.req("CE-01", "CE-02", "CE-06", "CE-07", "CE-08", "CE-11")
def test_sub_ca(extra: TestNet) -> None:
    sub = extra.sub_ca
    _common(sub, extra.root, Profile.SUB_CA)
    assert _shape(sub) == SUB_CA_EXTENSIONS
    assert (sub.is_ca, sub.path_length) == (True, 0)
    assert sub.key_usage == {"keyCertSign", "cRLSign"}
    assert sub.not_after == years_after(sub.not_before, 10)
    assert sub.crl_urls == ("http://crl.extra.example/root.crl",)


def _leaf(net: TestNet, profile: Profile, years: int, *own: tuple[str, bool]) -> Certificate:
    certificate = net.issue(profile, f"{profile}-1", organ_name="测试单位").certificate
    _common(certificate, net.sub_ca, profile)
    assert _shape(certificate) == [*LEAF_EXTENSIONS[:-1], *own, LEAF_EXTENSIONS[-1]]
    assert certificate.key_usage == {"digitalSignature", "nonRepudiation"}
    assert not certificate.is_ca
    assert certificate.identity == net.identity(f"{profile}-1")
    assert certificate.organ == ORGAN
    assert asn1.encode_printable(ORGAN) in certificate.der
    assert certificate.not_before == (net.clock.now() - BACKDATE).replace(microsecond=0)
    if years:
        assert certificate.not_after == years_after(certificate.not_before, years)
    assert certificate.crl_urls == ("http://crl.extra.example/sub.crl",)
    assert parse_name(certificate.subject_der) == SubjectName("测试单位", f"{profile}-1")
    return certificate


@pytest.mark.req("CE-03", "CE-05", "CE-07", "CE-08", "CE-09", "CE-11")
def test_gateway(extra: TestNet) -> None:
    _leaf(extra, Profile.GATEWAY, years=2)


@pytest.mark.req("CE-03", "CE-05", "CE-07", "CE-08", "CE-09", "CE-11")
def test_system(extra: TestNet) -> None:
    _leaf(extra, Profile.SYSTEM, years=3)


@pytest.mark.req("CE-03", "CE-05", "CE-07", "CE-08", "CE-09", "CE-11")
def test_officer(extra: TestNet) -> None:
    _leaf(extra, Profile.OFFICER, years=3)


@pytest.mark.req("CE-03", "CE-05", "CE-07", "CE-08", "CE-09", "CE-11")
def test_evidence(extra: TestNet) -> None:
    _leaf(extra, Profile.EVIDENCE, years=3)


@pytest.mark.req("CE-03", "CE-05", "CE-07", "CE-08", "CE-11")
def test_ocsp_signer(extra: TestNet) -> None:
    purpose = (ExtensionOID.EXTENDED_KEY_USAGE.dotted_string, False)
    made = _leaf(extra, Profile.OCSP, 0, purpose, (ExtensionOID.OCSP_NO_CHECK.dotted_string, False))
    assert made.extended_key_usage == {oids.OID_EKU_OCSP_SIGNING}
    assert made.ocsp_no_check
    assert made.ocsp_urls == ()
    assert made.not_after - made.not_before == timedelta(days=92), "a responder's certificate is never asked about"


@pytest.mark.req("CE-03", "CE-05", "CE-07", "CE-08", "CE-11")
def test_tsa_signer(extra: TestNet) -> None:
    made = _leaf(extra, Profile.TSA, 3, (ExtensionOID.EXTENDED_KEY_USAGE.dotted_string, True))
    assert made.extended_key_usage == {oids.OID_EKU_TIME_STAMPING}
    assert not made.ocsp_no_check


@pytest.mark.req("CE-07")
def test_ocsp_address_only_where_a_responder_is_configured(tmp_path) -> None:
    plan = founding_plan(Net.EXTRA)
    url = "http://ocsp.extra.example/"
    plan = CeremonyPlan(plan.net, plan.organization, plan.crl_base_url, ocsp_urls=(url,))
    create_ca(tmp_path / "ca", plan, clock=FakeClock(), actor=ACTOR)
    authority = open_ca(tmp_path / "ca", clock=FakeClock())
    key = PrivateKey.generate()
    identity = Identity(Net.EXTRA, ORGAN, "population")
    request = build_request(key, SubjectName("测试单位", "population"), identity)
    leaf = authority.issue(request, Profile.SYSTEM, actor=ACTOR)
    assert leaf.ocsp_urls == (url,)
    access = x509.load_der_x509_certificate(leaf.der).extensions.get_extension_for_class(
        x509.AuthorityInformationAccess
    )
    assert [item.access_method for item in access.value] == [AuthorityInformationAccessOID.OCSP]
    # The root has no responder, so the sub-CA names none.
    assert authority.certificate(Profile.SUB_CA).ocsp_urls == ()
    authority.close()


# --- validity (CE-08)

START = NOON - BACKDATE
ISSUER = Validity(NOON - timedelta(days=100), years_after(NOON, 10))
NO_LIMIT = timedelta(days=36600)
TWO_YEARS = datetime.fromisoformat("2032-01-01T11:55:00+00:00")

VALIDITY = {
    "nothing asked": (None, None, None),
    "exactly two years": (START, TWO_YEARS, None),
    "a second over two years": (START, TWO_YEARS + timedelta(seconds=1), "notAfter"),
    "the issuer's first second": (ISSUER.not_before, NOON + timedelta(days=1), None),
    "a second before the issuer": (ISSUER.not_before - timedelta(seconds=1), NOON + timedelta(days=1), "notBefore"),
    "ends in a second": (START, NOON + timedelta(seconds=1), None),
    "ends now": (START, NOON, "notAfter"),
    "backwards": (NOON + timedelta(days=2), NOON + timedelta(days=1), "notAfter"),
    "starts next week": (NOON + timedelta(days=7), NOON + timedelta(days=8), None),
}


@pytest.mark.req("CE-08")
@pytest.mark.parametrize(("start", "end", "field"), VALIDITY.values(), ids=VALIDITY)
def test_validity_of_a_gateway(start, end, field: str | None) -> None:
    def choose() -> Validity:
        rules = RULES[Profile.GATEWAY]
        return choose_validity(rules, now=NOON, not_before=start, not_after=end, limit=NO_LIMIT, issuer=ISSUER)

    if field is None:
        assert choose() == Validity(start or START, end or TWO_YEARS)
        return
    with pytest.raises(ZoneGateError) as refused:
        choose()
    assert refused.value.reason is Reason.E_VALIDITY
    assert refused.value.detail.startswith(field)


OUTLIVES = {
    "ends with its issuer": (timedelta(0), None),
    "one second longer": (timedelta(seconds=1), "outlives the issuer"),
}


@pytest.mark.req("CE-08")
@pytest.mark.parametrize(("more", "problem"), OUTLIVES.values(), ids=OUTLIVES)
def test_leaf_never_outlives_issuer(more: timedelta, problem: str | None) -> None:
    issuer = Validity(ISSUER.not_before, NOON + timedelta(days=90))
    rules = RULES[Profile.SYSTEM]

    def choose(end: datetime | None) -> Validity:
        return choose_validity(rules, now=NOON, not_before=None, not_after=end, limit=NO_LIMIT, issuer=issuer)

    assert choose(None).not_after == issuer.not_after
    if problem is None:
        assert choose(issuer.not_after + more).not_after == issuer.not_after
        return
    with pytest.raises(ZoneGateError, match=problem):
        choose(issuer.not_after + more)


@pytest.mark.req("CE-08")
def test_limit_of_the_ca_is_narrower() -> None:
    limit = timedelta(days=30)
    rules = RULES[Profile.SYSTEM]
    chosen = choose_validity(rules, now=NOON, not_before=None, not_after=None, limit=limit, issuer=ISSUER)
    assert chosen.not_after - chosen.not_before == limit
    with pytest.raises(ZoneGateError, match="the limit of profile system"):
        choose_validity(
            rules, now=NOON, not_before=None, not_after=START + timedelta(days=31), limit=limit, issuer=ISSUER
        )


def test_years_from_a_leap_day() -> None:
    leap = datetime.fromisoformat("2028-02-29T00:00:00+00:00")
    assert years_after(leap, 2) == datetime.fromisoformat("2030-02-28T00:00:00+00:00")
    assert years_after(leap, 4) == datetime.fromisoformat("2032-02-29T00:00:00+00:00")


TERMS = {
    Profile.GATEWAY: 2,
    Profile.SYSTEM: 3,
    Profile.OFFICER: 3,
    Profile.EVIDENCE: 3,
}


@pytest.mark.req("CE-08")
@pytest.mark.parametrize(("profile", "years"), TERMS.items(), ids=[item.value for item in TERMS])
def test_authority_refuses_one_second_too_long(extra: TestNet, profile: Profile, years: int) -> None:
    key = PrivateKey.generate()
    request = build_request(key, SubjectName("测试单位", "long"), extra.identity("long"))
    start = extra.clock.now().replace(microsecond=0)
    term = Term(start, years_after(start, years) + timedelta(seconds=1))
    with pytest.raises(ZoneGateError) as refused:
        extra.authority.issue(request, profile, actor=ACTOR, term=term)
    assert refused.value.reason is Reason.E_VALIDITY
