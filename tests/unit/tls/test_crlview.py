from datetime import datetime, timedelta

import pytest

from support.clock import NOON
from support.forge import Forged, ForgedNet, forge_crl
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.crlview import StatusView
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate
from zonegate.pki.path import StatusRule
from zonegate.reasons import Reason

NET, OTHER = ForgedNet(), ForgedNet(Net.INTRA)
ISSUERS = (NET.root.certificate, NET.sub_ca.certificate)
LEAF = NET.leaf("system", serial=7)
PATH: tuple[Certificate, ...] = (LEAF.certificate, NET.sub_ca.certificate)
SUB = NET.sub_ca.certificate.subject_der
DAY = timedelta(days=1)


def view(*sources: bytes, rule: StatusRule = StatusRule.REQUIRED) -> StatusView:
    current = StatusView(ISSUERS, rule)
    for source in sources:
        current = current.accept(source, NOON).view
    return current


def sub_list(number: int, *revoked: int, signer: Forged = NET.sub_ca, **fields: datetime) -> bytes:
    return forge_crl(signer, number, revoked=dict.fromkeys(revoked, NOON), **fields)


ROOT_LIST = forge_crl(NET.root, 1)
FIVE = view(ROOT_LIST, sub_list(5, 1))

# A list that arrives while the sub-CA's list 5, which revokes serial 1, is in force.
REFUSED = {
    "RV-01 lower number": (sub_list(4, 1, 7), Reason.E_CRL_NUMBER),
    "RV-01 same number, other content": (sub_list(5, 1, 7), Reason.E_CRL_NUMBER),
    "another net's CA": (forge_crl(OTHER.sub_ca, 9), Reason.E_CRL),
    "our CA's name, another key": (forge_crl(NET.sub_ca, 9, key=OTHER.sub_ca.key), Reason.E_CRL),
    "signed by a leaf": (forge_crl(LEAF, 9), Reason.E_CRL),
    "from the future": (sub_list(9, this_update=NOON + timedelta(seconds=1)), Reason.E_CRL),
    "nextUpdate before thisUpdate": (sub_list(9, next_update=NOON - DAY), Reason.E_CRL),
    "empty file": (b"", Reason.E_CRL),
    "not a list": (LEAF.der, Reason.E_CRL),
    "cut off": (sub_list(9)[:-1], Reason.E_CRL),
}


@pytest.mark.req("RV-01")
@pytest.mark.parametrize(("source", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_refused_list_leaves_the_view_in_force(source: bytes, reason: Reason):
    with pytest.raises(ZoneGateError) as caught:
        FIVE.accept(source, NOON)
    assert caught.value.reason is reason


@pytest.mark.req("RV-01")
def test_a_higher_number_is_put_in_force_and_says_what_is_new():
    acceptance = FIVE.accept(sub_list(6, 1, 7), NOON)
    assert acceptance.revoked == {(SUB, 7)}
    assert acceptance.view.epoch == FIVE.epoch + 1
    with pytest.raises(ZoneGateError):
        acceptance.view.check(PATH, NOON)
    FIVE.check(PATH, NOON)


def test_a_hold_that_is_lifted_is_lifted():
    held = FIVE.accept(sub_list(6, 1, 7), NOON).view
    lifted = held.accept(sub_list(7, 1), NOON)
    assert lifted.revoked == frozenset()
    lifted.view.check(PATH, NOON)


def test_the_same_bytes_change_nothing():
    crl = FIVE.list_of(SUB)
    assert crl is not None
    assert FIVE.accept(crl.der, NOON).view is FIVE


# (lists, rule, instant, reason)
CHECKS = {
    "good": ((ROOT_LIST, sub_list(1)), StatusRule.REQUIRED, NOON, None),
    "leaf revoked": ((ROOT_LIST, sub_list(1, 7)), StatusRule.REQUIRED, NOON, Reason.E_CERT_REVOKED),
    "serial next to it": ((ROOT_LIST, sub_list(1, 6, 8)), StatusRule.REQUIRED, NOON, None),
    "sub-CA revoked": (
        (forge_crl(NET.root, 1, revoked={NET.sub_ca.certificate.serial: NOON}), sub_list(1)),
        StatusRule.REQUIRED,
        NOON,
        Reason.E_CERT_REVOKED,
    ),
    "RV-02 no list of the sub-CA": ((ROOT_LIST,), StatusRule.REQUIRED, NOON, Reason.E_STATUS_STALE),
    "RV-02 no list of the root": ((sub_list(1),), StatusRule.REQUIRED, NOON, Reason.E_STATUS_STALE),
    "RV-02 the last instant": ((ROOT_LIST, sub_list(1)), StatusRule.REQUIRED, NOON + DAY - timedelta(seconds=1), None),
    "RV-02 nextUpdate": ((ROOT_LIST, sub_list(1)), StatusRule.REQUIRED, NOON + DAY, Reason.E_STATUS_STALE),
    "RV-02 stale below grade 3": ((ROOT_LIST, sub_list(1)), StatusRule.STALE_ALLOWED, NOON + 9 * DAY, None),
    "missing below grade 3": ((), StatusRule.STALE_ALLOWED, NOON, None),
    "stale but revoked, below grade 3": (
        (ROOT_LIST, sub_list(1, 7)),
        StatusRule.STALE_ALLOWED,
        NOON + 9 * DAY,
        Reason.E_CERT_REVOKED,
    ),
}


@pytest.mark.req("RV-02")
@pytest.mark.parametrize(("lists", "rule", "now", "reason"), CHECKS.values(), ids=CHECKS)
def test_check(lists: tuple[bytes, ...], rule: StatusRule, now: datetime, reason: Reason | None):
    current = view(*lists, rule=rule)
    if reason is None:
        current.check(PATH, now)
        return
    with pytest.raises(ZoneGateError) as caught:
        current.check(PATH, now)
    assert caught.value.reason is reason


def test_freshness_needs_a_list_of_every_issuer():
    assert FIVE.fresh(NOON)
    assert not FIVE.fresh(NOON + DAY)
    assert FIVE.fresh_until == NOON + DAY
    assert not view(ROOT_LIST).fresh(NOON)
    assert view(ROOT_LIST).fresh_until is None
