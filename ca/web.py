"""Plain HTTP for what is signed anyway: OCSP, time stamps, lists, CA certificates. [a]

Starlette and uvicorn do HTTP; here are the bounds that every listener has (size and time of a body, requests at once,
requests under way), files with ETags, and the orderly end: SIGTERM stops listening, ends what is under way, exits 0.
What an answer says is decided elsewhere. Imported by the processes that serve only, so that nobody else pays for it.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from zonegate.errors import ZoneGateError
from zonegate.gm import pem, sm3
from zonegate.reasons import Reason
from zonegate.strictconf import Address

_LOG = logging.getLogger(__name__)

BODY_SECONDS = 10.0
DRAIN_SECONDS = 10
KEEP_ALIVE_SECONDS = 15
HEADER_LIMIT_BYTES = 1 << 14
CONNECTIONS_AT_ONCE = 256
_FILE_MAX_AGE_SECONDS = 60
_FILE_LIMIT_BYTES = 1 << 26


class BodyError(Exception):
    """The body was not taken; `status` is the HTTP status that says so."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text

    @property
    def response(self) -> Response:
        """The answer."""
        return PlainTextResponse(self.text + "\n", self.status, headers={"Connection": "close"})


async def read_body(request: Request, kind: str, limit: int) -> bytes:
    """Return the body of a POST of content type `kind`; `BodyError` beyond `limit` bytes or `BODY_SECONDS`."""
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found != kind:
        raise BodyError(415, f"Content-Type: must be {kind}")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise BodyError(413, f"the body may have {limit} bytes")
    except TimeoutError as exc:
        raise BodyError(408, f"the body did not come within {BODY_SECONDS:.0f} s") from exc
    except ClientDisconnect as exc:
        raise BodyError(400, "the body was cut off") from exc
    return bytes(body)


# --- files


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    etag: str
    stamp: tuple[int, int, int]


class PublicFiles:
    """The `public/` folder of a CA: `*.crl` as it is, `*.crt` in DER and, under `*.pem`, in PEM. Nothing else."""

    _TYPES: Mapping[str, tuple[str, str]] = {
        ".crl": (".crl", "application/pkix-crl"),
        ".crt": (".crt", "application/pkix-cert"),
        ".pem": (".crt", "application/x-pem-file"),
    }

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, _File] = {}

    def routes(self) -> list[Route]:
        """Return GET (and HEAD) of /crl/NAME and /ca/NAME."""
        return [
            Route("/crl/{name:str}", self._endpoint((".crl",))),
            Route("/ca/{name:str}", self._endpoint((".crt", ".pem"))),
        ]

    def _endpoint(self, suffixes: tuple[str, ...]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            return await asyncio.to_thread(self._answer, request, suffixes)

        return serve

    def _answer(self, request: Request, suffixes: tuple[str, ...]) -> Response:
        name = str(request.path_params["name"])
        found = self._find(name) if Path(name).suffix in suffixes else None
        if found is None:
            return PlainTextResponse("no such file\n", 404)
        headers = {"ETag": found.etag, "Cache-Control": f"public, max-age={_FILE_MAX_AGE_SECONDS}"}
        wanted = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
        if found.etag in wanted or "*" in wanted:
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=self._TYPES[Path(name).suffix][1], headers=headers)

    def _find(self, name: str) -> _File | None:
        stem, dot = name.rpartition(".")[0], name[:1]
        if not stem or dot == "." or set(name) - set("abcdefghijklmnopqrstuvwxyz0123456789.-_"):
            return None
        suffix = Path(name).suffix
        path = self._folder / (stem + self._TYPES[suffix][0])
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            held = self._held.get(name)
            if held is not None and held.stamp == stamp:
                return held
            if status.st_size > _FILE_LIMIT_BYTES:
                return None
            content = path.read_bytes()
            if suffix == ".crt":
                (content,) = pem.decode("CERTIFICATE", content)
        except (OSError, ValueError):
            return None
        made = _File(content, f'"{sm3.hexdigest(content)[:32]}"', stamp)
        self._held[name] = made
        return made


# --- the server


class _Server(uvicorn.Server):
    """Uvicorn, but SIGTERM ends the process in order and with exit code 0 instead of being raised again."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        _LOG.info("ending: no new connection, %d s for what is under way", DRAIN_SECONDS)
        self.should_exit = True


def serve(app: Starlette, address: Address, *, started: Callable[[str], None]) -> None:
    """Serve `app` on `address` until SIGTERM; `started` is called with the address once it listens."""
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        uds=None if address.path is None else str(address.path),
        http="h11",
        ws="none",
        lifespan="on",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        h11_max_incomplete_event_size=HEADER_LIMIT_BYTES,
        limit_concurrency=CONNECTIONS_AT_ONCE,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = _Server(config)

    async def run() -> None:
        serving = asyncio.ensure_future(server.serve())
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            sockets = [one.getsockname() for each in server.servers for one in each.sockets]
            first = sockets[0]
            started(f"{first[0]}:{first[1]}" if isinstance(first, tuple) else f"unix:{first}")
        await serving

    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(run())
    except SystemExit as exc:
        # How uvicorn says that the address is taken; its own log line has the system's sentence.
        detail = f"listen: {address} cannot be listened on"
        raise ZoneGateError(Reason.E_CONFIG, detail) from exc
    finally:
        if address.path is not None:
            address.path.unlink(missing_ok=True)
