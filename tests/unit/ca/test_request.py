"""PKCS#10: proof of possession and every refusal by reason and field (CA-03, CE-03, CE-05, CE-09)."""

import shutil
import subprocess

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from support.csr import SAN_OID, SUBJECT, URI, extension, make_csr, request_info, san, uri_san
from support.pki import ORGAN
from zonegate.ca import asn1
from zonegate.ca.names import NameAttribute, SubjectName
from zonegate.ca.profile import RULES
from zonegate.ca.request import REQUEST_MAX_BYTES, check_request, parse_request
from zonegate.ca.subscriber import build_request
from zonegate.ca.usage import key_usage_of
from zonegate.errors import ZoneGateError
from zonegate.gm import der, pem, sm2
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net, parse_identity
from zonegate.pki.oids import OID_USCC, Profile
from zonegate.reasons import Reason

KEY = PrivateKey.generate()
OTHER_KEY = PrivateKey.generate()
PUBLISHED_KEY = PrivateKey.from_scalar(0x3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8)
# A P-256 SubjectPublicKeyInfo (the generator of that curve).
P256_SPKI = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200"
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
OFF_CURVE = KEY.public_key.spki[:-1] + bytes((KEY.public_key.spki[-1] ^ 1,))
SECOND_EXTENSIONS = der.sequence(
    der.oid("1.2.840.113549.1.9.14"),
    der.tlv(
        der.SET,
        der.sequence(
            der.sequence(der.oid(SAN_OID), der.octet_string(uri_san(URI.replace("population", "other")).value))
        ),
    ),
)
CHALLENGE = der.sequence(der.oid("1.2.840.113549.1.9.7"), der.tlv(0x31, der.tlv(0x0C, b"a shared password")))


def _name(*attributes: tuple[str, int, bytes]) -> bytes:
    return asn1.encode_name([NameAttribute(*item) for item in attributes])


C = ("2.5.4.6", 0x13, b"CN")
O = ("2.5.4.10", 0x0C, "测试单位".encode())  # noqa: E741 - the attribute's name
CN = ("2.5.4.3", 0x0C, b"population")
FLIPPED = bytearray(make_csr(key=KEY))
FLIPPED[-1] ^= 1


def _organ(value: str) -> asn1.Extension:
    return asn1.Extension(OID_USCC, critical=False, value=asn1.encode_printable(value))


def _subject(*attributes: tuple[str, int, bytes]) -> bytes:
    return make_csr(key=KEY, subject=_name(*attributes))


def _extended(*extensions: asn1.Extension) -> bytes:
    return make_csr(key=KEY, extensions=extensions)


REFUSED = {
    "empty": (b"", Reason.E_CSR, "request"),
    "not DER": (b"\x30\x03abc", Reason.E_CSR, "request"),
    "too long": (b"\x30" * (REQUEST_MAX_BYTES + 1), Reason.E_CSR, "request"),
    "trailing byte": (make_csr(key=KEY) + b"\0", Reason.E_CSR, "request"),
    "PEM of a certificate": (pem.encode("CERTIFICATE", make_csr(key=KEY)), Reason.E_CSR, "request"),
    "two PEM blocks": (pem.encode("CERTIFICATE REQUEST", make_csr(key=KEY)) * 2, Reason.E_CSR, "request"),
    "PKCS#10 version 2": (make_csr(key=KEY, info=request_info(KEY, version=1)), Reason.E_CSR, "request"),
    "CA-03 empty signer id": (make_csr(key=KEY, signer_id=b""), Reason.E_CSR, "signature"),
    "CA-03 signer id of TLS": (make_csr(key=KEY, signer_id=sm2.TLS_ID), Reason.E_CSR, "signature"),
    "CA-03 another signer id": (make_csr(key=KEY, signer_id=b"ALICE123@YAHOO.C"), Reason.E_CSR, "signature"),
    "CA-03 signed with another key": (make_csr(key=KEY, signer=OTHER_KEY), Reason.E_CSR, "signature"),
    "CA-03 signature altered": (bytes(FLIPPED), Reason.E_CSR, "signature"),
    "CE-01 P-256 key": (make_csr(key=KEY, spki=P256_SPKI), Reason.E_KEY, "publicKey"),
    "CR-10 point off the curve": (make_csr(key=KEY, spki=OFF_CURVE), Reason.E_KEY, "publicKey"),
    "CR-10 key printed in the standard": (make_csr(key=PUBLISHED_KEY), Reason.E_KEY, "publicKey"),
    "CR-10 d = 1": (make_csr(key=PrivateKey.from_scalar(1)), Reason.E_KEY, "publicKey"),
    "CR-10 d = 8": (make_csr(key=PrivateKey.from_scalar(8)), Reason.E_KEY, "publicKey"),
    "CE-09 no C": (_subject(O, CN), Reason.E_CSR, "subject.C:"),
    "CE-09 C=US": (_subject(("2.5.4.6", 0x13, b"US"), O, CN), Reason.E_CSR, "subject.C:"),
    "CE-09 no O": (_subject(C, CN), Reason.E_CSR, "subject.O:"),
    "CE-09 no CN": (_subject(C, O), Reason.E_CSR, "subject.CN:"),
    "CE-09 empty CN": (_subject(C, O, ("2.5.4.3", 0x0C, b"")), Reason.E_CSR, "subject.CN:"),
    "CE-09 65 characters": (_subject(C, O, ("2.5.4.3", 0x0C, "名".encode() * 65)), Reason.E_CSR, "subject.CN:"),
    "CE-09 O twice": (_subject(C, O, O, CN), Reason.E_CSR, "subject.O:"),
    "CE-09 wrong order": (_subject(O, C, CN), Reason.E_CSR, "subject.order:"),
    "CE-09 locality": (_subject(C, ("2.5.4.7", 0x0C, b"x"), O, CN), Reason.E_CSR, "subject.2.5.4.7:"),
    "CE-09 TeletexString": (_subject(C, O, ("2.5.4.3", 0x14, b"x")), Reason.E_CSR, "subject.CN:"),
    "CE-09 not UTF-8": (_subject(C, O, ("2.5.4.3", 0x0C, b"\xff\xfe")), Reason.E_CSR, "subject.CN:"),
    "CE-09 bidirectional override": (
        _subject(C, O, ("2.5.4.3", 0x0C, "pop\u202eulation".encode())),
        Reason.E_CSR,
        "subject.CN:",
    ),
    "CE-09 space at the end": (_subject(C, O, ("2.5.4.3", 0x0C, b"population ")), Reason.E_CSR, "subject.CN:"),
    "challenge password": (make_csr(key=KEY, info=request_info(KEY, attributes=CHALLENGE)), Reason.E_CSR, "attributes"),
    "extensionRequest twice": (
        make_csr(key=KEY, info=request_info(KEY, attributes=SECOND_EXTENSIONS)),
        Reason.E_CSR,
        "attributes: extensionRequest",
    ),
    "CE-03 no identity": (_extended(), Reason.E_CSR, "subjectAltName"),
    "CE-03 DNS name": (_extended(san(x509.DNSName("a.example"))), Reason.E_CSR, "subjectAltName"),
    "CE-03 two URIs": (
        _extended(san(*(x509.UniformResourceIdentifier(URI + tail) for tail in ("", "2")))),
        Reason.E_CSR,
        "subjectAltName",
    ),
    "CE-03 URI beside a DNS name": (
        _extended(san(x509.UniformResourceIdentifier(URI), x509.DNSName("a.example"))),
        Reason.E_CSR,
        "subjectAltName",
    ),
    "CE-03 https URI": (_extended(uri_san("https://extra/a")), Reason.E_CSR, "subjectAltName"),
    "CE-03 check digit of the USCC": (
        _extended(uri_san(URI.replace(ORGAN, ORGAN[:-1] + "3"))),
        Reason.E_CSR,
        "subjectAltName",
    ),
    "CE-03 third net": (_extended(uri_san(URI.replace("extra", "internet"))), Reason.E_CSR, "subjectAltName"),
    "alternative name twice": (_extended(uri_san(), uri_san()), Reason.E_CSR, "extensions"),
    "CE-06 basicConstraints CA": (
        _extended(uri_san(), extension(x509.BasicConstraints(ca=True, path_length=0))),
        Reason.E_CSR,
        "extensions: basic_constraints",
    ),
    "CE-06 basicConstraints no CA": (
        _extended(uri_san(), extension(x509.BasicConstraints(ca=False, path_length=None))),
        Reason.E_CSR,
        "extensions: basic_constraints",
    ),
    "CE-11 extended key usage": (
        _extended(uri_san(), extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]))),
        Reason.E_CSR,
        "extensions: extended_key_usage",
    ),
    "policies": (
        _extended(
            uri_san(),
            extension(x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("1.2.3"), None)])),
        ),
        Reason.E_CSR,
        "extensions: certificate_policies",
    ),
    "unknown extension": (
        _extended(uri_san(), asn1.Extension("1.2.3.4", critical=False, value=b"\x05\x00")),
        Reason.E_CSR,
        "extensions: 1.2.3.4",
    ),
    "organ code is not a PrintableString": (
        _extended(uri_san(), asn1.Extension(OID_USCC, critical=False, value=b"\x05\x00")),
        Reason.E_CSR,
        "organizationCode",
    ),
    "extension of wrong inner shape": (
        _extended(uri_san(), asn1.Extension("2.5.29.15", critical=False, value=b"\x05\x00")),
        Reason.E_CSR,
        "extensions",
    ),
}


@pytest.mark.req("CA-03", "CE-03", "CE-09")
@pytest.mark.parametrize(("data", "reason", "field"), REFUSED.values(), ids=REFUSED)
def test_refused_request(data: bytes, reason: Reason, field: str) -> None:
    with pytest.raises(ZoneGateError) as refused:
        parse_request(data)
    assert refused.value.reason is reason
    assert refused.value.detail.startswith(field)


@pytest.mark.parametrize(("signer_id", "word"), [(b"", "an empty signer id"), (sm2.TLS_ID, "the signer id of TLS")])
@pytest.mark.req("CA-03", "CR-08")
def test_wrong_signer_id_is_named(signer_id: bytes, word: str) -> None:
    with pytest.raises(ZoneGateError, match=word):
        parse_request(make_csr(key=KEY, signer_id=signer_id))


ACCEPTED = {
    "DER": make_csr(key=KEY),
    "PEM": pem.encode("CERTIFICATE REQUEST", make_csr(key=KEY)),
    "PEM of older tools": pem.encode("NEW CERTIFICATE REQUEST", make_csr(key=KEY)),
    "strings as PrintableString": make_csr(
        key=KEY, subject=_name(C, ("2.5.4.10", 0x13, b"Organ"), ("2.5.4.3", 0x13, b"population"))
    ),
    "64 Chinese characters": make_csr(key=KEY, subject=_name(C, O, ("2.5.4.3", 0x0C, "名".encode() * 64))),
    "with OU": make_csr(key=KEY, subject=SubjectName("测试单位", "x", "信息中心").der),
    "repeats the profile's key usage": make_csr(
        key=KEY, extensions=(uri_san(), extension(key_usage_of(RULES[Profile.SYSTEM].key_usage)))
    ),
    "repeats its organ code": make_csr(key=KEY, extensions=(uri_san(), _organ(ORGAN))),
}


@pytest.mark.req("CA-03", "CE-09")
@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted_request(data: bytes) -> None:
    request = parse_request(data)
    check_request(request, RULES[Profile.SYSTEM], net=Net.EXTRA)
    assert str(request.identity) == URI
    assert request.public_key == KEY.public_key


ENCRYPTING = key_usage_of(frozenset({"digitalSignature", "keyEncipherment"}))
MISFITS = {
    "CA-14 the other net": ((uri_san(URI.replace("extra", "intra")),), Profile.SYSTEM, "subjectAltName"),
    "CE-05 combined key usage": ((uri_san(), extension(ENCRYPTING)), Profile.SYSTEM, "keyUsage"),
    "CE-05 no key usage": ((uri_san(), extension(key_usage_of(frozenset()))), Profile.SYSTEM, "keyUsage"),
    "CE-03 another organ's code": ((uri_san(), _organ("91350100M000100Y43")), Profile.SYSTEM, "organizationCode"),
    "CE-06 sub-CA on request": ((uri_san(),), Profile.SUB_CA, "profile"),
    "CE-06 root on request": ((uri_san(),), Profile.ROOT, "profile"),
}


@pytest.mark.req("CE-05", "CE-06", "CA-14")
@pytest.mark.parametrize(("extensions", "profile", "field"), MISFITS.values(), ids=MISFITS)
def test_request_that_does_not_fit(extensions, profile: Profile, field: str) -> None:
    request = parse_request(make_csr(key=KEY, extensions=extensions))
    with pytest.raises(ZoneGateError) as refused:
        check_request(request, RULES[profile], net=Net.EXTRA)
    assert refused.value.reason is Reason.E_PROFILE
    assert refused.value.detail.startswith(field)


@pytest.mark.req("CA-05")
def test_built_request_holds_no_private_key() -> None:
    subject = SubjectName("测试单位", "population")
    request = pem.decode("CERTIFICATE REQUEST", build_request(KEY, subject, parse_identity(URI)))[0]
    assert parse_request(request).subject == subject
    scalar = KEY.to_pkcs8()[36:68]
    assert PrivateKey.from_scalar(int.from_bytes(scalar, "big")).public_key == KEY.public_key
    assert scalar not in request


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.req("CA-03", "CR-08")
def test_request_of_openssl(tmp_path) -> None:
    config = tmp_path / "req.cnf"
    config.write_text(
        "[req]\ndistinguished_name=dn\nprompt=no\nutf8=yes\nstring_mask=utf8only\nreq_extensions=ext\n"
        f"[dn]\nC=CN\nO=测试单位\nCN=population\n[ext]\nsubjectAltName=URI:{URI}\n"
    )
    key = tmp_path / "key.pem"
    key.write_bytes(pem.encode("PRIVATE KEY", KEY.to_pkcs8()))

    def request(*options: str) -> bytes:
        out = tmp_path / "req.der"
        command = ["openssl", "req", "-new", "-config", config, "-key", key, "-sm3", "-outform", "DER", "-out", out]
        subprocess.run([*command, *options], check=True, capture_output=True)
        return out.read_bytes()

    accepted = parse_request(request("-sigopt", "distid:1234567812345678"))
    assert accepted.subject == SubjectName("测试单位", "population")
    with pytest.raises(ZoneGateError, match="signature: was made with an empty signer id"):
        parse_request(request())


def test_cryptography_reads_what_is_built() -> None:
    parsed = x509.load_der_x509_csr(make_csr(key=KEY))
    assert parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "population"
    assert parsed.subject.public_bytes() == SUBJECT


GOOD = make_csr(key=KEY)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_a_value_or_one_named_error(data: bytes) -> None:
    with pytest.raises(ZoneGateError):
        parse_request(data)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.integers(0, 6))
def test_mutated_request_gives_one_named_error(position: int, value: int, removed: int) -> None:
    mutated = GOOD[:position] + bytes((value,)) + GOOD[position + 1 + removed :]
    if mutated == GOOD:
        return
    with pytest.raises(ZoneGateError) as refused:
        parse_request(mutated)
    assert refused.value.reason in (Reason.E_CSR, Reason.E_KEY)
