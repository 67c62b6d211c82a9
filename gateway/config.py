"""[d] The strict TOML of a gateway and of a connector; every key is explained in docs/configuration.md."""

from typing import Annotated

from pydantic import AfterValidator, Field

from zonegate.errors import ZoneGateError
from zonegate.gateway.metadata import quoted, read_text
from zonegate.identity import parse_identity
from zonegate.policies.labels import parse_label
from zonegate.strictconf import ConfigAddress, ConfigPath, StrictModel


def _check_identity(uri: str) -> str:
    parse_identity(uri)
    return uri


def _check_text(text: str) -> str:
    try:
        read_text(b"value", quoted(text))
    except ZoneGateError as exc:
        raise ValueError(exc.detail) from exc
    return text


def _check_label(text: str) -> str:
    try:
        parse_label(text)
    except ZoneGateError as exc:
        raise ValueError(exc.detail) from exc
    return text


Uri = Annotated[str, AfterValidator(_check_identity)]
# What a route declares travels as metadata.
Declared = Annotated[str, AfterValidator(_check_text)]
DeclaredLabel = Annotated[str, AfterValidator(_check_label)]
Seconds = Annotated[float, Field(gt=0, le=86400)]


class KeyPair(StrictModel):
    """A certificate chain (leaf first), its sealed key, and the secret that opens the key."""

    certificate: ConfigPath
    key: ConfigPath
    secret: ConfigPath


class TlsSection(KeyPair):
    """The process's own credential, and what it offers to peers."""

    hybrid: bool = False


class TrustSection(StrictModel):
    """The root of this process's one net (CA-14), and sub-CAs whose revocation lists are wanted beforehand."""

    root: ConfigPath
    intermediates: ConfigPath | None = None


class StatusSection(StrictModel):
    """Where revocation lists come from, polled at least every two seconds (architecture section 5).

    `stale_allowed`: old lists then refuse nobody, which RV-02 lets zones of grade 1 and 2 do. A gateway refuses to
    start with it in any other zone; a connector holds no policy and cannot know.
    """

    crls: Annotated[list[str], Field(min_length=1, max_length=16)]
    poll_seconds: Annotated[float, Field(gt=0, le=2)] = 1.0
    memory: ConfigPath | None = None
    stale_allowed: bool = False


class PolicySection(StrictModel):
    """Where the signed bundle lies, and the file that remembers the newest version ever in force."""

    directory: ConfigPath
    state: ConfigPath


class EvidenceSection(KeyPair):
    """Where evidence is written, and the evidence signer's credential."""

    directory: ConfigPath
    segment_bytes: Annotated[int, Field(ge=1 << 16, le=1 << 32)] = 64 << 20


class ManagementSection(StrictModel):
    """The address of /metrics and /healthz."""

    listen: ConfigAddress


class HopSection(StrictModel):
    """The addresses of a next hop, tried in turn."""

    addresses: Annotated[list[ConfigAddress], Field(min_length=1, max_length=16)]


class ImportSection(StrictModel):
    """The carrier directory towards the other net."""

    carrier: ConfigPath
    ledger: ConfigPath


class LimitsSection(StrictModel):
    """Bounds of one process: everything that an outsider can make grow."""

    connections: Annotated[int, Field(ge=1, le=100_000)] = 4096
    connections_per_identity: Annotated[int, Field(ge=1, le=10_000)] = 64
    connections_per_source: Annotated[int, Field(ge=1, le=100_000)] = 1024
    handshakes_in_progress: Annotated[int, Field(ge=1, le=10_000)] = 64
    handshakes_per_second: Annotated[float, Field(gt=0, le=10_000)] = 40.0
    handshakes_per_second_per_source: Annotated[float, Field(gt=0, le=10_000)] = 20.0
    handshake_seconds: Seconds = 5.0
    handshake_threads: Annotated[int, Field(ge=1, le=64)] = 2
    streams_per_connection: Annotated[int, Field(ge=1, le=10_000)] = 256
    open_calls: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    open_calls_per_caller: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    header_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = 32 * 1024
    message_bytes: Annotated[int, Field(ge=1024, le=1 << 30)] = 64 << 20
    stream_window_bytes: Annotated[int, Field(ge=65_535, le=1 << 30)] = 256 * 1024
    connection_window_bytes: Annotated[int, Field(ge=65_535, le=1 << 30)] = 4 << 20
    held_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 34)] = 64 << 20
    calls_per_second_per_caller: Annotated[float, Field(gt=0, le=1_000_000)] = 2000.0
    drain_seconds: Seconds = 20.0
    connect_seconds: Seconds = 3.0


class GatewaySection(StrictModel):
    """Which zone this gateway guards, and where it listens."""

    zone: Annotated[str, Field(min_length=1, max_length=64)]
    listen: ConfigAddress


class GatewayConfig(StrictModel):
    """A zone gateway."""

    gateway: GatewaySection
    tls: TlsSection
    trust: TrustSection
    status: StatusSection
    policy: PolicySection
    evidence: EvidenceSection
    management: ManagementSection
    peers: Annotated[dict[str, HopSection], Field(default_factory=dict)]
    providers: Annotated[dict[Uri, HopSection], Field(default_factory=dict)]
    export: ImportSection | None = None
    limits: LimitsSection = LimitsSection()


class RouteSection(StrictModel):
    """One local address of a connector, and what it declares for systems that cannot send metadata."""

    listen: ConfigAddress
    uids: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=64)]
    resource: Declared | None = None
    purpose: Declared | None = None
    case: Declared | None = None
    label: DeclaredLabel | None = None


class UplinkSection(HopSection):
    """The gateway of the system's own zone."""

    identities: Annotated[list[Uri], Field(min_length=1, max_length=16)]


class TargetSection(StrictModel):
    """A local gRPC server and the services that it offers."""

    services: Annotated[list[str], Field(min_length=1, max_length=256)]
    address: ConfigAddress


class ProviderSection(StrictModel):
    """The side of a connector that receives calls for its system."""

    listen: ConfigAddress
    gateways: Annotated[list[Uri], Field(min_length=1, max_length=16)]
    targets: Annotated[list[TargetSection], Field(min_length=1, max_length=64)]


class ConnectorConfig(StrictModel):
    """The connector of one department system."""

    tls: TlsSection
    trust: TrustSection
    status: StatusSection
    management: ManagementSection
    gateway: UplinkSection | None = None
    routes: Annotated[dict[str, RouteSection], Field(default_factory=dict)]
    provider: ProviderSection | None = None
    limits: LimitsSection = LimitsSection()
