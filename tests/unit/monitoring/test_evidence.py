"""The evidence log's figures, and the disk's, as they are exported."""

import os
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from zonegate.gateway.evidence.stats import EvidenceStats
from zonegate.monitoring.evidence import used_ratio, watch_evidence
from zonegate.monitoring.metrics import GatewayMetrics


def test_the_logs_own_figures_are_exported(tmp_path: Path) -> None:
    stats = EvidenceStats()
    metrics = GatewayMetrics([])
    watch_evidence(metrics, stats, tmp_path)
    stats.records = 12
    stats.queue_records = 3
    stats.failed_groups = 2
    stats.unsealed = 4
    stats.peer_conflicts = 1
    stats.writable = False
    stats.sync_seconds.observe(0.0002)
    text = generate_latest(metrics.registry()).decode()
    for line in (
        "zonegate_evidence_records_total 12.0",
        "zonegate_evidence_queue_records 3.0",
        "zonegate_evidence_failures_total 2.0",
        "zonegate_evidence_unsealed_records 4.0",
        "zonegate_evidence_refusing 1.0",
        "zonegate_evidence_peer_conflicts_total 1.0",
        "zonegate_evidence_fsync_seconds_count 1.0",
        "zonegate_evidence_seal_seconds_count 0.0",
    ):
        assert line in text.splitlines()
    assert 0 <= float(text.partition("\nzonegate_evidence_disk_used_ratio ")[2].split()[0]) <= 1


DISKS = {
    "empty": (100, 100, 95, 0.0),
    "70 %, five blocks of it kept for root": (100, 35, 30, 65 / 95),
    "full for everybody but root": (100, 5, 0, 1.0),
    "no blocks at all": (0, 0, 0, 1.0),
}


@pytest.mark.parametrize(("blocks", "free", "available", "ratio"), DISKS.values(), ids=DISKS)
def test_used_ratio(blocks: int, free: int, available: int, ratio: float) -> None:
    state = os.statvfs_result((4096, 4096, blocks, free, available, 0, 0, 0, 0, 255))
    assert used_ratio(state) == pytest.approx(ratio)
