"""[a] The verifier as a process: built from its configuration, it looks through the carrier until SIGTERM.

It serves nothing: no address, no metrics of its own. How many files wait and what was refused it tells the importer,
which counts, keeps evidence and is watched. This module and all that it imports know no TLS.
"""

import logging
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from zonegate.clock import Clock, SystemClock
from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.carrier import changed_at
from zonegate.gateway.boundary.config import VerifierConfig
from zonegate.gateway.boundary.seen import SeenFiles
from zonegate.gateway.boundary.verifier import ImporterSocket, Trust, Verifier
from zonegate.gm import keyfile, selftest
from zonegate.pki.credential import read_chain_file
from zonegate.pki.crl import CRL_LIMIT_BYTES, Crl, load_crl
from zonegate.pki.path import TrustAnchors
from zonegate.reasons import Reason
from zonegate.strictconf import load_toml

_LOG = logging.getLogger("zonegate")


class ForeignLists:
    """The other net's revocation lists in files: read again when they change, never replaced by an older number."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._read: dict[Path, tuple[int, int, int]] = {}
        self._lists: dict[Path, Crl] = {}
        for path in self._paths:
            self._lists[path] = self._load(path)

    def current(self) -> tuple[Crl, ...]:
        """Return the lists as they stand now; one that cannot be read stays as it was."""
        for path in self._paths:
            try:
                self._refresh(path)
            except ZoneGateError as error:
                _LOG.error("revocation list refused: %s", error)
        return tuple(self._lists.values())

    def _refresh(self, path: Path) -> None:
        if self._identity(path) == self._read.get(path):
            return
        fresh, known = self._load(path), self._lists[path]
        if fresh.issuer_der != known.issuer_der or fresh.number < known.number:
            detail = f"{path.name}: crlNumber {fresh.number} of another issuer or below {known.number}"
            raise ZoneGateError(Reason.E_CRL_NUMBER, detail)
        self._lists[path] = fresh

    def _load(self, path: Path) -> Crl:
        identity = self._identity(path)
        try:
            with path.open("rb") as stream:
                content = stream.read(CRL_LIMIT_BYTES + 1)
        except OSError as exc:
            raise ZoneGateError(Reason.E_CRL, f"{path.name}: cannot be read: {exc.strerror}") from exc
        # Noted also where it is refused: the same bad file is complained of once.
        self._read[path] = identity
        return load_crl(content)

    def _identity(self, path: Path) -> tuple[int, int, int]:
        try:
            status = path.stat()
        except OSError as exc:
            raise ZoneGateError(Reason.E_CRL, f"{path.name}: cannot be read: {exc.strerror}") from exc
        return status.st_ino, status.st_size, status.st_mtime_ns


class VerifierProcess:
    """Built by the constructor without looking; `run` looks until it is told to stop."""

    def __init__(self, config: VerifierConfig, clock: Clock) -> None:
        selftest.run()
        settings = config.verifier
        if settings.importer.path is None:
            raise ZoneGateError(Reason.E_CONFIG, f"verifier.importer: is {settings.importer}, must be unix:PATH")
        self.config = config
        self.anchors = foreign_anchors(config.foreign_trust.root)
        self.key = keyfile.read_key_file(config.decryption.key, config.decryption.secret)
        lists = ForeignLists(config.foreign_trust.crls)
        self.judges_status = bool(config.foreign_trust.crls)
        changed_at(settings.carrier)
        self._poll_seconds = settings.poll_seconds
        self._stop = threading.Event()
        self._importer = ImporterSocket(settings.importer.path)
        self._seen = SeenFiles(settings.state)
        self.verifier = Verifier(
            settings.carrier,
            self._seen,
            Trust(self.key, self.anchors, lists.current),
            self._importer,
            clock,
            config.bounds.bounds(),
        )

    def run(self) -> None:
        """Look until `stop`."""
        _LOG.info("verifier looking for objects of the %s net", self.anchors.net)
        complaint = ""
        while not self._stop.is_set():
            try:
                self.verifier.scan()
                complaint = ""
            except ZoneGateError as error:
                # Said once, not at every look.
                if str(error) != complaint:
                    complaint = str(error)
                    _LOG.error("nothing is read now: %s", complaint)
            self._stop.wait(self._poll_seconds)
        self.close()
        _LOG.info("verifier stopped")

    def stop(self) -> None:
        """End after the file in hand."""
        self._stop.set()

    def close(self) -> None:
        """Close what the constructor opened."""
        self._importer.close()
        self._seen.close()
        self.key.close()


def foreign_anchors(path: Path) -> TrustAnchors:
    """Return the anchors of the one net whose root is in `path`."""
    roots = read_chain_file(path)
    nets = {root.net for root in roots}
    net = roots[0].net
    if len(nets) != 1 or net is None:
        found = ", ".join(sorted(str(item) for item in nets))
        raise ZoneGateError(
            Reason.E_CONFIG, f"foreign_trust.root: names {found}; the roots of one net are needed (CA-14)"
        )
    return TrustAnchors(net, roots)


def check_config(path: Path) -> VerifierProcess:
    """Build a verifier from its configuration without looking; raises what would stop its start."""
    process = VerifierProcess(load_toml(path, VerifierConfig), SystemClock())
    process.close()
    return process


def run_verifier(path: Path) -> None:
    """Run a verifier until SIGTERM."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    process = VerifierProcess(load_toml(path, VerifierConfig), SystemClock())

    def stop(_number: int, _frame: FrameType | None) -> None:
        process.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    process.run()
