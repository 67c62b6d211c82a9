"""SM2EnvelopedKey (GB/T 35276, standards.md C3.3): an encryption key pair on its way to its owner [d].

The private key travels under a one-time SM4 key, that under the owner's SIGNING public key; whoever opens it gets a
key only if it is the one whose public half stands beside it. Strict DER, one form written: SM4-ECB .104.1 without
parameters, d in two blocks without padding. Read are .104.1 and the bare .104, without parameters or with NULL.
Who may have a key enveloped for whom is decided by the key centre, not here.
"""

import secrets
from dataclasses import dataclass

from zonegate.errors import ZoneGateError
from zonegate.gm import der, sm4
from zonegate.gm.sm2 import PrivateKey, PublicKey
from zonegate.reasons import Reason

OID_SM4 = "1.2.156.10197.1.104"
OID_SM4_ECB = "1.2.156.10197.1.104.1"
ALGORITHMS_READ = (OID_SM4_ECB, OID_SM4)
# About 245 bytes; every part has a fixed size but the two coordinates.
ENVELOPE_MAX_BYTES = 512
SCALAR_BYTES = 32


@dataclass(frozen=True, slots=True)
class EnvelopedKey:
    """The parts of an SM2EnvelopedKey; `symmetric_key` is a DER SM2Cipher, `private_key` the two encrypted blocks."""

    algorithm: str
    symmetric_key: bytes
    public_key: PublicKey
    private_key: bytes


def seal(key: PrivateKey, recipient: PublicKey) -> bytes:
    """Return the DER of `key` enveloped for the holder of `recipient`, who must not be the key itself."""
    if recipient == key.public_key:
        raise ZoneGateError(Reason.E_KEY, "recipient: is the enveloped key itself, which nobody has yet")
    wrapping = secrets.token_bytes(sm4.KEY_BYTES)
    return encode(EnvelopedKey(OID_SM4_ECB, recipient.encrypt(wrapping), key.public_key, _blocks(key, wrapping)))


def unseal(envelope: bytes, owner: PrivateKey) -> PrivateKey:
    """Return the key in `envelope`: `E_DER`, `E_CIPHERTEXT` (not for `owner`), `E_KEY` (not the key it claims)."""
    parts = decode(envelope)
    wrapping = owner.decrypt(parts.symmetric_key)
    halves = (parts.private_key[: sm4.BLOCK_BYTES], parts.private_key[sm4.BLOCK_BYTES :])
    scalar = b"".join(sm4.decrypt_block(wrapping, half) for half in halves)
    key = PrivateKey.from_scalar(int.from_bytes(scalar, "big"))
    if key.public_key != parts.public_key:
        raise ZoneGateError(Reason.E_KEY, "sm2PublicKey: is not the public half of the enveloped private key")
    return key


def _blocks(key: PrivateKey, wrapping: bytes) -> bytes:
    # ECB of a random number under a key used once: two equal blocks do not occur and nothing repeats.
    scalar = key.to_scalar()
    halves = (scalar[: sm4.BLOCK_BYTES], scalar[sm4.BLOCK_BYTES :])
    return b"".join(sm4.encrypt_block(wrapping, half) for half in halves)


def encode(key: EnvelopedKey) -> bytes:
    """Return the DER of the four parts."""
    return der.sequence(
        der.sequence(der.oid(key.algorithm)),
        key.symmetric_key,
        der.bit_string(key.public_key.point),
        der.bit_string(key.private_key),
    )


def decode(envelope: bytes) -> EnvelopedKey:
    """Return the parts of a strict DER SM2EnvelopedKey; nothing is decrypted."""
    if len(envelope) > ENVELOPE_MAX_BYTES:
        raise ZoneGateError(
            Reason.E_DER, f"SM2EnvelopedKey: is {len(envelope)} bytes, at most {ENVELOPE_MAX_BYTES} are possible"
        )
    try:
        outer = der.Reader(envelope)
        body = outer.sequence("SM2EnvelopedKey")
        outer.end("SM2EnvelopedKey")
        algorithm = _read_algorithm(body.sequence("symAlgID"))
        symmetric_key = body.tlv()
        point = body.bit_string("sm2PublicKey")
        private_key = body.bit_string("sm2EncryptedPrivateKey")
        body.end("SM2EnvelopedKey")
    except der.DerError as exc:
        raise ZoneGateError(Reason.E_DER, f"SM2EnvelopedKey: {exc}") from exc
    cipher = der.decode_cipher(symmetric_key)
    if len(cipher.ciphertext) != sm4.KEY_BYTES:
        detail = f"symEncryptedKey: holds {len(cipher.ciphertext)} bytes, an SM4 key has {sm4.KEY_BYTES}"
        raise ZoneGateError(Reason.E_DER, detail)
    if len(private_key) != SCALAR_BYTES:
        detail = f"sm2EncryptedPrivateKey: is {len(private_key)} bytes, must be {SCALAR_BYTES} (d without padding)"
        raise ZoneGateError(Reason.E_DER, detail)
    return EnvelopedKey(algorithm, symmetric_key, PublicKey.from_point(point), private_key)


def _read_algorithm(body: der.Reader) -> str:
    name = body.oid("symAlgID")
    if name not in ALGORITHMS_READ:
        msg = f"symAlgID: is {name}, allowed is {' or '.join(ALGORITHMS_READ)} (SM4-ECB)"
        raise der.DerError(msg)
    if not body.at_end() and body.tlv() != der.NULL_TLV:
        msg = "symAlgID: its parameters must be absent or NULL"
        raise der.DerError(msg)
    body.end("symAlgID")
    return name
