"""[d] Who may be on a connection, by the policy in force: step 1 of a crossing, after the certificate has verified.

A gateway admits systems of its own zone and the gateways that the policy names; outward, only the peer that the policy
names for the hop will do. A system's certificate never serves as a gateway's or as another provider's.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import Peer
from zonegate.pki.certificate import Profile
from zonegate.policies.model import Policy, Zone
from zonegate.reasons import Reason


class PeerRole(StrEnum):
    """What an admitted peer is to this gateway."""

    CALLER = "caller"
    GATEWAY = "gateway"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an admitted peer stands."""

    uri: str
    zone: str
    role: PeerRole


def admit_peer(policy: Policy, peer: Peer, *, own_zone: str) -> Place:
    """Return where an inbound peer stands, or raise why it may not be here."""
    match peer.profile:
        case Profile.SYSTEM:
            return admit_caller(policy, peer, own_zone=own_zone)
        case Profile.GATEWAY:
            return admit_gateway(policy, peer)
        case _:
            raise ZoneGateError(
                Reason.E_CERT_USAGE, f"certificate: profile {peer.profile}, system or gateway is needed"
            )


def admit_caller(policy: Policy, peer: Peer, *, own_zone: str) -> Place:
    """Return where a calling system stands: in this gateway's own zone, or nowhere."""
    _check_profile(peer, Profile.SYSTEM)
    uri = _uri(policy, peer)
    if _zone_of_gateway(policy, uri) is not None:
        raise ZoneGateError(Reason.E_PEER_IDENTITY, f"identity: {uri} is a gateway's, the certificate is a system's")
    system = policy.systems.get(uri)
    if system is None or system.foreign:
        raise ZoneGateError(Reason.E_IDENTITY, f"identity: {uri} is not a system of the policy in force")
    if system.zone != own_zone:
        raise ZoneGateError(Reason.E_ZONE_IDENTITY, f"identity: {uri} does not stand in zone {own_zone}")
    return Place(uri, system.zone, PeerRole.CALLER)


def admit_gateway(policy: Policy, peer: Peer) -> Place:
    """Return the zone that a peer gateway guards."""
    _check_profile(peer, Profile.GATEWAY)
    uri = _uri(policy, peer)
    zone = _zone_of_gateway(policy, uri)
    if zone is None or zone.foreign:
        raise ZoneGateError(Reason.E_PEER_IDENTITY, f"identity: {uri} is not a gateway of the policy in force")
    return Place(uri, zone.name, PeerRole.GATEWAY)


def expect_gateway(policy: Policy, peer: Peer, *, zone: str) -> None:
    """Refuse an outbound peer that is not a gateway of `zone`."""
    _check_profile(peer, Profile.GATEWAY)
    uri = _uri(policy, peer)
    place = policy.zones.get(zone)
    if place is None or place.foreign or uri not in place.gateways:
        raise ZoneGateError(Reason.E_PEER_IDENTITY, f"identity: {uri} is not a gateway of zone {zone}")


def expect_provider(policy: Policy, peer: Peer, *, provider: str) -> None:
    """Refuse an outbound peer that is not the system `provider`."""
    _check_profile(peer, Profile.SYSTEM)
    uri = _uri(policy, peer)
    if uri != provider or uri not in policy.systems:
        raise ZoneGateError(Reason.E_PEER_IDENTITY, f"identity: {uri}, this hop needs {provider}")


def expect_identity(peer: Peer, *, allowed: Collection[str], profile: Profile) -> None:
    """Refuse a peer that is not one of `allowed`; for connectors, which hold no policy."""
    _check_profile(peer, profile)
    if str(peer.identity) not in allowed:
        raise ZoneGateError(
            Reason.E_PEER_IDENTITY, f"identity: {peer.identity}, this hop needs {' or '.join(sorted(allowed))}"
        )


def _check_profile(peer: Peer, profile: Profile) -> None:
    if peer.profile in (Profile.SYSTEM, Profile.GATEWAY) and peer.profile is not profile:
        raise ZoneGateError(
            Reason.E_PEER_IDENTITY,
            f"identity: {peer.identity} shows a {peer.profile} certificate, a {profile} is needed",
        )
    if peer.profile is not profile:
        raise ZoneGateError(Reason.E_CERT_USAGE, f"certificate: profile {peer.profile}, {profile} is needed")


def _uri(policy: Policy, peer: Peer) -> str:
    if peer.identity is None:
        raise ZoneGateError(Reason.E_IDENTITY, "identity: the certificate names none")
    if peer.identity.net is not policy.net:
        raise ZoneGateError(Reason.E_TRUST_DOMAIN, f"identity: {peer.identity} is not of the net {policy.net}")
    return str(peer.identity)


def _zone_of_gateway(policy: Policy, uri: str) -> Zone | None:
    for zone in policy.zones.values():
        if uri in zone.gateways:
            return zone
    return None
