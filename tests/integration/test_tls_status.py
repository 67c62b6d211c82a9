"""Revocation lists from files and from an HTTP server that misbehaves in every way it can."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from support.clock import NOON, FakeClock
from support.forge import ForgedNet, forge_crl
from support.tls_bench import SteadyClock, run
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import status
from zonegate.gateway.tls.live import CertificateKey
from zonegate.gateway.tls.status import FileSource, Source, StatusKeeper, UrlSource, make_source
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason

NET = ForgedNet()
ISSUERS = (NET.root.certificate, NET.sub_ca.certificate)
SUB = NET.sub_ca.certificate.subject_der


def sub_list(number: int, *revoked: int) -> bytes:
    return forge_crl(NET.sub_ca, number, revoked=dict.fromkeys(revoked, NOON))


class Watched:
    """A keeper and what it has said."""

    def __init__(self, sources: list[Source], memory: Path | None = None) -> None:
        self.changes: asyncio.Queue[frozenset[CertificateKey]] = asyncio.Queue()
        self.problems: asyncio.Queue[tuple[Reason, str]] = asyncio.Queue()
        self.keeper = StatusKeeper(
            asyncio.get_running_loop(),
            sources,
            issuers=ISSUERS,
            rule=StatusRule.REQUIRED,
            clock=SteadyClock(NOON),
            on_change=self.changes.put_nowait,
            on_problem=lambda reason, detail: self.problems.put_nowait((reason, detail)),
            poll_seconds=0.01,
            memory=memory,
        )

    def number(self) -> int | None:
        crl = self.keeper.view.list_of(SUB)
        return None if crl is None else crl.number


def publish(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.write_bytes(content)
    part.replace(path)


@pytest.mark.req("RV-01", "RV-04")
def test_a_file_that_changes(tmp_path: Path):
    path = tmp_path / "sub.crl"

    async def test() -> None:
        publish(path, sub_list(1))
        watched = Watched([FileSource(path)])
        assert watched.keeper.load() == []
        assert (watched.number(), watched.keeper.epoch) == (1, 1)
        watched.keeper.start()
        publish(path, sub_list(2, 7))
        assert await watched.changes.get() == {(SUB, 7)}
        publish(path, sub_list(1))
        assert (await watched.problems.get())[0] is Reason.E_CRL_NUMBER
        publish(path, b"garbage")
        assert (await watched.problems.get())[0] is Reason.E_CRL
        path.unlink()
        assert "cannot be read" in (await watched.problems.get())[1]
        assert watched.number() == 2
        publish(path, sub_list(3, 7, 8))
        assert await watched.changes.get() == {(SUB, 8)}
        watched.keeper.close()

    run(test)


def test_a_list_that_was_refused_is_looked_at_again(tmp_path: Path):
    """A list of the CA's future is taken when our clock has caught up, though the file has not changed."""
    path = tmp_path / "sub.crl"
    publish(path, sub_list(1))

    async def test() -> None:
        watched = Watched([FileSource(path)])
        clock = watched.keeper._clock
        assert isinstance(clock, FakeClock)
        clock.set_wall(NOON.replace(hour=1))
        assert [problem.reason for problem in watched.keeper.load()] == [Reason.E_CRL]
        watched.keeper.start()
        clock.set_wall(NOON)
        path.touch()
        await watched.changes.get()
        assert watched.number() == 1
        watched.keeper.close()

    run(test)


def test_memory_outlives_a_restart_and_stops_a_roll_back(tmp_path: Path):
    path, memory = tmp_path / "sub.crl", tmp_path / "memory"
    memory.mkdir()

    async def test() -> None:
        publish(path, sub_list(5, 7))
        assert Watched([FileSource(path)], memory).keeper.load() == []
        publish(path, sub_list(4))
        again = Watched([FileSource(path)], memory)
        assert [problem.reason for problem in again.keeper.load()] == [Reason.E_CRL_NUMBER]
        assert again.number() == 5
        path.unlink()
        assert Watched([FileSource(path)], memory).keeper.load()[0].reason is Reason.E_CRL
        (next(iter(memory.glob("*.crl")))).write_bytes(b"spoilt")
        spoilt = Watched([], memory)
        assert [problem.reason for problem in spoilt.keeper.load()] == [Reason.E_CRL]
        assert spoilt.number() is None

    run(test)


class Server(ThreadingHTTPServer):
    """Serves one list as a test says; counts what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.manner = "plain"
        self.asked: list[str] = []
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/sub.crl"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        tag = f'"{len(server.content)}-{hash(server.content)}"'
        self.server.asked.append(self.headers.get("If-None-Match", ""))
        match server.manner:
            case "tagged" if self.headers.get("If-None-Match") == tag:
                self.send_response(304)
                self.end_headers()
            case "error":
                self.send_error(500)
            case "redirect":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()
            case "endless":
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    while True:
                        self.wfile.write(bytes(65536))
            case "silent":
                self.server.released.wait(10)
            case "cut":
                self.send_response(200)
                self.send_header("Content-Length", "100000")
                self.end_headers()
                self.wfile.write(server.content)
            case "no http":
                self.wfile.write(b"\x00\x01\x02garbage\r\n\r\n")
            case _:
                self.send_response(200)
                self.send_header("ETag", tag)
                self.end_headers()
                self.wfile.write(server.content)

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.released.set()
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.mark.req("RV-04")
def test_a_url_that_changes(server: Server):
    async def test() -> None:
        server.content, server.manner = sub_list(1), "tagged"
        watched = Watched([UrlSource(server.url, SteadyClock())])
        assert watched.keeper.load() == []
        watched.keeper.start()
        server.content = sub_list(2, 7)
        assert await watched.changes.get() == {(SUB, 7)}
        assert server.asked[0] == ""
        assert server.asked[1] != "", "an unchanged list is asked for by its tag"
        watched.keeper.close()

    run(test)


def test_a_server_without_tags_changes_nothing_by_repeating_itself(server: Server):
    server.content = sub_list(1)
    source = UrlSource(server.url, SteadyClock())
    assert source.fetch() == server.content
    assert source.fetch() is None
    source.forget()
    assert source.fetch() == server.content


@pytest.mark.parametrize("manner", ["error", "redirect", "endless", "cut", "no http", "silent"])
def test_a_server_that_misbehaves_is_one_named_error_and_the_good_list_stays(
    server: Server, manner: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(status, "FETCH_SECONDS", 0.3)

    async def test() -> None:
        server.content = sub_list(1)
        watched = Watched([UrlSource(server.url, SteadyClock())])
        assert watched.keeper.load() == []
        server.manner = manner
        problems = await asyncio.get_running_loop().run_in_executor(None, watched.keeper.load)
        assert [problem.reason for problem in problems] == [Reason.E_CRL]
        assert watched.number() == 1

    run(test)


SOURCES = {
    "a path": ("lists/sub.crl", FileSource),
    "a file URL": ("file:///var/lib/crl/sub.crl", FileSource),
    "http": ("http://crl.example/sub.crl", UrlSource),
    "https": ("https://crl.example/sub.crl", UrlSource),
}


@pytest.mark.parametrize(("text", "kind"), SOURCES.values(), ids=SOURCES)
def test_sources(text: str, kind: type):
    assert isinstance(make_source(text, Path("/etc/zonegate"), FakeClock()), kind)


@pytest.mark.parametrize("text", ["ftp://crl.example/sub.crl", "http:///sub.crl", "ldap://x/y"])
def test_sources_refused(text: str):
    with pytest.raises(ZoneGateError) as caught:
        make_source(text, Path("/etc/zonegate"), FakeClock())
    assert caught.value.reason is Reason.E_CONFIG
