"""The acts of one net's CA: issue, revoke, release, publish a list. Each is audited, each refusal too.

It takes requests, never private keys of subscribers (CA-05). The root's key is needed for the sub-CA's certificate
and the root's own list only. How a certificate looks is decided in `request`, `profile`, `template` and `lint`.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from zonegate.ca.audit import Act, AuditEntry, Result
from zonegate.ca.config import CaSettings
from zonegate.ca.database import time_text
from zonegate.ca.issuance import Issuer, IssuingCycle, Order, give_back
from zonegate.ca.keystore import KeyStore
from zonegate.ca.kmc.client import KeySource
from zonegate.ca.ledger import CrlDraft, Ledger, TooSoonError, serial_text
from zonegate.ca.lists import ListMaker, MadeLists, carried_until
from zonegate.ca.names import SubjectName
from zonegate.ca.profile import ENCRYPTION_OF, RULES, Validity, choose_validity
from zonegate.ca.publication import Publication
from zonegate.ca.request import check_request, parse_request
from zonegate.ca.revocation import RevokedCertificate
from zonegate.ca.template import IssuerName
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2, sm3
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.crl import Crl, RevocationReason
from zonegate.pki.csr_response import CsrResponse
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

DETAIL_MAX_CHARS = 500
_CRL_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Term:
    """The validity that is asked for; what is None is chosen by the profile."""

    not_before: datetime | None = None
    not_after: datetime | None = None


ANY_TERM = Term()


class Authority:
    """One net's CA: its root's and its sub-CA's acts."""

    def __init__(
        self,
        settings: CaSettings,
        ledger: Ledger,
        keystore: KeyStore,
        publication: Publication,
        clock: Clock,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.publication = publication
        self._keystore = keystore
        self._clock = clock
        self._pause = pause
        self._cycle = IssuingCycle(settings.net, ledger, keystore)
        self._lists = ListMaker(keystore, publication)

    def close(self) -> None:
        """Give the ledger's file handles back."""
        self.ledger.close()

    def certificate(self, issuer: Profile) -> Certificate:
        """Return the certificate of the root or of the sub-CA."""
        path = self.publication.certificate_path(issuer)
        try:
            return load_certificate(path.read_bytes())
        except OSError as exc:
            raise ZoneGateError(Reason.E_CONFIG, f"public/{path.name}: cannot be read: {exc.strerror}") from exc

    def issue(self, request: bytes, profile: Profile, *, actor: str, term: Term = ANY_TERM) -> Certificate:
        """Return the certificate for a PKCS#10 request, or refuse it naming the field."""
        now = self._clock.now()
        target = f"{profile.value} request sm3:{sm3.digest(request).hex()}"
        with self._audited(Act.ISSUE, target, actor):
            parsed = parse_request(request)
            rules = RULES[profile]
            check_request(parsed, rules, net=self.settings.net)
            issuer = self._issuer(Profile.SUB_CA)
            validity = self._validity(profile, term, issuer.certificate, now)
            order = Order(rules, parsed.subject, parsed.identity, parsed.public_key, validity)

            def audit(made: Certificate) -> AuditEntry:
                detail = f"{target}: {made.identity} {made.subject}"
                return self._entry(Act.ISSUE, serial_text(made.serial), actor, detail, now)

            return self._cycle.run(order, issuer, audit, now=now)

    def issue_dual(
        self, request: bytes, profile: Profile, source: KeySource, *, actor: str, term: Term = ANY_TERM
    ) -> CsrResponse:
        """Return signing certificate, encryption certificate and enveloped key for one request (CE-05, CA-04)."""
        now = self._clock.now()
        target = f"dual {profile.value} request sm3:{sm3.digest(request).hex()}"
        with self._audited(Act.ISSUE, target, actor):
            parsed = parse_request(request)
            rules = RULES[profile]
            check_request(parsed, rules, net=self.settings.net)
            if profile not in ENCRYPTION_OF:
                allowed = ", ".join(item.value for item in ENCRYPTION_OF)
                raise ZoneGateError(Reason.E_PROFILE, f"profile: {profile.value} has no encryption key, {allowed} have")
            issuer = self._issuer(Profile.SUB_CA)
            validity = self._validity(profile, term, issuer.certificate, now)
            order = Order(rules, parsed.subject, parsed.identity, parsed.public_key, validity)

            def audit(made: Certificate) -> AuditEntry:
                detail = f"{target}: {made.profile} {made.identity} {made.subject}"
                return self._entry(Act.ISSUE, serial_text(made.serial), actor, detail, now)

            self.settle_keys(source)
            return self._cycle.run_dual(order, RULES[ENCRYPTION_OF[profile]], issuer, source, audit, now=now)

    def settle_keys(self, source: KeySource) -> int:
        """Tell the key centre which keys have no living certificate; return how many could not be told yet."""
        leaving = self.ledger.leaving_keys(now=self._clock.now())
        for told, serial in enumerate(leaving):
            try:
                give_back(self.ledger, source, serial, "certificate revoked or never issued")
            except ZoneGateError as exc:
                if exc.reason is Reason.E_LEDGER:
                    raise
                # A centre that cannot be told one cannot be told the others; the next act tries again.
                return len(leaving) - told
        return 0

    def make_root(self, subject: SubjectName, *, actor: str, term: Term = ANY_TERM) -> Certificate:
        """Make the root's key and its self-signed certificate."""
        key = self._keystore.generate(Profile.ROOT)
        settings = self.settings.root
        name = IssuerName(subject.der, key, tuple(settings.crl_urls), tuple(settings.ocsp_urls))
        return self._make_ca(Profile.ROOT, subject, key, Issuer(Profile.ROOT, name, None), actor, term)

    def make_sub_ca(self, subject: SubjectName, *, actor: str, term: Term = ANY_TERM) -> Certificate:
        """Make the sub-CA's key and its certificate under the root."""
        key = self._keystore.generate(Profile.SUB_CA)
        return self._make_ca(Profile.SUB_CA, subject, key, self._issuer(Profile.ROOT), actor, term)

    def revoke(self, serial: int, reason: RevocationReason, *, actor: str) -> None:
        """Revoke a certificate, or hold it; the next list says so."""
        now = self._clock.now()
        target = serial_text(serial)
        with self._audited(Act.REVOKE, target, actor):
            if self.ledger.find(serial).reservation.profile is Profile.ROOT:
                detail = "serial: is the root's; a root is withdrawn by removing it from the trust anchors"
                raise ZoneGateError(Reason.E_PROFILE, detail)
            entry = self._entry(Act.REVOKE, target, actor, reason.value, now)
            self.ledger.revoke(RevokedCertificate(serial, now.replace(microsecond=0), reason), entry)

    def release(self, serial: int, *, actor: str) -> None:
        """Lift a hold; the next list no longer has the certificate."""
        target = serial_text(serial)
        with self._audited(Act.RELEASE, target, actor):
            self.ledger.release(serial, self._entry(Act.RELEASE, target, actor, "", self._clock.now()))

    def publish_crl(self, issuer: Profile, *, actor: str) -> Crl:
        """Sign and publish the next revocation list of the root or of the sub-CA."""
        target = f"crl {issuer.value}"
        with self._audited(Act.CRL, target, actor):
            signer, settings = self.certificate(issuer), self.settings.issuer(issuer)
            draft = self._draft(issuer, settings.crl_lifetime)
            made = self._lists.full(issuer, signer, settings, draft)
            return self._published(draft, made, target, actor)

    def publish_delta(self, issuer: Profile, *, actor: str) -> Crl:
        """Sign and publish what has changed since the full list that is published (RV-02)."""
        target = f"delta crl {issuer.value}"
        with self._audited(Act.CRL, target, actor):
            signer, lifetime = self.certificate(issuer), self.settings.issuer(issuer).delta_lifetime
            base = self._lists.published(issuer)
            if lifetime is None or base is None:
                missing = "delta_minutes: is not set" if lifetime is None else "base: no full list is published yet"
                raise ZoneGateError(Reason.E_CRL, f"{missing}; a delta list cannot be made")
            draft = self._draft(issuer, lifetime)
            return self._published(draft, self._lists.delta(issuer, signer, base, draft), target, actor)

    def _published(self, draft: CrlDraft, made: MadeLists, target: str, actor: str) -> Crl:
        crl = made.first
        detail = f"number {crl.number}, {len(crl.revoked)} entries"
        if crl.base is not None:
            detail += f", {len(crl.removed)} removed, base {crl.base}"
        entry = self._entry(Act.CRL, target, actor, detail, self._clock.now())
        self.ledger.publish_crl(draft, crl.fingerprint, made.write, entry)
        return crl

    # --- inside

    def _make_ca(
        self, profile: Profile, subject: SubjectName, key: sm2.PublicKey, issuer: Issuer, actor: str, term: Term
    ) -> Certificate:
        now = self._clock.now()
        target = f"{profile.value} certificate"
        with self._audited(Act.INIT, target, actor):
            validity = self._validity(profile, term, issuer.certificate, now)
            order = Order(RULES[profile], subject, None, key, validity)

            def audit(made: Certificate) -> AuditEntry:
                return self._entry(Act.INIT, serial_text(made.serial), actor, f"{target}: {made.subject}", now)

            certificate = self._cycle.run(order, issuer, audit, now=now)
        self.publication.write_certificate(profile, certificate.der)
        return certificate

    def _issuer(self, key: Profile) -> Issuer:
        certificate = self.certificate(key)
        if self.ledger.find(certificate.serial).revocation is not None:
            raise ZoneGateError(Reason.E_CERT_REVOKED, f"issuer: the {key.value} certificate is itself revoked")
        settings = self.settings.issuer(key)
        name = IssuerName(
            certificate.subject_der,
            certificate.public_key,
            tuple(settings.crl_urls),
            tuple(settings.ocsp_urls),
            settings.crl_shards,
        )
        return Issuer(key, name, certificate)

    def _validity(self, profile: Profile, term: Term, issuer: Certificate | None, now: datetime) -> Validity:
        return choose_validity(
            RULES[profile],
            now=now,
            not_before=term.not_before,
            not_after=term.not_after,
            limit=self.settings.limit(profile),
            issuer=None if issuer is None else Validity(issuer.not_before, issuer.not_after),
        )

    def _draft(self, issuer: Profile, lifetime: timedelta) -> CrlDraft:
        # Only where deltas are made can the last list be other than the full one that is published.
        carried = None
        if self.settings.issuer(issuer).delta_lifetime is not None:
            carried = carried_until(self._lists.published(issuer))
        for _ in range(_CRL_ATTEMPTS):
            try:
                return self.ledger.draft_crl(issuer, now=self._clock.now(), lifetime=lifetime, carried=carried)
            except TooSoonError as exc:
                self._pause(exc.wait.total_seconds())
        detail = "thisUpdate: the clock stands still or runs behind the last list; no list can be newer than it"
        raise ZoneGateError(Reason.E_CRL, detail)

    @contextmanager
    def _audited(self, act: Act, target: str, actor: str) -> Iterator[None]:
        try:
            yield
        except ZoneGateError as exc:
            # A ledger that fails cannot record its own failure; the operator sees it on the console.
            if exc.reason is not Reason.E_LEDGER:
                at = time_text(self._clock.now())
                detail = exc.detail[:DETAIL_MAX_CHARS]
                self.ledger.append_audit(AuditEntry(at, actor, act, target, Result.REFUSED, exc.reason.value, detail))
            raise

    def _entry(self, act: Act, target: str, actor: str, detail: str, now: datetime) -> AuditEntry:
        return AuditEntry(time_text(now), actor, act, target, Result.DONE, Reason.OK.value, detail[:DETAIL_MAX_CHARS])
