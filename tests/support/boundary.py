"""Two nets made by hand, and objects that travel from one to the other, right or wrong in one place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

from support.clock import NOON
from support.x509_builder import LEAF, NOT_AFTER, NOT_BEFORE, ORGAN, ROOT, SUB_CA, Holder, Template, self_signed
from zonegate.gateway.boundary.export import ExportRequest
from zonegate.gateway.boundary.header import MessageDigest, ObjectHeader, key_id
from zonegate.gateway.boundary.seal import seal
from zonegate.gateway.boundary.transport_file import SignedHeader, object_blocks, sign_header
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.pki.path import TrustAnchors
from zonegate.policies.labels import Label, Level
from zonegate.policies.model import Importer

CALLER = f"spiffe://extra/{ORGAN}/front"
GATEWAY = f"spiffe://extra/{ORGAN}/gateway"
IMPORTER = f"spiffe://intra/{ORGAN}/importer"
PROVIDER = f"spiffe://intra/{ORGAN}/statistics"
PATH = "/stats.v1.Statistics/Submit"
SECRET = bytes(range(32))
MESSAGES = (b"first", b"", b"third" * 20)


@dataclass(frozen=True)
class HandNet:
    """Root and sub-CA of one net."""

    net: Net
    root: Holder
    sub_ca: Holder

    @property
    def anchors(self) -> TrustAnchors:
        return TrustAnchors(self.net, (self.root.certificate,))

    def issue(self, uri: str, profile: Profile = Profile.GATEWAY, **changes: object) -> Credential:
        template = replace(LEAF, net=self.net, profile=profile, uris=(uri,), common_name=uri[-40:], **changes)
        return self.credential(template)

    def credential(self, template: Template) -> Credential:
        holder = self.sub_ca.issue(template)
        return Credential((holder.certificate, self.sub_ca.certificate), holder.key)


@cache
def hand_net(net: Net) -> HandNet:
    root = self_signed(replace(ROOT, net=net, common_name=f"{net.value} root"))
    return HandNet(net, root, root.issue(replace(SUB_CA, net=net, common_name=f"{net.value} sub-ca")))


@cache
def gateway_credential() -> Credential:
    return hand_net(Net.EXTRA).issue(GATEWAY)


@cache
def importer_key() -> PrivateKey:
    return PrivateKey.generate()


def importer() -> Importer:
    return Importer(IMPORTER, importer_key().public_key.spki)


def header(messages: Sequence[bytes] = MESSAGES, **changes: object) -> ObjectHeader:
    digest = MessageDigest()
    for message in messages:
        digest.add(message)
    good = ObjectHeader(
        object_id="0123456789abcdef" * 2,
        crossing="ab" * 14,
        sequence=7,
        created=NOON - timedelta(minutes=1),
        source_net=Net.EXTRA,
        target_net=Net.INTRA,
        source_zone="shared-east",
        target_zone="core",
        caller=CALLER,
        caller_certificate="cd" * 32,
        gateway=GATEWAY,
        signer=gateway_credential().leaf.fingerprint,
        importer=IMPORTER,
        recipient=key_id(importer_key().public_key.spki),
        resource="statistics",
        path=PATH,
        provider=PROVIDER,
        label="L1",
        purpose="人口统计",
        case="",
        idempotency_key="k-1",
        policy="ef" * 32,
        policy_version=3,
        message_count=digest.count,
        message_bytes=digest.total_bytes,
        digest=digest.hexdigest(),
        ticket=b"ticket",
    )
    return replace(good, **changes)


def signed(item: ObjectHeader, signer: Credential | None = None) -> SignedHeader:
    signer = signer or gateway_credential()
    return sign_header(item, signer.key, [certificate.der for certificate in signer.chain])


def sealed(content: bytes, key: PrivateKey | None = None) -> bytes:
    recipient = (key or importer_key()).public_key
    return b"".join(seal([content], recipient, SECRET))


def content_of(item: SignedHeader, messages: Sequence[bytes] = MESSAGES) -> bytes:
    return b"".join(object_blocks(item, messages))


def transport_file(messages: Sequence[bytes] = MESSAGES, **changes: object) -> bytes:
    return sealed(content_of(signed(header(messages, **changes)), messages))


def export_request(**changes: object) -> ExportRequest:
    good = ExportRequest(
        crossing="ab" * 14,
        caller=CALLER,
        caller_certificate="cd" * 32,
        ticket=b"ticket",
        source_zone="shared-east",
        target_zone="core",
        importer=importer(),
        provider=PROVIDER,
        resource="statistics",
        path=PATH,
        label=Label(Level.L1),
        policy="ef" * 32,
        policy_version=3,
        messages=MESSAGES,
        purpose="人口统计",
        idempotency_key="k-1",
    )
    return replace(good, **changes)


__all__ = ["NOT_AFTER", "NOT_BEFORE"]
