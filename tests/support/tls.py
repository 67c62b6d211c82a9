"""TLS ends over memory for tests: our own handshakes, and stock OpenSSL peers that follow none of our pins."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

from support.clock import FakeClock
from support.forge import Forged, ForgedNet
from zonegate.gateway.tls import pins
from zonegate.gateway.tls.channel import Peer
from zonegate.gateway.tls.context import ContextHolder, KeyExchange
from zonegate.gateway.tls.session import Handshake, Session
from zonegate.gateway.tls.verifier import PeerVerifier
from zonegate.gm import sm3, sm4
from zonegate.pki.crl import Crl
from zonegate.pki.path import StatusRule

SM_SUITES = b"TLS_SM4_GCM_SM3:TLS_SM4_CCM_SM3"


def admit_all(_peer: Peer) -> None:
    """Everybody whose chain verifies."""


@dataclass
class Lists:
    """A status source of fixed lists."""

    crls: tuple[Crl, ...] = ()


def make_holder(
    net: ForgedNet,
    leaf: Forged,
    *,
    clock: FakeClock | None = None,
    lists: Lists | None = None,
    key_exchange: KeyExchange = KeyExchange.SM2,
) -> ContextHolder:
    verifier = PeerVerifier(
        net.anchors,
        status=lists or Lists(),
        status_rule=StatusRule.WHEN_GIVEN if lists is None else StatusRule.REQUIRED,
        clock=clock or FakeClock(),
    )
    return ContextHolder(leaf.credential, verifier, key_exchange=key_exchange)


@dataclass
class Stock:
    """A stock OpenSSL peer: what a test does not set is the library's default. It trusts anybody."""

    suites: bytes | None = SM_SUITES
    groups: tuple[str, ...] | None = ("curveSM2",)
    signatures: tuple[str, ...] | None = ("sm2sig_sm3",)
    alpn: tuple[bytes, ...] = (b"h2",)
    minimum: int = SSL.TLS1_3_VERSION
    maximum: int = SSL.TLS1_3_VERSION
    leaf: Forged | None = None
    chain: tuple[Forged, ...] | None = None
    ciphers: bytes | None = None

    def context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(self.minimum)
        context.set_max_proto_version(self.maximum)
        if self.suites is not None:
            context.set_tls13_ciphersuites(self.suites)
        if self.ciphers is not None:
            context.set_cipher_list(self.ciphers)
        if self.groups is not None:
            pins.pin_groups(context, self.groups)
        if self.signatures is not None:
            pins.pin_signatures(context, self.signatures)
        if self.alpn:
            context.set_alpn_protos(list(self.alpn))
            context.set_alpn_select_callback(lambda _connection, offered: offered[0])
        if self.leaf is not None:
            context.use_certificate(x509.load_der_x509_certificate(self.leaf.der))
            for issuer in self.leaf.chain if self.chain is None else self.chain:
                context.add_extra_chain_cert(x509.load_der_x509_certificate(issuer.der))
            pins.use_key(context, self.leaf.key.to_pkcs8())
        context.set_verify(SSL.VERIFY_PEER, lambda *_arguments: True)
        return context

    def client(self) -> SSL.Connection:
        connection = SSL.Connection(self.context(), None)
        connection.set_connect_state()
        return connection

    def server(self) -> SSL.Connection:
        connection = SSL.Connection(self.context(), None)
        connection.set_accept_state()
        return connection


def stock_step(connection: SSL.Connection, data: bytes) -> bytes:
    """Go on with a stock peer's handshake; its own failures stay its own."""
    if data:
        connection.bio_write(data)
    with contextlib.suppress(SSL.Error):
        connection.do_handshake()
    return drain(connection)


def drain(connection: SSL.Connection) -> bytes:
    pieces = []
    while True:
        try:
            pieces.append(connection.bio_read(65536))
        except SSL.WantReadError:
            return b"".join(pieces)


def client_hello(stock: Stock) -> bytes:
    """Return the first bytes that a stock client sends."""
    return stock_step(stock.client(), b"")


def exchange(client: Callable[[bytes], bytes], server: Callable[[bytes], bytes], rounds: int = 6) -> None:
    """Carry flights between two ends until neither has anything to say."""
    flight = b""
    for _ in range(rounds):
        to_server = client(flight)
        flight = server(to_server) if to_server else b""
        if not flight:
            return


def shake(server: Handshake, client: Handshake) -> None:
    """Run a handshake between two of our own ends."""
    exchange(client.step, server.step)


def sessions(net: ForgedNet, server: ContextHolder, client: ContextHolder) -> tuple[Session, Session]:
    """Return two established ends, server's first."""
    del net
    near, far = server.server_handshake("192.0.2.1", admit_all), client.client_handshake("192.0.2.2", admit_all)
    shake(near, far)
    assert near.finished, near.error
    assert far.finished, far.error
    return near.session(), far.session()


class RecordForger:
    """Seals TLS 1.3 records with a client's traffic secret, as a hostile client would (RFC 8446 5)."""

    def __init__(self, secret: bytes) -> None:
        self._use(secret)

    def record(self, content_type: int, content: bytes) -> bytes:
        """Return the next record; TLS_SM4_GCM_SM3 only."""
        inner = content + bytes([content_type])
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2, "big")
        nonce = bytes(a ^ b for a, b in zip(self._iv, self._sequence.to_bytes(12, "big"), strict=True))
        self._sequence += 1
        return header + sm4.gcm_seal(self._key, nonce, inner, header)

    def key_update(self, *, answer: bool = False) -> bytes:
        """Return a KeyUpdate and change keys."""
        record = self.record(22, b"\x18\x00\x00\x01" + bytes([answer]))
        self._use(_expand_label(self._secret, b"traffic upd", 32))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = _expand_label(secret, b"key", 16)
        self._iv = _expand_label(secret, b"iv", 12)
        self._sequence = 0


def _expand_label(secret: bytes, label: bytes, length: int) -> bytes:
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + b"\x00"
    return sm3.hmac(secret, info + b"\x01")[:length]


def forging_client(stock: Stock) -> tuple[SSL.Connection, list[bytes]]:
    """Return a stock client and the list that its traffic secret will stand in."""
    secrets: list[bytes] = []

    def keep(_connection: SSL.Connection, line: bytes) -> None:
        name, _random, value = line.split()
        if name == b"CLIENT_TRAFFIC_SECRET_0":
            secrets.append(bytes.fromhex(value.decode()))

    context = stock.context()
    context.set_keylog_callback(keep)
    connection = SSL.Connection(context, None)
    connection.set_connect_state()
    return connection, secrets
