"""Chains: the granting one, and for each rule the nearest that is refused."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from support import x509_builder as xb
from zonegate.errors import ZoneGateError
from zonegate.gm import sm2
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.pki.crl import Crl, load_crl
from zonegate.pki.oids import Profile
from zonegate.pki.path import SignatureCache, StatusRule, TrustAnchors, verify_path
from zonegate.reasons import Reason

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)

ROOT = xb.self_signed()
SUB = ROOT.issue(xb.SUB_CA)
LEAF = SUB.issue(xb.LEAF)
ANCHORS = TrustAnchors(Net.EXTRA, (ROOT.certificate,))


def chain_of(*holders: xb.Holder) -> tuple[Certificate, ...]:
    return tuple(holder.certificate for holder in holders)


def judge(
    *holders: xb.Holder, now: datetime = NOW, anchors: TrustAnchors = ANCHORS, crls: tuple[Crl, ...] = ()
) -> tuple[Certificate, ...]:
    leaf, *intermediates = chain_of(*holders)
    return verify_path(leaf, intermediates, anchors, now=now, crls=crls)


def refusal(*holders: xb.Holder, now: datetime = NOW, anchors: TrustAnchors = ANCHORS) -> ZoneGateError:
    with pytest.raises(ZoneGateError) as caught:
        judge(*holders, now=now, anchors=anchors)
    return caught.value


def test_leaf_sub_ca_root() -> None:
    assert judge(LEAF, SUB) == chain_of(LEAF, SUB, ROOT)


def test_the_root_may_be_sent_too_and_order_does_not_matter() -> None:
    assert judge(LEAF, ROOT, SUB) == chain_of(LEAF, SUB, ROOT)
    assert judge(LEAF, SUB, SUB) == chain_of(LEAF, SUB, ROOT)


def test_leaf_directly_below_the_root() -> None:
    leaf = ROOT.issue(xb.LEAF)
    assert judge(leaf) == chain_of(leaf, ROOT)


NATIONAL = ROOT.issue(replace(xb.SUB_CA, common_name="national", path_length=1))
REGIONAL = NATIONAL.issue(replace(xb.SUB_CA, common_name="regional"))
DEEP = REGIONAL.issue(xb.LEAF)


def test_four_certificates() -> None:
    assert judge(DEEP, REGIONAL, NATIONAL) == chain_of(DEEP, REGIONAL, NATIONAL, ROOT)


def test_a_sub_ca_is_judged_like_a_leaf() -> None:
    assert judge(REGIONAL, NATIONAL) == chain_of(REGIONAL, NATIONAL, ROOT)


def test_an_external_root_carries_no_policy_of_ours() -> None:
    external = xb.self_signed(replace(xb.ROOT, net=None, profile=None))
    sub = external.issue(xb.SUB_CA)
    leaf = sub.issue(xb.LEAF)
    anchors = TrustAnchors(Net.EXTRA, (external.certificate,))
    assert judge(leaf, sub, anchors=anchors) == chain_of(leaf, sub, external)


def test_another_root_of_the_same_name_beside_the_right_one() -> None:
    twin = xb.self_signed()
    no_key_ids = frozenset({"ski", "aki"})
    sub = ROOT.issue(replace(xb.SUB_CA, drop=no_key_ids))
    leaf = sub.issue(replace(xb.LEAF, drop=no_key_ids))
    anchors = TrustAnchors(Net.EXTRA, (twin.certificate, ROOT.certificate))
    assert judge(leaf, sub, anchors=anchors) == chain_of(leaf, sub, ROOT)


# --- E_TRUST_DOMAIN

FOREIGN_ROOT = xb.self_signed(replace(xb.ROOT, common_name="intra root", net=Net.INTRA))
FOREIGN_SUB = FOREIGN_ROOT.issue(replace(xb.SUB_CA, net=Net.INTRA))
INTRA_LEAF = replace(xb.LEAF, net=Net.INTRA, uris=(f"spiffe://intra/{xb.ORGAN}/x",))
TWIN_ROOT = xb.self_signed()
TWIN_SUB = TWIN_ROOT.issue(xb.SUB_CA)

TRUST_DOMAIN: dict[str, tuple[xb.Holder, ...]] = {
    "CA-14 a certificate of the other net": (FOREIGN_SUB.issue(INTRA_LEAF), FOREIGN_SUB),
    "the other net's certificate from our own CA": (SUB.issue(INTRA_LEAF), SUB),
    "no net": (SUB.issue(replace(xb.LEAF, net=None)), SUB),
    "identity of the other net": (SUB.issue(replace(xb.LEAF, uris=INTRA_LEAF.uris)), SUB),
    "sub-CA of the other net": (FOREIGN_SUB.issue(xb.LEAF), FOREIGN_SUB),
    "sub-CA without a net": ((bare := ROOT.issue(replace(xb.SUB_CA, net=None))).issue(xb.LEAF), bare),
    "a root that is no anchor, sent along": (
        (other := xb.self_signed(replace(xb.ROOT, common_name="other"))).issue(xb.LEAF),
        other,
    ),
    "a root of our root's name": (TWIN_SUB.issue(xb.LEAF), TWIN_SUB, TWIN_ROOT),
    "a self-signed leaf": (xb.self_signed(xb.LEAF),),
}


@pytest.mark.req("CA-14")
@pytest.mark.parametrize("holders", TRUST_DOMAIN.values(), ids=TRUST_DOMAIN)
def test_trust_domain(holders: tuple[xb.Holder, ...]) -> None:
    assert refusal(*holders).reason is Reason.E_TRUST_DOMAIN


@pytest.mark.req("CA-14")
def test_an_anchor_that_names_the_other_net() -> None:
    root = xb.self_signed(replace(xb.ROOT, net=Net.INTRA))
    error = refusal(root.issue(xb.LEAF), anchors=TrustAnchors(Net.EXTRA, (root.certificate,)))
    assert error.reason is Reason.E_TRUST_DOMAIN


@pytest.mark.req("CA-14")
def test_our_certificate_is_foreign_to_the_other_net() -> None:
    intra = TrustAnchors(Net.INTRA, (FOREIGN_ROOT.certificate,))
    assert refusal(LEAF, SUB, anchors=intra).reason is Reason.E_TRUST_DOMAIN
    assert judge(FOREIGN_SUB.issue(INTRA_LEAF), FOREIGN_SUB, anchors=intra)


# --- E_CERT_CHAIN

FORGED_KEY = sm2.PrivateKey.generate()
FIFTH = REGIONAL.issue(replace(xb.SUB_CA, common_name="district"))


def resigned(holder: xb.Holder, issuer: xb.Holder, template: xb.Template, signer: sm2.PrivateKey) -> xb.Holder:
    """Return a certificate with the issuer's name and key identifier that another key has signed."""
    assert issuer.certificate.ski is not None
    forged = replace(template, aki=issuer.certificate.ski)
    source = xb.certificate_der(forged, holder.key.public_key, issuer.certificate.subject_der, signer)
    return xb.Holder(load_certificate(source), holder.key)


CHAIN: dict[str, tuple[tuple[xb.Holder, ...], str]] = {
    "sub-CA not sent": ((LEAF,), "issuer of CN=leaf"),
    "another sub-CA sent": ((LEAF, NATIONAL), "issuer of CN=leaf"),
    "leaf forged under the sub-CA's name": ((resigned(LEAF, SUB, xb.LEAF, FORGED_KEY), SUB), "has not signed CN=leaf"),
    "sub-CA forged under the root's name": (
        ((fake := resigned(SUB, ROOT, xb.SUB_CA, FORGED_KEY)).issue(xb.LEAF), fake),
        "has not signed CN=sub-ca",
    ),
    "CR-07 signed with the TLS id": ((SUB.issue(replace(xb.LEAF, signer_id=sm2.TLS_ID)), SUB), "has not signed"),
    "CR-08 signed with the empty id": ((SUB.issue(replace(xb.LEAF, signer_id=b"")), SUB), "has not signed"),
    "key identifier of another key": ((SUB.issue(replace(xb.LEAF, aki=bytes(20))), SUB), "issuer of CN=leaf"),
    "five certificates": ((FIFTH.issue(xb.LEAF), FIFTH, REGIONAL, NATIONAL), "more than 4"),
    "nine intermediates": ((LEAF, *[SUB] * 9), "at most 8"),
}


@pytest.mark.req("CE-06")
@pytest.mark.parametrize(("holders", "words"), CHAIN.values(), ids=CHAIN)
def test_chain(holders: tuple[xb.Holder, ...], words: str) -> None:
    error = refusal(*holders)
    assert error.reason is Reason.E_CERT_CHAIN
    assert words in error.detail


def test_sub_cas_that_name_each_other() -> None:
    one_key, two_key = sm2.PrivateKey.generate(), sm2.PrivateKey.generate()
    names = (xb.name("one"), xb.name("two"))
    template = replace(xb.SUB_CA, drop=frozenset({"ski", "aki"}))
    one = load_certificate(
        xb.certificate_der(replace(template, subject=names[0]), one_key.public_key, names[1], two_key)
    )
    two = load_certificate(
        xb.certificate_der(replace(template, subject=names[1]), two_key.public_key, names[0], one_key)
    )
    leaf = xb.Holder(one, one_key).issue(replace(xb.LEAF, drop=frozenset({"aki"})))
    with pytest.raises(ZoneGateError) as caught:
        verify_path(leaf.certificate, (one, two), ANCHORS, now=NOW)
    assert caught.value.reason is Reason.E_CERT_CHAIN


def test_a_flood_of_possible_chains_is_bounded() -> None:
    # Eight sub-CAs of one name and no key identifiers: every order of them is a chain by name.
    template = replace(xb.SUB_CA, common_name="same", path_length=None, drop=frozenset({"ski", "aki"}))
    key = sm2.PrivateKey.generate()
    same = [
        load_certificate(xb.certificate_der(template, key.public_key, ROOT.certificate.subject_der, FORGED_KEY))
        for _ in range(8)
    ]
    leaf = xb.Holder(same[0], key).issue(replace(xb.LEAF, drop=frozenset({"aki"})))
    cache = SignatureCache()
    with pytest.raises(ZoneGateError) as caught:
        verify_path(leaf.certificate, same, ANCHORS, now=NOW, signatures=cache)
    assert caught.value.reason is Reason.E_CERT_CHAIN
    assert len(cache) == 1


# --- E_CERT_USAGE

ACTING = SUB.issue(replace(xb.LEAF, common_name="acting"))
KEY_CERT_SIGN_ONLY = SUB.issue(replace(xb.LEAF, common_name="acting", usage=("key_cert_sign",)))
NO_CERT_SIGN = ROOT.issue(replace(xb.SUB_CA, usage=("crl_sign",)))
NO_USAGE = ROOT.issue(replace(xb.SUB_CA, drop=frozenset({"usage"})))
TIGHT = ROOT.issue(replace(xb.SUB_CA, common_name="tight", path_length=0))
BELOW_TIGHT = TIGHT.issue(replace(xb.SUB_CA, common_name="below"))

USAGE: dict[str, tuple[tuple[xb.Holder, ...], str]] = {
    "CE-06 a leaf acting as CA": ((ACTING.issue(xb.LEAF), ACTING, SUB), "is not a CA"),
    "CE-06 keyCertSign without CA": ((KEY_CERT_SIGN_ONLY.issue(xb.LEAF), KEY_CERT_SIGN_ONLY, SUB), "is not a CA"),
    "CE-06 CA without keyCertSign": ((NO_CERT_SIGN.issue(xb.LEAF), NO_CERT_SIGN), "is not a CA"),
    "CE-06 CA without keyUsage": ((NO_USAGE.issue(xb.LEAF), NO_USAGE), "is not a CA"),
    "CE-06 pathLen 0 with a CA below": ((BELOW_TIGHT.issue(xb.LEAF), BELOW_TIGHT, TIGHT), "allows 0"),
    "a root as an end entity": ((ROOT,), "root"),
}


@pytest.mark.req("CE-06")
@pytest.mark.parametrize(("holders", "words"), USAGE.values(), ids=USAGE)
def test_usage(holders: tuple[xb.Holder, ...], words: str) -> None:
    error = refusal(*holders)
    assert error.reason is Reason.E_CERT_USAGE
    assert words in error.detail


@pytest.mark.req("CE-06")
def test_path_length_of_the_root() -> None:
    root = xb.self_signed(replace(xb.ROOT, path_length=0))
    anchors = TrustAnchors(Net.EXTRA, (root.certificate,))
    leaf = root.issue(xb.LEAF)
    assert judge(leaf, anchors=anchors)
    sub = root.issue(xb.SUB_CA)
    assert refusal(sub.issue(xb.LEAF), sub, anchors=anchors).reason is Reason.E_CERT_USAGE


# --- validity

BOUNDS = {"leaf": LEAF, "sub-CA": SUB, "root": ROOT}
LONG = replace(xb.LEAF, not_before=datetime(2000, 1, 1, tzinfo=UTC), not_after=datetime(2060, 1, 1, tzinfo=UTC))
LONG_CA = replace(LONG, ca=True, usage=("key_cert_sign", "crl_sign"), uris=(), organ=None)


def one_bounded(which: str) -> tuple[TrustAnchors, tuple[xb.Holder, ...]]:
    """Return a chain in which only `which` has the short validity of a leaf."""
    short = {"not_before": xb.NOT_BEFORE, "not_after": xb.NOT_AFTER}
    limits = {name: (short if name == which else {}) for name in BOUNDS}
    root = xb.self_signed(replace(LONG_CA, common_name="root", profile=Profile.ROOT, **limits["root"]))
    sub = root.issue(replace(LONG_CA, common_name="sub-ca", profile=Profile.SUB_CA, **limits["sub-CA"]))
    leaf = sub.issue(replace(LONG, **limits["leaf"]))
    return TrustAnchors(Net.EXTRA, (root.certificate,)), (leaf, sub)


@pytest.mark.req("CE-08")
@pytest.mark.parametrize("which", BOUNDS)
def test_validity_of_each_certificate_to_the_second(which: str) -> None:
    anchors, holders = one_bounded(which)
    for moment in (xb.NOT_BEFORE, NOW, xb.NOT_AFTER):
        assert judge(*holders, now=moment, anchors=anchors)
    early = refusal(*holders, now=xb.NOT_BEFORE - SECOND, anchors=anchors)
    late = refusal(*holders, now=xb.NOT_AFTER + SECOND, anchors=anchors)
    assert (early.reason, late.reason) == (Reason.E_CERT_NOT_YET_VALID, Reason.E_CERT_EXPIRED)
    assert refusal(*holders, now=xb.NOT_AFTER + timedelta(microseconds=1), anchors=anchors)


# --- status

ROOT_LIST = xb.ListTemplate(number=3)
SUB_LIST = xb.ListTemplate(number=5)


def listed(holder: xb.Holder, template: xb.ListTemplate, *entries: bytes, signer: sm2.PrivateKey | None = None) -> Crl:
    full = replace(template, entries=list(entries) or None)
    if signer is not None:
        full = replace(full, aki=holder.certificate.ski)
    return load_crl(xb.crl_der(full, holder.certificate.subject_der, signer or holder.key))


GOOD_ROOT_LIST = listed(ROOT, ROOT_LIST)
GOOD_SUB_LIST = listed(SUB, SUB_LIST)
REVOKED_AT = datetime(2029, 12, 31, tzinfo=UTC)
LEAF_ENTRY = xb.entry(LEAF.certificate.serial, REVOKED_AT, xb.reason(1))
HOLD_ENTRY = xb.entry(LEAF.certificate.serial, REVOKED_AT, xb.reason(6))
SUB_ENTRY = xb.entry(SUB.certificate.serial, REVOKED_AT, xb.reason(2))
OTHER_ENTRY = xb.entry(LEAF.certificate.serial + 1, REVOKED_AT, xb.reason(1))
OLD = {"this_update": datetime(2029, 1, 1, tzinfo=UTC), "next_update": datetime(2029, 1, 2, tzinfo=UTC)}
FUTURE = {"this_update": NOW + SECOND, "next_update": NOW + timedelta(days=1)}
OK = Reason.OK

# name: lists, then what each rule says: WHEN_GIVEN, REQUIRED, STALE_ALLOWED
STATUS: dict[str, tuple[tuple[Crl, ...], Reason, Reason, Reason]] = {
    "no list": ((), OK, Reason.E_STATUS_STALE, OK),
    "both lists": ((GOOD_ROOT_LIST, GOOD_SUB_LIST), OK, OK, OK),
    "the sub-CA's list only": ((GOOD_SUB_LIST,), Reason.E_STATUS_STALE, Reason.E_STATUS_STALE, OK),
    "the root's list only": ((GOOD_ROOT_LIST,), Reason.E_STATUS_STALE, Reason.E_STATUS_STALE, OK),
    "leaf revoked": ((GOOD_ROOT_LIST, listed(SUB, SUB_LIST, LEAF_ENTRY)), *[Reason.E_CERT_REVOKED] * 3),
    "another revoked": ((GOOD_ROOT_LIST, listed(SUB, SUB_LIST, OTHER_ENTRY)), OK, OK, OK),
    "leaf on hold": ((GOOD_ROOT_LIST, listed(SUB, SUB_LIST, HOLD_ENTRY)), *[Reason.E_CERT_REVOKED] * 3),
    "sub-CA revoked": ((listed(ROOT, ROOT_LIST, SUB_ENTRY), GOOD_SUB_LIST), *[Reason.E_CERT_REVOKED] * 3),
    "leaf's serial on the root's list": ((listed(ROOT, ROOT_LIST, OTHER_ENTRY), GOOD_SUB_LIST), OK, OK, OK),
    "stale list": (
        (GOOD_ROOT_LIST, listed(SUB, replace(SUB_LIST, **OLD))),
        Reason.E_STATUS_STALE,
        Reason.E_STATUS_STALE,
        OK,
    ),
    "stale list that revokes": (
        (GOOD_ROOT_LIST, listed(SUB, replace(SUB_LIST, **OLD), LEAF_ENTRY)),
        *[Reason.E_CERT_REVOKED] * 3,
    ),
    "list of tomorrow": (
        (GOOD_ROOT_LIST, listed(SUB, replace(SUB_LIST, **FUTURE))),
        Reason.E_STATUS_STALE,
        Reason.E_STATUS_STALE,
        OK,
    ),
    "newest number wins: released": (
        (GOOD_ROOT_LIST, listed(SUB, SUB_LIST, HOLD_ENTRY), listed(SUB, replace(SUB_LIST, number=6))),
        OK,
        OK,
        OK,
    ),
    "newest number wins: revoked": (
        (GOOD_ROOT_LIST, listed(SUB, replace(SUB_LIST, number=6), LEAF_ENTRY), GOOD_SUB_LIST),
        *[Reason.E_CERT_REVOKED] * 3,
    ),
    "forged list": (
        (GOOD_ROOT_LIST, listed(SUB, SUB_LIST, signer=FORGED_KEY)),
        *[Reason.E_CRL] * 3,
    ),
    "list of a stranger with the sub-CA's name": (
        (GOOD_ROOT_LIST, listed(TWIN_SUB, SUB_LIST)),
        Reason.E_STATUS_STALE,
        Reason.E_STATUS_STALE,
        OK,
    ),
}


def outcome(holders: tuple[xb.Holder, ...], crls: tuple[Crl, ...], rule: StatusRule) -> Reason:
    leaf, *intermediates = chain_of(*holders)
    try:
        verify_path(leaf, intermediates, ANCHORS, now=NOW, crls=crls, status=rule)
    except ZoneGateError as exc:
        return exc.reason
    return Reason.OK


@pytest.mark.req("RV-01", "RV-02")
@pytest.mark.parametrize(("crls", "when_given", "required", "stale_allowed"), STATUS.values(), ids=STATUS)
def test_status(crls: tuple[Crl, ...], when_given: Reason, required: Reason, stale_allowed: Reason) -> None:
    found = tuple(outcome((LEAF, SUB), crls, rule) for rule in StatusRule)
    assert found == (when_given, required, stale_allowed)


@pytest.mark.req("RV-02")
def test_freshness_to_the_second() -> None:
    until = ROOT_LIST.next_update
    assert until is not None
    lists = (GOOD_ROOT_LIST, GOOD_SUB_LIST)
    assert judge(LEAF, SUB, now=ROOT_LIST.this_update, crls=lists)
    assert judge(LEAF, SUB, now=until - SECOND, crls=lists)
    for moment in (until, ROOT_LIST.this_update - SECOND):
        with pytest.raises(ZoneGateError) as caught:
            judge(LEAF, SUB, now=moment, crls=lists)
        assert caught.value.reason is Reason.E_STATUS_STALE


@pytest.mark.req("CE-06", "RV-01")
def test_a_list_by_a_ca_without_crl_sign() -> None:
    sub = ROOT.issue(replace(xb.SUB_CA, usage=("key_cert_sign",)))
    leaf = sub.issue(xb.LEAF)
    lists = (GOOD_ROOT_LIST, listed(sub, SUB_LIST))
    assert outcome((leaf, sub), lists, StatusRule.REQUIRED) is Reason.E_CRL


# --- the cache of verified signatures


def test_the_cache_remembers_success_only() -> None:
    cache = SignatureCache()
    verify_path(LEAF.certificate, [SUB.certificate], ANCHORS, now=NOW, signatures=cache)
    assert len(cache) == 2
    forged = resigned(LEAF, SUB, xb.LEAF, FORGED_KEY)
    for _ in range(2):
        with pytest.raises(ZoneGateError) as caught:
            verify_path(forged.certificate, [SUB.certificate], ANCHORS, now=NOW, signatures=cache)
        assert caught.value.reason is Reason.E_CERT_CHAIN
    assert len(cache) == 2


def test_the_cache_decides_nothing_else() -> None:
    cache = SignatureCache()
    for moment in (NOW, xb.NOT_AFTER):
        verify_path(LEAF.certificate, [SUB.certificate], ANCHORS, now=moment, signatures=cache)
    with pytest.raises(ZoneGateError) as caught:
        verify_path(LEAF.certificate, [SUB.certificate], ANCHORS, now=xb.NOT_AFTER + SECOND, signatures=cache)
    assert caught.value.reason is Reason.E_CERT_EXPIRED


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = SignatureCache(limit=8)
    leaves = [SUB.issue(xb.LEAF, LEAF.key) for _ in range(20)]
    for leaf in leaves:
        verify_path(leaf.certificate, [SUB.certificate], ANCHORS, now=NOW, signatures=cache)
        assert len(cache) <= 8
    assert (ROOT.key.public_key.point, SUB.certificate.fingerprint) in cache._young | cache._old


# --- every refusal names its reason


def test_every_subset_of_a_chain_is_a_chain_or_a_named_refusal() -> None:
    pool = (LEAF, SUB, ROOT, TWIN_SUB, FOREIGN_SUB, NATIONAL, REGIONAL, DEEP)
    seen = set()
    for leaf in pool:
        for count in range(4):
            for others in itertools.combinations(pool, count):
                try:
                    found = judge(leaf, *others)
                except ZoneGateError as exc:
                    seen.add(exc.reason)
                else:
                    assert found[0] == leaf.certificate
                    assert found[-1] == ROOT.certificate
    assert seen == {Reason.E_TRUST_DOMAIN, Reason.E_CERT_CHAIN, Reason.E_CERT_USAGE}
