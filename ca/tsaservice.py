"""`zonegate tsa serve`: time stamps over HTTP as RFC 3161 section 3.4 wants it. [a]

One TOML file names everything. Tokens are signed in a thread, so many at once; beyond, and beyond the rate, the reply
is HTTP 503. A background task measures the clock against the reference, where one is configured.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Annotated

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from zonegate.ca.bucket import TokenBucket
from zonegate.ca.clockguard import ClockGuard
from zonegate.ca.keystore import FileKeyStore, SealedFiles
from zonegate.ca.ocspservice import expiry
from zonegate.ca.serialfile import SerialFile
from zonegate.ca.sntp import offset_of
from zonegate.ca.timestamper import TimeStamper, TsaCredential
from zonegate.ca.tsa import TsaRules
from zonegate.ca.web import BodyError, read_body, serve
from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.monitoring import names
from zonegate.monitoring.health import Health, serve_metrics
from zonegate.pki.certificate import load_certificates
from zonegate.pki.oids import TSA_POLICY, Profile
from zonegate.pki.timestamp_message import REQUEST_LIMIT_BYTES
from zonegate.reasons import Reason
from zonegate.strictconf import Address, ConfigAddress, ConfigPath, StrictModel

_LOG = logging.getLogger(__name__)

QUERY_TYPE = "application/timestamp-query"
REPLY_TYPE = "application/timestamp-reply"


class ClockSettings(StrictModel):
    """How far the clock may be off, and whom to ask."""

    accuracy_millis: int = Field(default=1000, ge=1, le=60_000)
    limit_millis: int = Field(default=1000, ge=1, le=60_000)
    time_server: ConfigAddress | None = None
    ask_every_seconds: int = Field(default=16, ge=1, le=3600)
    silent_seconds: int = Field(default=300, ge=1, le=86_400)


class TsaSettings(StrictModel):
    """The TOML file of `zonegate tsa serve`."""

    net: Annotated[Net, Field(strict=False)]
    listen: ConfigAddress
    management: str | None = None
    certificate: ConfigPath
    key: ConfigPath
    secret: ConfigPath
    serials: ConfigPath
    tokens_per_second: int = Field(default=200, ge=1, le=10_000)
    clock: ClockSettings = ClockSettings()


def build_timestamper(settings: TsaSettings, clock: Clock) -> TimeStamper:
    """Return the TSA of the settings; refuse a certificate or key that is not a TSA's."""
    try:
        chain = load_certificates(settings.certificate.read_bytes())
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"certificate: cannot be read: {exc.strerror}") from exc
    if chain[0].net is not settings.net:
        raise ZoneGateError(
            Reason.E_TRUST_DOMAIN, f"certificate: is of net {chain[0].net}, this TSA is of {settings.net}"
        )
    wanted = settings.clock
    rules = TsaRules(TSA_POLICY[settings.net], timedelta(milliseconds=wanted.accuracy_millis))
    age = None if wanted.time_server is None else timedelta(seconds=wanted.silent_seconds)
    guard = ClockGuard(timedelta(milliseconds=wanted.limit_millis), reference_age=age)
    keystore = FileKeyStore({Profile.TSA: SealedFiles(settings.key, settings.secret)})
    serials = SerialFile(settings.serials, clock)
    return TimeStamper(rules, TsaCredential(chain[0], chain), keystore, serials, guard, clock)


class _Counts(Collector):
    def __init__(self, stamper: TimeStamper) -> None:
        self._stamper = stamper

    def collect(self) -> Iterable[Family]:
        """Read the TSA's counts and its clock."""
        metric = names.TIMESTAMPS
        family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help_text, labels=metric.labels)
        for result, count in sorted(self._stamper.counts.items()):
            family.add_metric((result,), count)
        yield family
        yield expiry("tsa", self._stamper.credential.signer)
        metric = names.CLOCK_TRUSTED
        trusted = self._stamper.clock_problem() is None
        yield GaugeMetricFamily(metric.name, metric.help_text, value=1.0 if trusted else 0.0)
        offset = self._stamper.guard.offset
        if offset is not None:
            metric = names.CLOCK_OFFSET
            yield GaugeMetricFamily(metric.name, metric.help_text, value=offset.total_seconds())


def tsa_app(stamper: TimeStamper, clock: Clock, *, per_second: float, watch: Callable[[], None] | None) -> Starlette:
    """Return the HTTP application of a TSA; `watch` measures the clock once."""
    bucket = TokenBucket(per_second)

    async def post(request: Request) -> Response:
        try:
            body = await read_body(request, QUERY_TYPE, REQUEST_LIMIT_BYTES)
        except BodyError as exc:
            return exc.response
        if not bucket.take(clock.monotonic()):
            return PlainTextResponse("too many requests at once\n", 503, headers={"Retry-After": "1"})
        reply = await asyncio.to_thread(stamper.reply, body)
        return Response(reply, media_type=REPLY_TYPE, headers={"Cache-Control": "no-store"})

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = None if watch is None else asyncio.create_task(_watch(watch))
        try:
            yield
        finally:
            if task is not None:
                task.cancel()

    return Starlette(routes=[Route("/", post, methods=["POST"])], lifespan=lifespan)


async def _watch(watch: Callable[[], None]) -> None:
    while True:
        await asyncio.to_thread(watch)
        await asyncio.sleep(1)


def watch_clock(stamper: TimeStamper, server: Address, clock: Clock, *, every: float) -> Callable[[], None]:
    """Return a function that asks the time server when `every` seconds have passed since it last did."""
    asked_at: list[float] = []

    def ask() -> None:
        if asked_at and clock.monotonic() - asked_at[-1] < every:
            return
        asked_at[:] = [clock.monotonic()]
        try:
            offset = offset_of(server, clock)
        except ZoneGateError as exc:
            _LOG.warning("%s: %s", exc.reason, exc.detail)
            return
        stamper.measured(offset)

    return ask


def serve_tsa(settings: TsaSettings, *, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM."""
    clock = SystemClock()
    stamper = build_timestamper(settings, clock)
    management = None
    try:
        if settings.management is not None:
            registry = CollectorRegistry()
            registry.register(_Counts(stamper))
            management = serve_metrics(settings.management, registry, lambda: health_of(stamper))
        server = settings.clock.time_server
        watch = None
        if server is not None:
            watch = watch_clock(stamper, server, clock, every=settings.clock.ask_every_seconds)
        app = tsa_app(stamper, clock, per_second=settings.tokens_per_second, watch=watch)
        serve(app, settings.listen, started=started)
    finally:
        if management is not None:
            management.close()


def health_of(stamper: TimeStamper) -> Health:
    """Return whether tokens are given."""
    problem = stamper.clock_problem()
    return Health(Reason.OK) if problem is None else Health(Reason.E_TIME_UNAVAILABLE, problem)
