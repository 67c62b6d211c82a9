"""Peer heads: kept when they agree, recorded as a conflict when a peer rewrites or truncates (witness rule)."""

import asyncio
import base64
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
    written,
)
from zonegate.clock import SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.heads import PeerHeads
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import PeerHeadRecord, decode, encode
from zonegate.gateway.evidence.seal import (
    HEAD_LIMIT_BYTES,
    SignedHead,
    Statement,
    encode_statement,
    message_of,
    read_head,
)
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.gm.sm2 import CERT_ID
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.credential import Credential
from zonegate.reasons import Reason

PEER = GATEWAY.replace("gw-shared", "gw-peer")


def statement(signer: Credential, /, **facts: object) -> Statement:
    known = {
        "chain": "ab" * 16,
        "gateway": PEER,
        "batch": 5,
        "first": 40,
        "last": 49,
        "root": "cd" * 32,
        "previous_root": "00" * 32,
        "chain_hash": "ef" * 32,
        "time": signer.leaf.not_before,
        "signer": signer.leaf.fingerprint,
    }
    return Statement(**(known | facts))


def signed(signer: Credential, made: Statement) -> bytes:
    text = encode_statement(made)
    signature = signer.key.sign(message_of(text), signer_id=CERT_ID)
    certificates = tuple(certificate.der for certificate in signer.chain)
    return SignedHead(statement=text, signature=signature, certificates=certificates).to_bytes()


@pytest.fixture
def heads(evidence_net: EvidenceNet) -> PeerHeads:
    return PeerHeads(evidence_net.anchors)


def test_first_and_later_heads_are_kept_and_the_same_is_not_written_twice(
    heads: PeerHeads, evidence_net: EvidenceNet
) -> None:
    signer = evidence_net.other
    first = signed(signer, statement(signer))
    record = heads.judge(first, now=NOW)
    assert record is not None
    assert (record.batch, record.records, record.gateway, record.conflict) == (5, 50, PEER, "")
    assert base64.b64decode(record.head) == first
    assert heads.judge(first, now=NOW) is None
    later = heads.judge(signed(signer, statement(signer, batch=9, first=80, last=89)), now=NOW)
    assert later is not None
    assert later.conflict == ""


CONFLICTS = {
    "an older batch": ({"batch": 4, "first": 30, "last": 39}, "older"),
    "fewer records in a later batch": ({"batch": 6, "first": 1, "last": 9}, "older"),
    "the same batch with another root": ({"root": "11" * 32}, "fork"),
    "another gateway speaks of the chain": ({"batch": 9, "last": 49, "first": 49, "gateway": GATEWAY}, ""),
    "the next batch on another root": ({"batch": 6, "first": 50, "last": 59, "previous_root": "22" * 32}, "fork"),
    "the next batch on the known root": ({"batch": 6, "first": 50, "last": 59, "previous_root": "cd" * 32}, ""),
    "another chain of the peer": ({"chain": "99" * 16, "batch": 1, "first": 0, "last": 0}, ""),
}


@pytest.mark.req("AU-02")
@pytest.mark.parametrize(("change", "conflict"), CONFLICTS.values(), ids=CONFLICTS)
def test_conflicts(heads: PeerHeads, evidence_net: EvidenceNet, change: dict[str, object], conflict: str) -> None:
    signer = evidence_net.other
    heads.judge(signed(signer, statement(signer)), now=NOW)
    record = heads.judge(signed(signer, statement(signer, **change)), now=NOW + timedelta(seconds=6))
    assert record is not None
    assert record.conflict == conflict


@pytest.mark.req("AU-02")
def test_a_head_that_was_overtaken_on_its_way_is_no_conflict(heads: PeerHeads, evidence_net: EvidenceNet) -> None:
    """Two connections, each with a head: the newer may arrive first. A head signed later is never overtaken."""
    signer = evidence_net.other
    older = {"batch": 4, "first": 30, "last": 39}
    heads.judge(signed(signer, statement(signer)), now=NOW)
    assert heads.judge(signed(signer, statement(signer, **older)), now=NOW + timedelta(seconds=5)) is None
    later = signer.leaf.not_before + timedelta(seconds=1)
    record = heads.judge(signed(signer, statement(signer, **older, time=later)), now=NOW)
    assert record is not None
    assert record.conflict == "older"


def test_who_may_sign_a_head(heads: PeerHeads, evidence_net: EvidenceNet, tmp_path: Path) -> None:
    signer = evidence_net.other
    system = evidence_net.net.issue(Profile.SYSTEM, "system-head").load()
    foreign = make_evidence_net(tmp_path, Net.INTRA).signer
    good = read_head(signed(signer, statement(signer)))[0]
    refused = {
        Reason.E_CERT_USAGE: signed(system, statement(system)),
        Reason.E_TRUST_DOMAIN: signed(foreign, statement(foreign)),
        Reason.E_IDENTITY: signed(signer, statement(signer, gateway="spiffe://extra/11100000990000025W/gw")),
        Reason.E_SIGNATURE: msgspec.structs.replace(
            good, statement=good.statement.replace('"batch":5', '"batch":6')
        ).to_bytes(),
    }
    for reason, data in refused.items():
        with pytest.raises(ZoneGateError) as caught:
            heads.judge(data, now=NOW)
        assert caught.value.reason is reason
    with pytest.raises(ZoneGateError, match="names another certificate"):
        heads.judge(signed(signer, statement(signer, signer="77" * 32)), now=NOW)


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: ('{"kind":"head",' + text).encode()))
def test_any_bytes_are_a_head_or_one_named_error(data: bytes) -> None:
    with pytest.raises(ZoneGateError) as caught:
        PeerHeads(None).judge(data, now=NOW)
    assert caught.value.reason is Reason.E_EVIDENCE_BROKEN


@pytest.mark.parametrize("head", ["e", "=", "bm90IGEgaGVhZA==", "头"])
def test_a_kept_head_that_is_none_is_one_named_error(head: str) -> None:
    with pytest.raises(ZoneGateError, match="E_EVIDENCE_BROKEN"):
        PeerHeads(None).remember(head, now=NOW)


def test_a_head_is_bounded() -> None:
    with pytest.raises(ZoneGateError, match="at most"):
        read_head(b" " * (HEAD_LIMIT_BYTES + 1))


def test_the_largest_head_makes_a_record_that_can_be_read(heads: PeerHeads, evidence_net: EvidenceNet) -> None:
    head = signed(evidence_net.signer, statement(evidence_net.signer)).ljust(HEAD_LIMIT_BYTES)
    record = heads.judge(head, now=NOW)
    assert record is not None
    assert decode(encode(record)) == record


def test_memory_of_peers_is_bounded(evidence_net: EvidenceNet) -> None:
    heads = PeerHeads(None)
    signer = evidence_net.other
    for number in range(300):
        at = NOW + timedelta(seconds=number)
        heads.judge(signed(signer, statement(signer, chain=f"{number:032x}")), now=at)
    assert len(heads._newest) == 256  # the bound is private: no other way to see it


def test_heads_beyond_one_a_second_and_peer_are_not_looked_at(evidence_net: EvidenceNet) -> None:
    heads = PeerHeads(None)
    signer = evidence_net.other
    known = signed(signer, statement(signer))
    for _ in range(256):
        heads.judge(known, now=NOW)
    assert heads.judge(b"not even a head", now=NOW) is None
    later = heads.judge(signed(signer, statement(signer, batch=9, first=80, last=89)), now=NOW + timedelta(seconds=1))
    assert later is not None


@pytest.mark.req("AU-02")
def test_two_gateways_keep_each_others_heads_and_one_is_convicted(tmp_path: Path, evidence_net: EvidenceNet) -> None:
    """Gateway B's evidence convicts A when A's chain is cut, through `verify` with B as the witness."""

    async def main(loop: asyncio.AbstractEventLoop) -> None:
        one = open_log(tmp_path / "a", evidence_net.signer, loop, anchors=evidence_net.anchors)
        two = open_log(tmp_path / "b", evidence_net.other, loop, gateway=PEER, anchors=evidence_net.anchors)
        for number in range(3):
            assert await written(one, decision(f"c{number}"), outcome(f"c{number}")) == [None, None]
            async with asyncio.timeout(20):
                while one.head() is None or one.head().read().last < 2 * number + 2:
                    await asyncio.sleep(0.001)
            heads.append(one.head().to_bytes())
            two.keep_peer_head(heads[-1])
        two.close()
        one.close()
        # Restarted, and with a clock that has gone on, B still knows what it has witnessed.
        clock = FakeClock(SystemClock().now() + timedelta(minutes=1))
        two = open_log(
            tmp_path / "b", evidence_net.other, loop, gateway=PEER, anchors=evidence_net.anchors, clock=clock
        )
        two.keep_peer_head(heads[2])
        clock.advance(60)
        with pytest.raises(ZoneGateError, match="contradicts"):
            two.keep_peer_head(heads[0])
        assert two.stats.peer_conflicts == 1
        two.close()

    heads: list[bytes] = []

    run(main)
    kept = [r.record for r in read_records(tmp_path / "b") if isinstance(r.record, PeerHeadRecord)]
    assert [record.conflict for record in kept] == ["", "", "", "older"]
    newest = read_head(base64.b64decode(kept[2].head))[0]
    trust = Trust(evidence_net.anchors, heads=(newest,))
    assert verify_directory(tmp_path / "a", trust).confirmed == newest.read().batch
    notes = verify_directory(tmp_path / "b", Trust(evidence_net.anchors)).notes
    assert any("contradicts an earlier one (older)" in note for note in notes)
