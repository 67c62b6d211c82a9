"""[a] The verifier: reads the carrier, opens and verifies what lies there, hands it to the importer.

It holds the importer's decryption key and the other net's anchors, verifies objects and nothing else (CA-14): it
speaks no TLS, listens nowhere, connects to the importer's Unix socket only, and opens the carrier for reading only.
So no byte can go back towards the other net through it. Whether an object may come in is the importer's decision.
"""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zonegate.clock import Clock
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.carrier import CarrierFile, Found, changed_at, list_files
from zonegate.gateway.boundary.handover import (
    Answer,
    Disposition,
    FrameReader,
    Offer,
    RefusedFile,
    Waiting,
    encode_greeting,
    encode_offer,
    encode_refused,
    encode_waiting,
    read_answer,
)
from zonegate.gateway.boundary.seen import SeenFiles
from zonegate.gateway.boundary.sender import verify_sender
from zonegate.gateway.boundary.transport_file import Bounds, open_object
from zonegate.gm import sm3
from zonegate.gm.sm2 import PrivateKey
from zonegate.pki.crl import Crl
from zonegate.pki.path import SignatureCache, TrustAnchors
from zonegate.reasons import Reason

_LOG = logging.getLogger(__name__)

ANSWER_SECONDS = 30.0
_ANSWER_LIMIT_BYTES = 4096
_RECEIVE_BYTES = 4096
# Not the file's fault: the file is read again when the verifier itself has been mended.
_OWN_TROUBLE = frozenset({Reason.E_IMPORT_SPACE, Reason.E_STATUS_STALE, Reason.E_CRL})
POSTPONED_SECONDS = 5.0
# How many looks in a row must find the directory untouched before looks are spared, and how many at most.
_LOOKS_BEFORE_REST = 4
_LOOKS_SPARED = 20


class Importing(Protocol):
    """The importer as the verifier sees it. Every call raises E_UPSTREAM when the importer is not there."""

    def offer(self, offer: Offer) -> Answer:
        """Hand over a verified object."""
        ...

    def report(self, refused: RefusedFile) -> Answer:
        """Tell of a refused file."""
        ...

    def waiting(self, files: int) -> Answer:
        """Tell how many files wait; also shows whether the importer is there."""
        ...


class ImporterSocket:
    """The importer's Unix socket; connects when needed, and anew after any error."""

    def __init__(self, path: Path, *, seconds: float = ANSWER_SECONDS) -> None:
        self._path = path
        self._seconds = seconds
        self._socket: socket.socket | None = None
        self._frames = FrameReader(_ANSWER_LIMIT_BYTES)

    def offer(self, offer: Offer) -> Answer:
        """Hand over a verified object."""
        return self._say(encode_offer(offer))

    def report(self, refused: RefusedFile) -> Answer:
        """Tell of a refused file."""
        return self._say(iter((encode_refused(refused),)))

    def waiting(self, files: int) -> Answer:
        """Tell how many files wait."""
        return self._say(iter((encode_waiting(Waiting(min(files, 0xFFFF_FFFF))),)))

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, frames: Iterator[bytes]) -> Answer:
        try:
            return self._ask(self._connected(), frames)
        except OSError as exc:
            self.close()
            why = exc.strerror or type(exc).__name__
            raise ZoneGateError(Reason.E_UPSTREAM, f"importer: {self._path.name}: {why}") from exc
        except ZoneGateError:
            self.close()
            raise

    def _connected(self) -> socket.socket:
        if self._socket is None:
            self._frames = FrameReader(_ANSWER_LIMIT_BYTES)
            fresh = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket = fresh
            fresh.settimeout(self._seconds)
            fresh.connect(str(self._path))
            self._ask(fresh, iter((encode_greeting(),)))
        return self._socket

    def _ask(self, connection: socket.socket, frames: Iterator[bytes]) -> Answer:
        for frame in frames:
            connection.sendall(frame)
        while True:
            data = connection.recv(_RECEIVE_BYTES)
            if not data:
                raise ZoneGateError(Reason.E_UPSTREAM, f"importer: {self._path.name}: closed the connection")
            answers = self._frames.feed(data)
            if answers:
                return read_answer(*answers[0])


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier verifies with: the decryption key, the other net's anchors, its lists as they stand now."""

    key: PrivateKey
    anchors: TrustAnchors
    crls: Callable[[], Sequence[Crl]]


class Verifier:
    """Looks through one carrier directory. One thread; `scan` again and again."""

    def __init__(
        self, carrier: Path, seen: SeenFiles, trust: Trust, importer: Importing, clock: Clock, bounds: Bounds
    ) -> None:
        self._carrier = carrier
        self._seen = seen
        self._trust = trust
        self._importer = importer
        self._clock = clock
        self._bounds = bounds
        self._signatures = SignatureCache()
        self._postponed: dict[Found, float] = {}
        self._quiet = _Quiet()

    def scan(self) -> int:
        """Deal with the files that are new, oldest first; return how many are done with.

        Raises E_UPSTREAM when the importer is not there, E_IMPORT_SPACE when the carrier cannot be read, E_LEDGER;
        then files stay as they are and the next look takes them up.
        """
        changed = changed_at(self._carrier)
        if self._quiet.may_rest(changed) and not self._postponed:
            self._importer.waiting(0)
            return 0
        files = list_files(self._carrier)
        # An empty listing may be a carrier that is not mounted just now: nothing is forgotten for that.
        if files:
            self._seen.forget_gone([found.shown for found in files])
        fresh = [found for found in files if found not in self._seen]
        self._postponed = {found: until for found, until in self._postponed.items() if found in fresh}
        self._importer.waiting(len(fresh))
        done = self._deal_with_all(fresh)
        self._quiet.looked(changed, nothing_left=done == len(fresh))
        return done

    def _deal_with_all(self, fresh: Sequence[Found]) -> int:
        done = 0
        for found in fresh:
            if self._postponed.get(found, 0.0) > self._clock.monotonic():
                continue
            disposition = self._deal_with(found)
            if disposition is Disposition.BUSY:
                break
            done += disposition is not None
        return done

    def _deal_with(self, found: Found) -> Disposition | None:
        """Return what the importer said, None where the file is to be looked at again."""
        digest = sm3.new()
        try:
            with CarrierFile(self._carrier, found, self._bounds.file_bytes) as file:
                said = self._judge(file, found, digest)
                if not file.unchanged():
                    self._postpone(found, "it changed while it was read")
                    return None
        except ZoneGateError as error:
            if error.reason in _OWN_TROUBLE:
                self._postpone(found, str(error))
                return None
            # Not opened at all: no regular file, or too large to be read.
            said = RefusedFile(found.shown, "", error.reason, error.detail)
        answer = self._importer.offer(said) if isinstance(said, Offer) else self._importer.report(said)
        if answer.disposition is Disposition.BUSY:
            _LOG.warning("the importer has no room: %s", answer.detail)
            return answer.disposition
        if isinstance(said, RefusedFile):
            _LOG.warning("%s refused: %s %s", said.file, said.reason.value, said.detail)
        self._postponed.pop(found, None)
        self._seen.remember(found, digest.hexdigest(), answer.disposition.name)
        return answer.disposition

    def _postpone(self, found: Found, why: str) -> None:
        if found not in self._postponed:
            _LOG.error("%s cannot be judged now: %s", found.shown, why)
        self._postponed[found] = self._clock.monotonic() + POSTPONED_SECONDS

    def _judge(self, file: CarrierFile, found: Found, digest: sm3.Hash) -> Offer | RefusedFile:
        blocks = _absorbed(file.blocks(), digest)
        crls = self._trust.crls()
        try:
            item = open_object(
                blocks,
                self._trust.key,
                self._trust.anchors,
                now=self._clock.now(),
                crls=crls,
                bounds=self._bounds,
                signatures=self._signatures,
            )
            verify_sender(item.header, self._trust.anchors, crls=crls, signatures=self._signatures)
        except ZoneGateError as error:
            if error.reason in _OWN_TROUBLE:
                raise
            for _ in blocks:
                pass
            return RefusedFile(found.shown, digest.hexdigest(), error.reason, error.detail)
        return Offer(found.shown, item.signed, item.header, item.messages)


def _absorbed(blocks: Iterator[bytes], digest: sm3.Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


class _Quiet:
    """Spares looks into a directory in which nothing comes or goes.

    A change within the clock tick of a look would go unseen by its time alone, so several looks at the same time come
    first, and one look in twenty is never spared.
    """

    def __init__(self) -> None:
        self._changed = -1
        self._looks = 0
        self._spared = 0

    def may_rest(self, changed: int) -> bool:
        if changed != self._changed or self._looks < _LOOKS_BEFORE_REST or self._spared >= _LOOKS_SPARED:
            self._spared = 0
            return False
        self._spared += 1
        return True

    def looked(self, changed: int, *, nothing_left: bool) -> None:
        same = changed == self._changed and nothing_left
        self._looks = self._looks + 1 if same else 0
        self._changed = changed
