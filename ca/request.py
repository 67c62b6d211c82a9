"""Reads a PKCS#10 request, checks its proof of possession (CA-03) and whether it fits a profile. Pure: bytes in.

A request says who asks (subject name, one URI identity) and shows that the asker holds the private key. It may name
extensions only to repeat what the profile gives anyway; the certificate's extensions come from `template`, never
from here. Whether the key has a certificate already is the ledger's question.
"""

from dataclasses import dataclass
from typing import NoReturn

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from zonegate.ca import asn1
from zonegate.ca.names import SubjectName, parse_name
from zonegate.ca.profile import ProfileRules
from zonegate.ca.usage import key_usage_names
from zonegate.ca.weakkeys import check_key_strength
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.identity import Identity, Net, parse_identity
from zonegate.pki import oids
from zonegate.reasons import Reason

REQUEST_MAX_BYTES = 16 * 1024
_PEM_START = b"-----BEGIN "
_PEM_LABELS = (b"-----BEGIN CERTIFICATE REQUEST-----", b"-----BEGIN NEW CERTIFICATE REQUEST-----")
_EXTENSION_REQUEST = "1.2.840.113549.1.9.14"


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """A well-formed request whose signature proves possession of the key; not yet held against a profile."""

    der: bytes
    subject: SubjectName
    public_key: sm2.PublicKey
    identity: Identity
    key_usage: frozenset[str] | None
    organ: str | None


def parse_request(data: bytes) -> CertificateRequest:
    """Return the request in `data`, PEM or DER; every refusal is E_CSR or E_KEY and names the field."""
    if len(data) > REQUEST_MAX_BYTES:
        _refuse("request", f"is longer than {REQUEST_MAX_BYTES} bytes")
    request = _load(data)
    der = request.public_bytes(Encoding.DER)
    try:
        outer = asn1.decode_signed(der)
        info = asn1.decode_request_info(outer.body)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CSR, f"request: is not strict DER of PKCS#10: {exc}") from exc
    public_key = _public_key(info.spki)
    _check_possession(public_key, outer)
    check_key_strength(public_key)
    try:
        subject = parse_name(info.subject)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CSR, f"subject.{exc}") from exc
    foreign = next((oid for oid in info.attributes if oid != _EXTENSION_REQUEST), None)
    if foreign is not None:
        _refuse("attributes", f"{foreign} is not allowed, only extensionRequest is")
    # Of two, one program reads the first and another the last: what was reviewed need not be what is issued.
    if len(info.attributes) > 1:
        _refuse("attributes", f"extensionRequest stands there {len(info.attributes)} times, once is allowed")
    return _with_extensions(der, subject, public_key, request)


def check_request(request: CertificateRequest, rules: ProfileRules, *, net: Net) -> None:
    """Refuse, with E_PROFILE, a request that `rules` does not allow or that belongs to the other net."""
    name = rules.profile.value
    if rules.is_ca:
        _misfit("profile", f"{name} is not issued on a request; a CA makes its own CA certificates")
    if rules.encrypts:
        _misfit("profile", f"{name} is not issued on a request; the key centre makes the key (CA-04)")
    if request.identity.net is not net:
        _misfit("subjectAltName", f"the net is {request.identity.net.value}, this CA serves {net.value}")
    if request.key_usage is not None and request.key_usage != rules.key_usage:
        found = ", ".join(sorted(request.key_usage)) or "nothing"
        _misfit("keyUsage", f"asks for {found}, profile {name} gives {', '.join(sorted(rules.key_usage))}")
    if request.organ is not None and request.organ != request.identity.organ:
        _misfit("organizationCode", f"is {request.organ}, the URI names {request.identity.organ}")


def _refuse(field: str, problem: str) -> NoReturn:
    raise ZoneGateError(Reason.E_CSR, f"{field}: {problem}")


def _misfit(field: str, problem: str) -> NoReturn:
    raise ZoneGateError(Reason.E_PROFILE, f"{field}: {problem}")


def _load(data: bytes) -> x509.CertificateSigningRequest:
    try:
        if not data.lstrip().startswith(_PEM_START):
            return x509.load_der_x509_csr(data)
        if not data.lstrip().startswith(_PEM_LABELS) or data.count(_PEM_START) != 1:
            _refuse("request", "the PEM is not exactly one CERTIFICATE REQUEST")
        return x509.load_pem_x509_csr(data)
    except (ValueError, x509.InvalidVersion) as exc:
        raise ZoneGateError(Reason.E_CSR, "request: is not a PKCS#10 request in PEM or DER") from exc


def _public_key(spki: bytes) -> sm2.PublicKey:
    try:
        return sm2.PublicKey.from_spki(spki)
    except (ZoneGateError, ValueError) as exc:
        detail = exc.detail if isinstance(exc, ZoneGateError) else str(exc)
        raise ZoneGateError(Reason.E_KEY, f"publicKey: {detail}") from exc


def _check_possession(public_key: sm2.PublicKey, outer: asn1.SignedObject) -> None:
    if outer.algorithm != asn1.SM2_WITH_SM3.dotted_string:
        _refuse("signatureAlgorithm", f"is {outer.algorithm}, allowed is SM2-with-SM3 1.2.156.10197.1.501")
    try:
        public_key.verify(outer.signature, outer.body, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        # The commonest mistakes of other tools are told apart: OpenSSL 3 signs with an empty id by default (CR-08).
        for signer_id, meaning in ((b"", "an empty signer id"), (sm2.TLS_ID, "the signer id of TLS")):
            if _verifies(public_key, outer, signer_id):
                _refuse("signature", f"was made with {meaning}, allowed is {sm2.CERT_ID.decode()} (CR-06)")
        raise ZoneGateError(Reason.E_CSR, f"signature: does not prove possession of the key: {exc.detail}") from exc


def _verifies(public_key: sm2.PublicKey, outer: asn1.SignedObject, signer_id: bytes) -> bool:
    try:
        public_key.verify(outer.signature, outer.body, signer_id=signer_id)
    except ZoneGateError:
        return False
    return True


def _with_extensions(
    der: bytes, subject: SubjectName, public_key: sm2.PublicKey, request: x509.CertificateSigningRequest
) -> CertificateRequest:
    identity: Identity | None = None
    key_usage: frozenset[str] | None = None
    organ: str | None = None
    for extension in _extensions(request):
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            identity = _identity(value)
        elif isinstance(value, x509.KeyUsage):
            key_usage = key_usage_names(value)
        elif extension.oid.dotted_string == oids.OID_USCC and isinstance(value, x509.UnrecognizedExtension):
            organ = _organ(value.value)
        else:
            _refuse("extensions", f"{_extension_name(extension.oid)} may not be requested, the profile decides it")
    if identity is None:
        _refuse("subjectAltName", "is missing, one URI spiffe://<net>/<USCC>/<system> is needed")
    return CertificateRequest(der, subject, public_key, identity, key_usage, organ)


def _extensions(request: x509.CertificateSigningRequest) -> tuple[x509.Extension[x509.ExtensionType], ...]:
    try:
        return tuple(request.extensions)
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as exc:
        raise ZoneGateError(Reason.E_CSR, f"extensions: cannot be read: {exc}") from exc


def _identity(value: x509.SubjectAlternativeName) -> Identity:
    names = list(value)
    if len(names) != 1 or not isinstance(names[0], x509.UniformResourceIdentifier):
        kinds = ", ".join(type(name).__name__ for name in names) or "nothing"
        _refuse("subjectAltName", f"holds {kinds[:120]}, exactly one URI is allowed")
    try:
        return parse_identity(names[0].value)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CSR, f"subjectAltName: {exc}") from exc


def _organ(der: bytes) -> str:
    try:
        return asn1.decode_printable(der)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CSR, "organizationCode: is not a PrintableString") from exc


def _extension_name(oid: x509.ObjectIdentifier) -> str:
    known = {value: name for name, value in vars(ExtensionOID).items() if isinstance(value, x509.ObjectIdentifier)}
    return f"{known[oid].lower()} ({oid.dotted_string})" if oid in known else oid.dotted_string
