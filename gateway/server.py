"""[a] A zone gateway as a process: everything is built before anything listens, and one refusal stops the start."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.admission import expect_gateway, expect_provider
from zonegate.gateway.boundary.export import Exporter
from zonegate.gateway.callers import TicketOffice
from zonegate.gateway.config import GatewayConfig
from zonegate.gateway.crossing import GatewayHandler
from zonegate.gateway.dialling import TlsDialler
from zonegate.gateway.evidence import records
from zonegate.gateway.evidence.files import DiskLevel
from zonegate.gateway.evidence.log import EvidenceLimits, EvidenceLog
from zonegate.gateway.exporting import Exporting
from zonegate.gateway.figures import watch_policy, watch_traffic
from zonegate.gateway.grounds import (
    load_policy,
    load_signer,
    load_trust,
    met_demands,
    own_zone,
)
from zonegate.gateway.inspection import Inspectors
from zonegate.gateway.process import (
    Process,
    announce,
    complain,
    event_loop,
    http2_limits,
    listen_socket,
    log_to_stderr,
    relay_limits,
    tls_limits,
)
from zonegate.gateway.rate import Rate
from zonegate.gateway.recording import Recorder
from zonegate.gateway.relay.core import Relay
from zonegate.gateway.relay.downstream import Downstream
from zonegate.gateway.relay.upstream import UpstreamPool
from zonegate.gateway.tls import probe
from zonegate.gateway.tls.server import TlsListener
from zonegate.gateway.witness import Witness
from zonegate.gm import selftest
from zonegate.monitoring.evidence import watch_evidence
from zonegate.monitoring.health import Health
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.pki.path import StatusRule
from zonegate.policies.bundle_store import remember
from zonegate.reasons import Reason
from zonegate.strictconf import load_toml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from zonegate.gateway.tls.channel import Peer
    from zonegate.gateway.tls.live import CertificateKey
    from zonegate.pki.credential import Credential
    from zonegate.policies.model import Policy
    from zonegate.strictconf import Address


class Gateway:
    """One zone's gateway. Built by the constructor without serving; `run` serves until it is told to stop."""

    def __init__(self, config: GatewayConfig, base: Path, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        selftest.run()
        self.config = config
        self.loop = loop
        self.clock = clock
        self.process = Process(loop, clock, config.limits)
        self.trust = load_trust(config, base, loop, clock)
        # A gateway starts with stale lists, and refuses crossings until they are fresh where its grade demands that.
        self.policy = load_policy(config.policy, self.trust, clock, StatusRule.STALE_ALLOWED)
        self.zone = own_zone(config.gateway.zone, self.policy, self.trust)
        probe.run(self.trust.holder)
        self.demands = met_demands(config, self.zone, self.trust)
        self.metrics = GatewayMetrics(sorted(self.policy.zones), zone=self.zone.name)
        self.signer = load_signer(config.evidence, self.trust, clock)
        self.log = EvidenceLog(
            config.evidence.directory,
            self.signer,
            clock,
            gateway=self.trust.uri,
            limits=EvidenceLimits(segment_bytes=config.evidence.segment_bytes),
            anchors=self.trust.anchors,
        )
        self._disk_level = DiskLevel.OK
        self.recorder = Recorder(self.log, self.metrics, clock, self._basis())
        self.witness = Witness(self.log)
        self._exporter: Exporter | None = None
        self.handler = self._build_handler()
        self.relay = Relay(loop, self.handler, relay_limits(config.limits), clock)
        self.process.relays.append(self.relay)
        self._pools: dict[UpstreamPool, Callable[[Peer], None]] = {}
        self._build_pools()
        self.listener: TlsListener | None = None
        self._serving = False
        self._tasks: set[asyncio.Task[None]] = set()

    # -- building ------------------------------------------------------------------------------------------------

    def _basis(self) -> records.Basis:
        numbers = [crl.number for crl in self.trust.status.crls]
        return records.Basis(
            policy=str(self.policy.version),
            digest=self.policy.digest,
            status_epoch=self.trust.status.epoch,
            crl=max(numbers, default=0),
        )

    def _build_handler(self) -> GatewayHandler:
        config, process = self.config, self.process
        tickets = TicketOffice(
            self.loop, process.executor, self.trust.anchors, self.trust.verifier.signatures, self.clock
        )
        exporting = None
        if config.export is not None:
            self._exporter = Exporter(config.export.carrier, config.export.ledger, self.trust.credential, self.clock)
            exporting = Exporting(self.loop, process.executor, self._exporter, self.recorder)
        per_second = config.limits.calls_per_second_per_caller
        return GatewayHandler(
            uri=self.trust.uri,
            zone=self.zone.name,
            policy=self.policy,
            trust=self.trust,
            recorder=self.recorder,
            tickets=tickets,
            inspectors=Inspectors(self.policy, message_bytes=config.limits.message_bytes),
            witness=self.witness,
            exporting=exporting,
            default_rate=Rate(per_second, max(1, int(per_second))),
            calls_per_caller=config.limits.open_calls_per_caller,
            clock=self.clock,
        )

    def _build_pools(self) -> None:
        for zone, section in self.config.peers.items():
            pool = self._pool(zone, section.addresses, partial(self._expect_gateway, zone))
            pool.decorate = self.handler.attach_ticket
            self.handler.peers[zone] = pool
        for provider, section in self.config.providers.items():
            pool = self._pool(provider, section.addresses, partial(self._expect_provider, provider))
            self.handler.providers[provider] = pool

    def _pool(self, name: str, addresses: list[Address], expect: Callable[[Peer], None]) -> UpstreamPool:
        limits = self.config.limits
        dialler = TlsDialler(
            self.loop,
            addresses,
            holder=self.trust.holder,
            pool=self.process.handshakes,
            live=self.process.live,
            expect=expect,
            limits=tls_limits(limits),
            seconds=limits.connect_seconds,
        )
        pool = UpstreamPool(self.relay, name, dialler, http2_limits(limits))
        self._pools[pool] = expect
        return pool

    def _expect_gateway(self, zone: str, peer: Peer) -> None:
        expect_gateway(self.policy, peer, zone=zone)

    def _expect_provider(self, provider: str, peer: Peer) -> None:
        expect_provider(self.policy, peer, provider=provider)

    # -- serving -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM, then drain."""
        config, process = self.config, self.process
        sock = listen_socket(config.gateway.listen)
        remember(config.policy.state, self.policy)
        self.log.start(self.loop, policy=str(self.policy.version), digest=self.policy.digest)
        process.handshakes.start()
        self._watch()
        self.trust.revoked = self._status_changed
        self.trust.problem = self._status_problem
        for problem in self.trust.problems:
            complain("status list refused", problem.reason, problem.detail)
        self.trust.status.start()
        self.listener = TlsListener(
            self.loop,
            sock,
            holder=self.trust.holder,
            pool=process.handshakes,
            live=process.live,
            admit=self.handler.check_peer,
            app_factory=lambda: Downstream(self.relay, http2_limits(config.limits), self._protocol_error),
            limits=tls_limits(config.limits),
            on_refusal=self._handshake_refused,
            on_accepted=self.metrics.handshake_accepted,
            clock=self.clock,
        )
        process.serve_management(config.management.listen, self.metrics, self.health)
        self.relay.start()
        self.relay.every_second(self._each_second)
        for pool in self._pools:
            pool.connect()
        process.stop_on_signals(self._reload)
        await self.listener.start()
        process.settle()
        self._serving = True
        announce("gateway serving", zone=self.zone.name, uri=self.trust.uri, listen=config.gateway.listen)
        try:
            await self._serve_and_drain()
        finally:
            self.close()

    async def _serve_and_drain(self) -> None:
        await self.process.stopping()
        self._serving = False
        if self.listener is not None:
            self.listener.stop_accepting()
        await self.process.drain()

    def close(self) -> None:
        """End everything; the evidence is sealed last."""
        self._serving = False
        self.trust.status.close()
        for pool in self._pools:
            pool.close()
        if self.listener is not None:
            self.listener.close()
        self.process.close()
        if self._exporter is not None:
            self._exporter.close()
        self.log.close()
        announce("gateway stopped", zone=self.zone.name)

    def health(self) -> Health:
        """Whether calls are decided and forwarded now; for /healthz, asked from another thread."""
        if not self._serving:
            return Health(Reason.E_DRAINING)
        if not self.log.stats.writable:
            return Health(Reason.E_EVIDENCE)
        if not self.config.status.stale_allowed and not self.trust.status.fresh(self.clock.now()):
            return Health(Reason.E_STATUS_STALE)
        if self.clock.now() >= self.policy.not_after:
            return Health(Reason.E_BUNDLE_EXPIRED)
        return Health(Reason.OK)

    def _watch(self) -> None:
        watch_evidence(self.metrics, self.log.stats, self.config.evidence.directory)
        self.trust.watch(self.metrics, lambda: {"evidence": self.signer.leaf.not_after.timestamp()})
        watch_traffic(self.metrics, self.process.relays, self._pools)
        watch_policy(self.metrics, lambda: self.policy)

    def _each_second(self, now: float) -> None:
        for pool in self._pools:
            pool.keep_up(now)
        self.handler.expire(list(self.relay.calls))
        self.process.live.abort_expired(self.clock.now())
        self._watch_disk()
        for pool in self.handler.peers.values():
            if pool.up:
                task = self.loop.create_task(self._exchange_heads(pool))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _watch_disk(self) -> None:
        """Log when the evidence disk passes 70 and 85 %, and when it is below them again; the metric alarms too."""
        try:
            disk = self.log.disk()
        except OSError as exc:
            complain("evidence disk unknown", Reason.E_EVIDENCE, str(exc.strerror))
            return
        if disk.level is not self._disk_level:
            self._disk_level = disk.level
            announce("evidence disk", level=disk.level, percent=f"{disk.percent:.0f}", free=disk.free_bytes)

    async def _exchange_heads(self, pool: UpstreamPool) -> None:
        try:
            await self.witness.exchange(pool)
        except ZoneGateError as error:
            complain("peer head refused", error.reason, error.detail)

    # -- what happens --------------------------------------------------------------------------------------------

    def _handshake_refused(self, reason: Reason, address: str, detail: str) -> None:
        del address, detail  # an address is a stranger's, a detail may quote what a stranger sent: counted, not kept
        self.recorder.peer_refused(reason)

    def _protocol_error(self, reason: Reason, detail: str) -> None:
        complain("HTTP/2 connection ended", reason, detail)
        self.recorder.peer_refused(reason)

    def _status_changed(self, revoked: frozenset[CertificateKey]) -> None:
        self.recorder.basis = self._basis()
        self.handler.changed(list(self.relay.calls))
        self.relay.flush()
        ended = self.process.live.abort_revoked(revoked)
        if ended:
            self.metrics.closed_by_status(ended)
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
        before = self.trust.credential.leaf
        try:
            await self.loop.run_in_executor(self.process.executor, self.trust.reload)
            if self._exporter is not None:
                self._exporter.use_signer(self.trust.credential)
            if self.trust.credential.leaf != before:
                self.process.renew_connections([self.relay], self._pools)
            announce("certificate reloaded", serial=f"{self.trust.credential.leaf.serial:x}")
        except ZoneGateError as error:
            complain("certificate refused", error.reason, error.detail)
        try:
            signer = await self.loop.run_in_executor(
                self.process.executor, load_signer, self.config.evidence, self.trust, self.clock
            )
        except ZoneGateError as error:
            complain("evidence certificate refused", error.reason, error.detail)
        else:
            self._use_signer(signer)
        try:
            policy = await self.loop.run_in_executor(
                self.process.executor,
                load_policy,
                self.config.policy,
                self.trust,
                self.clock,
                self.trust.status.view.rule,
            )
        except ZoneGateError as error:
            self.metrics.policy_refused(error.reason)
            self._record_policy(error.reason, error.detail)
            complain("policy refused", error.reason, error.detail)
            return
        self._use_policy(policy)

    def _use_signer(self, signer: Credential) -> None:
        if signer.leaf != self.signer.leaf:
            try:
                self.log.replace_signer(signer)
            except ZoneGateError as error:
                complain("evidence certificate refused", error.reason, error.detail)
                return
            self.signer = signer
            announce("evidence certificate reloaded", serial=f"{signer.leaf.serial:x}")

    def _use_policy(self, policy: Policy) -> None:
        if policy.digest == self.policy.digest:
            return
        before, self.policy = self.policy, policy
        try:
            zone = own_zone(self.config.gateway.zone, policy, self.trust)
            met = met_demands(self.config, zone, self.trust)
            remember(self.config.policy.state, policy)
        except ZoneGateError as error:
            self.policy = before
            self.metrics.policy_refused(error.reason)
            self._record_policy(error.reason, error.detail)
            complain("policy refused", error.reason, error.detail)
            return
        self.zone, self.demands = zone, met
        self.metrics.use_zones(policy.zones)
        self.recorder.basis = self._basis()
        self.handler.policy_changed(policy, list(self.relay.calls))
        for down in list(self.relay.downstreams):
            self.handler.admitted(down)
        for pool, expect in self._pools.items():
            pool.check_peers(expect)
        self.relay.flush()
        self._record_policy(Reason.OK, "")
        announce("policy in force", version=policy.version, digest=policy.digest)

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


def check_config(path: Path) -> Gateway:
    """Build a gateway from its configuration without serving; raises what would stop its start."""
    config = load_toml(path, GatewayConfig)
    with event_loop() as loop:
        return Gateway(config, path.parent, loop, SystemClock())


def run_gateway(path: Path) -> None:
    """Run a gateway until SIGTERM."""
    log_to_stderr()
    config = load_toml(path, GatewayConfig)
    with event_loop() as loop:
        loop.run_until_complete(Gateway(config, path.parent, loop, SystemClock()).run())
