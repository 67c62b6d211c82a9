"""Requests that differ from a good one in one place, put together by hand."""

from collections.abc import Sequence

from cryptography import x509

from support.pki import ORGAN
from zonegate.ca import asn1
from zonegate.ca.names import SubjectName
from zonegate.gm import der, sm2
from zonegate.gm.sm2 import PrivateKey

URI = f"spiffe://extra/{ORGAN}/population"
SUBJECT = SubjectName("测试单位", "population").der
SAN_OID = "2.5.29.17"


def extension(value: x509.ExtensionType) -> asn1.Extension:
    return asn1.Extension(value.oid.dotted_string, critical=False, value=value.public_bytes())


def san(*names: x509.GeneralName) -> asn1.Extension:
    return extension(x509.SubjectAlternativeName(names))


def uri_san(uri: str = URI) -> asn1.Extension:
    return san(x509.UniformResourceIdentifier(uri))


def make_csr(
    *,
    key: PrivateKey | None = None,
    subject: bytes = SUBJECT,
    extensions: Sequence[asn1.Extension] | None = None,
    signer_id: bytes = sm2.CERT_ID,
    signer: PrivateKey | None = None,
    info: bytes | None = None,
    spki: bytes | None = None,
) -> bytes:
    """Return the DER of a request; every default makes the good one."""
    key = key or PrivateKey.generate()
    body = info or asn1.encode_request_info(
        subject=subject,
        spki=spki or key.public_key.spki,
        extensions=(uri_san(),) if extensions is None else extensions,
    )
    return asn1.encode_signed(body, (signer or key).sign(body, signer_id=signer_id))


def request_info(
    key: PrivateKey, *, version: int = 0, attributes: bytes = b"", extensions: Sequence[asn1.Extension] | None = None
) -> bytes:
    """Return a CertificationRequestInfo with another version or with `attributes` (DER) before the usual one."""
    good = asn1.encode_request_info(
        subject=SUBJECT,
        spki=key.public_key.spki,
        extensions=(uri_san(),) if extensions is None else extensions,
    )
    body = der.Reader(good).sequence("info")
    body.tlv()
    subject, spki, holder = body.tlv(), body.tlv(), body.enter(der.context(0), "attributes")
    kept = b""
    while not holder.at_end():
        kept += holder.tlv()
    return der.sequence(der.integer(version), subject, spki, der.tlv(der.context(0), attributes + kept))
