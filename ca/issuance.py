"""The issuing cycle: build, lint under a throw-away key, reserve the serial, sign, check the output, record.

After Boulder and SPIRE. Only this module asks the key store for a signature on a certificate. A crash after the
reservation leaves a row `reserved` for everybody to see; nothing that was signed can be missing from the ledger.
Whether a request may be granted was decided before (`request`, `profile`).
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from zonegate.ca import asn1
from zonegate.ca.audit import AuditEntry
from zonegate.ca.keystore import KeyStore
from zonegate.ca.ledger import Ledger, Reservation
from zonegate.ca.lint.rule import Context
from zonegate.ca.lint.run import lint
from zonegate.ca.names import SubjectName
from zonegate.ca.profile import ProfileRules, Validity
from zonegate.ca.template import IssuerName, Plan, build_tbs
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2, sm3
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Certificate, load_certificate
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
        serial = new_serial()
        plan = Plan(order.rules, order.subject, order.identity, order.public_key, order.validity, serial)
        tbs = build_tbs(plan, issuer.name, net=self._net)
        self._lint(tbs, issuer)
        self._ledger.reserve(_reservation(plan, issuer, tbs), now=now)
        signature = self._keystore.sign(issuer.key, tbs, signer_id=sm2.CERT_ID)
        certificate = check_output(asn1.encode_signed(tbs, signature), tbs, issuer.name.public_key)
        self._ledger.record(serial, certificate.der, audit(certificate), now=now)
        return certificate

    def _lint(self, tbs: bytes, issuer: Issuer) -> None:
        sample = asn1.encode_signed(tbs, self._lint_key.sign(tbs, signer_id=sm2.CERT_ID))
        findings = lint(sample, Context(issuer.certificate, issuer.name.ocsp_urls))
        if findings:
            raise ZoneGateError(Reason.E_LINT, "; ".join(str(finding) for finding in findings))


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
