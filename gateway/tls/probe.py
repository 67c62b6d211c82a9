"""[a] Shows at start that this machine's libraries do RFC 8998 as pinned (TL-05): a handshake in memory, both ways.

The process's own credential plays both ends, so a key that does not fit, or libraries that have moved under the private
calls of `pins`, stop the start with a message that names the versions. Trust and revocation are not judged here.
"""

from collections.abc import Sequence

import cryptography
import OpenSSL
from OpenSSL import SSL

from zonegate.errors import ZoneGateError
from zonegate.gateway.tls import check, pins
from zonegate.gateway.tls.channel import Peer
from zonegate.gateway.tls.context import ContextHolder
from zonegate.gateway.tls.session import Handshake, Role
from zonegate.pki.certificate import Certificate, load_certificate
from zonegate.reasons import Reason

_ROUNDS_MAX = 8
_MESSAGE = b"zonegate probe"


def describe() -> str:
    """Name the libraries under the TLS layer."""
    return f"pyOpenSSL {OpenSSL.__version__}, cryptography {cryptography.__version__}, {pins.versions()}"


def run(holder: ContextHolder) -> str:
    """Return the description of libraries that work; raise E_SELFTEST saying what does not."""
    _check_handshake(holder)
    _check_refusal(holder)
    _check_foreign_client(holder)
    return describe()


class _ReadsOnly:
    """Reads the presented chain; the process's own certificate needs no verdict here."""

    def verify(self, chain: Sequence[bytes]) -> tuple[Certificate, ...]:
        return tuple(load_certificate(der) for der in chain)


def _admit(_peer: Peer) -> None:
    """Admit."""


def _refuse(_peer: Peer) -> None:
    raise ZoneGateError(Reason.E_CERT_REVOKED, "probe: refused on purpose")


def _failed(what: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_SELFTEST, f"TLS probe: {what} ({describe()}); RFC 8998 needs OpenSSL >= 4.0 (TL-05)")


def _exchange(server: Handshake, client: Handshake) -> None:
    """Carry the flights to and fro until both ends have finished or one has failed."""
    flight = b""
    for _ in range(_ROUNDS_MAX):
        flight = client.step(flight)
        if client.error is not None or (client.finished and server.finished):
            return
        flight = server.step(flight)
        if server.error is not None:
            client.step(flight)
            return


def _check_handshake(holder: ContextHolder) -> None:
    server = holder.probe_handshake(Role.SERVER, _ReadsOnly(), _admit)
    client = holder.probe_handshake(Role.CLIENT, _ReadsOnly(), _admit)
    _exchange(server, client)
    for end in (client, server):
        if end.error is not None or not end.finished or end.peer is None or end.peer.tls is None:
            raise _failed(f"the {end.role.value} could not finish a handshake: {end.error}")
    near, far = client.session(), server.session()
    if far.read(near.write(_MESSAGE)) != _MESSAGE or near.read(far.write(_MESSAGE)) != _MESSAGE:
        raise _failed("a message did not come through")


def _check_refusal(holder: ContextHolder) -> None:
    """The refusing callback is a private call: it must refuse, with the alert that fits."""
    server = holder.probe_handshake(Role.SERVER, _ReadsOnly(), _refuse)
    client = holder.probe_handshake(Role.CLIENT, _ReadsOnly(), _admit)
    _exchange(server, client)
    if server.error is None or server.error.reason is not Reason.E_CERT_REVOKED or server.finished:
        raise _failed("a refused certificate was not refused")


def _check_foreign_client(holder: ContextHolder) -> None:
    """A client with stock settings (AES, P-256) must not get in."""
    stock = SSL.Context(SSL.TLS_METHOD)
    stock.set_alpn_protos([check.ALPN.encode()])
    client = SSL.Connection(stock, None)
    client.set_connect_state()
    server = holder.probe_handshake(Role.SERVER, _ReadsOnly(), _admit)
    try:
        client.do_handshake()
    except SSL.WantReadError:
        server.step(client.bio_read(65536))
    if server.error is None or server.finished:
        raise _failed("a client without national suites was not refused")
