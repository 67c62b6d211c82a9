"""Where the CA's private keys live, behind calls that a cryptographic device has too (GM/T 0018: sign by key index).

A key store signs under a key's name and never gives a key away. `FileKeyStore` opens a sealed file when a key is
first needed, so that issuing works while the root's folder is locked away. It does not decide what may be signed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.gm import keyfile, sm2
from zonegate.pki.oids import Profile
from zonegate.reasons import Reason


class KeyStore(Protocol):
    """What a sealed file, an SDF device or a token does with a CA key, named by the profile of its certificate."""

    def generate(self, key: Profile) -> sm2.PublicKey:
        """Make a key pair; E_CONFIG if there is one of that name."""
        ...

    def public_key(self, key: Profile) -> sm2.PublicKey:
        """Return the public half."""
        ...

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:
        """Return the DER signature of `message`."""
        ...


@dataclass(frozen=True, slots=True)
class SealedFiles:
    """One key: its sealed file and the file of its secret."""

    key: Path
    secret: Path


class FileKeyStore:
    """Keys in sealed PKCS#8 files (`gm.keyfile`)."""

    def __init__(self, files: Mapping[Profile, SealedFiles]) -> None:
        self._files = dict(files)
        self._opened: dict[Profile, sm2.PrivateKey] = {}

    def generate(self, key: Profile) -> sm2.PublicKey:
        """Make a key pair and its secret; neither file may exist."""
        files = self._files[key]
        private = sm2.PrivateKey.generate()
        keyfile.write_key_file(files.key, private, keyfile.new_secret_file(files.secret))
        self._opened[key] = private
        return private.public_key

    def public_key(self, key: Profile) -> sm2.PublicKey:
        """Return the public half."""
        return self._open(key).public_key

    def sign(self, key: Profile, message: bytes, *, signer_id: bytes) -> bytes:
        """Return the DER signature of `message`."""
        return self._open(key).sign(message, signer_id=signer_id)

    def _open(self, key: Profile) -> sm2.PrivateKey:
        if key not in self._opened:
            files = self._files[key]
            if not files.key.exists():
                detail = f"{key.value} key: its file is not here; bring the offline folder back for this act"
                raise ZoneGateError(Reason.E_KEY_SEALED, detail)
            self._opened[key] = keyfile.read_key_file(files.key, files.secret)
        return self._opened[key]
