"""The offline verifier on real chains: every tampering is found and the first record named (AU-02)."""

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from support.clock import FakeClock
from support.evidence import (
    GATEWAY,
    NOW,
    EvidenceNet,
    decision,
    make_evidence_net,
    open_log,
    outcome,
    run,
    verify_directory,
    write_chain,
    written,
)
from support.evidence_tamper import (
    RECORD,
    SEAL,
    RawEntry,
    RawSegment,
    merkle_tree_hash,
    read_chain,
    rechain,
    resign,
    sm3,
    walk,
    write_chain_back,
)
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.reader import newest_head
from zonegate.gateway.evidence.seal import SignedHead
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.gateway.evidence.second_opinion import load as load_second_opinion
from zonegate.gateway.evidence.segment import BrokenEvidenceError
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason


@dataclass(frozen=True)
class Chain:
    directory: Path
    net: EvidenceNet
    head: SignedHead

    def trust(self, **facts: object) -> Trust:
        return Trust(self.net.anchors, **facts)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, evidence_net: EvidenceNet) -> Chain:
    """Two process lives, three batches of crossings each: c0..c2 in segment 1, c3..c5 in segment 2."""
    directory = tmp_path_factory.mktemp("chain") / "evidence"
    for life in range(2):
        crossings = [f"c{number}" for number in range(life * 3, life * 3 + 3)]
        batches = [[decision(crossing), outcome(crossing), decision(f"{crossing}b")] for crossing in crossings]
        closing = [outcome(f"{crossing}b") for crossing in crossings]
        write_chain(directory, evidence_net.signer, [*batches, closing])
    head = newest_head(directory)
    assert head is not None
    return Chain(directory, evidence_net, head)


@pytest.fixture
def chain(original: Chain, tmp_path: Path) -> Chain:
    copy = tmp_path / "evidence"
    shutil.copytree(original.directory, copy)
    return Chain(copy, original.net, original.head)


def find(segments: list[RawSegment], crossing: str, kind: str = "decision") -> tuple[RawSegment, int]:
    for segment in segments:
        for at, entry in enumerate(segment.entries):
            if entry.type == RECORD and entry.fields().get("crossing") == crossing and entry.fields()["kind"] == kind:
                return segment, at
    raise AssertionError(crossing)


def position(directory: Path, crossing: str, kind: str = "decision") -> int:
    records = [entry for entry in walk(read_chain(directory)) if entry.type == RECORD]
    for index, entry in enumerate(records):
        if entry.fields().get("crossing") == crossing and entry.fields()["kind"] == kind:
            return index
    raise AssertionError(crossing)


def edit(segments: list[RawSegment]) -> None:
    segment, at = find(segments, "c1")
    entry = segment.entries[at]
    entry.payload = entry.payload.replace(b"credit-front", b"credit-other")


def delete(segments: list[RawSegment]) -> None:
    segment, at = find(segments, "c1")
    del segment.entries[at]


def swap(segments: list[RawSegment]) -> None:
    segment, at = find(segments, "c1")
    segment.entries[at], segment.entries[at + 1] = segment.entries[at + 1], segment.entries[at]


def insert(segments: list[RawSegment]) -> None:
    segment, at = find(segments, "c1")
    copied = segment.entries[at]
    forged = RawEntry(copied.byte, copied.payload.replace(b'"c1"', b'"cX"'), copied.chain)
    segment.entries.insert(at, forged)


def move_to_other_segment(segments: list[RawSegment]) -> None:
    segment, at = find(segments, "c1")
    segments[1].entries.insert(1, segment.entries.pop(at))


# What is wrong at the place of c1's decision, and what stands there then.
IN_PLACE = {
    "edited": (edit, "c1"),
    "deleted": (delete, "c1"),
    "reordered": (swap, "c1"),
    "inserted": (insert, "cX"),
    "moved": (move_to_other_segment, "c1"),
}


@pytest.mark.req("AU-02")
def test_untouched_chain_verifies_and_says_what_is_not_certain(chain: Chain) -> None:
    seen = []
    report = verify_directory(chain.directory, chain.trust(), visit=seen.append)
    assert (report.gateway, report.segments, report.unsealed, report.orderly) == (GATEWAY, 2, 0, True)
    assert (
        report.records
        == report.sealed
        == len(seen)
        == len([e for e in walk(read_chain(chain.directory)) if e.type == RECORD])
    )
    assert report.notes == []
    assert "later truncation not excluded" in report.complete_to
    with_head = verify_directory(chain.directory, chain.trust(heads=(chain.head,)))
    assert (with_head.heads, with_head.confirmed) == (1, with_head.batches)


@pytest.mark.req("AU-02")
def test_second_implementation_agrees_on_hashes_roots_and_signatures(chain: Chain) -> None:
    chain_hash, unsealed, root, index = bytes(32), [], "00" * 32, 0
    for entry in walk(read_chain(chain.directory)):
        chain_hash = sm3(chain_hash + bytes([entry.byte]) + entry.payload)
        assert entry.chain == chain_hash
        if entry.type == RECORD:
            unsealed.append(chain_hash)
            index += 1
        elif entry.type == SEAL:
            statement = json.loads(entry.fields()["statement"])
            batch, unsealed = (
                unsealed[: statement["last"] - statement["first"] + 1],
                unsealed[statement["last"] - statement["first"] + 1 :],
            )
            assert statement["root"] == merkle_tree_hash(batch).hex()
            assert statement["previous_root"] == root
            root = statement["root"]
    assert not unsealed
    report = verify_directory(chain.directory, chain.trust(second_opinion=load_second_opinion()))
    assert report.second_opinions == report.batches


@pytest.mark.req("AU-02")
@pytest.mark.parametrize(("tamper", "there"), IN_PLACE.values(), ids=IN_PLACE)
def test_tampered_bytes_are_named(chain: Chain, tamper: Callable[[list[RawSegment]], None], there: str) -> None:
    place = position(chain.directory, "c1")
    segments = read_chain(chain.directory)
    tamper(segments)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError) as caught:
        verify_directory(chain.directory, chain.trust())
    assert (caught.value.file, caught.value.index) == ("segment-00000001.zge", place)
    if tamper in (edit, insert):
        assert (caught.value.kind, caught.value.crossing) == ("decision", there)
    assert caught.value.reason is Reason.E_EVIDENCE_BROKEN


@pytest.mark.req("AU-02")
@pytest.mark.parametrize(("tamper", "there"), IN_PLACE.values(), ids=IN_PLACE)
def test_tampered_and_hashed_anew_is_named(
    chain: Chain, tamper: Callable[[list[RawSegment]], None], there: str
) -> None:
    place = position(chain.directory, "c1")
    segments = read_chain(chain.directory)
    tamper(segments)
    rechain(segments)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError) as caught:
        verify_directory(chain.directory, chain.trust())
    assert (caught.value.file, caught.value.index) == ("segment-00000001.zge", place)
    if tamper in (edit, insert):
        assert caught.value.crossing == there


@pytest.mark.req("AU-02")
def test_every_single_flipped_byte_is_found(chain: Chain) -> None:
    """With the head no byte of a chain that ended in order can change unnoticed, wherever it stands."""
    path = chain.directory / "segment-00000002.zge"
    data = path.read_bytes()
    for at in range(0, len(data), 97):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :])
        with pytest.raises(BrokenEvidenceError):
            verify_directory(chain.directory, chain.trust(heads=(chain.head,)))


def drop(name: str) -> Callable[[Chain], None]:
    return lambda chain: (chain.directory / name).unlink()


def cut_entries(count: int) -> Callable[[Chain], None]:
    def cut(chain: Chain) -> None:
        segments = read_chain(chain.directory)
        del segments[-1].entries[-count:]
        write_chain_back(segments)

    return cut


def cut_bytes(count: int) -> Callable[[Chain], None]:
    def cut(chain: Chain) -> None:
        path = chain.directory / "segment-00000002.zge"
        path.write_bytes(path.read_bytes()[:-count])

    return cut


CUTS = {
    "whole last segment": drop("segment-00000002.zge"),
    "the last seal": cut_entries(1),
    "the last batch": cut_entries(2),
    "several batches": cut_entries(6),
    "half an entry": cut_bytes(40),
}


@pytest.mark.req("AU-02")
@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)
def test_truncated_chain_is_found_with_a_head_only(chain: Chain, cut: Callable[[Chain], None]) -> None:
    cut(chain)
    assert "later truncation not excluded" in verify_directory(chain.directory, chain.trust()).complete_to
    with pytest.raises(BrokenEvidenceError, match="truncated"):
        verify_directory(chain.directory, chain.trust(heads=(chain.head,)))


def test_a_removed_first_segment_is_found(chain: Chain) -> None:
    drop("segment-00000001.zge")(chain)
    with pytest.raises(BrokenEvidenceError, match="segment 1 is missing"):
        verify_directory(chain.directory, chain.trust())


def test_a_removed_middle_segment_is_found(chain: Chain) -> None:
    write_chain(chain.directory, chain.net.signer, [[decision("c9")]])
    drop("segment-00000002.zge")(chain)
    with pytest.raises(BrokenEvidenceError, match="segment 2 is missing"):
        verify_directory(chain.directory, chain.trust())


def test_an_archived_beginning_is_accepted_only_when_named(chain: Chain) -> None:
    drop("segment-00000001.zge")(chain)
    report = verify_directory(chain.directory, chain.trust(first_segment=2, heads=(chain.head,)))
    assert report.segments == 1
    assert any("before it is not verified" in note for note in report.notes)
    segments = read_chain(chain.directory)
    segment, at = find(segments, "c4")
    segment.entries[at].payload = segment.entries[at].payload.replace(b"credit-front", b"credit-other")
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError):
        verify_directory(chain.directory, chain.trust(first_segment=2))


def test_a_middle_segment_cut_short_is_found(chain: Chain) -> None:
    path = chain.directory / "segment-00000001.zge"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenEvidenceError, match="cut short"):
        verify_directory(chain.directory, chain.trust())


def test_bytes_hidden_behind_a_middle_segment_are_found(chain: Chain) -> None:
    """A crash may leave a torn write behind, but a process that wrote its stop record wrote nothing after it."""
    path = chain.directory / "segment-00000001.zge"
    path.write_bytes(path.read_bytes() + b"hidden")
    with pytest.raises(BrokenEvidenceError, match="6 bytes behind its end"):
        verify_directory(chain.directory, chain.trust())


def test_a_seal_removed_and_hashed_anew_is_found(chain: Chain) -> None:
    segments = read_chain(chain.directory)
    at = next(at for at, entry in enumerate(segments[0].entries) if entry.type == SEAL)
    del segments[0].entries[at]
    rechain(segments)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError, match="batch is 2, expected is 1"):
        verify_directory(chain.directory, chain.trust())


def change_seal(field: str, change: Callable[[str], str]) -> Callable[[list[RawSegment]], None]:
    def apply(segments: list[RawSegment]) -> None:
        entry = next(entry for entry in walk(segments) if entry.type == SEAL)
        seal = entry.fields()
        seal[field] = change(seal[field])
        entry.payload = json.dumps(seal, separators=(",", ":")).encode()

    return apply


SEAL_CHANGES = {
    "time": change_seal("statement", lambda text: text.replace('"time":"2', '"time":"1')),
    "root": change_seal("statement", lambda text: text.replace('"root":"', '"root":"00')[:-2]),
    "signer": change_seal("statement", lambda text: json.dumps(json.loads(text) | {"signer": "ab" * 32})),
    "chain": change_seal("statement", lambda text: json.dumps(json.loads(text) | {"chain": "ab" * 16})),
    "gateway": change_seal("statement", lambda text: text.replace("gw-shared", "gw-forged")),
    "too many records": change_seal("statement", lambda text: json.dumps(json.loads(text) | {"last": 9_999})),
    "unknown field": change_seal("statement", lambda text: json.dumps(json.loads(text) | {"extra": 1})),
    "signature": change_seal("signature", lambda _: "MAYCAQECAQE="),
}


@pytest.mark.req("AU-02")
@pytest.mark.parametrize("change", SEAL_CHANGES.values(), ids=SEAL_CHANGES)
def test_a_changed_seal_is_found(chain: Chain, change: Callable[[list[RawSegment]], None]) -> None:
    segments = read_chain(chain.directory)
    change(segments)
    rechain(segments)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError):
        verify_directory(chain.directory, chain.trust())


def test_wrong_hints_do_not_hide_or_invent_anything(chain: Chain) -> None:
    """Hints only help to name the record; a chain with other hints is a chain that was hashed anew, and found so."""
    segments = read_chain(chain.directory)
    change_seal("hints", lambda text: "0" * len(text))(segments)
    rechain(segments)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError):
        verify_directory(chain.directory, chain.trust())


@pytest.mark.req("AU-02")
def test_resigned_by_another_key(chain: Chain, tmp_path: Path) -> None:
    """A whole chain rewritten and signed anew: who may sign decides, and for an insider the head kept elsewhere."""
    issued = chain.net.net.issue(Profile.GATEWAY, "gw-forger").load()
    system = chain.net.net.issue(Profile.SYSTEM, "system-forger").load()
    foreign = make_evidence_net(tmp_path / "foreign", Net.INTRA).signer
    lone = PrivateKey.generate()
    insider = chain.net.other
    elsewhere = chain.net.net.issue(Profile.EVIDENCE, "gw-shared-evidence", organ="11100000990000025W").load()
    original = chain.net.signer
    forgers = {
        "gateway certificate": (issued.key, issued.chain, Reason.E_CERT_USAGE),
        "system certificate": (system.key, system.chain, Reason.E_CERT_USAGE),
        "other net": (foreign.key, foreign.chain, Reason.E_TRUST_DOMAIN),
        "other organ": (elsewhere.key, elsewhere.chain, Reason.E_IDENTITY),
        "stolen certificate without its key": (lone, original.chain, Reason.E_SIGNATURE),
    }
    for name, (key, certificates, reason) in forgers.items():
        segments = read_chain(chain.directory)
        edit(segments) if name != "stolen certificate without its key" else None
        resign(segments, lambda message, key=key: key.sign(message, signer_id=CERT_ID), [c.der for c in certificates])
        write_chain_back(segments)
        with pytest.raises(BrokenEvidenceError, match=reason) as caught:
            verify_directory(chain.directory, chain.trust())
        assert caught.value.file == "segment-00000001.zge", name
    segments = read_chain(chain.directory)
    resign(segments, lambda message: insider.key.sign(message, signer_id=CERT_ID), [c.der for c in insider.chain])
    write_chain_back(segments)
    rewritten = verify_directory(chain.directory, chain.trust())
    assert rewritten.signers == [str(insider.identity)]
    with pytest.raises(BrokenEvidenceError, match="expected is"):
        verify_directory(chain.directory, chain.trust(signer=str(original.identity)))
    with pytest.raises(BrokenEvidenceError, match="rewritten"):
        verify_directory(chain.directory, chain.trust(heads=(chain.head,)))


def test_second_signer_within_one_chain_is_found(chain: Chain) -> None:
    other, segments = chain.net.other, read_chain(chain.directory)
    resign(segments, lambda text: other.key.sign(text, signer_id=CERT_ID), [c.der for c in other.chain], first=1)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError, match="is signed by"):
        verify_directory(chain.directory, chain.trust())


def test_a_head_of_another_chain_is_refused(chain: Chain, tmp_path: Path) -> None:
    write_chain(tmp_path / "other", chain.net.signer, [[decision("x")]])
    head = newest_head(tmp_path / "other")
    assert head is not None
    with pytest.raises(BrokenEvidenceError, match="another chain"):
        verify_directory(chain.directory, chain.trust(heads=(head,)))


@pytest.mark.req("AU-02")
def test_another_gateway_cannot_convict_a_chain(chain: Chain) -> None:
    """A gateway may sign heads of its own; one that names a peer's chain says nothing of that chain."""
    text = chain.head.statement.replace("gw-shared", "gw-other").replace('"batch":', '"batch":9')
    signer = chain.net.other
    text = text.replace(chain.head.read().signer, signer.leaf.fingerprint)
    signature = signer.key.sign(b"zonegate evidence seal v1\x00" + text.encode(), signer_id=CERT_ID)
    slander = SignedHead(
        statement=text, signature=signature, certificates=tuple(certificate.der for certificate in signer.chain)
    )
    with pytest.raises(BrokenEvidenceError, match="the evidence is another chain"):
        verify_directory(chain.directory, chain.trust(heads=(slander,)))


def test_a_forged_head_proves_nothing(chain: Chain) -> None:
    key = PrivateKey.generate()
    statement = chain.head.statement.replace('"batch":', '"batch":9')
    forged = SignedHead(
        statement=statement,
        signature=key.sign(b"zonegate evidence seal v1\x00" + statement.encode(), signer_id=CERT_ID),
        certificates=chain.head.certificates,
    )
    with pytest.raises(ZoneGateError, match="E_SIGNATURE"):
        verify_directory(chain.directory, chain.trust(heads=(forged,)))


@pytest.mark.req("AU-02")
def test_a_chain_without_any_seal_proves_nothing(chain: Chain) -> None:
    """Forged from nothing but a certificate that everybody may read: every hash is right, nothing is signed."""
    segments = read_chain(chain.directory)
    for segment in segments:
        segment.entries = [entry for entry in segment.entries if entry.type != SEAL]
    edit(segments)
    rechain(segments)
    write_chain_back(segments)
    with pytest.raises(BrokenEvidenceError, match="nothing is sealed"):
        verify_directory(chain.directory, chain.trust())
    with pytest.raises(BrokenEvidenceError, match="truncated"):
        verify_directory(chain.directory, chain.trust(heads=(chain.head,)))


def test_what_a_restart_sealed_and_a_clock_that_ran_back_are_told(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    net = make_evidence_net(tmp_path / "net", clock=clock)

    def life(crossing: str) -> None:
        async def main(loop: asyncio.AbstractEventLoop) -> None:
            log = open_log(tmp_path / "evidence", net.signer, loop, clock=clock)
            assert await written(log, decision(crossing)) == [None]
            log.close()

        run(main)

    clock.advance(3600)
    life("a")
    segments = read_chain(tmp_path / "evidence")
    del segments[0].entries[-1]
    write_chain_back(segments)
    clock.set_wall(NOW)
    life("b")
    clock.set_wall(NOW - timedelta(minutes=1))
    life("c")
    notes = "; ".join(verify_directory(tmp_path / "evidence", Trust(net.anchors)).notes)
    assert "records sealed after the restart" in notes
    assert "the clock ran back at batch" in notes


def test_no_segment_at_all(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    with pytest.raises(BrokenEvidenceError, match="no segment"):
        verify_directory(tmp_path, Trust(evidence_net.anchors))


def test_revoked_signer(tmp_path: Path) -> None:
    """Seals of before the revocation stand, with a note; one dated after it does not."""
    clock = FakeClock(NOW)
    net = make_evidence_net(tmp_path / "net", clock=clock)
    clock.advance(3600)

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path / "evidence", net.signer, loop, clock=clock)
        assert await written(log, decision("before")) == [None]
        log.close()

    run(main)
    clock.advance(3600)
    net.net.revoke(net.signer.leaf.serial)
    net.net.write_crl()
    trust = Trust(net.anchors, crls=net.net.crls())
    notes = verify_directory(tmp_path / "evidence", trust).notes
    assert any("is revoked since" in note for note in notes)
    clock.advance(3600)

    async def after(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path / "evidence", net.signer, loop, clock=clock)
        assert await written(log, decision("after")) == [None]
        log.close()

    run(after)
    with pytest.raises(BrokenEvidenceError, match="E_CERT_REVOKED"):
        verify_directory(tmp_path / "evidence", trust)


def test_a_renewed_certificate_continues_the_chain(chain: Chain) -> None:
    renewed = chain.net.net.issue(Profile.EVIDENCE, "gw-shared-evidence").load()
    write_chain(chain.directory, renewed, [[decision("c9"), outcome("c9")]])
    report = verify_directory(chain.directory, chain.trust(heads=(chain.head,)))
    assert report.segments == 3
    assert report.signers == [str(renewed.identity)]


def test_seals_are_judged_at_their_own_time(tmp_path: Path) -> None:
    """Evidence outlives the certificate: a seal made while it was valid stays good."""
    clock = FakeClock(NOW)
    net = make_evidence_net(tmp_path / "net", clock=clock)
    short = net.net.issue(Profile.EVIDENCE, "gw-short-evidence", days=1).load()

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(tmp_path / "evidence", short, loop, clock=clock)
        assert await written(log, decision("early")) == [None]
        log.close()

    run(main)
    clock.advance(timedelta(days=30).total_seconds())
    assert verify_directory(tmp_path / "evidence", Trust(net.anchors)).unsealed == 0
