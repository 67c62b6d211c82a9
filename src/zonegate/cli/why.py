"""`zonegate why CROSSING`: for the night: step, reason, component and whom to call, in English and Chinese."""

import json
from pathlib import Path

import click

from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.reader import first_header, read_records
from zonegate.gateway.evidence.records import crossing_of
from zonegate.gateway.evidence.story import Seen, Story, tell
from zonegate.reasons import Reason

CROSSING_LIMIT_CHARS = 128


@click.command("why")
@click.argument("crossing")
@click.option(
    "--evidence",
    "directories",
    required=True,
    multiple=True,
    type=click.Path(path_type=Path),
    help="An evidence directory; several for several hops. 证据目录，可多个",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def command(crossing: str, directories: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Tell why a crossing was refused or how it ended, at which gateway, and whom to call. No content.

    说明一次穿越在何处、因何被拒或如何结束，以及联系何人；不含内容。
    """
    if not 0 < len(crossing) <= CROSSING_LIMIT_CHARS or not crossing.isprintable():
        raise ZoneGateError(Reason.E_CONFIG, f"CROSSING: 1 to {CROSSING_LIMIT_CHARS} printable characters are allowed")
    seen: list[Seen] = []
    for directory in directories:
        gateway = first_header(directory).gateway
        seen += [
            Seen(gateway, located.file, located.position, located.record)
            for located in read_records(directory)
            if crossing_of(located.record) == crossing
        ]
    if not seen:
        names = ", ".join(directory.name for directory in directories)
        problem = f"CROSSING: no record of {crossing!r} in {names}; a refusal in a flood is only counted (kind counted)"
        raise ZoneGateError(Reason.E_NO_RECORD, problem)
    story = tell(crossing, seen)
    if as_json:
        click.echo(json.dumps(_as_dict(story), ensure_ascii=False, indent=1))
        return
    click.echo(f"crossing 穿越 {story.crossing}: {story.reason} step 步骤 {story.step} at 位于 {story.component}")
    for line in story.lines:
        click.echo(line.en)
        if line.zh != line.en:
            click.echo(line.zh)


def _as_dict(story: Story) -> dict[str, object]:
    return {
        "crossing": story.crossing,
        "reason": story.reason.value,
        "step": story.step,
        "component": story.component,
        "call_en": story.call.en,
        "call_zh": story.call.zh,
        "lines_en": [line.en for line in story.lines],
        "lines_zh": [line.zh for line in story.lines],
    }
