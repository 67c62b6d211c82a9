"""[d] Policy bundles: documents with version and validity in one canonical file, signed by two officers, or refused.

Pure: bytes, anchors and time in; bytes or a policy out. There is no unsigned mode; the signatures stand in files of
their own (`officers`). Files are read and versions remembered by `bundle_store`.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule, TrustAnchors
from zonegate.policies.compile import YAML_SUFFIXES, Compiled, compile_documents
from zonegate.policies.documents import DOCUMENTS_MAX
from zonegate.policies.model import Policy
from zonegate.policies.officers import Signer, sign_digest, verify_signatures
from zonegate.policies.selftest import self_test
from zonegate.policies.wire import TIME_FORM, decode, encode, from_base64, parse_instant, to_base64
from zonegate.reasons import Reason

BUNDLE_MAX_BYTES = 32 << 20
VERSION_MAX = 1 << 53
FILE_NAME_MAX_CHARS = 200

_FORMAT = "zonegate-policy-bundle/1"


class _File(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    sm3: str
    text: str | None = None
    base64: str | None = None


class _Bundle(msgspec.Struct, forbid_unknown_fields=True):
    format: str
    net: str
    version: int
    notBefore: str  # noqa: N815 - the key as it is written
    notAfter: str  # noqa: N815
    files: list[_File]


@dataclass(frozen=True, slots=True)
class BundleContents:
    """What a bundle holds, its digests checked; who signed it is `verify`'s business."""

    net: Net
    version: int
    not_before: datetime
    not_after: datetime
    files: Mapping[str, bytes]
    digest: str


@dataclass(frozen=True, slots=True)
class InForce:
    """The highest version that a gateway has accepted, with its digest."""

    version: int
    digest: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle that may serve."""

    policy: Policy
    signers: tuple[Signer, ...]


def build(files: Mapping[str, bytes], *, version: int, not_before: datetime, not_after: datetime) -> bytes:
    """Return the bundle of these documents; they are compiled and self-tested first. Same input, same bytes."""
    if not 1 <= version <= VERSION_MAX:
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, f"version: found {version}, allowed are 1 to {VERSION_MAX}")
    begin, end = _whole_seconds(not_before), _whole_seconds(not_after)
    if begin >= end:
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, "validity: notAfter must be later than notBefore")
    for name in files:
        try:
            _check_name(name)
        except ValueError as exc:
            raise ZoneGateError(Reason.E_BUNDLE_FORMAT, str(exc)) from exc
    compiled = compile_documents(files, version=version, not_before=begin, not_after=end)
    self_test(compiled.policy, compiled.expectations)
    bundle = _Bundle(
        format=_FORMAT,
        net=compiled.policy.net.value,
        version=version,
        notBefore=begin.strftime(TIME_FORM),
        notAfter=end.strftime(TIME_FORM),
        files=[_pack(name, files[name]) for name in sorted(files)],
    )
    raw = encode(bundle)
    if len(raw) > BUNDLE_MAX_BYTES:
        msg = f"bundle: is {len(raw)} bytes, at most {BUNDLE_MAX_BYTES} are allowed"
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, msg)
    return raw


def _whole_seconds(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(microsecond=0)


def _check_name(name: str) -> str:
    """A name is shown to people and may become a path again, so it stays below its folder and holds nothing unseen."""
    parts = name.split("/")
    unseen = any(unicodedata.category(char).startswith("C") for char in name)
    if len(name) > FILE_NAME_MAX_CHARS or unseen or any(part in {"", ".", ".."} for part in parts):
        msg = f"files: {name[:FILE_NAME_MAX_CHARS]!r} is not a name below a folder of at most {FILE_NAME_MAX_CHARS}"
        raise ValueError(msg)
    return name


def _pack(name: str, content: bytes) -> _File:
    digest = sm3.hexdigest(content)
    if name.endswith(YAML_SUFFIXES):
        return _File(name=name, sm3=digest, text=content.decode())
    return _File(name=name, sm3=digest, base64=to_base64(content))


def read_bundle(raw: bytes) -> BundleContents:
    """Return what is in `raw`; `ZoneGateError(E_BUNDLE_FORMAT)` unless it is just what `build` would have written."""
    bundle = decode(raw, _Bundle, limit_bytes=BUNDLE_MAX_BYTES, what="bundle")
    try:
        return _contents(bundle, raw)
    except ValueError as exc:
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, f"bundle: {exc}") from exc


def _contents(bundle: _Bundle, raw: bytes) -> BundleContents:
    if bundle.format != _FORMAT:
        msg = f"format: found {bundle.format[:40]!r}, expected {_FORMAT}"
        raise ValueError(msg)
    if bundle.net not in set(Net):
        msg = f"net: found {bundle.net[:16]!r}, allowed are {', '.join(Net)}"
        raise ValueError(msg)
    if not 1 <= bundle.version <= VERSION_MAX:
        msg = f"version: allowed are 1 to {VERSION_MAX}"
        raise ValueError(msg)
    not_before, not_after = parse_instant(bundle.notBefore), parse_instant(bundle.notAfter)
    if not_before >= not_after:
        msg = "validity: notAfter must be later than notBefore"
        raise ValueError(msg)
    names = [_check_name(file.name) for file in bundle.files]
    if len(names) > DOCUMENTS_MAX or names != sorted(set(names)):
        msg = f"files: at most {DOCUMENTS_MAX}, each once, ordered by name"
        raise ValueError(msg)
    files = {file.name: _unpack(file) for file in bundle.files}
    return BundleContents(Net(bundle.net), bundle.version, not_before, not_after, files, sm3.hexdigest(raw))


def _unpack(file: _File) -> bytes:
    if (file.text is None) == (file.base64 is None) or (file.text is not None) != file.name.endswith(YAML_SUFFIXES):
        msg = f"files: {file.name[:64]!r} has either text, if it is YAML, or base64"
        raise ValueError(msg)
    content = file.text.encode() if file.text is not None else from_base64(file.base64 or "")
    if sm3.hexdigest(content) != file.sm3:
        msg = f"files: the SM3 digest of {file.name[:64]!r} is not the one stated"
        raise ValueError(msg)
    return content


def sign(bundle: bytes, chain: Sequence[Certificate], key: PrivateKey, *, now: datetime) -> bytes:
    """Return one officer's signature file over `bundle`, which is compiled and tested before it is signed."""
    contents = read_bundle(bundle)
    _compile(contents)
    return sign_digest(contents.digest, contents.net, chain, key, now=now)


def _compile(contents: BundleContents) -> Compiled:
    compiled = compile_documents(
        contents.files,
        version=contents.version,
        not_before=contents.not_before,
        not_after=contents.not_after,
        digest=contents.digest,
    )
    if compiled.policy.net is not contents.net:
        detail = f"net: the bundle says {contents.net}, its Net document {compiled.policy.net}"
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, detail)
    self_test(compiled.policy, compiled.expectations)
    return compiled


def compile_bundle(raw: bytes) -> Policy:
    """Return the policy of a bundle whose signatures nobody has looked at: for checking and explaining, not serving."""
    return _compile(read_bundle(raw)).policy


def verify(
    bundle: bytes,
    signatures: Sequence[bytes],
    *,
    anchors: TrustAnchors,
    now: datetime,
    crls: Sequence[Crl] = (),
    status: StatusRule = StatusRule.WHEN_GIVEN,
    in_force: InForce | None = None,
) -> Verified:
    """Return the policy if it may serve the net of `anchors` at `now`; otherwise the first refusal.

    Two different officers must have signed; the version must be above the one in force (or be that very bundle);
    `now` must lie within the validity; the self-test must pass.
    """
    if len(bundle) > BUNDLE_MAX_BYTES:
        msg = f"bundle: is {len(bundle)} bytes, at most {BUNDLE_MAX_BYTES} are allowed"
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, msg)
    signers = verify_signatures(sm3.hexdigest(bundle), signatures, anchors=anchors, now=now, crls=crls, status=status)
    contents = read_bundle(bundle)
    if contents.net is not anchors.net:
        detail = f"net: the bundle is for {contents.net}, this process serves {anchors.net}"
        raise ZoneGateError(Reason.E_BUNDLE_FORMAT, detail)
    _check_in_force(contents, in_force, now)
    return Verified(_compile(contents).policy, signers)


def _check_in_force(contents: BundleContents, in_force: InForce | None, now: datetime) -> None:
    if not contents.not_before <= now < contents.not_after:
        detail = (
            f"validity: version {contents.version} is valid from {contents.not_before.strftime(TIME_FORM)} "
            f"to {contents.not_after.strftime(TIME_FORM)}"
        )
        raise ZoneGateError(Reason.E_BUNDLE_EXPIRED, detail)
    if in_force is None or contents.version > in_force.version:
        return
    if contents.version < in_force.version:
        detail = f"version: found {contents.version}, version {in_force.version} has been in force here"
        raise ZoneGateError(Reason.E_BUNDLE_VERSION, detail)
    if contents.digest != in_force.digest:
        detail = f"version: another bundle with version {contents.version} has been in force here; raise the version"
        raise ZoneGateError(Reason.E_BUNDLE_VERSION, detail)
