"""[a] Reads bundles and signatures from a folder, and remembers the highest version that was in force.

Acts only: whether a bundle may serve is decided in `bundle`. The state file makes an older bundle stay refused after a
restart; it is written whole or not at all.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from zonegate.errors import ZoneGateError
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule, TrustAnchors
from zonegate.policies.bundle import BUNDLE_MAX_BYTES, InForce, Verified, verify
from zonegate.policies.compile import YAML_SUFFIXES
from zonegate.policies.descriptor import DESCRIPTOR_MAX_BYTES
from zonegate.policies.documents import DOCUMENTS_MAX
from zonegate.policies.model import Policy
from zonegate.policies.officers import SIGNATURE_MAX_BYTES, SIGNATURES_MAX
from zonegate.policies.yamltext import FILE_MAX_BYTES
from zonegate.reasons import Reason

BUNDLE_NAME = "bundle.zgp"
SIGNATURE_PREFIX = "bundle.sig."
DESCRIPTOR_SUFFIXES = (".binpb", ".desc", ".pb")
_STATE_MAX_BYTES = 4096


class _State(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    digest: str


def load_bundle(
    folder: Path,
    *,
    state: Path,
    anchors: TrustAnchors,
    now: datetime,
    crls: Sequence[Crl] = (),
    status: StatusRule = StatusRule.WHEN_GIVEN,
) -> Verified:
    """Return the policy in `folder` if it may serve, and remember its version in `state` before it does."""
    verified = check_bundle(folder, state=state, anchors=anchors, now=now, crls=crls, status=status)
    remember(state, verified.policy)
    return verified


def check_bundle(
    folder: Path,
    *,
    state: Path,
    anchors: TrustAnchors,
    now: datetime,
    crls: Sequence[Crl] = (),
    status: StatusRule = StatusRule.WHEN_GIVEN,
) -> Verified:
    """Return the policy in `folder` if it could serve now; nothing is written."""
    return verify(
        read_bundle_file(folder),
        read_signature_files(folder),
        anchors=anchors,
        now=now,
        crls=crls,
        status=status,
        in_force=read_state(state),
    )


def remember(state: Path, policy: Policy) -> None:
    """Write the version of a policy that is about to serve: no older one will serve after it."""
    in_force = read_state(state)
    if in_force is None or policy.version > in_force.version:
        write_whole(state, msgspec.json.encode(_State(policy.version, policy.digest)) + b"\n")


def read_bundle_file(folder: Path) -> bytes:
    """Return the bytes of the bundle in `folder`."""
    return _read(folder / BUNDLE_NAME, BUNDLE_MAX_BYTES, Reason.E_BUNDLE_FORMAT)


def read_signature_files(folder: Path) -> list[bytes]:
    """Return the signature files beside the bundle, ordered by name."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.name.startswith(SIGNATURE_PREFIX))
    except OSError as exc:
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, f"{folder.name}: cannot be read: {exc.strerror}") from exc
    return [_read(path, SIGNATURE_MAX_BYTES, Reason.E_BUNDLE_FORMAT) for path in paths[: SIGNATURES_MAX + 1]]


def read_state(state: Path) -> InForce | None:
    """Return what was in force, or None where nothing ever was; a damaged state file refuses every bundle."""
    if not state.exists():
        return None
    raw = _read(state, _STATE_MAX_BYTES, Reason.E_BUNDLE_VERSION)
    try:
        found = msgspec.json.decode(raw, type=_State)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        detail = f"{state.name}: does not say which version was in force; restore it from backup"
        raise ZoneGateError(Reason.E_BUNDLE_VERSION, detail) from exc
    return InForce(found.version, found.digest)


def write_signature(folder: Path, signature: bytes) -> Path:
    """Write a signature file under the next free number and return its path."""
    for number in range(1, SIGNATURES_MAX + 1):
        path = folder / f"{SIGNATURE_PREFIX}{number}"
        try:
            with path.open("xb") as stream:
                stream.write(signature)
        except FileExistsError:
            continue
        except OSError as exc:
            raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc
        return path
    detail = f"signatures: {SIGNATURES_MAX} are there already"
    raise ZoneGateError(Reason.E_BUNDLE_SIGNATURE, detail)


def write_bundle(folder: Path, bundle: bytes) -> Path:
    """Write the bundle into `folder` (made where missing) and take away the signatures of what stood there before."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name.startswith(SIGNATURE_PREFIX):
                path.unlink()
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{folder.name}: cannot be written: {exc.strerror}") from exc
    target = folder / BUNDLE_NAME
    write_whole(target, bundle)
    return target


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that after a crash it is the old one or the new one, and durable."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        with fresh.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc


def read_document_files(folder: Path) -> Mapping[str, bytes]:
    """Return the YAML documents and descriptors below `folder` by relative name; other files are left out."""
    if not folder.is_dir():
        raise ZoneGateError(Reason.E_DOCUMENT, f"{folder.name}: is not a folder of policy documents")
    limits = dict.fromkeys(YAML_SUFFIXES, FILE_MAX_BYTES) | dict.fromkeys(DESCRIPTOR_SUFFIXES, DESCRIPTOR_MAX_BYTES)
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix not in limits or not path.is_file() or any(part.startswith(".") for part in name.split("/")):
            continue
        if len(found) >= DOCUMENTS_MAX:
            raise ZoneGateError(Reason.E_DOCUMENT, f"{folder.name}: holds more than {DOCUMENTS_MAX} files")
        found[name] = _read(path, limits[path.suffix], Reason.E_DOCUMENT)
    return found


def _read(path: Path, limit: int, reason: Reason) -> bytes:
    try:
        with path.open("rb") as stream:
            raw = stream.read(limit + 1)
    except OSError as exc:
        raise ZoneGateError(reason, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if len(raw) > limit:
        raise ZoneGateError(reason, f"{path.name}: is larger than {limit} bytes")
    return raw
