"""Proposals, approvals and delegations as files: one spelling, bounded; anything else is one named refusal."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import NOON
from support.officers import VIEW, World
from zonegate.approval.act import (
    LIFE_MAX,
    PROPOSAL_MAX_BYTES,
    ActKind,
    Proposal,
    check_view,
    decode_proposal,
    encode_proposal,
)
from zonegate.approval.delegation import DELEGATION_MAX_BYTES, decode_delegation, delegate, encode_delegation
from zonegate.approval.record import APPROVAL_MAX_BYTES, decode_approval, encode_approval
from zonegate.approval.rules import Part
from zonegate.approval.words import approval_text, proposal_text
from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason
from zonegate.roles.role import Role

READERS: dict[str, tuple[Callable[[bytes], object], int]] = {
    "proposal": (decode_proposal, PROPOSAL_MAX_BYTES),
    "approval": (decode_approval, APPROVAL_MAX_BYTES),
    "delegation": (decode_delegation, DELEGATION_MAX_BYTES),
}


@pytest.fixture(scope="module")
def files(_world: World) -> dict[str, bytes]:
    world = _world
    proposal = world.proposal(nonce=b"\x05" * 16)
    zhao = world.credentials["zhao"]
    delegation = delegate(
        Role.SECURITY_OFFICER,
        world.identity("zheng"),
        [ActKind.RELEASE],
        chain=zhao.chain,
        key=zhao.key,
        not_before=NOON,
        not_after=NOON + timedelta(days=1),
        now=NOON,
        nonce=b"\x06" * 16,
    )
    approval = world.sign(proposal, "zheng", Role.SECURITY_OFFICER, Part.APPROVE, delegation=delegation)
    return {
        "proposal": encode_proposal(proposal),
        "approval": encode_approval(approval),
        "delegation": encode_delegation(delegation),
    }


@pytest.mark.parametrize("what", READERS)
def test_a_file_reads_back(files: dict[str, bytes], what: str) -> None:
    assert READERS[what][0](files[what])


# The last two: a certificate in the chain that is not SM2.
NAMED = {
    Reason.E_APPROVAL_FORMAT,
    Reason.E_APPROVAL_VIEW,
    Reason.E_DER,
    Reason.E_KEY,
    Reason.E_TLS_SIGNATURE,
}


def one_refusal(reader: Callable[[bytes], object], raw: bytes) -> None:
    try:
        reader(raw)
    except ZoneGateError as exc:
        assert exc.reason in NAMED


@pytest.mark.parametrize("what", READERS)
def test_fuzzed_bytes(files: dict[str, bytes], what: str) -> None:
    reader, _ = READERS[what]
    good = files[what]

    @settings(max_examples=80, deadline=None)
    @given(at=st.integers(0, len(good) - 1), value=st.integers(0, 255), cut=st.integers(0, 40))
    def run(at: int, value: int, cut: int) -> None:
        one_refusal(reader, good[:at] + bytes([value]) + good[at + 1 + cut :])

    run()


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes(raw: bytes) -> None:
    for reader, _ in READERS.values():
        with pytest.raises(ZoneGateError) as caught:
            reader(raw)
        assert caught.value.reason is Reason.E_APPROVAL_FORMAT


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize(
    "change",
    [
        lambda raw, _: raw + b" ",
        lambda raw, _: raw.replace(b'{"format"', b'{ "format"', 1),
        lambda raw, _: raw.replace(b'{"format":', b'{"more":1,"format":', 1),
        lambda _, limit: b" " * (limit + 1),
        lambda raw, _: raw[:-1],
        lambda *_: b"[" * 100_000,
    ],
    ids=["trailing blank", "a blank inside", "an unknown key", "too long", "no line end", "deep"],
)
def test_another_spelling(files: dict[str, bytes], what: str, change: Callable[[bytes, int], bytes]) -> None:
    reader, limit = READERS[what]
    with pytest.raises(ZoneGateError) as caught:
        reader(change(files[what], limit))
    assert caught.value.reason is Reason.E_APPROVAL_FORMAT


VIEWS = {
    "plain": ("release", True),
    "Chinese, two lines": (VIEW, True),
    "empty": ("", False),
    "blank": (" \n ", False),
    "the longest": ("a" * 16_000, True),
    "one too long": ("a" * 16_001, False),
    "an escape sequence": ("release\x1b[2K nothing", False),
    "a carriage return": ("release\rnothing", False),
    "right to left": ("release \u202eesaeler", False),
    "a zero-width joiner": ("rel\u200dease", False),
    "a line separator": ("release\u2028nothing", False),
}


@pytest.mark.parametrize(("view", "good"), VIEWS.values(), ids=VIEWS)
def test_what_is_shown_is_what_is_signed(view: str, good: bool) -> None:
    if good:
        assert check_view(view) == view
        return
    with pytest.raises(ZoneGateError) as caught:
        check_view(view)
    assert caught.value.reason is Reason.E_APPROVAL_FORMAT


FIELDS: dict[str, tuple[dict[str, object], bool]] = {
    "as it is": ({}, True),
    "no target": ({"target": ""}, False),
    "a target with a line end": ({"target": "a\nb"}, False),
    "a target of 256": ({"target": "t" * 256}, True),
    "a target of 257": ({"target": "t" * 257}, False),
    "an organ with a wrong digit": ({"organ": "111000009900000173"}, False),
    "a short nonce": ({"nonce": bytes(15)}, False),
    "the longest life": ({"not_before": NOON, "not_after": NOON + LIFE_MAX}, True),
    "a second longer": ({"not_before": NOON, "not_after": NOON + LIFE_MAX + timedelta(seconds=1)}, False),
    "no life": ({"not_before": NOON, "not_after": NOON}, False),
}


@pytest.mark.parametrize(("change", "good"), FIELDS.values(), ids=FIELDS)
def test_fields_of_an_act(world: World, change: dict[str, object], good: bool) -> None:
    if good:
        assert world.proposal(**change)  # type: ignore[arg-type]
        return
    with pytest.raises(ZoneGateError) as caught:
        world.proposal(**change)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.E_APPROVAL_FORMAT


def test_a_text_that_is_not_the_acts(world: World) -> None:
    proposal = world.proposal()
    with pytest.raises(ZoneGateError) as caught:
        decode_proposal(encode_proposal(Proposal(proposal.act, "another text")))
    assert caught.value.reason is Reason.E_APPROVAL_VIEW


def test_contents_are_held_against_the_act(world: World) -> None:
    act = world.proposal().act
    act.check_contents(b"release: object 7", VIEW)
    for payload, view, reason in (
        (b"release: object 8", VIEW, Reason.E_APPROVAL_PAYLOAD),
        (b"release: object 7", VIEW + " ", Reason.E_APPROVAL_VIEW),
    ):
        with pytest.raises(ZoneGateError) as caught:
            act.check_contents(payload, view)
        assert caught.value.reason is reason


def test_officers_read_both_languages(world: World) -> None:
    proposal = world.proposal()
    text = proposal_text(proposal)
    for word in ("事项 act", "审批导出 release", "ext.shared/object-7", "  | 导出对象 7", proposal.act.payload):
        assert word in text
    assert "签名人 signer" in approval_text(world.sign(proposal, "chen"))
