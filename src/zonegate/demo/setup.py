"""[a] Makes a set-up in a folder of its own: trust, policies, configuration, and a loopback address that is its own.

It starts nothing (`processes`) and decides nothing; everything that it makes is made by the product's own code.
"""

import os
import secrets
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

from zonegate.clock import Clock
from zonegate.demo import signing, trust
from zonegate.demo.configuration import configurations
from zonegate.demo.layout import Layout
from zonegate.demo.parties import CLAIM_PORT, EVIDENCE
from zonegate.errors import ZoneGateError
from zonegate.gm import selftest
from zonegate.identity import Net
from zonegate.reasons import Reason

_SOCKET_PATH_BYTES = 100
_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Setup:
    """A set-up that is ready to run, and the address that it uses."""

    layout: Layout
    host: str


class Claim:
    """A loopback address that no other set-up of this machine uses, until `release`.

    Every port of the set-up is on it, so that set-ups side by side, and the machine's own services, do not meet.
    """

    def __init__(self) -> None:
        for _ in range(_ATTEMPTS):
            # 127.0.0.0/8 is all loopback on Linux; 127.0.x.y is left to the machine.
            host = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"
            claim = socket.socket()
            try:
                claim.bind((host, CLAIM_PORT))
                claim.listen(1)
            except OSError:
                claim.close()
                continue
            self.host = host
            self._socket = claim
            return
        raise ZoneGateError(Reason.E_CONFIG, "address: no free loopback address of 127.0.0.0/8 was found")

    def release(self) -> None:
        """Let others have it."""
        self._socket.close()


def make_setup(folder: Path, host: str, clock: Clock) -> Setup:
    """Make everything in `folder`, which must be empty or not exist; on failure nothing of it stays."""
    selftest.run()
    folder = folder.absolute()
    layout = Layout(folder)
    if folder.exists() and any(folder.iterdir()):
        raise ZoneGateError(Reason.E_CONFIG, f"folder: {folder.name} is not empty")
    if len(os.fsencode(layout.importer_socket)) > _SOCKET_PATH_BYTES:
        raise ZoneGateError(Reason.E_CONFIG, f"folder: its path is too long for a Unix socket ({folder.name})")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        _fill(layout, host, clock)
    except BaseException:
        for entry in folder.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        raise
    return Setup(layout, host)


def _fill(layout: Layout, host: str, clock: Clock) -> None:
    for name in ("config", "log", "state", "evidence", "carrier", "strangers"):
        (layout.root / name).mkdir()
    for name in EVIDENCE:
        layout.evidence(name).mkdir()
    trust.found(layout, clock)
    signing.write_documents(layout)
    for net in Net:
        signing.sign_policy(layout, net, clock, version=signing.FIRST_VERSION)
    for process, text in configurations(layout, host, os.getuid()).items():
        layout.config(process).write_text(text, encoding="utf-8")
