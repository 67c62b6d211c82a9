"""What `check` refuses that a handshake in memory cannot bring about, because OpenSSL, pinned, would not get so far."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.contract import value_or_refusal
from support.forge import CA_USAGE, ForeignKey, ForgedNet, forge, uri
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import alerts, check
from zonegate.gateway.tls.channel import TlsFacts
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason

EXTRA, INTRA = ForgedNet(), ForgedNet(Net.INTRA)
LEAF = EXTRA.leaf("system")
FACTS = TlsFacts("TLSv1.3", "TLS_SM4_GCM_SM3", "curveSM2", "h2")
PLAIN = ("curveSM2",)

RSA = forge("system", key=ForeignKey.rsa(), identity=uri("system"))
P256 = forge("system", key=ForeignKey.p256(), identity=uri("system"))
P256_KEY_SM2_SIGNED = forge("system", key=ForeignKey.p256(), issuer=EXTRA.sub_ca, identity=uri("system"))

CHAINS = {
    "nothing": ((), Reason.E_NO_CERTIFICATE),
    "TL-02 RSA leaf": ((RSA.der,), Reason.E_TLS_SIGNATURE),
    "TL-02 P-256 leaf": ((P256.der,), Reason.E_TLS_SIGNATURE),
    "TL-02 P-256 key signed by an SM2 CA": ((P256_KEY_SM2_SIGNED.der, EXTRA.sub_ca.der), Reason.E_TLS_SIGNATURE),
    "TL-02 RSA above an SM2 leaf": ((LEAF.der, RSA.der), Reason.E_TLS_SIGNATURE),
    "five certificates": ((LEAF.der,) * 5, Reason.E_CERT_CHAIN),
    "a certificate of 8193 bytes": ((bytes(8193),), Reason.E_CERT_CHAIN),
    "not a certificate": ((b"\x30\x03\x02\x01\x00",), Reason.E_CERT_CHAIN),
}


@pytest.mark.req("TL-02")
@pytest.mark.parametrize(("chain", "reason"), CHAINS.values(), ids=CHAINS)
def test_chain_refused(chain: tuple[bytes, ...], reason: Reason):
    with pytest.raises(ZoneGateError) as caught:
        check.check_chain(chain)
    assert caught.value.reason is reason


def test_chain_of_sm2_passes():
    check.check_chain(LEAF.chain_der)


FACTS_REFUSED = {
    "TL-04 version": (replace(FACTS, version="TLSv1.2"), PLAIN, Reason.E_TLS_VERSION),
    "TL-04 AES": (replace(FACTS, suite="TLS_AES_128_GCM_SHA256"), PLAIN, Reason.E_TLS_SUITE),
    "TL-02 P-256": (replace(FACTS, group="prime256v1"), PLAIN, Reason.E_TLS_GROUP),
    "TL-11 hybrid where it is off": (replace(FACTS, group="curveSM2MLKEM768"), PLAIN, Reason.E_TLS_GROUP),
    "no group": (replace(FACTS, group=""), PLAIN, Reason.E_TLS_GROUP),
    "no ALPN": (replace(FACTS, alpn=""), PLAIN, Reason.E_TLS_ALPN),
}


@pytest.mark.req("TL-01", "TL-04")
@pytest.mark.parametrize(("facts", "groups", "reason"), FACTS_REFUSED.values(), ids=FACTS_REFUSED)
def test_facts_refused(facts: TlsFacts, groups: tuple[str, ...], reason: Reason):
    with pytest.raises(ZoneGateError) as caught:
        check.check_facts(facts, groups)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("facts", "groups"),
    [
        (FACTS, PLAIN),
        (replace(FACTS, suite="TLS_SM4_CCM_SM3"), PLAIN),
        (replace(FACTS, group="curveSM2MLKEM768"), ("curveSM2MLKEM768", "curveSM2")),
    ],
)
def test_facts_of_rfc_8998_pass(facts: TlsFacts, groups: tuple[str, ...]):
    check.check_facts(facts, groups)


EXTERNAL = forge("EXTERNAL ROOT", net=None, profile=None, usage=CA_USAGE, ca=True).certificate
ANCHORS = {
    "one net": (EXTRA.anchors, (EXTRA.sub_ca.certificate,), None),
    "an external root": (TrustAnchors(Net.EXTRA, (EXTERNAL,)), (EXTRA.sub_ca.certificate,), None),
    "none": (TrustAnchors(Net.EXTRA, ()), (), Reason.E_CONFIG),
    "CA-14 roots of both nets": (
        TrustAnchors(Net.EXTRA, (EXTRA.root.certificate, INTRA.root.certificate)),
        (),
        Reason.E_CONFIG,
    ),
    "CA-14 sub-CA of the other net": (EXTRA.anchors, (INTRA.sub_ca.certificate,), Reason.E_CONFIG),
    "sub-CA of no net": (EXTRA.anchors, (EXTERNAL,), Reason.E_CONFIG),
}


@pytest.mark.req("CA-14")
@pytest.mark.parametrize(("anchors", "intermediates", "reason"), ANCHORS.values(), ids=ANCHORS)
def test_anchors(anchors: TrustAnchors, intermediates: tuple, reason: Reason | None):
    if reason is None:
        check.check_anchors(anchors, intermediates)
        return
    with pytest.raises(ZoneGateError) as caught:
        check.check_anchors(anchors, intermediates)
    assert caught.value.reason is reason


def test_peer_ends_with_the_first_certificate_of_its_path():
    path = (LEAF.certificate, EXTRA.sub_ca.certificate)
    peer = check.peer_of("192.0.2.1", path)
    assert peer.not_after == min(one.not_after for one in path)
    assert (peer.fingerprint, peer.profile) == (path[0].fingerprint, Profile.SYSTEM)


@given(st.binary(max_size=400))
def test_any_bytes_as_a_certificate_give_one_named_error(der: bytes):
    value_or_refusal(lambda one: check.check_chain((one,)), der, Reason.E_CERT_CHAIN, Reason.E_TLS_SIGNATURE)


@given(st.integers(0, len(LEAF.der) - 1), st.integers(0, 255))
@example(12, 1)  # version 2, which is not a ValueError to the library
@example(15, 128)  # a negative serial, which it only warns about
def test_any_changed_byte_of_a_certificate_gives_one_named_error(position: int, value: int):
    der = LEAF.der[:position] + bytes([value]) + LEAF.der[position + 1 :]
    value_or_refusal(lambda one: check.check_chain((one,)), der, Reason.E_CERT_CHAIN, Reason.E_TLS_SIGNATURE)


ALERTS = {
    "tls alert unknown ca": "unknown_ca",
    "tlsv1 alert no application protocol": "no_application_protocol",
    "sslv3 alert handshake failure": "handshake_failure",
    "tlsv13 alert certificate required": "certificate_required",
    "no shared cipher": None,
    "unexpected alert x": None,
}


@pytest.mark.parametrize(("text", "name"), ALERTS.items(), ids=ALERTS)
def test_alert_names(text: str, name: str | None):
    assert alerts.alert_name(text) == name


def test_hello_refusals_are_alert_records_or_silence():
    assert alerts.hello_refusal(Reason.E_TLS_VERSION, b"\x16") == bytes.fromhex("15030300020246")
    assert alerts.hello_refusal(Reason.E_TLS_PROTOCOL, b"G") == b""
    assert alerts.hello_refusal(Reason.E_TLS_RATE, b"\x16") == b""
    names = {alert.label for alert in alerts.Alert}
    assert "certificate_required" in names
