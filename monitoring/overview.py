"""Reads the state of one process out of its /metrics and /healthz text, for `zonegate status`. [d]

What a process does not export is absent here, never guessed; text that is not a zonegate process's is one problem.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client.metrics_core import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from zonegate.monitoring import names
from zonegate.monitoring.names import Kind, Metric
from zonegate.monitoring.scrape import Scrape
from zonegate.reasons import Reason

SECONDS_PER_DAY = 86400.0
DISK_WARN, DISK_ALARM = 0.70, 0.85


@dataclass(frozen=True, slots=True)
class Expiry:
    """When something that the process needs runs out, in days from now; negative when past."""

    what: str
    days: float
    # An operator acts within these; the same figures as the alert rules. A CRL's own life may be an hour.
    warn_days: float
    alarm_days: float

    @property
    def text(self) -> str:
        """Days, or hours where a day is too coarse."""
        return f"{self.what} {self.days:.0f} d" if abs(self.days) >= 2 else f"{self.what} {self.days * 24:.1f} h"


@dataclass(frozen=True, slots=True)
class Overview:
    """One process as an operator wants to see it."""

    address: str
    problem: str = ""
    role: str = ""
    zone: str = ""
    version: str = ""
    health: str = ""
    policy_version: int | None = None
    expiries: tuple[Expiry, ...] = ()
    disk_used_ratio: float | None = None
    evidence_refusing: bool = False
    upstreams: Mapping[str, bool] = field(default_factory=dict)
    crossings_open: int | None = None
    decided: int = 0
    allowed: int = 0
    refusals: Mapping[str, int] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        """True if nothing here needs an operator now."""
        return (
            not self.problem
            and self.health.split(" ", 1)[0] == Reason.OK
            and not self.evidence_refusing
            and all(self.upstreams.values())
            and all(expiry.days > 0 for expiry in self.expiries)
            and (self.disk_used_ratio or 0.0) < DISK_ALARM
        )


class _Samples:
    def __init__(self, families: Mapping[str, Family]) -> None:
        self._families = families

    def of(self, metric: Metric) -> list[tuple[dict[str, str], float]]:
        family = self._families.get(metric.name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.name)
        samples = family.samples if family is not None else []
        return [(sample.labels, sample.value) for sample in samples if sample.name == metric.name]

    def by(self, metric: Metric, label: str) -> dict[str, float]:
        return {labels[label]: value for labels, value in self.of(metric) if label in labels}

    def one(self, metric: Metric) -> float | None:
        values = [value for _, value in self.of(metric)]
        return values[0] if values else None


def overview(answer: Scrape, *, now: datetime) -> Overview:
    """Return the state that `answer` describes, as seen at `now`."""
    if answer.problem:
        return Overview(answer.address, problem=answer.problem)
    try:
        samples = _Samples({family.name: family for family in text_string_to_metric_families(answer.metrics)})
    except (ValueError, IndexError, KeyError, AttributeError):
        # The library's parser has no error type of its own: broken text ends in one of these.
        return Overview(answer.address, problem="its /metrics is not in the exposition format")
    build = samples.of(names.BUILD_INFO)
    if not build:
        return Overview(answer.address, problem="is not a zonegate process")
    decided, allowed, refusals = _decisions(samples)
    version = samples.one(names.POLICY_VERSION)
    crossings = samples.one(names.CROSSINGS_OPEN)
    return Overview(
        address=answer.address,
        role=build[0][0].get("role", ""),
        zone=build[0][0].get("zone", ""),
        version=build[0][0].get("version", ""),
        health=answer.health.strip(),
        policy_version=None if version is None else int(version),
        expiries=_expiries(samples, now.timestamp()),
        disk_used_ratio=samples.one(names.EVIDENCE_DISK_USED_RATIO),
        evidence_refusing=samples.one(names.EVIDENCE_REFUSING) == 1.0,
        upstreams={name: value == 1.0 for name, value in samples.by(names.UPSTREAM_UP, "upstream").items()},
        crossings_open=None if crossings is None else int(crossings),
        decided=decided,
        allowed=allowed,
        refusals=refusals,
    )


def _expiries(samples: _Samples, now: float) -> tuple[Expiry, ...]:
    ends = [
        (f"certificate {use}", end, 30.0, 7.0) for use, end in samples.by(names.CERTIFICATE_NOT_AFTER, "use").items()
    ]
    ends += [(f"crl {source}", end, 0.0, 0.0) for source, end in samples.by(names.CRL_NEXT_UPDATE, "source").items()]
    policy = samples.one(names.POLICY_NOT_AFTER)
    if policy is not None:
        ends.append(("policy", policy, 7.0, 1.0))
    return tuple(Expiry(what, (end - now) / SECONDS_PER_DAY, warn, alarm) for what, end, warn, alarm in ends)


def _decisions(samples: _Samples) -> tuple[int, int, dict[str, int]]:
    """Return (decided, allowed, refusals by reason, most frequent first); handshakes refused are refusals too."""
    decided = allowed = 0
    refusals: dict[str, int] = {}
    for labels, value in samples.of(names.DECISIONS_TOTAL):
        decided += int(value)
        if labels.get("reason") == Reason.OK:
            allowed += int(value)
        else:
            refusals[labels.get("reason", "")] = refusals.get(labels.get("reason", ""), 0) + int(value)
    for reason, value in samples.by(names.HANDSHAKE_REFUSALS, "reason").items():
        if value:
            refusals[reason] = refusals.get(reason, 0) + int(value)
    return decided, allowed, dict(sorted(refusals.items(), key=lambda item: (-item[1], item[0])))
