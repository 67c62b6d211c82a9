"""What a gateway keeps for one connection and for one call, beside what the relay counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zonegate.gateway.ticket import TicketTable

if TYPE_CHECKING:
    from zonegate.gateway.plan import Plan
    from zonegate.gateway.tls.channel import Peer
    from zonegate.policies.labels import Label


@dataclass(slots=True)
class PeerContext:
    """What the gateway keeps for one connection."""

    peer: Peer
    uri: str
    zone: str
    from_gateway: bool
    tickets: TicketTable = field(default_factory=TicketTable)
    plans: dict[object, Plan] = field(default_factory=dict)


@dataclass(slots=True)
class CallContext:
    """What the gateway keeps for one call beside the relay's counts."""

    plan: Plan
    recorded: bool = False
    # Whether `GatewayHandler._under_way` holds the id that a peer gateway gave the call.
    named: bool = False
    # The caller on whose account of open calls it is.
    account: str = ""
    # What the provider has raised the response to.
    raised: Label | None = None
