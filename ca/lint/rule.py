"""What a lint rule is, and what it looks at. A rule reads one certificate and returns a sentence or nothing. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509

from zonegate.ca import asn1
from zonegate.pki.certificate import Certificate
from zonegate.pki.oids import NET_OF_POLICY, PROFILE_OF_POLICY, Profile

ExtensionT = TypeVar("ExtensionT", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Context:
    """What is known beside the certificate; None is "not known", and the rules about it stay silent."""

    issuer: Certificate | None = None
    ocsp_urls: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One certificate, decoded two ways: as encoded (`tbs`) and with typed extensions."""

    signed: asn1.SignedObject
    tbs: asn1.TbsCertificate
    extensions: tuple[x509.Extension[x509.ExtensionType], ...]
    context: Context

    def extension(self, kind: type[ExtensionT]) -> ExtensionT | None:
        """Return the value of the extension of that type."""
        return next((item.value for item in self.extensions if isinstance(item.value, kind)), None)

    def raw(self, oid: str) -> asn1.Extension | None:
        """Return the extension of that OID as encoded."""
        return next((item for item in self.tbs.extensions if item.oid == oid), None)

    @property
    def policies(self) -> tuple[str, ...]:
        """The policy OIDs, in order."""
        found = self.extension(x509.CertificatePolicies)
        return () if found is None else tuple(item.policy_identifier.dotted_string for item in found)

    @property
    def profile(self) -> Profile | None:
        """The profile that the policies name."""
        return next((PROFILE_OF_POLICY[oid] for oid in self.policies if oid in PROFILE_OF_POLICY), None)

    @property
    def net(self) -> str | None:
        """The net that the policies name."""
        return next((NET_OF_POLICY[oid].value for oid in self.policies if oid in NET_OF_POLICY), None)

    @property
    def not_before(self) -> datetime:
        """The start of validity."""
        return self.tbs.not_before[1]

    @property
    def not_after(self) -> datetime:
        """The end of validity."""
        return self.tbs.not_after[1]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its id, the clause it comes from, and the function that returns what is wrong or None."""

    rule_id: str
    clause: str
    check: Callable[[Target], str | None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule has found."""

    rule_id: str
    clause: str
    problem: str

    def __str__(self) -> str:
        return f"{self.rule_id} ({self.clause}): {self.problem}"


def rule(rule_id: str, clause: str) -> Callable[[Callable[[Target], str | None]], Rule]:
    """Make the function below it a rule."""

    def made(check: Callable[[Target], str | None]) -> Rule:
        return Rule(rule_id, clause, check)

    return made
