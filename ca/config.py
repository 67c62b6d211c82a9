"""One CA directory: where its files are, and the strict `ca.toml` that names net, addresses and limits.

The directory holds `ca.toml`, `ledger.sqlite`, `root/` (may be taken away and locked up), `sub/`, and `public/` (what
everybody may read: certificates and revocation lists). Limits narrow CE-08, never widen it.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from zonegate.ca.addresses import LIST_SUFFIX, check_url
from zonegate.ca.keystore import SealedFiles
from zonegate.identity import Net
from zonegate.pki.oids import Profile
from zonegate.strictconf import ConfigPath, StrictModel, load_toml

StatusUrl = Annotated[str, AfterValidator(check_url)]


class IssuerSettings(StrictModel):
    """One CA key and the addresses that its certificates name for their status."""

    key: ConfigPath
    secret: ConfigPath
    crl_urls: list[StatusUrl] = Field(min_length=1, max_length=4)
    ocsp_urls: list[StatusUrl] = Field(default=[], max_length=4)
    crl_hours: int = Field(ge=1, le=24 * 400)
    # Certificates name one of so many lists by their serial (RV-02); 0: the full one. Numbers used before go below.
    crl_shards: int = Field(default=0, ge=0, le=1024)
    former_crl_shards: list[Annotated[int, Field(ge=1, le=1024)]] = Field(default=[], max_length=4)
    # How long a delta list is good for; without it none is made.
    delta_minutes: int | None = Field(default=None, ge=1, le=24 * 60)

    @model_validator(mode="after")
    def _addresses_of_parts(self) -> Self:
        if (self.crl_shards or self.former_crl_shards or self.delta_minutes) and not all(
            url.endswith(LIST_SUFFIX) for url in self.crl_urls
        ):
            msg = (
                f"crl_urls must end in {LIST_SUFFIX} where there are shards or delta lists, whose names follow from it"
            )
            raise ValueError(msg)
        return self

    @property
    def crl_lifetime(self) -> timedelta:
        """From thisUpdate to nextUpdate."""
        return timedelta(hours=self.crl_hours)

    @property
    def delta_lifetime(self) -> timedelta | None:
        """From thisUpdate to nextUpdate of a delta list; None where none is made."""
        return None if self.delta_minutes is None else timedelta(minutes=self.delta_minutes)


class Limits(StrictModel):
    """The longest validity in days that this CA gives to each profile; CE-08's years hold beside them."""

    gateway: int = Field(default=731, ge=1, le=731)
    system: int = Field(default=1096, ge=1, le=1096)
    officer: int = Field(default=1096, ge=1, le=1096)
    evidence: int = Field(default=1096, ge=1, le=1096)
    ocsp: int = Field(default=92, ge=1, le=366)
    tsa: int = Field(default=1096, ge=1, le=1096)


class KmcLink(StrictModel):
    """The key centre of this CA, and the credential that its requests are signed with; not a CA key."""

    socket: ConfigPath
    # User ids under which the centre may run; empty: this CA's own user.
    users: list[Annotated[int, Field(ge=0, le=2**32 - 2)]] = Field(default=[], max_length=8)
    centre: ConfigPath
    chain: ConfigPath
    key: ConfigPath
    secret: ConfigPath


class CaSettings(StrictModel):
    """The contents of `ca.toml`."""

    net: Annotated[Net, Field(strict=False)]
    root: IssuerSettings
    sub: IssuerSettings
    limits: Limits = Limits()
    kmc: KmcLink | None = None

    @model_validator(mode="after")
    def _keys_apart(self) -> Self:
        if self.root.key == self.sub.key:
            msg = "root.key and sub.key are one file; each CA has a key of its own"
            raise ValueError(msg)
        return self

    def issuer(self, issuer: Profile) -> IssuerSettings:
        """Return the settings of the root or of the sub-CA."""
        return {Profile.ROOT: self.root, Profile.SUB_CA: self.sub}[issuer]

    def limit(self, profile: Profile) -> timedelta:
        """Return this CA's own limit for `profile`; CA certificates have CE-08's only."""
        days = {
            Profile.GATEWAY: self.limits.gateway,
            Profile.SYSTEM: self.limits.system,
            Profile.OFFICER: self.limits.officer,
            Profile.EVIDENCE: self.limits.evidence,
            Profile.OCSP: self.limits.ocsp,
            Profile.TSA: self.limits.tsa,
            Profile.GATEWAY_ENCRYPTION: self.limits.gateway,
            Profile.SYSTEM_ENCRYPTION: self.limits.system,
            Profile.OFFICER_ENCRYPTION: self.limits.officer,
        }
        return timedelta(days=days.get(profile, 366 * 20))

    def key_files(self) -> dict[Profile, SealedFiles]:
        """Return where the two keys are."""
        return {
            Profile.ROOT: SealedFiles(Path(self.root.key), Path(self.root.secret)),
            Profile.SUB_CA: SealedFiles(Path(self.sub.key), Path(self.sub.secret)),
        }


def load_settings(directory: Path) -> CaSettings:
    """Return the settings of the CA in `directory`; every problem of the file at once."""
    return load_toml(directory / "ca.toml", CaSettings)
