"""[d] Delegation: an officer lets another sign in one role, for some kinds of act, for some days.

Pure. It is signed by the delegator and dated. Here it is written, read and its signature checked; whether it covers
an approval, whether the delegator still holds the role, and that delegator and delegate count as one person, is
`judge`'s business. It is withdrawn by an entry of the roster.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from zonegate.approval.act import NONCE_BYTES, ActKind, refused
from zonegate.canonical import decode, encode, from_base64, parse_instant, time_text, to_base64
from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Identity, parse_identity
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.path import MAX_DEPTH
from zonegate.reasons import Reason
from zonegate.roles.role import Role

DELEGATION_MAX_BYTES: Final = 32 << 10
LIFE_MAX: Final = timedelta(days=92)

_FORMAT = "zonegate-delegation/1"
_CONTEXT = b"zonegate delegation v1\x00"
_ID = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Delegation:
    """`delegate` may sign as `role` in place of `delegator`, from `not_before` to before `not_after`."""

    id: str
    delegator: Identity
    delegate: Identity
    role: Role
    kinds: frozenset[ActKind]
    not_before: datetime
    not_after: datetime
    signed_at: datetime
    chain: tuple[Certificate, ...]
    signature: bytes

    @property
    def digest(self) -> str:
        """SM3 of the whole file."""
        return sm3.hexdigest(encode_delegation(self))

    def check_signature(self) -> None:
        """Return if the first certificate's key signed it; otherwise E_APPROVAL_SIGNATURE."""
        check_signed(self.chain[0], self.signature, _signed_bytes(wire_of(self), self.chain[0]), "delegation")


def delegate(
    role: Role,
    to: Identity,
    kinds: Iterable[ActKind],
    *,
    chain: Sequence[Certificate],
    key: PrivateKey,
    not_before: datetime,
    not_after: datetime,
    now: datetime,
    nonce: bytes,
) -> Delegation:
    """Return the delegation signed by the holder of `chain`; E_APPROVAL_FORMAT if a field cannot be."""
    leaf = chain[0]
    wire = DelegationWire(
        format=_FORMAT,
        id=nonce.hex(),
        delegator=str(leaf.identity),
        delegate=str(to),
        role=role.value,
        kinds=sorted(kind.value for kind in set(kinds)),
        notBefore=time_text(not_before),
        notAfter=time_text(not_after),
        signedAt=time_text(now),
        chain=chain_text(chain),
        signature="",
    )
    wire.signature = to_base64(key.sign(_signed_bytes(wire, leaf), signer_id=CERT_ID))
    return delegation_of(wire)


# --- the written form


class DelegationWire(msgspec.Struct, forbid_unknown_fields=True):
    """A delegation as it is written."""

    format: str
    id: str
    delegator: str
    delegate: str
    role: str
    kinds: list[str]
    notBefore: str  # noqa: N815 - the key as it is written
    notAfter: str  # noqa: N815
    signedAt: str  # noqa: N815
    chain: list[str]
    signature: str


class _Signed(msgspec.Struct):
    delegation: DelegationWire
    certificate: str


def _signed_bytes(wire: DelegationWire, leaf: Certificate) -> bytes:
    bare = msgspec.structs.replace(wire, chain=[], signature="")
    return _CONTEXT + encode(_Signed(delegation=bare, certificate=leaf.fingerprint))


def encode_delegation(delegation: Delegation) -> bytes:
    """Return the delegation's file."""
    return encode(wire_of(delegation))


def decode_delegation(raw: bytes) -> Delegation:
    """Return the delegation in `raw`, its signature unchecked; E_APPROVAL_FORMAT if it is not one."""
    return delegation_of(
        decode(
            raw, DelegationWire, limit_bytes=DELEGATION_MAX_BYTES, what="delegation", reason=Reason.E_APPROVAL_FORMAT
        )
    )


def wire_of(delegation: Delegation) -> DelegationWire:
    """Return the written form."""
    return DelegationWire(
        format=_FORMAT,
        id=delegation.id,
        delegator=str(delegation.delegator),
        delegate=str(delegation.delegate),
        role=delegation.role.value,
        kinds=sorted(kind.value for kind in delegation.kinds),
        notBefore=time_text(delegation.not_before),
        notAfter=time_text(delegation.not_after),
        signedAt=time_text(delegation.signed_at),
        chain=chain_text(delegation.chain),
        signature=to_base64(delegation.signature),
    )


def delegation_of(wire: DelegationWire) -> Delegation:
    """Return the delegation in its written form; E_APPROVAL_FORMAT names the field that is wrong."""
    try:
        return _delegation_of(wire)
    except ValueError as exc:
        raise refused(f"delegation.{exc}") from exc


def _delegation_of(wire: DelegationWire) -> Delegation:
    if wire.format != _FORMAT:
        msg = f"format: found {wire.format[:40]!r}, expected {_FORMAT}"
        raise ValueError(msg)
    if not _ID.fullmatch(wire.id):
        msg = f"id: is not {NONCE_BYTES} bytes in lower-case hex"
        raise ValueError(msg)
    if wire.role not in set(Role):
        msg = f"role: {wire.role[:32]!r} is not a role"
        raise ValueError(msg)
    if not wire.kinds or wire.kinds != sorted(set(wire.kinds)) or not set(wire.kinds) <= set(ActKind):
        msg = "kinds: must be kinds of act, at least one, each once, in order"
        raise ValueError(msg)
    delegator, to = parse_identity(wire.delegator), parse_identity(wire.delegate)
    if delegator == to or delegator.net is not to.net:
        msg = "delegate: must be another officer of the same net"
        raise ValueError(msg)
    not_before, not_after = parse_instant(wire.notBefore), parse_instant(wire.notAfter)
    if not timedelta(0) < not_after - not_before <= LIFE_MAX:
        msg = f"notAfter: must be later than notBefore, by {LIFE_MAX.days} days at most"
        raise ValueError(msg)
    return Delegation(
        id=wire.id,
        delegator=delegator,
        delegate=to,
        role=Role(wire.role),
        kinds=frozenset(ActKind(kind) for kind in wire.kinds),
        not_before=not_before,
        not_after=not_after,
        signed_at=parse_instant(wire.signedAt),
        chain=chain_of(wire.chain),
        signature=from_base64(wire.signature),
    )


# --- shared with approvals


def chain_text(chain: Sequence[Certificate]) -> list[str]:
    """Return a signer's chain as it is written: without the root, which is the verifier's own."""
    return [to_base64(certificate.der) for certificate in chain if not certificate.self_issued]


def chain_of(texts: Sequence[str]) -> tuple[Certificate, ...]:
    """Return the certificates; `ValueError` or `ZoneGateError(E_DER)` if one cannot be read."""
    if not 1 <= len(texts) < MAX_DEPTH:
        msg = f"chain: found {len(texts)} certificates, allowed are 1 to {MAX_DEPTH - 1}"
        raise ValueError(msg)
    return tuple(load_certificate(from_base64(text)) for text in texts)


def check_signed(leaf: Certificate, signature: bytes, message: bytes, what: str) -> None:
    """Return if the key of `leaf` signed `message`; otherwise E_APPROVAL_SIGNATURE."""
    try:
        leaf.public_key.verify(signature, message, signer_id=CERT_ID)
    except ZoneGateError as exc:
        detail = f"{what}: {leaf.subject} has not signed it"
        raise ZoneGateError(Reason.E_APPROVAL_SIGNATURE, detail) from exc
