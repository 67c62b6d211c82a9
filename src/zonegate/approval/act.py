"""[d] An act that needs approval: what is to be done, to what, as shown to whom, asked for by whom, until when.

Pure. An act binds the exact payload and the exact text that officers are shown by their SM3 digests; its canonical
JSON is what they sign. A proposal is an act with that text. Whether an act is approved is `judge`'s business.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from zonegate.canonical import decode, encode, parse_instant, time_text
from zonegate.codes import check_uscc
from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.identity import Identity, Net, parse_identity
from zonegate.reasons import Reason
from zonegate.roles import matrix

PROPOSAL_MAX_BYTES: Final = 64 << 10
VIEW_MAX_CHARS: Final = 16_000
TARGET_MAX_CHARS: Final = 256
NONCE_BYTES: Final = 16
# Who signs today decides for today: an approval that lies about longer is asked for again.
LIFE_MAX: Final = timedelta(days=31)

_PROPOSAL_FORMAT = "zonegate-proposal/1"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NONCE = re.compile(rf"[0-9a-f]{{{2 * NONCE_BYTES}}}")


class ActKind(StrEnum):
    """The kinds of act that need approval; a kind without a rule is refused."""

    FOUND_NET = "found-net"
    GRANT_ROLE = "grant-role"
    REVOKE_ROLE = "revoke-role"
    REBIND_ROLE = "rebind-role"
    SET_ORGAN = "set-organ"
    WITHDRAW_DELEGATION = "withdraw-delegation"
    SET_LABEL = "set-label"
    PUBLISH_POLICY = "publish-policy"
    DISPOSE_QUARANTINED = "dispose-quarantined"
    ONBOARD_SYSTEM = "onboard-system"
    ISSUE_CERTIFICATE = "issue-certificate"
    ISSUE_CA_CERTIFICATE = "issue-ca-certificate"
    REVOKE_CERTIFICATE = "revoke-certificate"
    SUSPEND_CERTIFICATE = "suspend-certificate"
    RESUME_CERTIFICATE = "resume-certificate"
    RECOVER_KEY = "recover-key"
    RECOVER_KEY_JUDICIAL = "recover-key-judicial"
    RELABEL = "relabel"
    RELEASE = "release"

    @property
    def zh(self) -> str:
        """The kind in Chinese."""
        return _KINDS[self][0]

    @property
    def row(self) -> matrix.Act:
        """The row of the role matrix that the kind falls under."""
        return _KINDS[self][1]


_KINDS: Final = MappingProxyType(
    {
        ActKind.FOUND_NET: ("建立网络人员名册", matrix.Act.GRANT),
        ActKind.GRANT_ROLE: ("授予角色", matrix.Act.GRANT),
        ActKind.REVOKE_ROLE: ("撤销角色", matrix.Act.GRANT),
        ActKind.REBIND_ROLE: ("更换人员证书", matrix.Act.GRANT),
        ActKind.SET_ORGAN: ("登记机构隶属", matrix.Act.GRANT),
        ActKind.WITHDRAW_DELEGATION: ("撤回委托", matrix.Act.GRANT),
        ActKind.SET_LABEL: ("设置标记", matrix.Act.GRANT),
        ActKind.PUBLISH_POLICY: ("发布策略", matrix.Act.GRANT),
        ActKind.DISPOSE_QUARANTINED: ("处置封存对象", matrix.Act.GRANT),
        ActKind.ONBOARD_SYSTEM: ("系统接入", matrix.Act.ONBOARD),
        ActKind.ISSUE_CERTIFICATE: ("签发证书", matrix.Act.CERTIFICATE),
        ActKind.ISSUE_CA_CERTIFICATE: ("签发 CA 证书", matrix.Act.CERTIFICATE),
        ActKind.REVOKE_CERTIFICATE: ("撤销证书", matrix.Act.CERTIFICATE),
        ActKind.SUSPEND_CERTIFICATE: ("冻结证书", matrix.Act.CERTIFICATE),
        ActKind.RESUME_CERTIFICATE: ("解冻证书", matrix.Act.CERTIFICATE),
        ActKind.RECOVER_KEY: ("密钥恢复", matrix.Act.KEY_RECOVERY),
        ActKind.RECOVER_KEY_JUDICIAL: ("司法密钥恢复", matrix.Act.JUDICIAL_RECOVERY),
        ActKind.RELABEL: ("解密（改标）", matrix.Act.DECLASSIFY),
        ActKind.RELEASE: ("审批导出", matrix.Act.RELEASE),
    }
)


@dataclass(frozen=True, slots=True)
class Act:
    """What officers sign. `organ` is whose object it is; the digests are SM3 in hex."""

    net: Net
    kind: ActKind
    target: str
    organ: str
    payload: str
    view: str
    applicant: Identity
    not_before: datetime
    not_after: datetime
    nonce: str

    @property
    def digest(self) -> str:
        """SM3 of the canonical form."""
        return sm3.hexdigest(encode(act_wire(self)))

    def check_contents(self, payload: bytes, view: str) -> None:
        """Return if the act is about this payload and this text; otherwise E_APPROVAL_PAYLOAD or E_APPROVAL_VIEW."""
        if sm3.hexdigest(payload) != self.payload:
            raise ZoneGateError(Reason.E_APPROVAL_PAYLOAD, "payload: it is not the one that the act names")
        if sm3.hexdigest(view.encode()) != self.view:
            raise ZoneGateError(Reason.E_APPROVAL_VIEW, "view: it is not the text that the act names")


@dataclass(frozen=True, slots=True)
class Proposal:
    """An act with the text that officers are shown before they sign."""

    act: Act
    view: str


def propose(
    kind: ActKind,
    *,
    payload: bytes,
    view: str,
    target: str,
    organ: str,
    applicant: Identity,
    not_before: datetime,
    not_after: datetime,
    nonce: bytes,
) -> Proposal:
    """Return the proposal to do `kind` with `payload` to `target`; E_APPROVAL_FORMAT if a field cannot be."""
    shown = check_view(view)
    wire = ActWire(
        net=applicant.net.value,
        kind=kind.value,
        target=target,
        organ=organ,
        payload=sm3.hexdigest(payload),
        view=sm3.hexdigest(shown.encode()),
        applicant=str(applicant),
        notBefore=time_text(not_before),
        notAfter=time_text(not_after),
        nonce=nonce.hex(),
    )
    return Proposal(act_of(wire), shown)


# --- the written form


class ActWire(msgspec.Struct, forbid_unknown_fields=True):
    """An act as it is written."""

    net: str
    kind: str
    target: str
    organ: str
    payload: str
    view: str
    applicant: str
    notBefore: str  # noqa: N815 - the key as it is written
    notAfter: str  # noqa: N815
    nonce: str


class _Proposal(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    act: ActWire
    view: str


def encode_proposal(proposal: Proposal) -> bytes:
    """Return the proposal's file."""
    return encode(_Proposal(format=_PROPOSAL_FORMAT, act=act_wire(proposal.act), view=proposal.view))


def decode_proposal(raw: bytes) -> Proposal:
    """Return the proposal in `raw`; E_APPROVAL_FORMAT, or E_APPROVAL_VIEW if the text is not the act's."""
    wire = decode(raw, _Proposal, limit_bytes=PROPOSAL_MAX_BYTES, what="proposal", reason=Reason.E_APPROVAL_FORMAT)
    if wire.format != _PROPOSAL_FORMAT:
        raise refused(f"format: found {wire.format[:40]!r}, expected {_PROPOSAL_FORMAT}")
    act, view = act_of(wire.act), check_view(wire.view)
    if sm3.hexdigest(view.encode()) != act.view:
        raise ZoneGateError(Reason.E_APPROVAL_VIEW, "view: it is not the text that the act names")
    return Proposal(act, view)


def act_wire(act: Act) -> ActWire:
    """Return the written form of an act."""
    return ActWire(
        net=act.net.value,
        kind=act.kind.value,
        target=act.target,
        organ=act.organ,
        payload=act.payload,
        view=act.view,
        applicant=str(act.applicant),
        notBefore=time_text(act.not_before),
        notAfter=time_text(act.not_after),
        nonce=act.nonce,
    )


def act_of(wire: ActWire) -> Act:
    """Return the act in its written form; E_APPROVAL_FORMAT names the field that is wrong."""
    try:
        return _act_of(wire)
    except ValueError as exc:
        raise refused(f"act.{exc}") from exc


def _act_of(wire: ActWire) -> Act:
    if wire.net not in set(Net):
        msg = f"net: found {wire.net[:16]!r}, allowed are {', '.join(Net)}"
        raise ValueError(msg)
    if wire.kind not in set(ActKind):
        msg = f"kind: {wire.kind[:32]!r} is not a kind of act"
        raise ValueError(msg)
    check_uscc(wire.organ)
    applicant = parse_identity(wire.applicant)
    if applicant.net.value != wire.net:
        msg = f"applicant: is of the net {applicant.net}, the act of {wire.net}"
        raise ValueError(msg)
    _check_target(wire.target)
    for name, text in (("payload", wire.payload), ("view", wire.view)):
        if not _DIGEST.fullmatch(text):
            msg = f"{name}: is not an SM3 digest in lower-case hex"
            raise ValueError(msg)
    if not _NONCE.fullmatch(wire.nonce):
        msg = f"nonce: is not {NONCE_BYTES} bytes in lower-case hex"
        raise ValueError(msg)
    not_before, not_after = parse_instant(wire.notBefore), parse_instant(wire.notAfter)
    if not timedelta(0) < not_after - not_before <= LIFE_MAX:
        msg = f"notAfter: must be later than notBefore, by {LIFE_MAX.days} days at most"
        raise ValueError(msg)
    return Act(
        net=Net(wire.net),
        kind=ActKind(wire.kind),
        target=wire.target,
        organ=wire.organ,
        payload=wire.payload,
        view=wire.view,
        applicant=applicant,
        not_before=not_before,
        not_after=not_after,
        nonce=wire.nonce,
    )


def _check_target(target: str) -> None:
    unseen = any(unicodedata.category(char)[0] in "CZ" and char != " " for char in target)
    if not 0 < len(target) <= TARGET_MAX_CHARS or unseen or target.strip() != target:
        msg = f"target: must be 1 to {TARGET_MAX_CHARS} visible characters"
        raise ValueError(msg)


def check_view(view: str) -> str:
    """Return `view` if a terminal shows it as it is: no controls, no direction marks, no blank ends."""
    hidden = any(unicodedata.category(char) in _UNSEEN and char != "\n" for char in view)
    if not 0 < len(view) <= VIEW_MAX_CHARS or hidden or not view.strip():
        raise refused(f"view: must be 1 to {VIEW_MAX_CHARS} characters that all can be seen")
    return view


# Controls, formats (bidirectional marks, joiners), private, surrogate and unassigned characters, odd line ends.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})


def refused(detail: str) -> ZoneGateError:
    """Return the refusal of something that is not written as it must be."""
    return ZoneGateError(Reason.E_APPROVAL_FORMAT, detail)
