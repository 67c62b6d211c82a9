"""[d] What verifier and importer say to each other over their Unix socket (docs/import.md, "Handover").

Sans I/O: bytes in, parts out. Each frame is a length, a kind and a body; the verifier speaks, the importer answers
each whole saying with one answer. The importer holds no foreign anchors and believes the verifier, which the kernel
names by its uid; what it can check by itself (form, bounds, digest of the messages) it checks again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.header import MessageDigest, ObjectHeader
from zonegate.gateway.boundary.transport_file import Bounds, SignedHeader, read_proof
from zonegate.reasons import Reason

GREETING: Final = b"zonegate handover v1"
PROOF_LIMIT_BYTES: Final = 128 << 10
TEXT_LIMIT_BYTES: Final = 1024
_LENGTH_BYTES = 4
_TEXT_LENGTH_BYTES = 2
_NUMBER_BYTES = 4


class Kind(IntEnum):
    """What a frame is."""

    GREETING = 1
    OBJECT = 2
    MESSAGE = 3
    END = 4
    REFUSED = 5
    WAITING = 6
    ANSWER = 7


class Disposition(IntEnum):
    """What the importer made of what it was told."""

    TAKEN = 1  # durable with the importer, or noted
    DUPLICATE = 2  # the object was taken before
    REFUSED = 3  # never again: the verifier's view and the importer's differ
    BUSY = 4  # not taken; offer it again later


@dataclass(frozen=True, slots=True)
class Greeting:
    """The verifier is there."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A verified object, with the name of its file."""

    file: str
    signed: SignedHeader
    header: ObjectHeader
    messages: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RefusedFile:
    """A file that the verifier refused, and why; `digest` is SM3 of the file, empty where it was not read whole."""

    file: str
    digest: str
    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """How many files the verifier has still to offer."""

    files: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The importer's answer to an offer or a report."""

    disposition: Disposition
    detail: str = ""


Saying = Greeting | Offer | RefusedFile | Waiting


def _error(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_IMPORT_FORMAT, f"handover: {detail}")


def _frame(kind: Kind, body: bytes = b"") -> bytes:
    return (len(body) + 1).to_bytes(_LENGTH_BYTES, "big") + bytes((kind,)) + body


def _texts(*texts: str) -> bytes:
    parts: list[bytes] = []
    for text in texts:
        # Cut, not refused: these are names and sentences for people. A name of undecodable bytes is shown escaped.
        encoded = text.encode("utf-8", "backslashreplace")[:TEXT_LIMIT_BYTES].decode("utf-8", "ignore").encode()
        parts += (len(encoded).to_bytes(_TEXT_LENGTH_BYTES, "big"), encoded)
    return b"".join(parts)


def encode_greeting() -> bytes:
    """Return the first frame of a connection."""
    return _frame(Kind.GREETING, GREETING)


def encode_offer(offer: Offer) -> Iterator[bytes]:
    """Yield the frames of an offer."""
    yield _frame(Kind.OBJECT, _texts(offer.file) + offer.signed.proof)
    for message in offer.messages:
        yield _frame(Kind.MESSAGE, message)
    yield _frame(Kind.END)


def encode_refused(report: RefusedFile) -> bytes:
    """Return the frame of a report."""
    return _frame(Kind.REFUSED, _texts(report.file, report.digest, report.reason.value, report.detail))


def encode_waiting(waiting: Waiting) -> bytes:
    """Return the frame of a count."""
    return _frame(Kind.WAITING, waiting.files.to_bytes(_NUMBER_BYTES, "big"))


def encode_answer(answer: Answer) -> bytes:
    """Return the importer's frame."""
    return _frame(Kind.ANSWER, bytes((answer.disposition,)) + _texts(answer.detail))


class FrameReader:
    """Cuts a stream of bytes into frames of bounded length."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """Return the frames that `data` completes."""
        held = self._held
        held += data
        frames: list[tuple[Kind, bytes]] = []
        at = 0
        while len(held) - at > _LENGTH_BYTES:
            length = int.from_bytes(held[at : at + _LENGTH_BYTES], "big")
            kind = held[at + _LENGTH_BYTES]
            if not 0 < length <= self._limit:
                raise _error(f"a frame of {length} bytes, 1 to {self._limit} are allowed")
            if kind not in set(Kind):
                raise _error(f"a frame of kind {kind}")
            end = at + _LENGTH_BYTES + length
            if len(held) < end:
                break
            frames.append((Kind(kind), bytes(held[at + _LENGTH_BYTES + 1 : end])))
            at = end
        del held[:at]
        return frames


def read_answer(kind: Kind, body: bytes) -> Answer:
    """Return the importer's answer in a frame."""
    if kind is not Kind.ANSWER or not body or body[0] not in set(Disposition):
        raise _error("an answer was expected")
    (detail,) = _read_texts(body[1:], 1)
    return Answer(Disposition(body[0]), detail)


class Listener:
    """The importer's side of one connection: bytes in, whole sayings out. Any error ends the connection."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._frames = FrameReader(max(bounds.message_bytes, PROOF_LIMIT_BYTES) + TEXT_LIMIT_BYTES + 16)
        self._greeted = False
        self._file = ""
        self._begun: tuple[SignedHeader, ObjectHeader] | None = None
        self._messages: list[bytes] = []
        self._digest = MessageDigest()

    def feed(self, data: bytes) -> list[Saying]:
        """Return what the verifier has finished saying."""
        sayings = (self._take(kind, body) for kind, body in self._frames.feed(data))
        return [saying for saying in sayings if saying is not None]

    def _take(self, kind: Kind, body: bytes) -> Saying | None:
        if not self._greeted:
            if kind is not Kind.GREETING or body != GREETING:
                raise _error(f"the first frame must be the greeting {GREETING.decode()!r}")
            self._greeted = True
            return Greeting()
        if self._begun is None:
            return self._take_first(kind, body)
        if kind is Kind.MESSAGE:
            self._take_message(body, self._begun[1])
            return None
        if kind is not Kind.END:
            raise _error(f"a frame {kind.name} inside an object")
        return self._finish(*self._begun)

    def _take_first(self, kind: Kind, body: bytes) -> Saying | None:
        if kind is Kind.OBJECT:
            self._file, proof = _read_text(body)
            self._begun = read_proof(proof)
            self._messages, self._digest = [], MessageDigest()
            return None
        if kind is Kind.REFUSED:
            file, digest, reason, detail = _read_texts(body, 4)
            if reason not in set(Reason):
                raise _error(f"{reason[:40]!r} is no reason")
            return RefusedFile(file, digest, Reason(reason), detail)
        if kind is Kind.WAITING and len(body) == _NUMBER_BYTES:
            return Waiting(int.from_bytes(body, "big"))
        raise _error(f"a frame {kind.name} where an object, a report or a count begins")

    def _take_message(self, message: bytes, header: ObjectHeader) -> None:
        self._digest.add(message)
        self._messages.append(message)
        if self._digest.count > min(header.message_count, self._bounds.messages) or self._digest.total_bytes > min(
            header.message_bytes, self._bounds.total_bytes
        ):
            raise _error("an object with more than its header announces or the bounds allow")

    def _finish(self, signed: SignedHeader, header: ObjectHeader) -> Offer:
        if self._digest.count != header.message_count or self._digest.hexdigest() != header.digest:
            raise _error("the messages of an object are not those of its header")
        offer = Offer(self._file, signed, header, tuple(self._messages))
        self._begun = None
        self._messages = []
        return offer


def _read_text(body: bytes) -> tuple[str, bytes]:
    length = int.from_bytes(body[:_TEXT_LENGTH_BYTES], "big")
    end = _TEXT_LENGTH_BYTES + length
    if length > TEXT_LIMIT_BYTES or len(body) < end:
        raise _error("a text is cut off or too long")
    try:
        return body[_TEXT_LENGTH_BYTES:end].decode(), body[end:]
    except UnicodeDecodeError as exc:
        raise _error("a text is not UTF-8") from exc


def _read_texts(body: bytes, count: int) -> Sequence[str]:
    texts: list[str] = []
    for _ in range(count):
        text, body = _read_text(body)
        texts.append(text)
    if body:
        raise _error("bytes after the last text")
    return texts
