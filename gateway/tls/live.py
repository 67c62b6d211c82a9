"""[d] The index of live channels by the certificates that they rest on, so that a revocation ends them at once.

One index serves a whole process, listeners and outbound connections alike; used on the loop thread only.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Protocol

from zonegate.gateway.tls.channel import Peer
from zonegate.reasons import Reason

# The issuer's DER name and the serial: what a CRL entry names.
CertificateKey = tuple[bytes, int]


class LiveChannel(Protocol):
    """What the index needs of a channel."""

    @property
    def peer(self) -> Peer:
        """Who is at the other end."""
        ...

    def abort(self, reason: Reason, detail: str = "") -> None:
        """End at once."""
        ...


def certificate_keys(peer: Peer) -> list[CertificateKey]:
    """Return the keys of every certificate of the peer's path: a revoked sub-CA ends its leaves too."""
    return [(certificate.issuer_der, certificate.serial) for certificate in peer.chain]


class LiveChannels:
    """Open channels by certificate."""

    def __init__(self) -> None:
        self._by_certificate: dict[CertificateKey, dict[int, LiveChannel]] = {}
        self._channels: dict[int, LiveChannel] = {}

    def __len__(self) -> int:
        return len(self._channels)

    def __iter__(self) -> Iterator[LiveChannel]:
        return iter(tuple(self._channels.values()))

    def add(self, channel: LiveChannel) -> None:
        """Index an opened channel."""
        self._channels[id(channel)] = channel
        for key in certificate_keys(channel.peer):
            self._by_certificate.setdefault(key, {})[id(channel)] = channel

    def discard(self, channel: LiveChannel) -> None:
        """Forget a channel that has ended."""
        if self._channels.pop(id(channel), None) is None:
            return
        for key in certificate_keys(channel.peer):
            channels = self._by_certificate.get(key)
            if channels is not None:
                channels.pop(id(channel), None)
                if not channels:
                    del self._by_certificate[key]

    def abort_revoked(self, revoked: Iterable[CertificateKey]) -> int:
        """End the channels that rest on one of these certificates; return how many."""
        ended = 0
        for key in revoked:
            for channel in tuple(self._by_certificate.get(key, {}).values()):
                channel.abort(Reason.E_CERT_REVOKED, f"certificate {key[1]:x}: revoked during the connection")
                ended += 1
        return ended

    def abort_expired(self, now: datetime) -> int:
        """End the channels whose path is no longer valid at `now`; return how many."""
        ended = 0
        for channel in tuple(self._channels.values()):
            not_after = channel.peer.not_after
            if not_after is not None and now >= not_after:
                channel.abort(Reason.E_CERT_EXPIRED, f"certificate: valid until {not_after:%Y-%m-%dT%H:%M:%SZ}")
                ended += 1
        return ended
