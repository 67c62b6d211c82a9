"""The `zonegate` command: a thin layer that calls one function and formats its result.

Data goes to stdout, messages to stderr; exit 0 done, 1 refused or failed, 2 wrong usage.
"""

from zonegate.cli.main import main

__all__ = ["main"]
