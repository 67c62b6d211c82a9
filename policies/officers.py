"""[d] Officers' signatures over a policy bundle: two different people, or none counts (architecture section 7).

Pure. A signature covers the SM3 digest of the bundle's bytes, the signing time and the signer's certificate; it stands
in a file of its own, with the signer's chain but not the root: that is the verifier's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.x509.oid import NameOID

from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import MAX_DEPTH, StatusRule, TrustAnchors, verify_path
from zonegate.policies.wire import TIME_FORM, decode, encode, from_base64, parse_instant, to_base64
from zonegate.reasons import Reason

SIGNATURE_MAX_BYTES = 64 << 10
SIGNATURES_NEEDED = 2
SIGNATURES_MAX = 8
# Two clocks may differ by this much; more, and one of them is wrong.
CLOCK_SKEW = timedelta(minutes=5)

_FORMAT = "zonegate-policy-signature/1"
_CONTEXT = b"zonegate policy bundle signature v1\x00"


class _Signature(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    bundle: str
    signedAt: str  # noqa: N815 - the key as it is written
    chain: list[str]
    signature: str


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signed a bundle, and when by his own clock."""

    certificate: Certificate
    signed_at: datetime


def sign_digest(digest: str, net: Net, chain: Sequence[Certificate], key: PrivateKey, *, now: datetime) -> bytes:
    """Return the signature file of one officer of `net` over a bundle's SM3 digest (hex)."""
    leaf = chain[0]
    _check_officer(leaf, net)
    signed_at = now.astimezone(UTC).strftime(TIME_FORM)
    signature = key.sign(_signed_bytes(digest, signed_at, leaf), signer_id=CERT_ID)
    wire = _Signature(
        format=_FORMAT,
        bundle=digest,
        signedAt=signed_at,
        chain=[to_base64(certificate.der) for certificate in chain if not certificate.self_issued],
        signature=to_base64(signature),
    )
    return encode(wire)


def _signed_bytes(digest: str, signed_at: str, leaf: Certificate) -> bytes:
    return _CONTEXT + b"\x00".join((digest.encode(), signed_at.encode(), leaf.fingerprint.encode()))


def _check_officer(leaf: Certificate, net: Net) -> None:
    if leaf.profile is not Profile.OFFICER or leaf.net is not net or leaf.identity is None:
        found = f"profile {leaf.profile or 'none'} of net {leaf.net or 'none'}"
        msg = f"signer: {leaf.subject} has {found}, needed is an officer's certificate of the net {net}"
        raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, msg)


def verify_signatures(
    digest: str,
    signatures: Sequence[bytes],
    *,
    anchors: TrustAnchors,
    now: datetime,
    crls: Sequence[Crl] = (),
    status: StatusRule = StatusRule.WHEN_GIVEN,
) -> tuple[Signer, ...]:
    """Return who signed the bundle of this SM3 digest (hex); every signature given must hold, two at least."""
    if not SIGNATURES_NEEDED <= len(signatures) <= SIGNATURES_MAX:
        detail = f"signatures: found {len(signatures)}, {SIGNATURES_NEEDED} to {SIGNATURES_MAX} are needed"
        raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, detail)
    signers: list[Signer] = []
    for number, raw in enumerate(signatures, start=1):
        try:
            signers.append(_verify_one(digest, raw, anchors, now, crls, status))
        except ZoneGateError as exc:
            if exc.reason is Reason.E_BUNDLE_FORMAT:
                raise
            raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, f"signature {number}: {exc}") from exc
    _check_different(signers)
    return tuple(signers)


def _verify_one(
    digest: str, raw: bytes, anchors: TrustAnchors, now: datetime, crls: Sequence[Crl], status: StatusRule
) -> Signer:
    wire = decode(raw, _Signature, limit_bytes=SIGNATURE_MAX_BYTES, what="signature")
    try:
        signed_at, value, ders = _fields(wire)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, f"signature: {exc}") from exc
    if wire.bundle != digest:
        raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, "bundle: the signature is for another bundle")
    leaf, *intermediates = (load_certificate(der) for der in ders)
    _check_officer(leaf, anchors.net)
    verify_path(leaf, intermediates, anchors, now=now, crls=crls, status=status)
    if signed_at > now + CLOCK_SKEW:
        raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, f"signedAt: {wire.signedAt} is in the future")
    leaf.public_key.verify(value, _signed_bytes(digest, wire.signedAt, leaf), signer_id=CERT_ID)
    return Signer(leaf, signed_at)


def _fields(wire: _Signature) -> tuple[datetime, bytes, list[bytes]]:
    if wire.format != _FORMAT:
        msg = f"format: found {wire.format[:40]!r}, expected {_FORMAT}"
        raise ValueError(msg)
    if not 1 <= len(wire.chain) <= MAX_DEPTH:
        msg = f"chain: found {len(wire.chain)} certificates, allowed are 1 to {MAX_DEPTH}"
        raise ValueError(msg)
    return parse_instant(wire.signedAt), from_base64(wire.signature), [from_base64(text) for text in wire.chain]


def _check_different(signers: Sequence[Signer]) -> None:
    """Two people: different identities, keys and names; one person with two certificates is one person."""
    certificates = [signer.certificate for signer in signers]
    for what, seen in (
        ("identity", {str(certificate.identity) for certificate in certificates}),
        ("key", {certificate.public_key for certificate in certificates}),
        ("organ and name", {_person(certificate) for certificate in certificates}),
    ):
        if len(seen) < len(certificates):
            detail = f"signatures: two have the same {what}; {SIGNATURES_NEEDED} different officers must sign"
            raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, detail)


def _person(certificate: Certificate) -> tuple[str, ...]:
    """Return organ and name: another unit, URI or key does not make another person."""
    subject = x509.load_der_x509_certificate(certificate.der).subject
    return tuple(
        str(attribute.value)
        for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
        for attribute in subject.get_attributes_for_oid(kind)
    )
