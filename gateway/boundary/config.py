"""The strict TOML of a verifier and of an importer; every key is explained in docs/import.md."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from zonegate.gateway.boundary.transport_file import Bounds
from zonegate.gateway.config import (
    EvidenceSection,
    HopSection,
    LimitsSection,
    ManagementSection,
    PolicySection,
    Seconds,
    StatusSection,
    TlsSection,
    TrustSection,
    Uri,
)
from zonegate.strictconf import ConfigAddress, ConfigPath, StrictModel


class BoundsSection(StrictModel):
    """What one object may hold; the same for verifier and importer."""

    messages: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    message_bytes: Annotated[int, Field(ge=1024, le=256 << 20)] = 4 << 20
    total_bytes: Annotated[int, Field(ge=1024, le=256 << 20)] = 64 << 20
    max_age_days: Annotated[int, Field(ge=1, le=365)] = 30

    def bounds(self) -> Bounds:
        """Return the validated twin."""
        return Bounds(self.messages, self.message_bytes, self.total_bytes, timedelta(days=self.max_age_days))


class VerifierSection(StrictModel):
    """Where objects lie, where the importer listens, and where the verifier remembers what it has read."""

    carrier: ConfigPath
    importer: ConfigAddress
    state: ConfigPath
    poll_seconds: Annotated[float, Field(gt=0, le=0.5)] = 0.3


class DecryptionSection(StrictModel):
    """The key to which the other net seals objects."""

    key: ConfigPath
    secret: ConfigPath


class ForeignTrustSection(StrictModel):
    """The other net's root and, where they are brought here, its revocation lists. Files only: nothing is fetched."""

    root: ConfigPath
    crls: Annotated[list[ConfigPath], Field(max_length=16, default_factory=list)]


class VerifierConfig(StrictModel):
    """A verifier. It has no [tls] and no [management]: it listens nowhere."""

    verifier: VerifierSection
    decryption: DecryptionSection
    foreign_trust: ForeignTrustSection
    bounds: BoundsSection = BoundsSection()


class ImporterSection(StrictModel):
    """Which zone the importer serves, where the verifier finds it, who the verifier is, and where objects are kept."""

    zone: Annotated[str, Field(min_length=1, max_length=64)]
    listen: ConfigAddress
    verifier_uids: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=16)]
    ledger: ConfigPath


class DeliverySection(StrictModel):
    """How objects are delivered."""

    waiting_objects: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    waiting_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 40)] = 1 << 30
    streams: Annotated[int, Field(ge=1, le=1024)] = 16
    attempt_seconds: Seconds = 60.0
    first_backoff_seconds: Seconds = 0.5
    last_backoff_seconds: Seconds = 30.0
    give_up_hours: Annotated[int, Field(ge=1, le=8760)] = 72

    def give_up(self) -> timedelta:
        """Return how long an object is tried."""
        return timedelta(hours=self.give_up_hours)


class ImporterConfig(StrictModel):
    """An importer."""

    importer: ImporterSection
    tls: TlsSection
    trust: TrustSection
    status: StatusSection
    policy: PolicySection
    evidence: EvidenceSection
    management: ManagementSection
    providers: Annotated[dict[Uri, HopSection], Field(min_length=1, max_length=1024)]
    bounds: BoundsSection = BoundsSection()
    delivery: DeliverySection = DeliverySection()
    limits: LimitsSection = LimitsSection()
