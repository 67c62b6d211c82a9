"""A small extranet of real processes for integration tests: two gateways, two connectors, one caller, one provider.

`shared` (ext.shared) holds the caller `credit`, `police` (ext.dedicated) the provider `population`; the service is an
echo with all four call kinds, served by stock grpcio in the test's own process.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from support.pki import IssuedCredential, make_net
from zonegate.clock import SystemClock
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.policies import bundle
from zonegate.policies.bundle_store import write_bundle, write_signature

HUB = "111000009900000172"
POLICE = "11100000990000025W"
CREDIT = "1210000099030001XT"
SERVICE = "lab.echo.v1.Echo"
UNARY, CLIENT_STREAM, SERVER_STREAM, BIDI = (f"/{SERVICE}/{name}" for name in ("Unary", "Collect", "List", "Chat"))
PURPOSE = "check"
START_SECONDS = 20.0

DOCUMENTS = f"""
apiVersion: zonegate/v1
kind: Net
name: extra
title: 试验外网
---
apiVersion: zonegate/v1
kind: Organ
code: "{HUB}"
title: 枢纽
---
apiVersion: zonegate/v1
kind: Organ
code: {POLICE}
title: 公安
---
apiVersion: zonegate/v1
kind: Organ
code: {CREDIT}
title: 信用
---
apiVersion: zonegate/v1
kind: Zone
name: shared
title: 公用区
class: ext.shared
organ: "{HUB}"
mlpsGrade: 3
approved: true
gateways: [spiffe://extra/{HUB}/gateway-shared]
---
apiVersion: zonegate/v1
kind: Zone
name: police
title: 公安区
class: ext.dedicated
organ: {POLICE}
mlpsGrade: 3
approved: true
gateways: [spiffe://extra/{POLICE}/gateway-police]
---
apiVersion: zonegate/v1
kind: System
uri: spiffe://extra/{CREDIT}/credit
title: 信用前端
zone: shared
clearance: L2 工作秘密
---
apiVersion: zonegate/v1
kind: System
uri: spiffe://extra/{POLICE}/population
title: 人口
zone: police
clearance: L2 工作秘密
---
apiVersion: zonegate/v1
kind: Resource
id: echo
title: 回声
abstract: 试验用回声
code: 1010010001/000001
provider: spiffe://extra/{POLICE}/population
share: conditional
purposes: [{PURPOSE}]
metadata: [x-note, x-blob-bin]
inspection: none
maxMessageBytes: 33554432
methods:
  - path: {UNARY}
    request: L1 内部
    response: L1 内部
  - path: {CLIENT_STREAM}
    request: L1 内部
    response: L1 内部
    clientStreaming: true
  - path: {SERVER_STREAM}
    request: L1 内部
    response: L1 内部
    serverStreaming: true
  - path: {BIDI}
    request: L1 内部
    response: L1 内部
    clientStreaming: true
    serverStreaming: true
---
apiVersion: zonegate/v1
kind: FlowRule
id: shared-to-police
from: shared
to: police
resources: [echo]
---
apiVersion: zonegate/v1
kind: Grant
id: credit-echo
system: spiffe://extra/{CREDIT}/credit
resource: echo
purposes: [{PURPOSE}]
basis: 试验
notBefore: 2020-01-01
notAfter: 2049-12-31
rate: {{perSecond: 20000, burst: 20000}}
---
apiVersion: zonegate/v1
kind: Expectation
id: credit-may-echo
caller: spiffe://extra/{CREDIT}/credit
path: {UNARY}
purpose: {PURPOSE}
expect: guarded
reason: OK
"""


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _text(value: object) -> str:
    return json.dumps(str(value))


@dataclass
class Service:
    """One zonegate process."""

    name: str
    config: Path
    management: int
    arguments: tuple[str, ...]
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = self.config.with_suffix(".log").open("ab")
        command = [sys.executable, "-m", "zonegate", *self.arguments, "-c", str(self.config)]
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        log.close()

    def ready(self) -> None:
        """Wait until /healthz says OK."""
        assert self.process is not None
        end = time.monotonic() + START_SECONDS
        waiting = threading.Event()
        said = ""
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/healthz", timeout=2) as answer:
                    said = answer.read().decode()
                    return
            except urllib.error.HTTPError as exc:
                said = exc.read().decode()
            except OSError as exc:
                said = str(exc)
            waiting.wait(0.05)
        log = self.config.with_suffix(".log").read_text()
        msg = f"{self.name} is not serving: {said}\n{log[-4000:]}"
        raise AssertionError(msg)

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.management}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def figure(self, series: str) -> float:
        """Return the sum of the samples whose line begins with `series`."""
        lines = [line for line in self.metrics().splitlines() if line.startswith(series)]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    def log(self) -> str:
        return self.config.with_suffix(".log").read_text()

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """End in an orderly way and return the exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0 if self.process is None else int(self.process.returncode)
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


@dataclass
class Echo:
    """The provider: what it has seen, and how it answers."""

    seen: list[dict[str, str | bytes]] = field(default_factory=list)
    calls: int = 0
    initial: tuple[tuple[str, str | bytes], ...] = ()
    trailing: tuple[tuple[str, str | bytes], ...] = ()
    abort: tuple[grpc.StatusCode, str] | None = None
    gate: threading.Event | None = None
    # What is answered instead of an echo, whatever was asked.
    answer: bytes | None = None

    def _begin(self, context: Any) -> None:
        self.calls += 1
        self.seen.append(dict(context.invocation_metadata()))
        if self.initial:
            context.send_initial_metadata(self.initial)
        if self.trailing:
            context.set_trailing_metadata(self.trailing)
        if self.abort is not None:
            context.abort(*self.abort)

    def unary(self, request: bytes, context: Any) -> bytes:
        self._begin(context)
        return request if self.answer is None else self.answer

    def collect(self, requests: Iterator[bytes], context: Any) -> bytes:
        self._begin(context)
        return b"".join(requests)

    def listing(self, request: bytes, context: Any) -> Iterator[bytes]:
        self._begin(context)
        count, _, body = request.partition(b":")
        for number in range(int(count)):
            if self.gate is not None and number:
                self.gate.wait(30)
            yield b"%d:%s" % (number, body)

    def chat(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        self._begin(context)
        for request in requests:
            yield request if self.answer is None else self.answer

    def serve(self, port: int) -> grpc.Server:
        handlers = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "List": grpc.unary_stream_rpc_method_handler(self.listing),
            "Chat": grpc.stream_stream_rpc_method_handler(self.chat),
        }
        options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.so_reuseport", 0)]
        server = grpc.server(futures.ThreadPoolExecutor(16), options=options)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server


class Lab:
    """The set-up; `start` starts everything, `close` ends it."""

    def __init__(
        self,
        path: Path,
        *,
        rate: float = 20_000.0,
        documents: str = DOCUMENTS,
        attachments: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        self.path = path
        self.clock = SystemClock()
        self.net = make_net(path / "net", Net.EXTRA, self.clock)
        self.rate = rate
        self.documents = documents
        self.attachments = attachments
        self.policy = path / "policy"
        self.policy.mkdir()
        self.officers = [self.net.issue(Profile.OFFICER, f"officer-{number}", organ=HUB) for number in (1, 2)]
        self.sign_policy(1)
        self.echo = Echo()
        self.provider_port = free_port()
        self.route_port = free_port()
        ports = {name: free_port() for name in ("gw-a", "gw-b", "provider", "m-a", "m-b", "m-ca", "m-cb")}
        self.ports = ports
        self.credentials = {
            "gw-a": self.net.issue(Profile.GATEWAY, "gateway-shared", organ=HUB),
            "gw-b": self.net.issue(Profile.GATEWAY, "gateway-police", organ=POLICE),
            "ev-a": self.net.issue(Profile.EVIDENCE, "gateway-shared-evidence", organ=HUB),
            "ev-b": self.net.issue(Profile.EVIDENCE, "gateway-police-evidence", organ=POLICE),
            "caller": self.net.issue(Profile.SYSTEM, "credit", organ=CREDIT),
            "provider": self.net.issue(Profile.SYSTEM, "population", organ=POLICE),
        }
        self.gateway_a = self._gateway("a", "shared", 'peers."police"', ports["gw-b"])
        provider = f'providers."spiffe://extra/{POLICE}/population"'
        self.gateway_b = self._gateway("b", "police", provider, ports["provider"])
        self.connector_a = self._caller_connector()
        self.connector_b = self._provider_connector()
        self.services = [self.gateway_b, self.gateway_a, self.connector_b, self.connector_a]
        self.server: grpc.Server | None = None

    # -- configuration -------------------------------------------------------------------------------------------

    def sign_policy(self, version: int, documents: str | None = None, *, signers: int = 2, days: int = 365) -> None:
        now = self.clock.now()
        files = {"lab.yaml": (documents or self.documents).encode(), **self.attachments}
        raw = bundle.build(files, version=version, not_before=now - timedelta(hours=1), not_after=now + timedelta(days))
        for old in self.policy.iterdir():
            old.unlink()
        write_bundle(self.policy, raw)
        for officer in self.officers[:signers]:
            credential = officer.load()
            write_signature(self.policy, bundle.sign(raw, credential.chain, credential.key, now=now))

    def evidence(self, side: str) -> Path:
        return self.path / f"evidence-{side}"

    def _common(self, credential: IssuedCredential, management: int) -> str:
        crls = ", ".join(_text(path) for path in self.net.crl_paths)
        return f"""
[tls]
{_key_pair(credential)}
[trust]
root = {_text(self.net.root_path)}
[status]
crls = [{crls}]
poll_seconds = 0.2
[management]
listen = "127.0.0.1:{management}"
"""

    def _gateway(self, side: str, zone: str, hop: str, hop_port: int) -> Service:
        config = self.path / f"gateway-{side}.toml"
        management = self.ports[f"m-{side}"]
        self.evidence(side).mkdir()
        config.write_text(
            f"""
[gateway]
zone = "{zone}"
listen = "127.0.0.1:{self.ports[f"gw-{side}"]}"
{self._common(self.credentials[f"gw-{side}"], management)}
[policy]
directory = {_text(self.policy)}
state = {_text(self.path / f"policy-{side}.state")}
[evidence]
directory = {_text(self.evidence(side))}
{_key_pair(self.credentials[f"ev-{side}"])}
[{hop}]
addresses = ["127.0.0.1:{hop_port}"]
[limits]
calls_per_second_per_caller = {self.rate}
"""
        )
        return Service(f"gateway {zone}", config, management, ("gateway", "run"))

    def _caller_connector(self) -> Service:
        config = self.path / "connector-a.toml"
        management = self.ports["m-ca"]
        config.write_text(
            f"""
{self._common(self.credentials["caller"], management)}
[gateway]
addresses = ["127.0.0.1:{self.ports["gw-a"]}"]
identities = ["spiffe://extra/{HUB}/gateway-shared"]
[routes.default]
listen = "127.0.0.1:{self.route_port}"
uids = [{os.getuid()}]
"""
        )
        return Service("connector credit", config, management, ("connector", "run"))

    def _provider_connector(self) -> Service:
        config = self.path / "connector-b.toml"
        management = self.ports["m-cb"]
        config.write_text(
            f"""
{self._common(self.credentials["provider"], management)}
[provider]
listen = "127.0.0.1:{self.ports["provider"]}"
gateways = ["spiffe://extra/{POLICE}/gateway-police"]
[[provider.targets]]
services = ["{SERVICE}"]
address = "127.0.0.1:{self.provider_port}"
"""
        )
        return Service("connector population", config, management, ("connector", "run"))

    # -- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self.server = self.echo.serve(self.provider_port)
        for service in self.services:
            service.start()
        for service in self.services:
            service.ready()

    def close(self) -> None:
        codes = [service.stop() for service in reversed(self.services)]
        if self.server is not None:
            self.server.stop(None).wait()
        self.net.close()
        assert codes == [0] * len(codes), [service.config.with_suffix(".log").read_text() for service in self.services]

    @contextlib.contextmanager
    def variant(self, service: Service, *changes: tuple[str, str], local: Sequence[str] = ()) -> Iterator[Service]:
        """Run a further process like `service`: `changes` in its file, and a free port for each name of `local`."""
        text = service.config.read_text()
        management = free_port()
        for old, new in ((f"127.0.0.1:{service.management}", f"127.0.0.1:{management}"), *changes):
            assert text.count(old) >= 1, old
            text = text.replace(old, new)
        for name in local:
            text = text.replace(f"127.0.0.1:{self.ports.get(name, self.route_port)}", f"127.0.0.1:{free_port()}")
        config = service.config.with_name(f"variant-{management}.toml")
        config.write_text(text)
        made = Service(f"variant of {service.name}", config, management, service.arguments)
        made.start()
        try:
            yield made
        finally:
            made.stop()

    @contextlib.contextmanager
    def channel(self, port: int | None = None) -> Iterator[grpc.Channel]:
        options = [
            ("grpc.max_receive_message_length", 64 << 20),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),  # a connection of its own
        ]
        with grpc.insecure_channel(f"127.0.0.1:{port or self.route_port}", options=options) as channel:
            yield channel


def _key_pair(credential: IssuedCredential) -> str:
    return "\n".join(
        f"{name} = {_text(path)}"
        for name, path in (
            ("certificate", credential.cert_path),
            ("key", credential.key_path),
            ("secret", credential.secret_path),
        )
    )


def until(what: Callable[[], bool], seconds: float = 10.0) -> float:
    """Ask until the answer is yes; return how long it took."""
    start = time.monotonic()
    pause = threading.Event()
    while time.monotonic() - start < seconds:
        if what():
            return time.monotonic() - start
        pause.wait(0.02)
    msg = f"not within {seconds} s"
    raise AssertionError(msg)


METADATA = (("zg-purpose", PURPOSE),)


def refusal(error: grpc.RpcError) -> tuple[str, str, str]:
    """Return (gRPC code, reason, crossing) as a stock client reads them from `google.rpc.Status`."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return error.code().name, info.reason, info.metadata["crossing"]
