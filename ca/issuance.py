"""The issuing cycle: build, lint under a throw-away key, reserve the serial, sign, check the output, record.

After Boulder and SPIRE. Only this module asks the key store for a signature on a certificate. A crash after the
reservation leaves a row `reserved` for everybody to see; nothing that was signed can be missing from the ledger.
Whether a request may be granted was decided before (`request`, `profile`).
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime

from zonegate.ca import asn1
from zonegate.ca.audit import AuditEntry
from zonegate.ca.keystore import KeyStore
from zonegate.ca.kmc.client import KeySource
from zonegate.ca.ledger import Ledger, Reservation
from zonegate.ca.lint.rule import Context
from zonegate.ca.lint.run import lint
from zonegate.ca.names import SubjectName
from zonegate.ca.profile import ProfileRules, Validity
from zonegate.ca.template import IssuerName, Plan, build_tbs
from zonegate.ca.weakkeys import check_key_strength
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2, sm3
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.csr_response import CsrResponse
from zonegate.pki.csr_response import check as check_response
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

SERIAL_BYTES = 16


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be issued, all checked but the key's novelty."""

    rules: ProfileRules
    subject: SubjectName
    identity: Identity | None
    public_key: sm2.PublicKey
    validity: Validity


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who signs: the name of the key, what certificates say of it, and its certificate (None: a root signs itself)."""

    key: Profile
    name: IssuerName
    certificate: Certificate | None


class IssuingCycle:
    """The steps and what they need; the throw-away key lives as long as this object and is used for lint alone."""

    def __init__(self, net: Net, ledger: Ledger, keystore: KeyStore) -> None:
        self._net = net
        self._ledger = ledger
        self._keystore = keystore
        self._lint_key = sm2.PrivateKey.generate()

    def run(
        self, order: Order, issuer: Issuer, audit: Callable[[Certificate], AuditEntry], *, now: datetime
    ) -> Certificate:
        """Return the certificate, signed, and recorded with the audit row that `audit` makes of it."""
        prepared = self._prepare(order, issuer, new_serial())
        self._ledger.reserve(prepared.reservation, now=now)
        certificate = self._sign(prepared, issuer)
        self._ledger.record(certificate.serial, certificate.der, audit(certificate), now=now)
        return certificate

    def run_dual(
        self,
        order: Order,
        encryption: ProfileRules,
        issuer: Issuer,
        source: KeySource,
        audit: Callable[[Certificate], AuditEntry],
        *,
        now: datetime,
    ) -> CsrResponse:
        """Return signing certificate, encryption certificate and envelope; both are recorded or neither is (CE-05).

        The key centre is asked between two records of ours: before, that it will be asked; after, both certificates.
        A key that it gave and that got no certificate, for whatever reason, is told to it and never used.
        """
        if order.identity is None:
            raise ZoneGateError(Reason.E_PROFILE, f"profile: {order.rules.profile.value} has no holder")
        self._ledger.check_new_key(key_digest(order.public_key), now=now)
        signing = self._prepare(order, issuer, new_serial())
        serial = new_serial()
        self._ledger.ask_key(serial, now=now)
        try:
            escrowed = source.apply(serial, encryption.profile, order.identity, order.public_key)
            check_key_strength(escrowed.public_key)
            wanted = replace(order, rules=encryption, public_key=escrowed.public_key)
            encrypting = self._prepare(wanted, issuer, serial)
            self._ledger.reserve(signing.reservation, encrypting.reservation, now=now)
            pair = (self._sign(signing, issuer), self._sign(encrypting, issuer))
            above = () if issuer.certificate is None else (issuer.certificate,)
            response = CsrResponse((pair[0], *above), escrowed.envelope, (pair[1],))
            check_response(response)
            signed = [(made.serial, made.der) for made in pair]
            self._ledger.record_pair(signed, [audit(made) for made in pair], escrowed=serial, now=now)
        except ZoneGateError:
            # Best effort: if the centre cannot be reached now, the row stays `asked` and is settled later.
            with suppress(ZoneGateError):
                give_back(self._ledger, source, serial, "no certificate was issued")
            raise
        return response

    def _prepare(self, order: Order, issuer: Issuer, serial: int) -> "_Prepared":
        plan = Plan(order.rules, order.subject, order.identity, order.public_key, order.validity, serial)
        tbs = build_tbs(plan, issuer.name, net=self._net)
        self._lint(tbs, issuer)
        return _Prepared(tbs, _reservation(plan, issuer, tbs))

    def _sign(self, prepared: "_Prepared", issuer: Issuer) -> Certificate:
        signature = self._keystore.sign(issuer.key, prepared.tbs, signer_id=sm2.CERT_ID)
        return check_output(asn1.encode_signed(prepared.tbs, signature), prepared.tbs, issuer.name.public_key)

    def _lint(self, tbs: bytes, issuer: Issuer) -> None:
        sample = asn1.encode_signed(tbs, self._lint_key.sign(tbs, signer_id=sm2.CERT_ID))
        findings = lint(sample, Context(issuer.certificate, issuer.name.ocsp_urls))
        if findings:
            raise ZoneGateError(Reason.E_LINT, "; ".join(str(finding) for finding in findings))


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A linted TBSCertificate and what is reserved for it."""

    tbs: bytes
    reservation: Reservation


def give_back(ledger: Ledger, source: KeySource, serial: int, reason: str) -> None:
    """Tell the centre that the key of `serial` is not in use, and record that it was told."""
    try:
        source.revoke(serial, reason)
    except ZoneGateError as exc:
        # It never gave a key, or has archived it already: both are what is wanted.
        if exc.reason not in (Reason.E_NOT_ESCROWED, Reason.E_KEY_STATE):
            raise
    ledger.settle_key(serial)


def new_serial() -> int:
    """Return 16 random bytes as a positive number of 16 bytes (CE-07): the two top bits are 01."""
    octets = bytearray(secrets.token_bytes(SERIAL_BYTES))
    octets[0] = octets[0] & 0x3F | 0x40
    return int.from_bytes(octets, "big")


def check_output(der: bytes, tbs: bytes, issuer_key: sm2.PublicKey) -> Certificate:
    """Return the certificate if it says what was linted and verifies with the issuer's published key."""
    certificate = load_certificate(der)
    if certificate.tbs != tbs:
        raise ZoneGateError(Reason.E_INTERNAL, "certificate: what was signed is not what was checked; it is withheld")
    try:
        issuer_key.verify(certificate.signature, tbs, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        detail = "signature: the key store's signature does not verify with the issuer's certificate; it is withheld"
        raise ZoneGateError(Reason.E_SIGNATURE, detail) from exc
    return certificate


def _reservation(plan: Plan, issuer: Issuer, tbs: bytes) -> Reservation:
    return Reservation(
        serial=plan.serial,
        issuer=issuer.key,
        profile=plan.rules.profile,
        subject=str(plan.subject),
        identity=None if plan.identity is None else str(plan.identity),
        key_digest=key_digest(plan.public_key),
        tbs_digest=sm3.digest(tbs).hex(),
        not_before=plan.validity.not_before,
        not_after=plan.validity.not_after,
    )


def key_digest(public_key: sm2.PublicKey) -> str:
    """Return the name of a key in the ledger: SM3 of its SubjectPublicKeyInfo."""
    return sm3.digest(public_key.spki).hex()
