"""Reads a CRL v2 (RV-01, RV-02) into a value and checks that its issuer signed it.

`load_crl` takes full lists only and refuses the rest, so a verifier that knows of nothing else stays safe. `load_any`
takes delta lists and shards (lists for the certificates that name their address) as well; what they mean together is
`path`'s judgement. Indirect lists and lists for some reasons only are refused. Freshness is judged by whoever holds a
`now`: `path`, or a poller by `fresh_at`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple

from zonegate.errors import ZoneGateError
from zonegate.gm import der, pem, sm2, sm3
from zonegate.pki.certificate import (
    SERIAL_MAX_OCTETS,
    Certificate,
    check_signature_algorithm,
    decode_time,
    read_signed,
    read_time,
)
from zonegate.pki.crl_extensions import OID_DELTA, OID_PARTITION, read_extension, read_extensions
from zonegate.reasons import Reason

PEM_LABEL: Final = "X509 CRL"
CRL_LIMIT_BYTES = 1 << 26

_OID_REASON = "2.5.29.21"


class RevocationReason(StrEnum):
    """CRLReason of RFC 5280; removeFromCRL exists on delta lists only."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "keyCompromise"
    CA_COMPROMISE = "cACompromise"
    AFFILIATION_CHANGED = "affiliationChanged"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessationOfOperation"
    CERTIFICATE_HOLD = "certificateHold"
    PRIVILEGE_WITHDRAWN = "privilegeWithdrawn"
    AA_COMPROMISE = "aACompromise"


REASON_CODES: Final[Mapping[int, RevocationReason]] = MappingProxyType(
    {
        0: RevocationReason.UNSPECIFIED,
        1: RevocationReason.KEY_COMPROMISE,
        2: RevocationReason.CA_COMPROMISE,
        3: RevocationReason.AFFILIATION_CHANGED,
        4: RevocationReason.SUPERSEDED,
        5: RevocationReason.CESSATION_OF_OPERATION,
        6: RevocationReason.CERTIFICATE_HOLD,
        9: RevocationReason.PRIVILEGE_WITHDRAWN,
        10: RevocationReason.AA_COMPROMISE,
    }
)


class _Lifted(Enum):
    """removeFromCRL (8): what a delta list takes back."""

    REMOVED = 8


class Revocation(NamedTuple):
    """Why and since when a serial is revoked or held."""

    reason: RevocationReason
    at: datetime


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Crl:
    """A parsed list. Unverified until `verify` has returned."""

    der: bytes
    tbs: bytes
    signature: bytes
    fingerprint: str
    issuer_der: bytes
    aki: bytes | None
    number: int
    this_update: datetime
    next_update: datetime
    revoked: Mapping[int, Revocation]
    base: int | None = None  # a delta list: the number of the full list that it changes
    removed: frozenset[int] = frozenset()  # a delta list: serials that are on the base and no longer revoked
    shard: tuple[str, ...] = ()  # a shard: it speaks of certificates that name one of these addresses, only
    freshest_urls: tuple[str, ...] = ()

    @property
    def is_full(self) -> bool:
        """Whether the list speaks of every certificate of its issuer by itself."""
        return self.base is None and not self.shard

    def issued_by(self, issuer: Certificate) -> bool:
        """Whether name and key identifier are those of `issuer`; the signature is not looked at."""
        if self.issuer_der != issuer.subject_der:
            return False
        return self.aki is None or issuer.ski is None or self.aki == issuer.ski

    def verify(self, issuer: Certificate) -> None:
        """Return if `issuer` may sign lists and has signed this one; otherwise `E_CRL`."""
        self.check_issuer(issuer)
        try:
            issuer.public_key.verify(self.signature, self.tbs, signer_id=sm2.CERT_ID)
        except ZoneGateError as exc:
            raise ZoneGateError(Reason.E_CRL, "CRL: the signature does not verify with the issuer's key") from exc

    def check_issuer(self, issuer: Certificate) -> None:
        """Return if `issuer` may be the signer, by name, key identifier and usage; otherwise `E_CRL`."""
        if not self.issued_by(issuer):
            raise ZoneGateError(Reason.E_CRL, f"CRL: is not by {issuer.subject}")
        if not issuer.is_ca or "cRLSign" not in issuer.key_usage:
            raise ZoneGateError(Reason.E_CRL, f"CRL: {issuer.subject} is not allowed to sign lists (cRLSign)")

    def fresh_at(self, now: datetime) -> bool:
        """Whether `now` is from thisUpdate to before nextUpdate."""
        return self.this_update <= now < self.next_update

    @property
    def pem(self) -> bytes:
        """The list as a PEM block."""
        return pem.encode(PEM_LABEL, self.der)

    def __repr__(self) -> str:
        span = f"{self.this_update.isoformat()} to {self.next_update.isoformat()}"
        return f"Crl(number={self.number}, {len(self.revoked)} entries, {span})"


def load_crl(source: bytes) -> Crl:
    """Return the full list in DER, or in PEM text that holds exactly one; `E_CRL` names the field that is wrong."""
    crl = load_any(source)
    if not crl.is_full:
        name = OID_PARTITION if crl.base is None else OID_DELTA
        raise ZoneGateError(Reason.E_CRL, f"CRL: crlExtensions: {name} is not accepted, only full lists are")
    return crl


def load_any(source: bytes) -> Crl:
    """Return the list, which may be full, a delta or a shard; `E_CRL` names the field that is wrong."""
    if not 0 < len(source) <= CRL_LIMIT_BYTES:
        raise ZoneGateError(Reason.E_CRL, f"CRL: is {len(source)} bytes, 1 to {CRL_LIMIT_BYTES} are allowed")
    try:
        if source[:64].lstrip().startswith(b"-----"):
            blocks = pem.decode(PEM_LABEL, source)
            if len(blocks) != 1:
                msg = f"the PEM text holds {len(blocks)} lists, exactly one is expected"
                raise der.DerError(msg)
            source = blocks[0]
        return _read(source)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CRL, f"CRL: {exc}") from exc
    except ZoneGateError as exc:
        # The algorithm check is shared with certificates and has their reason.
        raise ZoneGateError(Reason.E_CRL, f"CRL: {exc.detail}") from exc


def _read(source: bytes) -> Crl:
    tbs, signature = read_signed(source, "CertificateList")
    body = der.Reader(tbs).sequence("TBSCertList")
    if body.peek() != der.INTEGER or body.integer("version") != 1:
        msg = "version: only v2 is accepted"
        raise der.DerError(msg)
    check_signature_algorithm(body.tlv(), "TBSCertList.signature")
    issuer = body.tlv()
    this_update = read_time(body, "thisUpdate")
    if body.peek() not in (der.UTC_TIME, der.GENERALIZED_TIME):
        msg = "nextUpdate: is missing"
        raise der.DerError(msg)
    next_update = read_time(body, "nextUpdate")
    if this_update >= next_update:
        msg = "nextUpdate: is not after thisUpdate"
        raise der.DerError(msg)
    revoked: dict[int, Revocation] = {}
    removed: frozenset[int] = frozenset()
    if body.peek() == der.SEQUENCE:
        revoked, removed = _read_entries(body.read(der.SEQUENCE, "revokedCertificates"))
    found = read_extensions(body)
    body.end("TBSCertList")
    if removed and found.base is None:
        msg = "reasonCode: removeFromCRL is not a reason of RFC 5280 for a full list"
        raise der.DerError(msg)
    if found.base is not None and found.base >= found.number:
        msg = f"deltaCRLIndicator: base {found.base} is not before number {found.number}"
        raise der.DerError(msg)
    return Crl(
        der=source,
        tbs=tbs,
        signature=signature,
        fingerprint=sm3.hexdigest(source),
        issuer_der=issuer,
        aki=found.aki,
        number=found.number,
        this_update=this_update,
        next_update=next_update,
        revoked=MappingProxyType(revoked),
        base=found.base,
        removed=removed,
        shard=found.shard,
        freshest_urls=found.freshest,
    )


def _read_entries(buffer: bytes) -> tuple[dict[int, Revocation], frozenset[int]]:
    """Return the revoked serials, and those that a delta list takes back.

    Written flat, with a memo on the encodings of dates and reasons: lists of 100,000 entries are polled by gateways.
    An entry is `30 len 02 len serial date [extensions]` and always shorter than 128 bytes.
    """
    if not buffer:
        msg = "revokedCertificates: is empty, it must then be absent (RFC 5280 5.1.2.6)"
        raise der.DerError(msg)
    revoked: dict[int, Revocation] = {}
    removed: set[int] = set()
    dates: dict[bytes, datetime] = {}
    reasons: dict[bytes, RevocationReason | _Lifted] = {b"": RevocationReason.UNSPECIFIED}
    position, end = 0, len(buffer)
    while position < end:
        start = position + 4
        if start > end or buffer[position] != der.SEQUENCE or buffer[position + 2] != der.INTEGER:
            msg = "revokedCertificates: an entry is not SEQUENCE { serial, date, … }"
            raise der.DerError(msg)
        size, octets = buffer[position + 1], buffer[position + 3]
        position += 2 + size
        after = start + octets
        if size > 0x7F or position > end or after + 15 > position or not 0 < octets <= SERIAL_MAX_OCTETS:
            msg = "revokedCertificates: an entry is cut off or its serial has no or too many octets"
            raise der.DerError(msg)
        first = buffer[start]
        if first & 0x80 or (first == 0 and not (octets > 1 and buffer[start + 1] & 0x80)):
            msg = "revokedCertificates: a serial is zero, negative or not minimal"
            raise der.DerError(msg)
        serial = int.from_bytes(buffer[start:after], "big")
        date_end = after + 2 + buffer[after + 1]
        date_octets, extension_octets = buffer[after:date_end], buffer[date_end:position]
        at = dates.get(date_octets)
        if at is None:
            at = dates[date_octets] = _read_date(buffer[after:position])
        reason = reasons.get(extension_octets)
        if reason is None:
            reason = reasons[extension_octets] = _read_entry_extensions(extension_octets)
        if serial in revoked or serial in removed:
            msg = f"revokedCertificates: serial {serial:x} stands there twice"
            raise der.DerError(msg)
        if reason is _Lifted.REMOVED:
            removed.add(serial)
        else:
            revoked[serial] = Revocation(reason, at)
    return revoked, frozenset(removed)


def _read_date(rest: bytes) -> datetime:
    tag, content = der.Reader(rest).element()
    return decode_time(tag, content, "revocationDate")


def _read_entry_extensions(octets: bytes) -> RevocationReason | _Lifted:
    reader = der.Reader(octets)
    extensions = reader.sequence("crlEntryExtensions")
    reader.end("crlEntryExtensions")
    if extensions.at_end():
        msg = "crlEntryExtensions: are empty, they must then be absent"
        raise der.DerError(msg)
    reason: RevocationReason | _Lifted = RevocationReason.UNSPECIFIED
    seen: set[str] = set()
    while not extensions.at_end():
        name, critical, value = read_extension(extensions, seen)
        if name == _OID_REASON:
            code = der.Reader(value).read(der.ENUMERATED, "reasonCode")
            if len(value) == 3 and code == bytes((_Lifted.REMOVED.value,)):
                reason = _Lifted.REMOVED
                continue
            if len(code) != 1 or code[0] not in REASON_CODES or len(value) != 3:
                msg = "reasonCode: is not a reason of RFC 5280"
                raise der.DerError(msg)
            reason = REASON_CODES[code[0]]
        elif critical:
            msg = f"crlEntryExtensions: {name} is critical and not understood here"
            raise der.DerError(msg)
    return reason
