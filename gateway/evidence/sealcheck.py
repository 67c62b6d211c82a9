"""[d] Decides whether a seal is signed by somebody who may: certificates, revocation, signature, a second opinion.

Pure. Which records a seal covers, and whether they are the ones it covers, is `verify`'s question.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence import heads
from zonegate.gateway.evidence.seal import Seal, SignedHead, Statement, message_of
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, TrustAnchors, is_issued_by
from zonegate.reasons import Reason


class SecondOpinion(Protocol):
    """Another implementation of SM2 verification."""

    def __call__(self, public_key: bytes, signature: bytes, message: bytes) -> None:
        """Return if the signature verifies; otherwise raise `ZoneGateError`."""
        ...


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier believes."""

    anchors: TrustAnchors
    crls: tuple[Crl, ...] = ()
    heads: tuple[SignedHead, ...] = ()
    # The URI that the evidence certificates must name, where the auditor knows it.
    signer: str = ""
    # Segments before this one are archived elsewhere.
    first_segment: int = 1
    second_opinion: SecondOpinion | None = None


class SealJudge:
    """Knows the certificates of the headers read so far and judges the seals that they made."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._signatures = SignatureCache()
        self._signers: dict[str, list[Certificate]] = {}
        self.second_opinions = 0

    def know(self, certificates: Sequence[bytes]) -> str:
        """Take the certificates of a header; return whose they are. They are judged with the seals they make."""
        chain = [load_certificate(der) for der in certificates]
        uri = str(chain[0].identity)
        if self._trust.signer and uri != self._trust.signer:
            raise ZoneGateError(Reason.E_IDENTITY, f"is signed by {uri}, expected is {self._trust.signer}")
        self._signers[chain[0].fingerprint] = chain
        return uri

    def check_head(self, head: SignedHead) -> Statement:
        """Return the statement of a head that verifies under the same trust."""
        return heads.check_head(head, self._trust.anchors, signatures=self._signatures)

    def check(self, seal: Seal, statement: Statement) -> list[str]:
        """Return notes on a seal that verifies; the refusal where it does not."""
        certificates = self._signers.get(statement.signer)
        if certificates is None:
            raise ZoneGateError(Reason.E_SIGNATURE, "it names a certificate that no header holds")
        heads.check_signer(
            certificates,
            self._trust.anchors,
            gateway=statement.gateway,
            at=statement.time,
            signatures=self._signatures,
        )
        notes = self._check_status(certificates, statement)
        heads.check_signature(seal.statement, statement, seal.signature, certificates[0])
        if self._trust.second_opinion is not None:
            point = certificates[0].public_key.point
            self._trust.second_opinion(point, seal.signature, message_of(seal.statement))
            self.second_opinions += 1
        return notes

    def _check_status(self, certificates: Sequence[Certificate], statement: Statement) -> list[str]:
        """A certificate revoked later has sealed rightly before; what it dates earlier rests on the heads kept."""
        notes = []
        for crl in self._trust.crls:
            for issuer in (*certificates, *self._trust.anchors.roots):
                if not crl.issued_by(issuer):
                    continue
                self._verify_list(crl, issuer)
                for subject in certificates:
                    revocation = crl.revoked.get(subject.serial) if is_issued_by(subject, issuer) else None
                    if revocation is None:
                        continue
                    since = f"{subject.subject} is revoked since {revocation.at.isoformat()}"
                    if statement.time >= revocation.at:
                        problem = f"{since}, the seal is of {statement.time.isoformat()}"
                        raise ZoneGateError(Reason.E_CERT_REVOKED, problem)
                    notes.append(f"{since}; the time of the seals before rests on heads kept elsewhere")
        return notes

    def _verify_list(self, crl: Crl, issuer: Certificate) -> None:
        crl.check_issuer(issuer)
        try:
            self._signatures.verify(issuer.public_key, crl)
        except ZoneGateError as exc:
            raise ZoneGateError(Reason.E_CRL, f"CRL: {issuer.subject} has not signed it") from exc
