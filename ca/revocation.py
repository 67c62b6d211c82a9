"""The TBSCertList of a CRL, full, delta or shard (RV-01, RV-02). Pure: entries and times in, bytes out.

Which certificates are revoked is the ledger's; that no two lists of one issuer share a second or a number is the
ledger's too (crypto-facts: of two such lists a verifier keeps the first).

A shard is the list for the certificates whose serial has one remainder; its address, which such certificates name,
holds the number of shards, so that certificates issued under another number keep their list. A delta list says what
has changed since a full list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from zonegate.ca import asn1
from zonegate.ca.template import key_identifier
from zonegate.gm import sm2
from zonegate.pki.crl import Revocation, RevocationReason


@dataclass(frozen=True, slots=True)
class RevokedCertificate:
    """One certificate that a CRL lists."""

    serial: int
    at: datetime
    reason: RevocationReason


@dataclass(frozen=True, slots=True)
class RemovedCertificate:
    """One certificate that a delta list takes back: its hold was lifted, or it has ended."""

    serial: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ListShape:
    """What kind of list: by default a full one. `base` makes a delta, `shard_urls` a shard."""

    base: int | None = None
    shard_urls: tuple[str, ...] = ()
    freshest_urls: tuple[str, ...] = ()


FULL = ListShape()


def changes_since(
    base: Mapping[int, Revocation], current: Sequence[RevokedCertificate], *, now: datetime
) -> tuple[RevokedCertificate | RemovedCertificate, ...]:
    """Return the entries of the delta list that turns the full list `base` into `current`."""
    listed = {item.serial: item for item in current}
    changed = [
        item for item in current if base.get(item.serial) != Revocation(item.reason, item.at.replace(microsecond=0))
    ]
    removed = [RemovedCertificate(serial, now) for serial in base if serial not in listed]
    return (*changed, *removed)


def build_tbs_crl(
    issuer_der: bytes,
    issuer_key: sm2.PublicKey,
    revoked: Sequence[RevokedCertificate | RemovedCertificate],
    *,
    number: int,
    this_update: datetime,
    next_update: datetime,
    shape: ListShape = FULL,
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
            *_shape_extensions(shape),
        ],
    )


def _shape_extensions(shape: ListShape) -> list[asn1.Extension]:
    found: list[asn1.Extension] = []
    if shape.base is not None:
        delta = x509.DeltaCRLIndicator(shape.base)
        found.append(asn1.Extension(delta.oid.dotted_string, critical=True, value=delta.public_bytes()))
    if shape.shard_urls:
        names = [x509.UniformResourceIdentifier(url) for url in shape.shard_urls]
        point = x509.IssuingDistributionPoint(
            full_name=names,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        )
        found.append(asn1.Extension(point.oid.dotted_string, critical=True, value=point.public_bytes()))
    if shape.freshest_urls:
        names = [x509.UniformResourceIdentifier(url) for url in shape.freshest_urls]
        freshest = x509.FreshestCRL([x509.DistributionPoint(names, None, None, None)])
        found.append(asn1.Extension(freshest.oid.dotted_string, critical=False, value=freshest.public_bytes()))
    return found


def _entry(item: RevokedCertificate | RemovedCertificate) -> asn1.RevokedEntry:
    at = item.at.replace(microsecond=0)
    if isinstance(item, RemovedCertificate):
        lifted = x509.CRLReason(x509.ReasonFlags.remove_from_crl)
        extension = asn1.Extension(lifted.oid.dotted_string, critical=False, value=lifted.public_bytes())
        return asn1.RevokedEntry(item.serial, at, (extension,))
    # RFC 5280 5.3.1: an unspecified reason is said by saying none.
    if item.reason is RevocationReason.UNSPECIFIED:
        return asn1.RevokedEntry(item.serial, at)
    reason = x509.CRLReason(x509.ReasonFlags(item.reason.value))
    extension = asn1.Extension(reason.oid.dotted_string, critical=False, value=reason.public_bytes())
    return asn1.RevokedEntry(item.serial, at, (extension,))
