"""Handshakes and sessions in memory: our ends with each other, and with stock OpenSSL peers that keep no rule."""

import gc
import weakref
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.hazmat.bindings._rust import _openssl
from OpenSSL import SSL

from support.clock import NOON, FakeClock
from support.forge import CA_USAGE, ENCRYPT_USAGE, ForeignKey, Forged, ForgedNet, forge, uri
from support.tls import (
    Lists,
    RecordForger,
    Stock,
    admit_all,
    exchange,
    forging_client,
    make_holder,
    sessions,
    shake,
    stock_step,
)
from zonegate.errors import ZoneGateError
from zonegate.gateway.tls.channel import Peer
from zonegate.gateway.tls.context import ContextHolder, KeyExchange
from zonegate.gateway.tls.session import Handshake
from zonegate.identity import Net
from zonegate.pki.certificate import Profile
from zonegate.reasons import Reason

EXTRA, INTRA = ForgedNet(), ForgedNet(Net.INTRA)
GATEWAY = EXTRA.leaf("gw", Profile.GATEWAY)
SYSTEM = EXTRA.leaf("system")
HOLDER, CLIENT = make_holder(EXTRA, GATEWAY), make_holder(EXTRA, SYSTEM)


def pair(server: ContextHolder = HOLDER, client: ContextHolder = CLIENT) -> tuple[Handshake, Handshake]:
    near, far = server.server_handshake("192.0.2.1", admit_all), client.client_handshake("192.0.2.2", admit_all)
    shake(near, far)
    return near, far


def against_stock(stock: Stock, holder: ContextHolder = HOLDER) -> tuple[Handshake, SSL.Connection]:
    near, far = holder.server_handshake("192.0.2.1", admit_all), stock.client()
    exchange(lambda data: stock_step(far, data), near.step)
    return near, far


def alert_at(client: SSL.Connection) -> str:
    """Return OpenSSL's words for the alert that a stock client has received."""
    with pytest.raises(SSL.Error) as caught:
        client.recv(1)
    return " ".join(entry[2] for entry in caught.value.args[0])


@pytest.mark.req("TL-01", "TL-03")
def test_mutual_handshake_and_who_is_who():
    near, far = pair()
    assert near.finished
    assert far.finished
    assert near.peer is not None
    assert near.peer.tls is not None
    assert (near.peer.tls.version, near.peer.tls.suite, near.peer.tls.group, near.peer.tls.alpn) == (
        "TLSv1.3",
        "TLS_SM4_GCM_SM3",
        "curveSM2",
        "h2",
    )
    assert str(near.peer.identity) == uri("system")
    assert (near.peer.profile, near.peer.serial) == (Profile.SYSTEM, SYSTEM.certificate.serial)
    assert [one.der for one in near.peer.chain] == [SYSTEM.der, EXTRA.sub_ca.der]
    assert near.peer.not_after == SYSTEM.certificate.not_after
    assert near.peer.address == "192.0.2.1"
    assert far.peer is not None
    assert str(far.peer.identity) == uri("gw")


SUITES = {
    "GCM and CCM: GCM": (b"TLS_SM4_GCM_SM3:TLS_SM4_CCM_SM3", "TLS_SM4_GCM_SM3"),
    "CCM first: the server prefers GCM": (b"TLS_SM4_CCM_SM3:TLS_SM4_GCM_SM3", "TLS_SM4_GCM_SM3"),
    "CCM alone: accepted": (b"TLS_SM4_CCM_SM3", "TLS_SM4_CCM_SM3"),
    "AES first: the server takes SM4": (b"TLS_AES_256_GCM_SHA384:TLS_SM4_CCM_SM3", "TLS_SM4_CCM_SM3"),
}


@pytest.mark.req("TL-01")
@pytest.mark.parametrize(("offered", "chosen"), SUITES.values(), ids=SUITES)
def test_suite(offered: bytes, chosen: str):
    near, far = against_stock(Stock(suites=offered, leaf=SYSTEM))
    assert near.finished, near.error
    assert far.get_cipher_name() == chosen


@pytest.mark.req("TL-11")
@pytest.mark.parametrize(
    ("server", "client", "group"),
    [
        (KeyExchange.SM2, KeyExchange.HYBRID, "curveSM2"),
        (KeyExchange.HYBRID, KeyExchange.SM2, "curveSM2"),
        (KeyExchange.HYBRID, KeyExchange.HYBRID, "curveSM2MLKEM768"),
    ],
)
def test_hybrid_group_only_where_both_ends_have_it(server: KeyExchange, client: KeyExchange, group: str):
    near, far = pair(make_holder(EXTRA, GATEWAY, key_exchange=server), make_holder(EXTRA, SYSTEM, key_exchange=client))
    assert near.finished, near.error
    assert near.peer is not None
    assert far.peer is not None
    assert near.peer.tls == far.peer.tls
    assert near.peer.tls is not None
    assert near.peer.tls.group == group


def leaf_of(issuer: Forged, name: str = "system", **fields: object) -> Forged:
    return forge(name, issuer=issuer, identity=uri(name), **fields)  # type: ignore[arg-type]


def p256_issuer() -> Forged:
    return forge("P256 SUB", issuer=EXTRA.root, key=ForeignKey.p256(), profile=Profile.SUB_CA, usage=CA_USAGE, ca=True)


TWIN_ROOT = ForgedNet()  # the same names and another key

# What a client that follows no rule presents, the reason, and the alert that it gets.
CERTIFICATES = {
    "TL-03 none": (None, Reason.E_NO_CERTIFICATE, "certificate required"),
    "CA-14 INTRA certificate in EXTRA": (INTRA.leaf("system"), Reason.E_TRUST_DOMAIN, "unknown ca"),
    "CA-14 unknown root of the same name": (TWIN_ROOT.leaf("system"), Reason.E_CERT_CHAIN, "decrypt error"),
    "CA-14 INTRA identity below EXTRA": (
        EXTRA.leaf("system", identity=uri("system", Net.INTRA)),
        Reason.E_TRUST_DOMAIN,
        "unknown ca",
    ),
    "TL-02 signed by a P-256 CA": (leaf_of(p256_issuer()), Reason.E_TLS_SIGNATURE, "unsupported certificate"),
    "expired": (
        EXTRA.leaf("system", not_after=NOON - timedelta(seconds=1)),
        Reason.E_CERT_EXPIRED,
        "certificate expired",
    ),
    "not yet valid": (
        EXTRA.leaf("system", not_before=NOON + timedelta(seconds=1)),
        Reason.E_CERT_NOT_YET_VALID,
        "bad certificate",
    ),
    "CE-05 encryption certificate": (
        EXTRA.leaf("system", usage=ENCRYPT_USAGE),
        Reason.E_CERT_USAGE,
        "unsupported certificate",
    ),
    "CE-05 signing and encryption in one": (
        EXTRA.leaf("system", usage=ENCRYPT_USAGE | {"digital_signature"}),
        Reason.E_CERT_USAGE,
        "unsupported certificate",
    ),
    "CE-06 sub-CA as a leaf": (EXTRA.sub_ca, Reason.E_CERT_USAGE, "unsupported certificate"),
    "CE-06 leaf as a CA": (leaf_of(EXTRA.leaf("middle")), Reason.E_CERT_USAGE, "unsupported certificate"),
    "officer": (EXTRA.leaf("officer", Profile.OFFICER), Reason.E_CERT_USAGE, "unsupported certificate"),
    "evidence signer": (EXTRA.leaf("evidence", Profile.EVIDENCE), Reason.E_CERT_USAGE, "unsupported certificate"),
    "no profile": (forge("system", issuer=EXTRA.sub_ca, profile=None, identity=uri("system")), Reason.E_CERT_USAGE, ""),
    "no net": (forge("system", issuer=EXTRA.sub_ca, net=None, identity=uri("system")), Reason.E_TRUST_DOMAIN, ""),
    "no identity": (forge("system", issuer=EXTRA.sub_ca), Reason.E_CERT_USAGE, ""),
    "identity that is none": (EXTRA.leaf("system", identity="spiffe://extra/x/y"), Reason.E_IDENTITY, ""),
    "self-signed": (forge("system", identity=uri("system")), Reason.E_TRUST_DOMAIN, ""),
}


@pytest.mark.req("TL-02", "TL-03", "CE-05", "CE-06", "CA-14")
@pytest.mark.parametrize(("leaf", "reason", "alert"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_client_certificates_refused(leaf: Forged | None, reason: Reason, alert: str):
    near, far = against_stock(Stock(leaf=leaf))
    assert not near.finished
    assert near.error is not None
    assert near.error.reason is reason, near.error
    if leaf is None or leaf.key is not None:
        assert alert in alert_at(far)


@pytest.mark.req("CA-14")
@pytest.mark.parametrize(
    ("leaf", "reason"),
    [
        (INTRA.leaf("gw", Profile.GATEWAY), Reason.E_TRUST_DOMAIN),
        (EXTRA.leaf("gw", Profile.GATEWAY, not_after=NOON), Reason.E_CERT_EXPIRED),
        (EXTRA.leaf("gw", Profile.OFFICER), Reason.E_CERT_USAGE),
    ],
    ids=["other net", "the instant after expiry", "officer"],
)
def test_server_certificates_refused_by_our_client(leaf: Forged, reason: Reason):
    clock = FakeClock(NOON + timedelta(seconds=1))
    far, near = make_holder(EXTRA, SYSTEM, clock=clock).client_handshake("", admit_all), Stock(leaf=leaf).server()
    exchange(far.step, lambda data: stock_step(near, data))
    assert far.error is not None
    assert far.error.reason is reason


@pytest.mark.req("TL-02")
@pytest.mark.parametrize("key", [ForeignKey.p256(), ForeignKey.rsa()], ids=["P-256", "RSA"])
def test_server_with_a_foreign_key_cannot_serve_our_client(key: ForeignKey):
    leaf = forge("gw", key=key, profile=Profile.GATEWAY, identity=uri("gw"))
    far = CLIENT.client_handshake("", admit_all)
    near = Stock(leaf=leaf, signatures=None, suites=None, groups=None).server()
    exchange(far.step, lambda data: stock_step(near, data))
    assert not far.finished
    assert far.error is not None
    assert far.error.reason is Reason.E_UPSTREAM
    assert "alert handshake_failure" in far.error.detail


@pytest.mark.req("TL-02")
@pytest.mark.parametrize("key", [ForeignKey.p256(), ForeignKey.rsa()], ids=["P-256", "RSA"])
def test_client_with_a_foreign_key_has_nothing_to_show(key: ForeignKey):
    leaf = forge("system", key=key, identity=uri("system"))
    near, _far = against_stock(
        Stock(leaf=leaf, signatures=("sm2sig_sm3", "ecdsa_secp256r1_sha256", "rsa_pss_rsae_sha256"))
    )
    assert near.error is not None
    assert near.error.reason is Reason.E_NO_CERTIFICATE


@pytest.mark.req("RV-04")
def test_revoked_and_stale_status():
    crls = EXTRA.crls(revoked=[SYSTEM.certificate.serial])
    near, far = against_stock(Stock(leaf=SYSTEM), make_holder(EXTRA, GATEWAY, lists=Lists(crls)))
    assert near.error is not None
    assert near.error.reason is Reason.E_CERT_REVOKED
    assert "certificate revoked" in alert_at(far)
    late = FakeClock(NOON + timedelta(hours=25))
    near, _far = pair(make_holder(EXTRA, GATEWAY, lists=Lists(EXTRA.crls()), clock=late))
    assert near.error is not None
    assert near.error.reason is Reason.E_STATUS_STALE


@pytest.mark.req("TL-07")
def test_status_is_asked_anew_although_signatures_are_remembered():
    lists = Lists(EXTRA.crls())
    holder = make_holder(EXTRA, GATEWAY, lists=lists)
    assert pair(holder)[0].finished
    lists.crls = EXTRA.crls(2, revoked=[SYSTEM.certificate.serial])
    near, _far = pair(holder)
    assert near.error is not None
    assert near.error.reason is Reason.E_CERT_REVOKED


def test_expiry_is_asked_anew_although_signatures_are_remembered():
    clock = FakeClock()
    holder = make_holder(EXTRA, GATEWAY, clock=clock)
    assert pair(holder)[0].finished
    clock.advance(366 * 86400)
    near, _far = pair(holder)
    assert near.error is not None
    assert near.error.reason is Reason.E_CERT_EXPIRED


def test_the_one_who_admits_has_the_last_word_before_any_application_byte():
    def refuse(peer: Peer) -> None:
        assert str(peer.identity) == uri("system")
        raise ZoneGateError(Reason.E_ZONE_IDENTITY, "identity: another zone")

    near, far = HOLDER.server_handshake("192.0.2.1", refuse), Stock(leaf=SYSTEM).client()
    exchange(lambda data: stock_step(far, data), near.step)
    assert near.error is not None
    assert near.error.reason is Reason.E_ZONE_IDENTITY
    assert "handshake failure" in alert_at(far)


def test_our_client_learns_the_servers_refusal_at_its_first_read():
    near, far = pair(make_holder(EXTRA, GATEWAY, lists=Lists(EXTRA.crls(revoked=[SYSTEM.certificate.serial]))))
    assert far.finished
    session = far.session()
    with pytest.raises(ZoneGateError) as caught:
        session.read_early()
    assert caught.value.reason is Reason.E_UPSTREAM
    assert "certificate_revoked" in caught.value.detail
    assert not near.finished


@pytest.mark.req("TL-07")
def test_no_resumption_and_no_early_data():
    stock = Stock(leaf=SYSTEM)
    context = stock.context()
    context.set_session_cache_mode(SSL.SESS_CACHE_CLIENT)
    first = SSL.Connection(context, None)
    first.set_connect_state()
    near = HOLDER.server_handshake("", admit_all)
    exchange(lambda data: stock_step(first, data), near.step)
    with pytest.raises(SSL.WantReadError):
        first.recv(1)
    ticket = first.get_session()
    assert ticket is not None
    assert _openssl.lib.SSL_SESSION_get_max_early_data(ticket._session) == 0
    again = SSL.Connection(context, None)
    again.set_connect_state()
    again.set_session(ticket)
    seen: list[Peer] = []
    near = HOLDER.server_handshake("", seen.append)
    exchange(lambda data: stock_step(again, data), near.step)
    assert near.finished
    assert seen, "the certificate was not looked at again"


# A session's life.


def test_messages_of_every_size_come_through_once_and_whole():
    near, far = sessions(EXTRA, HOLDER, CLIENT)
    for size in (1, 200, 16383, 16384, 16385, 100_000, 1 << 20):
        message = bytes(range(256)) * (size // 256 + 1)
        assert near.read(far.write(message[:size])) == message[:size]
        assert far.read(near.write(message[:size])) == message[:size]


def test_any_split_of_the_wire_gives_the_same_bytes():
    near, far = sessions(EXTRA, HOLDER, CLIENT)
    message = bytes(range(256)) * 300
    wire = far.write(message)
    got = b"".join(near.read(wire[at : at + 1021]) for at in range(0, len(wire), 1021))
    assert got == message


def test_close_notify_ends_in_order():
    near, far = sessions(EXTRA, HOLDER, CLIENT)
    wire = far.write(b"last") + far.close()
    assert near.read(wire) == b"last"
    assert near.ended


def test_records_are_counted_both_ways():
    near, far = sessions(EXTRA, HOLDER, CLIENT)
    near.read(far.write(bytes(40_000)))
    assert (far.sealed_records, near.opened_records) == (3, 3)


def test_a_changed_byte_ends_the_session_with_a_reason():
    near, far = sessions(EXTRA, HOLDER, CLIENT)
    wire = bytearray(far.write(b"x" * 64))
    wire[20] ^= 1
    with pytest.raises(ZoneGateError) as caught:
        near.read(bytes(wire))
    assert caught.value.reason is Reason.E_TLS_PROTOCOL
    with pytest.raises(ZoneGateError, match="bad_record_mac"):
        far.read(near.pending_output())


def forged_session() -> tuple[object, SSL.Connection, RecordForger]:
    far, secrets = forging_client(Stock(leaf=SYSTEM))
    near = HOLDER.server_handshake("", admit_all)
    exchange(lambda data: stock_step(far, data), near.step)
    return near.session(), far, RecordForger(secrets[0])


def test_key_updates_are_counted_answered_and_change_nothing():
    session, _far, forger = forged_session()
    usual = len(session.write(b"x"))
    assert session.read(forger.key_update(answer=True)) == b""
    assert session.silent_records == 1
    assert len(session.write(b"x")) > usual, "the answer leaves with the next write"
    assert session.read(forger.key_update() + forger.record(23, b"after")) == b"after"
    assert session.silent_records == 2


def test_empty_records_are_counted():
    session, _far, forger = forged_session()
    for _ in range(10):
        assert session.read(forger.record(23, b"")) == b""
    assert session.silent_records == 10


HOSTILE_RECORDS = {
    "second ClientHello": (22, b"\x01\x00\x00\x02\x03\x03"),
    "certificate request": (22, b"\x0d\x00\x00\x03\x00\x00\x00"),
    "key update of a third kind": (22, b"\x18\x00\x00\x01\x02"),
    "unknown content type": (99, b"\x00"),
    "fatal alert": (21, b"\x02\x28"),
    "half an alert": (21, b"\x02"),
}


@pytest.mark.parametrize(("content_type", "content"), HOSTILE_RECORDS.values(), ids=HOSTILE_RECORDS)
def test_hostile_records_end_the_session_with_one_named_error(content_type: int, content: bytes):
    session, _far, forger = forged_session()
    with pytest.raises(ZoneGateError) as caught:
        session.read(forger.record(content_type, content))
    assert caught.value.reason in (Reason.E_TLS_PROTOCOL, Reason.E_TLS_ALERT)


# The holder.


def test_renewal_serves_new_connections_and_leaves_old_ones():
    holder = make_holder(EXTRA, GATEWAY)
    near, far = sessions(EXTRA, holder, CLIENT)
    renewed = EXTRA.leaf("gw", Profile.GATEWAY)
    holder.renew(renewed.credential)
    assert near.read(far.write(b"still here")) == b"still here"
    _near, again = pair(holder)
    assert again.peer is not None
    assert again.peer.serial == renewed.certificate.serial


def test_a_renewal_that_cannot_serve_changes_nothing():
    holder = make_holder(EXTRA, GATEWAY)
    broken = replace(GATEWAY.credential, key=SYSTEM.credential.key)
    with pytest.raises(ZoneGateError) as caught:
        holder.renew(broken)
    assert caught.value.reason is Reason.E_CONFIG
    assert pair(holder)[0].finished


def test_a_refused_handshake_frees_its_connection_at_once():
    """Without waiting for the garbage collector: 4 ms of arithmetic a piece is enough, memory is not theirs too."""
    near, far = against_stock(Stock())
    reference = weakref.ref(near._connection)
    gc.disable()
    try:
        del near, far
        assert reference() is None
    finally:
        gc.enable()
