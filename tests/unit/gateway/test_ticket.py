from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.clock import NOON
from support.contract import value_or_refusal
from support.forge import ENCRYPT_USAGE, Forged, ForgedNet, uri
from zonegate.errors import ZoneGateError
from zonegate.gateway.ticket import (
    CONTEXT,
    LIFE_MAX,
    SKEW,
    TABLE_SIZE,
    TICKET_LIMIT_BYTES,
    Ticket,
    TicketTable,
    issue,
    verify,
)
from zonegate.gm import der, sm2, sm3
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.path import SignatureCache
from zonegate.reasons import Reason

NET, OTHER = ForgedNet(), ForgedNet(Net.INTRA)
SYSTEM, STRANGER = NET.leaf("system"), NET.leaf("stranger")
GATEWAY = uri("gw")
LIFE = timedelta(minutes=10)
TICKET = issue(SYSTEM.credential, GATEWAY, now=NOON, life=LIFE)


def checked(ticket: bytes, now: datetime = NOON, ingress: str = GATEWAY) -> Ticket:
    return verify(ticket, NET.anchors, ingress=ingress, now=now)


def test_a_ticket_says_who_where_and_until_when():
    ticket = checked(TICKET)
    assert str(ticket.identity) == uri("system")
    assert (ticket.ingress, ticket.not_before, ticket.expires) == (GATEWAY, NOON, NOON + LIFE)
    assert [one.der for one in ticket.chain] == [SYSTEM.der, NET.sub_ca.der]
    assert ticket.certificate.der == SYSTEM.der
    assert ticket.digest == sm3.hexdigest(TICKET)
    assert len(TICKET) < 2048


def test_fractions_of_a_second_do_not_make_a_ticket_that_begins_later():
    ticket = checked(issue(SYSTEM.credential, GATEWAY, now=NOON + timedelta(milliseconds=900), life=LIFE), NOON)
    assert ticket.not_before == NOON


TIMES = {
    "its first instant": (NOON, None),
    "a gateway's clock that is behind, within the allowance": (NOON - SKEW, None),
    "a gateway's clock that is behind, beyond it": (NOON - SKEW - timedelta(seconds=1), Reason.E_TICKET),
    "its last second": (NOON + LIFE - timedelta(seconds=1), None),
    "the instant of expiry": (NOON + LIFE, Reason.E_TICKET_EXPIRED),
}


@pytest.mark.parametrize(("now", "reason"), TIMES.values(), ids=TIMES)
def test_times(now: datetime, reason: Reason | None):
    if reason is None:
        checked(TICKET, now)
        return
    with pytest.raises(ZoneGateError) as caught:
        checked(TICKET, now)
    assert caught.value.reason is reason


def test_only_the_named_gateway_takes_it():
    with pytest.raises(ZoneGateError, match=r"ticket\.ingress") as caught:
        checked(TICKET, ingress=uri("gw2"))
    assert caught.value.reason is Reason.E_TICKET


def test_the_signature_cache_saves_the_chain_not_the_ticket():
    cache = SignatureCache()
    verify(TICKET, NET.anchors, ingress=GATEWAY, now=NOON, signatures=cache)
    assert len(cache) == 2


@pytest.mark.req("RV-04")
def test_lists_are_honoured_when_given():
    crls = NET.crls(revoked=[SYSTEM.certificate.serial])
    with pytest.raises(ZoneGateError) as caught:
        verify(TICKET, NET.anchors, ingress=GATEWAY, now=NOON, crls=crls)
    assert caught.value.reason is Reason.E_CERT_REVOKED


def text(tag: int, value: str) -> bytes:
    return der.tlv(tag, value.encode())


def when(at: datetime) -> bytes:
    return der.tlv(der.GENERALIZED_TIME, at.strftime("%Y%m%d%H%M%SZ").encode())


def body_of(
    leaf: Forged = SYSTEM,
    *,
    version: int = 1,
    caller: str = uri("system"),
    ingress: str = GATEWAY,
    start: datetime = NOON,
    end: datetime = NOON + LIFE,
    chain: tuple[bytes, ...] | None = None,
) -> bytes:
    return der.sequence(
        der.integer(version),
        text(der.UTF8_STRING, caller),
        text(der.UTF8_STRING, ingress),
        when(start),
        when(end),
        der.sequence(*(leaf.chain_der if chain is None else chain)),
    )


def signed(body: bytes, leaf: Forged = SYSTEM, *, context: bytes = CONTEXT, signer_id: bytes = sm2.CERT_ID) -> bytes:
    assert isinstance(leaf.key, sm2.PrivateKey)
    return der.sequence(body, der.octet_string(leaf.key.sign(context + body, signer_id=signer_id)))


SHORT = NET.leaf("system", not_after=NOON - timedelta(seconds=1))
ENCRYPTION = NET.leaf("system", usage=ENCRYPT_USAGE)
INTRA = OTHER.leaf("system")
GATE = NET.leaf("gw", Profile.GATEWAY)

FORGED = {
    "signed by another system": (signed(body_of(), STRANGER), Reason.E_TICKET),
    "another caller than the certificate's": (signed(body_of(caller=uri("stranger"))), Reason.E_TICKET),
    "another system's certificate": (signed(body_of(STRANGER)), Reason.E_TICKET),
    "signed without the context": (signed(body_of(), context=b""), Reason.E_TICKET),
    "signed under the handshake's id": (signed(body_of(), signer_id=sm2.TLS_ID), Reason.E_TICKET),
    "one second too long": (signed(body_of(end=NOON + LIFE_MAX + timedelta(seconds=1))), Reason.E_TICKET),
    "an end before its beginning": (signed(body_of(start=NOON, end=NOON - timedelta(seconds=1))), Reason.E_TICKET),
    "version 2": (signed(body_of(version=2)), Reason.E_TICKET),
    "no certificate": (signed(body_of(chain=())), Reason.E_TICKET),
    "four certificates": (signed(body_of(chain=(SYSTEM.der,) * 4)), Reason.E_TICKET),
    "without its sub-CA": (signed(body_of(chain=(SYSTEM.der,))), Reason.E_CERT_CHAIN),
    "caller that is no identity": (signed(body_of(caller="spiffe://extra/x/y")), Reason.E_TICKET),
    "ingress that is no identity": (signed(body_of(ingress="gw")), Reason.E_TICKET),
    "CA-14 certificate of the other net": (
        signed(body_of(INTRA, caller=uri("system", Net.INTRA)), INTRA),
        Reason.E_TRUST_DOMAIN,
    ),
    "expired certificate": (signed(body_of(SHORT), SHORT), Reason.E_CERT_EXPIRED),
    "encryption certificate": (signed(body_of(ENCRYPTION), ENCRYPTION), Reason.E_CERT_USAGE),
    "a gateway's certificate": (signed(body_of(GATE, caller=uri("gw")), GATE), Reason.E_CERT_USAGE),
    "garbage instead of a certificate": (signed(body_of(chain=(b"\x30\x00",))), Reason.E_TICKET),
    "empty": (b"", Reason.E_TICKET),
    "too large": (bytes(TICKET_LIMIT_BYTES + 1), Reason.E_TICKET),
    "a byte behind": (TICKET + b"\x00", Reason.E_TICKET),
    "cut off": (TICKET[:-1], Reason.E_TICKET),
}


@pytest.mark.parametrize(("ticket", "reason"), FORGED.values(), ids=FORGED)
def test_forged_tickets(ticket: bytes, reason: Reason):
    with pytest.raises(ZoneGateError) as caught:
        checked(ticket)
    assert caught.value.reason is reason, caught.value


def test_the_same_body_well_signed_passes():
    assert checked(signed(body_of())).identity == SYSTEM.certificate.identity


@pytest.mark.parametrize("profile", [Profile.GATEWAY, Profile.OFFICER])
def test_only_a_system_issues_tickets(profile: Profile):
    with pytest.raises(ZoneGateError) as caught:
        issue(NET.leaf("other", profile).credential, GATEWAY, now=NOON)
    assert caught.value.reason is Reason.E_CERT_USAGE


@pytest.mark.parametrize("life", [timedelta(0), LIFE_MAX + timedelta(seconds=1)])
def test_a_life_beyond_ten_minutes_is_not_issued(life: timedelta):
    with pytest.raises(ZoneGateError):
        issue(SYSTEM.credential, GATEWAY, now=NOON, life=life)


PARSER_REASONS = (
    Reason.E_TICKET,
    Reason.E_TICKET_EXPIRED,
    Reason.E_CERT_CHAIN,
    Reason.E_CERT_USAGE,
    Reason.E_CERT_EXPIRED,
    Reason.E_CERT_NOT_YET_VALID,
    Reason.E_TRUST_DOMAIN,
    Reason.E_TLS_SIGNATURE,
    Reason.E_IDENTITY,
    Reason.E_KEY,
)


@settings(max_examples=200)
@given(st.binary(max_size=500))
@example(b"\x30\x80\x00\x00")
def test_any_bytes_give_a_ticket_or_one_named_error(source: bytes):
    assert value_or_refusal(checked, source, *PARSER_REASONS) is None


@settings(max_examples=300)
@given(st.integers(0, len(TICKET) - 1), st.integers(1, 255))
def test_no_changed_byte_passes(position: int, change: int):
    source = TICKET[:position] + bytes([TICKET[position] ^ change]) + TICKET[position + 1 :]
    assert value_or_refusal(checked, source, *PARSER_REASONS) is None


# The table of one connection.


def test_a_ticket_travels_once():
    sender, receiver = TicketTable(), TicketTable()
    is_new, key = sender.refer(TICKET)
    assert is_new
    assert receiver.learn(TICKET) == key
    assert sender.refer(TICKET) == (False, key)
    assert receiver.lookup(key) == TICKET
    assert receiver.lookup(b"0" * 32) is None
    assert key.decode().isalnum()


def test_an_oversized_ticket_is_not_remembered():
    table = TicketTable()
    with pytest.raises(ZoneGateError):
        table.learn(bytes(TICKET_LIMIT_BYTES + 1))
    assert len(table) == 0


@given(st.lists(st.integers(0, 90), max_size=400))
def test_both_ends_agree_through_any_sequence_and_stay_bounded(calls: list[int]):
    sender, receiver = TicketTable(), TicketTable()
    for number in calls:
        ticket = number.to_bytes(2, "big")
        is_new, key = sender.refer(ticket)
        if is_new:
            receiver.learn(ticket)
        assert receiver.lookup(key) == ticket
    assert len(sender) == len(receiver) <= TABLE_SIZE
