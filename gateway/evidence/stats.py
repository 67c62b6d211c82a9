"""Figures of one evidence log for the metrics, from the start of the process. Each is written by one thread only."""

from dataclasses import dataclass, field

SYNC_BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
SEAL_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
GROUP_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


@dataclass(slots=True)
class Histogram:
    """Counts of observations up to each bound; the last count is for what exceeds them all."""

    bounds: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.total += value
        for place, bound in enumerate(self.bounds):
            if value <= bound:
                self.counts[place] += 1
                return
        self.counts[-1] += 1

    @property
    def count(self) -> int:
        """How many observations there are."""
        return sum(self.counts)


@dataclass(slots=True)
class EvidenceStats:
    """What the metrics page shows of evidence."""

    # loop thread
    queue_records: int = 0
    queue_bytes: int = 0
    refused: int = 0
    counted: int = 0
    peer_conflicts: int = 0
    # committer
    records: int = 0
    bytes: int = 0
    failed_groups: int = 0
    lost: int = 0
    carried: int = 0
    segments: int = 0
    writable: bool = True
    open_crossings: int = 0
    unsealed: int = 0
    sync_seconds: Histogram = field(default_factory=lambda: Histogram(SYNC_BOUNDS))
    group_records: Histogram = field(default_factory=lambda: Histogram(GROUP_BOUNDS))
    # sealer
    batches: int = 0
    failed_seals: int = 0
    # From the instant the first record of the batch was durable until the seal was signed.
    seal_seconds: Histogram = field(default_factory=lambda: Histogram(SEAL_BOUNDS))
    sign_seconds: Histogram = field(default_factory=lambda: Histogram(SEAL_BOUNDS))
