"""[a] TLS over memory buffers: a handshake that is stepped, and the session that comes of it. Bytes in, bytes out.

No socket, no loop, no thread of its own: `connection` moves the bytes, `handshake` runs the steps on its threads. One
object is used by one thread at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Protocol

from OpenSSL import SSL

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import alerts, check, pins
from zonegate.gateway.tls.channel import Peer, TlsFacts
from zonegate.gateway.tls.records import RecordCounter
from zonegate.pki.certificate import Certificate
from zonegate.reasons import Reason

_RECORD_BYTES = 16384
# Record header 5, inner content type 1, authentication tag 16.
_RECORD_OVERHEAD = 22
_READ_SLACK = 512


class Role(Enum):
    """Which end of the handshake this is."""

    SERVER = "server"
    CLIENT = "client"


class ChainVerifier(Protocol):
    """Whoever verifies a presented chain: `verifier.PeerVerifier`."""

    def verify(self, chain: Sequence[bytes]) -> tuple[Certificate, ...]:
        """Return the verified path, leaf first, without the root."""
        ...


def judge_certificate(connection: SSL.Connection, der: bytes, depth: int, openssl_error: int) -> int:
    """Pass OpenSSL's verification callback to the handshake that it belongs to."""
    handshake: Handshake = connection.get_app_data()
    return handshake.judge(der, depth, openssl_error)


class Handshake:
    """One handshake. Call `step` with what arrived until `finished` or `error` is set; send what it returns.

    The peer's chain is verified and the peer admitted while OpenSSL still waits for the verdict, so a refusal leaves
    as a TLS alert and no application byte is ever read from or written to a peer that was not admitted.
    """

    def __init__(
        self,
        connection: SSL.Connection,
        role: Role,
        address: str,
        verifier: ChainVerifier,
        groups: tuple[str, ...],
        admit: Callable[[Peer], None],
    ) -> None:
        self.role = role
        self.finished = False
        self.error: ZoneGateError | None = None
        self.peer: Peer | None = None
        self._connection = connection
        self._address = address
        self._verifier = verifier
        self._groups = groups
        self._admit = admit
        self._records = RecordCounter()
        self._chain: dict[int, bytes] = {}
        self._openssl_error: tuple[int, int] | None = None
        connection.set_app_data(self)
        if role is Role.SERVER:
            connection.set_accept_state()
        else:
            connection.set_connect_state()

    def step(self, data: bytes) -> bytes:
        """Take what arrived, go on with the handshake, and return what is to be sent."""
        if data:
            self._records.feed(data)
            self._connection.bio_write(data)
        try:
            self._connection.do_handshake()
            self.finished = True
        except SSL.WantReadError:
            pass
        except SSL.Error as exc:
            if self.error is None:
                self.error = handshake_error(exc, self.role)
        if self.finished:
            self._check_facts()
        if self.finished or self.error is not None:
            # The connection holds this object and this object the connection: let go, so that both are freed at once.
            self._connection.set_app_data(None)
        return drain(self._connection)

    def session(self) -> "Session":
        """Return the session of a finished handshake."""
        return Session(self._connection, self._records, self.role)

    def judge(self, der: bytes, depth: int, openssl_error: int) -> int:
        """Collect the chain that OpenSSL builds and what it says against it; decide at the leaf, its last word."""
        self._chain[depth] = der
        if openssl_error != pins.X509_OK:
            if self._openssl_error is None:
                self._openssl_error = (openssl_error, depth)
            if openssl_error != pins.X509_LEAF_UNVERIFIED and self.peer is None:
                return pins.X509_OK
        elif depth > 0:
            return pins.X509_OK
        try:
            self.peer = self._verified_peer()
        except ZoneGateError as exc:
            self.peer = None
            self.error = exc
            return alerts.x509_error(exc.reason)
        return pins.X509_OK

    def _verified_peer(self) -> Peer:
        chain = tuple(self._chain[depth] for depth in sorted(self._chain))
        path = self._verifier.verify(chain)
        if self._openssl_error is not None:
            code, depth = self._openssl_error
            raise ZoneGateError(Reason.E_CERT_CHAIN, f"certificate {depth}: OpenSSL says {pins.error_text(code)}")
        peer = check.peer_of(self._address, path)
        self._admit(peer)
        return peer

    def _check_facts(self) -> None:
        facts = TlsFacts(
            version=self._connection.get_protocol_version_name(),
            suite=self._connection.get_cipher_name() or "",
            group=self._connection.get_group_name() or "",
            alpn=self._connection.get_alpn_proto_negotiated().decode("ascii", "replace"),
        )
        try:
            check.check_facts(facts, self._groups)
        except ZoneGateError as exc:
            self.error = exc
            return
        if self.peer is None:
            self.error = ZoneGateError(Reason.E_NO_CERTIFICATE, "certificate: none was verified")
            return
        self.peer = replace(self.peer, tls=facts)


class Session:
    """An established TLS connection over memory buffers."""

    def __init__(self, connection: SSL.Connection, records: RecordCounter, role: Role) -> None:
        self._connection = connection
        self._records = records
        self._role = role
        self._heard = False
        self.silent_records = 0
        """Records without application data so far; the owner bounds their rate."""
        self.ended = False
        """Whether the peer has sent close_notify."""
        self.sealed_records = 0
        """Records sent under this session's keys, which pyOpenSSL offers no way to change."""
        self.opened_records = 0
        """Records received."""

    def read(self, data: bytes) -> bytes:
        """Take what arrived and return the application data in it; raises E_TLS_PROTOCOL or E_TLS_ALERT."""
        count = self._records.feed(data)
        self.opened_records += count
        self._connection.bio_write(data)
        if count == 1:
            return self._read_record()
        return b"".join([self._read_record() for _ in range(count)])

    def read_early(self) -> bytes:
        """Return the application data that came together with the end of the handshake."""
        pieces = []
        while not self.ended:
            before = self.silent_records
            piece = self._read_record()
            if self.silent_records != before:
                # Nothing complete is left; this was a question, not a record.
                self.silent_records = before
                break
            pieces.append(piece)
        return b"".join(pieces)

    def write(self, data: bytes) -> bytes:
        """Encrypt `data` and return everything that is to be sent."""
        try:
            # pyOpenSSL turns partial writes on: `send` would stop after one record.
            self._connection.sendall(data)
        except SSL.Error as exc:
            raise self._translated(exc) from exc
        records = len(data) // _RECORD_BYTES + 1
        self.sealed_records += records
        return drain(self._connection, len(data) + _RECORD_OVERHEAD * records + _READ_SLACK)

    def pending_output(self) -> bytes:
        """Return what OpenSSL wants sent by itself: an alert. Answers to KeyUpdate leave with the next write."""
        return drain(self._connection)

    def close(self) -> bytes:
        """Return the close_notify record."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            # The connection has failed before; there is nothing left to say to the peer.
            return b""
        return drain(self._connection)

    def _read_record(self) -> bytes:
        if self.ended:
            return b""
        try:
            data = self._connection.recv(_RECORD_BYTES)
        except SSL.WantReadError:
            self.silent_records += 1
        except SSL.ZeroReturnError:
            self.ended = True
        except SSL.Error as exc:
            raise self._translated(exc) from exc
        else:
            self._heard = True
            return data
        return b""

    def _translated(self, error: SSL.Error) -> ZoneGateError:
        for text in _texts(error):
            name = alerts.alert_name(text)
            if name is not None:
                if self._role is Role.CLIENT and not self._heard:
                    # TLS 1.3: the client is done before the server has judged its certificate (RFC 8446 4.4.4).
                    return _alert_error(name, self._role)
                reason = Reason.E_UPSTREAM_RESET if self._role is Role.CLIENT else Reason.E_TLS_ALERT
                return ZoneGateError(reason, f"connection: the peer ended it with the alert {name}")
        return ZoneGateError(Reason.E_TLS_PROTOCOL, f"record: {'; '.join(_texts(error)) or 'cannot be read'}")


def drain(connection: SSL.Connection, expected: int = 4096) -> bytes:
    """Return everything that waits to be sent."""
    try:
        data = connection.bio_read(expected)
    except SSL.WantReadError:
        return b""
    if len(data) < expected:
        return data
    pieces = [data]
    while True:
        try:
            pieces.append(connection.bio_read(65536))
        except SSL.WantReadError:
            return b"".join(pieces)


def _texts(error: SSL.Error) -> list[str]:
    """Return the reason strings of OpenSSL's error queue; pyOpenSSL keeps (library, function, reason) triples."""
    if error.args and isinstance(error.args[0], list):
        return [str(entry[2]) for entry in error.args[0]]
    return [str(argument) for argument in error.args]


# OpenSSL's words in a failed handshake, and what they mean here. Whatever is not listed is E_TLS_PROTOCOL.
_HANDSHAKE_REASONS = (
    ("peer did not return a certificate", Reason.E_NO_CERTIFICATE),
    ("unsupported protocol", Reason.E_TLS_VERSION),
    ("wrong version number", Reason.E_TLS_PROTOCOL),
    ("version too low", Reason.E_TLS_VERSION),
    ("no shared cipher", Reason.E_TLS_SUITE),
    ("wrong cipher returned", Reason.E_TLS_SUITE),
    ("no suitable key share", Reason.E_TLS_GROUP),
    ("no suitable groups", Reason.E_TLS_GROUP),
    ("bad key share", Reason.E_TLS_GROUP),
    ("wrong curve", Reason.E_TLS_GROUP),
    ("no suitable signature algorithm", Reason.E_TLS_SIGNATURE),
    ("no shared signature algorithms", Reason.E_TLS_SIGNATURE),
    ("wrong signature type", Reason.E_TLS_SIGNATURE),
    ("unknown certificate type", Reason.E_TLS_SIGNATURE),
    ("bad signature", Reason.E_CERT_CHAIN),
    ("no application protocol", Reason.E_TLS_ALPN),
)


def handshake_error(error: SSL.Error, role: Role) -> ZoneGateError:
    """Translate a failed handshake step; a client learns the server's refusal as an alert, which is E_UPSTREAM."""
    texts = _texts(error)
    for text in texts:
        name = alerts.alert_name(text)
        if name is not None:
            return _alert_error(name, role)
        for part, reason in _HANDSHAKE_REASONS:
            if part in text:
                return ZoneGateError(reason, f"handshake: {text}")
    return ZoneGateError(Reason.E_TLS_PROTOCOL, f"handshake: {'; '.join(texts) or 'ended early'}")


def _alert_error(name: str, role: Role) -> ZoneGateError:
    reason = Reason.E_UPSTREAM if role is Role.CLIENT else Reason.E_TLS_ALERT
    return ZoneGateError(reason, f"handshake: the peer refused it with the alert {name}")
