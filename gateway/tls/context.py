"""[a] Builds the OpenSSL contexts of RFC 8998 and swaps them when a credential is renewed.

A context is frozen at its first connection, so a change is always a new pair of contexts; running connections keep the
old one until they end. Resumption and 0-RTT are off (TL-07): every connection shows its certificate and its status.
"""

import secrets
import threading
from collections.abc import Callable
from enum import StrEnum

from cryptography import x509
from OpenSSL import SSL

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import check, clienthello, pins
from zonegate.gateway.tls.channel import Peer
from zonegate.gateway.tls.session import ChainVerifier, Handshake, Role, judge_certificate
from zonegate.gateway.tls.verifier import PeerVerifier
from zonegate.pki.credential import Credential
from zonegate.reasons import Reason

_OPTIONS = SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION


class KeyExchange(StrEnum):
    """Which groups are offered and taken; the hybrid adds ML-KEM-768 and still takes plain curveSM2 (TL-11)."""

    SM2 = "curveSM2"
    HYBRID = "curveSM2MLKEM768"

    @property
    def group_names(self) -> tuple[str, ...]:
        """The groups in order of preference, as OpenSSL names them."""
        return (check.GROUP_SM2,) if self is KeyExchange.SM2 else (check.GROUP_HYBRID, check.GROUP_SM2)

    @property
    def group_numbers(self) -> frozenset[int]:
        """The same groups by number, for the ClientHello check."""
        numbers = {clienthello.CURVE_SM2}
        if self is KeyExchange.HYBRID:
            numbers.add(clienthello.CURVE_SM2_MLKEM768)
        return frozenset(numbers)


def build_context(credential: Credential, verifier: PeerVerifier, key_exchange: KeyExchange) -> SSL.Context:
    """Return a context pinned to RFC 8998, for either role; raises E_CONFIG or E_SELFTEST."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    try:
        context.set_tls13_ciphersuites(":".join(check.SUITES).encode())
    except SSL.Error as exc:
        raise ZoneGateError(Reason.E_SELFTEST, f"cipher suites: not known to {pins.versions()} (TL-05)") from exc
    pins.pin_groups(context, key_exchange.group_names)
    pins.pin_signatures(context, (check.SIGNATURE_SM2,))
    context.set_options(_OPTIONS)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Without an id of its own a server that asks for certificates would fail oddly on a resumption attempt.
    context.set_session_id(secrets.token_bytes(16))
    context.set_alpn_protos([check.ALPN.encode()])
    # A client without h2 gets no protocol here and is refused by `check_facts`; most are refused at their hello.
    context.set_alpn_select_callback(
        lambda _connection, offered: (
            check.ALPN.encode() if check.ALPN.encode() in offered else SSL.NO_OVERLAPPING_PROTOCOLS
        )
    )
    try:
        context.use_certificate(x509.load_der_x509_certificate(credential.chain[0].der))
        for issuer in credential.chain[1:]:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(issuer.der))
        pins.use_key(context, credential.key.to_pkcs8())
        context.check_privatekey()
    except SSL.Error as exc:
        raise ZoneGateError(Reason.E_CONFIG, "credential: key and certificate do not belong together") from exc
    context.set_verify_depth(check.CHAIN_MAX - 1)
    pins.trust(context, [certificate.der for certificate in verifier.authorities])
    pins.set_judge(context, judge_certificate)
    return context


class ContextHolder:
    """The contexts in force for one process's identity; thread-safe, replaced whole by `renew`."""

    def __init__(
        self,
        credential: Credential,
        verifier: PeerVerifier,
        *,
        key_exchange: KeyExchange = KeyExchange.SM2,
    ) -> None:
        self._lock = threading.Lock()
        self._verifier = verifier
        self._key_exchange = key_exchange
        self._credential = credential
        self._context = build_context(credential, verifier, key_exchange)

    @property
    def credential(self) -> Credential:
        """The certificate chain and key that new connections use."""
        return self._credential

    @property
    def verifier(self) -> PeerVerifier:
        """What verifies the peers of new connections."""
        return self._verifier

    @property
    def key_exchange(self) -> KeyExchange:
        """The groups in force."""
        return self._key_exchange

    def renew(self, credential: Credential, verifier: PeerVerifier | None = None) -> None:
        """Use `credential` (and other trust) for new connections; if it cannot serve, raise and change nothing."""
        with self._lock:
            kept = self._verifier if verifier is None else verifier
            context = build_context(credential, kept, self._key_exchange)
            self._credential, self._verifier, self._context = credential, kept, context

    def server_handshake(self, address: str, admit: Callable[[Peer], None]) -> Handshake:
        """Return a handshake in the server's role."""
        return self._handshake(Role.SERVER, address, admit)

    def client_handshake(self, address: str, expect: Callable[[Peer], None]) -> Handshake:
        """Return a handshake in the client's role; `expect` refuses a peer that is not the one meant."""
        return self._handshake(Role.CLIENT, address, expect)

    def probe_handshake(self, role: Role, verifier: ChainVerifier, admit: Callable[[Peer], None]) -> Handshake:
        """Return a handshake with the contexts in force and another verifier, for `probe`."""
        with self._lock:
            context = self._context
        return Handshake(SSL.Connection(context, None), role, "", verifier, self._key_exchange.group_names, admit)

    def _handshake(self, role: Role, address: str, admit: Callable[[Peer], None]) -> Handshake:
        with self._lock:
            context, verifier = self._context, self._verifier
        return Handshake(SSL.Connection(context, None), role, address, verifier, self._key_exchange.group_names, admit)
