"""[d] Log-in by signature: a service's challenge, an officer's answer, and who has logged in as what (RO-03).

Pure. A challenge names its service, so that an answer to one cannot be shown to another; that it is answered once is
the desk's business. A log-in is for one role: an officer with two roles logs in twice.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from zonegate.approval.delegation import chain_of, chain_text
from zonegate.canonical import decode, encode, from_base64, parse_instant, time_text, to_base64
from zonegate.errors import ZoneGateError
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Identity, parse_identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason
from zonegate.roles.role import Role
from zonegate.roles.view import RoleView

NONCE_BYTES: Final = 32
CHALLENGE_LIFE: Final = timedelta(minutes=2)
CHALLENGE_MAX_BYTES: Final = 1 << 10
ANSWER_MAX_BYTES: Final = 32 << 10

_CHALLENGE_FORMAT = "zonegate-login-challenge/1"
_ANSWER_FORMAT = "zonegate-login-answer/1"
_CONTEXT = b"zonegate officer login v1\x00"
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a service asks an officer to sign; good to before `not_after`."""

    nonce: str
    service: Identity
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """An officer's signature over a challenge and the role that he logs in for."""

    challenge: Challenge
    role: Role
    chain: tuple[Certificate, ...]
    signature: bytes


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Who has logged in, as what, with which certificate."""

    identity: Identity
    person: str
    role: Role
    certificate: str


class ChallengeWire(msgspec.Struct, forbid_unknown_fields=True):
    """A challenge as it is written."""

    format: str
    nonce: str
    service: str
    notAfter: str  # noqa: N815 - the key as it is written


class _Answer(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    challenge: ChallengeWire
    role: str
    chain: list[str]
    signature: str


class _Signed(msgspec.Struct):
    challenge: ChallengeWire
    role: str
    certificate: str


def new_challenge(service: Identity, *, nonce: bytes, now: datetime) -> Challenge:
    """Return a challenge of `service`; `nonce` is fresh from the system."""
    wire = ChallengeWire(_CHALLENGE_FORMAT, nonce.hex(), str(service), time_text(now + CHALLENGE_LIFE))
    return _challenge_of(wire)


def sign_answer(challenge: Challenge, role: Role, *, chain: Sequence[Certificate], key: PrivateKey) -> Answer:
    """Return an officer's answer."""
    signature = key.sign(_signed_bytes(challenge, role, chain[0]), signer_id=CERT_ID)
    return Answer(challenge, role, tuple(item for item in chain if not item.self_issued), signature)


def verify_answer(
    answer: Answer,
    challenge: Challenge,
    *,
    now: datetime,
    anchors: TrustAnchors,
    crls: Sequence[Crl],
    roles: RoleView,
    status: StatusRule = StatusRule.REQUIRED,
) -> LoggedIn:
    """Return who has logged in; E_LOGIN, or what is wrong with the certificate."""
    leaf = answer.chain[0]
    if answer.challenge != challenge:
        raise _refused("challenge: another one was answered")
    if now >= challenge.not_after:
        raise _refused("challenge: its time is over")
    if leaf.profile is not Profile.OFFICER or leaf.identity is None:
        raise _refused(f"certificate: {leaf.subject} is no officer's")
    verify_path(leaf, answer.chain[1:], anchors, now=now, crls=crls, status=status)
    try:
        leaf.public_key.verify(answer.signature, _signed_bytes(challenge, answer.role, leaf), signer_id=CERT_ID)
    except ZoneGateError as exc:
        raise _refused(f"signature: {leaf.subject} has not signed the challenge") from exc
    binding = roles.binding(leaf.identity, at=now)
    if binding is None or binding.certificate != leaf.fingerprint:
        raise _refused(f"certificate: it is not the one that the roster has of {leaf.identity}")
    if roles.standing(leaf.identity, answer.role, at=now) is None:
        raise _refused(f"role: {leaf.identity} is not a {answer.role}")
    return LoggedIn(leaf.identity, binding.person, answer.role, leaf.fingerprint)


# --- the written form


def encode_challenge(challenge: Challenge) -> bytes:
    """Return the challenge as it is sent."""
    return encode(_challenge_wire(challenge))


def decode_challenge(raw: bytes) -> Challenge:
    """Return the challenge in `raw`; E_LOGIN if it is not one."""
    wire = decode(raw, ChallengeWire, limit_bytes=CHALLENGE_MAX_BYTES, what="challenge", reason=Reason.E_LOGIN)
    try:
        return _challenge_of(wire)
    except ValueError as exc:
        raise _refused(f"challenge.{exc}") from exc


def encode_answer(answer: Answer) -> bytes:
    """Return the answer as it is sent."""
    return encode(
        _Answer(
            format=_ANSWER_FORMAT,
            challenge=_challenge_wire(answer.challenge),
            role=answer.role.value,
            chain=chain_text(answer.chain),
            signature=to_base64(answer.signature),
        )
    )


def decode_answer(raw: bytes) -> Answer:
    """Return the answer in `raw`, nothing verified; E_LOGIN or E_DER if it is not one."""
    wire = decode(raw, _Answer, limit_bytes=ANSWER_MAX_BYTES, what="answer", reason=Reason.E_LOGIN)
    if wire.format != _ANSWER_FORMAT:
        raise _refused(f"format: found {wire.format[:40]!r}, expected {_ANSWER_FORMAT}")
    if wire.role not in set(Role):
        raise _refused(f"role: {wire.role[:32]!r} is not a role")
    try:
        challenge = _challenge_of(wire.challenge)
        return Answer(challenge, Role(wire.role), chain_of(wire.chain), from_base64(wire.signature))
    except ValueError as exc:
        raise _refused(f"answer.{exc}") from exc


def _challenge_wire(challenge: Challenge) -> ChallengeWire:
    return ChallengeWire(_CHALLENGE_FORMAT, challenge.nonce, str(challenge.service), time_text(challenge.not_after))


def _challenge_of(wire: ChallengeWire) -> Challenge:
    if wire.format != _CHALLENGE_FORMAT:
        msg = f"format: found {wire.format[:40]!r}, expected {_CHALLENGE_FORMAT}"
        raise ValueError(msg)
    if not _NONCE.fullmatch(wire.nonce):
        msg = f"nonce: is not {NONCE_BYTES} bytes in lower-case hex"
        raise ValueError(msg)
    return Challenge(wire.nonce, parse_identity(wire.service), parse_instant(wire.notAfter))


def _signed_bytes(challenge: Challenge, role: Role, leaf: Certificate) -> bytes:
    return _CONTEXT + encode(_Signed(_challenge_wire(challenge), role.value, leaf.fingerprint))


def _refused(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_LOGIN, detail)
