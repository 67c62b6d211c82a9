"""`zonegate ocsp serve`: the responder over HTTP as RFC 6960 appendix A wants it, with lists and CA certificates. [a]

One TOML file names everything. The event loop answers what is at hand; what must be read or signed goes to a thread.
A background task renews answers and looks for acts of the CA, so that answers are fresh when nobody asks.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from email.utils import format_datetime
from typing import Annotated
from urllib.parse import unquote_to_bytes

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from zonegate.ca.keystore import FileKeyStore, SealedFiles
from zonegate.ca.ocsp import NonceRule, Scope
from zonegate.ca.responder import Answer, Limits, Responder
from zonegate.ca.statusview import LedgerView
from zonegate.ca.web import BodyError, PublicFiles, read_body, serve
from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.monitoring import names
from zonegate.monitoring.health import Health, serve_metrics
from zonegate.pki.certificate import Certificate, load_certificate, load_certificates
from zonegate.pki.ocsp_request import REQUEST_LIMIT_BYTES
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason
from zonegate.strictconf import ConfigAddress, ConfigPath, StrictModel

_LOG = logging.getLogger(__name__)

REQUEST_TYPE = "application/ocsp-request"
RESPONSE_TYPE = "application/ocsp-response"
_RENEW_AT_ONCE = 50


class AnswerSettings(StrictModel):
    """How answers are made and kept."""

    lifetime_minutes: int = Field(default=60, ge=2, le=24 * 60)
    nonces: Annotated[NonceRule, Field(strict=False)] = NonceRule.ECHO
    max_certificates: int = Field(default=8, ge=1, le=32)
    cache_entries: int = Field(default=20_000, ge=1, le=1_000_000)
    presign: int = Field(default=2_000, ge=0, le=500_000)
    fresh_per_second: int = Field(default=100, ge=1, le=10_000)
    poll_seconds: int = Field(default=1, ge=1, le=60)


class OcspSettings(StrictModel):
    """The TOML file of `zonegate ocsp serve`."""

    net: Annotated[Net, Field(strict=False)]
    listen: ConfigAddress
    management: str | None = None
    ledger: ConfigPath
    issuer: ConfigPath
    certificate: ConfigPath
    key: ConfigPath
    secret: ConfigPath
    public: ConfigPath | None = None
    answers: AnswerSettings = AnswerSettings()


def read_certificate(path: ConfigPath) -> Certificate:
    """Return the first certificate of a PEM file, or the one of a DER file."""
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be read: {exc.strerror}") from exc
    return load_certificates(content)[0] if content.lstrip().startswith(b"-----") else load_certificate(content)


def build_responder(settings: OcspSettings, view: LedgerView, clock: Clock) -> Responder:
    """Return the responder of the settings; refuse a certificate or key that is not a responder's."""
    issuer = read_certificate(settings.issuer)
    if issuer.net is not None and issuer.net is not settings.net:
        raise ZoneGateError(
            Reason.E_TRUST_DOMAIN, f"issuer: is of net {issuer.net}, this responder is of {settings.net}"
        )
    wanted = settings.answers
    scope = Scope.of(
        issuer,
        lifetime=timedelta(minutes=wanted.lifetime_minutes),
        nonces=wanted.nonces,
        max_certificates=wanted.max_certificates,
    )
    limits = Limits(wanted.cache_entries, wanted.fresh_per_second, timedelta(seconds=wanted.poll_seconds))
    keystore = FileKeyStore({Profile.OCSP: SealedFiles(settings.key, settings.secret)})
    return Responder(scope, read_certificate(settings.certificate), view, keystore, clock, limits=limits)


class _Counts(Collector):
    def __init__(self, responder: Responder) -> None:
        self._responder = responder

    def collect(self) -> Iterable[Family]:
        """Read the responder's counts."""
        metric = names.OCSP_ANSWERS
        family = CounterMetricFamily(metric.name.removesuffix("_total"), metric.help_text, labels=metric.labels)
        for (result, source), count in sorted(self._responder.counts.items()):
            family.add_metric((result, source), count)
        yield family
        yield expiry("ocsp", self._responder.signer)


def expiry(use: str, certificate: Certificate) -> Family:
    """Return when a service's certificate ends."""
    metric = names.CERTIFICATE_NOT_AFTER
    family = GaugeMetricFamily(metric.name, metric.help_text, labels=metric.labels)
    family.add_metric((use,), certificate.not_after.timestamp())
    return family


def ocsp_app(
    responder: Responder, clock: Clock, *, presign: Iterable[int] = (), public: PublicFiles | None
) -> Starlette:
    """Return the HTTP application of a responder."""

    async def answered(body: bytes, *, cacheable: bool) -> Response:
        asked = responder.classify(body)
        answer = responder.at_hand(asked)
        if answer is None:
            answer = await asyncio.to_thread(responder.make, asked)
        headers = _cache_headers(answer, clock) if cacheable else {"Cache-Control": "no-store"}
        return Response(answer.body, media_type=RESPONSE_TYPE, headers=headers)

    async def post(request: Request) -> Response:
        try:
            body = await read_body(request, REQUEST_TYPE, REQUEST_LIMIT_BYTES)
        except BodyError as exc:
            return exc.response
        return await answered(body, cacheable=False)

    async def get(request: Request) -> Response:
        # The path as it was sent: base64 has "/" and "+", and clients differ in escaping them.
        raw = bytes(request.scope.get("raw_path") or request.scope["path"].encode()).lstrip(b"/")
        if len(raw) > 2 * REQUEST_LIMIT_BYTES:
            return PlainTextResponse("the path is too long\n", 414)
        try:
            body = base64.b64decode(unquote_to_bytes(raw), validate=True)
        except (ValueError, binascii.Error):
            body = b""
        return await answered(body, cacheable=True)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep_fresh(responder, tuple(presign)))
        try:
            yield
        finally:
            task.cancel()

    routes = [] if public is None else public.routes()
    routes += [Route("/", post, methods=["POST"]), Route("/{request:path}", get, methods=["GET"])]
    return Starlette(routes=routes, lifespan=lifespan)


def _cache_headers(answer: Answer, clock: Clock) -> dict[str, str]:
    """RFC 5019 6.2: proxies may keep what everybody gets, until it is renewed."""
    if answer.this_update is None or answer.next_update is None:
        return {"Cache-Control": "no-store"}
    left = max(int((answer.next_update - clock.now()).total_seconds()) // 2, 0)
    return {
        "Cache-Control": f"max-age={left}, public, no-transform, must-revalidate",
        "Last-Modified": format_datetime(answer.this_update, usegmt=True),
        "Expires": format_datetime(answer.next_update, usegmt=True),
    }


async def _keep_fresh(responder: Responder, serials: tuple[int, ...]) -> None:
    """Sign ahead, then renew and look for acts of the CA, for as long as the process serves."""
    for start in range(0, len(serials), _RENEW_AT_ONCE):
        await _shielded(lambda at=start: responder.warm(serials[at : at + _RENEW_AT_ONCE]))  # type: ignore[misc] # the loop's own value
    while True:
        await asyncio.sleep(1)
        await _shielded(lambda: responder.renew(_RENEW_AT_ONCE))


async def _shielded(work: Callable[[], int]) -> None:
    try:
        await asyncio.to_thread(work)
    except ZoneGateError as exc:
        _LOG.error("answers could not be signed ahead: %s: %s", exc.reason, exc.detail)


def serve_ocsp(settings: OcspSettings, *, started: Callable[[str], None]) -> None:
    """Serve until SIGTERM."""
    clock = SystemClock()
    view = LedgerView.open(settings.ledger, settings.net)
    management = None
    try:
        responder = build_responder(settings, view, clock)
        if settings.management is not None:
            registry = CollectorRegistry()
            registry.register(_Counts(responder))
            management = serve_metrics(settings.management, registry, lambda: health_of(responder, clock))
        public = None if settings.public is None else PublicFiles(settings.public)
        app = ocsp_app(responder, clock, presign=view.serials(settings.answers.presign), public=public)
        serve(app, settings.listen, started=started)
    finally:
        if management is not None:
            management.close()
        view.close()


def health_of(responder: Responder, clock: Clock) -> Health:
    """Return whether the responder answers."""
    if responder.blind is not None:
        return Health(Reason.E_LEDGER, responder.blind)
    if clock.now() >= responder.signer.not_after:
        return Health(Reason.E_CERT_EXPIRED, "the responder's certificate")
    return Health(Reason.OK)
