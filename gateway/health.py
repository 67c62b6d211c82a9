"""[a] `grpc.health.v1.Health`, answered by the connector itself: whether its system can reach its gateway now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zonegate.errors import ZoneGateError
from zonegate.gateway.convert import HEALTH_NOT_SERVING, HEALTH_SERVING, health_service_from_bytes
from zonegate.gateway.inspect.messages import MessageAssembler
from zonegate.gateway.relay.wire import TRAILERS_OK
from zonegate.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from zonegate.gateway.relay.call import Call

PREFIX = b"/grpc.health.v1.Health/"
REQUEST_LIMIT_BYTES = 4096
WATCHERS_LIMIT = 256


class HealthAnswers:
    """Answers Check at once and Watch with each change, as `serving` says."""

    def __init__(self, serving: Callable[[], bool]) -> None:
        self._serving = serving
        self._watchers: dict[Call, bool] = {}

    def answer(self, call: Call, path: bytes) -> None:
        """Answer `call` if `path` is Check or Watch."""
        method = path[len(PREFIX) :]
        if method not in {b"Check", b"Watch"}:
            call.refuse(Reason.E_NOT_CATALOGUED, "the connector answers Check and Watch of grpc.health.v1.Health")
            return
        assembler = MessageAssembler(REQUEST_LIMIT_BYTES)
        messages: list[bytes] = []

        def receive(data: bytes, ended: bool) -> None:  # noqa: FBT001 - the relay's signature
            try:
                messages.extend(assembler.feed(data))
                if not ended:
                    return
                assembler.finish()
                health_service_from_bytes(messages[0] if messages else b"")
            except ZoneGateError as error:
                call.refuse(error.reason, error.detail)
                return
            if method == b"Check":
                call.respond(self._message(), TRAILERS_OK)
            else:
                self._watch(call)

        call.collect(receive)

    def tell_changes(self) -> None:
        """Tell every watcher whose last answer is no longer true."""
        serving = self._serving()
        for call, told in list(self._watchers.items()):
            if call.settled:
                del self._watchers[call]
            elif told is not serving:
                self._watchers[call] = serving
                call.tell(self._message())

    def _watch(self, call: Call) -> None:
        self.tell_changes()
        if len(self._watchers) >= WATCHERS_LIMIT:
            call.refuse(Reason.E_STREAMS, f"{WATCHERS_LIMIT} calls watch already")
            return
        self._watchers[call] = self._serving()
        call.tell(self._message())

    def _message(self) -> bytes:
        return HEALTH_SERVING if self._serving() else HEALTH_NOT_SERVING
