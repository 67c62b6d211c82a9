"""[a] One relayed call: the stream towards the caller, the stream towards the next hop, and what flows between.

Back-pressure is end to end: a stream's window is opened only when the other side's queue has room, so a call never
holds more than its windows, and holds up no other call. Nothing is forwarded before the role says `forward`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from zonegate.errors import ZoneGateError
from zonegate.gateway.convert import refusal_to_bytes
from zonegate.gateway.http2.frames import ErrorCode
from zonegate.gateway.inspect.messages import frame
from zonegate.gateway.metadata import crossing_wire
from zonegate.gateway.relay.wire import CONTENT_TYPE, STATUS_200, MessageCounter, refusal_fields, refusal_sentence
from zonegate.gm.sm3 import new as new_sm3
from zonegate.reasons import REGISTRY, Executed, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.gateway.http2.headers import HeaderBlock
    from zonegate.gateway.relay.core import Relay
    from zonegate.gateway.relay.downstream import Downstream
    from zonegate.gateway.relay.upstream import Upstream, UpstreamPool


class MessageFilter(Protocol):
    """An inspection of one direction of a call: DATA bytes in, DATA bytes that may go on out."""

    def feed(self, data: bytes) -> bytes:
        """Return the checked messages that `data` completes; `ZoneGateError` refuses the call."""
        ...

    def finish(self) -> None:
        """The direction has ended; `ZoneGateError` when a message is incomplete."""
        ...

    @property
    def held_bytes(self) -> int:
        """How much is stored while a message is incomplete."""
        ...


class Call:
    """A call in progress. Attributes named here are read by roles; methods are called by connections and roles."""

    __slots__ = (
        "block",
        "collected",
        "collector",
        "context",
        "crossing",
        "deadline",
        "down",
        "down_id",
        "executed",
        "finished",
        "half_closed",
        "held",
        "reason",
        "relay",
        "request_bytes",
        "request_counter",
        "request_digest",
        "request_filter",
        "request_owed",
        "response_bytes",
        "response_counter",
        "response_digest",
        "response_filter",
        "response_held",
        "response_owed",
        "response_started",
        "settled",
        "started",
        "status",
        "up",
        "up_block",
        "up_id",
    )

    def __init__(
        self, relay: Relay, down: Downstream, down_id: int, block: HeaderBlock, *, ended: bool, started: float
    ) -> None:
        self.relay = relay
        self.down = down
        self.down_id = down_id
        self.block = block
        self.half_closed = ended
        self.started = started
        self.up: Upstream | None = None
        self.up_id = 0
        self.up_block = b""
        self.held: list[tuple[bytes, bool]] = []
        self.request_owed = 0
        self.response_owed = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.request_counter = MessageCounter()
        self.response_counter = MessageCounter()
        self.request_digest = new_sm3()
        self.response_digest = new_sm3()
        self.request_filter: MessageFilter | None = None
        self.response_filter: MessageFilter | None = None
        # What the collector keeps of the request; it says so itself.
        self.collected = 0
        self.collector: Callable[[bytes, bool], None] | None = None
        self.response_started = False
        # What the next hop sends while the role judges its initial metadata; None when nothing is held.
        self.response_held: list[tuple[bytes, HeaderBlock | None]] | None = None
        # settled: the caller has been given its end. finished: the role has been told, nothing more happens.
        self.settled = False
        self.finished = False
        self.status = -1
        self.reason = Reason.OK
        self.executed = Executed.NO
        self.crossing = ""
        self.deadline = 0  # the slot in which the relay ends it; 0: it has no deadline
        self.context: Any = None  # the role's own record of the call

    @property
    def held_now(self) -> int:
        """How many bytes of the call are stored in this process: held, queued, collected, or in incomplete messages."""
        size = self.down.http2.queued(self.down_id) + self.collected + sum([len(data) for data, _ in self.held])
        if self.up is not None:
            size += self.up.http2.queued(self.up_id)
        if self.response_held is not None:
            size += sum([len(data) for data, _ in self.response_held])
        for messages in (self.request_filter, self.response_filter):
            if messages is not None:
                size += messages.held_bytes
        return size

    @property
    def caller_key(self) -> str:
        """Whose account the call is on: the peer that sent it."""
        peer = self.down.channel.peer
        return str(peer.identity) if peer.identity is not None else f"uid {peer.uid}"

    # -- what a role says --------------------------------------------------------------------------------------

    def forward(self, pool: UpstreamPool, block: bytes) -> None:
        """Send the request on, through `pool`, with the header block `block`."""
        if self.settled:
            return
        self.up_block = block
        pool.submit(self)

    def collect(self, receive: Callable[[bytes, bool], None]) -> None:
        """Give the request's DATA to `receive(data, ended)` instead of to a next hop."""
        if self.settled:
            return
        self.collector = receive
        held = self._take_held()
        for data, ended in held:
            receive(data, ended)
        if self.half_closed and not held:
            receive(b"", True)  # noqa: FBT003 - the collector's signature
        self._acknowledge_request()

    def respond(self, message: bytes, trailers: bytes) -> None:
        """Answer the caller from here with one message and `trailers` (a header block that says grpc-status 0)."""
        if self.settled:
            return
        http2 = self.down.http2
        http2.send_headers(self.down_id, self._own_head(), end_stream=False)
        body = frame(message)
        http2.send_data(self.down_id, body, end_stream=False)
        http2.send_headers(self.down_id, trailers, end_stream=True)
        self.response_bytes = len(body)
        self.response_counter.feed(body)
        self.response_digest.update(body)
        self.status = 0
        self._settle()

    def tell(self, message: bytes) -> None:
        """Send the caller one message from here and keep the stream open; `respond` and `refuse` end it."""
        if self.settled:
            return
        if not self.response_started:
            self.response_started = True
            self.down.http2.send_headers(self.down_id, self._own_head(), end_stream=False)
        self.down.http2.send_data(self.down_id, frame(message), end_stream=False)
        self.relay.touch(self.down)

    def hold_response(self) -> None:
        """Keep what the next hop sends until `release_response`; its window bounds it."""
        self.response_held = []

    def release_response(self, block: bytes) -> None:
        """Send the initial metadata `block` and everything that was held after it."""
        held, self.response_held = self.response_held, None
        if self.settled or held is None:
            return
        self._start_response(block)
        for data, trailers in held:
            if trailers is not None:
                self._end_response(trailers)
            else:
                self._pass_response(data)
            if self.settled:
                return

    def refuse(self, reason: Reason, detail: str) -> None:
        """End the call towards the caller with a refusal, and the next hop's stream, if any, with a reset."""
        if self.settled:
            return
        self.reason = reason
        info = REGISTRY[reason]
        self.status = int(info.grpc)
        status = refusal_to_bytes(reason, refusal_sentence(reason, detail), self.crossing)
        fields = refusal_fields(reason, detail, self.crossing, status)
        block = b"".join(field.wire for field in fields)
        if not self.response_started:
            block = STATUS_200.wire + CONTENT_TYPE.wire + block
        self.down.http2.send_headers(self.down_id, block, end_stream=True)
        self._drop_upstream(ErrorCode.CANCEL)
        self._settle()

    def abort(self, reason: Reason, detail: str) -> None:
        """End a call that may be streaming: what is queued for the caller is dropped, then it is told why."""
        if self.settled:
            return
        self.down.http2.discard(self.down_id)
        self.refuse(reason, detail)

    def expire(self, reason: Reason, detail: str) -> None:
        """End the call now: also one whose answer waits for a caller that does not read it."""
        if not self.settled:
            self.abort(reason, detail)
        elif not self.finished:
            self.down.http2.reset(self.down_id, ErrorCode.CANCEL)
            self.relay.touch(self.down)
            self._finish()

    # -- what the caller's connection says -----------------------------------------------------------------------

    def request_data(self, data: bytes, flow_bytes: int, *, ended: bool) -> None:
        """DATA from the caller."""
        self.request_owed += flow_bytes
        if ended:
            self.half_closed = True
        if self.settled:
            self._acknowledge_request()
            return
        try:
            if data:
                self.request_bytes += len(data)
                self.request_digest.update(data)
                self.request_counter.feed(data)
            if ended:
                self.request_counter.finish()
        except ZoneGateError as error:
            self.refuse(error.reason, error.detail)
            self._acknowledge_request()
            return
        up = self.up
        if up is not None and self.request_filter is None:
            up.http2.send_data(self.up_id, data, end_stream=ended)
            self.relay.touch(up)
            if up.http2.queued(self.up_id) < self.relay.limits.call_buffer_bytes:
                self._acknowledge_request()
            return
        if self.collector is not None:
            self.collector(data, ended)
            self._acknowledge_request()
            return
        if up is None:
            self.held.append((data, ended))
            self.relay.held_bytes += len(data)
            if self.relay.held_bytes > self.relay.limits.held_bytes:
                self.refuse(Reason.E_STREAMS, "the process holds as many request bytes as it may")
            return
        self._send_filtered(data, ended=ended)

    def caller_gone(self) -> None:
        """The caller has reset the stream, or its connection is lost."""
        if self.finished:
            return
        if not self.settled:
            self.reason = Reason.E_CANCELLED
            self.status = int(REGISTRY[Reason.E_CANCELLED].grpc)
            self._drop_upstream(ErrorCode.CANCEL)
            self.settled = True
        self._finish()

    def caller_drained(self) -> None:
        """The caller has taken queued bytes."""
        if self.settled:
            self._finish_when_drained()
        elif self.response_owed and self._response_room():
            self._acknowledge_response()

    # -- what the next hop's connection says ----------------------------------------------------------------------

    def attach(self, up: Upstream, up_id: int) -> None:
        """The next hop's stream is open and carries the header block; send what was held."""
        self.up = up
        self.up_id = up_id
        self.executed = Executed.UNKNOWN
        for data, ended in self._take_held():
            if self.request_filter is None:
                up.http2.send_data(up_id, data, end_stream=ended)
            else:
                self._send_filtered(data, ended=ended)
                if self.settled:
                    return
        if up.http2.queued(up_id) < self.relay.limits.call_buffer_bytes:
            self._acknowledge_request()

    def next_hop_drained(self) -> None:
        """The next hop has taken queued bytes."""
        up = self.up
        if up is not None and self.request_owed and up.http2.queued(self.up_id) < self.relay.limits.call_buffer_bytes:
            self._acknowledge_request()

    def response_headers(self, block: HeaderBlock) -> None:
        """Initial metadata from the next hop."""
        self.executed = Executed.YES
        if self.settled:
            return
        out = self.relay.handler.response(self, block)
        if out is None or self.settled:
            return
        self._start_response(out)

    def response_data(self, data: bytes, flow_bytes: int) -> None:
        """DATA from the next hop."""
        self.response_owed += flow_bytes
        if self.settled:
            self._acknowledge_response()
        elif self.response_held is not None:
            # Not acknowledged: the stream's window is all that can be held.
            self.response_held.append((data, None))
        else:
            self._pass_response(data)

    def response_trailers(self, block: HeaderBlock) -> None:
        """The end, with its status, from the next hop (also a response that consists of trailers only)."""
        self.executed = Executed.YES
        self.detach()
        if self.settled:
            return
        if self.response_held is not None:
            self.response_held.append((b"", block))
        else:
            self._end_response(block)

    def response_ended_bare(self) -> None:
        """The next hop ended the stream without trailers, which gRPC does not allow."""
        self.detach()
        self.refuse(Reason.E_UPSTREAM_RESET, "the next hop ended the stream without a status")

    def next_hop_gone(self, reason: Reason, detail: str) -> None:
        """The next hop's stream was reset, its connection lost, or never came about."""
        self._leave_upstream()
        self.refuse(reason, detail)

    def detach(self) -> None:
        """The next hop's stream has ended on its side; close ours if the caller is still sending."""
        up = self._leave_upstream()
        if up is not None:
            up.forget(self.up_id, reset=None if self.half_closed else ErrorCode.NO_ERROR)

    def _own_head(self) -> bytes:
        head = STATUS_200.wire + CONTENT_TYPE.wire
        return head + crossing_wire(self.crossing) if self.crossing else head

    # -- inside --------------------------------------------------------------------------------------------------

    def _start_response(self, block: bytes) -> None:
        self.response_started = True
        self.down.http2.send_headers(self.down_id, block, end_stream=False)
        self.relay.touch(self.down)

    def _pass_response(self, data: bytes) -> None:
        self.response_bytes += len(data)
        self.response_digest.update(data)
        try:
            self.response_counter.feed(data)
            if self.response_filter is not None:
                data = self.response_filter.feed(data)
        except ZoneGateError as error:
            self.abort(error.reason, error.detail)
            return
        if data:
            self.down.http2.send_data(self.down_id, data, end_stream=False)
            self.relay.touch(self.down)
        if self._response_room():
            self._acknowledge_response()

    def _end_response(self, block: HeaderBlock) -> None:
        out = self.relay.handler.trailers(self, block)
        if self.settled:
            return
        if self.status == 0:
            # An answer that claims to be whole must be; one that failed half-way says so itself.
            try:
                self.response_counter.finish()
                if self.response_filter is not None:
                    self.response_filter.finish()
            except ZoneGateError as error:
                self.refuse(error.reason, error.detail)
                return
        self.down.http2.send_headers(self.down_id, out, end_stream=True)
        self._settle()

    def _send_filtered(self, data: bytes, *, ended: bool) -> None:
        up, messages = self.up, self.request_filter
        if up is None or messages is None:
            return
        try:
            checked = messages.feed(data)
            if ended:
                messages.finish()
        except ZoneGateError as error:
            self.refuse(error.reason, error.detail)
            return
        up.http2.send_data(self.up_id, checked, end_stream=ended)
        self.relay.touch(up)
        if up.http2.queued(self.up_id) < self.relay.limits.call_buffer_bytes:
            self._acknowledge_request()

    def _acknowledge_request(self) -> None:
        if self.request_owed:
            self.down.http2.grant(self.down_id, self.request_owed)
            self.request_owed = 0
            self.relay.touch(self.down)

    def _response_room(self) -> bool:
        return self.down.http2.queued(self.down_id) < self.relay.limits.call_buffer_bytes

    def _acknowledge_response(self) -> None:
        up = self.up
        if self.response_owed and up is not None:
            up.http2.grant(self.up_id, self.response_owed)
            self.relay.touch(up)
        self.response_owed = 0

    def _drop_upstream(self, code: ErrorCode) -> None:
        up = self._leave_upstream()
        if up is not None:
            up.forget(self.up_id, reset=code)

    def _leave_upstream(self) -> Upstream | None:
        """Part from the next hop's stream; what was received on it is given back to its connection's window."""
        self._acknowledge_response()
        up, self.up = self.up, None
        return up

    def _settle(self) -> None:
        self.settled = True
        self._take_held()
        self._acknowledge_request()
        self.relay.touch(self.down)
        self._finish_when_drained()

    def _finish_when_drained(self) -> None:
        if self.finished or self.down.http2.queued(self.down_id):
            return
        if not self.half_closed:
            # RFC 9113 8.1: a complete response before the end of the request ends with RST_STREAM(NO_ERROR).
            self.down.http2.reset(self.down_id, ErrorCode.NO_ERROR)
            self.relay.touch(self.down)
        self._finish()

    def _take_held(self) -> list[tuple[bytes, bool]]:
        """Return what was held; it counts as held no more, even where a refusal stops its way half-way."""
        held, self.held = self.held, []
        self.relay.held_bytes -= sum([len(data) for data, _ in held])
        return held

    def _finish(self) -> None:
        if self.finished:
            return
        self.finished = True
        self._take_held()
        self.relay.unwatch_deadline(self)
        self._acknowledge_request()
        self.down.calls.pop(self.down_id, None)
        self.relay.calls.discard(self)
        self.relay.handler.ended(self)
