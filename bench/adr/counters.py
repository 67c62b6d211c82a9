"""Times one increment of a counter with four labels, as each crossing does it: ADR 0005 quotes the output."""

import sys
import timeit
from collections.abc import Callable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Histogram

from zonegate.monitoring import names
from zonegate.monitoring.metrics import GatewayMetrics

ROUNDS, REPEATS = 200_000, 5
LABELS = ("guarded", "ext.shared", "ext.dedicated", "OK")


def microseconds(action: Callable[[], object]) -> float:
    return min(timeit.repeat(action, number=ROUNDS, repeat=REPEATS)) / ROUNDS * 1e6


def main() -> None:
    registry = CollectorRegistry()
    counter = Counter("decisions", "x", names.DECISIONS_TOTAL.labels, registry=registry)
    child = counter.labels(*LABELS)
    histogram = Histogram("seconds", "x", buckets=names.CROSSING_SECONDS.buckets, registry=registry)
    ours = GatewayMetrics(LABELS[1:3])
    print("prometheus_client", version("prometheus_client"), "python", sys.version.split()[0], "(us each, best of 5)")
    print(f"Counter.labels(...).inc()       {microseconds(lambda: counter.labels(*LABELS).inc()):6.2f}")
    print(f"child.inc(), child kept         {microseconds(child.inc):6.2f}")
    print(f"GatewayMetrics.decision(...)    {microseconds(lambda: ours.decision(*LABELS)):6.2f}")
    print(f"Histogram.observe               {microseconds(lambda: histogram.observe(0.003)):6.2f}")
    print(f"GatewayMetrics.crossing_seconds {microseconds(lambda: ours.crossing_seconds(0.003)):6.2f}")


if __name__ == "__main__":
    main()
