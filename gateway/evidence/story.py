"""[d] Decides what to tell an operator about one crossing: where it stands, why, who can mend it (`zonegate why`).

Pure: the records of one crossing from one or several gateways in, lines out, in English and Chinese. It tells no
content: what was asked and answered is in no record anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from zonegate.gateway.evidence.records import (
    AnyRecord,
    DecisionRecord,
    Executed,
    Hop,
    ImportRecord,
    OutcomeRecord,
    ReceiptRecord,
    ResponseRecord,
    Verdict,
)
from zonegate.reasons import REGISTRY, Area, Owner, Reason

_HOPS = {
    Hop.INGRESS: ("gateway of the caller's zone", "调用方所在区网关"),
    Hop.EGRESS: ("gateway of the provider's zone", "提供方所在区网关"),
    Hop.SINGLE: ("gateway", "区网关"),
    Hop.EXPORT: ("exporting gateway", "导出网关"),
    Hop.IMPORT: ("importer", "导入机"),
}
STEPS = {
    Area.HANDSHAKE: "握手",
    Area.ADMIT: "准入",
    Area.LABEL: "标记",
    Area.SPILL: "封存检查",
    Area.ZONE: "区间规则",
    Area.DOMINANCE: "支配检查",
    Area.INSPECTION: "内容检查",
    Area.SHARE: "共享规则",
    Area.RATE: "速率",
    Area.EVIDENCE: "留痕",
    Area.FORWARD: "转发",
    Area.IMPORT: "单向导入",
    Area.POLICY: "策略",
    Area.TRUST: "证书服务",
    Area.CRYPTO: "密码",
    Area.CONFIG: "配置",
}
_EXECUTED = {Executed.NO: ("no", "否"), Executed.YES: ("yes", "是"), Executed.UNKNOWN: ("unknown", "未知")}


@dataclass(frozen=True, slots=True)
class Seen:
    """A record of the crossing and the gateway in whose evidence it stands."""

    gateway: str
    file: str
    position: int
    record: AnyRecord


@dataclass(frozen=True, slots=True)
class Line:
    """One thing to tell."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Story:
    """What became of a crossing."""

    crossing: str
    reason: Reason
    step: str
    component: str
    call: Line
    lines: tuple[Line, ...]


def tell(crossing: str, seen: Sequence[Seen]) -> Story:
    """Return the story of `crossing` from at least one record; records of several gateways may be mixed."""
    ordered = sorted(seen, key=lambda one: (one.record.time, one.position))
    lines = [line for one in ordered for line in _describe(one)]
    ending = _ending(ordered)
    info = REGISTRY[ending.reason]
    call = _whom(ending, ordered)
    if ending.reason is not Reason.OK:
        lines.append(Line(f"why: {info.en}", f"原因：{info.zh}"))
        lines.append(Line(f"what to do: {info.hint_en}", f"处理：{info.hint_zh}"))
        lines.append(Line(f"whom to call: {call.en}", f"联系：{call.zh}"))
    return Story(crossing, ending.reason, ending.step, ending.component, call, tuple(lines))


@dataclass(frozen=True, slots=True)
class _Ending:
    reason: Reason
    step: str
    component: str


def _ending(ordered: Sequence[Seen]) -> _Ending:
    """Return what decided the end: a refusal, nearest to the provider first; else the outcome nearest to the caller."""
    refusals = [one for one in ordered if (reason := _refusal(one.record)) is not None and reason is not Reason.OK]
    if refusals:
        one = refusals[-1]
        reason = _refusal(one.record) or Reason.OK
        step = one.record.verdict.step if isinstance(one.record, DecisionRecord) else ""
        return _Ending(reason, step or REGISTRY[reason].area.value, one.gateway)
    outcomes = [one for one in ordered if isinstance(one.record, OutcomeRecord)]
    failed = [one for one in outcomes if isinstance(one.record, OutcomeRecord) and one.record.reason is not Reason.OK]
    # The innermost hop ends first: its reason is the cause, what the hops before it say follows from it.
    for one in failed[:1]:
        if isinstance(one.record, OutcomeRecord):
            return _Ending(one.record.reason, REGISTRY[one.record.reason].area.value, one.gateway)
    return _Ending(Reason.OK, Area.FORWARD.value, ordered[-1].gateway)


def _refusal(record: AnyRecord) -> Reason | None:
    if isinstance(record, DecisionRecord):
        return record.verdict.reason
    if isinstance(record, ResponseRecord | ImportRecord):
        return record.reason
    return None


def _whom(ending: _Ending, ordered: Sequence[Seen]) -> Line:
    caller, provider = _parties(ordered)
    owner = REGISTRY[ending.reason].owner
    if owner is Owner.CALLER:
        return Line(f"the caller: {caller}", f"调用方：{caller}")
    if owner is Owner.PROVIDER:
        return Line(f"the provider: {provider}", f"提供方：{provider}")
    if owner is Owner.OPERATOR:
        return Line(f"the operator of {ending.component}", f"{ending.component} 的系统管理员")
    if owner is Owner.SECURITY_OFFICER:
        return Line(f"the security officer of {ending.component}", f"{ending.component} 的安全保密管理员")
    return Line("nobody", "无需联系")


def _parties(ordered: Sequence[Seen]) -> tuple[str, str]:
    caller = provider = "?"
    for one in ordered:
        if isinstance(one.record, DecisionRecord):
            caller = one.record.caller.uri
            provider = one.record.verdict.provider or provider
        elif isinstance(one.record, ImportRecord) and caller == "?":
            caller = one.record.sender or caller
    return caller, provider


def _describe(one: Seen) -> list[Line]:
    record = one.record
    at = _clock(record.time)
    match record:
        case DecisionRecord():
            return _describe_decision(at, one.gateway, record)
        case ResponseRecord():
            word = _allowed(record.allowed)
            reason = record.reason
            return [
                Line(
                    f"{at} {one.gateway}: response label raised to L{record.flow.level}, {word.en} ({reason})",
                    f"{at} {one.gateway}：响应标记提高至 L{record.flow.level}，{word.zh}（{reason}）",
                )
            ]
        case OutcomeRecord():
            return [_describe_outcome(at, one.gateway, record)]
        case ReceiptRecord():
            return [
                Line(
                    f"{at} {one.gateway}: accepted for transport to {record.importer}, object {record.object}",
                    f"{at} {one.gateway}：已受理，待传输至 {record.importer}，客体 {record.object}",
                )
            ]
        case ImportRecord():
            word = _allowed(record.allowed)
            return [
                Line(
                    f"{at} {one.gateway}: object {record.object} {word.en} ({record.reason})",
                    f"{at} {one.gateway}：客体 {record.object} {word.zh}（{record.reason}）",
                )
            ]
        case _:
            return []


def _describe_decision(at: str, gateway: str, record: DecisionRecord) -> list[Line]:
    verdict = record.verdict
    word = _allowed(verdict.allowed)
    en, zh = _HOPS[record.hop]
    lines = [
        Line(
            f"{at} {gateway} ({en}): {word.en} at step {verdict.step or '?'} ({verdict.reason})",
            f"{at} {gateway}（{zh}）：{word.zh}，步骤 {_step_zh(verdict.step)}（{verdict.reason}）",
        ),
        Line(
            f"  from {record.caller.uri} to {verdict.provider or '?'}, {verdict.path or '?'}",
            f"  调用方 {record.caller.uri}，提供方 {verdict.provider or '?'}，方法 {verdict.path or '?'}",
        ),
        *_describe_flows(verdict),
        Line(
            f"  policy {record.basis.policy}, rule {verdict.flow_rule or '-'}, grant {verdict.grant or '-'}",
            f"  策略 {record.basis.policy}，流动规则 {verdict.flow_rule or '-'}，授权 {verdict.grant or '-'}",
        ),
    ]
    if record.detail:
        lines.append(Line(f"  {record.detail}", f"  {record.detail}"))
    return lines


def _describe_flows(verdict: Verdict) -> list[Line]:
    lines = []
    for flow, en, zh in ((verdict.request, "request", "请求"), (verdict.response, "response", "响应")):
        if flow is not None and flow.source:
            level = "-" if flow.level is None else f"L{flow.level}"
            text = f"{flow.source} → {flow.target}, {level}, {flow.decision} ({flow.reason})"
            lines.append(Line(f"  {en}: {text}", f"  {zh}：{text}"))
    return lines


def _describe_outcome(at: str, gateway: str, record: OutcomeRecord) -> Line:
    en, zh = _EXECUTED[record.executed]
    note_en, note_zh = (", the gateway stopped before the end", "，网关在结束前中断") if record.recovered else ("", "")
    seconds = record.duration_us / 1_000_000
    return Line(
        f"{at} {gateway}: ended with {record.reason}, gRPC {record.grpc}, executed {en}, {seconds:.3f} s{note_en}",
        f"{at} {gateway}：结束 {record.reason}，gRPC {record.grpc}，是否执行 {zh}，{seconds:.3f} 秒{note_zh}",
    )


def _allowed(allowed: bool) -> Line:  # noqa: FBT001 - the word for the flag, not a mode
    return Line("allowed", "允许") if allowed else Line("refused", "拒绝")


def _step_zh(step: str) -> str:
    return STEPS[Area(step)] if step in set(Area) else step or "?"


def _clock(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds")
