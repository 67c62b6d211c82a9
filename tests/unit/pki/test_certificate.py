"""One certificate: a good one read in full, then its neighbours, each wrong in one field and refused by its name."""

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from support import x509_builder as xb
from support.contract import value_or_refusal
from support.vectors import SM, octets
from zonegate.errors import ZoneGateError
from zonegate.gm import der, pem, sm2, sm3
from zonegate.identity import Net, parse_identity
from zonegate.pki.certificate import (
    CERTIFICATE_LIMIT_BYTES,
    FILE_LIMIT_BYTES,
    FILE_LIMIT_CERTIFICATES,
    Certificate,
    load_certificate,
    load_certificates,
)
from zonegate.pki.oids import NET_POLICY, OID_USCC, PROFILE_POLICY, Profile
from zonegate.reasons import Reason

ISSUER_KEY = sm2.PrivateKey.generate()
KEY = sm2.PrivateKey.generate()
ISSUER = xb.name("issuer")
URI = f"spiffe://extra/{xb.ORGAN}/population"


def made(template: xb.Template) -> bytes:
    return xb.certificate_der(template, KEY.public_key, ISSUER, ISSUER_KEY)


GOOD = made(xb.LEAF)
REFUSED = (Reason.E_DER, Reason.E_KEY, Reason.E_TLS_SIGNATURE, Reason.E_IDENTITY)


@pytest.mark.req("CE-01", "CE-03")
def test_a_leaf_in_full() -> None:
    template = replace(
        xb.LEAF,
        extra=(
            xb.encoded(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])),
            xb.encoded(
                x509.CRLDistributionPoints(
                    [
                        x509.DistributionPoint(
                            [
                                x509.UniformResourceIdentifier("http://crl.example/extra.crl"),
                                x509.DirectoryName(x509.Name([])),
                            ],
                            None,
                            None,
                            None,
                        )
                    ]
                )
            ),
            xb.encoded(
                x509.AuthorityInformationAccess(
                    [
                        x509.AccessDescription(
                            x509.AuthorityInformationAccessOID.OCSP,
                            x509.UniformResourceIdentifier("http://ocsp.example"),
                        ),
                        x509.AccessDescription(
                            x509.AuthorityInformationAccessOID.CA_ISSUERS,
                            x509.UniformResourceIdentifier("http://ca.example"),
                        ),
                    ]
                )
            ),
        ),
    )
    source = made(template)
    found = load_certificate(source)
    assert found.der == source
    assert found.fingerprint == sm3.hexdigest(source)
    assert found.serial == 0x4A5B6C7D8E9FA0B1
    assert found.subject == "CN=leaf,O=示例机关,C=CN"
    assert found.issuer == "CN=issuer,O=示例机关,C=CN"
    assert found.subject_der == xb.name("leaf")
    assert found.issuer_der == ISSUER
    assert (found.not_before, found.not_after) == (xb.NOT_BEFORE, xb.NOT_AFTER)
    assert found.public_key == KEY.public_key
    assert found.identity == parse_identity(URI)
    assert found.organ == xb.ORGAN
    assert found.net is Net.EXTRA
    assert found.profile is Profile.SYSTEM
    assert found.policies == (NET_POLICY[Net.EXTRA], PROFILE_POLICY[Profile.SYSTEM])
    assert (found.is_ca, found.path_length) == (False, None)
    assert found.key_usage == {"digitalSignature", "nonRepudiation"}
    assert found.extended_key_usage == {"1.3.6.1.5.5.7.3.2"}
    assert found.ski == xb.ski(KEY.public_key)
    assert found.aki == xb.ski(ISSUER_KEY.public_key)
    assert found.crl_urls == ("http://crl.example/extra.crl",)
    assert found.ocsp_urls == ("http://ocsp.example",)
    assert found.signature_oid == "1.2.156.10197.1.501"
    assert not found.self_issued
    ISSUER_KEY.public_key.verify(found.signature, found.tbs, signer_id=sm2.CERT_ID)


def test_a_ca_in_full() -> None:
    found = load_certificate(made(replace(xb.SUB_CA, path_length=2)))
    assert (found.is_ca, found.path_length) == (True, 2)
    assert found.key_usage == {"keyCertSign", "cRLSign"}
    assert (found.net, found.profile) == (Net.EXTRA, Profile.SUB_CA)
    assert (found.identity, found.organ, found.crl_urls, found.ocsp_urls) == (None, None, (), ())


def test_equal_by_der() -> None:
    same = load_certificate(pem.encode("CERTIFICATE", GOOD))
    assert same == load_certificate(GOOD)
    assert hash(same) == hash(load_certificate(GOOD))
    assert same != load_certificate(made(xb.LEAF))
    assert same != GOOD
    assert load_certificate(same.pem) == same
    assert "leaf" in repr(same)


# --- accepted neighbours


def usage_of(found: Certificate) -> frozenset[str]:
    return found.key_usage


USAGES = {
    "digital_signature": "digitalSignature",
    "content_commitment": "nonRepudiation",
    "key_encipherment": "keyEncipherment",
    "data_encipherment": "dataEncipherment",
    "key_agreement": "keyAgreement",
    "key_cert_sign": "keyCertSign",
    "crl_sign": "cRLSign",
}


@pytest.mark.req("CE-05")
@pytest.mark.parametrize(("attribute", "word"), USAGES.items(), ids=USAGES)
def test_key_usage_words(attribute: str, word: str) -> None:
    assert load_certificate(made(replace(xb.LEAF, usage=(attribute,)))).key_usage == {word}


def test_key_usage_of_key_agreement() -> None:
    template = replace(xb.LEAF, usage=("key_agreement", "encipher_only", "decipher_only"))
    assert load_certificate(made(template)).key_usage == {"keyAgreement", "encipherOnly", "decipherOnly"}


PRINTABLE = der.tlv(der.PRINTABLE_STRING, xb.ORGAN.encode())
USCC_FORMS = {
    "PrintableString": PRINTABLE,
    "UTF8String": der.tlv(der.UTF8_STRING, xb.ORGAN.encode()),
    "[0] IMPLICIT": der.tlv(der.context_primitive(0), xb.ORGAN.encode()),
    "[0] EXPLICIT": der.tlv(der.context(0), PRINTABLE),
}


@pytest.mark.req("CE-03", "CE-04")
@pytest.mark.parametrize("value", USCC_FORMS.values(), ids=USCC_FORMS)
def test_uscc_forms(value: bytes) -> None:
    found = load_certificate(made(replace(xb.LEAF, organ=None, extra=(xb.extension(OID_USCC, value),))))
    assert found.organ == xb.ORGAN


@pytest.mark.req("CE-02")
@pytest.mark.parametrize("inner", [xb.SM2_WITH_SM3, xb.SM2_WITH_SM3_NULL], ids=["inner absent", "inner NULL"])
@pytest.mark.parametrize("outer", [xb.SM2_WITH_SM3, xb.SM2_WITH_SM3_NULL], ids=["outer absent", "outer NULL"])
def test_ce_02_parameters_absent_or_null(inner: bytes, outer: bytes) -> None:
    found = load_certificate(made(replace(xb.LEAF, inner_algorithm=inner, outer_algorithm=outer)))
    ISSUER_KEY.public_key.verify(found.signature, found.tbs, signer_id=sm2.CERT_ID)


@pytest.mark.req("CE-02", "CR-06")
def test_a_certificate_of_another_maker() -> None:
    # Topsec's self-signed sample: NULL parameters, UTF8String country, Netscape extension. Its signature value is
    # not published with the digest vector, so any stands there.
    tbs = octets(SM["topsec"]["tbs"])
    source = der.sequence(tbs, xb.SM2_WITH_SM3_NULL, der.bit_string(KEY.sign(tbs, signer_id=sm2.CERT_ID)))
    found = load_certificate(source)
    assert found.tbs == tbs
    assert found.self_issued
    assert found.is_ca
    assert found.serial == 0xAF28725D98D33143
    assert found.public_key.point == octets("04" + SM["topsec"]["x"] + SM["topsec"]["y"])
    assert found.key_usage == {"keyCertSign", "cRLSign"}
    assert found.not_before == datetime(2012, 6, 24, 7, 54, 39, tzinfo=UTC)
    assert (found.net, found.profile, found.identity) == (None, None, None)
    assert sm2.digest_with_z(found.public_key, sm2.CERT_ID, found.tbs) == octets(SM["topsec"]["e"])


ACCEPTED = {
    "serial of 20 octets": replace(xb.LEAF, serial=der.integer((1 << 159) - 1)),
    "serial 1": replace(xb.LEAF, serial=der.integer(1)),
    "GeneralizedTime from 2050": replace(xb.LEAF, not_after=datetime(2050, 1, 1, tzinfo=UTC)),
    "valid for one second": replace(xb.LEAF, not_after=xb.NOT_BEFORE),
    "other names beside the URI": replace(
        xb.LEAF,
        uris=(),
        extra=(
            xb.encoded(
                x509.SubjectAlternativeName(
                    [
                        x509.DNSName("gateway.example"),
                        x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
                        x509.UniformResourceIdentifier("https://example/"),
                        x509.UniformResourceIdentifier(URI),
                    ]
                )
            ),
        ),
    ),
    "unknown extension, not critical": replace(xb.LEAF, extra=(xb.extension("1.2.3.4", b"anything"),)),
    "critical policies": replace(
        xb.LEAF,
        net=None,
        profile=None,
        extra=(
            xb.encoded(
                x509.CertificatePolicies(
                    [x509.PolicyInformation(x509.ObjectIdentifier(NET_POLICY[Net.EXTRA]), ["https://cps.example"])]
                ),
                xb.CRITICAL,
            ),
        ),
    ),
    "no extension of ours": replace(xb.LEAF, net=None, profile=None, uris=(), organ=None),
    "common name of 64": replace(xb.LEAF, common_name="x" * 64),
}


@pytest.mark.parametrize("template", ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(template: xb.Template) -> None:
    found = load_certificate(made(template))
    assert found.not_after == template.not_after
    assert found.public_key == KEY.public_key


# --- refused neighbours

P256_SPKI = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
)
ECDSA = der.sequence(der.oid("1.2.840.10045.4.3.2"))
SM3_RSA = der.sequence(der.oid("1.2.156.10197.1.504"), der.NULL_TLV)
ALGORITHM = der.sequence(der.oid(sm2.OID_EC_PUBLIC_KEY), der.oid(sm2.OID_SM2))
POINT = KEY.public_key.point


def spki(point: bytes) -> bytes:
    return der.sequence(ALGORITHM, der.bit_string(point))


def raw_name(oid: str, tag: int, value: bytes) -> bytes:
    return der.sequence(der.tlv(der.SET, der.sequence(der.oid(oid), der.tlv(tag, value))))


BASIC = "2.5.29.19"
SAN = "2.5.29.17"
POLICIES = "2.5.29.32"
BAD: dict[str, tuple[xb.Template, Reason, str]] = {
    "v1": (replace(xb.LEAF, version=b""), Reason.E_DER, "version"),
    "v2": (replace(xb.LEAF, version=der.tlv(der.context(0), der.integer(1))), Reason.E_DER, "version"),
    "v4": (replace(xb.LEAF, version=der.tlv(der.context(0), der.integer(3))), Reason.E_DER, "version"),
    "serial 0": (replace(xb.LEAF, serial=der.integer(0)), Reason.E_DER, "serialNumber"),
    "serial negative": (replace(xb.LEAF, serial=b"\x02\x01\x80"), Reason.E_DER, "serialNumber"),
    "serial not minimal": (replace(xb.LEAF, serial=b"\x02\x02\x00\x01"), Reason.E_DER, "serialNumber"),
    "serial of 21 octets": (replace(xb.LEAF, serial=der.integer(1 << 159)), Reason.E_DER, "serialNumber"),
    "signed ECDSA-SHA256": (
        replace(xb.LEAF, inner_algorithm=ECDSA, outer_algorithm=ECDSA),
        Reason.E_TLS_SIGNATURE,
        "1.2.840.10045.4.3.2",
    ),
    "signed RSA-SM3": (replace(xb.LEAF, outer_algorithm=SM3_RSA), Reason.E_TLS_SIGNATURE, "10197.1.504"),
    "inner algorithm differs": (replace(xb.LEAF, inner_algorithm=ECDSA), Reason.E_TLS_SIGNATURE, "TBSCertificate"),
    "CE-02 parameters of another kind": (
        replace(
            xb.LEAF,
            outer_algorithm=der.sequence(der.oid("1.2.156.10197.1.501"), der.octet_string(b"")),
        ),
        Reason.E_DER,
        "absent or NULL",
    ),
    "ends before it begins": (
        replace(xb.LEAF, not_after=xb.NOT_BEFORE - timedelta(seconds=1)),
        Reason.E_DER,
        "notAfter",
    ),
    "CE-01 P-256 key": (replace(xb.LEAF, spki=P256_SPKI), Reason.E_KEY, "the curve is"),
    "CE-01 compressed point": (replace(xb.LEAF, spki=spki(b"\x02" + POINT[1:33])), Reason.E_KEY, "compressed"),
    "CR-10 point off the curve": (
        replace(xb.LEAF, spki=spki(POINT[:-1] + bytes((POINT[-1] ^ 1,)))),
        Reason.E_KEY,
        "not on the SM2 curve",
    ),
    "CR-10 infinity": (replace(xb.LEAF, spki=spki(b"\x00")), Reason.E_KEY, "infinity"),
    "country of three letters": (
        replace(xb.LEAF, subject=raw_name("2.5.4.6", der.PRINTABLE_STRING, b"CHN")),
        Reason.E_DER,
        "",
    ),
    "common name of 65": (
        replace(xb.LEAF, subject=raw_name("2.5.4.3", der.UTF8_STRING, b"x" * 65)),
        Reason.E_DER,
        "",
    ),
    "common name not UTF-8": (
        replace(xb.LEAF, subject=raw_name("2.5.4.3", der.UTF8_STRING, b"\xff\xfe")),
        Reason.E_DER,
        "certificate",
    ),
    "extension twice": (
        replace(xb.LEAF, extra=(xb.key_usage("digital_signature"),)),
        Reason.E_DER,
        "2.5.29.15",
    ),
    "critical and unknown": (
        replace(xb.LEAF, extra=(xb.extension("1.2.3.4", b"", xb.CRITICAL),)),
        Reason.E_DER,
        "1.2.3.4: is critical",
    ),
    "critical name constraints": (
        replace(
            xb.LEAF,
            extra=(xb.encoded(x509.NameConstraints([x509.UniformResourceIdentifier("extra")], None), xb.CRITICAL),),
        ),
        Reason.E_DER,
        "2.5.29.30: is critical",
    ),
    "critical is written FALSE": (
        replace(xb.LEAF, extra=(xb.extension("1.2.3.4", b"", b"\x01\x01\x00"),)),
        Reason.E_DER,
        "certificate",
    ),
    "basicConstraints garbage": (
        replace(xb.LEAF, extra=(xb.extension(BASIC, b"\x30\x01", xb.CRITICAL),)),
        Reason.E_DER,
        "certificate",
    ),
    "SAN empty": (replace(xb.LEAF, uris=(), extra=(xb.extension(SAN, b"\x30\x00"),)), Reason.E_DER, "certificate"),
    "SAN with EDI party": (
        replace(xb.LEAF, uris=(), extra=(xb.extension(SAN, b"\x30\x04\xa5\x02\x81\x00"),)),
        Reason.E_DER,
        "certificate",
    ),
    "two nets": (
        replace(xb.LEAF, net=None, profile=None, extra=(xb.policies(*NET_POLICY.values()),)),
        Reason.E_DER,
        "2 policies of kind net",
    ),
    "two profiles": (
        replace(
            xb.LEAF,
            net=None,
            profile=None,
            extra=(xb.policies(PROFILE_POLICY[Profile.SYSTEM], PROFILE_POLICY[Profile.GATEWAY]),),
        ),
        Reason.E_DER,
        "2 policies of kind profile",
    ),
    "one policy twice": (
        replace(xb.LEAF, net=None, profile=None, extra=(xb.policies(NET_POLICY[Net.EXTRA], NET_POLICY[Net.EXTRA]),)),
        Reason.E_DER,
        "",
    ),
    "identity of no net": (
        replace(xb.LEAF, uris=(f"spiffe://other/{xb.ORGAN}/x",)),
        Reason.E_IDENTITY,
        "the net is",
    ),
    "identity with a bad check digit": (
        replace(xb.LEAF, uris=("spiffe://extra/111000009900000173/x",), organ=None),
        Reason.E_IDENTITY,
        "GB 32100",
    ),
    "identity scheme in capitals": (
        replace(xb.LEAF, uris=(f"SPIFFE://extra/{xb.ORGAN}/x",)),
        Reason.E_IDENTITY,
        "spiffe://",
    ),
    "two identities": (replace(xb.LEAF, uris=(URI, URI + "2")), Reason.E_IDENTITY, "names 2 identities"),
    "organ differs from the URI's": (
        replace(xb.LEAF, organ="11100000990000025W"),
        Reason.E_IDENTITY,
        "the USCC extension 11100000990000025W",
    ),
    "USCC with a bad check digit": (
        replace(xb.LEAF, uris=(), organ="111000009900000173"),
        Reason.E_IDENTITY,
        "GB 32100",
    ),
    "USCC not ASCII": (
        replace(xb.LEAF, organ=None, extra=(xb.extension(OID_USCC, der.tlv(der.UTF8_STRING, b"\xff")),)),
        Reason.E_IDENTITY,
        "USCC",
    ),
    "USCC as an integer": (
        replace(xb.LEAF, organ=None, extra=(xb.extension(OID_USCC, der.integer(1)),)),
        Reason.E_DER,
        "PrintableString",
    ),
    "USCC with trailing bytes": (
        replace(xb.LEAF, organ=None, extra=(xb.extension(OID_USCC, PRINTABLE + b"\x00"),)),
        Reason.E_DER,
        "left over",
    ),
}


@pytest.mark.req("CE-01", "CE-02", "CE-03")
@pytest.mark.parametrize(("template", "reason", "words"), BAD.values(), ids=BAD)
def test_refused(template: xb.Template, reason: Reason, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        load_certificate(made(template))
    assert caught.value.reason is reason, caught.value
    assert words in caught.value.detail


def rebuilt(*extra_after_spki: bytes, extensions: bytes | None = None) -> bytes:
    """Return a certificate whose body is written by hand from the subject's key on."""
    body = der.sequence(
        xb.LEAF.version,
        xb.LEAF.serial,
        xb.SM2_WITH_SM3,
        ISSUER,
        der.sequence(xb.time(xb.NOT_BEFORE), xb.time(xb.NOT_AFTER)),
        xb.name("leaf"),
        KEY.public_key.spki,
        *extra_after_spki,
        b"" if extensions is None else der.tlv(der.context(3), extensions),
    )
    return der.sequence(body, xb.SM2_WITH_SM3, der.bit_string(ISSUER_KEY.sign(body, signer_id=sm2.CERT_ID)))


BAD_BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "0 bytes"),
    "larger than 64 KiB": (bytes(CERTIFICATE_LIMIT_BYTES + 1), "65537 bytes"),
    "trailing byte": (GOOD + b"\x00", "left over"),
    "cut off": (GOOD[:-1], "bytes left"),
    "not a certificate": (der.sequence(der.integer(1)), "certificate"),
    "no signature": (der.sequence(der.sequence(), xb.SM2_WITH_SM3), "signatureValue"),
    "unique identifier": (
        rebuilt(der.tlv(der.context_primitive(1), b"\x00\x01"), extensions=der.sequence()),
        "unique identifier",
    ),
    "no extensions": (rebuilt(), "extensions"),
    "empty extensions": (rebuilt(extensions=der.sequence()), "certificate"),
    "field after the extensions": (
        rebuilt(der.tlv(der.context(3), der.sequence()), extensions=der.sequence()),
        "left over",
    ),
    "PEM of another label": (pem.encode("X509 CRL", GOOD), "0 PEM blocks"),
    "PEM with two": (pem.encode("CERTIFICATE", GOOD) * 2, "2 certificates"),
    "PEM broken": (pem.encode("CERTIFICATE", GOOD)[:-20], "no proper body"),
}


@pytest.mark.parametrize(("source", "words"), BAD_BYTES.values(), ids=BAD_BYTES)
def test_bytes_refused(source: bytes, words: str) -> None:
    with pytest.raises(ZoneGateError) as caught:
        load_certificate(source)
    assert caught.value.reason is Reason.E_DER
    assert words in caught.value.detail


TIMES = {
    "UTCTime without seconds": der.tlv(der.UTC_TIME, b"2901010000Z"),
    "UTCTime with a zone": der.tlv(der.UTC_TIME, b"290101000000+0800"),
    "UTCTime of the 31st of April": der.tlv(der.UTC_TIME, b"290431000000Z"),
    "GeneralizedTime with fractions": der.tlv(der.GENERALIZED_TIME, b"20290101000000.5Z"),
    "GeneralizedTime of 12 digits": der.tlv(der.GENERALIZED_TIME, b"290101000000Z"),
    "a number": der.integer(29),
    "leap second": der.tlv(der.UTC_TIME, b"281231235960Z"),
}


@pytest.mark.parametrize("encoding", TIMES.values(), ids=TIMES)
def test_times_refused(encoding: bytes) -> None:
    good = xb.time(xb.NOT_BEFORE)
    wrong = encoding.ljust(len(good))
    if len(encoding) != len(good):
        body = GOOD.replace(good, encoding)
        assert value_or_refusal(load_certificate, body, Reason.E_DER) is None
        return
    assert value_or_refusal(load_certificate, GOOD.replace(good, wrong), Reason.E_DER) is None


def test_utc_time_of_the_last_century() -> None:
    early = replace(xb.LEAF, not_before=datetime(1950, 1, 1, tzinfo=UTC))
    assert load_certificate(made(early)).not_before.year == 1950
    late = replace(xb.LEAF, not_after=datetime(2049, 12, 31, tzinfo=UTC))
    assert load_certificate(made(late)).not_after.year == 2049


@pytest.mark.req("CE-01", "TL-02")
@pytest.mark.parametrize("kind", ["RSA", "P-256"])
def test_certificates_of_other_algorithms(kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name.from_rfc4514_string("CN=other")
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 1, xb.NOT_BEFORE, xb.NOT_AFTER)
    source = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(ZoneGateError) as caught:
        load_certificate(source)
    assert caught.value.reason is Reason.E_TLS_SIGNATURE


# --- several in one text


def test_a_chain_file() -> None:
    other = made(replace(xb.LEAF, common_name="other"))
    text = b"leaf:\n" + pem.encode("CERTIFICATE", GOOD) + b"\nthen\n" + pem.encode("CERTIFICATE", other)
    assert [each.der for each in load_certificates(text)] == [GOOD, other]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "0 PEM blocks"),
        (pem.encode("CERTIFICATE", b"\x30\x00") * (FILE_LIMIT_CERTIFICATES + 1), "65 PEM blocks"),
        (bytes(FILE_LIMIT_BYTES + 1), "at most"),
    ],
    ids=["empty", "65", "larger than 1 MiB"],
)
def test_chain_files_refused(text: bytes, words: str) -> None:
    with pytest.raises(ZoneGateError, match=words) as caught:
        load_certificates(text)
    assert caught.value.reason is Reason.E_DER


# --- any bytes


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_any_bytes_are_a_certificate_or_refused(source: bytes) -> None:
    for each in (source, der.sequence(source), pem.encode("CERTIFICATE", source)):
        value_or_refusal(load_certificate, each, *REFUSED)


@given(at=st.integers(0, len(GOOD) - 1), octet=st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_a_changed_byte_gives_another_certificate_or_a_refusal(at: int, octet: int) -> None:
    source = bytearray(GOOD)
    source[at] = octet
    found = value_or_refusal(load_certificate, bytes(source), *REFUSED)
    assert found is None or found.der == source


@given(at=st.integers(0, len(GOOD) - 1), piece=st.binary(min_size=1, max_size=12), drop=st.integers(0, 12))
@settings(max_examples=200, deadline=None)
def test_a_changed_piece_gives_another_certificate_or_a_refusal(at: int, piece: bytes, drop: int) -> None:
    value_or_refusal(load_certificate, GOOD[:at] + piece + GOOD[at + drop :], *REFUSED)
