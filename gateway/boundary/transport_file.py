"""[d] What is inside a transport file: a header, signed by the exporting gateway, and the messages it covers.

Sign, then seal: the recipient can show the signed object to a third party, and the header names the recipient's key,
so that nobody can seal a signed object anew for someone else (docs/import.md, "Object"). The signature stands before
the messages: a forged file costs the reader one chunk. Pure: bytes, keys, anchors and a time in; values or one of
E_IMPORT_FORMAT, E_IMPORT_SEAL, E_IMPORT_SIGNATURE, E_IMPORT_EXPIRED, E_TRUST_DOMAIN, E_CERT_*, E_STATUS_STALE out.

Not decided here: whether the sender may send this, whether the messages fit their schema. That is the importer's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.header import (
    HEADER_LIMIT_BYTES,
    MessageDigest,
    ObjectHeader,
    decode_header,
    encode_header,
    key_id,
)
from zonegate.gateway.boundary.seal import unseal
from zonegate.gm import sm2
from zonegate.gm.sm2 import PrivateKey
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, TrustAnchors, verify_path
from zonegate.reasons import Reason

MAGIC: Final = b"ZGO1"
CONTEXT: Final = b"zonegate transport object v1\x00"
CHAIN_LIMIT: Final = 4
CERTIFICATE_LIMIT_BYTES: Final = 8 << 10
SIGNATURE_LIMIT_BYTES: Final = 72
_LENGTH_BYTES = 4
# Both sides' clocks are synchronised in seconds; minutes are generous and years a mistake.
CLOCK_SKEW: Final = timedelta(minutes=5)
SIGNER_PROFILES: Final = frozenset({Profile.GATEWAY, Profile.EVIDENCE})


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one transport file may hold at most, and how old it may be."""

    messages: int = 100_000
    message_bytes: int = 4 << 20
    total_bytes: int = 64 << 20
    max_age: timedelta = timedelta(days=30)

    @property
    def file_bytes(self) -> int:
        """The largest file that can hold an object within these bounds."""
        content = self.total_bytes + self.messages * _LENGTH_BYTES + HEADER_LIMIT_BYTES
        content += CHAIN_LIMIT * CERTIFICATE_LIMIT_BYTES + 1024
        return content + content // 4096 + 1024


DEFAULT_BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header with its signature and the signer's chain: what a third party needs to see that it was sent."""

    encoded: bytes
    chain: tuple[bytes, ...]
    signature: bytes

    @property
    def proof(self) -> bytes:
        """The signed part of the object as it stands in the file."""
        return b"".join(_proof(self.encoded, self.chain, self.signature))


def signed_text(encoded_header: bytes) -> bytes:
    """Return what the exporting gateway signs."""
    return CONTEXT + encoded_header


def sign_header(header: ObjectHeader, key: PrivateKey, chain: Sequence[bytes]) -> SignedHeader:
    """Return `header` signed with the exporting gateway's key."""
    encoded = encode_header(header)
    return SignedHeader(encoded, tuple(chain), key.sign(signed_text(encoded), signer_id=sm2.CERT_ID))


def object_blocks(signed: SignedHeader, messages: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a transport file, to be sealed."""
    yield from _proof(signed.encoded, signed.chain, signed.signature)
    for message in messages:
        yield len(message).to_bytes(_LENGTH_BYTES, "big")
        yield message


def _proof(encoded: bytes, chain: Sequence[bytes], signature: bytes) -> Iterator[bytes]:
    yield MAGIC
    yield _framed(encoded)
    yield bytes((len(chain),))
    for certificate in chain:
        yield _framed(certificate)
    yield _framed(signature)


def _framed(content: bytes) -> bytes:
    return len(content).to_bytes(_LENGTH_BYTES, "big") + content


@dataclass(frozen=True, slots=True)
class VerifiedObject:
    """An object whose signature, signer, bounds and messages have been checked."""

    header: ObjectHeader
    signed: SignedHeader
    signer: Certificate
    messages: tuple[bytes, ...]


def open_object(
    blocks: Iterable[bytes],
    key: PrivateKey,
    anchors: TrustAnchors,
    *,
    now: datetime,
    crls: Sequence[Crl] = (),
    bounds: Bounds = DEFAULT_BOUNDS,
    signatures: SignatureCache | None = None,
) -> VerifiedObject:
    """Return the verified object in a transport file, read block by block."""
    source = _Content(unseal(blocks, key))
    signed = _read_signed(source)
    header = decode_header(signed.encoded)
    _check_bounds(header, bounds, now)
    _check_recipient(header, anchors, key)
    signer = verify_signer(signed, header, anchors, now=now, crls=crls, signatures=signatures)
    return VerifiedObject(header, signed, signer, tuple(_messages(source, header, bounds)))


def read_proof(proof: bytes) -> tuple[SignedHeader, ObjectHeader]:
    """Return the parts of a kept proof (`SignedHeader.proof`), so that it can be verified again later."""
    source = _Content(iter((proof,)))
    signed = _read_signed(source)
    source.end()
    return signed, decode_header(signed.encoded)


def verify_signer(
    signed: SignedHeader,
    header: ObjectHeader,
    anchors: TrustAnchors,
    *,
    now: datetime,
    crls: Sequence[Crl] = (),
    signatures: SignatureCache | None = None,
) -> Certificate:
    """Return the signer's certificate if it was and is valid, speaks for the gateway, and signed the header."""
    try:
        certificates = [load_certificate(der) for der in signed.chain]
    except (ZoneGateError, ValueError) as exc:
        detail = exc.detail if isinstance(exc, ZoneGateError) else str(exc)
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, f"signer: its certificate cannot be read: {detail}") from exc
    leaf, rest = certificates[0], certificates[1:]
    if leaf.fingerprint != header.signer:
        raise _bad_signature("signer: the certificate is not the one that the header names")
    # Revocation is asked once, for now: whoever revokes a signer wants its objects stopped, whenever they were made.
    signatures = SignatureCache() if signatures is None else signatures
    verify_path(leaf, rest, anchors, now=now, crls=crls, signatures=signatures)
    verify_path(leaf, rest, anchors, now=header.created, signatures=signatures)
    if leaf.profile not in SIGNER_PROFILES:
        allowed = " or ".join(sorted(SIGNER_PROFILES))
        raise ZoneGateError(Reason.E_CERT_USAGE, f"signer: its profile is {leaf.profile}, {allowed} is needed")
    if str(leaf.identity) != header.gateway:
        raise _bad_signature(f"signer: the certificate speaks for {leaf.identity}, the header names {header.gateway}")
    try:
        leaf.public_key.verify(signed.signature, signed_text(signed.encoded), signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        raise _bad_signature("signature: does not verify over the header") from exc
    return leaf


def _bad_signature(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_IMPORT_SIGNATURE, detail)


def _format_error(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_IMPORT_FORMAT, detail)


class _Content:
    """Reads length-prefixed parts from unsealed chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._held = bytearray()

    def take(self, size: int, what: str) -> bytes:
        while len(self._held) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise _format_error(f"{what}: the object ends before it")
            self._held += chunk
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    def framed(self, limit: int, what: str) -> bytes:
        length = int.from_bytes(self.take(_LENGTH_BYTES, what), "big")
        if length > limit:
            raise _format_error(f"{what}: has {length} bytes, {limit} are allowed")
        return self.take(length, what)

    def end(self) -> None:
        # The last chunk must be asked for even when nothing more is expected: its mark proves that nothing was cut off.
        if self._held or any(self._chunks):
            raise _format_error("object: has bytes after its last message")


def _read_signed(source: _Content) -> SignedHeader:
    if source.take(len(MAGIC), "object") != MAGIC:
        raise _format_error("object: does not begin as an object of version 1")
    encoded = source.framed(HEADER_LIMIT_BYTES, "header")
    count = source.take(1, "chain")[0]
    if not 1 <= count <= CHAIN_LIMIT:
        raise _format_error(f"chain: has {count} certificates, 1 to {CHAIN_LIMIT} are allowed")
    chain = tuple(source.framed(CERTIFICATE_LIMIT_BYTES, "chain") for _ in range(count))
    return SignedHeader(encoded, chain, source.framed(SIGNATURE_LIMIT_BYTES, "signature"))


def _check_bounds(header: ObjectHeader, bounds: Bounds, now: datetime) -> None:
    if header.message_count > bounds.messages:
        raise _format_error(f"header: announces {header.message_count} messages, {bounds.messages} are allowed")
    if header.message_bytes > bounds.total_bytes:
        raise _format_error(f"header: announces {header.message_bytes} bytes, {bounds.total_bytes} are allowed")
    if header.created > now + CLOCK_SKEW:
        raise ZoneGateError(Reason.E_IMPORT_EXPIRED, f"created: {header.created.isoformat()} is in the future")
    if header.created < now - bounds.max_age:
        detail = f"created: {header.created.isoformat()} is more than {bounds.max_age} ago"
        raise ZoneGateError(Reason.E_IMPORT_EXPIRED, detail)


def _check_recipient(header: ObjectHeader, anchors: TrustAnchors, key: PrivateKey) -> None:
    if header.source_net is not anchors.net:
        detail = f"source_net: is {header.source_net.value}, this verifier holds the anchors of {anchors.net.value}"
        raise ZoneGateError(Reason.E_TRUST_DOMAIN, detail)
    if header.recipient != key_id(key.public_key.spki):
        raise _bad_signature("recipient: the object was signed for another importer and sealed anew for this one")


def _messages(source: _Content, header: ObjectHeader, bounds: Bounds) -> Iterator[bytes]:
    digest = MessageDigest()
    for number in range(header.message_count):
        message = source.framed(bounds.message_bytes, f"message {number}")
        digest.add(message)
        if digest.total_bytes > header.message_bytes:
            raise _format_error(f"message {number}: more bytes than the {header.message_bytes} of the header")
        yield message
    source.end()
    if digest.total_bytes != header.message_bytes or digest.hexdigest() != header.digest:
        raise _bad_signature("messages: are not those that the header's digest covers")
