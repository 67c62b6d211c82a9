"""[a] A connector as a process: it stands beside one department system and speaks SM TLS for it.

Each route is a local address of its own; the provider's side is one TLS address. The two sides share the system's
credential and nothing else.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.admission import expect_identity
from zonegate.gateway.config import ConnectorConfig
from zonegate.gateway.dialling import PlainDialler, TlsDialler
from zonegate.gateway.edges import CallingEdge, ProvidingEdge, TicketIssuer
from zonegate.gateway.figures import watch_traffic
from zonegate.gateway.process import (
    Process,
    Trust,
    announce,
    complain,
    event_loop,
    http2_limits,
    listen_socket,
    log_to_stderr,
    relay_limits,
    tls_limits,
)
from zonegate.gateway.relay.core import CallHandler, Relay
from zonegate.gateway.relay.downstream import Downstream
from zonegate.gateway.relay.upstream import UpstreamPool
from zonegate.gateway.tls import probe
from zonegate.gateway.tls.plain import PlainLimits, PlainListener
from zonegate.gateway.tls.server import TlsListener
from zonegate.gm import selftest
from zonegate.monitoring.health import Health
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.pki.certificate import Profile
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason
from zonegate.strictconf import load_toml

if TYPE_CHECKING:
    from pathlib import Path

    from zonegate.gateway.config import ProviderSection, UplinkSection
    from zonegate.gateway.relay.upstream import Dialler
    from zonegate.gateway.tls.channel import Peer
    from zonegate.gateway.tls.live import CertificateKey


class Connector:
    """One system's connector. Built by the constructor without serving; `run` serves until it is told to stop."""

    def __init__(self, config: ConnectorConfig, base: Path, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        selftest.run()
        if config.gateway is None and config.provider is None:
            raise ZoneGateError(Reason.E_CONFIG, "connector: needs [gateway] and routes, or [provider], or both")
        if bool(config.routes) != (config.gateway is not None):
            raise ZoneGateError(Reason.E_CONFIG, "routes: each needs [gateway], and [gateway] needs at least one")
        self.config = config
        self.loop = loop
        self.clock = clock
        self.process = Process(loop, clock, config.limits)
        self.trust = Trust(
            loop,
            tls=config.tls,
            trust=config.trust,
            status=config.status,
            base=base,
            rule=StatusRule.STALE_ALLOWED if config.status.stale_allowed else StatusRule.REQUIRED,
            clock=clock,
        )
        if self.trust.credential.leaf.profile is not Profile.SYSTEM:
            detail = f"tls.certificate: profile {self.trust.credential.leaf.profile}, a system certificate is needed"
            raise ZoneGateError(Reason.E_CERT_USAGE, detail)
        probe.run(self.trust.holder)
        self.metrics = GatewayMetrics((), role="connector")
        self.gateway_pool: UpstreamPool | None = None
        self._calling: CallingEdge | None = None
        self._pools: list[UpstreamPool] = []
        self._listeners: list[TlsListener | PlainListener] = []
        self._serving = False
        self._tasks: set[asyncio.Task[None]] = set()
        # Those whose connections show a certificate; the others are local.
        self._tls_relays: list[Relay] = []
        self._tls_pools: list[UpstreamPool] = []

    # -- serving -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until SIGTERM, then drain."""
        config = self.config
        self.process.handshakes.start()
        self.trust.revoked = self._status_changed
        self.trust.problem = lambda reason, detail: complain("status list refused", reason, detail)
        for problem in self.trust.problems:
            complain("status list refused", problem.reason, problem.detail)
        self.trust.status.start()
        if config.gateway is not None:
            self._open_routes(config.gateway)
        if config.provider is not None:
            self._open_provider(config.provider)
        self._watch()
        self.process.serve_management(config.management.listen, self.metrics, self.health)
        for relay in self.process.relays:
            relay.start()
        self.process.relays[0].every_second(self._each_second)
        for pool in self._pools:
            pool.connect()
        self.process.stop_on_signals(self._reload)
        for listener in self._listeners:
            await listener.start()
        self.process.settle()
        self._serving = True
        announce("connector serving", uri=self.trust.uri)
        try:
            await self.process.stopping()
            self._serving = False
            for listener in self._listeners:
                listener.stop_accepting()
            await self.process.drain()
        finally:
            self.close()

    def close(self) -> None:
        """End everything."""
        self._serving = False
        self.trust.status.close()
        for pool in self._pools:
            pool.close()
        for listener in self._listeners:
            listener.close()
        self.process.close()
        announce("connector stopped", uri=self.trust.uri)

    def health(self) -> Health:
        """Whether calls can go out or come in now; for /healthz, asked from another thread."""
        if not self._serving:
            return Health(Reason.E_DRAINING)
        if self.gateway_pool is not None and not self.gateway_pool.up:
            return Health(Reason.E_UPSTREAM, "the gateway is not connected")
        if not self.config.status.stale_allowed and not self.trust.status.fresh(self.clock.now()):
            return Health(Reason.E_STATUS_STALE)
        return Health(Reason.OK)

    # -- building ------------------------------------------------------------------------------------------------

    def _relay(self, handler: CallHandler) -> Relay:
        relay = Relay(self.loop, handler, relay_limits(self.config.limits), self.clock)
        self.process.relays.append(relay)
        return relay

    def _pool(self, relay: Relay, name: str, dialler: Dialler) -> UpstreamPool:
        pool = UpstreamPool(relay, name, dialler, http2_limits(self.config.limits))
        self._pools.append(pool)
        return pool

    def _open_routes(self, uplink: UplinkSection) -> None:
        """Open one listener per route; all share the connections to the gateway."""
        issuer = TicketIssuer(self.trust.holder, self.clock)
        allowed = frozenset(uplink.identities)
        dialler = TlsDialler(
            self.loop,
            uplink.addresses,
            holder=self.trust.holder,
            pool=self.process.handshakes,
            live=self.process.live,
            expect=partial(_expect_gateway, allowed),
            limits=tls_limits(self.config.limits),
            seconds=self.config.limits.connect_seconds,
        )
        handler = self._calling = CallingEdge(self.config.routes, self.metrics)
        relay = self._relay(handler)
        pool = self._pool(relay, "gateway", dialler)
        pool.decorate = issuer.decorate
        handler.gateway = self.gateway_pool = pool
        self._tls_pools.append(pool)
        for name, route in self.config.routes.items():
            listener = PlainListener(
                self.loop,
                listen_socket(route.listen),
                uids=route.uids,
                app_factory=partial(self._downstream, relay, name),
                on_refusal=self._refused,
                limits=PlainLimits(connections=self.config.limits.connections),
            )
            self._listeners.append(listener)

    def _open_provider(self, provider: ProviderSection) -> None:
        handler = ProvidingEdge(frozenset(provider.gateways), self.metrics)
        relay = self._relay(handler)
        self._tls_relays.append(relay)
        for target in provider.targets:
            dialler = PlainDialler(self.loop, target.address, self.config.limits.connect_seconds)
            pool = self._pool(relay, str(target.address), dialler)
            for service in target.services:
                if service in handler.targets:
                    raise ZoneGateError(Reason.E_CONFIG, f"provider.targets: {service} is offered by two targets")
                handler.targets[service] = pool
        self._listeners.append(
            TlsListener(
                self.loop,
                listen_socket(provider.listen),
                holder=self.trust.holder,
                pool=self.process.handshakes,
                live=self.process.live,
                admit=partial(_expect_gateway, frozenset(provider.gateways)),
                app_factory=partial(self._downstream, relay, ""),
                limits=tls_limits(self.config.limits),
                on_refusal=self._refused,
                on_accepted=self.metrics.handshake_accepted,
                clock=self.clock,
            )
        )

    def _downstream(self, relay: Relay, route: str) -> Downstream:
        down = Downstream(relay, http2_limits(self.config.limits), self._protocol_error)
        down.context = route
        return down

    def _watch(self) -> None:
        self.trust.watch(self.metrics)
        watch_traffic(self.metrics, self.process.relays, self._pools)

    # -- what happens --------------------------------------------------------------------------------------------

    def _each_second(self, now: float) -> None:
        for pool in self._pools:
            pool.keep_up(now)
        if self._calling is not None:
            self._calling.health.tell_changes()
        self.process.live.abort_expired(self.clock.now())

    def _refused(self, reason: Reason, address: str, detail: str) -> None:
        del address, detail  # counted, not kept: see the gateway
        self.metrics.handshake_refused(reason)

    def _protocol_error(self, reason: Reason, detail: str) -> None:
        complain("HTTP/2 connection ended", reason, detail)
        self.metrics.handshake_refused(reason)

    def _status_changed(self, revoked: frozenset[CertificateKey]) -> None:
        ended = self.process.live.abort_revoked(revoked)
        if ended:
            self.metrics.closed_by_status(ended)
        announce("revocation status changed", revoked=len(revoked), closed=ended)

    def _reload(self) -> None:
        """SIGHUP: the credential is read again, for new connections."""
        task = self.loop.create_task(self._reload_credential())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_credential(self) -> None:
        before = self.trust.credential.leaf
        try:
            await self.loop.run_in_executor(self.process.executor, self.trust.reload)
        except ZoneGateError as error:
            complain("certificate refused", error.reason, error.detail)
            return
        if self.trust.credential.leaf != before:
            self.process.renew_connections(self._tls_relays, self._tls_pools)
        announce("certificate reloaded", serial=f"{self.trust.credential.leaf.serial:x}")


def _expect_gateway(allowed: frozenset[str], peer: Peer) -> None:
    expect_identity(peer, allowed=allowed, profile=Profile.GATEWAY)


def check_config(path: Path) -> Connector:
    """Build a connector from its configuration without serving; raises what would stop its start."""
    config = load_toml(path, ConnectorConfig)
    with event_loop() as loop:
        return Connector(config, path.parent, loop, SystemClock())


def run_connector(path: Path) -> None:
    """Run a connector until SIGTERM."""
    log_to_stderr()
    config = load_toml(path, ConnectorConfig)
    with event_loop() as loop:
        loop.run_until_complete(Connector(config, path.parent, loop, SystemClock()).run())
