"""`zonegate demo`: the whole story in separate processes, every act checked."""

import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click
from rich.console import Console

from zonegate.clock import SystemClock
from zonegate.demo.story import run_demo, shipped_acts
from zonegate.demo.table import as_json, results_table

# Wide enough for six columns where the output is no terminal.
_FILE_COLUMNS = 170


@click.command("demo")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Use this folder, and keep it. 保留于此目录")
@click.option("--keep", is_flag=True, help="Keep the temporary folder. 保留临时目录")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results. 结果文件"
)
def command(directory: Path | None, keep: bool, json_file: Path | None) -> int:  # noqa: FBT001 - click's flag
    """Run gateways, connectors, importer and department systems, play every act, check each by verified evidence.

    运行全部角色并逐幕核对：预期、实得、原因、证据。
    """
    clock = SystemClock()
    console = Console() if sys.stdout.isatty() else Console(width=_FILE_COLUMNS)
    began = clock.monotonic()
    with _Ending() as ending, _folder(directory, keep=keep) as folder:
        results = run_demo(folder, shipped_acts(), console, clock, checkpoint=ending.checkpoint)
    console.print(results_table(results))
    if json_file is not None:
        json_file.write_text(as_json(results), encoding="utf-8")
    surprises = [result.act.id for result in results if not result.ok]
    seconds = clock.monotonic() - began
    verdict = f"surprises 意外: {', '.join(surprises)}" if surprises else "no surprises 全部符合预期"
    console.print(f"{len(results)} acts 幕, {verdict}, {seconds:.1f} s")
    return 1 if surprises else 0


@contextmanager
def _folder(directory: Path | None, *, keep: bool) -> Iterator[Path]:
    if directory is not None:
        yield directory
    elif keep:
        folder = Path(tempfile.mkdtemp(prefix="zonegate-demo-"))
        click.echo(f"kept 保留于 {folder}")
        yield folder
    else:
        with tempfile.TemporaryDirectory(prefix="zonegate-demo-") as name:
            yield Path(name)


class _Ending:
    """Lets SIGINT, SIGTERM and SIGHUP end the demo through all that must be closed; a second one changes nothing.

    An exception that a signal's handler raises while a process is being forked is lost, so `checkpoint` asks again.
    """

    def __init__(self) -> None:
        self._told = False
        self._kept: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "_Ending":
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            self._kept[number] = signal.signal(number, self._end)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._kept.items():
            signal.signal(number, handler)

    def checkpoint(self) -> None:
        """Raise if the demo was told to end."""
        if self._told:
            raise click.Abort

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        if not self._told:
            self._told = True
            raise click.Abort
