"""`zonegate approval`: propose an act, show it, sign it as an officer, delegate, check signatures against the roster.

Each command calls one function of `zonegate.approval` and prints what came back. Who signs sees, in both languages,
what is signed before it is signed.
"""

import json
import os
from datetime import datetime, timedelta
from pathlib import Path

import click

from zonegate.approval.act import NONCE_BYTES, PROPOSAL_MAX_BYTES, ActKind, Proposal, decode_proposal, encode_proposal
from zonegate.approval.act import propose as make_proposal
from zonegate.approval.delegation import DELEGATION_MAX_BYTES, Delegation, decode_delegation, encode_delegation
from zonegate.approval.delegation import delegate as make_delegation
from zonegate.approval.judge import Approved, Examined, examine, judge
from zonegate.approval.nonces import SqliteNonceBook
from zonegate.approval.record import APPROVAL_MAX_BYTES, Approval, decode_approval, encode_approval
from zonegate.approval.record import sign as make_approval
from zonegate.approval.rules import RULES, Part
from zonegate.approval.words import approval_text, delegation_text, proposal_text
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest
from zonegate.identity import Identity, Net, parse_identity
from zonegate.pki.certificate import load_certificates
from zonegate.pki.credential import load_credential
from zonegate.pki.crl import Crl, load_crl
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason
from zonegate.roles.role import Role
from zonegate.roles.store import load_roster, read_limited

PAYLOAD_MAX_BYTES = 64 << 20
_TEXT_MAX_BYTES = 64 << 10
_FILE_LIMIT_BYTES = 64 << 20

_proposal = click.argument("proposal", type=click.Path(path_type=Path))
_certificate = click.option("--certificate", type=click.Path(path_type=Path), required=True, help="Your chain, PEM.")
_key = click.option("--key", type=click.Path(path_type=Path), required=True, help="Your sealed key, PEM.")
_secret = click.option("--secret", type=click.Path(path_type=Path), required=True, help="File with the key's secret.")
_role = click.option("--role", type=click.Choice([role.value for role in Role]), required=True, help="As what 角色.")
_out = click.option("--out", type=click.Path(path_type=Path), required=True, help="New file.")
_yes = click.option("--yes", is_flag=True, help="Sign without asking, for scripts 不再询问.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")


@click.group("approval")
def command() -> None:
    """Propose acts, show, sign and check approvals.

    事项的提出、查看、签批与检查。
    """


@command.command()
@click.argument("kind", type=click.Choice([kind.value for kind in ActKind]))
@click.option("--payload", type=click.Path(path_type=Path), required=True, help="File that the act is about.")
@click.option("--view", type=click.Path(path_type=Path), required=True, help="Text that officers are shown, UTF-8.")
@click.option("--target", required=True, help="What it is done to 对象.")
@click.option("--organ", required=True, help="USCC of the organ whose object it is 机构.")
@click.option("--applicant", required=True, help="spiffe:// identity of who asks 申请人.")
@click.option("--hours", type=click.IntRange(1, 744), default=72, show_default=True, help="Validity 有效期.")
@_out
def propose(
    kind: str, payload: Path, view: Path, target: str, organ: str, applicant: str, hours: int, out: Path
) -> None:
    """Write down an act that needs approval.

    提出须审批的事项。
    """
    now = SystemClock().now()
    try:
        text = read_limited(view, _TEXT_MAX_BYTES).decode()
    except UnicodeDecodeError as exc:
        raise ZoneGateError(Reason.E_APPROVAL_FORMAT, "view: is not UTF-8") from exc
    made = make_proposal(
        ActKind(kind),
        payload=read_limited(payload, PAYLOAD_MAX_BYTES),
        view=text,
        target=target,
        organ=organ,
        applicant=_identity("--applicant", applicant),
        not_before=now,
        not_after=now + timedelta(hours=hours),
        nonce=os.urandom(NONCE_BYTES),
    )
    write_new(out, encode_proposal(made))
    click.echo(proposal_text(made))


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
def show(file: Path) -> None:
    """Show a proposal, an approval or a delegation; nothing is verified.

    查看事项、审批或委托（不作校验）。
    """
    raw = read_limited(file, APPROVAL_MAX_BYTES)
    if raw.startswith(b'{"format":"zonegate-approval/'):
        text = approval_text(decode_approval(raw))
    elif raw.startswith(b'{"format":"zonegate-delegation/'):
        text = delegation_text(decode_delegation(raw))
    else:
        text = proposal_text(decode_proposal(raw))
    click.echo(text)


@command.command()
@_proposal
@_certificate
@_key
@_secret
@_role
@click.option(
    "--part",
    type=click.Choice([part.value for part in Part]),
    default=Part.APPROVE.value,
    show_default=True,
    help="In what capacity 身份.",
)
@click.option("--payload", type=click.Path(path_type=Path), help="File that the act is about: compare it first.")
@click.option("--delegation", type=click.Path(path_type=Path), help="If the role is another's 委托书.")
@_out
@_yes
def sign(
    proposal: Path,
    certificate: Path,
    key: Path,
    secret: Path,
    role: str,
    part: str,
    payload: Path | None,
    delegation: Path | None,
    out: Path,
    yes: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Show what PROPOSAL says, ask, and sign it with your SM2 key.

    显示事项全文，确认后以 SM2 签名。
    """
    selftest.run()
    found = _read_proposal(proposal)
    if payload is not None:
        found.act.check_contents(read_limited(payload, PAYLOAD_MAX_BYTES), found.view)
    click.echo(proposal_text(found), err=True)
    chosen = Role(role)
    click.echo(f"您将签名 you sign: {Part(part).zh} {part}, {chosen.zh} {chosen.en}", err=True)
    if payload is None:
        click.echo("未核对内容文件 the payload was not compared (--payload)", err=True)
    if not yes:
        click.confirm("签名? sign?", abort=True, err=True)
    credential = load_credential(certificate, key, secret)
    made = make_approval(
        found,
        chosen,
        part=Part(part),
        chain=credential.chain,
        key=credential.key,
        now=SystemClock().now(),
        delegation=None if delegation is None else _read_delegation(delegation),
    )
    write_new(out, encode_approval(made))
    click.echo(f"{out} {made.signer}")


@command.command()
@click.option("--to", required=True, help="spiffe:// identity of the delegate 受托人.")
@_role
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([kind.value for kind in ActKind]),
    multiple=True,
    required=True,
    help="For these acts.",
)
@click.option("--days", type=click.IntRange(1, 92), required=True, help="For so long 有效期.")
@_certificate
@_key
@_secret
@_out
@_yes
def delegate(
    to: str,
    role: str,
    kinds: tuple[str, ...],
    days: int,
    certificate: Path,
    key: Path,
    secret: Path,
    out: Path,
    yes: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Let another officer sign in your role; you two still count as one person.

    委托他人以本人角色签名；委托人与受托人仍视为一人。
    """
    selftest.run()
    now = SystemClock().now()
    delegated = Role(role)
    click.echo(f"委托 delegate {delegated.zh} {delegated.en} 至 to {to}, {days} 天 days: {', '.join(kinds)}", err=True)
    if not yes:
        click.confirm("签名? sign?", abort=True, err=True)
    credential = load_credential(certificate, key, secret)
    made = make_delegation(
        delegated,
        _identity("--to", to),
        [ActKind(kind) for kind in kinds],
        chain=credential.chain,
        key=credential.key,
        not_before=now,
        not_after=now + timedelta(days=days),
        now=now,
        nonce=os.urandom(NONCE_BYTES),
    )
    write_new(out, encode_delegation(made))
    click.echo(delegation_text(made))


@command.command()
@_proposal
@click.argument("approvals", nargs=-1, type=click.Path(path_type=Path))
@click.option("--roster", type=click.Path(path_type=Path), required=True, help="Folder of the net's roster 名册.")
@click.option("--trust", type=click.Path(path_type=Path), multiple=True, required=True, help="Root of the net, PEM.")
@click.option("--crl", "crls", type=click.Path(path_type=Path), multiple=True, required=True, help="Revocation list.")
@click.option("--payload", type=click.Path(path_type=Path), required=True, help="File that the act is about.")
@click.option("--spend", type=click.Path(path_type=Path), help="Book of nonces: use the approval up 登记已用.")
@_json
def check(
    proposal: Path,
    approvals: tuple[Path, ...],
    roster: Path,
    trust: tuple[Path, ...],
    crls: tuple[Path, ...],
    payload: Path,
    spend: Path | None,
    as_json: bool,  # noqa: FBT001 - click's flag
) -> None:
    """Say whether PROPOSAL may be done over these APPROVALS; exit 1 with the reason if not.

    检查审批是否齐备、有效。
    """
    selftest.run()
    now = SystemClock().now()
    found = _read_proposal(proposal)
    found.act.check_contents(read_limited(payload, PAYLOAD_MAX_BYTES), found.view)
    signed = [_read_approval(path) for path in approvals]
    anchors, lists = read_anchors(trust, found.act.net), read_crls(crls)
    roles = load_roster(roster, anchors=anchors, crls=lists).standings
    rule = RULES.get(found.act.kind)
    result: Examined | Approved
    if spend is None:
        result = examine(found.act, signed, rule, now=now, anchors=anchors, crls=lists, roles=roles)
    else:
        book = SqliteNonceBook.open(spend) if spend.exists() else SqliteNonceBook.create(spend)
        result = judge(found.act, signed, rule, now=now, anchors=anchors, crls=lists, roles=roles, nonces=book)
    _print_result(result, now, as_json=as_json)


def _print_result(result: Examined | Approved, now: datetime, *, as_json: bool) -> None:
    rows = [
        {
            "identity": str(signer.identity),
            "person": signer.person,
            "part": signer.part.value,
            "role": signer.role.value,
            "for": None if signer.delegator is None else str(signer.delegator),
            "signed_at": signer.signed_at.isoformat(),
        }
        for signer in result.signers
    ]
    if as_json:
        shown = {"act": result.act.digest, "kind": result.act.kind.value, "at": now.isoformat(), "signers": rows}
        click.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    for signer in result.signers:
        proxy = "" if signer.delegator is None else f" 代 for {signer.delegator}"
        click.echo(f"{signer.part.zh} {signer.part:8} {signer.role.zh} {signer.identity}{proxy}")
    done = (
        "已批准并登记 approved, and used up"
        if isinstance(result, Approved)
        else "审批齐备 approved; nothing was used up"
    )
    click.echo(done, err=True)


# --- files


def _read_proposal(path: Path) -> Proposal:
    return decode_proposal(read_limited(path, PROPOSAL_MAX_BYTES))


def _read_approval(path: Path) -> Approval:
    return decode_approval(read_limited(path, APPROVAL_MAX_BYTES))


def _read_delegation(path: Path) -> Delegation:
    return decode_delegation(read_limited(path, DELEGATION_MAX_BYTES))


def read_anchors(paths: tuple[Path, ...], net: Net) -> TrustAnchors:
    """Return the roots in PEM files as the anchors of a net."""
    roots = tuple(root for path in paths for root in load_certificates(read_limited(path, _TEXT_MAX_BYTES)))
    return TrustAnchors(net, roots)


def read_crls(paths: tuple[Path, ...]) -> tuple[Crl, ...]:
    """Return the revocation lists in files."""
    return tuple(load_crl(read_limited(path, _FILE_LIMIT_BYTES)) for path in paths)


def write_new(path: Path, content: bytes) -> None:
    """Write a file that must not be there yet."""
    try:
        with path.open("xb") as stream:
            stream.write(content)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc


def _identity(option: str, text: str) -> Identity:
    try:
        return parse_identity(text)
    except ValueError as exc:
        msg = f"{option}: {exc}"
        raise click.BadParameter(msg) from exc
