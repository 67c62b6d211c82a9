"""Delta lists and shards: made by the CA, read by others, judged together (RV-01, RV-02, RFC 5280 5.2)."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import crypto

from support.clock import FakeClock
from support.pki import ACTOR, TestNet
from zonegate.ca.addresses import Shard, delta_url, shard_of
from zonegate.errors import ProblemsError, ZoneGateError
from zonegate.identity import Net
from zonegate.pki.certificate import Certificate, Profile
from zonegate.pki.crl import Crl, RevocationReason, load_any, load_crl
from zonegate.pki.path import StatusRule, verify_path
from zonegate.reasons import Reason

HOLD, LOST = RevocationReason.CERTIFICATE_HOLD, RevocationReason.KEY_COMPROMISE
SHARDS = 4


@pytest.fixture
def parted(tmp_path: Path, founded: Path) -> Iterator[TestNet]:
    """A net whose sub-CA makes four shards, keeps two from before, and deltas."""
    shutil.copytree(founded, tmp_path / "net")
    path = tmp_path / "net" / "ca" / "ca.toml"
    head, _, sub = path.read_text().partition("[sub]\n")
    lines = f"crl_shards = {SHARDS}\nformer_crl_shards = [2]\ndelta_minutes = 60\n"
    path.write_text(f"{head}[sub]\n{lines}{sub}")
    net = TestNet(tmp_path / "net", Net.EXTRA, FakeClock())
    net.write_crl()
    yield net
    net.close()


def _read(net: TestNet, name: str) -> Crl:
    crl = load_any((net.crl_path / name).read_bytes())
    crl.verify(net.sub_ca)
    return crl


def _advance(net: TestNet, seconds: float) -> None:
    assert isinstance(net.clock, FakeClock)
    net.clock.advance(seconds)


def _delta(net: TestNet) -> Crl:
    _advance(net, 1)
    net.authority.publish_delta(Profile.SUB_CA, actor=ACTOR)
    return _read(net, "sub.delta.crl")


def _verdict(net: TestNet, leaf: Certificate, *lists: Crl) -> Reason:
    root_list = net.crls()[0]
    try:
        verify_path(
            leaf,
            (net.sub_ca,),
            net.anchors(),
            now=net.clock.now(),
            crls=(root_list, *lists),
            status=StatusRule.REQUIRED,
        )
    except ZoneGateError as exc:
        return exc.reason
    return Reason.OK


# --- shards


@pytest.mark.req("RV-02", "CE-07")
def test_a_certificate_names_its_shard_and_the_shard_names_it(parted: TestNet) -> None:
    leaves = [parted.issue(Profile.SYSTEM, f"s{number}").certificate for number in range(6)]
    for leaf in leaves:
        shard = shard_of(leaf.serial, SHARDS)
        assert leaf.crl_urls == (f"http://crl.extra.example/sub.{SHARDS}-{shard.index}.crl",)
    for leaf in leaves[:3]:
        parted.revoke(leaf.serial, LOST)
    parted.write_crl()
    full = _read(parted, "sub.crl")
    for count in (SHARDS, 2):
        for index in range(count):
            crl = _read(parted, f"sub.{count}-{index}.crl")
            assert crl.shard == (f"http://crl.extra.example/sub.{count}-{index}.crl",)
            assert (crl.number, crl.this_update) == (full.number, full.this_update)
            assert set(crl.revoked) == {one for one in full.revoked if Shard(count, index).holds(one)}
    assert set(full.revoked) == {leaf.serial for leaf in leaves[:3]}


@pytest.mark.req("RV-02")
def test_the_path_takes_the_shard_that_the_certificate_names_and_no_other(parted: TestNet) -> None:
    lost = parted.issue(Profile.SYSTEM, "lost").certificate
    kept = parted.issue(Profile.SYSTEM, "kept").certificate
    parted.revoke(lost.serial, LOST)
    parted.write_crl()
    shards = [_read(parted, f"sub.{SHARDS}-{index}.crl") for index in range(SHARDS)]
    assert _verdict(parted, lost, *shards) is Reason.E_CERT_REVOKED
    assert _verdict(parted, kept, *shards) is Reason.OK
    others = [crl for crl in shards if not set(crl.shard) & set(kept.crl_urls)]
    assert _verdict(parted, kept, *others) is Reason.E_STATUS_STALE, "no list speaks of it"
    assert _verdict(parted, kept, _read(parted, "sub.crl")) is Reason.OK, "the full list speaks of everybody"
    _advance(parted, 25 * 3600)
    assert _verdict(parted, kept, *shards) is Reason.E_STATUS_STALE
    assert _verdict(parted, lost, *shards) is Reason.E_CERT_REVOKED, "once listed, refused for ever"


@pytest.mark.req("RV-02")
def test_without_shards_a_certificate_names_the_full_list(own_net: TestNet) -> None:
    assert own_net.issue(Profile.SYSTEM, "old").certificate.crl_urls == ("http://crl.extra.example/sub.crl",)
    assert not list(own_net.crl_path.glob("sub.*-*.crl"))


@pytest.mark.req("RV-02")
def test_openssl_4_takes_a_shard(parted: TestNet) -> None:
    lost, kept = (parted.issue(Profile.SYSTEM, name).certificate for name in ("lost", "kept"))
    parted.revoke(lost.serial, LOST)
    parted.write_crl()

    def accepts(leaf: Certificate) -> str:
        store = crypto.X509Store()
        store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, parted.root.pem))
        name = f"sub.{SHARDS}-{leaf.serial % SHARDS}.crl"
        store.add_crl(x509.load_der_x509_crl((parted.crl_path / name).read_bytes()))
        # Only the leaf's status is asked: OpenSSL wants extended CRL support for nothing else here.
        store.set_flags(crypto.X509StoreFlags.CRL_CHECK | crypto.X509StoreFlags.X509_STRICT)
        store.set_time(parted.clock.now())
        sub = crypto.load_certificate(crypto.FILETYPE_PEM, parted.sub_ca.pem)
        try:
            crypto.X509StoreContext(
                store, crypto.load_certificate(crypto.FILETYPE_PEM, leaf.pem), [sub]
            ).verify_certificate()
        except crypto.X509StoreContextError as exc:
            return str(exc)
        return ""

    assert "revoked" in accepts(lost)
    assert accepts(kept) == ""


# --- deltas


@pytest.mark.req("RV-01", "RV-02")
def test_a_delta_says_what_has_changed_and_nothing_else(parted: TestNet) -> None:
    names = ("stays", "held", "worse", "new", "quiet")
    stays, held, worse, new, _ = (parted.issue(Profile.SYSTEM, name).serial for name in names)
    parted.revoke(stays, LOST)
    parted.revoke(held, HOLD)
    parted.revoke(worse, HOLD)
    _advance(parted, 1)
    parted.write_crl()
    full = _read(parted, "sub.crl")
    parted.release(held)
    parted.revoke(worse, LOST)
    parted.revoke(new, LOST)
    delta = _delta(parted)
    assert delta.base == full.number < delta.number
    assert {serial: one.reason for serial, one in delta.revoked.items()} == {worse: LOST, new: LOST}
    assert delta.removed == {held}
    assert full.freshest_urls == (delta_url("http://crl.extra.example/sub.crl"),)
    assert delta.next_update - delta.this_update == timedelta(minutes=60)
    read = x509.load_der_x509_crl((parted.crl_path / "sub.delta.crl").read_bytes())
    indicator = read.extensions.get_extension_for_class(x509.DeltaCRLIndicator)
    assert (indicator.critical, indicator.value.crl_number) == (True, full.number)
    lifted = read.get_revoked_certificate_by_serial_number(held)
    assert lifted is not None
    assert lifted.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.remove_from_crl
    freshest = x509.load_der_x509_crl(full.der).extensions.get_extension_for_class(x509.FreshestCRL)
    assert not freshest.critical


@pytest.mark.req("RV-01", "RV-02")
def test_the_path_lays_the_delta_over_its_base(parted: TestNet) -> None:
    held, new = (parted.issue(Profile.SYSTEM, name).certificate for name in ("held", "new"))
    parted.revoke(held.serial, HOLD)
    _advance(parted, 1)
    parted.write_crl()
    full = _read(parted, "sub.crl")
    assert (_verdict(parted, held, full), _verdict(parted, new, full)) == (Reason.E_CERT_REVOKED, Reason.OK)
    parted.release(held.serial)
    parted.revoke(new.serial, LOST)
    delta = _delta(parted)
    assert (_verdict(parted, held, full, delta), _verdict(parted, new, full, delta)) == (
        Reason.OK,
        Reason.E_CERT_REVOKED,
    )
    assert _verdict(parted, held, delta) is Reason.E_STATUS_STALE, "a delta alone is no list"
    _advance(parted, 1)
    parted.write_crl()
    newer = _read(parted, "sub.crl")
    assert _verdict(parted, held, newer, delta) is Reason.OK, "the delta is older than the list: it counts for nothing"
    parted.revoke(held.serial, LOST)
    later = _delta(parted)
    assert later.base == newer.number
    assert _verdict(parted, held, full, later) is Reason.E_CERT_REVOKED, "the base may not be laid over what lacks it"


@pytest.mark.req("RV-02")
def test_a_delta_whose_base_is_newer_than_the_list_is_not_used(parted: TestNet) -> None:
    held = parted.issue(Profile.SYSTEM, "held").certificate
    parted.revoke(held.serial, HOLD)
    parted.write_crl()
    old = _read(parted, "sub.crl")
    _advance(parted, 1)
    parted.write_crl()
    parted.release(held.serial)
    delta = _delta(parted)
    assert delta.base is not None
    assert delta.base > old.number
    assert _verdict(parted, held, old, delta) is Reason.E_CERT_REVOKED


@pytest.mark.req("RV-01")
def test_a_forged_delta_lifts_nothing(parted: TestNet) -> None:
    held = parted.issue(Profile.SYSTEM, "held").certificate
    parted.revoke(held.serial, HOLD)
    parted.write_crl()
    full = _read(parted, "sub.crl")
    parted.release(held.serial)
    good = _delta(parted)
    changed = good.der[:-1] + bytes((good.der[-1] ^ 1,))
    try:
        forged = load_any(changed)
    except ZoneGateError as exc:
        assert exc.reason is Reason.E_CRL
        return
    assert _verdict(parted, held, full, forged) is Reason.E_CRL


@pytest.mark.req("RV-02")
def test_a_reader_of_full_lists_refuses_both_parts(parted: TestNet) -> None:
    _delta(parted)
    for name in ("sub.delta.crl", f"sub.{SHARDS}-0.crl"):
        with pytest.raises(ZoneGateError, match="only full lists") as refused:
            load_crl((parted.crl_path / name).read_bytes())
        assert refused.value.reason is Reason.E_CRL
    assert load_crl((parted.crl_path / "sub.crl").read_bytes()).is_full


@pytest.mark.req("RV-01")
def test_an_ended_certificate_stays_until_a_full_list_has_carried_it(parted: TestNet) -> None:
    serial = parted.issue(Profile.SYSTEM, "short", not_after=parted.clock.now() + timedelta(hours=2)).serial
    parted.revoke(serial, LOST)
    _advance(parted, 1)
    parted.write_crl()
    _advance(parted, 3 * 3600)
    assert serial not in _delta(parted).removed, "a delta between does not count as having carried it"
    for listed in (True, False):
        _advance(parted, 1)
        parted.write_crl()
        assert (serial in _read(parted, "sub.crl").revoked) is listed


def test_no_delta_where_none_is_configured(own_net: TestNet) -> None:
    with pytest.raises(ZoneGateError, match="delta_minutes") as refused:
        own_net.authority.publish_delta(Profile.SUB_CA, actor=ACTOR)
    assert refused.value.reason is Reason.E_CRL


def test_addresses_that_give_no_name_to_parts_are_refused(tmp_path: Path, founded: Path) -> None:
    shutil.copytree(founded, tmp_path / "net")
    path = tmp_path / "net" / "ca" / "ca.toml"
    text = path.read_text().replace("/sub.crl", "/sub").replace("[sub]\n", "[sub]\ncrl_shards = 2\n")
    path.write_text(text)
    with pytest.raises(ProblemsError, match=r"must end in \.crl"):
        TestNet(tmp_path / "net", Net.EXTRA, FakeClock())
