"""The TBSCertList of a CRL (RV-01). Pure: entries and times in, bytes out.

Which certificates are revoked is the ledger's; that no two lists of one issuer share a second or a number is the
ledger's too (crypto-facts: of two such lists a verifier keeps the first). Delta lists are not built here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from zonegate.ca import asn1
from zonegate.ca.template import key_identifier
from zonegate.gm import sm2
from zonegate.pki.crl import RevocationReason


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One certificate that a CRL lists."""

    serial: int
    at: datetime
    reason: RevocationReason


def build_tbs_crl(
    issuer_der: bytes,
    issuer_key: sm2.PublicKey,
    revoked: Sequence[RevokedCertificate],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
) -> bytes:
    """Return the DER of the TBSCertList number `number`, entries in order of serial."""
    identifier = x509.AuthorityKeyIdentifier(key_identifier(issuer_key), None, None)
    crl_number = x509.CRLNumber(number)
    return asn1.encode_tbs_crl(
        issuer=issuer_der,
        this_update=this_update,
        next_update=next_update,
        revoked=[_entry(item) for item in sorted(revoked, key=lambda item: item.serial)],
        extensions=[
            asn1.Extension(identifier.oid.dotted_string, critical=False, value=identifier.public_bytes()),
            asn1.Extension(crl_number.oid.dotted_string, critical=False, value=crl_number.public_bytes()),
        ],
    )


def _entry(item: RevokedCertificate) -> asn1.RevokedEntry:
    at = item.at.replace(microsecond=0)
    # RFC 5280 5.3.1: an unspecified reason is said by saying none.
    if item.reason is RevocationReason.UNSPECIFIED:
        return asn1.RevokedEntry(item.serial, at)
    reason = x509.CRLReason(x509.ReasonFlags(item.reason.value))
    extension = asn1.Extension(reason.oid.dotted_string, critical=False, value=reason.public_bytes())
    return asn1.RevokedEntry(item.serial, at, (extension,))
