"""The verdicts of `path` beside those of OpenSSL 4 (inside pyOpenSSL), on the same chains and lists."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from OpenSSL import crypto

from support import x509_builder as xb
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.identity import Net
from zonegate.pki.crl import load_crl
from zonegate.pki.path import StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SERIAL = xb.der.integer(0x1122334455667788)

ROOT = xb.self_signed()
SUB = ROOT.issue(xb.SUB_CA)
LEAF = SUB.issue(replace(xb.LEAF, serial=SERIAL))


def parsed(holder: xb.Holder) -> crypto.X509:
    return crypto.X509.from_cryptography(x509.load_der_x509_certificate(holder.certificate.der))


def openssl_accepts(leaf: xb.Holder, subs: tuple[xb.Holder, ...], lists: tuple[bytes, ...], now: datetime) -> bool:
    store = crypto.X509Store()
    store.add_cert(parsed(ROOT))
    for source in lists:
        store.add_crl(x509.load_der_x509_crl(source))
    flags = crypto.X509StoreFlags.X509_STRICT
    if lists:
        flags |= crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.CRL_CHECK_ALL
    store.set_flags(flags)
    store.set_time(now)
    try:
        crypto.X509StoreContext(store, parsed(leaf), [parsed(each) for each in subs]).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True


def ours(leaf: xb.Holder, subs: tuple[xb.Holder, ...], lists: tuple[bytes, ...], now: datetime) -> Reason:
    anchors = TrustAnchors(Net.EXTRA, (ROOT.certificate,))
    crls = tuple(load_crl(source) for source in lists)
    try:
        verify_path(
            leaf.certificate,
            [each.certificate for each in subs],
            anchors,
            now=now,
            crls=crls,
            status=StatusRule.WHEN_GIVEN,
        )
    except ZoneGateError as exc:
        return exc.reason
    return Reason.OK


def listed(holder: xb.Holder, *entries: bytes) -> bytes:
    template = xb.ListTemplate(number=1, entries=list(entries) or None)
    return xb.crl_der(template, holder.certificate.subject_der, holder.key)


AT = datetime(2029, 12, 31, tzinfo=UTC)
LISTS = (listed(ROOT), listed(SUB))
ACTING = SUB.issue(replace(xb.LEAF, common_name="acting"))
FORGER = sm2.PrivateKey.generate()
FORGED = xb.Holder(
    xb.load_certificate(
        xb.certificate_der(
            replace(xb.LEAF, aki=SUB.certificate.ski), LEAF.key.public_key, SUB.certificate.subject_der, FORGER
        )
    ),
    LEAF.key,
)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

CASES: dict[str, tuple[xb.Holder, tuple[xb.Holder, ...], tuple[bytes, ...], datetime, Reason]] = {
    "good, no list": (LEAF, (SUB,), (), NOW, Reason.OK),
    "good, with lists": (LEAF, (SUB,), LISTS, NOW, Reason.OK),
    "NULL parameters": (
        SUB.issue(replace(xb.LEAF, inner_algorithm=xb.SM2_WITH_SM3_NULL, outer_algorithm=xb.SM2_WITH_SM3_NULL)),
        (SUB,),
        (),
        NOW,
        Reason.OK,
    ),
    "first second": (LEAF, (SUB,), (), xb.NOT_BEFORE, Reason.OK),
    "before": (LEAF, (SUB,), (), xb.NOT_BEFORE - SECOND, Reason.E_CERT_NOT_YET_VALID),
    "after": (LEAF, (SUB,), (), xb.NOT_AFTER + SECOND, Reason.E_CERT_EXPIRED),
    "forged": (FORGED, (SUB,), (), NOW, Reason.E_CERT_CHAIN),
    "TLS id": (SUB.issue(replace(xb.LEAF, signer_id=sm2.TLS_ID)), (SUB,), (), NOW, Reason.E_CERT_CHAIN),
    "CE-06 leaf acting as CA": (ACTING.issue(xb.LEAF), (ACTING, SUB), (), NOW, Reason.E_CERT_USAGE),
    "revoked": (
        LEAF,
        (SUB,),
        (listed(ROOT), listed(SUB, xb.entry(LEAF.certificate.serial, AT, xb.reason(1)))),
        NOW,
        Reason.E_CERT_REVOKED,
    ),
    "on hold": (
        LEAF,
        (SUB,),
        (listed(ROOT), listed(SUB, xb.entry(LEAF.certificate.serial, AT, xb.reason(6)))),
        NOW,
        Reason.E_CERT_REVOKED,
    ),
    "sub-CA revoked": (
        LEAF,
        (SUB,),
        (listed(ROOT, xb.entry(SUB.certificate.serial, AT, xb.reason(2))), listed(SUB)),
        NOW,
        Reason.E_CERT_REVOKED,
    ),
    "stale list": (LEAF, (SUB,), LISTS, NOW + DAY, Reason.E_STATUS_STALE),
    "list missing": (LEAF, (SUB,), LISTS[:1], NOW, Reason.E_STATUS_STALE),
}


@pytest.mark.req("CE-06", "RV-01", "RV-02")
@pytest.mark.parametrize(("leaf", "subs", "lists", "now", "reason"), CASES.values(), ids=CASES)
def test_both_agree(
    leaf: xb.Holder, subs: tuple[xb.Holder, ...], lists: tuple[bytes, ...], now: datetime, reason: Reason
) -> None:
    assert ours(leaf, subs, lists, now) is reason
    assert openssl_accepts(leaf, subs, lists, now) is (reason is Reason.OK)
