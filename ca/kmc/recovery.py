"""User recovery and judicial recovery (CA-08): who must have signed what before a key is enveloped once more [d].

The persons sign an act of the approval core whose payload is the recovery itself: CA, serial, purpose, the certificate
that the key goes to. User recovery (operator applies, security officer approves, auditor witnesses) goes to a new
signing certificate of the key's holder; judicial recovery (operator, two security officers, auditor) to the
authority's certificate, never the holder's. Rules, roles and signatures are judged by `zonegate.approval`.
"""

from dataclasses import dataclass
from datetime import datetime

from zonegate.approval.act import ActKind, decode_proposal
from zonegate.approval.judge import Approved, NonceBook, judge
from zonegate.approval.record import decode_approval
from zonegate.approval.rules import RULES
from zonegate.ca.kmc.messages import Purpose, Restore
from zonegate.errors import ZoneGateError
from zonegate.gm import der
from zonegate.identity import parse_identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason
from zonegate.roles.view import RoleView

KIND_OF = {Purpose.USER: ActKind.RECOVER_KEY, Purpose.JUDICIAL: ActKind.RECOVER_KEY_JUDICIAL}
# Whose signing certificates a key may be enveloped for.
_USERS = frozenset({Profile.GATEWAY, Profile.SYSTEM, Profile.OFFICER})
_AUTHORITIES = frozenset({Profile.OFFICER, Profile.SYSTEM})


@dataclass(frozen=True, slots=True)
class Tribunal:
    """By what recoveries are judged: the net's roots, sub-CAs and lists, the roster, the book of spent acts."""

    anchors: TrustAnchors
    intermediates: tuple[Certificate, ...]
    crls: tuple[Crl, ...]
    roles: RoleView
    nonces: NonceBook


def target_of(serial: int) -> str:
    """Return the target that the act names: the serial of the encryption certificate."""
    return f"key/{serial:032x}"


def payload_of(ca: str, serial: int, purpose: Purpose, recipient: Certificate) -> bytes:
    """Return the octets whose digest the act names: what is recovered, and to whom it goes."""
    texts = (ca, f"{serial:032x}", purpose.value, recipient.fingerprint)
    return der.sequence(*(der.tlv(der.UTF8_STRING, text.encode()) for text in texts))


def check_recipient(asked: Restore, holder: str, tribunal: Tribunal, *, now: datetime) -> None:
    """Refuse a certificate that the key may not go to: revoked, of another, or no signing certificate."""
    leaf = asked.recipient
    verify_path(
        leaf,
        tribunal.intermediates,
        tribunal.anchors,
        now=now,
        crls=tribunal.crls,
        status=StatusRule.REQUIRED,
    )
    allowed = _USERS if asked.purpose is Purpose.USER else _AUTHORITIES
    if leaf.profile not in allowed or "digitalSignature" not in leaf.key_usage:
        names = ", ".join(sorted(profile.value for profile in allowed))
        raise ZoneGateError(Reason.E_RECOVERY, f"recipient: its profile is {leaf.profile}, allowed are {names}")
    is_holder = str(leaf.identity) == holder
    if asked.purpose is Purpose.USER and not is_holder:
        raise ZoneGateError(Reason.E_RECOVERY, f"recipient: is {leaf.identity}, a user's key goes to {holder} alone")
    if asked.purpose is Purpose.JUDICIAL and is_holder:
        raise ZoneGateError(Reason.E_RECOVERY, "recipient: is the key's holder, that is what user recovery is for")


def approve(asked: Restore, ca: str, holder: str, tribunal: Tribunal, *, now: datetime) -> Approved:
    """Return the approved act, its nonce spent; E_RECOVERY if it is about something else, else the core's refusal."""
    proposal = decode_proposal(asked.order)
    act = proposal.act
    wanted = KIND_OF[asked.purpose]
    if act.kind is not wanted:
        raise ZoneGateError(Reason.E_RECOVERY, f"order: is to {act.kind.value}, needed is {wanted.value}")
    if act.target != target_of(asked.serial):
        raise ZoneGateError(Reason.E_RECOVERY, f"order: is about {act.target}, asked is {target_of(asked.serial)}")
    organ = parse_identity(holder).organ
    if act.organ != organ:
        raise ZoneGateError(Reason.E_RECOVERY, f"order: names the organ {act.organ}, the key is of {organ}")
    act.check_contents(payload_of(ca, asked.serial, asked.purpose, asked.recipient), proposal.view)
    return judge(
        act,
        [decode_approval(raw) for raw in asked.statements],
        RULES.get(act.kind),
        now=now,
        anchors=tribunal.anchors,
        crls=tribunal.crls,
        roles=tribunal.roles,
        nonces=tribunal.nonces,
    )


def detail_of(approved: Approved, asked: Restore) -> str:
    """Return what the audit keeps of a recovery: the act's digest, the persons, whom the key goes to."""
    persons = ", ".join(f"{signer.part.value} {signer.identity}" for signer in approved.signers)
    return f"act {approved.act.digest}, to {asked.recipient.identity}: {persons}"
