"""The ASN.1 structures that the CA signs: TBSCertificate, TBSCertList, CertificationRequestInfo and their envelopes.

The only module of the CA that knows `cryptography.hazmat.asn1`, whose interface its authors call unstable; the rest
sees bytes. Extensions and names come in as DER of `cryptography.x509`. It decides nothing about their contents.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1

SM2_WITH_SM3 = x509.ObjectIdentifier("1.2.156.10197.1.501")
# RFC 5280 4.1.2.5: UTCTime through the year 2049, GeneralizedTime from 2050.
_FIRST_GENERALIZED_YEAR = 2050
_SEQUENCE = 0x30
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")


@asn1.sequence
class _Algorithm:
    # CE-02: no `parameters` member, so that they are emitted absent.
    algorithm: x509.ObjectIdentifier


@asn1.sequence
class _Validity:
    not_before: asn1.UTCTime | asn1.GeneralizedTime
    not_after: asn1.UTCTime | asn1.GeneralizedTime


@asn1.sequence
class _Extension:
    oid: x509.ObjectIdentifier
    critical: Annotated[bool, asn1.Default(value=False)]
    value: bytes


@asn1.sequence
class _TbsCertificate:
    version: Annotated[int, asn1.Explicit(0)]
    serial: int
    signature: _Algorithm
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[list[_Extension], asn1.Explicit(3)]


@asn1.sequence
class _RevokedEntry:
    serial: int
    at: asn1.UTCTime | asn1.GeneralizedTime
    extensions: list[_Extension] | None


@asn1.sequence
class _TbsCertList:
    version: int
    signature: _Algorithm
    issuer: asn1.TLV
    this_update: asn1.UTCTime | asn1.GeneralizedTime
    next_update: asn1.UTCTime | asn1.GeneralizedTime
    revoked: list[_RevokedEntry] | None
    extensions: Annotated[list[_Extension], asn1.Explicit(0)]


@asn1.sequence
class _ExtensionRequest:
    oid: x509.ObjectIdentifier
    values: asn1.SetOf[list[_Extension]]


@asn1.sequence
class _RequestInfo:
    version: int
    subject: asn1.TLV
    public_key: asn1.TLV
    attributes: Annotated[asn1.SetOf[_ExtensionRequest], asn1.Implicit(0)]


@asn1.sequence
class _Attribute:
    oid: x509.ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class _AnyRequestInfo:
    version: int
    subject: asn1.TLV
    public_key: asn1.TLV
    attributes: Annotated[asn1.SetOf[_Attribute] | None, asn1.Implicit(0)]


@asn1.sequence
class _SignedObject:
    body: asn1.TLV
    algorithm: asn1.TLV
    signature: asn1.BitString


@asn1.sequence
class _AnyAlgorithm:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _ReadTbsCertificate:
    # RFC 5280 4.1 without the unique identifiers of v2, which nothing here may carry.
    version: Annotated[int, asn1.Explicit(0), asn1.Default(0)]
    serial: int
    signature: _AnyAlgorithm
    issuer: asn1.TLV
    validity: _Validity
    subject: asn1.TLV
    public_key: asn1.TLV
    extensions: Annotated[list[_Extension] | None, asn1.Explicit(3)]


@asn1.sequence
class _NameAttribute:
    oid: x509.ObjectIdentifier
    value: asn1.TLV


@asn1.sequence
class _NameInside:
    # `decode_der` takes no bare SEQUENCE OF, so a name is read as the one member of a SEQUENCE.
    name: list[asn1.SetOf[_NameAttribute]]


@dataclass(frozen=True, slots=True)
class SignedObject:
    """The three members of a certificate, CRL or request; `parameters_absent` is CE-02's question."""

    body: bytes
    algorithm: str
    parameters_absent: bool
    signature: bytes


@dataclass(frozen=True, slots=True)
class NameAttribute:
    """One attribute of a name as it is encoded; `tag` is the ASN.1 tag of its string."""

    oid: str
    tag: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Extension:
    """One extension, its value as DER."""

    oid: str
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class RevokedEntry:
    """One line of a CRL."""

    serial: int
    at: datetime
    extensions: tuple[Extension, ...] = ()


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The members of a PKCS#10 CertificationRequestInfo; `attributes` are the OIDs, one an attribute."""

    subject: bytes
    spki: bytes
    attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TbsCertificate:
    """The members of a TBSCertificate as they are encoded; the times with the name of their ASN.1 type."""

    version: int
    serial: int
    algorithm: str
    parameters_absent: bool
    issuer: bytes
    not_before: tuple[str, datetime]
    not_after: tuple[str, datetime]
    subject: bytes
    spki: bytes
    extensions: tuple[Extension, ...]


def _time(when: datetime) -> asn1.UTCTime | asn1.GeneralizedTime:
    if when.microsecond:
        msg = "a certificate or CRL holds whole seconds (RFC 5280 4.1.2.5)"
        raise ValueError(msg)
    return asn1.UTCTime(when) if when.year < _FIRST_GENERALIZED_YEAR else asn1.GeneralizedTime(when)


def _tlv(der: bytes) -> asn1.TLV:
    return asn1.decode_der(asn1.TLV, der)


def _extensions(extensions: Sequence[Extension]) -> list[_Extension]:
    return [
        _Extension(oid=x509.ObjectIdentifier(item.oid), critical=item.critical, value=item.value) for item in extensions
    ]


def encode_tbs_certificate(
    *,
    serial: int,
    issuer: bytes,
    not_before: datetime,
    not_after: datetime,
    subject: bytes,
    spki: bytes,
    extensions: Sequence[Extension],
) -> bytes:
    """Return the DER of a v3 TBSCertificate to be signed with SM2-with-SM3."""
    tbs = _TbsCertificate(
        version=2,
        serial=serial,
        signature=_Algorithm(algorithm=SM2_WITH_SM3),
        issuer=_tlv(issuer),
        validity=_Validity(not_before=_time(not_before), not_after=_time(not_after)),
        subject=_tlv(subject),
        public_key=_tlv(spki),
        extensions=_extensions(extensions),
    )
    return asn1.encode_der(tbs)


def encode_tbs_crl(
    *,
    issuer: bytes,
    this_update: datetime,
    next_update: datetime,
    revoked: Sequence[RevokedEntry],
    extensions: Sequence[Extension],
) -> bytes:
    """Return the DER of a v2 TBSCertList; an empty list is omitted, as RFC 5280 5.1.2.6 demands."""
    entries = [
        _RevokedEntry(serial=entry.serial, at=_time(entry.at), extensions=_extensions(entry.extensions) or None)
        for entry in revoked
    ]
    tbs = _TbsCertList(
        version=1,
        signature=_Algorithm(algorithm=SM2_WITH_SM3),
        issuer=_tlv(issuer),
        this_update=_time(this_update),
        next_update=_time(next_update),
        revoked=entries or None,
        extensions=_extensions(extensions),
    )
    return asn1.encode_der(tbs)


def encode_request_info(*, subject: bytes, spki: bytes, extensions: Sequence[Extension]) -> bytes:
    """Return the DER of a PKCS#10 CertificationRequestInfo that asks for `extensions`."""
    attribute = _ExtensionRequest(oid=_EXTENSION_REQUEST, values=asn1.SetOf([_extensions(extensions)]))
    info = _RequestInfo(version=0, subject=_tlv(subject), public_key=_tlv(spki), attributes=asn1.SetOf([attribute]))
    return asn1.encode_der(info)


def encode_signed(body: bytes, signature: bytes) -> bytes:
    """Return SEQUENCE {body, SM2-with-SM3, signature}: a certificate, a CRL or a request."""
    algorithm = _tlv(asn1.encode_der(_Algorithm(algorithm=SM2_WITH_SM3)))
    signed = _SignedObject(body=_tlv(body), algorithm=algorithm, signature=asn1.BitString(signature, 0))
    return asn1.encode_der(signed)


def encode_name(attributes: Sequence[NameAttribute]) -> bytes:
    """Return the DER of a Name of single-valued RDNs, in the order given."""
    # Not by `cryptography.x509.Name`: it measures X.520's 64 characters in UTF-8 octets, 21 Chinese characters.
    rdns = [
        asn1.SetOf([_NameAttribute(oid=x509.ObjectIdentifier(item.oid), value=_tlv(_wrap(item.tag, item.value)))])
        for item in attributes
    ]
    return bytes(asn1.decode_der(asn1.TLV, asn1.encode_der(_NameInside(name=rdns))).data)


def decode_signed(der: bytes) -> SignedObject:
    """Return the three members of `der`; `ValueError` if it is not strict DER of that shape."""
    outer = asn1.decode_der(_SignedObject, der)
    algorithm = outer.algorithm.parse(_AnyAlgorithm)
    if outer.signature.padding_bits():
        msg = "the signature is not a whole number of octets"
        raise ValueError(msg)
    return SignedObject(
        body=asn1.encode_der(outer.body),
        algorithm=algorithm.algorithm.dotted_string,
        parameters_absent=algorithm.parameters is None,
        signature=outer.signature.as_bytes(),
    )


def decode_request_info(der: bytes) -> RequestInfo:
    """Return the members of the CertificationRequestInfo `der`; `ValueError` if it is not strict DER of version 0."""
    info = asn1.decode_der(_AnyRequestInfo, der)
    if info.version != 0:
        msg = f"version is {info.version}, allowed is 0"
        raise ValueError(msg)
    attributes = [] if info.attributes is None else info.attributes.as_list()
    return RequestInfo(
        subject=asn1.encode_der(info.subject),
        spki=asn1.encode_der(info.public_key),
        attributes=tuple(item.oid.dotted_string for item in attributes),
    )


def decode_tbs_certificate(der: bytes) -> TbsCertificate:
    """Return the members of the TBSCertificate `der`; `ValueError` if it is not strict DER of that shape."""
    tbs = asn1.decode_der(_ReadTbsCertificate, der)
    return TbsCertificate(
        version=tbs.version,
        serial=tbs.serial,
        algorithm=tbs.signature.algorithm.dotted_string,
        parameters_absent=tbs.signature.parameters is None,
        issuer=asn1.encode_der(tbs.issuer),
        not_before=_typed_time(tbs.validity.not_before),
        not_after=_typed_time(tbs.validity.not_after),
        subject=asn1.encode_der(tbs.subject),
        spki=asn1.encode_der(tbs.public_key),
        extensions=tuple(Extension(item.oid.dotted_string, item.critical, item.value) for item in tbs.extensions or ()),
    )


def _typed_time(time: asn1.UTCTime | asn1.GeneralizedTime) -> tuple[str, datetime]:
    return type(time).__name__, time.as_datetime().replace(tzinfo=UTC)


def decode_name(der: bytes) -> tuple[NameAttribute, ...]:
    """Return the attributes of the Name `der` in order; a multi-valued RDN is a `ValueError`."""
    attributes = []
    for rdn in asn1.decode_der(_NameInside, _wrap(_SEQUENCE, der)).name:
        members = rdn.as_list()
        if len(members) != 1:
            msg = f"a relative distinguished name has {len(members)} attributes, one is allowed"
            raise ValueError(msg)
        value = members[0].value
        attributes.append(NameAttribute(members[0].oid.dotted_string, value.tag_bytes[0], bytes(value.data)))
    return tuple(attributes)


def _wrap(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def encode_printable(text: str) -> bytes:
    """Return the DER of a PrintableString."""
    return asn1.encode_der(asn1.PrintableString(text))


def decode_printable(der: bytes) -> str:
    """Return the text of the PrintableString `der`."""
    return asn1.decode_der(asn1.PrintableString, der).as_str()
