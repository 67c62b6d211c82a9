"""[a] Polls revocation lists from files and URLs, so that a revocation is in force within two seconds (RV-04).

Each source has a thread of its own: a server that answers slowly delays nobody else. What a new list changes is decided
in `crlview`; a list that is refused is reported and the last good one stays in force.
"""

import asyncio
import contextlib
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from datetime import datetime
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.crlview import StatusView
from zonegate.gateway.tls.live import CertificateKey
from zonegate.gm import sm3
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason

POLL_SECONDS = 1.0
FETCH_SECONDS = 5.0
LIST_LIMIT_BYTES = 16 << 20
# A list that was refused is read again after this many polls even if the source looks unchanged: it may have been our
# clock that was wrong.
_RETRY_POLLS = 5
_CHUNK_BYTES = 65536


class Source(Protocol):
    """Where one list comes from."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def fetch(self) -> bytes | None:
        """Return the list, None if it has not changed since the last call; raises E_CRL."""
        ...

    def forget(self) -> None:
        """Fetch it again next time, changed or not."""
        ...


class FileSource:
    """A list in a file; a poll costs one stat."""

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._seen: tuple[int, int, int] | None = None

    def fetch(self) -> bytes | None:
        """Return the content if the file has changed."""
        try:
            with self._path.open("rb") as stream:
                state = os.fstat(stream.fileno())
                seen = (state.st_ino, state.st_size, state.st_mtime_ns)
                if seen == self._seen:
                    return None
                content = stream.read(LIST_LIMIT_BYTES + 1)
        except OSError as exc:
            raise ZoneGateError(Reason.E_CRL, f"{self.name}: cannot be read: {exc.strerror}") from exc
        self._seen = seen
        return _bounded(content, self.name)

    def forget(self) -> None:
        """Read it again next time."""
        self._seen = None


class UrlSource:
    """A list at an http(s) URL. The list is signed, so plain http is as good; no proxies, no redirects."""

    def __init__(self, url: str, clock: Clock) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ZoneGateError(Reason.E_CONFIG, f"status.crls: {url[:200]!r} is not a path or an http(s) URL")
        self.name = url
        self._url = url
        self._clock = clock
        self._tag: str | None = None
        self._modified: str | None = None
        self._digest: bytes | None = None
        self._opener = urllib.request.OpenerDirector()
        for part in (
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
        ):
            self._opener.add_handler(part)

    def fetch(self) -> bytes | None:
        """Return the content if the server says, or the bytes show, that it has changed."""
        request = urllib.request.Request(self._url)  # noqa: S310 - the scheme is checked above
        if self._tag is not None:
            request.add_header("If-None-Match", self._tag)
        if self._modified is not None:
            request.add_header("If-Modified-Since", self._modified)
        try:
            with self._opener.open(request, timeout=FETCH_SECONDS) as response:
                content = self._read(response)
                tag, modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
        except urllib.error.HTTPError as exc:
            exc.close()
            if exc.code == 304:
                return None
            raise ZoneGateError(Reason.E_CRL, f"{self.name}: the server answered {exc.code}") from exc
        except (OSError, HTTPException, ValueError) as exc:
            raise ZoneGateError(Reason.E_CRL, f"{self.name}: cannot be fetched: {exc}") from exc
        self._tag, self._modified = tag, modified
        digest = sm3.digest(content)
        if digest == self._digest:
            return None
        self._digest = digest
        return content

    def forget(self) -> None:
        """Fetch it whole next time."""
        self._tag = self._modified = self._digest = None

    def _read(self, response: "_Readable") -> bytes:
        end = self._clock.monotonic() + FETCH_SECONDS
        content = bytearray()
        while chunk := response.read1(_CHUNK_BYTES):
            content += chunk
            if len(content) > LIST_LIMIT_BYTES:
                break
            if self._clock.monotonic() > end:
                raise ZoneGateError(Reason.E_CRL, f"{self.name}: not read within {FETCH_SECONDS:g} s")
        if response.length and len(content) <= LIST_LIMIT_BYTES:
            raise ZoneGateError(Reason.E_CRL, f"{self.name}: cut off, {response.length} bytes are missing")
        return _bounded(bytes(content), self.name)


class _Readable(Protocol):
    length: int | None

    def read1(self, size: int, /) -> bytes: ...


def _bounded(content: bytes, name: str) -> bytes:
    if len(content) > LIST_LIMIT_BYTES:
        raise ZoneGateError(Reason.E_CRL, f"{name}: larger than {LIST_LIMIT_BYTES} bytes")
    return content


def make_source(text: str, base: Path, clock: Clock) -> Source:
    """Return the source of a configuration entry: an http(s) or file URL, or a path below `base`."""
    scheme = urllib.parse.urlsplit(text).scheme
    if scheme == "file":
        return FileSource(Path(urllib.request.url2pathname(urllib.parse.urlsplit(text).path)))
    if "://" in text:
        return UrlSource(text, clock)
    return FileSource(base / text)


class StatusKeeper:
    """Keeps the revocation lists of one net in force. `check` may be called from any thread.

    `on_change` and `on_problem` come on the loop thread. `memory` is a folder where accepted lists are kept, so that a
    restart knows them again and cannot be led back to an older one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sources: Sequence[Source],
        *,
        issuers: Sequence[Certificate],
        rule: StatusRule,
        clock: Clock,
        on_change: Callable[[frozenset[CertificateKey]], None],
        on_problem: Callable[[Reason, str], None],
        poll_seconds: float = POLL_SECONDS,
        memory: Path | None = None,
    ) -> None:
        self._loop = loop
        self._sources = tuple(sources)
        self._clock = clock
        self._on_change = on_change
        self._on_problem = on_problem
        self._poll_seconds = poll_seconds
        self._memory = memory
        self._lock = threading.Lock()
        self._view = StatusView(tuple(issuers), rule)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._poll, args=(source,), name=f"status-{index}", daemon=True)
            for index, source in enumerate(self._sources)
        ]

    @property
    def view(self) -> StatusView:
        """The lists in force, as an immutable snapshot."""
        return self._view

    @property
    def crls(self) -> tuple[Crl, ...]:
        """The lists in force, for `PeerVerifier`."""
        return self._view.crls

    @property
    def epoch(self) -> int:
        """A number that grows with every change."""
        return self._view.epoch

    def check(self, path: Sequence[Certificate], now: datetime) -> None:
        """Raise E_CERT_REVOKED or E_STATUS_STALE for a path, leaf first, without the root."""
        self._view.check(path, now)

    def fresh(self, now: datetime) -> bool:
        """Whether there is a list in date of every issuer."""
        return self._view.fresh(now)

    def load(self) -> list[ZoneGateError]:
        """Read memory and every source once, in this thread; return what was wrong. For the start and check-config."""
        problems = self._recall()
        for source in self._sources:
            try:
                self._take(source)
            except ZoneGateError as exc:
                problems.append(exc)
        return problems

    def start(self) -> None:
        """Begin to poll."""
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop polling; a fetch in progress is left to its deadline."""
        self._stop.set()

    def _poll(self, source: Source) -> None:
        refused_polls = 0
        reported = ""
        while not self._stop.wait(self._poll_seconds):
            try:
                revoked = self._take(source)
            except ZoneGateError as exc:
                refused_polls = 1
                if str(exc) != reported:
                    reported = str(exc)
                    self._post(self._on_problem, exc.reason, exc.detail)
                continue
            if revoked is not None:
                refused_polls, reported = 0, ""
                self._post(self._on_change, revoked)
            elif refused_polls:
                refused_polls += 1
                if refused_polls > _RETRY_POLLS:
                    refused_polls = 0
                    source.forget()

    def _take(self, source: Source) -> frozenset[CertificateKey] | None:
        """Put a changed list in force and return what it newly revokes; None if nothing has changed."""
        content = source.fetch()
        if content is None:
            return None
        with self._lock:
            acceptance = self._view.accept(content, self._clock.now())
            if acceptance.view is self._view:
                return None
            self._view = acceptance.view
            self._keep(acceptance.crl)
        return acceptance.revoked

    def _post(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):
            # A closed loop: the process is going down and nobody asks for status any more.
            self._loop.call_soon_threadsafe(callback, *arguments)

    def _recall(self) -> list[ZoneGateError]:
        if self._memory is None:
            return []
        problems = []
        for path in sorted(self._memory.glob("*.crl")):
            try:
                content = FileSource(path).fetch()
                with self._lock:
                    self._view = self._view.accept(content or b"", self._clock.now()).view
            except ZoneGateError as exc:
                problems.append(exc)
        return problems

    def _keep(self, crl: Crl) -> None:
        if self._memory is None:
            return
        path = self._memory / f"{sm3.hexdigest(crl.issuer_der)[:32]}.crl"
        part = path.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(crl.der)
            part.replace(path)
        except OSError as exc:
            part.unlink(missing_ok=True)
            self._post(self._on_problem, Reason.E_CRL, f"{path.name}: cannot be kept: {exc.strerror}")
