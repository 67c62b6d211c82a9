"""`zonegate policy`: begin, build, sign, check, show, explain a policy, and print the zone rule as a matrix.

Each command calls one function of `zonegate.policies` and prints what came back. A SOURCE is a folder of documents, or
a folder that holds a built bundle.
"""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest, sm3
from zonegate.identity import Net
from zonegate.pki.certificate import load_certificates
from zonegate.pki.credential import load_credential
from zonegate.pki.crl import Crl, load_crl
from zonegate.pki.path import TrustAnchors
from zonegate.policies import bundle as bundles
from zonegate.policies import bundle_store as store
from zonegate.policies.builtin import builtin_documents
from zonegate.policies.compile import Compiled, compile_documents
from zonegate.policies.decide import CallFacts
from zonegate.policies.explain import Outcome, explain
from zonegate.policies.labels import parse_label
from zonegate.policies.matrix import as_text, class_cells, policy_cells
from zonegate.policies.model import Policy
from zonegate.policies.officers import Signer
from zonegate.policies.selftest import self_test
from zonegate.reasons import REGISTRY, Reason

DEFAULT_DAYS = 365
MATRIX_GRADE = 3
_FILE_LIMIT_BYTES = 16 << 20

_source = click.argument("source", type=click.Path(path_type=Path))
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
_at = click.option("--at", "at", help="Instant YYYY-MM-DDThh:mm:ssZ instead of now.")


@click.group("policy")
def command() -> None:
    """Build, sign, check and explain policy bundles.

    策略的构建、签名、检查与解释。
    """


@command.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--net", type=click.Choice([net.value for net in Net]), required=True, help="extra 外网 or intra 内网.")
def init(directory: Path, net: str) -> None:
    """Copy the shipped default documents of a net into a new DIRECTORY.

    将默认策略文档复制到新目录。
    """
    if directory.exists() and any(directory.iterdir()):
        raise ZoneGateError(Reason.E_CONFIG, f"{directory.name}: is not empty")
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in builtin_documents(Net(net)).items():
        store.write_whole(directory / name, content)
        click.echo(str(directory / name))


@command.command()
@click.argument("documents", type=click.Path(path_type=Path))
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--version", "version", type=click.IntRange(min=1), required=True, help="Higher than the one in force.")
@click.option("--not-before", help="First instant YYYY-MM-DDThh:mm:ssZ; now if left out.")
@click.option("--days", type=click.IntRange(1, 3660), default=DEFAULT_DAYS, show_default=True, help="Validity 有效期.")
def build(documents: Path, directory: Path, version: int, not_before: str | None, days: int) -> None:
    """Check and self-test DOCUMENTS and write their bundle into DIRECTORY, unsigned.

    检查并自检策略文档，生成未签名的策略包。
    """
    selftest.run()
    begin = SystemClock().now() if not_before is None else _instant(not_before)
    raw = bundles.build(
        store.read_document_files(documents), version=version, not_before=begin, not_after=begin + timedelta(days=days)
    )
    path = store.write_bundle(directory, raw)
    click.echo(f"{path} SM3 {sm3.hexdigest(raw)}")
    click.echo("two officers must sign it: zonegate policy sign 须由两名管理员签名", err=True)


@command.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--certificate", type=click.Path(path_type=Path), required=True, help="Officer's chain, PEM.")
@click.option("--key", type=click.Path(path_type=Path), required=True, help="Officer's sealed key, PEM.")
@click.option("--secret", type=click.Path(path_type=Path), required=True, help="File with the key's secret.")
def sign(directory: Path, certificate: Path, key: Path, secret: Path) -> None:
    """Test the bundle in DIRECTORY once more and add one officer's SM2 signature.

    再次自检策略包并附加一名管理员的 SM2 签名。
    """
    selftest.run()
    credential = load_credential(certificate, key, secret)
    raw = store.read_bundle_file(directory)
    signature = bundles.sign(raw, credential.chain, credential.key, now=SystemClock().now())
    path = store.write_signature(directory, signature)
    click.echo(f"{path} {credential.leaf.subject}")


@command.command()
@_source
@click.option(
    "--trust", type=click.Path(path_type=Path), multiple=True, help="Root of the net, PEM: verify signatures."
)
@click.option("--crl", "crls", type=click.Path(path_type=Path), multiple=True, help="Revocation list for --trust.")
@_json
def check(source: Path, trust: tuple[Path, ...], crls: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - click
    """Say whether SOURCE may serve: every problem at once, self-test, and with --trust the signatures.

    检查策略可否生效：一次列出全部问题。
    """
    now = SystemClock().now()
    if trust:
        selftest.run()
        anchors = _anchors(trust, bundles.read_bundle(store.read_bundle_file(source)).net)
        verified = bundles.verify(
            store.read_bundle_file(source),
            store.read_signature_files(source),
            anchors=anchors,
            now=now,
            crls=[_crl(path) for path in crls],
        )
        _print_policy(verified.policy, verified.signers, as_json=as_json)
        return
    if not (source / store.BUNDLE_NAME).is_file():
        compiled = _compiled(source, now)
        self_test(compiled.policy, compiled.expectations)
    _print_policy(_policy(source, now), None, as_json=as_json)


@command.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--document", help="Print this document of the bundle instead.")
@_json
def show(directory: Path, document: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Show what the bundle in DIRECTORY holds; it decides nothing about signatures.

    显示策略包内容。
    """
    contents = bundles.read_bundle(store.read_bundle_file(directory))
    if document is not None:
        if document not in contents.files:
            names = ", ".join(contents.files)
            raise ZoneGateError(Reason.E_CONFIG, f"--document: no {document[:64]!r} in the bundle, it has {names}")
        click.echo(contents.files[document], nl=False)
        return
    shown = {
        "net": contents.net.value,
        "version": contents.version,
        "not_before": contents.not_before.isoformat(),
        "not_after": contents.not_after.isoformat(),
        "sm3": contents.digest,
        "signature_files": len(store.read_signature_files(directory)),
        "files": {name: sm3.hexdigest(content) for name, content in contents.files.items()},
    }
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for key, value in shown.items():
        if isinstance(value, dict):
            for name, digest in value.items():
                click.echo(f"{'file':16} {name} SM3 {digest}")
        else:
            click.echo(f"{key:16} {value}")


@command.command("explain")
@_source
@click.option("--caller", required=True, help="URI of the calling system.")
@click.option("--path", required=True, help="Method, /package.Service/Method.")
@click.option("--resource", help="zg-resource.")
@click.option("--purpose", help="zg-purpose 用途.")
@click.option("--case", help="zg-case 案件编号.")
@click.option("--label", help="zg-label, e.g. L1;cat=案件.")
@_at
@_json
def explain_command(
    source: Path,
    caller: str,
    path: str,
    resource: str | None,
    purpose: str | None,
    case: str | None,
    label: str | None,
    at: str | None,
    as_json: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Tell step by step why a call would be allowed or refused under SOURCE.

    逐步说明一次调用为何被允许或拒绝。
    """
    now = SystemClock().now() if at is None else _instant(at)
    facts = CallFacts(
        caller_uri=caller,
        path=path,
        resource=resource,
        purpose=purpose,
        case=case,
        declared=None if label is None else parse_label(label),
    )
    explanation = explain(_policy(source, now), facts, now=now)
    if as_json:
        click.echo(json.dumps(explanation.as_dict(), ensure_ascii=False, indent=1))
        return
    for step in explanation.steps:
        mark = {Outcome.PASSED: "+", Outcome.REFUSED: "x", Outcome.NOT_REACHED: " "}[step.outcome]
        click.echo(f"{mark} {step.name} {step.zh}: {step.outcome.value} {step.outcome.zh}")
        if step.found:
            click.echo(f"    {step.found}")
    decision = explanation.decision
    info = REGISTRY[decision.reason]
    click.echo(f"= {decision.decision.value} {decision.decision.zh}  {decision.reason.value}")
    click.echo(f"  {info.en}; {info.hint_en}")
    click.echo(f"  {info.zh}；{info.hint_zh}")
    click.echo(f"  holds until 有效至 {decision.valid_until.isoformat()}")


@command.command()
@click.argument("source", type=click.Path(path_type=Path), required=False)
@click.option("--mlps-grade", type=click.IntRange(1, 5), default=MATRIX_GRADE, show_default=True, help="等保 grade.")
@_json
def matrix(source: Path | None, mlps_grade: int, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Print the zone rule: 294 cells of zone classes, or with SOURCE the zones of that policy.

    输出区间规则表：294 格，或某策略中各区之间。
    """
    cells = list(class_cells(mlps_grade) if source is None else policy_cells(_policy(source, SystemClock().now())))
    if as_json:
        click.echo(json.dumps([cell.as_dict() for cell in cells], ensure_ascii=False, indent=1))
    elif cells:
        click.echo(as_text(cells))


def _policy(source: Path, now: datetime) -> Policy:
    """The policy of a bundle folder, or of a documents folder as if built now; signatures are not looked at.

    Documents are not self-tested here: whoever asks why an expectation fails needs the answer.
    """
    if (source / store.BUNDLE_NAME).is_file():
        return bundles.compile_bundle(store.read_bundle_file(source))
    return _compiled(source, now).policy


def _compiled(documents: Path, now: datetime) -> Compiled:
    return compile_documents(
        store.read_document_files(documents),
        version=1,
        not_before=now - timedelta(seconds=1),
        not_after=now + timedelta(days=DEFAULT_DAYS),
    )


def _print_policy(policy: Policy, signers: tuple[Signer, ...] | None, *, as_json: bool) -> None:
    shown = {
        "net": policy.net.value,
        "version": policy.version,
        "not_before": policy.not_before.isoformat(),
        "not_after": policy.not_after.isoformat(),
        "sm3": policy.digest,
        "organs": len(policy.organs),
        "zones": len(policy.zones),
        "systems": len(policy.systems),
        "resources": dict(Counter(resource.share_type.value for resource in policy.resources.values())),
        "flow_rules": len(policy.flow_rules),
        "grants": len(policy.grants),
        "signers": None if signers is None else [signer.certificate.subject for signer in signers],
    }
    if as_json:
        click.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for key, value in shown.items():
        if value is not None:
            click.echo(f"{key:12} {value}")
    if signers is None:
        click.echo("documents are sound; signatures were not checked (--trust) 文档无误，未检查签名", err=True)
    else:
        click.echo("may serve 可以生效", err=True)


def _anchors(paths: tuple[Path, ...], net: Net) -> TrustAnchors:
    return TrustAnchors(net, tuple(root for path in paths for root in load_certificates(_read(path))))


def _crl(path: Path) -> Crl:
    return load_crl(_read(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_FILE_LIMIT_BYTES)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc


def _instant(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as exc:
        msg = f"found {text[:32]!r}, an instant is written YYYY-MM-DDThh:mm:ssZ"
        raise click.BadParameter(msg) from exc
