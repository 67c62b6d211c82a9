"""What a TLS connection and whoever it belongs to, a listener or an attempt, say to each other. Types only."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from zonegate.errors import ZoneGateError
    from zonegate.gateway.tls.channel import ChannelApp
    from zonegate.gateway.tls.connection import TlsConnection
    from zonegate.gateway.tls.session import Handshake


class Phase(Enum):
    """How far a connection has come."""

    HELLO = "hello"
    HANDSHAKE = "handshake"
    OPEN = "open"
    ENDED = "ended"


class Owner(Protocol):
    """The listener or the connection attempt that a connection belongs to; called on the loop thread."""

    def arrived(self, connection: TlsConnection) -> None:
        """Count the new connection; may call `refuse`, or `begin` where this side speaks first."""
        ...

    def hello(self, connection: TlsConnection, data: bytes) -> Handshake | None:
        """Judge the first bytes: a handshake to go on with, None to wait for more, `ZoneGateError` to refuse."""
        ...

    def admitted(self, connection: TlsConnection) -> ChannelApp:
        """Count the finished handshake and give the app; `ZoneGateError` refuses."""
        ...

    def refused(self, connection: TlsConnection, error: ZoneGateError) -> None:
        """Count a connection that was refused before it had an app."""
        ...

    def gone(self, connection: TlsConnection) -> None:
        """Count the end of a connection."""
        ...
