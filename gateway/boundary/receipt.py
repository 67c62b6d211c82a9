"""[d] The receipt that the caller of a one_way method holds: its own gateway's signed word of what was accepted.

Pure. What is signed is a text of `name=value` lines that any SM2 library can rebuild (docs/import.md, "Receipt"); the
protobuf message that carries the same values is `convert`'s business. A receipt says accepted for transport and never
delivered: nothing comes back from the other net, so nothing could say more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.gm.sm2 import PrivateKey
from zonegate.pki.certificate import Certificate, Profile, load_certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import TrustAnchors, verify_path
from zonegate.reasons import Reason

STATEMENT: Final = "accepted for transport, not delivered"
HEADING: Final = "zonegate receipt v1"
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_INSTANT_FORM = "%Y-%m-%dT%H:%M:%S.%fZ"
_SIGNER_PROFILES = frozenset({Profile.GATEWAY, Profile.EVIDENCE})
_CHAIN_LIMIT = 4


@dataclass(frozen=True, slots=True)
class Accepted:
    """What a receipt says."""

    object_id: str
    crossing: str
    digest: str
    message_count: int
    message_bytes: int
    accepted_at: datetime
    caller: str
    resource: str
    path: str
    gateway: str

    @property
    def text(self) -> bytes:
        """What is signed."""
        values = {
            "object_id": self.object_id,
            "crossing_id": self.crossing,
            "digest": self.digest,
            "message_count": str(self.message_count),
            "message_bytes": str(self.message_bytes),
            "accepted_at": format_instant(self.accepted_at),
            "caller": self.caller,
            "resource": self.resource,
            "path": self.path,
            "gateway": self.gateway,
            "statement": STATEMENT,
        }
        for name, value in values.items():
            if "\n" in value:
                msg = f"{name}: holds a line break"
                raise ValueError(msg)
        return "".join([f"{HEADING}\n", *(f"{name}={value}\n" for name, value in values.items())]).encode()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was accepted, with the gateway's signature and its certificates, leaf first."""

    accepted: Accepted
    signature: bytes
    certificates: tuple[bytes, ...]


def sign_receipt(accepted: Accepted, key: PrivateKey, chain: Sequence[bytes]) -> Receipt:
    """Return the receipt signed with the gateway's key."""
    return Receipt(accepted, key.sign(accepted.text, signer_id=sm2.CERT_ID), tuple(chain))


def verify_receipt(receipt: Receipt, anchors: TrustAnchors, *, now: datetime, crls: Sequence[Crl] = ()) -> Certificate:
    """Return the signer's certificate, or raise E_IMPORT_FORMAT, E_IMPORT_SIGNATURE, E_TRUST_DOMAIN or E_CERT_*.

    The chain must have been valid when the receipt was made: a receipt outlives the certificate that signed it.
    """
    if not 1 <= len(receipt.certificates) <= _CHAIN_LIMIT:
        detail = f"certificates: {len(receipt.certificates)} found, 1 to {_CHAIN_LIMIT} are allowed"
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, detail)
    try:
        leaf, *rest = (load_certificate(der) for der in receipt.certificates)
        text = receipt.accepted.text
    except (ZoneGateError, ValueError) as exc:
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, f"receipt: cannot be read: {exc}") from exc
    if receipt.accepted.accepted_at > now:
        detail = f"accepted_at: {format_instant(receipt.accepted.accepted_at)} is in the future"
        raise ZoneGateError(Reason.E_IMPORT_EXPIRED, detail)
    verify_path(leaf, rest, anchors, now=receipt.accepted.accepted_at, crls=crls)
    if leaf.profile not in _SIGNER_PROFILES or str(leaf.identity) != receipt.accepted.gateway:
        detail = f"signer: {leaf.identity} with profile {leaf.profile} does not speak for {receipt.accepted.gateway}"
        raise ZoneGateError(Reason.E_IMPORT_SIGNATURE, detail)
    try:
        leaf.public_key.verify(receipt.signature, text, signer_id=sm2.CERT_ID)
    except ZoneGateError as exc:
        raise ZoneGateError(Reason.E_IMPORT_SIGNATURE, "signature: does not verify over the receipt") from exc
    return leaf


def format_instant(moment: datetime) -> str:
    """Return an instant in the one form that receipts use."""
    return moment.astimezone(UTC).strftime(_INSTANT_FORM)


def parse_instant(text: str) -> datetime:
    """Return the instant in `text`; `ValueError` if it has another form."""
    if not _INSTANT.fullmatch(text):
        msg = f"accepted_at: found {text[:32]!r}, the form is 2030-01-01T00:00:00.000000Z"
        raise ValueError(msg)
    return datetime.strptime(text, _INSTANT_FORM).replace(tzinfo=UTC)
