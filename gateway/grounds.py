"""[a] What a gateway rests on, read from its files and checked: trust, policy, its own zone, its evidence signer.

Each function returns something that may serve or raises why it may not; at the start that is the end, at a reload the
old stays in force. Nothing here listens or changes what is in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.heads import check_signer
from zonegate.gateway.process import Trust, load_key_pair
from zonegate.pki.certificate import Profile
from zonegate.pki.path import SignatureCache, StatusRule
from zonegate.policies.bundle_store import check_bundle
from zonegate.policies.demands import GatewayFacts, demands, refuse_unmet
from zonegate.reasons import Reason

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from zonegate.clock import Clock
    from zonegate.gateway.config import EvidenceSection, GatewayConfig, PolicySection
    from zonegate.pki.credential import Credential
    from zonegate.policies.demands import Finding
    from zonegate.policies.model import Policy, Zone


def load_trust(config: GatewayConfig, base: Path, loop: asyncio.AbstractEventLoop, clock: Clock) -> Trust:
    """Return the gateway's trust; its own certificate must be a gateway's."""
    rule = StatusRule.STALE_ALLOWED if config.status.stale_allowed else StatusRule.REQUIRED
    trust = Trust(loop, tls=config.tls, trust=config.trust, status=config.status, base=base, rule=rule, clock=clock)
    if trust.credential.leaf.profile is not Profile.GATEWAY:
        detail = f"tls.certificate: profile {trust.credential.leaf.profile}, a gateway certificate is needed"
        raise ZoneGateError(Reason.E_CERT_USAGE, detail)
    return trust


def load_policy(section: PolicySection, trust: Trust, clock: Clock, status: StatusRule) -> Policy:
    """Return the policy of the bundle on disk; `status` says whether its officers' lists may be old.

    That it has served is remembered by whoever lets it serve: a check must not shut out the bundle in force.
    """
    verified = check_bundle(
        section.directory,
        state=section.state,
        anchors=trust.anchors,
        now=clock.now(),
        crls=trust.status.crls,
        status=status,
    )
    return verified.policy


def load_signer(section: EvidenceSection, trust: Trust, clock: Clock) -> Credential:
    """Return the evidence signer's credential, which must be able to sign for this gateway now."""
    signer = load_key_pair(section)
    check_signer(signer.chain, trust.anchors, gateway=trust.uri, at=clock.now(), signatures=SignatureCache())
    trust.check_own(signer)
    return signer


def own_zone(name: str, policy: Policy, trust: Trust) -> Zone:
    """Return the zone `name`, which the policy must have given to this gateway."""
    zone = policy.zones.get(name)
    if zone is None or zone.foreign:
        raise ZoneGateError(Reason.E_CONFIG, f"gateway.zone: the policy has no zone {name} of this net")
    if trust.uri not in zone.gateways:
        raise ZoneGateError(Reason.E_PEER_IDENTITY, f"gateway: the policy does not name {trust.uri} for {name}")
    return zone


def met_demands(config: GatewayConfig, zone: Zone, trust: Trust) -> tuple[Finding, ...]:
    """Return what the zone's grade demands and how it is met; a demand that is not met refuses, naming the clause.

    Most of what a gateway is does not depend on its configuration; the age of revocation lists does (RV-02).
    """
    facts = GatewayFacts(
        national_tls_only=True,
        client_certificate_required=True,
        policy_signed=True,
        labels_decided=True,
        evidence_durable=True,
        revocation_lists=bool(config.status.crls),
        stale_status_refuses=trust.status.view.rule is StatusRule.REQUIRED,
    )
    found = demands(zone, facts)
    refuse_unmet(zone, found)
    return found
