"""Decides whether a certificate belongs to a net: leaf -> sub-CA(s) -> one of the net's roots (step 1, CE-06, CA-14).

Pure: certificates, lists and `now` in; the chain or one refusal out. Every signature is SM2-with-SM3 under the
certificate id. Not decided here: which profile a caller wants, which zone an identity has, and the TLS session.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Crl
from zonegate.reasons import Reason

MAX_DEPTH = 4  # leaf, at most two sub-CAs, root
MAX_INTERMEDIATES = 8
_MAX_CHAINS = 4


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The roots of one net. A process holds anchors of one net only (CA-14)."""

    net: Net
    roots: tuple[Certificate, ...]


class StatusRule(StrEnum):
    """What revocation lists must be there."""

    WHEN_GIVEN = "when-given"  # no list at all: status is not judged; any list: as REQUIRED
    REQUIRED = "required"  # a fresh list of the issuer of every certificate but the root
    STALE_ALLOWED = "stale-allowed"  # lists count whatever their age, and may be missing (below grade 3)


class _Signed(Protocol):
    @property
    def fingerprint(self) -> str: ...
    @property
    def tbs(self) -> bytes: ...
    @property
    def signature(self) -> bytes: ...


class SignatureCache:
    """Remembers signatures that verified, so that a known sub-CA or list costs nothing; bounded.

    Only success is remembered, by the issuer's point and the SM3 digest of the whole object. Two generations: when
    the young one is full it becomes the old one, and what was old and not asked for again is forgotten.
    """

    def __init__(self, limit: int = 4096) -> None:
        self._half = max(limit // 2, 1)
        self._young: set[tuple[bytes, str]] = set()
        self._old: set[tuple[bytes, str]] = set()

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def verify(self, issuer: sm2.PublicKey, signed: _Signed) -> None:
        """Return if `issuer` signed it under the certificate id; otherwise `E_SIGNATURE` or `E_SIGNATURE_FORMAT`."""
        key = (issuer.point, signed.fingerprint)
        if key in self._young:
            return
        if key not in self._old:
            issuer.verify(signed.signature, signed.tbs, signer_id=sm2.CERT_ID)
        if len(self._young) >= self._half:
            self._old, self._young = self._young, set()
        self._young.add(key)


def verify_path(
    leaf: Certificate,
    intermediates: Sequence[Certificate],
    anchors: TrustAnchors,
    *,
    now: datetime,
    crls: Sequence[Crl] = (),
    status: StatusRule = StatusRule.WHEN_GIVEN,
    signatures: SignatureCache | None = None,
) -> tuple[Certificate, ...]:
    """Return the chain from `leaf` to a root of `anchors`, every rule met; otherwise raise the first refusal."""
    _check_net(leaf, anchors.net)
    if leaf in anchors.roots:
        raise ZoneGateError(Reason.E_CERT_USAGE, "certificate: a root is not presented as an end entity")
    if len(intermediates) > MAX_INTERMEDIATES:
        raise ZoneGateError(
            Reason.E_CERT_CHAIN,
            f"chain: {len(intermediates)} intermediate certificates were sent, at most {MAX_INTERMEDIATES} are allowed",
        )
    cache = SignatureCache() if signatures is None else signatures
    judge = _Judge(anchors.net, now, tuple(crls), status, cache)
    refusal: ZoneGateError | None = None
    for count, chain in enumerate(_chains((leaf,), tuple(intermediates), anchors.roots)):
        if count == _MAX_CHAINS:
            break
        try:
            judge.check(chain)
        except ZoneGateError as exc:
            refusal = refusal or exc
        else:
            return chain
    raise refusal or _no_chain(leaf, intermediates, anchors)


def is_issued_by(subject: Certificate, issuer: Certificate) -> bool:
    """Whether names and key identifiers fit; the signature is not looked at."""
    if subject.issuer_der != issuer.subject_der:
        return False
    return subject.aki is None or issuer.ski is None or subject.aki == issuer.ski


def _chains(
    chain: tuple[Certificate, ...], intermediates: tuple[Certificate, ...], roots: tuple[Certificate, ...]
) -> Iterator[tuple[Certificate, ...]]:
    """Yield every way from the last of `chain` to a root, by names and key identifiers."""
    if len(chain) == MAX_DEPTH:
        return
    for root in roots:
        if is_issued_by(chain[-1], root):
            yield (*chain, root)
    for candidate in intermediates:
        if candidate not in chain and candidate not in roots and is_issued_by(chain[-1], candidate):
            yield from _chains((*chain, candidate), intermediates, roots)


def _no_chain(leaf: Certificate, intermediates: Sequence[Certificate], anchors: TrustAnchors) -> ZoneGateError:
    """Return why no chain exists: a foreign root, a foreign net, or simply a gap."""
    top, seen = leaf, {leaf}
    while not top.self_issued:
        above = [other for other in intermediates if other not in seen and is_issued_by(top, other)]
        if not above:
            break
        top = above[0]
        seen.add(top)
        try:
            _check_net(top, anchors.net)
        except ZoneGateError as exc:
            return exc
    if top.self_issued:
        return ZoneGateError(
            Reason.E_TRUST_DOMAIN, f"chain: it ends at {top.subject}, which is not a root of the {anchors.net} net"
        )
    if len(seen) >= MAX_DEPTH:
        return ZoneGateError(Reason.E_CERT_CHAIN, f"chain: it has more than {MAX_DEPTH} certificates")
    return ZoneGateError(Reason.E_CERT_CHAIN, f"chain: the issuer of {top.subject} was not presented")


def _check_net(certificate: Certificate, net: Net) -> None:
    if certificate.net is not net:
        found = certificate.net or "no net"
        raise ZoneGateError(
            Reason.E_TRUST_DOMAIN, f"certificate policy: {certificate.subject} names {found}, expected is {net}"
        )
    if certificate.identity is not None and certificate.identity.net is not net:
        raise ZoneGateError(
            Reason.E_TRUST_DOMAIN, f"identity: {certificate.identity} is of another net, expected is {net}"
        )


@dataclass(frozen=True, slots=True)
class _Judge:
    """The rules for one chain, cheap ones first."""

    net: Net
    now: datetime
    crls: tuple[Crl, ...]
    status: StatusRule
    signatures: SignatureCache

    def check(self, chain: tuple[Certificate, ...]) -> None:
        *below, root = chain
        for certificate in below:
            _check_net(certificate, self.net)
        # An external root (architecture section 6) carries no policy of ours: being the installed anchor, byte for
        # byte, is what makes it this net's. Naming another net is refused all the same.
        if root.net is not None:
            _check_net(root, self.net)
        for depth, issuer in enumerate(chain[1:]):
            _check_issuer(issuer, depth)
        for certificate in chain:
            self._check_validity(certificate)
        for subject, issuer in pairwise(chain):
            self._check_signature(subject, issuer)
        for subject, issuer in pairwise(chain):
            self._check_status(subject, issuer)

    def _check_validity(self, certificate: Certificate) -> None:
        if self.now < certificate.not_before:
            raise ZoneGateError(
                Reason.E_CERT_NOT_YET_VALID,
                f"validity: {certificate.subject} is valid from {certificate.not_before.isoformat()}",
            )
        if self.now > certificate.not_after:
            raise ZoneGateError(
                Reason.E_CERT_EXPIRED,
                f"validity: {certificate.subject} was valid until {certificate.not_after.isoformat()}",
            )

    def _check_signature(self, subject: Certificate, issuer: Certificate) -> None:
        try:
            self.signatures.verify(issuer.public_key, subject)
        except ZoneGateError as exc:
            raise ZoneGateError(
                Reason.E_CERT_CHAIN, f"signature: {issuer.subject} has not signed {subject.subject}"
            ) from exc

    def _check_status(self, subject: Certificate, issuer: Certificate) -> None:
        if self.status is StatusRule.WHEN_GIVEN and not self.crls:
            return
        newest = _newest_list(self.crls, subject, issuer)
        if newest is None:
            if self.status is StatusRule.STALE_ALLOWED:
                return
            raise ZoneGateError(Reason.E_STATUS_STALE, f"status: there is no revocation list of {issuer.subject}")
        self._check_list(newest, issuer)
        revocation = newest.revoked.get(subject.serial)
        delta = _newest_delta(self.crls, newest)
        if delta is not None:
            self._check_list(delta, issuer)
            # The delta is the later word on what it names, a hold that was lifted included.
            revocation = None if subject.serial in delta.removed else delta.revoked.get(subject.serial, revocation)
        # A certificate once on the list stays refused even when the list is old.
        if revocation is not None:
            raise ZoneGateError(
                Reason.E_CERT_REVOKED,
                f"status: {subject.subject} is revoked since {revocation.at.isoformat()} ({revocation.reason})",
            )
        if self.status is not StatusRule.STALE_ALLOWED and not newest.fresh_at(self.now):
            raise ZoneGateError(
                Reason.E_STATUS_STALE,
                f"status: the list of {issuer.subject} is good from {newest.this_update.isoformat()}"
                f" to before {newest.next_update.isoformat()}",
            )

    def _check_list(self, crl: Crl, issuer: Certificate) -> None:
        crl.check_issuer(issuer)
        try:
            self.signatures.verify(issuer.public_key, crl)
        except ZoneGateError as exc:
            raise ZoneGateError(Reason.E_CRL, f"CRL: {issuer.subject} has not signed it") from exc


def _newest_list(crls: Sequence[Crl], subject: Certificate, issuer: Certificate) -> Crl | None:
    """Return the newest list that speaks of `subject` by itself: a full one, or the shard that it names (RV-02).

    Numbers count within one scope only (RFC 5280 5.2.3), so the newest of each scope is found by number, and the
    newest of those by time.
    """
    newest: dict[tuple[str, ...], Crl] = {}
    for crl in crls:
        if crl.base is not None or not crl.issued_by(issuer):
            continue
        if crl.shard and not set(crl.shard) & set(subject.crl_urls):
            continue
        held = newest.get(crl.shard)
        if held is None or (crl.number, crl.this_update) > (held.number, held.this_update):
            newest[crl.shard] = crl
    return max(newest.values(), key=lambda crl: crl.this_update, default=None)


def _newest_delta(crls: Sequence[Crl], full: Crl) -> Crl | None:
    """Return the newest delta list that may be laid over `full` (RFC 5280 5.2.4); an older or other one is ignored."""
    usable = [
        crl
        for crl in crls
        if crl.base is not None
        and (crl.issuer_der, crl.aki, crl.shard) == (full.issuer_der, full.aki, full.shard)
        and crl.base <= full.number < crl.number
    ]
    return max(usable, key=lambda crl: crl.number, default=None)


def _check_issuer(issuer: Certificate, sub_cas_below: int) -> None:
    if not issuer.is_ca or "keyCertSign" not in issuer.key_usage:
        raise ZoneGateError(
            Reason.E_CERT_USAGE, f"basicConstraints: {issuer.subject} is not a CA and cannot issue (CE-06)"
        )
    if issuer.path_length is not None and sub_cas_below > issuer.path_length:
        raise ZoneGateError(
            Reason.E_CERT_USAGE,
            f"pathLenConstraint: {issuer.subject} allows {issuer.path_length} CAs below it, {sub_cas_below} are there",
        )
