"""[d] Small pieces of the gRPC wire format that the relay needs: message counting and refusals as trailers."""

from base64 import b64encode
from urllib.parse import quote

from zonegate.errors import ZoneGateError
from zonegate.gateway.http2.headers import Field, literal
from zonegate.reasons import REGISTRY, Reason

PREFIX_BYTES = 5
_MESSAGE_LIMIT_CHARS = 512

STATUS_200 = literal(b":status", b"200")
CONTENT_TYPE = literal(b"content-type", b"application/grpc")
TRAILERS_OK = literal(b"grpc-status", b"0").wire


class MessageCounter:
    """Counts gRPC messages in a stream of DATA bytes, however they are cut, without keeping any.

    A message whose prefix announces more than `limit` bytes is E_MESSAGE_SIZE, before its body has come.
    """

    __slots__ = ("_prefix", "_remaining", "count", "largest", "limit")

    def __init__(self, limit: int = (1 << 32) - 1) -> None:
        self.count = 0
        self.limit = limit
        self.largest = 0
        self._remaining = 0
        self._prefix = b""

    def finish(self) -> None:
        """The stream has ended; E_HTTP2 when it ended inside a message."""
        if self._remaining or self._prefix:
            raise ZoneGateError(Reason.E_HTTP2, "message: the stream ended inside a message")

    def feed(self, data: bytes) -> None:
        """Count the messages that begin in `data`."""
        size = len(data)
        # The usual unary call: one message, one DATA frame.
        if (
            not (self._remaining or self._prefix)
            and int.from_bytes(data[1:5], "big") + PREFIX_BYTES == size
            and size <= self.limit
        ):
            self.count += 1
            if size - PREFIX_BYTES > self.largest:
                self.largest = size - PREFIX_BYTES
            return
        position = 0
        while position < size:
            if self._remaining:
                step = min(self._remaining, size - position)
                self._remaining -= step
                position += step
                continue
            need = PREFIX_BYTES - len(self._prefix)
            self._prefix += data[position : position + need]
            position += min(need, size - position)
            if len(self._prefix) == PREFIX_BYTES:
                self.count += 1
                self._remaining = int.from_bytes(self._prefix[1:5], "big")
                self._prefix = b""
                self.largest = max(self.largest, self._remaining)
                if self._remaining > self.limit:
                    self.bound(self.limit)

    def bound(self, limit: int) -> None:
        """Set the limit; E_MESSAGE_SIZE when a message that began before was announced to be larger."""
        self.limit = limit
        if self.largest > limit:
            raise ZoneGateError(Reason.E_MESSAGE_SIZE, f"message: {self.largest} bytes announced, {limit} are allowed")


def refusal_sentence(reason: Reason, detail: str) -> str:
    """Return what a client reads as the message of the refusal."""
    return f"{reason.value}: {detail or REGISTRY[reason].en}"[:_MESSAGE_LIMIT_CHARS]


def refusal_fields(reason: Reason, detail: str, crossing: str, status: bytes) -> list[Field]:
    """Return the trailer fields that tell a gRPC client of a refusal (without `:status`).

    `status` is the serialized `google.rpc.Status`: messages are made in `zonegate.gateway.convert`.
    """
    fields = [
        literal(b"grpc-status", str(int(REGISTRY[reason].grpc)).encode()),
        literal(
            b"grpc-message", quote(refusal_sentence(reason, detail), safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
        ),
        literal(b"grpc-status-details-bin", b64encode(status).rstrip(b"=")),
    ]
    fields.append(literal(b"zg-reason", reason.value.encode()))
    if crossing:
        fields.append(literal(b"zg-crossing", crossing.encode()))
    return fields
