"""[a] The exchange of evidence heads: each gateway keeps its peers' newest head among its own evidence.

The service `zonegate.evidence.v1.Witness` is answered here, on the data connections that gateways have with each
other; a system that calls it is told that there is no such method.

A gateway speaks for its own chain only: a head must name the gateway at the other end of the connection, by the URI
of the certificate that it showed there. Who may sign heads is decided in `evidence.heads`: an evidence certificate of
the gateway's net and organ, with a chain to this net's root.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway.convert import head_from_bytes, head_to_bytes
from zonegate.gateway.evidence.seal import read_head
from zonegate.gateway.inspect.messages import MessageAssembler
from zonegate.gateway.relay.owncall import OwnCall, request_block
from zonegate.gateway.relay.wire import TRAILERS_OK
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from zonegate.gateway.evidence.log import EvidenceLog
    from zonegate.gateway.relay.call import Call
    from zonegate.gateway.relay.upstream import UpstreamPool
    from zonegate.gateway.tls.channel import Peer

PATH = "/zonegate.evidence.v1.Witness/Exchange"
HEAD_LIMIT_BYTES = 16 * 1024
ANSWER_SECONDS = 2.0


class Witness:
    """Gives this gateway's head to its peers and keeps theirs."""

    def __init__(self, log: EvidenceLog) -> None:
        self._log = log

    def takes(self, call: Call) -> bool:
        """Answer `call` if it is the exchange of heads; tell whether it was."""
        if call.block.get(b":path") != PATH.encode():
            return False
        assembler = MessageAssembler(HEAD_LIMIT_BYTES)
        messages: list[bytes] = []

        def receive(data: bytes, ended: bool) -> None:  # noqa: FBT001 - the relay's signature
            try:
                messages.extend(assembler.feed(data))
                if len(messages) > 1:
                    call.refuse(Reason.E_HTTP2, "the exchange of heads takes one message")
                elif ended:
                    assembler.finish()
                    self._keep(messages[0] if messages else b"", call.down.channel.peer)
                    call.respond(self._own(), TRAILERS_OK)
            except ZoneGateError as error:
                call.refuse(error.reason, error.detail)

        call.collect(receive)
        return True

    async def exchange(self, pool: UpstreamPool) -> None:
        """Exchange heads with the gateway behind `pool`; a peer that does not answer is asked again next time."""
        call = OwnCall(request_block(PATH, pool.name, ()), [self._own()], answer_bytes=HEAD_LIMIT_BYTES)
        answer = await call.run(pool, ANSWER_SECONDS)
        if answer.status == 0 and answer.messages and call.peer is not None:
            self._keep(answer.messages[0], call.peer)

    def _own(self) -> bytes:
        head = self._log.head()
        return head_to_bytes(head.to_bytes() if head is not None else b"")

    def _keep(self, message: bytes, peer: Peer) -> None:
        head = head_from_bytes(message)
        if not head:
            return
        _, statement = read_head(head)
        if statement.gateway != str(peer.identity):
            raise ZoneGateError(Reason.E_PEER_IDENTITY, f"head: of {statement.gateway}, offered by {peer.identity}")
        self._log.keep_peer_head(head)
