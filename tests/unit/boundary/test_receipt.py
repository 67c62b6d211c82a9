"""Receipts: what is signed is a plain text; any change in a value, the signer or the form is refused."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.boundary import CALLER, GATEWAY, PATH, gateway_credential, hand_net
from support.clock import NOON
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.convert import receipt_from_bytes, receipt_to_bytes
from zonegate.gateway.boundary.receipt import Accepted, sign_receipt, verify_receipt
from zonegate.gm import sm2
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.proto.boundary.v1 import boundary_pb2
from zonegate.reasons import Reason

ANCHORS = hand_net(Net.EXTRA).anchors
ACCEPTED = Accepted("01" * 16, "ab" * 14, "cd" * 32, 2, 30, NOON, CALLER, "statistics", PATH, GATEWAY)


def signed(accepted=ACCEPTED, signer=None):
    signer = signer or gateway_credential()
    return sign_receipt(accepted, signer.key, [certificate.der for certificate in signer.chain])


RECEIPT = signed()


def refusal(receipt, now=NOON):
    with pytest.raises(ZoneGateError) as caught:
        verify_receipt(receipt, ANCHORS, now=now)
    return caught.value.reason


def test_the_signed_text_is_as_documented():
    text = (
        "zonegate receipt v1\n"
        f"object_id={'01' * 16}\n"
        f"crossing_id={'ab' * 14}\n"
        f"digest={'cd' * 32}\n"
        "message_count=2\n"
        "message_bytes=30\n"
        "accepted_at=2030-01-01T12:00:00.000000Z\n"
        f"caller={CALLER}\n"
        "resource=statistics\n"
        f"path={PATH}\n"
        f"gateway={GATEWAY}\n"
        "statement=accepted for transport, not delivered\n"
    ).encode()
    assert ACCEPTED.text == text
    gateway_credential().leaf.public_key.verify(RECEIPT.signature, text, signer_id=sm2.CERT_ID)


def test_a_receipt_survives_its_message_and_verifies_after_its_signer_expired():
    again = receipt_from_bytes(receipt_to_bytes(RECEIPT))
    assert again == RECEIPT
    assert verify_receipt(again, ANCHORS, now=NOON + timedelta(days=5000)).profile is Profile.GATEWAY


CHANGES = {
    "object": {"object_id": "02" * 16},
    "digest": {"digest": "ce" * 32},
    "instant": {"accepted_at": NOON - timedelta(seconds=1)},
    "caller": {"caller": CALLER + "2"},
    "gateway": {"gateway": GATEWAY + "2"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_value_is_refused(change):
    assert refusal(replace(RECEIPT, accepted=replace(ACCEPTED, **change))) is Reason.E_IMPORT_SIGNATURE


SIGNERS = {
    "a system": (lambda: hand_net(Net.EXTRA).issue(GATEWAY, Profile.SYSTEM), Reason.E_IMPORT_SIGNATURE),
    "another gateway": (lambda: hand_net(Net.EXTRA).issue(GATEWAY + "2"), Reason.E_IMPORT_SIGNATURE),
    "the other net": (
        lambda: hand_net(Net.INTRA).issue(GATEWAY.replace("extra", "intra")),
        Reason.E_TRUST_DOMAIN,
    ),
    "a certificate not valid then": (
        lambda: hand_net(Net.EXTRA).issue(GATEWAY, not_before=NOON + timedelta(days=1)),
        Reason.E_CERT_NOT_YET_VALID,
    ),
}


@pytest.mark.parametrize(("signer", "reason"), SIGNERS.values(), ids=SIGNERS)
def test_another_signer_is_refused(signer, reason):
    assert refusal(signed(signer=signer())) is reason


def test_forms_are_refused():
    assert refusal(replace(RECEIPT, certificates=())) is Reason.E_IMPORT_FORMAT
    assert refusal(replace(RECEIPT, certificates=(b"x",))) is Reason.E_IMPORT_FORMAT
    assert refusal(replace(RECEIPT, accepted=replace(ACCEPTED, caller="a\nb"))) is Reason.E_IMPORT_FORMAT
    assert refusal(RECEIPT, now=NOON - timedelta(seconds=1)) is Reason.E_IMPORT_EXPIRED


def message(**changes):
    parsed = boundary_pb2.Receipt.FromString(receipt_to_bytes(RECEIPT))
    for name, value in changes.items():
        setattr(parsed, name, value)
    return parsed.SerializeToString()


MESSAGES = {
    "garbage": b"\xff",
    "another statement": message(statement="delivered"),
    "another form of instant": message(accepted_at="2030-01-01T12:00:00Z"),
    "no day": message(accepted_at="2030-02-30T12:00:00.000000Z"),
    "too large": bytes((64 << 10) + 1),
    "empty": b"",
}


@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
def test_a_message_that_is_no_receipt_is_refused(data):
    with pytest.raises(ZoneGateError) as caught:
        receipt_from_bytes(data)
    assert caught.value.reason is Reason.E_IMPORT_FORMAT


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_changed_byte_verifies(data):
    mutated = bytearray(receipt_to_bytes(RECEIPT))
    mutated[data.draw(st.integers(0, len(mutated) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        receipt = receipt_from_bytes(bytes(mutated))
        verify_receipt(receipt, ANCHORS, now=NOON)
    except ZoneGateError:
        return
    # What protobuf ignores may change: an unknown field, never a value.
    assert receipt == RECEIPT
