"""`zonegate reasons [CODE]`: the registry, or one row of it."""

import json

import click

from zonegate.errors import ZoneGateError
from zonegate.reasons import REGISTRY, Reason, ReasonInfo


def _as_dict(info: ReasonInfo) -> dict[str, object]:
    return {
        "code": info.reason.value,
        "area": info.area.value,
        "grpc": info.grpc.name,
        "retryable": info.retryable,
        "executed": info.executed.value,
        "owner": info.owner.value,
        "en": info.en,
        "zh": info.zh,
        "hint_en": info.hint_en,
        "hint_zh": info.hint_zh,
    }


@click.command("reasons")
@click.argument("code", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a machine.")
def command(code: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's flag
    """Print why a call, certificate, document or file may be refused, and what to do.

    拒绝原因代码及处理办法。
    """
    if code is not None and code not in set(Reason):
        msg = f"CODE: {code[:40]!r} is not a reason; `zonegate reasons` lists all {len(Reason)}"
        raise ZoneGateError(Reason.E_CONFIG, msg)
    rows = list(REGISTRY.values()) if code is None else [REGISTRY[Reason(code)]]
    if as_json:
        click.echo(json.dumps([_as_dict(row) for row in rows], ensure_ascii=False, indent=1))
        return
    for row in rows:
        if code is None:
            click.echo(f"{row.reason.value:24} {row.area.value:11} {row.grpc.name:20} {row.en} / {row.zh}")
        else:
            for key, value in _as_dict(row).items():
                click.echo(f"{key:10} {value}")
