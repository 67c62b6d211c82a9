"""[a] The importer as a process: everything is built before anything listens, and one refusal stops the start.

It holds its own net's anchors only. It listens on the verifier's Unix socket and on the management address, and
connects to the connectors of its zone's providers; there is no address towards the other net.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.admission import expect_provider
from zonegate.gateway.boundary.config import ImporterConfig
from zonegate.gateway.boundary.deliver import PoolDelivery
from zonegate.gateway.boundary.handover_server import HandoverServer
from zonegate.gateway.boundary.import_decision import Place
from zonegate.gateway.boundary.import_ledger import ImportLedger
from zonegate.gateway.boundary.importer import Importer, ImportLimits, InForce
from zonegate.gateway.dialling import TlsDialler
from zonegate.gateway.evidence import records
from zonegate.gateway.evidence.log import EvidenceLimits, EvidenceLog
from zonegate.gateway.inspection import Inspectors
from zonegate.gateway.process import (
    Process,
    Trust,
    announce,
    complain,
    event_loop,
    http2_limits,
    listen_socket,
    load_key_pair,
    log_to_stderr,
    relay_limits,
    tls_limits,
)
from zonegate.gateway.relay.call import Call
from zonegate.gateway.relay.core import Relay
from zonegate.gateway.relay.downstream import Downstream
from zonegate.gateway.relay.upstream import UpstreamPool
from zonegate.gateway.tls import probe
from zonegate.gateway.tls.live import CertificateKey
from zonegate.gm import selftest
from zonegate.monitoring import names
from zonegate.monitoring.evidence import watch_evidence
from zonegate.monitoring.health import Health
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.pki.certificate import Profile
from zonegate.pki.path import StatusRule
from zonegate.policies.bundle_store import load_bundle
from zonegate.policies.demands import Finding, GatewayFacts, demands, refuse_unmet
from zonegate.policies.model import Policy, Zone
from zonegate.reasons import Reason
from zonegate.strictconf import load_toml

_Result = TypeVar("_Result")

# The verifier speaks at every look, at most half a second apart.
VERIFIER_SILENT_SECONDS = 30.0


class _NoCalls:
    """The role of a process that nobody calls: the relay is there for its upstream side only."""

    def admitted(self, down: Downstream) -> None:
        """Nothing connects."""

    def begin(self, call: Call) -> None:
        """Nothing calls."""

    def response(self, call: Call, block: object) -> bytes | None:
        """Nothing is answered."""

    def trailers(self, call: Call, block: object) -> bytes:  # noqa: ARG002 - the role's signature
        """Nothing is answered."""
        return b""

    def ended(self, call: Call) -> None:
        """Nothing ends."""

    def heard(self, down: Downstream, block: object) -> None:
        """Nobody calls."""

    def closed(self, down: Downstream) -> None:
        """Nothing was open."""


class ImporterProcess:
    """Built by the constructor without serving; `run` serves until it is told to stop."""

    def __init__(self, config: ImporterConfig, base: Path, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        selftest.run()
        self.config = config
        self.loop = loop
        self.clock = clock
        if config.importer.listen.path is None:
            raise ZoneGateError(Reason.E_CONFIG, f"importer.listen: is {config.importer.listen}, must be unix:PATH")
        self.process = Process(loop, clock, config.limits)
        self.trust = self._build_trust(base)
        probe.run(self.trust.holder)
        self.policy = self._load_policy()
        self.zone = self._own_zone(self.policy)
        self.demands = self._demands()
        self.inspectors = self._build_inspectors(self.policy)
        self.metrics = GatewayMetrics(sorted(self.policy.zones), role="importer", zone=self.zone.name)
        self.log = self._build_log()
        self.relay = Relay(loop, _NoCalls(), relay_limits(config.limits), clock)
        self.process.relays.append(self.relay)
        self.pools = {uri: self._pool(uri) for uri in config.providers}
        self.importer: Importer | None = None
        self._server: HandoverServer | None = None
        self._serving = False
        self._tasks: set[asyncio.Task[None]] = set()

    # -- building ------------------------------------------------------------------------------------------------

    def _build_trust(self, base: Path) -> Trust:
        config = self.config
        trust = Trust(
            self.loop,
            tls=config.tls,
            trust=config.trust,
            status=config.status,
            base=base,
            rule=StatusRule.REQUIRED,
            clock=self.clock,
        )
        if trust.credential.leaf.profile is not Profile.GATEWAY:
            detail = f"tls.certificate: profile {trust.credential.leaf.profile}, a gateway certificate is needed"
            raise ZoneGateError(Reason.E_CERT_USAGE, detail)
        return trust

    def _load_policy(self) -> Policy:
        section = self.config.policy
        return load_bundle(
            section.directory,
            state=section.state,
            anchors=self.trust.anchors,
            now=self.clock.now(),
            crls=self.trust.status.crls,
        ).policy

    def _own_zone(self, policy: Policy) -> Zone:
        name = self.config.importer.zone
        zone = policy.zones.get(name)
        if zone is None or zone.foreign:
            raise ZoneGateError(Reason.E_CONFIG, f"importer.zone: the policy has no zone {name} of this net")
        if zone.zone_class.classified_level is None:
            detail = f"importer.zone: {name} is {zone.zone_class.value} {zone.zone_class.zh}; only int.* zones import"
            raise ZoneGateError(Reason.E_CONFIG, detail)
        if self.trust.uri not in zone.gateways:
            detail = f"importer: the policy does not name {self.trust.uri} for {name}"
            raise ZoneGateError(Reason.E_PEER_IDENTITY, detail)
        return zone

    def _demands(self) -> tuple[Finding, ...]:
        facts = GatewayFacts(
            national_tls_only=True,
            client_certificate_required=True,
            policy_signed=True,
            labels_decided=True,
            evidence_durable=True,
            revocation_lists=bool(self.config.status.crls),
            stale_status_refuses=True,
        )
        found = tuple(demands(self.zone, facts))
        refuse_unmet(self.zone, found)
        return found

    def _build_inspectors(self, policy: Policy) -> Inspectors:
        """Build the filters of everything that may come in, so that a missing descriptor is found now."""
        inspectors = Inspectors(policy)
        for resource in policy.resources.values():
            provider = policy.systems.get(resource.provider)
            if provider is None or provider.zone != self.config.importer.zone:
                continue
            for method in resource.methods.values():
                if method.one_way:
                    inspectors.request_filter(resource, method)
        return inspectors

    def _build_log(self) -> EvidenceLog:
        section = self.config.evidence
        signer = load_key_pair(section)
        if signer.leaf.profile is not Profile.EVIDENCE:
            detail = f"evidence.certificate: profile {signer.leaf.profile}, an evidence certificate is needed"
            raise ZoneGateError(Reason.E_CERT_USAGE, detail)
        limits = EvidenceLimits(segment_bytes=section.segment_bytes)
        return EvidenceLog(section.directory, signer, self.clock, gateway=self.trust.uri, limits=limits)

    def _pool(self, provider: str) -> UpstreamPool:
        limits = self.config.limits
        dialler = TlsDialler(
            self.loop,
            self.config.providers[provider].addresses,
            holder=self.trust.holder,
            pool=self.process.handshakes,
            live=self.process.live,
            expect=lambda peer: expect_provider(self.policy, peer, provider=provider),
            limits=tls_limits(limits),
            seconds=limits.connect_seconds,
        )
        return UpstreamPool(self.relay, provider, dialler, http2_limits(limits), connections=1)

    def _basis(self) -> records.Basis:
        numbers = [crl.number for crl in self.trust.status.crls]
        return records.Basis(
            policy=str(self.policy.version),
            digest=self.policy.digest,
            status_epoch=self.trust.status.epoch,
            crl=max(numbers, default=0),
        )

    def _in_force(self) -> InForce:
        return InForce(self.policy, self.inspectors, self._basis())

    def _build_importer(self) -> Importer:
        delivery = self.config.delivery
        return Importer(
            ImportLedger(self.config.importer.ledger),
            PoolDelivery(self.pools, seconds=delivery.attempt_seconds),
            log=self.log,
            metrics=self.metrics,
            in_force=self._in_force(),
            place=Place(self.trust.uri, self.zone.name),
            clock=self.clock,
            limits=ImportLimits(
                waiting_objects=delivery.waiting_objects,
                waiting_bytes=delivery.waiting_bytes,
                streams=delivery.streams,
                first_backoff_seconds=delivery.first_backoff_seconds,
                last_backoff_seconds=delivery.last_backoff_seconds,
                max_age=self.config.bounds.bounds().max_age,
                give_up=delivery.give_up(),
            ),
        )

    # -- serving -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM; what is not delivered by then waits in the ledger."""
        config, process = self.config, self.process
        importer = self.importer = self._build_importer()
        sock = listen_socket(config.importer.listen)
        self._server = HandoverServer(
            sock, uids=config.importer.verifier_uids, bounds=config.bounds.bounds(), take=importer.take
        )
        self.log.start(self.loop, policy=str(self.policy.version), digest=self.policy.digest)
        process.handshakes.start()
        self._watch(importer)
        self.trust.revoked = self._status_changed
        self.trust.problem = self._status_problem
        for problem in self.trust.problems:
            complain("status list refused", problem.reason, problem.detail)
        self.trust.status.start()
        process.serve_management(config.management.listen, self.metrics, self.health)
        self.relay.start()
        self.relay.every_second(self._each_second)
        for pool in self.pools.values():
            pool.connect()
        process.stop_on_signals(self._reload)
        await importer.start()
        await self._server.start()
        self._serving = True
        announce("importer serving", zone=self.zone.name, uri=self.trust.uri, listen=config.importer.listen)
        try:
            await self._until_stopped(importer)
        finally:
            await self._close(importer)

    async def _until_stopped(self, importer: Importer) -> None:
        stopping = self.loop.create_task(self.process.stopping())
        await asyncio.wait({stopping, importer.failure}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if importer.failure.done():
            importer.failure.result()

    async def _close(self, importer: Importer) -> None:
        self._serving = False
        if self._server is not None:
            await self._server.close()
        await importer.stop(self.config.limits.drain_seconds)
        self.trust.status.close()
        for pool in self.pools.values():
            pool.close()
        self.process.close()
        self.log.close()
        announce("importer stopped", zone=self.zone.name)

    def health(self) -> Health:
        """Whether objects are taken and delivered now; for /healthz, asked from another thread."""
        now = self.clock.now()
        heard = None if self.importer is None else self.importer.verifier_heard
        if not self._serving:
            return Health(Reason.E_DRAINING)
        if not self.log.stats.writable:
            return Health(Reason.E_EVIDENCE)
        if not self.trust.status.fresh(now):
            return Health(Reason.E_STATUS_STALE)
        if now >= self.policy.not_after:
            return Health(Reason.E_BUNDLE_EXPIRED)
        if heard is None or self.clock.monotonic() - heard > VERIFIER_SILENT_SECONDS:
            return Health(Reason.E_UPSTREAM, "the verifier is not heard")
        down = [uri for uri, pool in self.pools.items() if not pool.up]
        return Health(Reason.E_UPSTREAM, f"not connected: {', '.join(down)}") if down else Health(Reason.OK)

    def _watch(self, importer: Importer) -> None:
        metrics = self.metrics
        watch_evidence(metrics, self.log.stats, self.config.evidence.directory)
        self.trust.watch(metrics)
        metrics.watch(names.IMPORT_QUEUE, lambda: importer.waiting_objects + importer.verifier_files)
        metrics.watch_each(names.UPSTREAM_UP, lambda: {uri: float(pool.up) for uri, pool in self.pools.items()})
        metrics.watch(names.POLICY_VERSION, lambda: self.policy.version)
        metrics.watch(names.POLICY_NOT_AFTER, lambda: self.policy.not_after.timestamp())

    def _each_second(self, now: float) -> None:
        for pool in self.pools.values():
            pool.keep_up(now)
        self.process.live.abort_expired(self.clock.now())

    # -- what happens --------------------------------------------------------------------------------------------

    def _status_changed(self, revoked: frozenset[CertificateKey]) -> None:
        ended = self.process.live.abort_revoked(revoked)
        if ended:
            self.metrics.closed_by_status(ended)
        if self.importer is not None:
            self.importer.use(self._in_force())
        announce("revocation status changed", revoked=len(revoked), closed=ended)

    def _status_problem(self, reason: Reason, detail: str) -> None:
        self.metrics.status_poll_failed()
        complain("status list refused", reason, detail)

    def _reload(self) -> None:
        """SIGHUP: certificate and bundle are read again; what cannot serve is refused and the old stays."""
        task = self.loop.create_task(self._reload_all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_all(self) -> None:
        try:
            await self._in_worker(self.trust.reload)
            announce("certificate reloaded", serial=f"{self.trust.credential.leaf.serial:x}")
        except ZoneGateError as error:
            complain("certificate refused", error.reason, error.detail)
        try:
            policy, zone, inspectors = await self._in_worker(self._load_successor)
        except ZoneGateError as error:
            self.metrics.policy_refused(error.reason)
            self._record_policy(error.reason, error.detail)
            complain("policy refused", error.reason, error.detail)
            return
        if policy.digest == self.policy.digest:
            return
        self.policy, self.zone, self.inspectors = policy, zone, inspectors
        self.metrics.use_zones(policy.zones)
        if self.importer is not None:
            self.importer.use(self._in_force())
        self._record_policy(Reason.OK, "")
        announce("policy in force", version=policy.version, digest=policy.digest)

    def _load_successor(self) -> tuple[Policy, Zone, Inspectors]:
        policy = self._load_policy()
        return policy, self._own_zone(policy), self._build_inspectors(policy)

    async def _in_worker(self, function: Callable[[], _Result]) -> _Result:
        return await self.loop.run_in_executor(self.process.executor, function)

    def _record_policy(self, reason: Reason, detail: str) -> None:
        allowed = reason is Reason.OK
        self.log.append(
            records.PolicyRecord(
                time=self.clock.now(),
                allowed=allowed,
                reason=reason,
                version=str(self.policy.version) if allowed else "",
                digest=self.policy.digest if allowed else "",
                detail=detail,
            )
        )


def check_config(path: Path) -> ImporterProcess:
    """Build an importer from its configuration without serving; raises what would stop its start."""
    config = load_toml(path, ImporterConfig)
    with event_loop() as loop:
        return ImporterProcess(config, path.parent, loop, SystemClock())


def run_importer(path: Path) -> None:
    """Run an importer until SIGTERM."""
    log_to_stderr()
    config = load_toml(path, ImporterConfig)
    with event_loop() as loop:
        loop.run_until_complete(ImporterProcess(config, path.parent, loop, SystemClock()).run())
