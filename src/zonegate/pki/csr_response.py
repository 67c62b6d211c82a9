"""CSRResponse (GM/T 0092, standards.md C3.4): what a CA answers to a request with dual certificates [d].

Written: the signing certificate with its chain, `[0]` around the SM2EnvelopedKey, `[1]` in place of the SET's tag.
Read: either tagging of both, as other stacks differ. The match of keys and certificates is checked when one is built
and again when one is opened. Whether the certificates lead to a trusted root is `path`'s question.
"""

from dataclasses import dataclass

from zonegate.errors import ZoneGateError
from zonegate.gm import der, enveloped, pem, sm2
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.reasons import Reason

PEM_LABEL = "CSR RESPONSE"
RESPONSE_MAX_BYTES = 1 << 18
_CERTIFICATES_MAX = 8
_ENVELOPE = der.context(0)
_ENCRYPTION = der.context(1)
# CE-05: what each half of a pair may do, and what it may never do.
_SIGNS = frozenset({"digitalSignature", "nonRepudiation"})
_ENCRYPTS = frozenset({"keyEncipherment", "dataEncipherment", "keyAgreement"})


@dataclass(frozen=True, slots=True)
class CsrResponse:
    """Certificates as they came, and the envelope; `encryption` is empty and `envelope` None without a dual one."""

    signing: tuple[Certificate, ...]
    envelope: bytes | None
    encryption: tuple[Certificate, ...]

    def for_key(self, public_key: sm2.PublicKey) -> Certificate:
        """Return the signing certificate of `public_key`; `E_KEY` if there is none."""
        return _of_key(self.signing, public_key, "signCertificates")

    @property
    def encryption_leaf(self) -> Certificate | None:
        """The certificate of the enveloped key."""
        if self.envelope is None:
            return None
        return _of_key(self.encryption, enveloped.decode(self.envelope).public_key, "encryptCertificates")


@dataclass(frozen=True, slots=True)
class OpenedPair:
    """What a subscriber has after opening: both certificates and the encryption key, all matching."""

    signing: Certificate
    encryption: Certificate
    encryption_key: sm2.PrivateKey


def build(response: CsrResponse) -> bytes:
    """Return the DER of `response`, whose parts must match."""
    check(response)
    parts = [der.tlv(der.SET, _set_of(response.signing))]
    if response.envelope is not None:
        parts.append(der.tlv(_ENVELOPE, response.envelope))
        parts.append(der.tlv(_ENCRYPTION, _set_of(response.encryption)))
    return der.sequence(*parts)


def _set_of(certificates: tuple[Certificate, ...]) -> bytes:
    # DER orders the members of a SET OF by their octets.
    return b"".join(sorted(certificate.der for certificate in certificates))


def parse(source: bytes) -> CsrResponse:
    """Return the response in DER or PEM `source`: `E_DER` for its form, `E_KEY` or `E_PROFILE` for what it holds."""
    if len(source) > RESPONSE_MAX_BYTES:
        raise ZoneGateError(
            Reason.E_DER, f"CSRResponse: is {len(source)} bytes, at most {RESPONSE_MAX_BYTES} are allowed"
        )
    try:
        signing, envelope, encryption = _read(_der_of(source))
    except ValueError as exc:
        raise ZoneGateError(Reason.E_DER, f"CSRResponse: {exc}") from exc
    response = CsrResponse(
        tuple(load_certificate(item) for item in signing),
        envelope,
        tuple(load_certificate(item) for item in encryption),
    )
    check(response)
    return response


def _der_of(source: bytes) -> bytes:
    if not source.startswith(b"-----BEGIN "):
        return source
    blocks = pem.decode(PEM_LABEL, source)
    if len(blocks) != 1:
        msg = f"holds {len(blocks)} blocks of {PEM_LABEL}, exactly one is needed"
        raise der.DerError(msg)
    return blocks[0]


def _read(source: bytes) -> tuple[tuple[bytes, ...], bytes | None, tuple[bytes, ...]]:
    outer = der.Reader(source)
    body = outer.sequence("CSRResponse")
    outer.end("CSRResponse")
    signing = _members(body.read(der.SET, "signCertificates"), "signCertificates")
    envelope: bytes | None = None
    encryption: tuple[bytes, ...] = ()
    if body.peek() == _ENVELOPE:
        content = body.read(_ENVELOPE, "encryptedPrivateKey")
        first = der.Reader(content)
        first.tlv()
        # One element filling [0] is the SEQUENCE itself (EXPLICIT), four are its members (IMPLICIT).
        envelope = content if first.at_end() else der.sequence(content)
    if body.peek() == _ENCRYPTION:
        content = body.read(_ENCRYPTION, "encryptCertificates")
        inside = der.Reader(content)
        if inside.peek() == der.SET:
            content = inside.read(der.SET, "encryptCertificates")
            inside.end("encryptCertificates")
        encryption = _members(content, "encryptCertificates")
    body.end("CSRResponse")
    return signing, envelope, encryption


def _members(content: bytes, what: str) -> tuple[bytes, ...]:
    reader = der.Reader(content)
    found: list[bytes] = []
    while not reader.at_end():
        if len(found) == _CERTIFICATES_MAX:
            msg = f"{what}: holds more than {_CERTIFICATES_MAX} certificates"
            raise der.DerError(msg)
        found.append(reader.tlv())
    if not found:
        msg = f"{what}: is empty"
        raise der.DerError(msg)
    return tuple(found)


def check(response: CsrResponse) -> None:
    """Refuse a response whose envelope, certificates and usages do not belong together (CA-06, CE-05)."""
    if not response.signing:
        raise ZoneGateError(Reason.E_PROFILE, "signCertificates: is empty, a signing certificate is needed")
    if (response.envelope is None) != (not response.encryption):
        raise ZoneGateError(Reason.E_PROFILE, "encryptCertificates: an enveloped key and its certificate come together")
    if not any(_signs(item) for item in response.signing):
        raise ZoneGateError(Reason.E_PROFILE, "signCertificates: none has keyUsage digitalSignature")
    if any(
        item.key_usage & _ENCRYPTS and item.key_usage & _SIGNS for item in (*response.signing, *response.encryption)
    ):
        raise ZoneGateError(Reason.E_PROFILE, "keyUsage: signs and encrypts in one certificate (CE-05)")
    leaf = response.encryption_leaf
    if leaf is None:
        return
    if not leaf.key_usage & _ENCRYPTS or leaf.key_usage & _SIGNS:
        raise ZoneGateError(Reason.E_PROFILE, "encryptCertificates: the key usage is not that of encryption (CE-05)")
    if not any(_signs(item) and item.identity == leaf.identity for item in response.signing):
        raise ZoneGateError(
            Reason.E_PROFILE, f"encryptCertificates: {leaf.identity} is not whom the signing certificate is for"
        )


def _signs(certificate: Certificate) -> bool:
    return not certificate.is_ca and "digitalSignature" in certificate.key_usage


def open_pair(response: CsrResponse, signing_key: sm2.PrivateKey) -> OpenedPair:
    """Return both certificates and the encryption key, opened with the key that the request was made with."""
    signing = response.for_key(signing_key.public_key)
    encryption = response.encryption_leaf
    if response.envelope is None or encryption is None:
        raise ZoneGateError(
            Reason.E_PROFILE, "encryptedPrivateKey: is missing, this is no answer with dual certificates"
        )
    if encryption.identity != signing.identity or encryption.issuer_der != signing.issuer_der:
        raise ZoneGateError(Reason.E_PROFILE, "encryptCertificates: another holder or issuer than the signing one's")
    return OpenedPair(signing, encryption, enveloped.unseal(response.envelope, signing_key))


def _of_key(certificates: tuple[Certificate, ...], public_key: sm2.PublicKey, what: str) -> Certificate:
    for certificate in certificates:
        if certificate.public_key == public_key:
            return certificate
    raise ZoneGateError(Reason.E_KEY, f"{what}: no certificate is for this key")
