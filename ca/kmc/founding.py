"""Makes a key centre's directory and opens it again: settings, store, book of acts, shares for the holders.

The shares are written once, each to a file of its own, and are nowhere else; the master key itself is on no disk. The
directory is built beside its place and moved there when it is complete.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from zonegate.approval.nonces import SqliteNonceBook
from zonegate.ca.kmc.centre import Centre, Limits, found
from zonegate.ca.kmc.config import ACTS_FILE, KEYS_FILE, SETTINGS_FILE, KmcSettings, load_settings
from zonegate.ca.kmc.recovery import Tribunal
from zonegate.ca.kmc.service import Service
from zonegate.ca.kmc.shares import check_holders
from zonegate.ca.kmc.store import Store
from zonegate.ca.publication import replace_file
from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.credential import Credential, load_credential, read_chain_file
from zonegate.pki.crl import Crl, load_crl
from zonegate.pki.path import TrustAnchors, verify_path
from zonegate.reasons import Reason
from zonegate.roles.store import load_roster

_CRL_LIMIT_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class FoundingPlan:
    """What the people who set a centre up have agreed on."""

    net: Net
    root: Path
    chain: Path
    key: Path
    secret: Path
    cas: tuple[Path, ...]
    holders: tuple[str, ...]
    threshold: int


def create_centre(directory: Path, plan: FoundingPlan, *, clock: Clock, actor: str) -> tuple[Path, ...]:
    """Make the centre of `plan` in `directory`, which must not exist; return the files of the shares."""
    check_holders(plan.threshold, plan.holders)
    if directory.exists():
        raise ZoneGateError(Reason.E_CONFIG, f"directory: {directory.name} exists already; a centre is made once")
    part = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}.part")
    try:
        part.mkdir(mode=0o700)
        replace_file(part / SETTINGS_FILE, settings_text(plan).encode())
        settings = load_settings(part)
        _credential_of(settings, clock)
        SqliteNonceBook.create(part / ACTS_FILE)
        store = Store.create(part / KEYS_FILE, plan.net)
        try:
            shares = found(store, holders=plan.holders, threshold=plan.threshold, actor=actor, clock=clock)
        finally:
            store.close()
        names = write_shares(part / "shares", shares)
        part.rename(directory)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"directory: cannot be made: {exc.strerror}") from exc
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return tuple(directory / "shares" / name for name in names)


def write_shares(folder: Path, shares: Sequence[str]) -> tuple[str, ...]:
    """Write each share to a new file that only its owner can read; return the names, in the holders' order."""
    folder.mkdir(mode=0o700)
    names = []
    for place, text in enumerate(shares, start=1):
        name = f"share-{place}.txt"
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(text + "\n")
            stream.flush()
            os.fsync(descriptor)
        names.append(name)
    return tuple(names)


def settings_text(plan: FoundingPlan) -> str:
    """Return the `kmc.toml` of a plan."""

    def quoted(path: Path) -> str:
        # A JSON string is a TOML basic string.
        return json.dumps(str(path.resolve()), ensure_ascii=False)

    cas = ", ".join(quoted(path) for path in plan.cas)
    return f"""# The key centre of one net. The master key is in no file: its holders have it in shares.
net = "{plan.net.value}"
root = {quoted(plan.root)}
# Certificates of the CAs that are served; taking one off the list ends the service to it.
cas = [{cas}]
socket = "kmc.sock"
admin_socket = "admin.sock"
# User ids that may connect to `socket` beside the centre's own user; this folder is closed to them, so put the socket
# where they can reach it, in a folder that only the centre's user may write to.
users = []
# Recovery needs the net's roster and fresh lists: roster = "FOLDER", crls = ["root.crl", "sub.crl"].
crls = []
history_years = 10

[credential]
chain = {quoted(plan.chain)}
key = {quoted(plan.key)}
secret = {quoted(plan.secret)}

[standby]
threshold = 20
target = 100
"""


def open_service(directory: Path, *, clock: Clock) -> Service:
    """Open the centre in `directory`, sealed."""
    settings = load_settings(directory)
    root, credential = _credential_of(settings, clock)
    anchors = TrustAnchors(settings.net, (root,))
    callers: dict[str, Certificate] = {}
    intermediates: list[Certificate] = list(credential.chain[1:])
    for path in settings.cas:
        leaf, *above = read_chain_file(path)
        verify_path(leaf, above, anchors, now=clock.now())
        if leaf.profile is not Profile.SYSTEM or leaf.identity is None:
            raise ZoneGateError(Reason.E_CONFIG, f"cas: {path.name} has the profile {leaf.profile}, allowed is system")
        if str(leaf.identity) in callers:
            raise ZoneGateError(Reason.E_CONFIG, f"cas: two certificates of {leaf.identity}")
        callers[str(leaf.identity)] = leaf
        intermediates += [item for item in above if item not in intermediates]
    nonces = SqliteNonceBook.open(directory / ACTS_FILE)
    store = Store.open(directory / KEYS_FILE, settings.net)
    limits = Limits(settings.standby.threshold, settings.standby.target, settings.retention)
    try:
        tribunal = _tribunal(settings, anchors, tuple(intermediates), nonces)
        return Service(Centre(store, limits, clock), credential, callers, tribunal, clock)
    except ZoneGateError:
        store.close()
        raise


def _tribunal(
    settings: KmcSettings, anchors: TrustAnchors, intermediates: tuple[Certificate, ...], nonces: SqliteNonceBook
) -> Callable[[], Tribunal] | None:
    folder = settings.roster
    if folder is None:
        return None

    def read() -> Tribunal:
        # Read for each recovery: roles and lists change while the centre runs, and recoveries are rare.
        crls = _read_crls(settings.crls)
        roster = load_roster(folder, anchors=anchors, crls=crls)
        return Tribunal(anchors, intermediates, crls, roster.standings, nonces)

    read()
    return read


def _read_crls(paths: Sequence[Path]) -> tuple[Crl, ...]:
    found = []
    for path in paths:
        try:
            with path.open("rb") as stream:
                found.append(load_crl(stream.read(_CRL_LIMIT_BYTES)))
        except OSError as exc:
            raise ZoneGateError(Reason.E_CONFIG, f"crls: {path.name} cannot be read: {exc.strerror}") from exc
    return tuple(found)


def _credential_of(settings: KmcSettings, clock: Clock) -> tuple[Certificate, Credential]:
    files = settings.credential
    (root,) = read_chain_file(settings.root)
    credential = load_credential(files.chain, files.key, files.secret)
    leaf = credential.chain[0]
    verify_path(leaf, credential.chain[1:], TrustAnchors(settings.net, (root,)), now=clock.now())
    if leaf.profile is not Profile.SYSTEM or leaf.identity is None:
        raise ZoneGateError(Reason.E_CONFIG, f"credential: its profile is {leaf.profile}, allowed is system")
    return root, credential
