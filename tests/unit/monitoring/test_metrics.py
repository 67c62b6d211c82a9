"""What is exported equals what was counted, and stays bounded whatever is counted."""

from collections.abc import Mapping

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from zonegate.monitoring import names
from zonegate.monitoring.metrics import SERIES_LIMIT, GatewayMetrics
from zonegate.monitoring.names import Metric
from zonegate.monitoring.tally import Histogram
from zonegate.reasons import Reason

ZONES = ("ext.shared.hub", "ext.dedicated.police")


def scrape(metrics: GatewayMetrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = generate_latest(metrics.registry()).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def series(metric: Metric, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    assert set(labels) == set(metric.labels)
    return metric.name, frozenset(labels.items())


@pytest.mark.req("MO-02")
def test_decisions_by_word_pair_and_reason() -> None:
    metrics = GatewayMetrics(ZONES)
    source, target = ZONES
    for _ in range(3):
        metrics.decision("guarded", source, target, Reason.OK)
    metrics.decision("deny", target, source, Reason.E_NO_FLOW_RULE)
    metrics.decision("deny", names.NO_ZONE, target, Reason.E_RATE, 500)
    found = scrape(metrics)
    expected = {
        ("guarded", source, target, "OK"): 3,
        ("deny", target, source, "E_NO_FLOW_RULE"): 1,
        ("deny", names.NO_ZONE, target, "E_RATE"): 500,
    }
    assert {key: value for key, value in found.items() if key[0] == names.DECISIONS_TOTAL.name} == {
        series(names.DECISIONS_TOTAL, decision=word, source=one, target=other, reason=reason): value
        for (word, one, other, reason), value in expected.items()
    }


@pytest.mark.req("MO-01")
def test_ten_thousand_strangers_make_one_series() -> None:
    metrics = GatewayMetrics(ZONES)
    for number in range(10_000):
        metrics.decision("deny", f"zone-{number}", ZONES[0], Reason.E_IDENTITY)
    rows = [key for key in scrape(metrics) if key[0] == names.DECISIONS_TOTAL.name]
    assert rows == [
        series(names.DECISIONS_TOTAL, decision="deny", source="other", target=ZONES[0], reason="E_IDENTITY")
    ]


def test_zones_of_a_new_policy() -> None:
    metrics = GatewayMetrics(ZONES)
    metrics.use_zones(["int.l4.new"])
    metrics.decision("import", ZONES[0], "int.l4.new", Reason.OK)
    wanted = series(names.DECISIONS_TOTAL, decision="import", source=ZONES[0], target="int.l4.new", reason="OK")
    assert scrape(metrics)[wanted] == 1


@pytest.mark.req("MO-05")
def test_handshake_refusals_start_at_zero_and_count_by_reason() -> None:
    metrics = GatewayMetrics(ZONES)
    assert scrape(metrics)[series(names.HANDSHAKE_REFUSALS, reason="E_TLS_SUITE")] == 0
    metrics.handshake_refused(Reason.E_TLS_SUITE)
    metrics.handshake_refused(Reason.E_TLS_RATE, 1000)
    found = scrape(metrics)
    assert found[series(names.HANDSHAKE_REFUSALS, reason="E_TLS_SUITE")] == 1
    assert found[series(names.HANDSHAKE_REFUSALS, reason="E_TLS_RATE")] == 1000


def test_every_counting_method_moves_its_metric() -> None:
    metrics = GatewayMetrics(ZONES, role="importer", zone="int.l4.x")
    metrics.finished(0)
    metrics.finished(16)
    metrics.finished(99)
    metrics.message_bytes("request", 200)
    metrics.metadata_stripped(2)
    metrics.handshake_accepted(0.0075)
    metrics.status_poll_failed()
    metrics.closed_by_status(3)
    metrics.policy_refused(Reason.E_BUNDLE_VERSION)
    metrics.imported(Reason.OK)
    metrics.import_gap(2)
    metrics.crossing_seconds(0.003)
    metrics.decision_seconds(0.00003)
    found = scrape(metrics)
    expected = {
        series(names.CROSSINGS_FINISHED, code="0"): 1,
        series(names.CROSSINGS_FINISHED, code="16"): 1,
        series(names.CROSSINGS_FINISHED, code="other"): 1,
        series(names.MESSAGE_BYTES, direction="request"): 200,
        series(names.MESSAGE_BYTES, direction="response"): 0,
        series(names.METADATA_STRIPPED): 2,
        series(names.HANDSHAKES): 1,
        series(names.STATUS_POLL_FAILURES): 1,
        series(names.CONNECTIONS_CLOSED_BY_STATUS): 3,
        series(names.POLICY_REFUSALS, reason="E_BUNDLE_VERSION"): 1,
        series(names.IMPORT_OBJECTS, reason="OK"): 1,
        series(names.IMPORT_GAPS): 2,
    }
    assert {key: found[key] for key in expected} == expected
    for metric in (names.CROSSING_SECONDS, names.DECISION_SECONDS, names.HANDSHAKE_SECONDS):
        assert found[metric.name + "_count", frozenset()] == 1
    assert any(key[0] == names.BUILD_INFO.name and ("role", "importer") in key[1] for key in found)


def test_watched_numbers_are_read_at_each_scrape() -> None:
    metrics = GatewayMetrics(ZONES)
    state = {"open": 1.0}
    upstreams: Mapping[str, float] = {"spiffe-hop-b": 1.0, "connector-x": 0.0}
    metrics.watch(names.CROSSINGS_OPEN, lambda: state["open"])
    metrics.watch_each(names.UPSTREAM_UP, lambda: upstreams)
    metrics.watch_labels(names.POLICY_INFO, lambda: {("extra", "ab12"): 1.0})
    metrics.watch(names.EVIDENCE_RECORDS, lambda: 7)
    observed = Histogram([0.001, 1])
    observed.observe(0.5)
    metrics.watch_histogram(names.EVIDENCE_FSYNC_SECONDS, lambda: observed)
    assert scrape(metrics)[series(names.CROSSINGS_OPEN)] == 1
    state["open"] = 2.0
    found = scrape(metrics)
    assert found[series(names.CROSSINGS_OPEN)] == 2
    assert found[series(names.UPSTREAM_UP, upstream="connector-x")] == 0
    assert found[series(names.POLICY_INFO, net="extra", digest="ab12")] == 1
    assert found[series(names.EVIDENCE_RECORDS)] == 7
    assert found[names.EVIDENCE_FSYNC_SECONDS.name + "_bucket", frozenset({("le", "0.001")})] == 0
    assert found[names.EVIDENCE_FSYNC_SECONDS.name + "_bucket", frozenset({("le", "1.0")})] == 1


def test_a_watch_cannot_make_a_scrape_unbounded() -> None:
    metrics = GatewayMetrics(ZONES)
    metrics.watch_each(names.UPSTREAM_UP, lambda: {f"u{number}": 1.0 for number in range(10_000)})
    assert sum(1 for key in scrape(metrics) if key[0] == names.UPSTREAM_UP.name) == SERIES_LIMIT


WRONG_WATCHES = {
    "a counter that is counted here": (names.DECISIONS_TOTAL, "watch"),
    "a histogram": (names.CROSSING_SECONDS, "watch"),
    "one label, none given": (names.UPSTREAM_UP, "watch"),
    "no label, one given": (names.CROSSINGS_OPEN, "watch_each"),
    "two labels, one given": (names.POLICY_INFO, "watch_each"),
    "a gauge as a histogram": (names.CROSSINGS_OPEN, "watch_histogram"),
}


@pytest.mark.parametrize(("metric", "method"), WRONG_WATCHES.values(), ids=WRONG_WATCHES)
def test_watch_refuses(metric: Metric, method: str) -> None:
    with pytest.raises(ValueError, match=metric.name):
        getattr(GatewayMetrics(ZONES), method)(metric, dict)


def test_every_gauge_can_be_watched() -> None:
    metrics = GatewayMetrics(ZONES)
    gauges = [metric for metric in names.all_metrics() if metric.kind is names.Kind.GAUGE]
    for metric in gauges:
        series_of_one = {("x",) * len(metric.labels): 1.0}
        metrics.watch_labels(metric, series_of_one.copy)
    assert {metric.name for metric in gauges} <= {name for name, _ in scrape(metrics)}
