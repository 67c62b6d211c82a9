"""Two nets made by hand, and objects that travel from one to the other, right or wrong in one place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache

from support.clock import NOON
from support.x509_builder import LEAF, ORGAN, ROOT, SUB_CA, Holder, Template, self_signed
from zonegate.gateway import ticket
from zonegate.gateway.boundary.export import ExportRequest
from zonegate.gateway.boundary.handover import Offer
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

# The parties of the shipped policies.
CALLER = "spiffe://extra/1210000099030001XT/credit"
GATEWAY = f"spiffe://extra/{ORGAN}/gateway-shared"
IMPORTER = f"spiffe://intra/{ORGAN}/importer"
PROVIDER = f"spiffe://intra/{ORGAN}/statistics"
PATH = "/example.statistics.v1.Statistics/Submit"
PURPOSE = "统计报送"
SECRET = bytes(range(32))
MESSAGES = (b"first", b"", b"third" * 20)
# An example.statistics.v1.Figure.
FIGURE = b"\x0a\x03gdp\x12\x042029\x18\x64"


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
        source_zone="shared",
        target_zone="inner",
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
        purpose=PURPOSE,
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
        source_zone="shared",
        target_zone="inner",
        importer=importer(),
        provider=PROVIDER,
        resource="statistics",
        path=PATH,
        label=Label(Level.L1),
        policy="ef" * 32,
        policy_version=3,
        messages=MESSAGES,
        purpose=PURPOSE,
        idempotency_key="k-1",
    )
    return replace(good, **changes)


@cache
def caller_credential() -> Credential:
    return hand_net(Net.EXTRA).issue(CALLER, Profile.SYSTEM, organ="1210000099030001XT")


def caller_ticket(moment: datetime = NOON - timedelta(minutes=1), gateway: str = GATEWAY) -> bytes:
    return ticket.issue(caller_credential(), gateway, now=moment)


def figure_header(messages: Sequence[bytes] = (FIGURE,), **changes: object) -> ObjectHeader:
    """A header that the shipped policy of the intranet lets in, with a ticket of its caller."""
    facts = {"ticket": caller_ticket(), "caller_certificate": caller_credential().leaf.fingerprint} | changes
    return header(messages, **facts)


def figure_file(messages: Sequence[bytes] = (FIGURE,), **changes: object) -> bytes:
    return sealed(content_of(signed(figure_header(messages, **changes)), messages))


def offer(messages: Sequence[bytes] = (FIGURE,), file: str = "a.zgt", **changes: object) -> Offer:
    item = figure_header(messages, **changes)
    return Offer(file, signed(item), item, tuple(messages))
