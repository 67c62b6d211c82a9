"""Bundles: deterministic, canonical, two different officers, newer only, valid now, self-tested; else refused."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import NOON, FakeClock
from support.pki import TestNet, make_net
from support.policy import CIVIL, HUB, replaced, signed_bundle, with_documents
from zonegate.ca.names import SubjectName
from zonegate.ca.subscriber import build_request
from zonegate.errors import ProblemsError, ZoneGateError
from zonegate.gm import sm3
from zonegate.gm.sm2 import PrivateKey
from zonegate.identity import Identity, Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.policies.builtin import builtin_documents
from zonegate.policies.bundle import BUNDLE_MAX_BYTES, InForce, build, compile_bundle, read_bundle, sign, verify
from zonegate.policies.bundle_store import (
    BUNDLE_NAME,
    load_bundle,
    read_document_files,
    read_signature_files,
    read_state,
    write_bundle,
    write_signature,
    write_whole,
)
from zonegate.policies.officers import SIGNATURES_MAX, sign_digest
from zonegate.reasons import Reason

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
BEGIN, END = NOON - HOUR / 2, NOON + 30 * DAY
FILES = builtin_documents(Net.EXTRA)


@dataclass(frozen=True)
class Officers:
    """A net's CA and the people who sign, made once: issuing is the slow part."""

    extra: TestNet
    intra: TestNet
    zhao: Credential
    qian: Credential
    others: dict[str, Credential]


@pytest.fixture(scope="module")
def officers(tmp_path_factory: pytest.TempPathFactory) -> Officers:
    path = tmp_path_factory.mktemp("nets")
    extra = make_net(path / "extra", Net.EXTRA, FakeClock(NOON - HOUR))
    intra = make_net(path / "intra", Net.INTRA, FakeClock(NOON - HOUR))
    key = PrivateKey.generate()
    zhao = extra.issue(Profile.OFFICER, "zhao")
    others = {
        "zhao again": extra.issue(Profile.OFFICER, "zhao"),
        "zhao under another name": extra.issue(Profile.OFFICER, "zhao", organ_name="另一单位"),
        "zhao's name in another organ": extra.issue(Profile.OFFICER, "zhao", organ=CIVIL),
        "expired": extra.issue(Profile.OFFICER, "wu", not_after=NOON - DAY),
        "revoked": extra.issue(Profile.OFFICER, "zheng"),
        "system": extra.issue(Profile.SYSTEM, "relief"),
        "gateway": extra.issue(Profile.GATEWAY, "gateway"),
        "foreign": intra.issue(Profile.OFFICER, "sun"),
        "ends soon": extra.issue(Profile.OFFICER, "li", not_after=NOON + DAY),
        "one key": extra.issue(Profile.OFFICER, "zhou", key=key),
    }
    extra.revoke(others["revoked"].serial)
    extra.write_crl()
    loaded = {name: issued.load() for name, issued in others.items()}
    loaded["zhao in another unit"] = issued_to(
        extra, SubjectName("测试单位", "zhao", unit="二处"), extra.identity("zhao-of-unit-2")
    )
    return Officers(extra, intra, zhao.load(), extra.issue(Profile.OFFICER, "qian").load(), loaded)


def issued_to(net: TestNet, subject: SubjectName, identity: Identity) -> Credential:
    key = PrivateKey.generate()
    certificate = net.authority.issue(build_request(key, subject, identity), Profile.OFFICER, actor="test")
    return Credential((certificate, net.sub_ca), key)


def make(files: dict[str, bytes] = FILES, *, version: int = 3, begin: datetime = BEGIN, end: datetime = END) -> bytes:
    return build(files, version=version, not_before=begin, not_after=end)


BUNDLE = make()


def signature(bundle: bytes, officer: Credential, *, now: datetime = NOON) -> bytes:
    return sign(bundle, officer.chain, officer.key, now=now)


def refusal(act: Callable[[], object]) -> ZoneGateError:
    with pytest.raises(ZoneGateError) as caught:
        act()
    return caught.value


# --- the bundle's bytes


def test_same_documents_same_bytes() -> None:
    assert make(dict(reversed(FILES.items()))) == BUNDLE == make(begin=BEGIN + timedelta(microseconds=1))
    assert make(version=4) != BUNDLE
    contents = read_bundle(BUNDLE)
    assert contents.files == FILES
    assert (contents.net, contents.version, contents.not_before, contents.not_after) == (Net.EXTRA, 3, BEGIN, END)
    assert contents.digest == sm3.hexdigest(BUNDLE) == compile_bundle(BUNDLE).digest


def test_build_refuses_what_could_not_serve() -> None:
    assert refusal(lambda: make(begin=END, end=BEGIN)).reason is Reason.E_BUNDLE_FORMAT
    assert refusal(lambda: make(version=0)).reason is Reason.E_BUNDLE_FORMAT
    assert isinstance(refusal(lambda: make(with_documents("a: 1"))), ProblemsError)
    broken = replaced("expect: import\nreason: OK", "expect: deny\nreason: E_ZONE_RULE")
    failure = refusal(lambda: make(broken))
    assert failure.reason is Reason.E_BUNDLE_SELFTEST
    assert "figures-go-in-one-way" in failure.detail


def edited(change: Callable[[dict[str, object]], object]) -> bytes:
    value = json.loads(BUNDLE)
    change(value)
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def first_file(value: dict[str, object]) -> dict[str, object]:
    files = value["files"]
    assert isinstance(files, list)
    found = files[0]
    assert isinstance(found, dict)
    return found


MALFORMED = {
    "empty": b"",
    "not JSON": b"{",
    "a list": b"[]\n",
    "no newline": BUNDLE[:-1],
    "blanks": BUNDLE.replace(b'"version":3', b'"version": 3'),
    "key twice": BUNDLE.replace(b'"version":3', b'"version":3,"version":3'),
    "unknown key": edited(lambda value: value.update(extra=1)),
    "missing key": edited(lambda value: value.pop("net")),
    "version as text": edited(lambda value: value.update(version="3")),
    "version 0": edited(lambda value: value.update(version=0)),
    "huge version": edited(lambda value: value.update(version=1 << 60)),
    "unknown net": edited(lambda value: value.update(net="other")),
    "other format": edited(lambda value: value.update(format="zonegate-policy-bundle/2")),
    "no such day": edited(lambda value: value.update(notBefore="2030-02-30T00:00:00Z")),
    "other time form": edited(lambda value: value.update(notBefore="2030-1-1T00:00:00Z")),
    "ends before it begins": edited(lambda value: value.update(notAfter="2020-01-01T00:00:00Z")),
    "file twice": edited(lambda value: value.update(files=[first_file(value), first_file(value)])),
    "content changed": edited(lambda value: first_file(value).update(text="a: 1\n")),
    "content and base64": edited(lambda value: first_file(value).update(base64="")),
    "no content": edited(lambda value: first_file(value).pop("text")),
    "YAML in base64": edited(lambda value: first_file(value).update(base64=first_file(value).pop("text"))),
    "base64 with blanks": edited(lambda value: first_file(value).update(name="a.binpb", base64="YQ =", text=None)),
    "lone surrogate": BUNDLE.replace(b'"text":"# A', b'"text":"\\ud800# A'),
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED)
def test_only_the_canonical_bundle_is_read(raw: bytes) -> None:
    assert raw != BUNDLE
    assert refusal(lambda: read_bundle(raw)).reason is Reason.E_BUNDLE_FORMAT


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_a_bundle_or_e_bundle_format(data: st.DataObject) -> None:
    raw = data.draw(st.binary(max_size=100))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(BUNDLE) - 1))
        raw = BUNDLE[:at] + raw + BUNDLE[at + data.draw(st.integers(0, 40)) :]
    found, contents = None, None
    try:
        contents = read_bundle(raw)
    except ZoneGateError as exc:
        found = exc.reason
    assert found is (Reason.E_BUNDLE_FORMAT if contents is None else None)
    # What is read has one spelling, and another spelling is another digest, which no officer has signed.
    assert contents is None or (contents.digest == sm3.hexdigest(BUNDLE)) is (raw == BUNDLE)


BAD_NAMES = [
    "/a.yaml",
    "../a.yaml",
    "a/../b.yaml",
    "a//b.yaml",
    "./a.yaml",
    "a\n.yaml",
    "a\u202e.yaml",
    "a" * 196 + ".yaml",
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_file_names_stay_below_their_folder(name: str) -> None:
    assert refusal(lambda: make({**FILES, name: b"# nothing\n"})).reason is Reason.E_BUNDLE_FORMAT
    renamed = edited(lambda value: first_file(value).update(name=name))
    assert refusal(lambda: read_bundle(renamed)).reason is Reason.E_BUNDLE_FORMAT


def test_a_chinese_file_name_below_a_folder() -> None:
    bundle = make({**FILES, "区域/公安.yaml": b"# nothing\n"})
    assert "区域/公安.yaml" in read_bundle(bundle).files


# --- signatures


def test_two_officers_make_it_serve(officers: Officers) -> None:
    pair = [signature(BUNDLE, officers.zhao), signature(BUNDLE, officers.qian)]
    verified = verify(BUNDLE, pair, anchors=officers.extra.anchors(), now=NOON, crls=officers.extra.crls())
    assert (verified.policy.version, verified.policy.digest) == (3, sm3.hexdigest(BUNDLE))
    assert [signer.certificate for signer in verified.signers] == [officers.zhao.leaf, officers.qian.leaf]
    assert {signer.signed_at for signer in verified.signers} == {NOON}


def check(officers: Officers, signatures: list[bytes], **changes: object) -> ZoneGateError:
    arguments = {"anchors": officers.extra.anchors(), "now": NOON, "crls": officers.extra.crls(), **changes}
    return refusal(lambda: verify(BUNDLE, signatures, **arguments))  # type: ignore[arg-type]


NOT_TWO = {
    "no signature": [],
    "one signature": ["zhao"],
    "the same officer twice": ["zhao", "zhao"],
    "the same officer with a new certificate and key": ["zhao", "zhao again"],
    "one identity with two names": ["zhao", "zhao under another name"],
    "one name in two organs": ["zhao", "zhao's name in another organ"],
    "one name in two units, each with a URI and a key": ["zhao", "zhao in another unit"],
}


@pytest.mark.parametrize("names", NOT_TWO.values(), ids=NOT_TWO)
def test_one_person_is_not_two(officers: Officers, names: list[str]) -> None:
    people = {"zhao": officers.zhao, **officers.others}
    refused = check(officers, [signature(BUNDLE, people[name]) for name in names])
    assert refused.reason is Reason.E_BUNDLE_SIGNATURE
    assert "signatures" in refused.detail


def test_one_key_with_two_names_is_one_person(officers: Officers) -> None:
    """The CA refuses a key twice, so the second certificate comes from a CA whose ledger lost the first."""
    shared = officers.others["one key"]
    other = make_net_again(officers, shared.key)
    anchors = officers.extra.anchors()
    both = type(anchors)(anchors.net, (*anchors.roots, other[1]))
    pair = [signature(BUNDLE, shared), signature(BUNDLE, other[0])]
    refused = refusal(lambda: verify(BUNDLE, pair, anchors=both, now=NOON))
    assert refused.reason is Reason.E_BUNDLE_SIGNATURE
    assert "same key" in refused.detail


def make_net_again(officers: Officers, key: PrivateKey) -> tuple[Credential, object]:
    second = make_net(officers.extra.path.parent / "second", Net.EXTRA, FakeClock(NOON - HOUR))
    issued = second.issue(Profile.OFFICER, "feng", key=key)
    return issued.load(), second.root


WRONG_SIGNERS = {
    "expired": "E_CERT_EXPIRED",
    "revoked": "E_CERT_REVOKED",
    "foreign": "needed is an officer's certificate",
    "system": "needed is an officer's certificate",
    "gateway": "needed is an officer's certificate",
}


@pytest.mark.parametrize(("name", "says"), WRONG_SIGNERS.items(), ids=WRONG_SIGNERS)
def test_who_may_not_sign(officers: Officers, name: str, says: str) -> None:
    signer = officers.others[name]
    try:
        second = signature(BUNDLE, signer)
    except ZoneGateError as exc:
        # `sign` tells the officer already; a signature made without it is refused as well.
        assert exc.reason is Reason.E_BUNDLE_SIGNATURE
        second = forged(signature(BUNDLE, officers.qian), chain=[certificate.der for certificate in signer.chain])
    refused = check(officers, [signature(BUNDLE, officers.zhao), second])
    assert refused.reason is Reason.E_BUNDLE_SIGNATURE
    assert says in refused.detail
    assert "signature 2" in refused.detail


def forged(raw: bytes, *, chain: list[bytes] | None = None, **changes: object) -> bytes:
    value = json.loads(raw)
    if chain is not None:
        changes["chain"] = [base64.b64encode(der).decode() for der in chain]
    return json.dumps({**value, **changes}, separators=(",", ":")).encode() + b"\n"


def test_each_field_of_a_signature_counts(officers: Officers) -> None:
    good, second = signature(BUNDLE, officers.zhao), signature(BUNDLE, officers.qian)
    zhao_chain = [certificate.der for certificate in officers.zhao.chain]
    flipped = bytearray(base64.b64decode(json.loads(second)["signature"]))
    flipped[-1] ^= 1
    wrong = {
        "of another bundle": signature(make(version=4), officers.qian),
        "another digest stated": forged(second, bundle="00" * 32),
        "another time stated": forged(second, signedAt="2030-01-01T11:59:59Z"),
        "another signer's chain": forged(good, chain=[certificate.der for certificate in officers.qian.chain]),
        "one's own signature under another's chain": forged(second, chain=zhao_chain),
        "chain without the sub-CA": forged(second, chain=[officers.qian.leaf.der]),
        "signature changed": forged(second, signature=base64.b64encode(flipped).decode()),
        "signature empty": forged(second, signature=""),
        "signed in the future": signature(BUNDLE, officers.qian, now=NOON + timedelta(minutes=6)),
        "a certificate that is none": forged(second, chain=[b"x"]),
    }
    for name, raw in wrong.items():
        assert check(officers, [good, raw]).reason is Reason.E_BUNDLE_SIGNATURE, name
    for name, raw in {
        "of another format": forged(second, format="zonegate-policy-signature/2"),
        "half a base64 group": forged(second, signature="A"),
        "base64 with spare bits": forged(second, signature="AB=="),
        "too large": forged(second, signature="A" * (64 << 10)),
        "no chain": forged(second, chain=[]),
        "not canonical": second.replace(b'":"', b'": "'),
        "garbage": b"\x00\xff",
        "chain of five": forged(second, chain=[officers.qian.leaf.der] * 5),
    }.items():
        assert check(officers, [good, raw]).reason is Reason.E_BUNDLE_FORMAT, name
    late = verify(
        BUNDLE,
        [good, signature(BUNDLE, officers.qian, now=NOON + timedelta(minutes=4))],
        anchors=officers.extra.anchors(),
        now=NOON,
    )
    assert late.policy.version == 3


def test_a_third_bad_signature_spoils_two_good_ones(officers: Officers) -> None:
    pair = [signature(BUNDLE, officers.zhao), signature(BUNDLE, officers.qian)]
    assert check(officers, [*pair, forged(pair[0], bundle="00" * 32)]).reason is Reason.E_BUNDLE_SIGNATURE
    assert check(officers, pair * SIGNATURES_MAX).reason is Reason.E_BUNDLE_SIGNATURE


def test_the_other_net_does_not_take_it(officers: Officers) -> None:
    pair = [signature(BUNDLE, officers.zhao), signature(BUNDLE, officers.qian)]
    refused = check(officers, pair, anchors=officers.intra.anchors(), crls=())
    assert refused.reason is Reason.E_BUNDLE_SIGNATURE


def test_the_signer_cannot_sign_what_fails(officers: Officers) -> None:
    assert refusal(lambda: signature(b"{}", officers.zhao)).reason is Reason.E_BUNDLE_FORMAT


def test_the_stated_net_is_the_documents_net(officers: Officers) -> None:
    """A bundle says its net twice; two officers who sign a contradiction sign nothing."""
    lying = edited(lambda value: value.update(net="intra"))
    assert refusal(lambda: compile_bundle(lying)).reason is Reason.E_BUNDLE_FORMAT
    digest = sm3.hexdigest(lying)
    pair = [sign_digest(digest, Net.EXTRA, one.chain, one.key, now=NOON) for one in (officers.zhao, officers.qian)]
    refused = refusal(lambda: verify(lying, pair, anchors=officers.extra.anchors(), now=NOON))
    assert refused.reason is Reason.E_BUNDLE_FORMAT
    assert "this process serves extra" in refused.detail


def test_a_bundle_that_is_too_large(officers: Officers) -> None:
    huge = b" " * (BUNDLE_MAX_BYTES + 1)
    assert (
        refusal(lambda: verify(huge, [], anchors=officers.extra.anchors(), now=NOON)).reason is Reason.E_BUNDLE_FORMAT
    )
    assert refusal(lambda: read_bundle(huge)).reason is Reason.E_BUNDLE_FORMAT


# --- version and validity

VERSIONS = {
    "first ever": (None, None),
    "newer than the one in force": (InForce(2, "aa"), None),
    "the very bundle in force": (InForce(3, sm3.hexdigest(BUNDLE)), None),
    "another bundle with the version in force": (InForce(3, "aa"), Reason.E_BUNDLE_VERSION),
    "older": (InForce(4, "aa"), Reason.E_BUNDLE_VERSION),
}


@pytest.mark.parametrize(("in_force", "reason"), VERSIONS.values(), ids=VERSIONS)
def test_version(officers: Officers, in_force: InForce | None, reason: Reason | None) -> None:
    pair = [signature(BUNDLE, officers.zhao), signature(BUNDLE, officers.qian)]
    arguments = {"anchors": officers.extra.anchors(), "now": NOON, "in_force": in_force}
    if reason is None:
        assert verify(BUNDLE, pair, **arguments).policy.version == 3  # type: ignore[arg-type]
    else:
        refused = check(officers, pair, in_force=in_force)
        assert refused.reason is reason
        assert ("another bundle" in refused.detail) is (in_force is not None and in_force.version == 3)


JUST = timedelta(microseconds=1)
MOMENTS = {
    "at its first instant": (BEGIN, None),
    "an instant before": (BEGIN - JUST, Reason.E_BUNDLE_EXPIRED),
    "an instant before its end": (END - JUST, None),
    "at its end": (END, Reason.E_BUNDLE_EXPIRED),
}


@pytest.mark.parametrize(("now", "reason"), MOMENTS.values(), ids=MOMENTS)
def test_validity(officers: Officers, now: datetime, reason: Reason | None) -> None:
    pair = [signature(BUNDLE, officers.zhao, now=BEGIN), signature(BUNDLE, officers.qian, now=BEGIN)]
    if reason is None:
        assert verify(BUNDLE, pair, anchors=officers.extra.anchors(), now=now).policy
    else:
        assert check(officers, pair, now=now, crls=()).reason is reason


# --- on disk


def test_load_remembers_and_refuses_what_is_older(officers: Officers, tmp_path: Path) -> None:
    state, anchors = tmp_path / "state.json", officers.extra.anchors()

    def load(folder: Path) -> int:
        verified = load_bundle(folder, state=state, anchors=anchors, now=NOON, crls=officers.extra.crls())
        return verified.policy.version

    folders = {}
    for version in (1, 2):
        bundle = make(version=version)
        folders[version] = tmp_path / str(version)
        write_bundle(folders[version], bundle)
        for officer in (officers.zhao, officers.qian):
            write_signature(folders[version], signature(bundle, officer))
    assert read_state(state) is None
    assert load(folders[1]) == 1
    assert load(folders[1]) == 1
    assert load(folders[2]) == 2
    remembered = read_state(state)
    assert remembered is not None
    assert remembered.version == 2
    assert refusal(lambda: load(folders[1])).reason is Reason.E_BUNDLE_VERSION
    # A refused bundle leaves no trace, a damaged memory refuses everything.
    assert read_state(state) == remembered
    state.write_bytes(b"")
    assert refusal(lambda: load(folders[2])).reason is Reason.E_BUNDLE_VERSION


@pytest.mark.req("XZ-01")
def test_unsigned_never(officers: Officers, tmp_path: Path) -> None:
    write_bundle(tmp_path / "b", BUNDLE)

    def load() -> object:
        return load_bundle(tmp_path / "b", state=tmp_path / "s", anchors=officers.extra.anchors(), now=NOON)

    assert refusal(load).reason is Reason.E_BUNDLE_SIGNATURE
    write_signature(tmp_path / "b", signature(BUNDLE, officers.zhao))
    assert refusal(load).reason is Reason.E_BUNDLE_SIGNATURE
    assert not (tmp_path / "s").exists()
    write_signature(tmp_path / "b", signature(BUNDLE, officers.qian))
    assert load()
    (tmp_path / "b" / BUNDLE_NAME).unlink()
    assert refusal(load).reason is Reason.E_BUNDLE_FORMAT
    assert refusal(
        lambda: load_bundle(tmp_path / "none", state=tmp_path / "s", anchors=officers.extra.anchors(), now=NOON)
    )


def test_a_new_bundle_has_no_old_signatures(officers: Officers, tmp_path: Path) -> None:
    signed_bundle(tmp_path / "b", officers.extra)
    assert len(read_signature_files(tmp_path / "b")) == 2
    write_bundle(tmp_path / "b", BUNDLE)
    assert read_signature_files(tmp_path / "b") == []


def test_no_more_signatures_than_are_read(tmp_path: Path) -> None:
    for number in range(SIGNATURES_MAX):
        assert write_signature(tmp_path, b"x").name == f"bundle.sig.{number + 1}"
    assert refusal(lambda: write_signature(tmp_path, b"x")).reason is Reason.E_BUNDLE_SIGNATURE


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refusal(lambda: write_bundle(tmp_path / "file", BUNDLE)).reason is Reason.E_CONFIG
    assert refusal(lambda: write_signature(tmp_path / "none", b"x")).reason is Reason.E_CONFIG
    (tmp_path / "state").mkdir()
    assert refusal(lambda: write_whole(tmp_path / "state", b"x")).reason is Reason.E_CONFIG


def test_document_folders(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "deep").mkdir(exist_ok=True)
        (tmp_path / "deep" / name).write_bytes(content)
    for name in ("README.md", ".hidden.yaml", "deep/x.yaml~"):
        (tmp_path / name).write_text("x")
    assert read_document_files(tmp_path) == {f"deep/{name}": content for name, content in FILES.items()}
    assert refusal(lambda: read_document_files(tmp_path / "README.md")).reason is Reason.E_DOCUMENT
    (tmp_path / "big.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    assert refusal(lambda: read_document_files(tmp_path)).reason is Reason.E_DOCUMENT


def test_helpers_issue_what_they_say(officers: Officers) -> None:
    """Officers are people of an organ: the certificates that these tests rely on say so."""
    assert officers.zhao.leaf.profile is Profile.OFFICER
    assert officers.zhao.leaf.organ == HUB
    assert build_request(PrivateKey.generate(), SubjectName("x", "y"), officers.extra.identity("y"))
