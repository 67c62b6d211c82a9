"""The way from ext.shared into int.l4 with real processes: both nets' shipped policies, a carrier folder in between.

EXTRA: the caller's connector and the gateway of `shared`, which exports. INTRA: verifier, importer, the provider's
connector, and the provider itself, a stock grpcio server in the test's own process that executes each key once.
"""

import json
import os
import threading
from base64 import b64encode
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from support.lab import Service, free_port
from support.pki import IssuedCredential, TestNet, make_net
from support.policy import CREDIT, HUB, signed_bundle
from zonegate.clock import SystemClock
from zonegate.gm import keyfile
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.policies.builtin import builtin_documents

SUBMIT = "/example.statistics.v1.Statistics/Submit"
PURPOSE = "%E7%BB%9F%E8%AE%A1%E6%8A%A5%E9%80%81"
METADATA = (("zg-purpose", PURPOSE),)
# The key that the shipped policy pins: nobody's.
_PINNED = (
    "MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAE1/yNCdTFCv8LMg++VDDE6BL7p4OE6T6iLik8+nFdYakW"
    "vxYNrRCBujus7a56R5VegXJQZNZw3TGboBtHuq+D4g=="
)


def figure(value: int) -> bytes:
    """An example.statistics.v1.Figure with a value below 128."""
    return b"\x0a\x03gdp\x12\x042029\x18" + bytes((value,))


@dataclass
class Provider:
    """Executes each zg-idempotency-key once, as docs/import.md asks of a provider; remembers all that came."""

    came: list[dict[str, Any]] = field(default_factory=list)
    executed: list[bytes] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    abort: tuple[grpc.StatusCode, str] | None = None
    # Set: answers at once. Cleared: executes, then keeps the answer back.
    answers: threading.Event = field(default_factory=threading.Event)
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.answers.set()

    def submit(self, request: bytes, context: Any) -> bytes:
        metadata = dict(context.invocation_metadata())
        self.came.append(metadata)
        if self.abort is not None:
            self.arrived.release()
            context.abort(*self.abort)
        if metadata["zg-idempotency-key"] not in self.keys:
            self.keys.add(metadata["zg-idempotency-key"])
            self.executed.append(request)
        self.arrived.release()
        self.answers.wait(20)
        return b""

    def serve(self, port: int) -> grpc.Server:
        handler = grpc.method_handlers_generic_handler(
            "example.statistics.v1.Statistics", {"Submit": grpc.unary_unary_rpc_method_handler(self.submit)}
        )
        server = grpc.server(futures.ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        server.add_generic_rpc_handlers((handler,))
        server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        return server


class ImportLab:
    """The set-up; `start` starts everything, `close` ends it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = SystemClock()
        self.extra = make_net(path / "extra", Net.EXTRA, self.clock)
        self.intra = make_net(path / "intra", Net.INTRA, self.clock)
        self.carrier = path / "carrier"
        self.carrier.mkdir()
        self.key_path, self.secret_path = path / "decryption.pem", path / "decryption.secret"
        self.decryption = PrivateKey.generate()
        keyfile.write_key_file(self.key_path, self.decryption, keyfile.new_secret_file(self.secret_path))
        self._policies()
        self.ports = {name: free_port() for name in ("gateway", "route", "connector", "server", "m1", "m2", "m3", "m4")}
        self.provider = Provider()
        self.server: grpc.Server | None = None
        self.caller = self.extra.issue(Profile.SYSTEM, "credit", organ=CREDIT)
        self.gateway_credential = self.extra.issue(Profile.GATEWAY, "gateway-shared", organ=HUB)
        self.gateway = self._gateway()
        self.caller_connector = self._caller_connector()
        self.provider_connector = self._provider_connector()
        self.importer = self._importer()
        self.verifier = self._verifier()
        self.services = [
            self.provider_connector,
            self.importer,
            self.verifier,
            self.gateway,
            self.caller_connector,
        ]

    # -- configuration -------------------------------------------------------------------------------------------

    def _policies(self) -> None:
        spki = b64encode(self.decryption.public_key.spki).decode()
        files = builtin_documents(Net.EXTRA)
        assert files["extra.yaml"].count(_PINNED.encode()) == 1
        files = {**files, "extra.yaml": files["extra.yaml"].replace(_PINNED.encode(), spki.encode())}
        for net, documents in ((self.extra, files), (self.intra, builtin_documents(Net.INTRA))):
            folder = self.policy(net)
            folder.mkdir()
            signed_bundle(folder, net, documents, now=self.clock.now())

    def policy(self, net: TestNet) -> Path:
        return self.path / f"policy-{net.net.value}"

    def evidence(self, side: str) -> Path:
        return self.path / f"evidence-{side}"

    def _common(self, net: TestNet, credential: IssuedCredential, management: str) -> str:
        crls = ", ".join(text(path) for path in net.crl_paths)
        return f"""
[tls]
{key_pair(credential)}
[trust]
root = {text(net.root_path)}
[status]
crls = [{crls}]
poll_seconds = 0.2
[management]
listen = "127.0.0.1:{self.ports[management]}"
"""

    def _deciding(self, net: TestNet, side: str, evidence_name: str) -> str:
        self.evidence(side).mkdir()
        return f"""
[policy]
directory = {text(self.policy(net))}
state = {text(self.path / f"policy-{side}.state")}
[evidence]
directory = {text(self.evidence(side))}
{key_pair(net.issue(Profile.EVIDENCE, evidence_name, organ=HUB))}
"""

    def _service(self, name: str, management: str, config: str, *arguments: str) -> Service:
        path = self.path / f"{name}.toml"
        path.write_text(config)
        return Service(name, path, self.ports.get(management, 0), arguments)

    def _gateway(self) -> Service:
        config = f"""
[gateway]
zone = "shared"
listen = "127.0.0.1:{self.ports["gateway"]}"
{self._common(self.extra, self.gateway_credential, "m1")}
{self._deciding(self.extra, "shared", "gateway-shared-evidence")}
[export]
carrier = {text(self.carrier)}
ledger = {text(self.path / "export.sqlite")}
"""
        return self._service("gateway", "m1", config, "gateway", "run")

    def _caller_connector(self) -> Service:
        config = f"""
{self._common(self.extra, self.caller, "m2")}
[gateway]
addresses = ["127.0.0.1:{self.ports["gateway"]}"]
identities = ["spiffe://extra/{HUB}/gateway-shared"]
[routes.default]
listen = "127.0.0.1:{self.ports["route"]}"
uids = [{os.getuid()}]
"""
        return self._service("caller-connector", "m2", config, "connector", "run")

    def _provider_connector(self) -> Service:
        config = f"""
{self._common(self.intra, self.intra.issue(Profile.SYSTEM, "statistics", organ=HUB), "m3")}
[provider]
listen = "127.0.0.1:{self.ports["connector"]}"
gateways = ["spiffe://intra/{HUB}/importer"]
[[provider.targets]]
services = ["example.statistics.v1.Statistics"]
address = "127.0.0.1:{self.ports["server"]}"
"""
        return self._service("provider-connector", "m3", config, "connector", "run")

    def _importer(self) -> Service:
        config = f"""
[importer]
zone = "inner"
listen = {text(f"unix:{self.path / 'handover'}")}
verifier_uids = [{os.getuid()}]
ledger = {text(self.path / "import.sqlite")}
{self._common(self.intra, self.intra.issue(Profile.GATEWAY, "importer", organ=HUB), "m4")}
{self._deciding(self.intra, "importer", "importer-evidence")}
[providers."spiffe://intra/{HUB}/statistics"]
addresses = ["127.0.0.1:{self.ports["connector"]}"]
[delivery]
attempt_seconds = 5.0
first_backoff_seconds = 0.1
last_backoff_seconds = 0.5
"""
        return self._service("importer", "m4", config, "import", "run")

    def _verifier(self) -> Service:
        crls = ", ".join(text(path) for path in self.extra.crl_paths)
        config = f"""
[verifier]
carrier = {text(self.carrier)}
importer = {text(f"unix:{self.path / 'handover'}")}
state = {text(self.path / "seen.sqlite")}
poll_seconds = 0.1
[decryption]
key = {text(self.key_path)}
secret = {text(self.secret_path)}
[foreign_trust]
root = {text(self.extra.root_path)}
crls = [{crls}]
"""
        return self._service("verifier", "", config, "import", "verifier")

    # -- life ----------------------------------------------------------------------------------------------------

    def serve_provider(self) -> None:
        self.server = self.provider.serve(self.ports["server"])

    def start(self) -> None:
        self.serve_provider()
        try:
            for service in self.services:
                service.start()
            for service in self.services:
                if service is not self.verifier:
                    service.ready()
        except AssertionError:
            for service in self.services:
                service.stop()
            raise

    def close(self) -> None:
        self.provider.answers.set()
        codes = [service.stop() for service in reversed(self.services)]
        if self.server is not None:
            self.server.stop(None).wait()
        self.extra.close()
        self.intra.close()
        logs = {service.name: service.config.with_suffix(".log").read_text() for service in self.services}
        assert codes == [0] * len(codes), logs

    def channel(self) -> grpc.Channel:
        options = [("grpc.enable_retries", 0)]
        return grpc.insecure_channel(f"127.0.0.1:{self.ports['route']}", options=options)


def text(value: object) -> str:
    return json.dumps(str(value))


def key_pair(credential: IssuedCredential) -> str:
    return (
        f"certificate = {text(credential.cert_path)}\nkey = {text(credential.key_path)}\n"
        f"secret = {text(credential.secret_path)}"
    )
