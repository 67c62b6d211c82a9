"""What the services of the demo have in common: a stock gRPC server that remembers who called."""

import argparse
import threading
from collections.abc import Callable
from concurrent import futures
from typing import Any

import grpc
import lines

# Long-lived streams hold a thread each.
THREADS = 16


class Seen:
    """The metadata of the calls that have arrived."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._last: dict[str, str] = {}

    def note(self, context: grpc.ServicerContext) -> None:
        """Remember one call."""
        found = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        with self._lock:
            self._calls += 1
            self._last = found

    def tell(self, _command: lines.Answer) -> lines.Answer:
        """Say how many calls there were and what the last one said of its caller."""
        with self._lock:
            return {"calls": self._calls, "last": dict(self._last)}


def run(add: Callable[[grpc.Server, Seen], Any]) -> None:
    """Serve what `add` registers at --listen; steered by stdin, or left alone with --unattended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--unattended", action="store_true")
    arguments = parser.parse_args()
    seen = Seen()
    server = grpc.server(futures.ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    add(server, seen)
    server.add_insecure_port(arguments.listen)
    server.start()
    try:
        if arguments.unattended:
            lines.until_told()
        else:
            lines.obey({"seen": seen.tell})
    finally:
        server.stop(None).wait()
