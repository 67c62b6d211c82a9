"""[a] What a gateway and a connector have in common as processes: trust, TLS, status, management, signals, drain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import uvloop

from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.limits import Limits
from zonegate.gateway.relay.core import RelayLimits
from zonegate.gateway.tls.context import ContextHolder, KeyExchange
from zonegate.gateway.tls.handshake import HandshakePool, PoolSize
from zonegate.gateway.tls.limits import TlsLimits
from zonegate.gateway.tls.live import LiveChannels
from zonegate.gateway.tls.plain import open_unix_socket
from zonegate.gateway.tls.status import StatusKeeper, make_source
from zonegate.gateway.tls.verifier import PeerVerifier
from zonegate.monitoring import names
from zonegate.monitoring.health import Health, serve_metrics
from zonegate.pki.credential import load_credential, read_chain_file
from zonegate.pki.path import StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from zonegate.clock import Clock
    from zonegate.gateway.config import KeyPair, LimitsSection, StatusSection, TlsSection, TrustSection
    from zonegate.gateway.relay.core import Relay
    from zonegate.gateway.relay.upstream import UpstreamPool
    from zonegate.gateway.tls.live import CertificateKey
    from zonegate.monitoring.health import MetricsServer
    from zonegate.monitoring.metrics import GatewayMetrics
    from zonegate.pki.certificate import Certificate
    from zonegate.pki.credential import Credential
    from zonegate.pki.crl import Crl
    from zonegate.strictconf import Address

_LOG = logging.getLogger("zonegate")
DRAIN_POLL_SECONDS = 0.05
# What all calls may store, as a multiple of what may wait for its decision: most of it waits for slow readers.
STORED_PER_HELD = 4
# The default of 5 ms is what a durable record may wait for a busy loop: the p99 at 4 in flight falls from 5 to 3 ms.
SWITCH_SECONDS = 0.0005
# Allocations between two looks of the cycle collector; the default of 700 costs 5 % of the data path.
GC_ALLOCATIONS = 50_000


def http2_limits(limits: LimitsSection) -> Limits:
    """Return the HTTP/2 bounds that the configuration asks for."""
    return Limits(
        max_concurrent_streams=limits.streams_per_connection,
        initial_window=limits.stream_window_bytes,
        connection_window=limits.connection_window_bytes,
        max_header_list=limits.header_bytes,
    )


def relay_limits(limits: LimitsSection) -> RelayLimits:
    """Return the relay's bounds that the configuration asks for."""
    return RelayLimits(
        open_calls=limits.open_calls,
        held_bytes=limits.held_bytes,
        stored_bytes=STORED_PER_HELD * limits.held_bytes,
        call_buffer_bytes=limits.stream_window_bytes,
    )


def tls_limits(limits: LimitsSection) -> TlsLimits:
    """Return the listener's bounds that the configuration asks for."""
    return TlsLimits(
        handshake_seconds=limits.handshake_seconds,
        connections=limits.connections,
        connections_per_source=limits.connections_per_source,
        connections_per_identity=limits.connections_per_identity,
        pending=limits.handshakes_in_progress,
        pending_per_source=limits.handshakes_in_progress,
        handshakes_per_second=limits.handshakes_per_second,
        handshake_burst=int(2 * limits.handshakes_per_second) + 1,
        source_handshakes_per_second=limits.handshakes_per_second_per_source,
        source_burst=int(2 * limits.handshakes_per_second_per_source) + 1,
    )


def load_key_pair(section: KeyPair) -> Credential:
    """Return the credential that a configuration section names."""
    return load_credential(section.certificate, section.key, section.secret)


def listen_socket(address: Address) -> socket.socket:
    """Return a socket that listens at `address`; E_CONFIG says why there is none."""
    if address.path is not None:
        return open_unix_socket(address.path)
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((address.host, address.port))
    except OSError as exc:
        sock.close()
        raise ZoneGateError(Reason.E_CONFIG, f"listen: {address} cannot be bound: {exc.strerror}") from exc
    sock.setblocking(False)  # noqa: FBT003 - the socket module's own parameter
    return sock


class Trust:
    """One net's anchors, this process's credential, and the status of everyone's certificates."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        tls: TlsSection,
        trust: TrustSection,
        status: StatusSection,
        base: Path,
        rule: StatusRule,
        clock: Clock,
    ) -> None:
        self._tls = tls
        self._clock = clock
        self.credential = load_key_pair(tls)
        roots = read_chain_file(trust.root)
        net = roots[0].net
        if net is None:
            net = self.credential.leaf.net
        if net is None:
            raise ZoneGateError(Reason.E_CONFIG, "trust.root: neither it nor the certificate names a net")
        self.anchors = TrustAnchors(net, roots)
        known = read_chain_file(trust.intermediates) if trust.intermediates is not None else ()
        self.issuers: tuple[Certificate, ...] = (
            *roots,
            *dict.fromkeys((*known, *(member for member in self.credential.chain[1:] if member not in roots))),
        )
        self.revoked: Callable[[frozenset[CertificateKey]], None] = lambda _revoked: None
        self.problem: Callable[[Reason, str], None] = lambda _reason, _detail: None
        self.status = StatusKeeper(
            loop,
            [make_source(text, base, clock) for text in status.crls],
            issuers=self.issuers,
            rule=rule,
            clock=clock,
            on_change=lambda revoked: self.revoked(revoked),
            on_problem=lambda reason, detail: self.problem(reason, detail),
            poll_seconds=status.poll_seconds,
            memory=status.memory,
        )
        self.problems = self.status.load()
        self.check_own(self.credential)
        self.verifier = PeerVerifier(
            self.anchors,
            intermediates=self.issuers[len(roots) :],
            status=self.status,
            status_rule=rule,
            clock=clock,
        )
        exchange = KeyExchange.HYBRID if tls.hybrid else KeyExchange.SM2
        self.holder = ContextHolder(self.credential, self.verifier, key_exchange=exchange)

    @property
    def uri(self) -> str:
        """This process's own identity."""
        return str(self.credential.identity)

    def reload(self) -> None:
        """Read the credential's files again, for new connections; if it cannot serve, raise and change nothing."""
        credential = load_key_pair(self._tls)
        if credential.identity != self.credential.identity:
            detail = f"tls.certificate: names {credential.identity}, this process is {self.credential.identity}"
            raise ZoneGateError(Reason.E_CONFIG, detail)
        self.check_own(credential)
        self.holder.renew(credential)
        self.credential = credential

    def check_own(self, credential: Credential) -> None:
        """Refuse a credential of ours that no peer would take; old lists do not stop a start, they refuse calls."""
        verify_path(
            credential.leaf,
            credential.chain[1:],
            self.anchors,
            now=self._clock.now(),
            crls=self.status.crls,
            status=StatusRule.STALE_ALLOWED,
        )

    def fresh_until(self) -> float:
        """Return until when status is fresh, in seconds since 1970; 0 when a list is missing."""
        until = self.status.view.fresh_until
        return 0.0 if until is None else until.timestamp()

    def watch(self, metrics: GatewayMetrics, others: Callable[[], Mapping[str, float]] = dict) -> None:
        """Export expiry of lists and certificates; `others` are the process's certificates beside the TLS one."""
        metrics.watch_each(
            names.CERTIFICATE_NOT_AFTER, lambda: {"tls": self.credential.leaf.not_after.timestamp(), **others()}
        )
        metrics.watch_each(
            names.CRL_NEXT_UPDATE,
            lambda: {self._source(crl): crl.next_update.timestamp() for crl in self.status.crls},
        )
        metrics.watch_each(
            names.CRL_THIS_UPDATE,
            lambda: {self._source(crl): crl.this_update.timestamp() for crl in self.status.crls},
        )
        metrics.watch_each(names.CRL_NUMBER, lambda: {self._source(crl): crl.number for crl in self.status.crls})
        metrics.watch(names.STATUS_STALE, lambda: not self.status.fresh(self._clock.now()))

    def _source(self, crl: Crl) -> str:
        """Name a list by its issuer; issuers are configured, so the label set is bounded."""
        return next((issuer.subject for issuer in self.issuers if crl.issued_by(issuer)), "unknown")


class Process:
    """The life of one process: start, serve until told to stop, drain, stop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: Clock, limits: LimitsSection) -> None:
        self.loop = loop
        self.clock = clock
        self.limits = limits
        self.executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="worker")
        self.handshakes = HandshakePool(loop, PoolSize(threads=limits.handshake_threads))
        self.live = LiveChannels()
        self.relays: list[Relay] = []
        self.management: MetricsServer | None = None
        self._stop = asyncio.Event()

    def serve_management(self, address: Address, metrics: GatewayMetrics, health: Callable[[], Health]) -> None:
        """Serve /metrics and /healthz."""
        self.management = serve_metrics(str(address), metrics.registry(), health)

    def settle(self) -> None:
        """Tune the interpreter for the data path, once everything is built.

        What was built stays, so the collector need not look at it, and calls make no cycles. The evidence thread
        hands over the interpreter after half a millisecond at the latest: a call waits for it.
        """
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS, 20, 20)

    def renew_connections(self, relays: Iterable[Relay], pools: Iterable[UpstreamPool]) -> None:
        """Let calls go on over connections of a renewed certificate: old ones carry what they have, and close."""
        for pool in pools:
            pool.renew()
        for relay in relays:
            for down in list(relay.downstreams):
                down.drain()
            relay.flush()

    def stop_on_signals(self, reload: Callable[[], None]) -> None:
        """SIGTERM and SIGINT drain, SIGHUP reloads."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self._stop.set)
        self.loop.add_signal_handler(signal.SIGHUP, reload)

    def stop(self) -> None:
        """Ask the process to drain and end."""
        self._stop.set()

    async def stopping(self) -> None:
        """Wait until the process is told to stop."""
        await self._stop.wait()

    async def drain(self) -> None:
        """Take no new calls and let open ones finish for as long as the configuration allows."""
        for relay in self.relays:
            relay.draining = True
            for down in list(relay.downstreams):
                down.drain()
            relay.flush()
        end = self.clock.monotonic() + self.limits.drain_seconds
        while any(relay.calls or relay.downstreams for relay in self.relays) and self.clock.monotonic() < end:
            await asyncio.sleep(DRAIN_POLL_SECONDS)
        for relay in self.relays:
            for call in list(relay.calls):
                call.expire(Reason.E_DRAINING, "the time to drain is over")
            relay.flush()

    def close(self) -> None:
        """End everything that `Process` itself has started."""
        for relay in self.relays:
            relay.close()
            for down in list(relay.downstreams):
                down.channel.close()
        self.handshakes.close()
        self.executor.shutdown(wait=True, cancel_futures=True)
        if self.management is not None:
            self.management.close()


def log_to_stderr() -> None:
    """Log one line per event to standard error, where the service manager takes it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")


def announce(event: str, **fields: object) -> None:
    """Log a constant event with its variables as fields."""
    _LOG.info("%s %s", event, " ".join(f"{name}={value}" for name, value in fields.items()))


def complain(event: str, reason: Reason, detail: str) -> None:
    """Log a refusal or a failure with its reason."""
    _LOG.warning("%s reason=%s %s", event, reason.value, detail)


@contextlib.contextmanager
def event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Give a uvloop event loop and close it afterwards."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
