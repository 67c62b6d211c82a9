"""The files of a CA directory that everybody may read: certificates and revocation lists, replaced as a whole.

A reader sees the old file or the new one, never a part, also after a power cut. What the files say is decided
elsewhere.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.gm import pem
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason

_STEMS = {Profile.ROOT: "root", Profile.SUB_CA: "sub"}


@dataclass(frozen=True, slots=True)
class Publication:
    """The `public/` folder of a CA directory."""

    folder: Path

    def certificate_path(self, issuer: Profile) -> Path:
        """Return the file of a CA certificate, PEM."""
        return self.folder / f"{_STEMS[issuer]}.crt"

    def crl_path(self, issuer: Profile) -> Path:
        """Return the file of an issuer's revocation list, DER as RFC 5280 4.2.1.13 wants it served."""
        return self.folder / f"{_STEMS[issuer]}.crl"

    def write_list(self, name: str, der: bytes) -> None:
        """Publish a list under a name of its own: a shard or a delta."""
        replace_file(self.folder / name, der)

    def write_certificate(self, issuer: Profile, der: bytes) -> None:
        """Publish a CA certificate."""
        replace_file(self.certificate_path(issuer), pem.encode("CERTIFICATE", der))


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path`, durably and as a whole; an older file of that name is replaced."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc
