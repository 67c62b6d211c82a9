"""[a] Reads evidence through the verifier: what does not verify, or is not sealed, is not there for the demo."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from zonegate.demo.acts import Found, Value
from zonegate.demo.layout import Layout
from zonegate.demo.parties import EVIDENCE
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence import records
from zonegate.gateway.evidence.counts import LifeCounts, count_by_life, decision_key
from zonegate.gateway.evidence.reader import stored_segments
from zonegate.gateway.evidence.records import AnyRecord, crossing_of, encode, kind_of
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.gateway.evidence.verify import Located, Report, verify_chain
from zonegate.identity import Identity
from zonegate.pki.certificate import load_certificates
from zonegate.pki.crl import load_crl
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason


@dataclass
class Chain:
    """The verified evidence of one gateway."""

    report: Report
    located: list[Located] = field(default_factory=list)

    @property
    def records(self) -> list[AnyRecord]:
        """The records, in order."""
        return [item.record for item in self.located]

    @property
    def lives(self) -> list[LifeCounts]:
        """The sums of each process life."""
        return count_by_life(self.records)


class Proof:
    """All verified evidence of a set-up."""

    def __init__(self, layout: Layout) -> None:
        self.chains = {name: _verified(layout, name, identity) for name, identity in EVIDENCE.items()}

    def about(self, crossings: Iterable[str], start: datetime, end: datetime) -> list[Found]:
        """Return what is recorded of these crossings, and what not of crossings was recorded between the instants."""
        wanted = set(crossings)
        return [
            Found(name, f"#{item.position}", values_of(item.record))
            for name, chain in self.chains.items()
            for item in chain.located
            if crossing_of(item.record) in wanted or _happened(item.record, start, end)
        ]

    def holding(self, pattern: str) -> int:
        """Return how many records hold `pattern` in their bytes."""
        needle = pattern.encode()
        return sum(needle in encode(item) for chain in self.chains.values() for item in chain.records)


def values_of(record: AnyRecord) -> dict[str, Value]:
    """Return what acts may expect of a record, flat."""
    values: dict[str, Value] = {"kind": kind_of(record)}
    for name in ("reason", "hop", "allowed", "version", "grpc", "executed", "what", "count", "step", "detail", "lost"):
        value = getattr(record, name, None)
        if isinstance(value, (str, int)) and value != "":
            values[name] = str(value) if isinstance(value, Reason) else value
    if isinstance(record, records.DecisionRecord):
        values |= _decision(record)
    if isinstance(record, records.ImportRecord):
        values["sender"] = record.sender
    return values


def _decision(record: records.DecisionRecord) -> dict[str, Value]:
    verdict, flow = record.verdict, record.verdict.request
    key = decision_key(verdict)
    values: dict[str, Value] = {
        "decision": key.decision,
        "reason": key.reason.value,
        "source": key.source,
        "target": key.target,
        "caller": record.caller.uri,
        "resource": verdict.resource,
        "grant": verdict.grant,
        "step": verdict.step,
        "hop": record.hop.value,
        "case": record.case,
    }
    if flow.level is not None:
        values |= {"level": flow.level, "label_source": flow.label_source}
    return values


def _happened(record: AnyRecord, start: datetime, end: datetime) -> bool:
    if isinstance(record, (records.CountedRecord, records.GapRecord)):
        return record.first >= start and record.last <= end
    return isinstance(record, (records.ImportRecord, records.PolicyRecord)) and start <= record.time <= end


def _verified(layout: Layout, name: str, identity: Identity) -> Chain:
    signer = Identity(identity.net, identity.organ, f"{identity.name}-evidence")
    trust = Trust(
        anchors=TrustAnchors(identity.net, load_certificates(layout.anchor(identity.net).read_bytes())),
        crls=tuple(load_crl(path.read_bytes()) for path in layout.crls(identity.net)),
        signer=str(signer),
    )
    located: list[Located] = []
    report = verify_chain(stored_segments(layout.evidence(name)), trust, visit=located.append)
    if report.unsealed or not report.orderly:
        raise ZoneGateError(Reason.E_EVIDENCE_BROKEN, f"evidence of {name}: {'; '.join(report.notes)}")
    return Chain(report, located)


def decisions_in(chain: Chain) -> Counter[tuple[str, str, str, str]]:
    """Return the decisions of the last life, by the labels of the counter."""
    return Counter(
        {
            (key.decision, key.source, key.target, key.reason.value): number
            for key, number in chain.lives[-1].decisions.items()
        }
    )


def handshakes_in(chain: Chain) -> Counter[str]:
    """Return the refused connections of the last life, by reason."""
    return Counter({reason.value: number for reason, number in chain.lives[-1].handshakes.items()})
