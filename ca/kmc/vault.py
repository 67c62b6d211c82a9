"""Seals private keys for storage: each under the data key, the data key under the master key, all SM4-GCM.

The master key is in memory only while a data key is wrapped or unwrapped. What the bytes belong to is bound in as
associated data, so that a sealed key moved to another row does not open. No files and no database here.
"""

import secrets

from zonegate.errors import ZoneGateError
from zonegate.gm import sm3, sm4
from zonegate.gm.sm2 import PrivateKey, PublicKey
from zonegate.reasons import Reason

_WRAP_INFO = b"zonegate kmc data key wrapping v1"
_KEY_CONTEXT = b"zonegate kmc escrowed key v1"


def new_data_key() -> bytes:
    """Return a fresh SM4 key."""
    return secrets.token_bytes(sm4.KEY_BYTES)


def wrap(master: bytes, number: int, data_key: bytes) -> bytes:
    """Return data key `number` under the master key."""
    return _seal(_wrapping(master), data_key, _number(number))


def unwrap(master: bytes, number: int, wrapped: bytes) -> bytes:
    """Return data key `number`; `E_KEY_SHARE` if this is not the master key it was wrapped under."""
    try:
        return _open(_wrapping(master), wrapped, _number(number))
    except ZoneGateError as exc:
        detail = "shares: they make a key, but not this centre's master key; all were dropped"
        raise ZoneGateError(Reason.E_KEY_SHARE, detail) from exc


class Vault:
    """One open data key. `close` overwrites it; after that nothing opens."""

    def __init__(self, number: int, data_key: bytes) -> None:
        self.number = number
        self._data_key = bytearray(data_key)

    def seal(self, key_id: str, key: PrivateKey) -> bytes:
        """Return the private key sealed for the row `key_id`."""
        return _seal(self._opened(), key.to_scalar(), _bound(key_id, key.public_key))

    def open(self, key_id: str, public_key: PublicKey, sealed: bytes) -> PrivateKey:
        """Return the private key of the row; `E_CIPHERTEXT` if it was altered or moved."""
        scalar = _open(self._opened(), sealed, _bound(key_id, public_key))
        key = PrivateKey.from_scalar(int.from_bytes(scalar, "big"))
        if key.public_key != public_key:
            raise ZoneGateError(Reason.E_KEY, "stored key: is not the private half of the public key beside it")
        return key

    def rewrap(self, master: bytes) -> bytes:
        """Return this data key under another master key."""
        return wrap(master, self.number, self._opened())

    def close(self) -> None:
        """Overwrite the key."""
        self._data_key[:] = bytes(len(self._data_key))
        self._data_key.clear()

    def _opened(self) -> bytes:
        if not self._data_key:
            raise ZoneGateError(Reason.E_KMC_SEALED, "data key: is not here any more")
        return bytes(self._data_key)

    def __repr__(self) -> str:
        return f"Vault({self.number})"


def _wrapping(master: bytes) -> bytes:
    return sm3.hkdf(master, b"", _WRAP_INFO, sm4.KEY_BYTES)


def _number(number: int) -> bytes:
    return _WRAP_INFO + number.to_bytes(8, "big")


def _bound(key_id: str, public_key: PublicKey) -> bytes:
    return _KEY_CONTEXT + bytes.fromhex(key_id) + public_key.point


def _seal(key: bytes, plaintext: bytes, aad: bytes) -> bytes:
    # 96 random bits: with the at most 2^28 keys of one data key a repetition is out of reach, and `rotate` draws anew.
    nonce = secrets.token_bytes(sm4.NONCE_BYTES)
    return nonce + sm4.gcm_seal(key, nonce, plaintext, aad)


def _open(key: bytes, sealed: bytes, aad: bytes) -> bytes:
    if len(sealed) <= sm4.NONCE_BYTES:
        raise ZoneGateError(Reason.E_CIPHERTEXT, "sealed key: is cut off")
    return sm4.gcm_open(key, sealed[: sm4.NONCE_BYTES], sealed[sm4.NONCE_BYTES :], aad)
