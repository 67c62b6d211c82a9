"""[d] The sealed outside of a transport file: SM2 to the recipient's key, SM4-GCM in chunks (docs/import.md, "Seal").

Pure and streaming: blocks of bytes in, blocks out, never more than two chunks held. Sealing says who can read a file
and that no byte of it was changed, moved, cut or added; it says nothing of who wrote it, since the recipient's public
key is public. That is the signature inside.

The chunks follow the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): the nonce is a prefix, the
chunk's number and a mark on the last one, so that reordering, dropping and appending chunks fail like altering them.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from zonegate.errors import ZoneGateError
from zonegate.gateway.boundary.header import key_id
from zonegate.gm import sm3, sm4
from zonegate.gm.sm2 import PrivateKey, PublicKey
from zonegate.reasons import Reason

# Magic, version 1, key wrap 1 (SM2), chunks 1 (SM4-GCM, key by HKDF-SM3), log2 of the chunk size.
PREAMBLE: Final = b"ZGTF" + bytes((1, 1, 1, 16))
CHUNK_BYTES: Final = 1 << PREAMBLE[-1]
SECRET_BYTES: Final = 32
_KEY_ID_BYTES = 32
_WRAPPED_LENGTH_BYTES = 2
# SM2Cipher of 32 bytes: 136 to 142 in DER; anything near it is decoded, anything else is not a v1 file.
_WRAPPED_LIMIT_BYTES = 256
_FIXED_BYTES = len(PREAMBLE) + _KEY_ID_BYTES + _WRAPPED_LENGTH_BYTES
_PREFIX_BYTES = 7
_INFO = b"zonegate transport file v1"


def seal(blocks: Iterable[bytes], recipient: PublicKey, secret: bytes) -> Iterator[bytes]:
    """Yield the file that only the owner of `recipient` can read; `secret` is 32 fresh random bytes."""
    if len(secret) != SECRET_BYTES:
        msg = f"secret: is {len(secret)} bytes, must be {SECRET_BYTES}"
        raise ValueError(msg)
    wrapped = recipient.encrypt(secret)
    head = PREAMBLE + bytes.fromhex(key_id(recipient.spki)) + len(wrapped).to_bytes(2, "big") + wrapped
    yield head
    chunks = _Chunks(secret, head)
    for chunk, last in _regrouped(blocks, CHUNK_BYTES):
        yield chunks.seal(chunk, last=last)


def unseal(blocks: Iterable[bytes], key: PrivateKey) -> Iterator[bytes]:
    """Yield the content of a sealed file; E_IMPORT_FORMAT if it is none, E_IMPORT_SEAL if not intact or not ours."""
    source = _Pulled(blocks)
    head = source.take(_FIXED_BYTES)
    if not head.startswith(PREAMBLE) or len(head) < _FIXED_BYTES:
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, "file: does not begin as a zonegate transport file of version 1")
    length = int.from_bytes(head[-_WRAPPED_LENGTH_BYTES:], "big")
    wrapped = source.take(length) if 0 < length <= _WRAPPED_LIMIT_BYTES else b""
    if not wrapped or len(wrapped) < length:
        raise ZoneGateError(Reason.E_IMPORT_FORMAT, "file: its sealed key is missing, cut off or too long")
    ours = key_id(key.public_key.spki)
    named = head[len(PREAMBLE) : len(PREAMBLE) + _KEY_ID_BYTES].hex()
    if named != ours:
        raise _broken(f"is sealed to key {named[:16]}…, this importer's is {ours[:16]}…")
    chunks = _Chunks(_unwrap(key, wrapped), head + wrapped)
    for chunk, last in _regrouped(source.rest(), CHUNK_BYTES + sm4.TAG_BYTES):
        yield chunks.open(chunk, last=last)


def _unwrap(key: PrivateKey, wrapped: bytes) -> bytes:
    try:
        secret = key.decrypt(wrapped)
    except ZoneGateError as exc:
        raise _broken("its sealed key does not open with this importer's key") from exc
    if len(secret) != SECRET_BYTES:
        raise _broken(f"its sealed key has {len(secret)} bytes, must have {SECRET_BYTES}")
    return secret


def _broken(what: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_IMPORT_SEAL, f"file: {what}")


class _Chunks:
    """Key, nonces and associated data of one file."""

    def __init__(self, secret: bytes, head: bytes) -> None:
        self._aad = sm3.digest(head)
        material = sm3.hkdf(secret, self._aad, _INFO, sm4.KEY_BYTES + _PREFIX_BYTES)
        self._key, self._prefix = material[: sm4.KEY_BYTES], material[sm4.KEY_BYTES :]
        self._number = 0

    def seal(self, chunk: bytes, *, last: bool) -> bytes:
        return sm4.gcm_seal(self._key, self._nonce(last=last), chunk, self._aad)

    def open(self, chunk: bytes, *, last: bool) -> bytes:
        number = self._number
        try:
            return sm4.gcm_open(self._key, self._nonce(last=last), chunk, self._aad)
        except ZoneGateError as exc:
            raise _broken(f"chunk {number} was altered, cut off, moved or added") from exc

    def _nonce(self, *, last: bool) -> bytes:
        nonce = self._prefix + self._number.to_bytes(4, "big") + (b"\x01" if last else b"\x00")
        self._number += 1
        return nonce


class _Pulled:
    """Reads exact sizes from an iterable of blocks."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._held = b""

    def take(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        while len(self._held) < size:
            block = next(self._blocks, None)
            if block is None:
                break
            self._held += block
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def rest(self) -> Iterator[bytes]:
        """Yield what follows."""
        if self._held:
            yield self._held
            self._held = b""
        yield from self._blocks


def _regrouped(blocks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield pieces of `size` bytes, the last one marked: 1 to `size` bytes, or empty when there was nothing at all."""
    held = bytearray()
    for block in blocks:
        held += block
        while len(held) > size:
            yield bytes(held[:size]), False
            del held[:size]
    yield bytes(held), True
