"""`zonegate kmc`: found a key centre, serve it, unseal it, look at it, read its audit.

A share of the master key comes from a file or from the terminal without echo, never from an argument.
"""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import click

from zonegate.ca.audit import first_broken
from zonegate.ca.kmc.config import KEYS_FILE, load_settings
from zonegate.ca.kmc.founding import FoundingPlan, create_centre, open_service
from zonegate.ca.kmc.server import listeners, serve
from zonegate.ca.kmc.shares import SHARE_MAX_CHARS
from zonegate.ca.kmc.store import Store
from zonegate.ca.kmc.wire import UnixExchange
from zonegate.cli.ca import actor_name
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest
from zonegate.identity import Net
from zonegate.reasons import Reason

_directory = click.argument("directory", type=click.Path(path_type=Path))
_path = click.Path(path_type=Path)


@click.group("kmc")
def command() -> None:
    """Run the key management centre of one net.

    密钥管理中心。
    """


@command.command()
@_directory
@click.option("--net", type=click.Choice([net.value for net in Net]), required=True, help="extra 外网 or intra 内网.")
@click.option("--root", type=_path, required=True, help="Root certificate of the net 根证书.")
@click.option("--chain", type=_path, required=True, help="The centre's own certificate and its sub-CA.")
@click.option("--key", type=_path, required=True, help="Its sealed key.")
@click.option("--secret", type=_path, required=True, help="File of the key's secret.")
@click.option("--ca", "cas", type=_path, multiple=True, required=True, help="Certificate chain of a CA to serve.")
@click.option("--holder", "holders", multiple=True, required=True, help="Who keeps a share 分量保管人; several.")
@click.option("--threshold", type=int, required=True, help="How many of them open the centre 门限.")
def init(
    directory: Path,
    net: str,
    root: Path,
    chain: Path,
    key: Path,
    secret: Path,
    cas: tuple[Path, ...],
    holders: tuple[str, ...],
    threshold: int,
) -> None:
    """Make a key centre in a new DIRECTORY and divide its master key among the holders.

    建立密钥管理中心，主密钥按门限分割。
    """
    selftest.run()
    plan = FoundingPlan(Net(net), root, chain, key, secret, cas, holders, threshold)
    files = create_centre(directory, plan, clock=SystemClock(), actor=actor_name())
    for holder, file in zip(holders, files, strict=True):
        click.echo(f"{holder}: {file}")
    click.echo(f"hand each share to its holder and remove {directory}/shares; {threshold} of {len(holders)} open it")
    click.echo(f"请将各分量交付保管人并删除 {directory}/shares；{len(holders)} 人中 {threshold} 人可启封")


@command.command("serve")
@_directory
def serve_(directory: Path) -> None:
    """Serve CAs and operators on Unix sockets until stopped; starts sealed.

    启动服务（初始为封存状态）。
    """
    selftest.run()
    service = open_service(directory, clock=SystemClock())
    settings = load_settings(directory)
    try:
        asyncio.run(_serve(listeners(service, settings.socket, settings.admin_socket, settings.users), service))
    finally:
        service.centre.close()


async def _serve(served: Any, service: Any) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def ready() -> None:
        click.echo(f"kmc {service.credential.identity}: serving, sealed 已启动，处于封存状态", err=True)

    await serve(served, stop, ready)


@command.command()
@_directory
@click.option("--share", type=_path, help="File of one share; typed in without echo if left out.")
def unseal(directory: Path, share: Path | None) -> None:
    """Give one holder's share to the running centre; tells who is still needed.

    提交一份主密钥分量，并显示还需哪些人员。
    """
    text = click.prompt("share 分量", hide_input=True) if share is None else _read_share(share)
    _show(_ask(directory, {"act": "unseal", "share": text}))


@command.command()
@_directory
def seal(directory: Path) -> None:
    """Make the running centre forget its keys until the holders come again.

    封存密钥管理中心。
    """
    _show(_ask(directory, {"act": "seal"}))


@command.command()
@_directory
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def status(directory: Path, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Show whether the centre is open, who is needed, and how many keys each store holds.

    查看状态与各密钥库数量。
    """
    facts = _ask(directory, {"act": "status"})
    if as_json:
        click.echo(json.dumps(facts, ensure_ascii=False, indent=1))
    else:
        _show(facts)


@command.command()
@_directory
def audit(directory: Path) -> None:
    """Print every act and refusal of the centre, after checking the chain of digests.

    查看审计记录并校验摘要链。
    """
    store = Store.open(directory / KEYS_FILE, load_settings(directory).net)
    try:
        rows = store.audit_rows()
    finally:
        store.close()
    broken = first_broken(rows)
    if broken is not None:
        raise ZoneGateError(Reason.E_LEDGER, f"audit: row {broken} is changed, missing or out of order")
    for row in rows:
        entry = row.entry
        click.echo(f"{row.seq:5} {entry.at} {entry.actor} {entry.act} {entry.target} {entry.result} {entry.reason}")
        click.echo(f"      {entry.detail}")
    click.echo(f"chain holds 摘要链完整; head 链头 {rows[-1].digest if rows else '-'}")


def _ask(directory: Path, command: dict[str, str]) -> dict[str, Any]:
    exchange = UnixExchange(load_settings(directory).admin_socket)
    facts = json.loads(exchange(json.dumps(command).encode()))
    if "reason" in facts:
        raise ZoneGateError(Reason(facts["reason"]), facts["detail"])
    return dict(facts)


def _read_share(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(SHARE_MAX_CHARS + 1).decode("ascii", errors="replace")
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc


def _show(facts: dict[str, Any]) -> None:
    if facts["state"] == "open":
        click.echo("open 已启封")
    else:
        click.echo("sealed 封存中")
        if facts["given"]:
            click.echo(f"  given 已提交: {', '.join(facts['given'])}")
        click.echo(
            f"  {facts['needed']} more of 还需以下人员中 {facts['needed']} 位: {', '.join(facts['outstanding'])}"
        )
    words = {"standby": "备用", "in-use": "在用", "history": "历史", "destroyed": "已销毁"}
    for state, count in facts["keys"].items():
        click.echo(f"  {state:10} {words.get(state, '')} {count}")
