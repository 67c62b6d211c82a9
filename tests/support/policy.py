"""Policies for tests: the shipped sets compiled, changed documents, and bundles signed by a test net's officers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from support.clock import NOON
from support.pki import TestNet
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.policies.builtin import builtin_documents
from zonegate.policies.bundle import build, sign
from zonegate.policies.bundle_store import write_bundle, write_signature
from zonegate.policies.compile import Compiled, compile_documents
from zonegate.policies.model import Policy

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
END = datetime(2045, 1, 1, tzinfo=UTC)

# Organs and systems of the shipped extranet set.
POLICE, CIVIL, CREDIT, HUB = "11100000990000025W", "11320000990100018D", "1210000099030001XT", "111000009900000172"
RELIEF = f"spiffe://extra/{CIVIL}/relief"
CREDIT_FRONT = f"spiffe://extra/{CREDIT}/credit"
POPULATION = f"spiffe://extra/{POLICE}/population"
NOTICES = f"spiffe://extra/{HUB}/notices"
COLLECTOR = f"spiffe://intra/{HUB}/statistics"
VERIFY = "/example.population.v1.Population/Verify"
LIST = "/example.population.v1.Population/List"
CLUE = "/example.clue.v1.Clue/Get"
NOTICE = "/example.notice.v1.Notice/Get"
SUBMIT = "/example.statistics.v1.Statistics/Submit"


def compile_sample(files: Mapping[str, bytes], *, version: int = 1) -> Compiled:
    return compile_documents(files, version=version, not_before=BEGIN, not_after=END, digest="00" * 32)


def sample_policy(net: Net = Net.EXTRA, *, version: int = 1) -> Policy:
    """Return the shipped policy of a net, valid 2025 to 2044."""
    return compile_sample(builtin_documents(net), version=version).policy


def with_documents(text: str, net: Net = Net.EXTRA) -> dict[str, bytes]:
    """Return the shipped documents of a net and more in YAML text."""
    return {**builtin_documents(net), "more.yaml": text.encode()}


def replaced(old: str, new: str, net: Net = Net.EXTRA) -> dict[str, bytes]:
    """Return the shipped documents of a net with the one place where `old` stands changed."""
    files = builtin_documents(net)
    name = f"{net.value}.yaml"
    text = files[name].decode()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return {**files, name: text.replace(old, new).encode()}


def signed_bundle(
    folder: Path,
    net: TestNet,
    files: Mapping[str, bytes] | None = None,
    *,
    version: int = 1,
    now: datetime = NOON,
    days: int = 365,
) -> Path:
    """Write into `folder` a bundle for `net` (a `support.pki.TestNet`), signed by two of its officers."""
    documents = builtin_documents(net.net) if files is None else files
    bundle = build(documents, version=version, not_before=now - timedelta(days=1), not_after=now + timedelta(days=days))
    write_bundle(folder, bundle)
    for name in ("officer-zhao", "officer-qian"):
        credential = net.issue(Profile.OFFICER, f"{name}-{version}").load()
        write_signature(folder, sign(bundle, credential.chain, credential.key, now=now))
    return folder
