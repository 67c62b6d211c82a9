"""[d] The revocation lists in force, and what a new list changes (RV-01, RV-02).

Pure: lists in, a new view or one refusal out; the view in force is never altered. A list counts only if a CA of this
net has signed it and its number is higher than the one held. Fetching them is `status`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.live import CertificateKey
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Crl, load_crl
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class StatusView:
    """The newest accepted list of each issuer; `epoch` grows with every change."""

    issuers: tuple[Certificate, ...]
    rule: StatusRule
    crls: tuple[Crl, ...] = ()
    epoch: int = 0

    def list_of(self, issuer_der: bytes) -> Crl | None:
        """Return the list in force of an issuer, by its DER name."""
        for crl in self.crls:
            if crl.issuer_der == issuer_der:
                return crl
        return None

    def check(self, path: Sequence[Certificate], now: datetime) -> None:
        """Raise E_CERT_REVOKED or, where the rule demands fresh lists, E_STATUS_STALE, for a path without its root."""
        for certificate in path:
            crl = self.list_of(certificate.issuer_der)
            if crl is None:
                if self.rule is StatusRule.REQUIRED:
                    raise ZoneGateError(
                        Reason.E_STATUS_STALE, f"status: there is no revocation list of {certificate.issuer}"
                    )
                continue
            revocation = crl.revoked.get(certificate.serial)
            if revocation is not None:
                raise ZoneGateError(
                    Reason.E_CERT_REVOKED,
                    f"status: {certificate.subject} is revoked since {revocation.at:%Y-%m-%dT%H:%M:%SZ}"
                    f" ({revocation.reason})",
                )
            if self.rule is not StatusRule.STALE_ALLOWED and not crl.fresh_at(now):
                raise ZoneGateError(
                    Reason.E_STATUS_STALE,
                    f"status: the list of {certificate.issuer} ended {crl.next_update:%Y-%m-%dT%H:%M:%SZ}",
                )

    def fresh(self, now: datetime) -> bool:
        """Whether there is a list in date of every issuer."""
        lists = [self.list_of(issuer.subject_der) for issuer in self.issuers]
        return all(crl is not None and crl.fresh_at(now) for crl in lists)

    @property
    def fresh_until(self) -> datetime | None:
        """The earliest nextUpdate; None when an issuer has no list."""
        lists = [self.list_of(issuer.subject_der) for issuer in self.issuers]
        ends = [crl.next_update for crl in lists if crl is not None]
        return min(ends) if ends and len(ends) == len(lists) else None

    def accept(self, source: bytes, now: datetime) -> "Acceptance":
        """Return the view with the list in `source`; raises E_CRL or E_CRL_NUMBER and leaves this view in force."""
        crl = load_crl(source)
        held = self.list_of(crl.issuer_der)
        if held is not None and held.der == crl.der:
            return Acceptance(self, crl, frozenset())
        issuers = [issuer for issuer in self.issuers if crl.issued_by(issuer)]
        if not issuers:
            raise ZoneGateError(Reason.E_CRL, "CRL.issuer: is not a CA that this process knows")
        # Signature before number: an unsigned list must not be able to say anything about numbers.
        crl.verify(issuers[0])
        if held is not None and crl.number <= held.number:
            raise ZoneGateError(
                Reason.E_CRL_NUMBER,
                f"CRL.crlNumber: {crl.number}, the list of {issuers[0].subject} held is {held.number}",
            )
        # The CA's clock runs ahead of ours: the list held stays in force until ours has caught up.
        if crl.this_update > now:
            raise ZoneGateError(Reason.E_CRL, f"CRL.thisUpdate: {crl.this_update:%Y-%m-%dT%H:%M:%SZ} is to come")
        before = held.revoked.keys() if held is not None else frozenset[int]()
        revoked = frozenset((crl.issuer_der, serial) for serial in crl.revoked.keys() - before)
        others = tuple(other for other in self.crls if other.issuer_der != crl.issuer_der)
        return Acceptance(replace(self, crls=(*others, crl), epoch=self.epoch + 1), crl, revoked)


@dataclass(frozen=True, slots=True)
class Acceptance:
    """What came of a list: the view to use from now on, the list, and the certificates that it newly revokes."""

    view: StatusView
    crl: Crl
    revoked: frozenset[CertificateKey]
