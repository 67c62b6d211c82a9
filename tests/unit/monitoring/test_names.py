"""Names: unique, in Prometheus' conventions, in both languages, with bounded labels."""

import re

import pytest

from zonegate.monitoring import names
from zonegate.monitoring.names import Kind, Metric, all_metrics
from zonegate.policies.zones import Decision

# Every label that may exist. A new one is a decision about cardinality, so it is made here as well.
BOUNDED_LABELS = {
    "code": "the 17 codes of gRPC",
    "decision": "the decision words",
    "digest": "one series at a time: the bundle in force",
    "direction": "request or response",
    "net": "two",
    "reason": "the registry",
    "result": "the states and errors of OCSP, the failures of RFC 3161",
    "role": "what this process is",
    "side": "downstream or upstream",
    "signing": "presigned, fresh, or an unsigned error",
    "source": "zones of the policy, or CRL sources of the configuration",
    "target": "zones of the policy",
    "upstream": "upstreams of the configuration",
    "use": "certificates of the configuration",
    "version": "what runs",
    "zone": "this process's own",
}


def test_names_are_unique() -> None:
    spelled = [metric.name for metric in all_metrics()]
    assert len(spelled) == len(set(spelled))


@pytest.mark.parametrize("metric", all_metrics(), ids=lambda metric: metric.name)
def test_conventions(metric: Metric) -> None:
    assert re.fullmatch(r"zonegate_[a-z0-9_]+", metric.name)
    assert (metric.kind is Kind.COUNTER) is metric.name.endswith("_total")
    assert metric.kind is Kind.HISTOGRAM or not metric.buckets
    if metric.kind is Kind.HISTOGRAM:
        assert metric.name.endswith("_seconds")
    assert metric.en.endswith(".")
    assert re.search(r"[\u4e00-\u9fff].*。$", metric.zh)


@pytest.mark.req("MO-01")
@pytest.mark.parametrize("metric", all_metrics(), ids=lambda metric: metric.name)
def test_labels_are_bounded(metric: Metric) -> None:
    assert set(metric.labels) <= set(BOUNDED_LABELS)


@pytest.mark.req("MO-02")
def test_decision_words_are_the_policys() -> None:
    assert set(names.DECISIONS) == {decision.value for decision in Decision}
