"""How the CLI speaks of errors: the code, the sentence, then what to do, in English and Chinese, on stderr."""

import traceback

import click

from zonegate.errors import ZoneGateError
from zonegate.reasons import REGISTRY, Reason


def report(error: Exception) -> int:
    """Print `error` for a person; return 1. An unexpected one is E_INTERNAL with its trace."""
    if isinstance(error, ZoneGateError):
        reason, detail = error.reason, error.detail
    else:
        traceback.print_exception(error)
        reason, detail = Reason.E_INTERNAL, f"{type(error).__name__}"
    info = REGISTRY[reason]
    click.echo(f"{reason.value}: {detail}", err=True)
    click.echo(f"  {info.en}; {info.hint_en}", err=True)
    click.echo(f"  {info.zh}；{info.hint_zh}", err=True)
    return 1
