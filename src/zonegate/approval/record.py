"""[d] An approval: one officer's SM2 signature over exactly one act, with capacity, role and time.

Pure. Here it is signed, written, read and its signature checked. The act is inside, so that a judge can say in what
an approval differs from the act at hand. Whether it counts is `judge`'s business.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from zonegate.approval.act import Act, ActWire, Proposal, act_of, act_wire, refused
from zonegate.approval.delegation import (
    DELEGATION_MAX_BYTES,
    Delegation,
    DelegationWire,
    chain_of,
    chain_text,
    check_signed,
    delegation_of,
    wire_of,
)
from zonegate.approval.rules import Part
from zonegate.canonical import decode, encode, from_base64, parse_instant, time_text, to_base64
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.reasons import Reason
from zonegate.roles.role import Role

APPROVAL_MAX_BYTES: Final = (32 << 10) + DELEGATION_MAX_BYTES

_FORMAT = "zonegate-approval/1"
_CONTEXT = b"zonegate approval v1\x00"


@dataclass(frozen=True, slots=True)
class Approval:
    """What one person signed. `delegation` is there when the role is another's."""

    act: Act
    part: Part
    role: Role
    signed_at: datetime
    delegation: Delegation | None
    chain: tuple[Certificate, ...]
    signature: bytes

    @property
    def certificate(self) -> Certificate:
        """The signer's certificate."""
        return self.chain[0]

    @property
    def signer(self) -> Identity | None:
        """Who signed."""
        return self.chain[0].identity

    def check_signature(self) -> None:
        """Return if the first certificate's key signed it; otherwise E_APPROVAL_SIGNATURE."""
        check_signed(self.certificate, self.signature, _signed_bytes(approval_wire(self), self.certificate), "approval")


def sign(
    proposal: Proposal,
    role: Role,
    *,
    part: Part = Part.APPROVE,
    chain: Sequence[Certificate],
    key: PrivateKey,
    now: datetime,
    delegation: Delegation | None = None,
) -> Approval:
    """Return one officer's approval of what `proposal` shows; a certificate that is no officer's is refused."""
    leaf, act = chain[0], proposal.act
    if leaf.profile is not Profile.OFFICER or leaf.identity is None:
        detail = f"certificate: {leaf.subject} has the profile {leaf.profile or 'none'}, an officer's is needed"
        raise ZoneGateError(Reason.E_APPROVAL_SERVICE, detail)
    if leaf.net is not act.net:
        detail = f"certificate: {leaf.subject} is of the net {leaf.net or 'none'}, the act of {act.net}"
        raise ZoneGateError(Reason.E_APPROVAL_NET, detail)
    if now >= act.not_after:
        raise ZoneGateError(Reason.E_APPROVAL_EXPIRED, f"act: it was valid until {time_text(act.not_after)}")
    wire = ApprovalWire(
        format=_FORMAT,
        act=act_wire(act),
        part=part.value,
        role=role.value,
        signedAt=time_text(now),
        delegation=None if delegation is None else wire_of(delegation),
        chain=chain_text(chain),
        signature="",
    )
    wire.signature = to_base64(key.sign(_signed_bytes(wire, leaf), signer_id=CERT_ID))
    return approval_of(wire)


# --- the written form


class ApprovalWire(msgspec.Struct, forbid_unknown_fields=True):
    """An approval as it is written."""

    format: str
    act: ActWire
    part: str
    role: str
    signedAt: str  # noqa: N815 - the key as it is written
    delegation: DelegationWire | None
    chain: list[str]
    signature: str


class _Signed(msgspec.Struct):
    approval: ApprovalWire
    certificate: str


def _signed_bytes(wire: ApprovalWire, leaf: Certificate) -> bytes:
    # The certificate's fingerprint stands for the chain: whoever swaps the chain's upper part changes no meaning.
    bare = msgspec.structs.replace(wire, chain=[], signature="")
    return _CONTEXT + encode(_Signed(approval=bare, certificate=leaf.fingerprint))


def encode_approval(approval: Approval) -> bytes:
    """Return the approval's file."""
    return encode(approval_wire(approval))


def decode_approval(raw: bytes) -> Approval:
    """Return the approval in `raw`, its signature unchecked; E_APPROVAL_FORMAT or E_DER if it is not one."""
    return approval_of(
        decode(raw, ApprovalWire, limit_bytes=APPROVAL_MAX_BYTES, what="approval", reason=Reason.E_APPROVAL_FORMAT)
    )


def approval_wire(approval: Approval) -> ApprovalWire:
    """Return the written form."""
    return ApprovalWire(
        format=_FORMAT,
        act=act_wire(approval.act),
        part=approval.part.value,
        role=approval.role.value,
        signedAt=time_text(approval.signed_at),
        delegation=None if approval.delegation is None else wire_of(approval.delegation),
        chain=chain_text(approval.chain),
        signature=to_base64(approval.signature),
    )


def approval_of(wire: ApprovalWire) -> Approval:
    """Return the approval in its written form; E_APPROVAL_FORMAT names the field that is wrong."""
    if wire.format != _FORMAT:
        raise refused(f"approval.format: found {wire.format[:40]!r}, expected {_FORMAT}")
    if wire.part not in set(Part):
        raise refused(f"approval.part: found {wire.part[:32]!r}, allowed are {', '.join(Part)}")
    if wire.role not in set(Role):
        raise refused(f"approval.role: {wire.role[:32]!r} is not a role")
    act = act_of(wire.act)
    delegation = None if wire.delegation is None else delegation_of(wire.delegation)
    try:
        signed_at, signature = parse_instant(wire.signedAt), from_base64(wire.signature)
        chain = chain_of(wire.chain)
    except ValueError as exc:
        raise refused(f"approval.{exc}") from exc
    return Approval(act, Part(wire.part), Role(wire.role), signed_at, delegation, chain, signature)
