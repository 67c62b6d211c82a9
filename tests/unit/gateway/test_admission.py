from datetime import timedelta

import pytest

from support.clock import NOON
from support.forge import ORGAN, uri
from zonegate.errors import ZoneGateError
from zonegate.gateway.admission import (
    PeerRole,
    Place,
    admit_caller,
    admit_gateway,
    admit_peer,
    expect_gateway,
    expect_identity,
    expect_provider,
)
from zonegate.gateway.tls.channel import Peer
from zonegate.identity import Net, parse_identity
from zonegate.pki.certificate import Profile
from zonegate.policies.labels import Level
from zonegate.policies.model import System, Zone, make_policy
from zonegate.policies.zones import ZoneClass
from zonegate.reasons import Reason

OWN, NEXT, INNER = "zone-a", "zone-b", "zone-inner"
POLICY = make_policy(
    net=Net.EXTRA,
    version=1,
    not_before=NOON,
    not_after=NOON + timedelta(days=1),
    zones=[
        Zone(OWN, ZoneClass.EXT_SHARED, ORGAN, 3, Level.L1, (uri("gw-a1"), uri("gw-a2"))),
        Zone(NEXT, ZoneClass.EXT_DEDICATED, ORGAN, 3, Level.L1, (uri("gw-b"), uri("both"))),
        Zone(INNER, ZoneClass.INT_L4, ORGAN, None, Level.L4, (uri("gw-f"),), foreign=True),
    ],
    systems=[
        System(uri("front"), ORGAN, OWN, Level.L1),
        System(uri("provider"), ORGAN, NEXT, Level.L1),
        System(uri("both"), ORGAN, OWN, Level.L1),
        System(uri("collector"), ORGAN, INNER, Level.L4, foreign=True),
    ],
)


def peer(name: str | None, profile: Profile | None = Profile.SYSTEM, net: Net = Net.EXTRA) -> Peer:
    identity = parse_identity(uri(name, net)) if name else None
    return Peer(address="192.0.2.1", identity=identity, profile=profile)


INBOUND = {
    "a system of the own zone": (peer("front"), Place(uri("front"), OWN, PeerRole.CALLER)),
    "a peer gateway": (peer("gw-b", Profile.GATEWAY), Place(uri("gw-b"), NEXT, PeerRole.GATEWAY)),
    "the second gateway of a zone": (peer("gw-a2", Profile.GATEWAY), Place(uri("gw-a2"), OWN, PeerRole.GATEWAY)),
    "a system of another zone": (peer("provider"), Reason.E_ZONE_IDENTITY),
    "a system that no document names": (peer("stranger"), Reason.E_IDENTITY),
    "the stub of a foreign system": (peer("collector"), Reason.E_IDENTITY),
    "a gateway that no document names": (peer("gw-x", Profile.GATEWAY), Reason.E_PEER_IDENTITY),
    "the gateway of a foreign zone": (peer("gw-f", Profile.GATEWAY), Reason.E_PEER_IDENTITY),
    "a system's certificate with a gateway's name": (peer("gw-b"), Reason.E_PEER_IDENTITY),
    "a gateway's certificate with a system's name": (peer("front", Profile.GATEWAY), Reason.E_PEER_IDENTITY),
    "a name that is both, as a system": (peer("both"), Reason.E_PEER_IDENTITY),
    "an officer": (peer("front", Profile.OFFICER), Reason.E_CERT_USAGE),
    "an evidence signer": (peer("front", Profile.EVIDENCE), Reason.E_CERT_USAGE),
    "a sub-CA": (peer("front", Profile.SUB_CA), Reason.E_CERT_USAGE),
    "no profile": (peer("front", None), Reason.E_CERT_USAGE),
    "no identity": (peer(None), Reason.E_IDENTITY),
    "CA-14 an identity of the other net": (peer("front", net=Net.INTRA), Reason.E_TRUST_DOMAIN),
}


@pytest.mark.parametrize(("who", "outcome"), INBOUND.values(), ids=INBOUND)
def test_inbound(who: Peer, outcome: Place | Reason):
    if isinstance(outcome, Place):
        assert admit_peer(POLICY, who, own_zone=OWN) == outcome
        return
    with pytest.raises(ZoneGateError) as caught:
        admit_peer(POLICY, who, own_zone=OWN)
    assert caught.value.reason is outcome


def test_the_two_halves_refuse_each_others_profiles():
    with pytest.raises(ZoneGateError) as caught:
        admit_gateway(POLICY, peer("gw-b"))
    assert caught.value.reason is Reason.E_PEER_IDENTITY
    with pytest.raises(ZoneGateError) as caught:
        admit_caller(POLICY, peer("front", Profile.GATEWAY), own_zone=OWN)
    assert caught.value.reason is Reason.E_PEER_IDENTITY


OUT_GATEWAY = {
    "the gateway of the zone": (peer("gw-b", Profile.GATEWAY), NEXT, None),
    "the gateway of another zone": (peer("gw-a1", Profile.GATEWAY), NEXT, Reason.E_PEER_IDENTITY),
    "a system's certificate posing as the gateway": (peer("gw-b"), NEXT, Reason.E_PEER_IDENTITY),
    "a provider in the gateway's place": (peer("provider"), NEXT, Reason.E_PEER_IDENTITY),
    "a foreign zone": (peer("gw-f", Profile.GATEWAY), INNER, Reason.E_PEER_IDENTITY),
    "a zone that is not there": (peer("gw-b", Profile.GATEWAY), "zone-z", Reason.E_PEER_IDENTITY),
    "an officer": (peer("gw-b", Profile.OFFICER), NEXT, Reason.E_CERT_USAGE),
}


@pytest.mark.parametrize(("who", "zone", "reason"), OUT_GATEWAY.values(), ids=OUT_GATEWAY)
def test_outbound_gateway(who: Peer, zone: str, reason: Reason | None):
    if reason is None:
        expect_gateway(POLICY, who, zone=zone)
        return
    with pytest.raises(ZoneGateError) as caught:
        expect_gateway(POLICY, who, zone=zone)
    assert caught.value.reason is reason


OUT_PROVIDER = {
    "the provider": (peer("provider"), None),
    "another provider": (peer("front"), Reason.E_PEER_IDENTITY),
    "a gateway in the provider's place": (peer("provider", Profile.GATEWAY), Reason.E_PEER_IDENTITY),
    "CA-14 the same name in the other net": (peer("provider", net=Net.INTRA), Reason.E_TRUST_DOMAIN),
}


@pytest.mark.parametrize(("who", "reason"), OUT_PROVIDER.values(), ids=OUT_PROVIDER)
def test_outbound_provider(who: Peer, reason: Reason | None):
    if reason is None:
        expect_provider(POLICY, who, provider=uri("provider"))
        return
    with pytest.raises(ZoneGateError) as caught:
        expect_provider(POLICY, who, provider=uri("provider"))
    assert caught.value.reason is reason


def test_a_connector_knows_its_gateways_by_name():
    allowed = frozenset({uri("gw-a1"), uri("gw-a2")})
    expect_identity(peer("gw-a1", Profile.GATEWAY), allowed=allowed, profile=Profile.GATEWAY)
    for who in (peer("gw-b", Profile.GATEWAY), peer("gw-a1"), peer(None, Profile.GATEWAY)):
        with pytest.raises(ZoneGateError) as caught:
            expect_identity(who, allowed=allowed, profile=Profile.GATEWAY)
        assert caught.value.reason is Reason.E_PEER_IDENTITY
