"""Merkle trees, statements and inclusion proofs, against the text of RFC 6962 and a second SM3."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.evidence import EvidenceNet, decision, make_evidence_net, outcome, write_chain
from support.evidence_tamper import merkle_tree_hash
from zonegate.errors import ZoneGateError
from zonegate.gateway.evidence.proof import PROOF_LIMIT_BYTES, check_proof, encode_proof
from zonegate.gateway.evidence.reader import newest_head, prove_crossing
from zonegate.gateway.evidence.records import DecisionRecord
from zonegate.gateway.evidence.seal import (
    BATCH_LIMIT,
    inclusion_path,
    merkle_root,
    read_seal,
    read_statement,
    root_of_path,
)
from zonegate.gateway.evidence.segment import BrokenEvidenceError
from zonegate.gm import sm3
from zonegate.identity import Net
from zonegate.reasons import Reason

leaves = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


@pytest.mark.req("AU-02")
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 100])
def test_root_is_the_merkle_tree_hash_of_rfc_6962_with_sm3(size: int) -> None:
    chains = [sm3.digest(bytes([number])) for number in range(size)]
    assert merkle_root(chains) == merkle_tree_hash(chains)


@settings(max_examples=100)
@given(leaves, st.data())
def test_every_path_leads_to_the_root(chains: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(chains) - 1))
    path = inclusion_path(chains, at)
    assert root_of_path(chains[at], path) == merkle_root(chains)
    assert root_of_path(bytes(32), path) != merkle_root(chains) or chains[at] == bytes(32)


def test_an_empty_batch_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        merkle_root([])


@settings(max_examples=150)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: ('{"kind":"seal",' + text).encode()))
def test_any_bytes_are_a_seal_or_one_named_error(data: bytes) -> None:
    with pytest.raises(ZoneGateError) as caught:
        read_seal(data)
    assert caught.value.reason is Reason.E_EVIDENCE_BROKEN


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 0},
        {"last": 0, "first": 1},
        {"last": BATCH_LIMIT, "first": 0},
        {"root": "xyz"},
        {"chain": ""},
        {"x": 1},
    ],
    ids=str,
)
def test_impossible_statements_are_refused(
    tmp_path: Path, evidence_net: EvidenceNet, change: dict[str, object]
) -> None:
    write_chain(tmp_path, evidence_net.signer, [[decision("c")]])
    head = newest_head(tmp_path)
    assert head is not None
    fields = json.loads(head.statement)
    assert read_statement(json.dumps(fields)) == head.read()
    with pytest.raises(ZoneGateError):
        read_statement(json.dumps(fields | change))


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory, evidence_net: EvidenceNet) -> list[bytes]:
    directory = tmp_path_factory.mktemp("proofs")
    batch = [decision(f"c{number}") for number in range(9)] + [outcome(f"c{number}") for number in range(9)]
    write_chain(directory, evidence_net.signer, [batch[:7], batch[7:]])
    found = [encode_proof(proof) for proof in prove_crossing(directory, "c5")]
    assert len(found) == 2
    assert prove_crossing(directory, "unknown") == []
    return found


def test_a_proof_stands_alone(proofs: list[bytes], evidence_net: EvidenceNet) -> None:
    record, statement = check_proof(proofs[0], evidence_net.anchors)
    assert isinstance(record, DecisionRecord)
    assert record.crossing == "c5"
    assert statement.first <= 6 <= statement.last


def change(proof: bytes, **facts: object) -> bytes:
    return json.dumps(json.loads(proof) | facts).encode()


PROOF_CHANGES = {
    "another record": lambda proof: proof.replace(b"c5", b"c6"),
    "another place": lambda proof: change(proof, index=json.loads(proof)["index"] + 1),
    "outside the batch": lambda proof: change(proof, index=10_000),
    "another predecessor": lambda proof: change(proof, previous="00" * 32),
    "another type": lambda proof: change(proof, type=3),
    "the group flag": lambda proof: change(proof, type=json.loads(proof)["type"] ^ 0x80),
    "a shorter path": lambda proof: change(proof, path=json.loads(proof)["path"][:-1]),
    "another sibling": lambda proof: change(
        proof, path=[{"side": s["side"], "hash": "00" * 32} for s in json.loads(proof)["path"]]
    ),
    "a deeper path": lambda proof: change(proof, path=json.loads(proof)["path"] * 9),
    "no json": lambda proof: proof[:-1],
    "too large": lambda proof: proof + b" " * PROOF_LIMIT_BYTES,
    "no record": lambda proof: change(proof, record="{}"),
}


@pytest.mark.req("AU-02")
@pytest.mark.parametrize("forge", PROOF_CHANGES.values(), ids=PROOF_CHANGES)
def test_a_changed_proof_does_not_hold(proofs: list[bytes], evidence_net: EvidenceNet, forge: object) -> None:
    with pytest.raises(ZoneGateError) as caught:
        check_proof(forge(proofs[0]), evidence_net.anchors)
    assert caught.value.reason is Reason.E_EVIDENCE_BROKEN


def test_a_proof_of_another_net_does_not_hold(proofs: list[bytes], tmp_path: Path) -> None:
    other = make_evidence_net(tmp_path, Net.INTRA)
    with pytest.raises(BrokenEvidenceError, match="E_TRUST_DOMAIN"):
        check_proof(proofs[0], other.anchors)


def test_proofs_are_one_line_each(proofs: list[bytes]) -> None:
    assert all(b"\n" not in proof for proof in proofs)
    assert msgspec.json.decode(proofs[0])["kind"] == "proof"
