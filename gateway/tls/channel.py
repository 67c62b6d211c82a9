"""[d] What the TLS layer, the local edge and the HTTP/2 layer agree on: a peer, a channel of bytes, and its user.

Types only. `server`, `client` and `plain` make channels; every call on a channel or its app happens on the loop thread.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.identity import Identity
from zonegate.pki.certificate import Certificate, Profile
from zonegate.reasons import Reason


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What was negotiated, as OpenSSL reports it after the handshake."""

    version: str
    suite: str
    group: str
    alpn: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end.

    `chain` is the verified path, leaf first and the root left out; it is empty for a local peer without TLS, whose
    `uid` is known instead. `not_after` is the earliest end of validity in the chain.
    """

    address: str
    chain: tuple[Certificate, ...] = ()
    identity: Identity | None = None
    profile: Profile | None = None
    fingerprint: str = ""
    serial: int = 0
    not_after: datetime | None = None
    uid: int | None = None
    tls: TlsFacts | None = None


class Channel(Protocol):
    """An open connection, as its app sees it."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end; verified before the channel is handed out."""
        ...

    @property
    def worn(self) -> bool:
        """Whether the connection should be replaced soon: its keys have sealed many records (RFC 8446 5.5)."""
        ...

    def write(self, data: bytes) -> None:
        """Queue `data`; everything queued in one wake-up leaves in one write. Ignored once closing."""
        ...

    def write_now(self, data: bytes) -> None:
        """Send `data` at once, behind what is queued; for an app that gathers its own output. Ignored once closing."""
        ...

    def close(self) -> None:
        """Send what is queued, then close_notify, then end."""
        ...

    def abort(self, reason: Reason, detail: str = "") -> None:
        """End at once; `closed` gets `reason`."""
        ...

    def pause(self) -> None:
        """Read no more from the peer until `resume`; for an app whose own queue is full."""
        ...

    def resume(self) -> None:
        """Read again after `pause`."""
        ...


class ChannelApp(Protocol):
    """What lives on a channel. `opened` comes first, if at all; `closed` comes exactly once and last."""

    def opened(self, channel: Channel) -> None:
        """Take the channel; the peer is verified and admitted."""
        ...

    def received(self, data: bytes) -> None:
        """Take everything that one wake-up brought."""
        ...

    def writable(self, flag: bool) -> None:  # noqa: FBT001 - the transport's two states, named by the caller's word
        """Stop writing (False) while the transport's buffer is full, go on (True) when it has drained."""
        ...

    def closed(self, error: ZoneGateError | None) -> None:
        """Learn that nothing more comes or goes; `error` is None after an orderly end."""
        ...
