"""[d] Cuts DATA bytes into gRPC messages, and frames messages again (the length prefix of "gRPC over HTTP/2").

A method under inspection is held message by message: bytes go on only when a whole message has passed its filter.
No I/O and no knowledge of the content; the bound on a message is enforced when its prefix is seen, before it is stored.
"""

from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

PREFIX_BYTES = 5


class MessageFilter(Protocol):
    """What judges a whole message and returns the bytes that may go on."""

    def check(self, message: bytes) -> bytes:
        """Return the message to forward, or raise `ZoneGateError`."""
        ...


def frame(message: bytes) -> bytes:
    """Return `message` behind its prefix: not compressed, length in 4 bytes."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


class MessageAssembler:
    """DATA bytes in, complete messages out."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._needed = PREFIX_BYTES

    def feed(self, data: bytes) -> list[bytes]:
        """Return the messages that `data` completes."""
        held = self._held
        held += data
        if len(held) < self._needed:
            return []
        messages: list[bytes] = []
        at = 0
        while len(held) - at >= PREFIX_BYTES:
            length = self._length(held[at], int.from_bytes(held[at + 1 : at + PREFIX_BYTES], "big"))
            self._needed = PREFIX_BYTES + length
            if len(held) - at < self._needed:
                break
            messages.append(bytes(held[at + PREFIX_BYTES : at + self._needed]))
            at += self._needed
            self._needed = PREFIX_BYTES
        del held[:at]
        return messages

    def finish(self) -> None:
        """Raise E_HTTP2 if the stream ended inside a message."""
        if self._held:
            detail = f"message: the stream ended after {len(self._held)} of at least {self._needed} bytes of a message"
            raise ZoneGateError(Reason.E_HTTP2, detail)

    @property
    def held_bytes(self) -> int:
        """How much is stored while a message is incomplete; never above the bound plus one feed."""
        return len(self._held)

    def _length(self, flag: int, length: int) -> int:
        if flag == 1:
            detail = "message: is compressed, which cannot be inspected; send it with grpc-encoding identity"
            raise ZoneGateError(Reason.E_MESSAGE_COMPRESSED, detail)
        if flag != 0:
            raise ZoneGateError(Reason.E_HTTP2, f"message: the compressed flag is {flag}, 0 or 1 is allowed")
        if length > self._max_bytes:
            detail = f"message: {length} bytes announced, {self._max_bytes} are allowed"
            raise ZoneGateError(Reason.E_MESSAGE_SIZE, detail)
        return length


class MessageStream:
    """One direction of one call under inspection: DATA bytes in, DATA bytes of checked messages out."""

    def __init__(self, message_filter: MessageFilter, max_bytes: int) -> None:
        self._filter = message_filter
        self._assembler = MessageAssembler(max_bytes)
        self.messages = 0

    def feed(self, data: bytes) -> bytes:
        """Return the framed messages that may go on; nothing while a message is incomplete."""
        messages = self._assembler.feed(data)
        if not messages:
            return b""
        self.messages += len(messages)
        return b"".join([frame(self._filter.check(message)) for message in messages])

    def finish(self) -> None:
        """Raise if the stream ended inside a message; call it at END_STREAM."""
        self._assembler.finish()

    @property
    def held_bytes(self) -> int:
        """How much is stored while a message is incomplete."""
        return self._assembler.held_bytes
