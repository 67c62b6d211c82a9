"""`zonegate evidence`: verify, show, count and prove evidence, offline and read-only.

Every command reads an evidence directory and calls one function of `zonegate.gateway.evidence`; nothing here writes
into the directory. What `show` and `counts` print is believed only after `verify`.
"""

import base64
import json
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence import second_opinion as second
from zonegate.gateway.evidence.counts import count_by_life
from zonegate.gateway.evidence.proof import PROOF_LIMIT_BYTES, check_proof, encode_proof
from zonegate.gateway.evidence.reader import first_header, newest_head, prove_crossing, read_records, stored_segments
from zonegate.gateway.evidence.records import AnyRecord, PeerHeadRecord, crossing_of, encode, kind_of
from zonegate.gateway.evidence.seal import HEAD_LIMIT_BYTES, SignedHead, read_head
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.gateway.evidence.segment import BrokenEvidenceError
from zonegate.gateway.evidence.verify import Located, Report, verify_chain
from zonegate.pki.certificate import FILE_LIMIT_BYTES, Certificate, load_certificate, load_certificates
from zonegate.pki.crl import CRL_LIMIT_BYTES, load_crl
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason

# A witness keeps a head a second; the newest of these are compared.
_WITNESS_HEADS = 10_000
KINDS = {
    "decision": "判定",
    "outcome": "结果",
    "response": "响应再判定",
    "counted": "计数",
    "gap": "缺口",
    "receipt": "受理回执",
    "import": "导入",
    "policy": "策略",
    "start": "启动",
    "stop": "停止",
    "recovered": "恢复",
    "open": "未完成",
    "peer-head": "对端签封",
}
_FIELDS = {
    "allowed": "允许",
    "basis": "依据",
    "caller": "调用方",
    "case": "案件",
    "count": "次数",
    "crossing": "穿越编号",
    "declared_by": "声明者",
    "detail": "说明",
    "duration_us": "微秒",
    "executed": "是否执行",
    "grpc": "gRPC 状态",
    "hop": "跳",
    "idempotency": "幂等键",
    "label": "声明标记",
    "lost": "丢失",
    "purpose": "用途",
    "reason": "原因",
    "request": "请求流",
    "request_bytes": "请求字节",
    "request_digest": "请求 SM3",
    "request_messages": "请求消息",
    "response": "响应流",
    "response_bytes": "响应字节",
    "response_digest": "响应 SM3",
    "response_messages": "响应消息",
    "step": "步骤",
    "time": "时间",
    "trace": "追踪号",
    "verdict": "判定",
}

_directory = click.argument("directory", type=click.Path(path_type=Path))
_trust = click.option(
    "--trust", required=True, type=click.Path(path_type=Path), help="The net's root certificate(s). 根证书"
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")


@click.group("evidence")
def command() -> None:
    """Verify, show, count and prove the signed evidence of a gateway; changes nothing.

    校验、查看、统计与证明网关证据，只读。
    """


@command.command()
@_directory
@_trust
@click.option("--crl", "crls", multiple=True, type=click.Path(path_type=Path), help="A revocation list. 撤销列表")
@click.option("--head", "heads", multiple=True, type=click.Path(path_type=Path), help="A head kept elsewhere. 签封头")
@click.option(
    "--witness",
    "witnesses",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Evidence of a peer gateway. 对端证据",
)
@click.option("--signer", default="", help="The URI that the evidence certificate must name. 签名者")
@click.option("--first-segment", default=1, type=click.IntRange(min=1), help="Earlier segments are archived elsewhere.")
@click.option("--second-opinion", is_flag=True, help="Verify seals with gmssl as well (slow). 用第二实现复核")
@_json
def verify(
    directory: Path,
    trust: Path,
    crls: tuple[Path, ...],
    heads: tuple[Path, ...],
    witnesses: tuple[Path, ...],
    signer: str,
    first_segment: int,
    second_opinion: bool,  # noqa: FBT001 - click's flag
    as_json: bool,  # noqa: FBT001 - click's flag
) -> int:
    """Verify the whole chain in DIRECTORY offline; name the first record that does not verify.

    离线校验整条证据链；指出第一条不符的记录。
    """
    roots = _read_roots(trust)
    try:
        facts = Trust(
            anchors=_anchors(directory, roots),
            crls=tuple(load_crl(_read(path, CRL_LIMIT_BYTES)) for path in crls),
            heads=(
                *(read_head(_read(path, HEAD_LIMIT_BYTES))[0] for path in heads),
                *_kept_heads(directory, witnesses),
            ),
            signer=signer,
            first_segment=first_segment,
            second_opinion=second.load() if second_opinion else None,
        )
        report = verify_chain(stored_segments(directory), facts)
    except BrokenEvidenceError as exc:
        if not as_json:
            raise
        click.echo(json.dumps({"ok": False, "broken": _broken(exc)}, ensure_ascii=False, indent=1))
        return 1
    if as_json:
        click.echo(json.dumps({"ok": True} | _report(report), ensure_ascii=False, indent=1))
    else:
        _print_report(report)
    return 0


@command.command()
@_directory
@click.argument("crossing", required=False)
@click.option("--kind", type=click.Choice(list(KINDS)), help="Only records of this kind. 只看一类")
@click.option("--last", type=click.IntRange(min=1), help="Only the last N records. 只看最后 N 条")
@_json
def show(directory: Path, crossing: str | None, kind: str | None, last: int | None, as_json: bool) -> None:  # noqa: FBT001
    """Print the records in DIRECTORY, or those of one CROSSING.

    查看证据记录，或某次穿越的记录。
    """
    found: Iterable[Located] = (
        located
        for located in read_records(directory)
        if (crossing is None or crossing_of(located.record) == crossing)
        and (kind is None or kind_of(located.record) == kind)
    )
    if last:
        found = deque(found, maxlen=last)
    shown = 0
    for located in found:
        shown += 1
        if as_json:
            click.echo(json.dumps(_located(located), ensure_ascii=False))
        else:
            _print_record(located)
    if crossing is not None and not shown:
        raise ZoneGateError(Reason.E_NO_RECORD, f"CROSSING: no record of {crossing[:40]!r} in {directory.name}")


@command.command()
@_directory
@click.option("--peer", default="", help="The newest kept head of this peer gateway instead. 对端网关")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file. 输出文件")
def head(directory: Path, peer: str, out: Path | None) -> None:
    """Write the newest signed head of DIRECTORY, to be kept elsewhere and given to `verify --head`.

    导出最新签封头，供他处保存并用于校验。
    """
    found = _peer_head(directory, peer) if peer else newest_head(directory)
    if found is None:
        what = f"head of {peer[:128]}" if peer else "seal"
        raise ZoneGateError(Reason.E_NO_RECORD, f"{directory.name}: there is no {what}")
    _write(found.to_bytes(), out)


@command.command()
@_directory
@_json
def counts(directory: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Sum the decisions in DIRECTORY as the counters of /metrics do, for each process life.

    按进程生命期汇总判定，与计数器同口径。
    """
    lives = count_by_life(located.record for located in read_records(directory))
    if as_json:
        rows = [
            {
                "life": life.life,
                "decisions": [{**key._asdict(), "count": count} for key, count in sorted(life.decisions.items())],
                "handshakes": dict(sorted(life.handshakes.items())),
                "admissions": dict(sorted(life.admissions.items())),
                "lost": life.lost,
            }
            for life in lives
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for life in lives:
        click.echo(f"process life 进程生命期 {life.life}, lost 丢失 {life.lost}")
        for key, count in sorted(life.decisions.items()):
            click.echo(f"  {count:9} {key.decision:10} {key.source} → {key.target} {key.reason}")
        for title, counted in (("handshake 握手", life.handshakes), ("admission 准入", life.admissions)):
            for reason, count in sorted(counted.items()):
                click.echo(f"  {count:9} {title} {reason}")


@command.command()
@_directory
@click.argument("crossing")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file. 输出文件")
def prove(directory: Path, crossing: str, out: Path | None) -> None:
    """Write a proof, one line a record, that the records of CROSSING are sealed, without the other records.

    为一次穿越的记录出具签封证明，不含其他记录。
    """
    proofs = prove_crossing(directory, crossing)
    if not proofs:
        raise ZoneGateError(Reason.E_NO_RECORD, f"CROSSING: no sealed record of {crossing[:40]!r} in {directory.name}")
    _write(b"\n".join(encode_proof(proof) for proof in proofs), out)


@command.command("check-proof")
@click.argument("file", type=click.Path(path_type=Path))
@_trust
def check_proof_file(file: Path, trust: Path) -> None:
    """Check a proof made by `prove` against the net's root alone.

    仅凭根证书核验证明。
    """
    roots = _read_roots(trust)
    for line in _read(file, 64 * PROOF_LIMIT_BYTES).splitlines():
        record, statement = check_proof(line, TrustAnchors(_net(roots, roots[0]), roots))
        click.echo(f"OK 有效: {statement.gateway} batch 批 {statement.batch}, {statement.time.isoformat()}")
        _print_fields(msgspec.to_builtins(record), "  ")


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(data) > limit:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: is larger than {limit} bytes")
    return data


def _write(data: bytes, out: Path | None) -> None:
    if out is None:
        click.echo(data)
        return
    try:
        out.write_bytes(data + b"\n")
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{out.name}: cannot be written: {exc.strerror}") from exc


def _read_roots(path: Path) -> tuple[Certificate, ...]:
    source = _read(path, FILE_LIMIT_BYTES)
    return load_certificates(source) if source.lstrip().startswith(b"-----") else (load_certificate(source),)


def _anchors(directory: Path, roots: tuple[Certificate, ...]) -> TrustAnchors:
    signer = load_certificate(first_header(directory).certificates[0])
    return TrustAnchors(_net(roots, signer), roots)


def _net(roots: tuple[Certificate, ...], signer: Certificate) -> Any:
    # An external root carries no policy of ours: the net is then what the signer's certificate says.
    net = roots[0].net or signer.net
    if net is None:
        raise ZoneGateError(Reason.E_TRUST_DOMAIN, "--trust: neither root nor signer names a net")
    return net


def _kept_heads(directory: Path, witnesses: tuple[Path, ...]) -> list[SignedHead]:
    if not witnesses:
        return []
    header = first_header(directory)
    # What another gateway says of this chain proves nothing against it.
    whose = (header.chain, header.gateway)
    kept: deque[SignedHead] = deque(maxlen=_WITNESS_HEADS)
    for witness in witnesses:
        kept.extend(
            _decode_head(located.record)
            for located in read_records(witness)
            if isinstance(located.record, PeerHeadRecord) and (located.record.chain, located.record.gateway) == whose
        )
    return list(kept)


def _peer_head(directory: Path, peer: str) -> SignedHead | None:
    newest: PeerHeadRecord | None = None
    for located in read_records(directory):
        record = located.record
        if isinstance(record, PeerHeadRecord) and record.gateway == peer and not record.conflict:
            newest = record
    return None if newest is None else _decode_head(newest)


def _decode_head(record: PeerHeadRecord) -> SignedHead:
    try:
        return read_head(base64.b64decode(record.head, validate=True))[0]
    except ValueError as exc:
        raise BrokenEvidenceError("head: is not base64", kind="peer-head") from exc


def _broken(exc: BrokenEvidenceError) -> dict[str, object]:
    return {
        "file": exc.file,
        "index": exc.index,
        "kind": exc.kind,
        "crossing": exc.crossing,
        "problem": exc.problem,
        "reason": exc.reason.value,
    }


def _report(report: Report) -> dict[str, object]:
    return {
        "chain": report.chain,
        "gateway": report.gateway,
        "signers": report.signers,
        "segments": report.segments,
        "records": report.records,
        "batches": report.batches,
        "sealed": report.sealed,
        "unsealed": report.unsealed,
        "sealed_until": report.sealed_until.isoformat() if report.sealed_until else None,
        "heads": report.heads,
        "confirmed": report.confirmed,
        "second_opinions": report.second_opinions,
        "orderly": report.orderly,
        "complete_to": report.complete_to,
        "notes": report.notes,
    }


def _print_report(report: Report) -> None:
    until = report.sealed_until.isoformat() if report.sealed_until else "-"
    click.echo(f"gateway 网关       {report.gateway}")
    click.echo(f"chain 证据链       {report.chain}")
    click.echo(f"signed by 签名者   {', '.join(report.signers)}")
    click.echo(f"segments 段        {report.segments}")
    click.echo(f"records 记录       {report.records}, sealed 已签封 {report.sealed}, unsealed 未签封 {report.unsealed}")
    click.echo(f"batches 批次       {report.batches}, until 截至 {until}")
    if report.second_opinions:
        click.echo(f"second opinion 第二实现  {report.second_opinions} seals agree 签封一致")
    for note in report.notes:
        click.echo(f"note 注意          {note}")
    zh = f"签封头证实至第 {report.confirmed} 批" if report.heads else "无签封头"
    click.echo(f"OK 校验通过        {report.complete_to} / 完整至第 {report.batches} 批，{zh}，不能排除其后被截断")


def _located(located: Located) -> dict[str, Any]:
    return {"file": located.file, "index": located.position, **msgspec.json.decode(encode(located.record))}


def _print_record(located: Located) -> None:
    record: AnyRecord = located.record
    kind = kind_of(record)
    click.echo(f"{located.file} #{located.position} {kind} {KINDS[kind]}")
    fields = msgspec.to_builtins(record)
    del fields["kind"]
    _print_fields(fields, "  ")


def _print_fields(fields: dict[str, Any], indent: str) -> None:
    for name, value in fields.items():
        title = f"{name} {_FIELDS[name]}" if name in _FIELDS else name
        if isinstance(value, dict):
            click.echo(f"{indent}{title}")
            _print_fields(value, indent + "  ")
        else:
            click.echo(f"{indent}{title}: {_plain(value)}")


def _plain(value: object) -> str:
    """Return a value for a terminal: nothing in a damaged record may steer it."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else "?" for char in text)
