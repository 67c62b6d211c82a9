"""`zonegate lab up|down|status`: the demo's set-up, kept running for people to play with."""

import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from zonegate.clock import SystemClock
from zonegate.demo.lab import GRANT_FILE, Lab, lab_down, lab_up, read_lab
from zonegate.demo.parties import EVIDENCE, GATEWAYS, SYSTEMS
from zonegate.identity import Net

_directory = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("lab"),
    show_default=True,
    help="The lab's folder. 试验环境目录",
)
# Synthetic: area 999999 is no division.
CITIZEN = '{"number": "99999919500101000X", "birthDate": "19500101"}'


@click.group("lab")
def command() -> None:
    """Keep the demo's set-up running to play with: up, down, status.

    保持演示环境运行，供手工试用。
    """


@command.command()
@_directory
def up(directory: Path) -> None:
    """Make a lab in a new folder and start it, or start again the one that is there.

    搭建并启动，或重新启动已有环境。
    """
    console = Console(stderr=True)
    with console.status("starting 启动中") as status:
        lab = lab_up(directory, SystemClock(), lambda name: status.update(f"serving 就绪 {name}"))
    _describe(lab, directory)


@command.command()
@_directory
def down(directory: Path) -> None:
    """End every process of the lab; the folder, with its evidence, stays.

    停止全部进程，保留目录与证据。
    """
    lab = lab_down(directory, SystemClock())
    click.echo(f"{len(lab.pids)} processes ended 个进程已停止; {directory} stays 目录保留")


@command.command()
@_directory
def status(directory: Path) -> int:
    """Show the lab's processes; exit 1 if one of them does not run.

    查看进程；有进程未运行时退出码为 1。
    """
    lab = read_lab(directory)
    for name, pid in lab.pids.items():
        click.echo(f"{'runs 运行' if lab.running(name) else 'ended 停止'}\t{pid}\t{name}")
    return 0 if all(lab.running(name) for name in lab.pids) else 1


def _describe(lab: Lab, directory: Path) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=150)
    table = Table(title=f"zonegate lab 试验环境 {lab.host}")
    for heading in ("process 进程", "address 地址", "management 管理地址"):
        table.add_column(heading)
    for gateway in GATEWAYS:
        table.add_row(gateway.name, f"{lab.host}:{gateway.port}", f"{lab.host}:{gateway.management_port}")
    for system in SYSTEMS:
        where = f"{lab.host}:{system.route_port}" if system.calls else "-"
        table.add_row(system.connector, where, f"{lab.host}:{system.management_port}")
    console.print(table)
    here = os.path.relpath(lab.layout.root)
    extra = os.path.relpath(lab.layout.documents(Net.EXTRA))
    for line in (
        "# a first refused crossing 第一次被拒的穿越",
        f"{here}/bin/survey Population/Verify '{CITIZEN}' --purpose 信用核查",
        f"zonegate evidence show {here}/evidence/shared --kind decision --last 1",
        "# a first granted crossing 第一次放行的穿越",
        f"{here}/bin/credit Population/Verify '{CITIZEN}' --purpose 信用核查",
        f"# to grant the first one 为前者授权: cp {here}/{GRANT_FILE} {extra}/, build, sign twice, reload (README)",
        f"# evidence 证据: {', '.join(f'{here}/evidence/{name}' for name in EVIDENCE)}",
        f"zonegate status {here}",
        f"zonegate lab down --dir {directory}",
    ):
        click.echo(line)
