"""What a gateway, connector or importer counts, and how it is exported to Prometheus.

The data path calls the methods of `GatewayMetrics`; they cost less than a microsecond, take no lock and may be called
from the event loop's thread only. What belongs to another component (evidence, certificates, upstreams) is read when
somebody asks, through `watch` and `watch_each`. No personal data and no peer's name is ever a label (MO-01).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from zonegate import __version__
from zonegate.monitoring import names
from zonegate.monitoring.names import Kind, Metric
from zonegate.monitoring.tally import OTHER, Histogram, Observations, Tally, cumulative
from zonegate.reasons import Reason

# A `watch_each` that returns more series than this is cut: a configuration cannot make a scrape unbounded.
SERIES_LIMIT = 256

_OWN_COUNTERS = (
    names.DECISIONS_TOTAL,
    names.CROSSINGS_FINISHED,
    names.MESSAGE_BYTES,
    names.METADATA_STRIPPED,
    names.HANDSHAKES,
    names.HANDSHAKE_REFUSALS,
    names.STATUS_POLL_FAILURES,
    names.CONNECTIONS_CLOSED_BY_STATUS,
    names.POLICY_REFUSALS,
    names.IMPORT_OBJECTS,
    names.IMPORT_GAPS,
)


def _closed_sets(metric: Metric, zones: Sequence[str]) -> list[tuple[str, ...]]:
    sets: dict[str, tuple[str, ...]] = {
        "decision": names.DECISIONS,
        "source": (*zones, names.NO_ZONE),
        "target": (*zones, names.NO_ZONE),
        "reason": names.REASONS,
        "code": names.GRPC_CODES,
        "direction": names.DIRECTIONS,
        "side": names.SIDES,
    }
    return [sets[label] for label in metric.labels]


class GatewayMetrics:
    """The counters of one process. `zones` are the zone instances that its policy names."""

    def __init__(self, zones: Sequence[str], *, role: str = "gateway", zone: str = names.NO_ZONE) -> None:
        self._tallies = {metric: Tally(_closed_sets(metric, zones)) for metric in _OWN_COUNTERS}
        self._decisions = self._tallies[names.DECISIONS_TOTAL]
        self._finished = self._tallies[names.CROSSINGS_FINISHED]
        self._bytes = self._tallies[names.MESSAGE_BYTES]
        self._refusals = self._tallies[names.HANDSHAKE_REFUSALS]
        self._refusals.start_at_zero((reason,) for reason in names.HANDSHAKE_REASONS)
        self._tallies[names.POLICY_REFUSALS].start_at_zero((reason,) for reason in names.POLICY_REASONS)
        self._tallies[names.IMPORT_OBJECTS].start_at_zero((reason,) for reason in names.IMPORT_REASONS)
        self._bytes.start_at_zero((direction,) for direction in names.DIRECTIONS)
        for metric, tally in self._tallies.items():
            if not metric.labels:
                tally.start_at_zero([()])
        self.crossings = Histogram(names.CROSSING_SECONDS.buckets)
        self.deciding = Histogram(names.DECISION_SECONDS.buckets)
        self.handshakes = Histogram(names.HANDSHAKE_SECONDS.buckets)
        self._histograms: dict[Metric, Callable[[], Observations]] = {
            names.CROSSING_SECONDS: lambda: self.crossings,
            names.DECISION_SECONDS: lambda: self.deciding,
            names.HANDSHAKE_SECONDS: lambda: self.handshakes,
        }
        self._watched: dict[Metric, Callable[[], Mapping[tuple[str, ...], float]]] = {
            names.BUILD_INFO: lambda: {(__version__, role, zone): 1.0}
        }

    def use_zones(self, zones: Iterable[str]) -> None:
        """Let a newly loaded policy's zones be labels too."""
        known = tuple(zones)
        self._decisions.allow(1, known)
        self._decisions.allow(2, known)

    def decision(self, decision: str, source: str, target: str, reason: str, times: int = 1) -> None:
        """Count one decided crossing: what the decision record says. It is allowed exactly if the reason is OK."""
        self._decisions.count((decision, source, target, reason), times)

    def finished(self, code: int) -> None:
        """Count one ended crossing by its gRPC status code, as the outcome record says."""
        self._finished.count((names.GRPC_CODES[code] if 0 <= code < len(names.GRPC_CODES) else OTHER,))

    def message_bytes(self, direction: str, number: int) -> None:
        """Count forwarded message bytes; `direction` is "request" or "response"."""
        self._bytes.count((direction,), number)

    def crossing_seconds(self, duration: float) -> None:
        """Observe how long a crossing took."""
        self.crossings.observe(duration)

    def decision_seconds(self, duration: float) -> None:
        """Observe how long deciding took."""
        self.deciding.observe(duration)

    def metadata_stripped(self, number: int) -> None:
        """Count reserved metadata fields that were removed."""
        self._tallies[names.METADATA_STRIPPED].count((), number)

    def handshake_accepted(self, duration: float) -> None:
        """Count an accepted handshake and observe how long it took."""
        self._tallies[names.HANDSHAKES].count(())
        self.handshakes.observe(duration)

    def handshake_refused(self, reason: Reason, times: int = 1) -> None:
        """Count a connection that was refused before admission."""
        self._refusals.count((reason,), times)

    def status_poll_failed(self) -> None:
        """Count a poll of revocation status that brought nothing usable."""
        self._tallies[names.STATUS_POLL_FAILURES].count(())

    def closed_by_status(self, number: int) -> None:
        """Count live connections that a status change ended."""
        self._tallies[names.CONNECTIONS_CLOSED_BY_STATUS].count((), number)

    def policy_refused(self, reason: Reason) -> None:
        """Count a policy bundle that was offered and refused."""
        self._tallies[names.POLICY_REFUSALS].count((reason,))

    def imported(self, reason: Reason) -> None:
        """Count a transport object that this process has handled; OK if it was passed on."""
        self._tallies[names.IMPORT_OBJECTS].count((reason,))

    def import_gap(self, number: int) -> None:
        """Count sequence numbers of the one-way link that never came."""
        self._tallies[names.IMPORT_GAPS].count((), number)

    def watch(self, metric: Metric, read: Callable[[], float]) -> None:
        """Export what `read` returns at each scrape. It runs on the scrape's thread: it reads, no more."""
        self._watch(metric, 0, lambda: {(): read()})

    def watch_each(self, metric: Metric, read: Callable[[], Mapping[str, float]]) -> None:
        """Export one series for each item that `read` returns: label value to number. The same rules as for `watch`."""
        self._watch(metric, 1, lambda: {(label,): value for label, value in read().items()})

    def watch_labels(self, metric: Metric, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        """Export one series for each tuple of label values that `read` returns."""
        self._watch(metric, len(metric.labels), read)

    def watch_histogram(self, metric: Metric, read: Callable[[], Observations]) -> None:
        """Export the observations that another component keeps."""
        if metric.kind is not Kind.HISTOGRAM:
            msg = f"{metric.name}: is a {metric.kind}, not a histogram"
            raise ValueError(msg)
        self._histograms[metric] = read

    def _watch(self, metric: Metric, labels: int, read: Callable[[], Mapping[tuple[str, ...], float]]) -> None:
        if metric in self._tallies or metric.kind is Kind.HISTOGRAM or len(metric.labels) != labels:
            msg = f"{metric.name}: is counted here, is a histogram, or has other labels ({', '.join(metric.labels)})"
            raise ValueError(msg)
        self._watched[metric] = read

    def registry(self) -> CollectorRegistry:
        """Return a registry that exports these metrics and the process's own CPU, memory and file descriptors."""
        registry = CollectorRegistry()
        registry.register(_Exporter(self._families))
        ProcessCollector(registry=registry)
        return registry

    def _families(self) -> Iterator[Family]:
        for metric, tally in self._tallies.items():
            yield _numbers(metric, tally.snapshot())
        for metric, histogram in tuple(self._histograms.items()):
            seen = histogram()
            yield HistogramMetricFamily(metric.name, metric.help_text, buckets=cumulative(seen), sum_value=seen.total)
        for metric, read in tuple(self._watched.items()):
            yield _numbers(metric, read())


class _Exporter(Collector):
    def __init__(self, families: Callable[[], Iterable[Family]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Family]:
        return self._families()


def _numbers(metric: Metric, series: Mapping[tuple[str, ...], float]) -> Family:
    family: CounterMetricFamily | GaugeMetricFamily
    if metric.kind is Kind.COUNTER:
        family = CounterMetricFamily(metric.name, metric.help_text, labels=metric.labels)
    else:
        family = GaugeMetricFamily(metric.name, metric.help_text, labels=metric.labels)
    limit = len(series) if metric in _OWN_COUNTERS else SERIES_LIMIT
    for labels, value in list(series.items())[:limit]:
        family.add_metric(labels, float(value))
    return family
