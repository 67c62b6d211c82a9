"""Serves /metrics and /healthz on a management address of its own, apart from the data path. [a]

A thread answers; requests are small, few at a time and end within seconds, so nobody who reaches the address can hold
the process. It serves nothing else: no query, no content, no personal data. Authentication is the address's own:
loopback, or a scrape proxy in front of it (architecture section 9).
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import ThreadingMixIn
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

_LOG = logging.getLogger(__name__)

REQUESTS_AT_ONCE = 8
REQUEST_SECONDS = 5.0
PLAIN_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the process serves; `reason` is OK, or why it does not."""

    reason: Reason
    detail: str = ""

    @property
    def serving(self) -> bool:
        """True while crossings are decided and, if allowed, forwarded."""
        return self.reason is Reason.OK

    def text(self) -> str:
        """Return the body of /healthz: the reason's code, and what it is about."""
        return f"{self.reason.value} {self.detail}".strip() + "\n"


class MetricsServer:
    """The endpoint while it runs."""

    def __init__(self, server: "_Server") -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens; of use when port 0 was asked for."""
        host, port = self._server.server_address[:2]
        return str(host), int(port)

    def close(self) -> None:
        """Stop listening, end what is under way and return; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._server.end_requests(older_than=0.0)
        self._thread.join(REQUEST_SECONDS)


def serve_metrics(address: str, registry: CollectorRegistry, health: Callable[[], Health]) -> MetricsServer:
    """Listen on `address` (`host:port`, an IPv6 host in brackets) and answer until `close`."""
    host, port = _parse(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return MetricsServer(_Server(family, (host, port), registry, health))
    except (OSError, OverflowError) as exc:
        msg = f"metrics address: {address} cannot be listened on ({exc}); a free management address is needed"
        raise ZoneGateError(Reason.E_CONFIG, msg) from exc


def _parse(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        msg = f"metrics address: {address[:80]!r} is not host:port with a port of 0 to 65535"
        raise ZoneGateError(Reason.E_CONFIG, msg)
    return host.removeprefix("[").removesuffix("]"), int(port)


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(
        self,
        family: socket.AddressFamily,
        address: tuple[str, int],
        registry: CollectorRegistry,
        health: Callable[[], Health],
    ) -> None:
        self.address_family = family
        self.registry = registry
        self.health = health
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        """Bind without HTTPServer's reverse look-up of the own name, which may wait for a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - socketserver's signature
        with self._lock:
            if len(self._open) >= REQUESTS_AT_ONCE:
                return False
            self._open[request] = time.monotonic()
            return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """End requests that trickle: the socket's own time-out only bounds the wait for one more byte."""
        self.end_requests(older_than=REQUEST_SECONDS)

    def end_requests(self, *, older_than: float) -> None:
        """Shut the sockets of requests that began before; their threads then see the end of the stream."""
        before = time.monotonic() - older_than
        with self._lock:
            late = [request for request, began in self._open.items() if began <= before]
            for request in late:
                del self._open[request]
        for request in late:
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:  # already closed by the peer or its thread
                continue

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """Log what socketserver would print: a peer that went away is not an event, a failing gauge is."""
        _LOG.warning("a management request failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = REQUEST_SECONDS
    server_version = "zonegate"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer the two paths; anything else is 404."""
        if self.path == "/metrics":
            self._answer(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self.server.registry))
        elif self.path == "/healthz":
            health = self.server.health()
            status = HTTPStatus.OK if health.serving else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, PLAIN_TEXT, health.text().encode())
        else:
            self._answer(HTTPStatus.NOT_FOUND, PLAIN_TEXT, b"only /metrics and /healthz are here\n")

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # the peer went away, or was too slow and was ended
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: a scrape every few seconds is no event, and a path sent by a stranger is no log text."""
