"""One centre's directory: `kmc.toml`, `keys.sqlite`, the centre's own credential; strict, secrets are paths.

The master key is nowhere in it. Which CAs the centre serves is the list of their certificates; taking a file off the
list ends the service to that CA.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from zonegate.identity import Net
from zonegate.strictconf import ConfigPath, StrictModel, load_toml

SETTINGS_FILE = "kmc.toml"
KEYS_FILE = "keys.sqlite"
ACTS_FILE = "acts.sqlite"


class CredentialFiles(StrictModel):
    """A certificate chain, its sealed key, the file of the secret."""

    chain: ConfigPath
    key: ConfigPath
    secret: ConfigPath


class StandbySettings(StrictModel):
    """The standby store is filled up to `target` when fewer than `threshold` are left."""

    threshold: int = Field(default=20, ge=1, le=10_000)
    target: int = Field(default=100, ge=1, le=20_000)

    @model_validator(mode="after")
    def _target_above(self) -> Self:
        if self.target < self.threshold:
            msg = f"target is {self.target}, must be at least the threshold {self.threshold}"
            raise ValueError(msg)
        return self


class KmcSettings(StrictModel):
    """The contents of `kmc.toml`."""

    net: Annotated[Net, Field(strict=False)]
    root: ConfigPath
    credential: CredentialFiles
    cas: list[ConfigPath] = Field(min_length=1, max_length=64)
    socket: ConfigPath
    admin_socket: ConfigPath
    # User ids that may connect to `socket`; the centre's own user always may.
    users: list[Annotated[int, Field(ge=0, le=2**32 - 2)]] = Field(default=[], max_length=64)
    # Folders and files that recoveries are judged by; without a roster nothing is recovered.
    roster: ConfigPath | None = None
    crls: list[ConfigPath] = Field(default=[], max_length=8)
    history_years: int = Field(default=10, ge=1, le=100)
    standby: StandbySettings = StandbySettings()

    @property
    def retention(self) -> timedelta:
        """How long a key stays in history before it may be destroyed."""
        return timedelta(days=366 * self.history_years)


def load_settings(directory: Path) -> KmcSettings:
    """Return the settings of the centre in `directory`; every problem of the file at once."""
    return load_toml(directory / SETTINGS_FILE, KmcSettings)
