"""`zonegate roles`: show the roles and the matrix of acts, propose changes of a net's roster, append them, check it."""

import json
import os
from pathlib import Path

import click

from zonegate.approval.act import NONCE_BYTES, PROPOSAL_MAX_BYTES, decode_proposal, encode_proposal
from zonegate.approval.record import APPROVAL_MAX_BYTES, decode_approval
from zonegate.approval.words import proposal_text
from zonegate.cli.approval import read_anchors, read_crls, write_new
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest
from zonegate.identity import Net, parse_identity
from zonegate.reasons import Reason
from zonegate.roles.founding import missing_people
from zonegate.roles.matrix import Act, who_may
from zonegate.roles.plan import read_change
from zonegate.roles.role import Role
from zonegate.roles.roster import ROSTER_MAX_BYTES, Roster, append, decode_entries, entry_digest, propose_change
from zonegate.roles.store import PIN_NAME, ROSTER_NAME, load_roster, read_limited, save_roster

_folder = click.argument("folder", type=click.Path(path_type=Path))
_net = click.option(
    "--net", type=click.Choice([net.value for net in Net]), required=True, help="extra 外网 or intra 内网."
)
_trust = click.option("--trust", type=click.Path(path_type=Path), multiple=True, required=True, help="Root, PEM.")
_crl = click.option(
    "--crl", "crls", type=click.Path(path_type=Path), multiple=True, required=True, help="Revocation list."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")


@click.group("roles")
def command() -> None:
    """Show who may do what; change and check a net's roster.

    角色、职责表与人员名册。
    """


@command.command()
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@_json
def show(folder: Path | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Print the roles and what each may do, or the entries of the roster in FOLDER, not verified.

    显示角色与职责表，或名册中的记录（不作校验）。
    """
    if folder is not None:
        _show_entries(folder, as_json=as_json)
        return
    if as_json:
        matrix = {act.value: {role.value: duty.value for role, duty in who_may(act).items()} for act in Act}
        roles = {role.value: {"en": role.en, "zh": role.zh, "gmt0006": role.gmt0006} for role in Role}
        click.echo(json.dumps({"roles": roles, "acts": matrix}, ensure_ascii=False, indent=1))
        return
    for role in Role:
        number = "" if role.gmt0006 is None else f"  GM/T 0006: {role.gmt0006}"
        click.echo(f"{role.value:20} {role.zh} {role.en}{number}")
    for act in Act:
        click.echo(f"{act.zh} {act.en}")
        for role, duty in who_may(act).items():
            click.echo(f"    {role.value:20} {duty.value} {duty.zh}")
        if not who_may(act):
            click.echo("    nobody 任何人不得办理")


def _show_entries(folder: Path, *, as_json: bool) -> None:
    entries = decode_entries(read_limited(folder / ROSTER_NAME, ROSTER_MAX_BYTES))
    if as_json:
        rows = [
            {"number": number, "digest": entry_digest(entry), "kind": entry.act.kind, "view": entry.view}
            for number, entry in enumerate(entries, start=1)
        ]
        click.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for number, entry in enumerate(entries, start=1):
        click.echo(f"{number} SM3 {entry_digest(entry)}")
        click.echo(entry.view)
        for approval in entry.approvals:
            click.echo(f"  签名 signed {approval.signedAt}: {approval.part} {approval.role}")
    click.echo("signatures were not checked (zonegate roles check) 未检查签名", err=True)


@command.command()
@_folder
@_net
@_trust
@_crl
@_json
def check(folder: Path, net: str, trust: tuple[Path, ...], crls: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Verify the roster in FOLDER from its founding on, and list who holds which role now.

    校验名册全部记录，列出现任人员。
    """
    selftest.run()
    now = SystemClock().now()
    roster = load_roster(folder, anchors=read_anchors(trust, Net(net)), crls=read_crls(crls))
    standings = roster.standings
    holders = {role: sorted(standings.holders(role, at=now)) for role in Role}
    missing = missing_people(standings, now)
    if as_json:
        shown = {
            "founding": roster.founding,
            "head": roster.head,
            "entries": len(roster.entries),
            "holders": {role.value: people for role, people in holders.items()},
            "missing": {role.value: count for role, count in missing.items()},
        }
        click.echo(json.dumps(shown, ensure_ascii=False, indent=1))
        return
    click.echo(f"founding 建立 SM3 {roster.founding}")
    click.echo(f"head 末条 SM3 {roster.head}, {len(roster.entries)} entries 条")
    for role, people in holders.items():
        click.echo(f"{role.value:20} {role.zh}: {', '.join(people) or '-'}")
    for role, count in missing.items():
        click.echo(f"missing 缺 {count} {role.zh} {role.en}", err=True)


@command.command()
@_folder
@click.argument("change", type=click.Path(path_type=Path))
@_net
@_trust
@_crl
@click.option("--applicant", required=True, help="spiffe:// identity of who asks 申请人.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New file for the proposal.")
def propose(
    folder: Path, change: Path, net: str, trust: tuple[Path, ...], crls: tuple[Path, ...], applicant: str, out: Path
) -> None:
    """Write the proposal of CHANGE, a TOML file, as the next entry of the roster in FOLDER; officers sign it.

    由 TOML 文件生成名册变更提案，供签批。
    """
    try:
        who = parse_identity(applicant)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_APPROVAL_FORMAT, f"applicant: {exc}") from exc
    roster = _load(folder, Net(net), trust, crls)
    made = propose_change(
        roster, read_change(change), applicant=who, now=SystemClock().now(), nonce=os.urandom(NONCE_BYTES)
    )
    write_new(out, encode_proposal(made))
    click.echo(proposal_text(made))


@command.command("append")
@_folder
@click.argument("change", type=click.Path(path_type=Path))
@click.argument("proposal", type=click.Path(path_type=Path))
@click.argument("approvals", nargs=-1, required=True, type=click.Path(path_type=Path))
@_net
@_trust
@_crl
def append_(
    folder: Path,
    change: Path,
    proposal: Path,
    approvals: tuple[Path, ...],
    net: str,
    trust: tuple[Path, ...],
    crls: tuple[Path, ...],
) -> None:
    """Append the signed CHANGE to the roster in FOLDER; the first one founds it and pins the founding.

    将已签批的变更写入名册；首条建立名册。
    """
    selftest.run()
    if not folder.is_dir():
        raise ZoneGateError(Reason.E_CONFIG, f"{folder.name}: is not a folder")
    roster = append(
        _load(folder, Net(net), trust, crls),
        read_change(change),
        decode_proposal(read_limited(proposal, PROPOSAL_MAX_BYTES)),
        [decode_approval(read_limited(path, APPROVAL_MAX_BYTES)) for path in approvals],
        now=SystemClock().now(),
        anchors=read_anchors(trust, Net(net)),
        crls=read_crls(crls),
    )
    save_roster(folder, roster)
    click.echo(f"entry 第 {len(roster.entries)} 条 SM3 {roster.head}")


def _load(folder: Path, net: Net, trust: tuple[Path, ...], crls: tuple[Path, ...]) -> Roster | None:
    if not (folder / PIN_NAME).exists() and not (folder / ROSTER_NAME).exists():
        return None
    return load_roster(folder, anchors=read_anchors(trust, net), crls=read_crls(crls))
