"""Sealed private keys: EncryptedPrivateKeyInfo with PBES2, PBKDF2-HMAC-SM3 and SM4-GCM, and the files that hold them.

A key file is useless without its secret file. Both are written whole or not at all, readable by their owner only.
What is not decided here: who may have the secret, and which key a process uses.
"""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from zonegate.errors import ZoneGateError
from zonegate.gm import der, pem, sm3, sm4
from zonegate.gm.sm2 import PrivateKey
from zonegate.reasons import Reason

LABEL = "ENCRYPTED PRIVATE KEY"
OID_PBES2 = "1.2.840.113549.1.5.13"
OID_PBKDF2 = "1.2.840.113549.1.5.12"
OID_HMAC_SM3 = "1.2.156.10197.1.401.2"
# Tongsuo and OpenSSL 3.2 know HMAC-SM3 by this one (C1); read, never written.
OID_HMAC_SM3_OTHER = "1.2.156.10197.1.401.3.1"
OID_SM4_GCM = "1.2.156.10197.1.104.8"

# About 35 ms on the machine this was measured on: a secret file holds 256 random bits, the count serves passphrases.
ITERATIONS = 65_536
ITERATIONS_ALLOWED = range(1_000, 1_000_001)
_SALT_BYTES = 16
_SALT_ALLOWED = range(8, 65)
SECRET_BYTES = 32
SECRET_LIMITS = range(12, 4097)
KEY_FILE_LIMIT_BYTES = 16_384
_OWNER_ONLY = 0o600


def seal_key(key: PrivateKey, secret: bytes) -> bytes:
    """Return the PEM of the key sealed under `secret`."""
    _check_secret(secret)
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(sm4.NONCE_BYTES)
    wrapping = sm3.pbkdf2(secret, salt, ITERATIONS, sm4.KEY_BYTES)
    sealed = sm4.gcm_seal(wrapping, nonce, key.to_pkcs8(), b"")
    prf = der.sequence(der.oid(OID_HMAC_SM3), der.NULL_TLV)
    derivation = der.sequence(
        der.oid(OID_PBKDF2),
        der.sequence(der.octet_string(salt), der.integer(ITERATIONS), der.integer(sm4.KEY_BYTES), prf),
    )
    encryption = der.sequence(der.oid(OID_SM4_GCM), der.sequence(der.octet_string(nonce), der.integer(sm4.TAG_BYTES)))
    algorithm = der.sequence(der.oid(OID_PBES2), der.sequence(derivation, encryption))
    return pem.encode(LABEL, der.sequence(algorithm, der.octet_string(sealed)))


def open_key(sealed_pem: bytes, secret: bytes) -> PrivateKey:
    """Return the key in a sealed PEM; `E_DER` for its encoding, `E_KEY_SEALED` if the secret does not open it."""
    _check_secret(secret)
    if not 0 < len(sealed_pem) <= KEY_FILE_LIMIT_BYTES:
        raise ZoneGateError(
            Reason.E_DER, f"sealed key: is {len(sealed_pem)} bytes, 1 to {KEY_FILE_LIMIT_BYTES} are allowed"
        )
    try:
        blocks = pem.decode(LABEL, sealed_pem)
        if len(blocks) != 1:
            msg = f"holds {len(blocks)} blocks of {LABEL}, exactly one is needed"
            raise der.DerError(msg)
        salt, iterations, nonce, sealed = _read(blocks[0])
    except ValueError as exc:
        raise ZoneGateError(Reason.E_DER, f"sealed key: {exc}") from exc
    wrapping = sm3.pbkdf2(secret, salt, iterations, sm4.KEY_BYTES)
    try:
        plain = sm4.gcm_open(wrapping, nonce, sealed, b"")
    except ZoneGateError as exc:
        raise ZoneGateError(Reason.E_KEY_SEALED, "sealed key: this secret does not open it") from exc
    return PrivateKey.from_pkcs8(plain)


def _read(encrypted: bytes) -> tuple[bytes, int, bytes, bytes]:
    """Return salt, iterations, nonce and ciphertext of an EncryptedPrivateKeyInfo."""
    outer = der.Reader(encrypted)
    body = outer.sequence("EncryptedPrivateKeyInfo")
    outer.end("EncryptedPrivateKeyInfo")
    algorithm = body.sequence("encryptionAlgorithm")
    sealed = body.read(der.OCTET_STRING, "encryptedData")
    body.end("EncryptedPrivateKeyInfo")
    _named(algorithm, "encryptionAlgorithm", OID_PBES2)
    parameters = algorithm.sequence("PBES2-params")
    algorithm.end("encryptionAlgorithm")
    derivation = parameters.sequence("keyDerivationFunc")
    encryption = parameters.sequence("encryptionScheme")
    parameters.end("PBES2-params")
    salt, iterations = _read_derivation(derivation)
    return salt, iterations, _read_encryption(encryption), sealed


def _named(reader: der.Reader, what: str, *allowed: str) -> None:
    name = reader.oid(what)
    if name not in allowed:
        msg = f"{what}: is {name}, allowed is {' or '.join(allowed)}"
        raise der.DerError(msg)


def _read_derivation(derivation: der.Reader) -> tuple[bytes, int]:
    _named(derivation, "keyDerivationFunc", OID_PBKDF2)
    parameters = derivation.sequence("PBKDF2-params")
    derivation.end("keyDerivationFunc")
    salt = parameters.read(der.OCTET_STRING, "salt")
    if len(salt) not in _SALT_ALLOWED:
        msg = f"salt: is {len(salt)} bytes, 8 to 64 are allowed"
        raise der.DerError(msg)
    iterations = parameters.integer("iterationCount")
    # Without a bound a hostile file would hold a process for hours.
    if iterations not in ITERATIONS_ALLOWED:
        msg = f"iterationCount: is {str(iterations)[:20]}, 1000 to 1000000 are allowed"
        raise der.DerError(msg)
    if parameters.peek() == der.INTEGER and parameters.integer("keyLength") != sm4.KEY_BYTES:
        msg = f"keyLength: must be {sm4.KEY_BYTES}"
        raise der.DerError(msg)
    prf = parameters.sequence("prf")
    parameters.end("PBKDF2-params")
    _named(prf, "prf", OID_HMAC_SM3, OID_HMAC_SM3_OTHER)
    if not prf.at_end() and prf.tlv() != der.NULL_TLV:
        msg = "prf: its parameters must be absent or NULL"
        raise der.DerError(msg)
    prf.end("prf")
    return salt, iterations


def _read_encryption(encryption: der.Reader) -> bytes:
    _named(encryption, "encryptionScheme", OID_SM4_GCM)
    parameters = encryption.sequence("GCMParameters")
    encryption.end("encryptionScheme")
    nonce = parameters.read(der.OCTET_STRING, "nonce")
    if len(nonce) != sm4.NONCE_BYTES:
        msg = f"nonce: is {len(nonce)} bytes, must be {sm4.NONCE_BYTES}"
        raise der.DerError(msg)
    # DEFAULT 12 of RFC 5084 would be a truncated tag.
    if parameters.integer("icvlen") != sm4.TAG_BYTES:
        msg = f"icvlen: must be {sm4.TAG_BYTES}"
        raise der.DerError(msg)
    parameters.end("GCMParameters")
    return nonce


def _check_secret(secret: bytes) -> None:
    if len(secret) not in SECRET_LIMITS:
        raise ZoneGateError(
            Reason.E_KEY_SEALED,
            f"secret: is {len(secret)} bytes, {SECRET_LIMITS.start} to {SECRET_LIMITS.stop - 1} are allowed",
        )


# --- files


def new_secret_file(path: Path) -> bytes:
    """Write 32 random bytes in hex to a new file that only its owner can read, and return the secret."""
    secret = secrets.token_hex(SECRET_BYTES).encode()
    _write_new(path, secret + b"\n")
    return secret


def read_secret_file(path: Path) -> bytes:
    """Return the secret in a file; `E_KEY_SEALED` if others may read the file or it is empty or too large."""
    mode, content = _read_regular(path, SECRET_LIMITS.stop)
    if mode & 0o077:
        raise ZoneGateError(
            Reason.E_KEY_SEALED, f"{path.name}: its mode is {mode:04o}, a secret must be owner-only (0600 or 0400)"
        )
    secret = content.rstrip(b"\r\n")
    _check_secret(secret)
    return secret


def write_key_file(path: Path, key: PrivateKey, secret: bytes) -> None:
    """Write the sealed key to a new file, 0600, whole or not at all; an existing file is never overwritten."""
    _write_new(path, seal_key(key, secret))


def read_key_file(path: Path, secret_path: Path) -> PrivateKey:
    """Return the key of a sealed key file and the file of its secret."""
    secret = read_secret_file(secret_path)
    _, content = _read_regular(path, KEY_FILE_LIMIT_BYTES)
    return open_key(content, secret)


def _read_regular(path: Path, limit: int) -> tuple[int, bytes]:
    """Return mode and content of a regular file that is neither empty nor larger than `limit`."""
    try:
        # O_NONBLOCK: a FIFO in place of the file must not hold the process.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ZoneGateError(Reason.E_KEY_SEALED, f"{path.name}: is not a regular file")
            content = os.read(descriptor, limit + 1)
        finally:
            os.close(descriptor)
    except OSError as exc:
        raise ZoneGateError(Reason.E_KEY_SEALED, f"{path.name}: cannot be read: {exc.strerror}") from exc
    if not 0 < len(content) <= limit:
        size = "empty" if not content else f"larger than {limit} bytes"
        raise ZoneGateError(Reason.E_KEY_SEALED, f"{path.name}: is {size}")
    return stat.S_IMODE(status.st_mode), content


def _write_new(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OWNER_ONLY)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(descriptor)
            # A link, unlike a rename, refuses to take the place of an existing key.
            os.link(part, path)
        finally:
            with suppress(FileNotFoundError):
                part.unlink()
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: exists already and is never overwritten") from exc
    except OSError as exc:
        raise ZoneGateError(Reason.E_CONFIG, f"{path.name}: cannot be written: {exc.strerror}") from exc
