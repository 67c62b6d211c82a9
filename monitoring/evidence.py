"""Exports what an evidence log knows of itself, and how full the file system below it is. [a]

The log keeps the figures; nothing here writes them. `EvidenceFigures` is what is needed of it, so that monitoring does
not import the gateway.
"""

import os
from pathlib import Path
from typing import Protocol

from zonegate.monitoring import names
from zonegate.monitoring.metrics import GatewayMetrics
from zonegate.monitoring.tally import Observations


class EvidenceFigures(Protocol):
    """Figures since the process began."""

    @property
    def queue_records(self) -> int:
        """Records that wait to be durable."""

    @property
    def records(self) -> int:
        """Records made durable."""

    @property
    def counted(self) -> int:
        """Refusals that counted records stand for."""

    @property
    def lost(self) -> int:
        """Records that could not be written."""

    @property
    def failed_groups(self) -> int:
        """Writes or syncs that failed."""

    @property
    def writable(self) -> bool:
        """Whether the last write succeeded."""

    @property
    def open_crossings(self) -> int:
        """Crossings without an outcome record."""

    @property
    def unsealed(self) -> int:
        """Durable records without a seal."""

    @property
    def failed_seals(self) -> int:
        """Seals that failed."""

    @property
    def peer_conflicts(self) -> int:
        """Heads of peers that contradict an earlier one."""

    @property
    def sync_seconds(self) -> Observations:
        """Times of write and sync."""

    @property
    def seal_seconds(self) -> Observations:
        """Times until a seal."""

    @property
    def sign_seconds(self) -> Observations:
        """Times of a seal's signature."""


def watch_evidence(metrics: GatewayMetrics, figures: EvidenceFigures, folder: Path) -> None:
    """Export `figures` and the space of the file system that holds `folder`."""
    metrics.watch(names.EVIDENCE_QUEUE, lambda: figures.queue_records)
    metrics.watch(names.EVIDENCE_RECORDS, lambda: figures.records)
    metrics.watch(names.EVIDENCE_COUNTED, lambda: figures.counted)
    metrics.watch(names.EVIDENCE_LOST, lambda: figures.lost)
    metrics.watch(names.EVIDENCE_FAILURES, lambda: figures.failed_groups)
    metrics.watch(names.EVIDENCE_REFUSING, lambda: not figures.writable)
    metrics.watch(names.EVIDENCE_OPEN_CROSSINGS, lambda: figures.open_crossings)
    metrics.watch(names.EVIDENCE_UNSEALED, lambda: figures.unsealed)
    metrics.watch(names.EVIDENCE_SEAL_FAILURES, lambda: figures.failed_seals)
    metrics.watch(names.EVIDENCE_PEER_CONFLICTS, lambda: figures.peer_conflicts)
    metrics.watch_histogram(names.EVIDENCE_FSYNC_SECONDS, lambda: figures.sync_seconds)
    metrics.watch_histogram(names.EVIDENCE_SEAL_SECONDS, lambda: figures.seal_seconds)
    metrics.watch_histogram(names.EVIDENCE_SIGN_SECONDS, lambda: figures.sign_seconds)
    metrics.watch(names.EVIDENCE_DISK_USED_RATIO, lambda: used_ratio(os.statvfs(folder)))
    metrics.watch(names.EVIDENCE_DISK_FREE_BYTES, lambda: _free_bytes(os.statvfs(folder)))


def used_ratio(state: os.statvfs_result) -> float:
    """Return the used part of a file system, 0 to 1, as `df` counts it: without what is kept for root."""
    used = state.f_blocks - state.f_bfree
    usable = used + state.f_bavail
    return used / usable if usable else 1.0


def _free_bytes(state: os.statvfs_result) -> float:
    return state.f_bavail * state.f_frsize
