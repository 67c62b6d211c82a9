"""[a] The trust service of the set-up: two unrelated CAs, and the credentials of everybody who takes part.

The same functions as behind `zonegate ca init`, `key new`, `csr new`, `ca issue`: each subscriber makes its own key and
request, the CA sees the request only.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from zonegate.ca.authority import ANY_TERM, Authority, Term
from zonegate.ca.ceremony import CeremonyPlan, create_ca, open_ca
from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import build_request
from zonegate.clock import Clock
from zonegate.demo.layout import KeyFiles, Layout
from zonegate.demo.parties import GATEWAYS, HUB, IMPORTER, ORGAN_NAMES, POLICE, SYSTEMS, gateway
from zonegate.gm import keyfile, pem
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.credential import Credential, load_credential
from zonegate.pki.crl import RevocationReason

ACTOR = "demo"
OFFICERS = ("officer-1", "officer-2")
# How long the certificate lives that an act shows after its end.
BRIEF = timedelta(seconds=3)


def found(layout: Layout, clock: Clock) -> None:
    """Make both CAs, all credentials and the importer's decryption key."""
    for net in Net:
        layout.ca(net).parent.mkdir()
        plan = CeremonyPlan(net, f"示例{net.value.upper()}信任服务中心", f"http://crl.{net.value}.example")
        create_ca(layout.ca(net), plan, clock=clock, actor=ACTOR)
        with _opened(layout, net, clock) as authority:
            _issue_all(layout, authority, net)
            if net is Net.EXTRA:
                _issue_strangers(layout, authority, clock)
            else:
                _issue_unsealed(layout.stranger("other-net"), authority, Profile.SYSTEM, Identity(net, HUB, "visitor"))
    layout.decryption.folder.mkdir()
    key = PrivateKey.generate()
    keyfile.write_key_file(layout.decryption.key, key, keyfile.new_secret_file(layout.decryption.secret))
    layout.decryption.chain.write_bytes(pem.encode("PUBLIC KEY", key.public_key.spki))


def load(files: KeyFiles) -> Credential:
    """Return a credential of the set-up."""
    return load_credential(files.chain, files.key, files.secret)


def revoke(layout: Layout, certificate: Certificate, clock: Clock) -> None:
    """Revoke a certificate of the extranet and publish the list that says so."""
    with _opened(layout, Net.EXTRA, clock) as authority:
        authority.revoke(certificate.serial, RevocationReason.KEY_COMPROMISE, actor=ACTOR)
        authority.publish_crl(Profile.SUB_CA, actor=ACTOR)


def publish_lists(layout: Layout, clock: Clock) -> None:
    """Publish the next list of both nets' sub-CAs, as a timer does every day."""
    for net in Net:
        with _opened(layout, net, clock) as authority:
            authority.publish_crl(Profile.SUB_CA, actor=ACTOR)


@contextmanager
def _opened(layout: Layout, net: Net, clock: Clock) -> Iterator[Authority]:
    authority = open_ca(layout.ca(net), clock=clock)
    try:
        yield authority
    finally:
        authority.close()


def _issue_all(layout: Layout, authority: Authority, net: Net) -> None:
    gateways = [party.identity for party in GATEWAYS if party.net is net]
    if net is IMPORTER.net:
        gateways.append(IMPORTER)
    wanted = [(Profile.GATEWAY, identity) for identity in gateways]
    wanted += [(Profile.EVIDENCE, Identity(net, identity.organ, f"{identity.name}-evidence")) for identity in gateways]
    wanted += [(Profile.SYSTEM, party.identity) for party in SYSTEMS if party.net is net]
    wanted += [(Profile.OFFICER, Identity(net, HUB, name)) for name in OFFICERS]
    for profile, identity in wanted:
        _issue(layout.credential(net, identity.name), authority, profile, identity)


def _issue_strangers(layout: Layout, authority: Authority, clock: Clock) -> None:
    """What a dishonest or careless holder might have: real certificates of this CA, each wrong for the door."""
    brief = Term(not_after=clock.now() + BRIEF)
    late = Identity(Net.EXTRA, POLICE, "retired")
    _issue_unsealed(layout.stranger("expired"), authority, Profile.SYSTEM, late, brief)
    # The URI of a gateway in a system's certificate: what a registrar's mistake would make of it.
    _issue_unsealed(layout.stranger("posing"), authority, Profile.SYSTEM, gateway("shared").identity)


def _issue(files: KeyFiles, authority: Authority, profile: Profile, identity: Identity) -> None:
    key = _certified(files, authority, profile, identity, ANY_TERM)
    keyfile.write_key_file(files.key, key, keyfile.new_secret_file(files.secret))


def _issue_unsealed(
    files: KeyFiles, authority: Authority, profile: Profile, identity: Identity, term: Term = ANY_TERM
) -> None:
    key = _certified(files, authority, profile, identity, term)
    files.key.touch(mode=0o600)
    files.key.write_bytes(pem.encode("PRIVATE KEY", key.to_pkcs8()))


def _certified(files: KeyFiles, authority: Authority, profile: Profile, identity: Identity, term: Term) -> PrivateKey:
    files.folder.mkdir(parents=True)
    key = PrivateKey.generate()
    request = build_request(key, SubjectName(ORGAN_NAMES[identity.organ], identity.name), identity)
    certificate = authority.issue(request, profile, actor=ACTOR, term=term)
    files.chain.write_bytes(certificate.pem + authority.certificate(Profile.SUB_CA).pem)
    return key
