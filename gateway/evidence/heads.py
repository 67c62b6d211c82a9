"""[d] Decides whether a seal or a head is signed by an evidence certificate, and whether two heads of a chain agree.

Pure. The witness rule of architecture section 8: whoever has kept a peer's head notices when the peer's chain is
later shorter (`older`) or different (`fork`).
"""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.records import PeerHeadRecord
from zonegate.gateway.evidence.seal import SignedHead, Statement, message_of, read_head
from zonegate.gm.sm2 import CERT_ID
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.path import SignatureCache, TrustAnchors, verify_path
from zonegate.reasons import Reason

# Peers that one gateway can have; beyond it the oldest is forgotten, and only its conflicts go unnoticed here. Each
# sends a head a second: more than one a peer is not looked at, so that no peer can fill the disk with heads.
_PEER_LIMIT = 256
_WINDOW = timedelta(seconds=1)
# Heads come on two connections, so one may overtake the one before it; later than this it is no overtaking.
_OVERTAKEN = timedelta(seconds=5)


def check_signer(
    certificates: Sequence[Certificate],
    anchors: TrustAnchors,
    *,
    gateway: str,
    at: datetime,
    signatures: SignatureCache,
) -> None:
    """Return if the first certificate may sign evidence of `gateway` at `at`; otherwise the refusal.

    It may if it is an evidence certificate of the same net and organ. Which of an organ's evidence certificates a
    gateway holds is not the chain's to say: heads at other gateways show a chain that another one has signed anew.
    """
    leaf = certificates[0]
    if leaf.profile is not Profile.EVIDENCE:
        problem = f"certificate: {leaf.subject} is of profile {leaf.profile or 'none'}, evidence is needed"
        raise ZoneGateError(Reason.E_CERT_USAGE, problem)
    verify_path(leaf, certificates[1:], anchors, now=at, signatures=signatures)
    holder = leaf.identity
    if holder is None or not gateway.startswith(f"spiffe://{holder.net}/{holder.organ}/"):
        problem = f"certificate: {leaf.subject} is of {holder or 'nobody'}, the evidence of {gateway}"
        raise ZoneGateError(Reason.E_IDENTITY, problem)


def check_signature(text: str, statement: Statement, signature: bytes, leaf: Certificate) -> None:
    """Return if `leaf` has signed the statement `text`, and the statement names it."""
    if statement.signer != leaf.fingerprint:
        raise ZoneGateError(Reason.E_SIGNATURE, "seal: names another certificate than the one that came with it")
    leaf.public_key.verify(signature, message_of(text), signer_id=CERT_ID)


def check_head(head: SignedHead, anchors: TrustAnchors | None, *, signatures: SignatureCache) -> Statement:
    """Return the statement of a head whose signature verifies, and whose chain does where anchors are given."""
    statement = head.read()
    certificates = [load_certificate(der) for der in head.certificates]
    check_signature(head.statement, statement, head.signature, certificates[0])
    if anchors is not None:
        check_signer(certificates, anchors, gateway=statement.gateway, at=statement.time, signatures=signatures)
    return statement


class PeerHeads:
    """The newest head of each peer chain, to compare the next one with."""

    def __init__(self, anchors: TrustAnchors | None) -> None:
        self._anchors = anchors
        self._signatures = SignatureCache()
        # By gateway too: what one gateway says of a chain must not weigh against another.
        self._newest: dict[tuple[str, str], tuple[Statement, datetime]] = {}
        self._window: datetime | None = None
        self._judged = 0

    def judge(self, data: bytes, *, now: datetime) -> PeerHeadRecord | None:
        """Return the record to keep; a bad signature or format raises.

        None if this head is known, has been overtaken by the one known, or is one too many.
        """
        if self._window is None or not self._window <= now < self._window + _WINDOW:
            self._window, self._judged = now, 0
        self._judged += 1
        if self._judged > _PEER_LIMIT:
            return None
        head, unproven = read_head(data)
        before, since = self._newest.get((unproven.gateway, unproven.chain), (None, now))
        if before is not None and before == unproven:
            return None
        statement = check_head(head, self._anchors, signatures=self._signatures)
        conflict = "" if before is None else _conflict(before, statement)
        if before is not None and conflict == "older":
            just_overtaken = statement.time <= before.time and since <= now <= since + _OVERTAKEN
            if just_overtaken:
                return None
        if not conflict:
            self._keep(statement, now)
        return PeerHeadRecord(
            time=now,
            chain=statement.chain,
            gateway=statement.gateway,
            batch=statement.batch,
            records=statement.last + 1,
            root=statement.root,
            head=base64.b64encode(data).decode(),
            conflict=conflict,
        )

    def remember(self, head: str, *, now: datetime) -> None:
        """Take a peer's newest head from one's own evidence: a restart must not make the witness forget."""
        try:
            data = base64.b64decode(head, validate=True)
        except ValueError as exc:
            raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, "peer-head: its head is not base64") from exc
        self._keep(read_head(data)[1], now)

    def _keep(self, statement: Statement, now: datetime) -> None:
        key = (statement.gateway, statement.chain)
        self._newest.pop(key, None)
        self._newest[key] = (statement, now)
        if len(self._newest) > _PEER_LIMIT:
            del self._newest[next(iter(self._newest))]


def _conflict(before: Statement, after: Statement) -> Literal["", "fork", "older"]:
    if after.batch < before.batch or after.last < before.last:
        return "older"
    if after.batch == before.batch:
        return "fork"
    # The next batch carries the root before it, so two heads in a row can be compared further.
    if after.batch == before.batch + 1 and after.previous_root != before.root:
        return "fork"
    return ""
