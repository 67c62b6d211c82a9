"""SM3 (GB/T 32905) and what is built on it: HMAC, HKDF (RFC 5869), PBKDF2 (RFC 8018).

SM3 itself is hashlib's, that is, the system's libcrypto. Where a hashlib comes without it, the first use says so
with `E_SELFTEST`; nothing falls back to another digest.
"""

import hashlib
import hmac as _hmac
from functools import cache
from typing import Protocol

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

DIGEST_BYTES = 32
BLOCK_BYTES = 64
_ZERO_SALT = bytes(DIGEST_BYTES)


class Hash(Protocol):
    """A running SM3, as hashlib gives it."""

    def update(self, data: bytes, /) -> None:
        """Absorb `data`."""
        ...

    def digest(self) -> bytes:
        """Return the 32-byte digest of what was absorbed."""
        ...

    def hexdigest(self) -> str:
        """Return the digest in lower-case hex."""
        ...

    def copy(self) -> "Hash":
        """Return an independent running hash with the same state."""
        ...


@cache
def _fresh() -> "hashlib._Hash":
    try:
        return hashlib.new("sm3")
    except ValueError as exc:
        raise ZoneGateError(
            Reason.E_SELFTEST, "hashlib: this Python's OpenSSL has no SM3; install Python with OpenSSL 1.1.1 or later"
        ) from exc


def new() -> Hash:
    """Return a running hash. Copying a fresh one is several times cheaper than `hashlib.new`."""
    return _fresh().copy()


def digest(data: bytes) -> bytes:
    """Return the SM3 digest of `data`."""
    running = _fresh().copy()
    running.update(data)
    return running.digest()


def hexdigest(data: bytes) -> str:
    """Return the SM3 digest of `data` in lower-case hex."""
    running = _fresh().copy()
    running.update(data)
    return running.hexdigest()


def hmac(key: bytes, data: bytes) -> bytes:
    """Return HMAC-SM3."""
    _fresh()
    return _hmac.digest(key, data, "sm3")


def equal(left: bytes, right: bytes) -> bool:
    """Whether two digests or tags are equal, in constant time."""
    return _hmac.compare_digest(left, right)


def hkdf(ikm: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes of HKDF-SM3 (RFC 5869); an empty salt is 32 zero bytes."""
    if not 0 < length <= 255 * DIGEST_BYTES:
        msg = f"HKDF-SM3 gives 1 to {255 * DIGEST_BYTES} bytes, asked for {length}"
        raise ValueError(msg)
    prk = hmac(salt or _ZERO_SALT, ikm)
    block, output = b"", b""
    for counter in range(1, -(-length // DIGEST_BYTES) + 1):
        block = hmac(prk, block + info + bytes((counter,)))
        output += block
    return output[:length]


def pbkdf2(password: bytes, salt: bytes, iterations: int, length: int) -> bytes:
    """Return `length` bytes of PBKDF2-HMAC-SM3."""
    _fresh()
    return hashlib.pbkdf2_hmac("sm3", password, salt, iterations, length)
