"""[a] Verifies peers against one net's anchors and the revocation lists in force.

What makes a chain good is decided in `check` and `pki.path`. This holds what they need and remembers signatures that
verified and certificates that were read, so that a peer that comes back costs no SM2; validity and revocation are
judged anew every time. Several handshake threads use one verifier.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Protocol

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import check
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason

_REMEMBERED = 4096


class StatusSource(Protocol):
    """Whoever holds the revocation lists in force."""

    @property
    def crls(self) -> tuple[Crl, ...]:
        """The newest accepted list of each issuer; an immutable snapshot."""
        ...


class NoStatus:
    """For a net that publishes no lists yet; only with a rule that does not demand them."""

    crls: tuple[Crl, ...] = ()


class PeerVerifier:
    """One net's roots, the CA certificates known beforehand, and the status of their certificates."""

    def __init__(
        self,
        anchors: TrustAnchors,
        *,
        intermediates: Sequence[Certificate] = (),
        status: StatusSource,
        status_rule: StatusRule,
        clock: Clock,
    ) -> None:
        check.check_anchors(anchors, intermediates)
        self._anchors = anchors
        self._intermediates = tuple(intermediates)
        self._status = status
        self._status_rule = status_rule
        self._clock = clock
        self._signatures = SignatureCache()
        self._lock = threading.Lock()
        self._certificates: OrderedDict[bytes, Certificate] = OrderedDict()

    @property
    def anchors(self) -> TrustAnchors:
        """The roots of the net that this verifier serves."""
        return self._anchors

    @property
    def authorities(self) -> tuple[Certificate, ...]:
        """Roots and known sub-CAs."""
        return (*self._anchors.roots, *self._intermediates)

    @property
    def signatures(self) -> SignatureCache:
        """The signatures that verified, for others of this process that verify paths (tickets)."""
        return self._signatures

    def verify(self, chain: Sequence[bytes]) -> tuple[Certificate, ...]:
        """Return the verified path of a presented chain, leaf first, without the root; raise E_CERT_* and others."""
        check.check_chain(chain)
        known = self._known(chain)
        leaf, *sent = [certificate or self._read(der) for certificate, der in zip(known, chain, strict=True)]
        path = self.verify_certificates(leaf, sent)
        check.check_leaf(leaf)
        # Only certificates of verified paths are remembered: strangers cannot push them out.
        self._remember(path)
        return path

    def verify_certificates(self, leaf: Certificate, sent: Sequence[Certificate]) -> tuple[Certificate, ...]:
        """Return the verified path of certificates that are read already; any profile of leaf."""
        others = [certificate for certificate in self._intermediates if certificate not in sent]
        path = verify_path(
            leaf,
            (*sent, *others),
            self._anchors,
            now=self._clock.now(),
            crls=self._status.crls,
            status=self._status_rule,
            signatures=self._signatures,
        )
        return path[:-1]

    def _read(self, der: bytes) -> Certificate:
        try:
            return load_certificate(der)
        except ZoneGateError as exc:
            if exc.reason is Reason.E_DER:
                raise ZoneGateError(Reason.E_CERT_CHAIN, exc.detail) from exc
            raise

    def _known(self, chain: Sequence[bytes]) -> list[Certificate | None]:
        with self._lock:
            return [self._certificates.get(der) for der in chain]

    def _remember(self, path: Sequence[Certificate]) -> None:
        with self._lock:
            for certificate in path:
                self._certificates[certificate.der] = certificate
                self._certificates.move_to_end(certificate.der)
            while len(self._certificates) > _REMEMBERED:
                self._certificates.popitem(last=False)
