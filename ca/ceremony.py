"""Makes a CA directory: settings, ledger, both keys, both certificates, both first lists. All of it or nothing.

The directory is built beside its place and moved there when it is complete. What the certificates say is decided by
the same profiles, lint and cycle as every other certificate's.
"""

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zonegate.ca.authority import Authority
from zonegate.ca.config import CaSettings, load_settings
from zonegate.ca.keystore import FileKeyStore
from zonegate.ca.ledger import Ledger
from zonegate.ca.names import SubjectName
from zonegate.ca.publication import Publication, replace_file
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

LEDGER_FILE = "ledger.sqlite"
SETTINGS_FILE = "ca.toml"
# A root's list is made by hand, with the root brought out of its safe: it must last until the next time.
ROOT_CRL_HOURS = 24 * 180
SUB_CRL_HOURS = 24


@dataclass(frozen=True, slots=True)
class CeremonyPlan:
    """What the people who set a CA up have agreed on."""

    net: Net
    organization: str
    crl_base_url: str
    ocsp_urls: tuple[str, ...] = ()
    unit: str | None = None
    sub_crl_hours: int = SUB_CRL_HOURS

    def subject(self, role: str) -> SubjectName:
        """Return the name of the root or of the sub-CA."""
        return SubjectName(self.organization, f"{self.net.value.upper()} {role}", self.unit)


def create_ca(directory: Path, plan: CeremonyPlan, *, clock: Clock, actor: str) -> None:
    """Make the CA of `plan` in `directory`, which must not exist."""
    if directory.exists():
        raise ZoneGateError(Reason.E_CONFIG, f"directory: {directory.name} exists already; a CA is made once")
    subjects = _subjects(plan)
    part = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}.part")
    try:
        _build(part, plan, subjects, clock, actor)
        part.rename(directory)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"directory: cannot be made: {exc.strerror}") from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)


def open_ca(directory: Path, *, clock: Clock, pause: Callable[[float], None] | None = None) -> Authority:
    """Open the CA in `directory`; the root's folder may be away."""
    settings = load_settings(directory)
    ledger = Ledger.open(directory / LEDGER_FILE, settings.net)
    return _authority(directory, settings, ledger, clock, pause)


def _authority(
    directory: Path, settings: CaSettings, ledger: Ledger, clock: Clock, pause: Callable[[float], None] | None
) -> Authority:
    keystore = FileKeyStore(settings.key_files())
    publication = Publication(directory / "public")
    if pause is None:
        return Authority(settings, ledger, keystore, publication, clock)
    return Authority(settings, ledger, keystore, publication, clock, pause=pause)


def _subjects(plan: CeremonyPlan) -> tuple[SubjectName, SubjectName]:
    try:
        return plan.subject("Root CA"), plan.subject("Sub-CA 1")
    except ValueError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"subject.{exc}") from exc


def _build(part: Path, plan: CeremonyPlan, subjects: tuple[SubjectName, SubjectName], clock: Clock, actor: str) -> None:
    part.mkdir(mode=0o755, parents=False)
    for private in ("root", "sub"):
        (part / private).mkdir(mode=0o700)
    (part / "public").mkdir(mode=0o755)
    replace_file(part / SETTINGS_FILE, settings_text(plan).encode())
    settings = load_settings(part)
    ledger = Ledger.create(part / LEDGER_FILE, settings.net)
    authority = _authority(part, settings, ledger, clock, None)
    try:
        authority.make_root(subjects[0], actor=actor)
        authority.make_sub_ca(subjects[1], actor=actor)
        for issuer in (Profile.ROOT, Profile.SUB_CA):
            authority.publish_crl(issuer, actor=actor)
    finally:
        authority.close()


def settings_text(plan: CeremonyPlan) -> str:
    """Return the `ca.toml` of a plan."""
    base = plan.crl_base_url.rstrip("/")
    # A JSON string of ASCII is a TOML basic string.
    ocsp = json.dumps(list(plan.ocsp_urls))
    return f"""# The CA of one net. Secrets are paths: move them to a place of their own and say here where they are.
net = "{plan.net.value}"

[root]
key = "root/root.key"
secret = "root/root.secret"
crl_urls = [{json.dumps(base + "/root.crl")}]
ocsp_urls = []
crl_hours = {ROOT_CRL_HOURS}

[sub]
key = "sub/sub.key"
secret = "sub/sub.secret"
crl_urls = [{json.dumps(base + "/sub.crl")}]
ocsp_urls = {ocsp}
crl_hours = {plan.sub_crl_hours}

# The longest validity in days that this CA gives; CE-08 allows 731 to gateways and 1096 to the others;
# a responder's certificate is never asked about (nocheck) and lives for a quarter.
[limits]
gateway = 731
system = 1096
officer = 1096
evidence = 1096
ocsp = 92
tsa = 1096
"""
