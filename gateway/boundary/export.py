"""[a] Takes one allowed one_way call out of the net: signs it, seals it, makes it durable, returns the receipt.

Runs in a worker thread of the gateway: three SM2 operations and a few syncs. It opens no sockets; the carrier is a
directory. Whether the call may leave was decided, and recorded, before; nothing is decided here but whether the same
idempotency key was used before.
"""

import os
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary import carrier
from zonegate.gateway.boundary.convert import receipt_to_bytes
from zonegate.gateway.boundary.export_ledger import ExportLedger, Place, idempotency_key
from zonegate.gateway.boundary.header import MessageDigest, ObjectHeader, encode_header, key_id
from zonegate.gateway.boundary.receipt import Accepted, sign_receipt
from zonegate.gateway.boundary.seal import SECRET_BYTES, seal
from zonegate.gateway.boundary.transport_file import DEFAULT_BOUNDS, Bounds, object_blocks, sign_header
from zonegate.gm import sm3
from zonegate.gm.sm2 import PublicKey
from zonegate.identity import Identity, Net
from zonegate.pki.credential import Credential
from zonegate.policies.labels import Label
from zonegate.policies.model import Importer
from zonegate.reasons import Reason

# As long as the importer takes objects: a key must not be free again while the object it named may still arrive.
REMEMBERED: timedelta = DEFAULT_BOUNDS.max_age
_CLEANED_EVERY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """An allowed one_way call: the facts of its decision and its messages."""

    crossing: str
    caller: str
    caller_certificate: str
    ticket: bytes
    source_zone: str
    target_zone: str
    importer: Importer
    provider: str
    resource: str
    path: str
    label: Label
    policy: str
    policy_version: int
    messages: tuple[bytes, ...]
    purpose: str = ""
    case: str = ""
    idempotency_key: str = ""


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of a call: the serialized receipt, and what the evidence says of the object."""

    receipt: bytes
    object_id: str
    digest: str
    message_bytes: int
    file: str
    repeated: bool


class Exporter:
    """Writes transport files of one gateway into one carrier directory. Safe to call from several threads."""

    def __init__(
        self,
        directory: Path,
        ledger: Path,
        signer: Credential,
        clock: Clock,
        *,
        bounds: Bounds = DEFAULT_BOUNDS,
        remembered: timedelta = REMEMBERED,
    ) -> None:
        identity = _identity(signer)
        self._directory = directory
        self._signer = signer
        self._gateway = str(identity)
        self._source_net = identity.net
        self._clock = clock
        self._bounds = bounds
        self._remembered = remembered
        self._lock = threading.Lock()
        self._ledger = ExportLedger(ledger)
        self._cleaned = clock.now()
        self._clean(self._cleaned)

    def export(self, request: ExportRequest) -> Exported:
        """Return the receipt of `request`, durable when this returns.

        Raises E_IMPORT_DUPLICATE (the key named another call), E_IMPORT_SPACE, E_MESSAGE_SIZE, E_METADATA.
        """
        digest = self._digest(request)
        key = None
        if request.idempotency_key:
            key = idempotency_key(request.caller, request.path, request.idempotency_key)
        with self._lock:
            now = self._clock.now()
            if now - self._cleaned > _CLEANED_EVERY:
                self._clean(now)
            place = self._ledger.reserve(os.urandom(16).hex(), key, _content(request, digest.hexdigest()), now)
            name = carrier.file_name(place.ordinal, place.sequence, place.object_id)
            repeated = place.receipt is not None
            receipt = place.receipt if place.receipt is not None else self._store(request, digest, place, name, key)
        return Exported(receipt, place.object_id, digest.hexdigest(), digest.total_bytes, name, repeated)

    def use_signer(self, signer: Credential) -> None:
        """Sign with a renewed credential of the same gateway from now on."""
        identity = _identity(signer)
        if str(identity) != self._gateway:
            detail = f"export signer: the certificate names {identity}, this gateway is {self._gateway}"
            raise ZoneGateError(Reason.E_CONFIG, detail)
        with self._lock:
            self._signer = signer

    def close(self) -> None:
        """Close the ledger; exports under way end first."""
        with self._lock:
            self._ledger.close()

    def _digest(self, request: ExportRequest) -> MessageDigest:
        digest = MessageDigest()
        for message in request.messages:
            digest.add(message)
        longest = max(map(len, request.messages), default=0)
        for found, allowed, what in (
            (digest.count, self._bounds.messages, "messages"),
            (longest, self._bounds.message_bytes, "bytes in a message"),
            (digest.total_bytes, self._bounds.total_bytes, "bytes in all"),
        ):
            if found > allowed:
                raise ZoneGateError(Reason.E_MESSAGE_SIZE, f"object: {found} {what}, {allowed} are allowed")
        return digest

    def _store(
        self, request: ExportRequest, digest: MessageDigest, place: Place, name: str, key: bytes | None
    ) -> bytes:
        try:
            self._write(request, digest, place, name)
        except ZoneGateError:
            self._ledger.give_back(place, key)
            raise
        receipt = receipt_to_bytes(
            sign_receipt(self._accepted(request, digest, place), self._signer.key, self._chain())
        )
        if key is not None:
            self._ledger.accept(key, receipt)
        return receipt

    def _write(self, request: ExportRequest, digest: MessageDigest, place: Place, name: str) -> None:
        recipient = PublicKey.from_spki(request.importer.encryption_key)
        header = self._header(request, digest, place, key_id(recipient.spki))
        try:
            encode_header(header)
        except ValueError as exc:
            # What the caller supplied as metadata is all that can be wrong here: the rest comes from the policy.
            raise ZoneGateError(Reason.E_METADATA, str(exc)) from exc
        signed = sign_header(header, self._signer.key, self._chain())
        blocks = object_blocks(signed, request.messages)
        carrier.write_file(self._directory, name, seal(blocks, recipient, os.urandom(SECRET_BYTES)))

    def _header(self, request: ExportRequest, digest: MessageDigest, place: Place, recipient: str) -> ObjectHeader:
        return ObjectHeader(
            object_id=place.object_id,
            crossing=request.crossing,
            sequence=place.sequence,
            created=place.created,
            source_net=self._source_net,
            target_net=Net.INTRA if self._source_net is Net.EXTRA else Net.EXTRA,
            source_zone=request.source_zone,
            target_zone=request.target_zone,
            caller=request.caller,
            caller_certificate=request.caller_certificate,
            gateway=self._gateway,
            signer=self._signer.leaf.fingerprint,
            importer=request.importer.uri,
            recipient=recipient,
            resource=request.resource,
            path=request.path,
            provider=request.provider,
            label=str(request.label),
            purpose=request.purpose,
            case=request.case,
            idempotency_key=request.idempotency_key,
            policy=request.policy,
            policy_version=request.policy_version,
            message_count=digest.count,
            message_bytes=digest.total_bytes,
            digest=digest.hexdigest(),
            ticket=request.ticket,
        )

    def _accepted(self, request: ExportRequest, digest: MessageDigest, place: Place) -> Accepted:
        return Accepted(
            object_id=place.object_id,
            crossing=request.crossing,
            digest=digest.hexdigest(),
            message_count=digest.count,
            message_bytes=digest.total_bytes,
            accepted_at=place.created,
            caller=request.caller,
            resource=request.resource,
            path=request.path,
            gateway=self._gateway,
        )

    def _chain(self) -> list[bytes]:
        return [certificate.der for certificate in self._signer.chain]

    def _clean(self, now: datetime) -> None:
        self._cleaned = now
        self._ledger.forget(now - self._remembered)
        # What the carrier has not taken in this time the importer would refuse as too old.
        carrier.remove_old(self._directory, now, self._remembered)


def _identity(signer: Credential) -> Identity:
    if signer.identity is None:
        raise ZoneGateError(Reason.E_CERT_USAGE, "export signer: its certificate names no identity")
    return signer.identity


def _content(request: ExportRequest, digest: str) -> str:
    parts = (request.resource, request.provider, str(request.label), request.purpose, request.case, digest)
    return sm3.digest("\n".join(parts).encode()).hex()
