"""[a] Exports what gateways and connectors have in common as figures: crossings, connections, streams, upstreams.

The figures are read on the scrape's thread while the loop goes on; each is a copy taken in one step of the interpreter,
so a scrape never waits for the loop and never stops it. Names and help texts are `zonegate.monitoring.names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.monitoring import names

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from zonegate.gateway.relay.core import Relay
    from zonegate.gateway.relay.upstream import UpstreamPool
    from zonegate.monitoring.metrics import GatewayMetrics
    from zonegate.policies.model import Policy


def watch_traffic(metrics: GatewayMetrics, relays: Collection[Relay], pools: Collection[UpstreamPool]) -> None:
    """Export what is open now, and which next hops are connected."""

    def connections() -> dict[str, float]:
        return {
            "downstream": sum(len(relay.downstreams) for relay in relays),
            "upstream": sum(len(pool.active) for pool in pools),
        }

    def streams() -> dict[str, float]:
        return {
            "downstream": sum(len(down.calls) for relay in relays for down in tuple(relay.downstreams)),
            "upstream": sum(len(upstream.streams) for pool in pools for upstream in tuple(pool.active)),
        }

    metrics.watch(names.CROSSINGS_OPEN, lambda: sum(len(relay.calls) for relay in relays))
    metrics.watch_each(names.CONNECTIONS_OPEN, connections)
    metrics.watch_each(names.STREAMS_OPEN, streams)
    metrics.watch_each(names.UPSTREAM_UP, lambda: {pool.name: float(pool.up) for pool in pools})


def watch_policy(metrics: GatewayMetrics, policy: Callable[[], Policy]) -> None:
    """Export the policy in force. A connector has none to export: it decides nothing."""
    metrics.watch_labels(names.POLICY_INFO, lambda: {(policy().net.value, policy().digest): 1.0})
    metrics.watch(names.POLICY_VERSION, lambda: policy().version)
    metrics.watch(names.POLICY_NOT_AFTER, lambda: policy().not_after.timestamp())
