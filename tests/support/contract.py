"""The contract of every parser: any input gives a value or one named error, never anything else."""

from collections.abc import Callable
from typing import TypeVar

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

Value = TypeVar("Value")


def value_or_refusal(parse: Callable[[bytes], Value], source: bytes, *allowed: Reason) -> Value | None:
    """Return the value, or None if it was refused with one of the allowed reasons."""
    try:
        return parse(source)
    except ZoneGateError as exc:
        if exc.reason not in allowed or not exc.detail:
            msg = f"{exc.reason} is none of {allowed}"
            raise AssertionError(msg) from exc
        return None
