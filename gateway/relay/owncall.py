"""[a] A call that this process makes itself: the exchange of evidence heads, the importer's replay."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.http2.headers import Field, literal
from zonegate.gateway.inspect.messages import MessageAssembler, frame
from zonegate.gateway.metadata import REASON
from zonegate.reasons import Executed, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.relay.upstream import Upstream, UpstreamPool
    from zonegate.gateway.tls.channel import Peer


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call of our own ended: gRPC status, the reason if a hop refused it, and the messages received."""

    status: int
    reason: Reason
    executed: Executed
    messages: tuple[bytes, ...]
    detail: str


class OwnCall:
    """A `StreamUser` that sends all its messages at once and keeps the answer's, up to a bound."""

    def __init__(self, block: bytes, messages: list[bytes], *, answer_bytes: int) -> None:
        self.up_block = block
        self.half_closed = True
        self.settled = False
        # Who was asked, once the stream is open.
        self.peer: Peer | None = None
        self._body = b"".join(frame(message) for message in messages)
        self._assembler = MessageAssembler(answer_bytes)
        self._messages: list[bytes] = []
        self._kept = 0
        self._limit = answer_bytes
        self._up: Upstream | None = None
        self._up_id = 0
        self._executed = Executed.NO
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def run(self, pool: UpstreamPool, seconds: float) -> Answer:
        """Make the call through `pool`; an answer always comes, E_DEADLINE after `seconds`."""
        pool.submit(self)
        try:
            return await asyncio.wait_for(asyncio.shield(self._answer), seconds)
        except TimeoutError:
            self.next_hop_gone(Reason.E_DEADLINE, f"no answer in {seconds} s")
            return self._answer.result()

    def attach(self, up: Upstream, up_id: int) -> None:
        """The stream is open: send everything."""
        self._up, self._up_id = up, up_id
        if up.channel is not None:
            self.peer = up.channel.peer
        self._executed = Executed.UNKNOWN
        up.http2.send_data(up_id, self._body, end_stream=True)

    def response_headers(self, block: HeaderBlock) -> None:
        """Initial metadata; nothing in it is needed."""

    def response_data(self, data: bytes, flow_bytes: int) -> None:
        """Keep the answer's messages; more than the bound ends the call."""
        if self._up is None:
            return
        self._up.http2.grant(self._up_id, flow_bytes)
        try:
            messages = self._assembler.feed(data)
        except ZoneGateError as error:
            self._end(2, error.reason, error.detail)
            return
        self._kept += sum(len(message) for message in messages)
        if self._kept > self._limit:
            self._end(2, Reason.E_MESSAGE_SIZE, f"the answer is larger than {self._limit} bytes")
            return
        self._messages += messages

    def response_trailers(self, block: HeaderBlock) -> None:
        """The status."""
        self._executed = Executed.YES
        status = block.get(b"grpc-status") or b""
        named = (block.get(REASON) or b"").decode("ascii", "replace")
        reason = Reason(named) if named in set(Reason) else Reason.OK
        message = (block.get(b"grpc-message") or b"").decode("ascii", "replace")
        self._settle(int(status) if status.isdigit() and len(status) <= 2 else 2, reason, message)
        if self._up is not None:
            up, self._up = self._up, None
            up.forget(self._up_id, reset=None)

    def response_ended_bare(self) -> None:
        """The end without a status."""
        self._end(2, Reason.E_UPSTREAM_RESET, "the next hop ended the stream without a status")

    def next_hop_drained(self) -> None:
        """The body is on its way; nothing waits for it."""

    def next_hop_gone(self, reason: Reason, detail: str) -> None:
        """No answer will come."""
        self._end(14, reason, detail)

    def _end(self, status: int, reason: Reason, detail: str) -> None:
        if self._up is not None:
            up, self._up = self._up, None
            up.forget(self._up_id, reset=ErrorCode.CANCEL)
        self._settle(status, reason, detail)

    def _settle(self, status: int, reason: Reason, detail: str) -> None:
        self.settled = True
        if not self._answer.done():
            self._answer.set_result(Answer(status, reason, self._executed, tuple(self._messages), detail))


def request_block(path: str, authority: str, fields: Sequence[Field]) -> bytes:
    """Return the header block of a gRPC request of our own with `fields` after the protocol's own."""
    head = (
        literal(b":method", b"POST"),
        literal(b":scheme", b"https"),
        literal(b":path", path.encode()),
        literal(b":authority", authority.encode()),
        literal(b"te", b"trailers"),
        literal(b"content-type", b"application/grpc"),
    )
    return b"".join(item.wire for item in (*head, *fields))
