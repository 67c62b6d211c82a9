"""[d] The ticket by which a connector vouches for its system across two hops (architecture section 3).

A ticket is DER, `SEQUENCE { body, OCTET STRING signature }`, and body is `SEQUENCE { version INTEGER, caller
UTF8String, ingress UTF8String, notBefore, notAfter GeneralizedTime, chain SEQUENCE OF Certificate }`. The system's SM2
key signs `CONTEXT` and the body under the certificate id. So a broken gateway can neither invent a caller nor deny
one. Not decided here: whether the caller is revoked by now (asked for each call) and which zone it stands in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm2, sm3
from zonegate.identity import Identity, parse_identity
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.credential import Credential
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason

# Keeps a ticket's signature from standing for anything else that this key signs.
CONTEXT = b"zonegate ticket v1\x00"
TICKET_LIMIT_BYTES = 8192
LIFE_MAX = timedelta(minutes=10)
# How far a connector's clock may run ahead of the gateway's.
SKEW = timedelta(seconds=30)
TABLE_SIZE = 64

_VERSION = 1
_CHAIN_MAX = 3
_TIME_SHAPE = re.compile(rb"[0-9]{14}Z")
_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Ticket:
    """A verified ticket. `chain` is the caller's path, leaf first, without the root; `digest` is SM3 in hex."""

    identity: Identity
    ingress: str
    chain: tuple[Certificate, ...]
    not_before: datetime
    expires: datetime
    digest: str

    @property
    def certificate(self) -> Certificate:
        """The caller's own certificate."""
        return self.chain[0]


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a ticket says, before anything of it is believed."""

    body: bytes
    caller: str
    ingress: str
    not_before: datetime
    expires: datetime
    chain: tuple[bytes, ...]
    signature: bytes


def issue(credential: Credential, ingress: str, *, now: datetime, life: timedelta = LIFE_MAX) -> bytes:
    """Return a ticket for the holder of `credential` at the gateway with the URI `ingress`."""
    leaf = credential.chain[0]
    if leaf.identity is None or leaf.profile is not Profile.SYSTEM:
        raise ZoneGateError(Reason.E_CERT_USAGE, f"ticket: profile {leaf.profile} has none, only a system's has")
    if not timedelta(0) < life <= LIFE_MAX:
        raise ZoneGateError(Reason.E_TICKET, f"ticket: a life of {life}, at most {LIFE_MAX} is allowed")
    parse_identity(ingress)
    start = now.astimezone(UTC).replace(microsecond=0)
    body = der.sequence(
        der.integer(_VERSION),
        der.tlv(der.UTF8_STRING, str(leaf.identity).encode()),
        der.tlv(der.UTF8_STRING, ingress.encode()),
        _time(start),
        _time(start + life),
        der.sequence(*(certificate.der for certificate in credential.chain if not certificate.self_issued)),
    )
    signature = credential.key.sign(CONTEXT + body, signer_id=sm2.CERT_ID)
    return der.sequence(body, der.octet_string(signature))


def verify(
    ticket: bytes,
    anchors: TrustAnchors,
    *,
    ingress: str,
    now: datetime,
    crls: Sequence[Crl] = (),
    status: StatusRule = StatusRule.WHEN_GIVEN,
    signatures: SignatureCache | None = None,
) -> Ticket:
    """Return the ticket if it is whole, in time, for `ingress` and signed by a system of this net.

    Raises E_TICKET, E_TICKET_EXPIRED, or the reason for which the caller's certificate is refused.
    """
    claims = _read(ticket)
    if claims.ingress != ingress:
        raise ZoneGateError(Reason.E_TICKET, f"ticket.ingress: {claims.ingress}, this call came in through {ingress}")
    if claims.expires - claims.not_before > LIFE_MAX or claims.expires <= claims.not_before:
        raise ZoneGateError(
            Reason.E_TICKET,
            f"ticket.notAfter: {claims.expires - claims.not_before} after notBefore, at most {LIFE_MAX}",
        )
    if now < claims.not_before - SKEW:
        raise ZoneGateError(Reason.E_TICKET, f"ticket.notBefore: {claims.not_before:%Y-%m-%dT%H:%M:%SZ} is to come")
    if now >= claims.expires:
        raise ZoneGateError(Reason.E_TICKET_EXPIRED, f"ticket.notAfter: {claims.expires:%Y-%m-%dT%H:%M:%SZ} is past")
    leaf, *others = [_certificate(one) for one in claims.chain]
    if leaf.profile is not Profile.SYSTEM or "digitalSignature" not in leaf.key_usage:
        raise ZoneGateError(Reason.E_CERT_USAGE, f"ticket.chain: profile {leaf.profile}, a system's is needed")
    if leaf.identity is None or str(leaf.identity) != claims.caller:
        raise ZoneGateError(Reason.E_TICKET, f"ticket.caller: {claims.caller}, the certificate names {leaf.identity}")
    path = verify_path(leaf, others, anchors, now=now, crls=crls, status=status, signatures=signatures)
    try:
        leaf.public_key.verify(claims.signature, CONTEXT + claims.body, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        raise ZoneGateError(Reason.E_TICKET, f"ticket.signature: {leaf.subject} has not signed it") from exc
    return Ticket(leaf.identity, ingress, path[:-1], claims.not_before, claims.expires, sm3.hexdigest(ticket))


def _read(ticket: bytes) -> _Claims:
    if not 0 < len(ticket) <= TICKET_LIMIT_BYTES:
        raise ZoneGateError(Reason.E_TICKET, f"ticket: {len(ticket)} bytes, 1 to {TICKET_LIMIT_BYTES} are allowed")
    try:
        return _read_claims(ticket)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_TICKET, f"ticket: {exc}") from exc


def _read_claims(ticket: bytes) -> _Claims:
    outer = der.Reader(ticket)
    whole = outer.sequence("ticket")
    outer.end("ticket")
    body = whole.tlv()
    signature = whole.read(der.OCTET_STRING, "signature")
    whole.end("ticket")
    reader = der.Reader(body).sequence("body")
    version = reader.integer("version")
    if version != _VERSION:
        msg = f"version: {version}, {_VERSION} is allowed"
        raise der.DerError(msg)
    caller = reader.read(der.UTF8_STRING, "caller").decode()
    ingress = reader.read(der.UTF8_STRING, "ingress").decode()
    parse_identity(caller)
    parse_identity(ingress)
    not_before, expires = _read_time(reader, "notBefore"), _read_time(reader, "notAfter")
    certificates = reader.sequence("chain")
    reader.end("body")
    chain = []
    while not certificates.at_end():
        chain.append(certificates.tlv())
    if not 0 < len(chain) <= _CHAIN_MAX:
        msg = f"chain: {len(chain)} certificates, 1 to {_CHAIN_MAX} are allowed"
        raise der.DerError(msg)
    return _Claims(body, caller, ingress, not_before, expires, tuple(chain), signature)


def _certificate(source: bytes) -> Certificate:
    try:
        return load_certificate(source)
    except ZoneGateError as exc:
        if exc.reason is Reason.E_DER:
            raise ZoneGateError(Reason.E_TICKET, f"ticket.chain: {exc.detail}") from exc
        raise


def _time(at: datetime) -> bytes:
    return der.tlv(der.GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").encode())


def _read_time(reader: der.Reader, what: str) -> datetime:
    content = reader.read(der.GENERALIZED_TIME, what)
    if not _TIME_SHAPE.fullmatch(content):
        msg = f"{what}: is not YYYYMMDDhhmmssZ"
        raise der.DerError(msg)
    text = content.decode("ascii")
    year, month, day, hour, minute, second = int(text[:4]), *(int(text[at : at + 2]) for at in range(4, 14, 2))
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


class TicketTable:
    """The tickets that one connection has carried, so that each travels once.

    Sender and receiver each keep one. Header blocks are ordered on a connection and both ends forget the oldest of the
    same number, so they agree without a word, on one condition: a block for which `refer` said "new" is sent.
    """

    def __init__(self, size: int = TABLE_SIZE) -> None:
        self._size = size
        self._tickets: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def refer(self, ticket: bytes) -> tuple[bool, bytes]:
        """Return whether the whole ticket must be sent, and the key (hex) that names it from then on."""
        key = _key(ticket)
        if key in self._tickets:
            return False, key
        self._insert(key, ticket)
        return True, key

    def learn(self, ticket: bytes) -> bytes:
        """Remember a ticket that came whole, verified or not, and return its key."""
        if len(ticket) > TICKET_LIMIT_BYTES:
            raise ZoneGateError(Reason.E_TICKET, f"ticket: {len(ticket)} bytes, at most {TICKET_LIMIT_BYTES}")
        key = _key(ticket)
        if key not in self._tickets:
            self._insert(key, ticket)
        return key

    def lookup(self, key: bytes) -> bytes | None:
        """Return the ticket that `key` names on this connection."""
        return self._tickets.get(key)

    def _insert(self, key: bytes, ticket: bytes) -> None:
        if len(self._tickets) >= self._size:
            del self._tickets[next(iter(self._tickets))]
        self._tickets[key] = ticket


def _key(ticket: bytes) -> bytes:
    return sm3.digest(ticket)[:_KEY_BYTES].hex().encode()
