"""`zonegate status TARGET...`: what an operator asks first, from the management addresses of the processes.

A TARGET is `host:port`, a configuration file, or a folder of them (a lab's, for instance). Nothing is changed, and
nothing is shown that /metrics and /healthz do not say.
"""

import json
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.monitoring.overview import DISK_ALARM, DISK_WARN, Overview, overview
from zonegate.monitoring.scrape import scrape
from zonegate.reasons import REGISTRY, Reason

HEADINGS = ("process 进程", "health 健康", "left 剩余", "disk 磁盘", "upstreams 上游", "crossings 穿越")
GOOD, WARN, ALARM = "green", "yellow", "bold red"
TOP_REFUSALS = 5
AT_ONCE = 8


@click.command("status")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.FloatRange(0.1, 60),
    default=3.0,
    show_default=True,
    help="Seconds to wait for a process.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def command(targets: tuple[str, ...], timeout_seconds: float, as_json: bool) -> int:  # noqa: FBT001 - click's flag
    """Show processes, days left, disk, upstreams and refusals; exit 1 if one of them needs an operator.

    运行状态：进程、剩余天数、磁盘、上游、拒绝原因。TARGET 为管理地址（主机:端口）、配置文件或其目录。
    """
    addresses = list(dict.fromkeys(address for target in targets for address in _addresses(target)))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda address: scrape(address, timeout_seconds=timeout_seconds), addresses))
    now = SystemClock().now()
    rows = [overview(answer, now=now) for answer in answers]
    if as_json:
        click.echo(json.dumps([asdict(row) | {"well": row.well} for row in rows], ensure_ascii=False, indent=1))
    else:
        _print(rows)
    return 0 if all(row.well for row in rows) else 1


def _addresses(target: str) -> Iterator[str]:
    path = Path(target)
    if path.is_dir():
        found = [address for file in sorted(path.rglob("*.toml")) for address in _listed_in(file)]
        if not found:
            msg = f"TARGET: {target} has no *.toml with [management] listen below it"
            raise ZoneGateError(Reason.E_CONFIG, msg)
        yield from found
    elif path.is_file():
        found = list(_listed_in(path))
        if not found:
            msg = f"TARGET: {target} has no [management] listen"
            raise ZoneGateError(Reason.E_CONFIG, msg)
        yield from found
    else:
        address = target.removeprefix("http://").removesuffix("/")
        if not address.rpartition(":")[0] or "/" in address:
            msg = f"TARGET: {target[:80]!r} is not host:port, nor a file or folder that exists"
            raise ZoneGateError(Reason.E_CONFIG, msg)
        yield address


def _listed_in(file: Path) -> Iterator[str]:
    """Yield the management address of one configuration; other files of a folder have none."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return
    management = document.get("management")
    if isinstance(management, dict) and isinstance(management.get("listen"), str):
        yield management["listen"]


def _print(rows: list[Overview]) -> None:
    table = Table(title="zonegate 运行状态", show_lines=True)
    for heading in HEADINGS:
        table.add_column(heading, overflow="fold")
    for row in rows:
        if row.problem:
            table.add_row(Text(row.address), Text(row.problem, ALARM))
        else:
            table.add_row(*(cell(row) for cell in (_process, _health, _left, _disk, _upstreams, _crossings)))
    console = Console()
    console.print(table)
    for row in rows:
        for reason, number in list(row.refusals.items())[:TOP_REFUSALS]:
            console.print(Text(f"{row.address}  {number} × {reason}  {_meaning(reason)}"))


# A process's own words go into `Text`, so that a bracket in them is a bracket and no markup.
def _process(row: Overview) -> Text:
    policy = "" if row.policy_version is None else f"\npolicy 策略 v{row.policy_version}"
    return Text(f"{row.role}\n{row.zone}\n{row.address}\n{row.version}{policy}")


def _health(row: Overview) -> Text:
    healthy = row.health.split(" ", 1)[0] == Reason.OK
    return Text(row.health, GOOD if healthy and not row.evidence_refusing else ALARM)


def _left(row: Overview) -> Text:
    return _lines(
        (expiry.text, ALARM if expiry.days <= expiry.alarm_days else WARN if expiry.days <= expiry.warn_days else "")
        for expiry in row.expiries
    )


def _disk(row: Overview) -> Text:
    used = row.disk_used_ratio
    if used is None:
        return Text()
    return Text(f"{used:.0%}", ALARM if used >= DISK_ALARM else WARN if used >= DISK_WARN else "")


def _upstreams(row: Overview) -> Text:
    return _lines((f"✓ {name}", GOOD) if up else (f"✗ {name}", ALARM) for name, up in row.upstreams.items())


def _crossings(row: Overview) -> Text:
    opened = "" if row.crossings_open is None else f"open 进行中 {row.crossings_open}\n"
    return Text(f"{opened}allowed 允许 {row.allowed}\nrefused 拒绝 {row.decided - row.allowed}")


def _lines(lines: Iterable[tuple[str, str]]) -> Text:
    return Text("\n").join(Text(text, style) for text, style in lines)


def _meaning(reason: str) -> str:
    return f"{REGISTRY[Reason(reason)].en} {REGISTRY[Reason(reason)].zh}" if reason in set(Reason) else ""
