"""How a department system of the demo is told what to do: a JSON object a line on stdin, one a line back on stdout."""

import json
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

Answer = dict[str, Any]


def say(answer: Answer) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(answer, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def obey(operations: dict[str, Callable[[Answer], Answer]]) -> None:
    """Carry out commands until stdin ends, so that nothing outlives whoever started this."""
    say({"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        say(operations[command.pop("op")](command))


def until_told() -> None:
    """Wait for SIGTERM or SIGINT, for a service that nobody steers."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    say({"ready": True})
    stop.wait()
