"""Every lint rule with a good and a bad sample, the shape rule, and fuzz: a certificate in, findings out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import NOON
from support.csr import extension, uri_san
from support.pki import ORGAN, TestNet
from zonegate.ca import asn1
from zonegate.ca.lint.rule import Context
from zonegate.ca.lint.run import RULES, SHAPE_RULE, lint
from zonegate.ca.names import NameAttribute, SubjectName
from zonegate.ca.profile import RULES as PROFILES
from zonegate.ca.profile import Validity, years_after
from zonegate.ca.template import IssuerName, Plan, build_tbs
from zonegate.ca.usage import key_usage_of
from zonegate.gm import der
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki import oids
from zonegate.pki.certificate import Certificate, Profile, load_certificate

KEY = PrivateKey.generate()
SIGNER = PrivateKey.generate()
ISSUER_SUBJECT = SubjectName("测试机构", "EXTRA Sub-CA 1")
CRL_URL = "http://crl.extra.example/sub.crl"
OCSP_URL = "http://ocsp.extra.example/"
IDENTITY = Identity(Net.EXTRA, ORGAN, "population")
SERIAL = 0x4142434445464748494A4B4C4D4E4F50
START = datetime(2030, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)

AKI, SKI, KEY_USAGE, POLICIES = "2.5.29.35", "2.5.29.14", "2.5.29.15", "2.5.29.32"
SAN, CRL_POINTS, BASIC, AIA = "2.5.29.17", "2.5.29.31", "2.5.29.19", "1.3.6.1.5.5.7.1.1"
EKU = "2.5.29.37"


def _issuer_name(*ocsp: str) -> IssuerName:
    return IssuerName(ISSUER_SUBJECT.der, SIGNER.public_key, (CRL_URL,), ocsp)


def _plan(profile: Profile, validity: Validity | None = None) -> Plan:
    rules = PROFILES[profile]
    subject = ISSUER_SUBJECT if rules.is_ca else SubjectName("测试单位", "population")
    identity = None if rules.is_ca else IDENTITY
    return Plan(rules, subject, identity, KEY.public_key, validity or Validity(START, START + YEAR), SERIAL)


def _signed(tbs: bytes) -> bytes:
    return asn1.encode_signed(tbs, SIGNER.sign(tbs, signer_id=CERT_ID))


def _good(profile: Profile, *ocsp: str) -> bytes:
    name = _issuer_name(*ocsp)
    if profile is Profile.SUB_CA:
        name = replace(name, subject_der=_name(C, O, CN))
    return build_tbs(_plan(profile), name, net=Net.EXTRA)


def _root_tbs() -> bytes:
    name = IssuerName(ISSUER_SUBJECT.der, KEY.public_key, (CRL_URL,), ())
    return build_tbs(_plan(Profile.ROOT), name, net=Net.EXTRA)


def _remade(profile: Profile = Profile.SYSTEM, **changes: object) -> bytes:
    """Return a good TBSCertificate with members replaced; `extensions` maps the list of extensions."""
    tbs = asn1.decode_tbs_certificate(_root_tbs() if profile is Profile.ROOT else _good(profile))
    edit = changes.pop("edit", list)
    assert callable(edit)
    members = {
        "serial": tbs.serial,
        "issuer": tbs.issuer,
        "not_before": tbs.not_before[1],
        "not_after": tbs.not_after[1],
        "subject": tbs.subject,
        "spki": tbs.spki,
        "extensions": edit(list(tbs.extensions)),
    }
    return asn1.encode_tbs_certificate(**(members | changes))


Edit = Callable[[Sequence[asn1.Extension]], list[asn1.Extension]]


def _without(oid: str) -> Edit:
    return lambda found: [item for item in found if item.oid != oid]


def _with(*new: asn1.Extension) -> Edit:
    """Replace the extensions of the same OIDs, or add."""
    oids_of = {item.oid for item in new}
    return lambda found: [item for item in found if item.oid not in oids_of] + list(new)


def _critical(oid: str, critical: bool = True) -> Edit:
    return lambda found: [replace(item, critical=critical) if item.oid == oid else item for item in found]


def _usage(*bits: str) -> asn1.Extension:
    return replace(extension(key_usage_of(frozenset(bits))), critical=True)


def _purpose(*purposes: x509.ObjectIdentifier, critical: bool = True) -> asn1.Extension:
    return replace(extension(x509.ExtendedKeyUsage(purposes)), critical=critical)


def _policy(*policy_oids: str) -> asn1.Extension:
    items = [x509.PolicyInformation(x509.ObjectIdentifier(oid), None) for oid in policy_oids]
    return extension(x509.CertificatePolicies(items))


def _points(*urls: str, reasons: frozenset[x509.ReasonFlags] | None = None) -> asn1.Extension:
    names = [x509.UniformResourceIdentifier(url) for url in urls]
    return extension(x509.CRLDistributionPoints([x509.DistributionPoint(names, None, reasons, None)]))


def _aia(url: str, method: x509.ObjectIdentifier = AuthorityInformationAccessOID.OCSP) -> asn1.Extension:
    return extension(
        x509.AuthorityInformationAccess([x509.AccessDescription(method, x509.UniformResourceIdentifier(url))])
    )


def _constraints(length: int | None, critical: bool = True) -> asn1.Extension:
    return replace(extension(x509.BasicConstraints(ca=True, path_length=length)), critical=critical)


def _name(*attributes: tuple[str, int, bytes]) -> bytes:
    return asn1.encode_name([NameAttribute(*item) for item in attributes])


def _members(tbs: bytes) -> list[bytes]:
    body = der.Reader(tbs).sequence("tbs")
    members = []
    while not body.at_end():
        members.append(body.tlv())
    return members


def _version_1() -> bytes:
    """Return a TBSCertificate with neither version nor extensions."""
    return der.sequence(*_members(_good(Profile.SYSTEM))[1:-1])


def _null_parameters(outer: bool) -> bytes:
    """Return a certificate whose inner or outer algorithm has NULL parameters."""
    absent = der.sequence(der.oid(oids.OID_SM2_WITH_SM3))
    null = der.sequence(der.oid(oids.OID_SM2_WITH_SM3), der.NULL_TLV)
    tbs = _good(Profile.SYSTEM)
    if not outer:
        tbs = der.sequence(*(null if member == absent else member for member in _members(tbs)))
    signature = der.bit_string(SIGNER.sign(tbs, signer_id=CERT_ID))
    return der.sequence(tbs, null if outer else absent, signature)


def _wrong_outer_algorithm() -> bytes:
    tbs = _good(Profile.SYSTEM)
    other = der.sequence(der.oid("1.2.840.10045.4.3.2"))
    return der.sequence(tbs, other, der.bit_string(SIGNER.sign(tbs, signer_id=CERT_ID)))


def _issuer_certificate(**changes: object) -> Certificate:
    """Return a sub-CA certificate of the signer, issued for ten years from the start of 2030 (or as changed)."""
    plan = replace(_plan(Profile.SUB_CA), public_key=SIGNER.public_key)
    validity = Validity(START, years_after(START, 10))
    tbs = build_tbs(
        replace(plan, validity=validity), replace(_issuer_name(), subject_der=_name(C, O, CN)), net=Net.EXTRA
    )
    if changes:
        edit = changes.pop("edit", list)
        assert callable(edit)
        found = asn1.decode_tbs_certificate(tbs)
        members = {
            "serial": SERIAL,
            "issuer": found.issuer,
            "not_before": validity.not_before,
            "not_after": validity.not_after,
            "subject": found.subject,
            "spki": found.spki,
            "extensions": edit(list(found.extensions)),
        }
        tbs = asn1.encode_tbs_certificate(**(members | changes))
    return load_certificate(_signed(tbs))


C = ("2.5.4.6", 0x13, b"CN")
O = ("2.5.4.10", 0x0C, "测试机构".encode())  # noqa: E741 - the attribute's name
CN = ("2.5.4.3", 0x0C, b"EXTRA Root CA")
ISSUER = _issuer_certificate()
WITH_ISSUER = Context(ISSUER, ())
ALONE = Context()
LEAF = Profile.SYSTEM


def _tbs(*args: object, **kwargs: object) -> Callable[[], bytes]:
    return lambda: _signed(_remade(*args, **kwargs))


# rule -> the bad samples: (how to make the certificate, what is known beside it)
BAD: dict[str, list[tuple[Callable[[], bytes], Context]]] = {
    "zg_version_3": [(lambda: _signed(_version_1()), ALONE)],
    "zg_signature_sm2_sm3": [(_wrong_outer_algorithm, ALONE)],
    "zg_signature_parameters_absent": [
        (partial(_null_parameters, outer=True), ALONE),
        (partial(_null_parameters, outer=False), ALONE),
    ],
    "zg_key_sm2_uncompressed": [
        (_tbs(spki=KEY.public_key.spki[:-1] + bytes((KEY.public_key.spki[-1] ^ 1,))), ALONE),
        (
            _tbs(
                spki=KEY.public_key.spki.replace(bytes.fromhex("2a811ccf5501822d"), bytes.fromhex("2a8648ce3d030107"))
            ),
            ALONE,
        ),
    ],
    "zg_key_not_published": [(_tbs(spki=PrivateKey.from_scalar(2).public_key.spki), ALONE)],
    "zg_serial_64_bits": [(_tbs(serial=(1 << 63) - 1), ALONE)],
    "zg_time_encoding": [
        (
            lambda: _signed(
                _remade(not_after=datetime(2050, 1, 1, tzinfo=UTC)).replace(b"\x18\x0f20500101", b"\x18\x0f20490101")
            ),
            ALONE,
        ),
    ],
    "zg_subject_attributes": [
        (_tbs(subject=_name(O, CN)), ALONE),
        (_tbs(subject=_name(C, CN, O)), ALONE),
        (_tbs(subject=_name(C, O, ("2.5.4.3", 0x0C, b"x" * 65))), ALONE),
    ],
    "zg_subject_string_types": [
        (_tbs(subject=_name(C, O, ("2.5.4.3", 0x13, b"population"))), ALONE),
        (_tbs(subject=_name(("2.5.4.6", 0x0C, b"CN"), O, CN)), ALONE),
    ],
    "zg_issuer_name": [
        (_tbs(issuer=_name(C, O, CN)), WITH_ISSUER),
        (_tbs(issuer=SubjectName("测试单位", "population").der), ALONE),
        (_tbs(Profile.ROOT, issuer=_name(C, O, CN)), ALONE),
    ],
    "zg_identity_uri": [
        (_tbs(edit=_without(SAN)), ALONE),
        (_tbs(edit=_with(extension(x509.SubjectAlternativeName([x509.DNSName("a.example")])))), ALONE),
        (_tbs(edit=_with(uri_san(f"spiffe://intra/{ORGAN}/population"))), ALONE),
        (_tbs(edit=_with(uri_san(f"spiffe://extra/{ORGAN}/Population"))), ALONE),
        (_tbs(Profile.SUB_CA, edit=_with(uri_san())), ALONE),
    ],
    "zg_organ_code": [
        (_tbs(edit=_without(oids.OID_USCC)), ALONE),
        (_tbs(edit=_critical(oids.OID_USCC)), ALONE),
        (_tbs(edit=_with(asn1.Extension(oids.OID_USCC, False, asn1.encode_printable(ORGAN[:-1] + "3")))), ALONE),
        (_tbs(edit=_with(asn1.Extension(oids.OID_USCC, False, asn1.encode_printable("91350100M000100Y43")))), ALONE),
        (_tbs(edit=_with(asn1.Extension(oids.OID_USCC, False, b"\x0c\x12" + ORGAN.encode()))), ALONE),
    ],
    "zg_policies_net_and_profile": [
        (_tbs(edit=_without(POLICIES)), ALONE),
        (_tbs(edit=_critical(POLICIES)), ALONE),
        (_tbs(edit=_with(_policy(oids.PROFILE_POLICY[LEAF]))), ALONE),
        (_tbs(edit=_with(_policy(*oids.NET_POLICY.values(), oids.PROFILE_POLICY[LEAF]))), ALONE),
        (
            _tbs(
                edit=_with(
                    _policy(oids.NET_POLICY[Net.EXTRA], *(oids.PROFILE_POLICY[p] for p in (LEAF, Profile.GATEWAY)))
                )
            ),
            ALONE,
        ),
    ],
    "zg_key_usage": [
        (_tbs(edit=_without(KEY_USAGE)), ALONE),
        (_tbs(edit=_critical(KEY_USAGE, critical=False)), ALONE),
        (_tbs(edit=_with(_usage("digitalSignature"))), ALONE),
        (_tbs(edit=_with(_usage("digitalSignature", "nonRepudiation", "keyEncipherment"))), ALONE),
        (_tbs(edit=_with(_usage("digitalSignature", "nonRepudiation", "keyCertSign"))), ALONE),
        (_tbs(Profile.SUB_CA, edit=_with(_usage("keyCertSign", "cRLSign", "digitalSignature"))), ALONE),
    ],
    "zg_ca_basic_constraints": [
        (_tbs(Profile.SUB_CA, edit=_without(BASIC)), ALONE),
        (_tbs(Profile.SUB_CA, edit=_with(_constraints(0, critical=False))), ALONE),
        (_tbs(Profile.SUB_CA, edit=_with(_constraints(1))), ALONE),
        (_tbs(Profile.SUB_CA, edit=_with(_constraints(None))), ALONE),
    ],
    "zg_leaf_no_basic_constraints": [
        (_tbs(edit=_with(extension(x509.BasicConstraints(ca=False, path_length=None)))), ALONE),
        (_tbs(edit=_with(_constraints(0))), ALONE),
    ],
    "zg_issuer_path_length": [
        # A system's certificate as issuer; a sub-CA below a sub-CA of path length 0.
        (_tbs(), Context(load_certificate(_signed(_good(LEAF))))),
        (_tbs(Profile.SUB_CA), WITH_ISSUER),
        (
            _tbs(Profile.SUB_CA),
            Context(
                _issuer_certificate(edit=_with(_policy(oids.NET_POLICY[Net.EXTRA], oids.PROFILE_POLICY[Profile.ROOT])))
            ),
        ),
    ],
    "zg_subject_key_identifier": [
        (_tbs(edit=_without(SKI)), ALONE),
        (_tbs(edit=_critical(SKI)), ALONE),
        (_tbs(edit=_with(extension(x509.SubjectKeyIdentifier(b"k" * 32)))), ALONE),
    ],
    "zg_authority_key_identifier": [
        (_tbs(edit=_without(AKI)), ALONE),
        (_tbs(edit=_critical(AKI)), ALONE),
        (_tbs(edit=_with(extension(x509.AuthorityKeyIdentifier(b"k" * 20, None, None)))), WITH_ISSUER),
        (
            _tbs(
                edit=_with(
                    extension(
                        x509.AuthorityKeyIdentifier(ISSUER.ski, [x509.UniformResourceIdentifier("http://a.example")], 5)
                    )
                )
            ),
            WITH_ISSUER,
        ),
        (_tbs(Profile.ROOT, edit=_with(extension(x509.AuthorityKeyIdentifier(b"k" * 20, None, None)))), ALONE),
    ],
    "zg_crl_distribution_points": [
        (_tbs(edit=_without(CRL_POINTS)), ALONE),
        (_tbs(edit=_critical(CRL_POINTS)), ALONE),
        (_tbs(edit=_with(_points("ldap://crl.extra.example/"))), ALONE),
        (_tbs(edit=_with(_points(CRL_URL, reasons=frozenset({x509.ReasonFlags.key_compromise})))), ALONE),
        (_tbs(Profile.ROOT, edit=_with(_points(CRL_URL))), ALONE),
    ],
    "zg_ocsp_where_configured": [
        (_tbs(edit=_with(_aia(OCSP_URL))), WITH_ISSUER),
        (_tbs(), Context(ISSUER, (OCSP_URL,))),
        (_tbs(edit=_with(_aia("https://ocsp.extra.example/"))), ALONE),
        (_tbs(edit=_with(_aia(OCSP_URL, AuthorityInformationAccessOID.CA_ISSUERS))), ALONE),
    ],
    "zg_extended_key_usage": [
        (_tbs(edit=_with(_purpose(ExtendedKeyUsageOID.SERVER_AUTH))), ALONE),
        (_tbs(Profile.TSA, edit=_without(EKU)), ALONE),
        (_tbs(Profile.TSA, edit=_with(_purpose(ExtendedKeyUsageOID.TIME_STAMPING, critical=False))), ALONE),
        (
            _tbs(
                Profile.TSA,
                edit=_with(_purpose(ExtendedKeyUsageOID.TIME_STAMPING, ExtendedKeyUsageOID.OCSP_SIGNING)),
            ),
            ALONE,
        ),
        (_tbs(Profile.OCSP, edit=_with(_purpose(ExtendedKeyUsageOID.TIME_STAMPING, critical=False))), ALONE),
        (_tbs(Profile.OCSP, edit=_critical(EKU)), ALONE),
    ],
    "zg_ocsp_no_check": [
        (_tbs(Profile.OCSP, edit=_without(oids.OID_OCSP_NO_CHECK)), ALONE),
        (_tbs(Profile.OCSP, edit=_critical(oids.OID_OCSP_NO_CHECK)), ALONE),
        (_tbs(Profile.TSA, edit=_with(extension(x509.OCSPNoCheck()))), ALONE),
    ],
    "zg_extension_set": [
        (_tbs(edit=_with(_purpose(ExtendedKeyUsageOID.SERVER_AUTH))), ALONE),
        (_tbs(edit=_with(asn1.Extension("1.2.3.4", False, b"\x05\x00"))), ALONE),
        (_tbs(Profile.SUB_CA, edit=_with(asn1.Extension(oids.OID_USCC, False, asn1.encode_printable(ORGAN)))), ALONE),
    ],
    "zg_validity_limit": [
        (_tbs(not_after=years_after(START, 3) + timedelta(seconds=1)), ALONE),
        (_tbs(Profile.GATEWAY, not_after=years_after(START, 2) + timedelta(seconds=1)), ALONE),
        (_tbs(Profile.SUB_CA, not_after=years_after(START, 10) + timedelta(seconds=1)), ALONE),
        (_tbs(Profile.ROOT, not_after=years_after(START, 20) + timedelta(seconds=1)), ALONE),
        (_tbs(not_after=START), ALONE),
    ],
    "zg_validity_within_issuer": [
        (_tbs(not_before=START - timedelta(seconds=1)), WITH_ISSUER),
        (_tbs(), Context(_issuer_certificate(not_after=START + YEAR - timedelta(seconds=1)))),
    ],
}

GOOD: dict[str, tuple[Callable[[], bytes], Context]] = {
    "root": (lambda: _signed(_root_tbs()), Context(None, ())),
    "sub-CA alone": (_tbs(Profile.SUB_CA), ALONE),
    "gateway": (_tbs(Profile.GATEWAY), WITH_ISSUER),
    "gateway, two years": (_tbs(Profile.GATEWAY, not_after=years_after(START, 2)), WITH_ISSUER),
    "system": (_tbs(), WITH_ISSUER),
    "system, three years": (_tbs(not_after=years_after(START, 3)), WITH_ISSUER),
    "officer": (_tbs(Profile.OFFICER), WITH_ISSUER),
    "evidence": (_tbs(Profile.EVIDENCE), WITH_ISSUER),
    "ocsp": (_tbs(Profile.OCSP), WITH_ISSUER),
    "ocsp where a responder is configured": (
        lambda: _signed(_good(Profile.OCSP, OCSP_URL)),
        Context(ISSUER, (OCSP_URL,)),
    ),
    "tsa": (_tbs(Profile.TSA), WITH_ISSUER),
    "with a responder": (lambda: _signed(_good(LEAF, OCSP_URL)), Context(ISSUER, (OCSP_URL,))),
    "64 bits of serial": (_tbs(serial=1 << 63), WITH_ISSUER),
    "159 bits of serial": (_tbs(serial=(1 << 159) - 1), WITH_ISSUER),
    "ends with its issuer": (_tbs(), Context(_issuer_certificate(not_after=START + YEAR))),
    "root until 2050": (_tbs(Profile.ROOT, not_after=datetime(2050, 1, 1, tzinfo=UTC)), ALONE),
    "with OU": (_tbs(subject=SubjectName("测试单位", "x", "信息中心").der), WITH_ISSUER),
}

BAD_ROWS = [(rule_id, *sample) for rule_id, samples in BAD.items() for sample in samples]


def test_every_rule_has_a_bad_sample_and_a_clause() -> None:
    assert [rule.rule_id for rule in RULES] == list(BAD)
    assert all(rule.clause for rule in RULES)


@pytest.mark.req("CE-01", "CE-02", "CE-03", "CE-05", "CE-06", "CE-07", "CE-08", "CE-09")
@pytest.mark.parametrize(
    ("rule_id", "make", "context"), BAD_ROWS, ids=[f"{row[0]}-{index}" for index, row in enumerate(BAD_ROWS)]
)
def test_bad_sample(rule_id: str, make: Callable[[], bytes], context: Context) -> None:
    assert rule_id in [finding.rule_id for finding in lint(make(), context)]


@pytest.mark.parametrize(("make", "context"), GOOD.values(), ids=GOOD)
def test_good_sample(make: Callable[[], bytes], context: Context) -> None:
    assert lint(make(), context) == ()


SHAPES = {
    "empty": b"",
    "not DER": b"\x30\x80\x00\x00",
    "critical FALSE spelt out": None,
    "extension twice": None,
    "trailing byte": None,
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_is_not_der_of_a_certificate_is_one_finding(name: str) -> None:
    good = _signed(_good(LEAF))
    twice = _remade(edit=lambda found: [*found, found[0]])
    spelt = _remade(edit=_critical(SKI)).replace(
        b"\x06\x03\x55\x1d\x0e\x01\x01\xff", b"\x06\x03\x55\x1d\x0e\x01\x01\x00"
    )
    made = {
        "critical FALSE spelt out": _signed(spelt),
        "extension twice": _signed(twice),
        "trailing byte": good + b"\0",
    }
    findings = lint(SHAPES[name] if SHAPES[name] is not None else made[name], ALONE)
    assert [finding.rule_id for finding in findings] == [SHAPE_RULE]


def test_issued_certificates_pass(extra: TestNet) -> None:
    assert lint(extra.root.der, ALONE) == ()
    assert lint(extra.sub_ca.der, Context(extra.root, ())) == ()
    leaf = extra.issue(Profile.SYSTEM, "linted").certificate
    assert lint(leaf.der, Context(extra.sub_ca, ())) == ()
    assert extra.clock.now() >= NOON


SAMPLE = _signed(_good(LEAF))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255), st.integers(0, 4))
def test_mutated_certificate_gives_findings_and_never_an_error(position: int, value: int, removed: int) -> None:
    mutated = SAMPLE[:position] + bytes((value,)) + SAMPLE[position + 1 + removed :]
    for finding in lint(mutated, WITH_ISSUER):
        assert finding.problem
