"""SignedData of RFC 5652 with one SM2-with-SM3 signer over signed attributes: built and read in strict DER. [d]

The shape that RFC 3161 fixes for time stamp tokens. Signed attributes are content type, message digest, signing time
(may be absent) and signingCertificateV2 (RFC 5035) with SM3, which binds the very certificate. Whether that
certificate may sign what it signed is its user's question (`timestamp`).
"""

from dataclasses import dataclass
from datetime import datetime

from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm2, sm3
from zonegate.pki import oids
from zonegate.pki.certificate import Certificate, load_certificate, read_time
from zonegate.reasons import Reason

LIMIT_BYTES = 1 << 16
_LIMIT_CERTIFICATES = 8
_VERSION = 3  # RFC 5652 5.1: the content is not id-data.
_SM3 = der.sequence(der.oid(oids.OID_SM3))
_SM3_NULL = der.sequence(der.oid(oids.OID_SM3), der.NULL_TLV)
_SM2_WITH_SM3 = der.sequence(der.oid(oids.OID_SM2_WITH_SM3))
# GM/T 0010 names the same signature by the algorithm of the key; read, never written.
_SIGNATURES = (
    _SM2_WITH_SM3,
    der.sequence(der.oid(oids.OID_SM2_WITH_SM3), der.NULL_TLV),
    der.sequence(der.oid(oids.OID_SM2_SIGNATURE)),
    der.sequence(der.oid(oids.OID_SM2_SIGNATURE), der.NULL_TLV),
)


@dataclass(frozen=True, slots=True)
class SignedData:
    """A parsed message. Unverified: `verify` says whether one of its certificates has signed it."""

    content_type: str
    content: bytes
    certificates: tuple[Certificate, ...]
    issuer_der: bytes
    serial: int
    signed_attributes: bytes
    message_digest: bytes
    certificate_digest: bytes
    signing_time: datetime | None
    signature: bytes

    def signer(self, more: tuple[Certificate, ...] = ()) -> Certificate:
        """Return the certificate that the message binds, from the message or from `more`."""
        for certificate in (*self.certificates, *more):
            if (certificate.issuer_der, certificate.serial) == (self.issuer_der, self.serial):
                if sm3.digest(certificate.der) != self.certificate_digest:
                    raise _refused("signingCertificateV2: binds another certificate than the signer's")
                return certificate
        raise _refused("signer: its certificate is neither in the message nor at hand")

    def verify(self, signer: Certificate) -> None:
        """Return if `signer` has signed the content; otherwise `E_SIGNATURE`."""
        if sm3.digest(self.content) != self.message_digest:
            raise _refused("messageDigest: is not that of the content")
        signer.public_key.verify(self.signature, self.signed_attributes, signer_id=sm2.CERT_ID)


def signed_attributes(
    content_type: str, content: bytes, signer: Certificate, *, signing_time: datetime | None = None
) -> bytes:
    """Return the DER SET OF attributes, which is what the signature covers (RFC 5652 5.4)."""
    bound = der.sequence(
        der.sequence(der.sequence(_SM3, der.octet_string(sm3.digest(signer.der)), _issuer_serial(signer)))
    )
    attributes = [
        _attribute(oids.OID_CONTENT_TYPE, der.oid(content_type)),
        _attribute(oids.OID_MESSAGE_DIGEST, der.octet_string(sm3.digest(content))),
        _attribute(oids.OID_SIGNING_CERTIFICATE_V2, bound),
    ]
    if signing_time is not None:
        text = signing_time.strftime("%y%m%d%H%M%SZ" if signing_time.year < 2050 else "%Y%m%d%H%M%SZ")
        tag = der.UTC_TIME if signing_time.year < 2050 else der.GENERALIZED_TIME
        attributes.append(_attribute(oids.OID_SIGNING_TIME, der.tlv(tag, text.encode())))
    return der.tlv(der.SET, b"".join(sorted(attributes)))


def encode(
    content_type: str,
    content: bytes,
    attributes: bytes,
    signature: bytes,
    signer: Certificate,
    *,
    chain: tuple[Certificate, ...],
) -> bytes:
    """Return the ContentInfo; `chain` are the certificates to send along, perhaps none."""
    certificates = b""
    if chain:
        certificates = der.tlv(der.context(0), b"".join(sorted(certificate.der for certificate in chain)))
    info = der.sequence(
        der.integer(1),
        der.sequence(signer.issuer_der, der.integer(signer.serial)),
        _SM3,
        bytes((der.context(0),)) + attributes[1:],
        _SM2_WITH_SM3,
        der.octet_string(signature),
    )
    data = der.sequence(
        der.integer(_VERSION),
        der.tlv(der.SET, _SM3),
        der.sequence(der.oid(content_type), der.tlv(der.context(0), der.octet_string(content))),
        certificates,
        der.tlv(der.SET, info),
    )
    return der.sequence(der.oid(oids.OID_SIGNED_DATA), der.tlv(der.context(0), data))


def _attribute(oid: str, value: bytes) -> bytes:
    return der.sequence(der.oid(oid), der.tlv(der.SET, value))


def _issuer_serial(certificate: Certificate) -> bytes:
    # IssuerSerial ::= SEQUENCE { GeneralNames, CertificateSerialNumber }; a name is directoryName [4].
    names = der.sequence(der.tlv(der.context(4), certificate.issuer_der))
    return der.sequence(names, der.integer(certificate.serial))


# --- reading


def parse(source: bytes) -> SignedData:
    """Return the message in `source`; `E_DER` names the field that is wrong."""
    if not 0 < len(source) <= LIMIT_BYTES:
        raise _refused(f"is {len(source)} bytes, 1 to {LIMIT_BYTES} are allowed")
    try:
        return _read(source)
    except ValueError as exc:
        raise _refused(str(exc)) from exc


def _read(source: bytes) -> SignedData:
    outer = der.Reader(source)
    info = outer.sequence("ContentInfo")
    outer.end("ContentInfo")
    if (found := info.oid("contentType")) != oids.OID_SIGNED_DATA:
        msg = f"contentType: is {found}, only SignedData is accepted"
        raise der.DerError(msg)
    holder = info.enter(der.context(0), "content")
    info.end("ContentInfo")
    data = holder.sequence("SignedData")
    holder.end("content")
    if data.integer("version") != _VERSION:
        msg = f"version: must be {_VERSION}"
        raise der.DerError(msg)
    algorithms = data.enter(der.SET, "digestAlgorithms")
    _check(algorithms.tlv(), (_SM3, _SM3_NULL), "digestAlgorithms")
    algorithms.end("digestAlgorithms")
    content_type, content = _read_content(data.sequence("encapContentInfo"))
    certificates: list[Certificate] = []
    if data.peek() == der.context(0):
        chain = data.enter(der.context(0), "certificates")
        while not chain.at_end():
            if len(certificates) == _LIMIT_CERTIFICATES:
                msg = f"certificates: more than {_LIMIT_CERTIFICATES}"
                raise der.DerError(msg)
            certificates.append(load_certificate(chain.tlv()))
    infos = data.enter(der.SET, "signerInfos")
    data.end("SignedData")
    signer = infos.sequence("SignerInfo")
    infos.end("signerInfos: exactly one signer is allowed")
    return _read_signer(signer, content_type, content, tuple(certificates))


def _read_content(body: der.Reader) -> tuple[str, bytes]:
    content_type = body.oid("eContentType")
    holder = body.enter(der.context(0), "eContent")
    body.end("encapContentInfo")
    content = holder.read(der.OCTET_STRING, "eContent")
    holder.end("eContent")
    return content_type, content


def _read_signer(
    signer: der.Reader, content_type: str, content: bytes, certificates: tuple[Certificate, ...]
) -> SignedData:
    if signer.integer("SignerInfo.version") != 1:
        msg = "SignerInfo.version: must be 1 (issuer and serial)"
        raise der.DerError(msg)
    named = signer.sequence("issuerAndSerialNumber")
    issuer, serial = named.tlv(), named.integer("serialNumber")
    named.end("issuerAndSerialNumber")
    _check(signer.tlv(), (_SM3, _SM3_NULL), "digestAlgorithm")
    if signer.peek() != der.context(0):
        msg = "signedAttrs: are missing"
        raise der.DerError(msg)
    # RFC 5652 5.4: the signature covers them under the tag of a SET.
    attributes = bytes((der.SET,)) + signer.tlv()[1:]
    found = _read_attributes(attributes)
    _check(signer.tlv(), _SIGNATURES, "signatureAlgorithm")
    signature = signer.read(der.OCTET_STRING, "signature")
    signer.end("SignerInfo")
    if der.Reader(_needed(found, oids.OID_CONTENT_TYPE)).oid("contentType") != content_type:
        msg = "contentType attribute: is not that of the content"
        raise der.DerError(msg)
    signing_time = None
    if oids.OID_SIGNING_TIME in found:
        signing_time = read_time(der.Reader(found[oids.OID_SIGNING_TIME]), "signingTime")
    return SignedData(
        content_type=content_type,
        content=content,
        certificates=certificates,
        issuer_der=issuer,
        serial=serial,
        signed_attributes=attributes,
        message_digest=der.Reader(_needed(found, oids.OID_MESSAGE_DIGEST)).read(der.OCTET_STRING, "messageDigest"),
        certificate_digest=_read_bound(_needed(found, oids.OID_SIGNING_CERTIFICATE_V2)),
        signing_time=signing_time,
        signature=signature,
    )


def _read_attributes(attributes: bytes) -> dict[str, bytes]:
    body = der.Reader(attributes).enter(der.SET, "signedAttrs")
    found: dict[str, bytes] = {}
    last = b""
    while not body.at_end():
        encoded = body.tlv()
        if encoded <= last:
            msg = "signedAttrs: are not a SET in DER order"
            raise der.DerError(msg)
        last = encoded
        attribute = der.Reader(encoded).sequence("Attribute")
        name = attribute.oid("attrType")
        values = attribute.enter(der.SET, "attrValues")
        attribute.end("Attribute")
        value = values.tlv()
        values.end(f"attribute {name}: exactly one value is allowed")
        if name in found:
            msg = f"attribute {name}: stands there twice"
            raise der.DerError(msg)
        found[name] = value
    return found


def _needed(found: dict[str, bytes], oid: str) -> bytes:
    if oid not in found:
        msg = f"signedAttrs: attribute {oid} is missing"
        raise der.DerError(msg)
    return found[oid]


def _read_bound(value: bytes) -> bytes:
    body = der.Reader(value).sequence("SigningCertificateV2")
    certs = body.sequence("certs")
    first = certs.sequence("ESSCertIDv2")
    # The default is SHA-256, which is then absent; only SM3 is taken here.
    if first.peek() != der.SEQUENCE:
        msg = "ESSCertIDv2: the hash must be SM3"
        raise der.DerError(msg)
    _check(first.tlv(), (_SM3, _SM3_NULL), "ESSCertIDv2.hashAlgorithm")
    return first.read(der.OCTET_STRING, "certHash")


def _check(found: bytes, allowed: tuple[bytes, ...], what: str) -> None:
    if found not in allowed:
        msg = f"{what}: is none of the SM algorithms that are accepted here"
        raise der.DerError(msg)


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_DER, f"SignedData: {detail}")
