"""SM4 (GB/T 32907) in CBC, CTR, GCM and CCM, by `cryptography`; CCM is composed here from its block modes.

Keys are 16 bytes. Nonces are the caller's: one nonce a key, ever. An opening that fails says so with `E_CIPHERTEXT`
and returns no byte of plaintext.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from zonegate.errors import ZoneGateError
from zonegate.gm import sm3
from zonegate.reasons import Reason

KEY_BYTES = 16
BLOCK_BYTES = 16
NONCE_BYTES = 12
TAG_BYTES = 16
# The length field of CCM with a 12-byte nonce has three octets (RFC 3610: L = 15 - 12).
_CCM_LENGTH_OCTETS = 15 - NONCE_BYTES
CCM_MAX_BYTES = (1 << 8 * _CCM_LENGTH_OCTETS) - 1


def _check(field: str, value: bytes, size: int) -> None:
    if len(value) != size:
        msg = f"{field}: is {len(value)} bytes, must be {size}"
        raise ValueError(msg)


def _key(key: bytes) -> algorithms.SM4:
    _check("SM4 key", key, KEY_BYTES)
    return algorithms.SM4(key)


def _altered() -> ZoneGateError:
    return ZoneGateError(Reason.E_CIPHERTEXT, "SM4 ciphertext: it is altered, cut off or meant for another key")


def encrypt_block(key: bytes, block: bytes) -> bytes:
    """Return the cipher's image of one block, for the published vectors and for CCM."""
    _check("SM4 block", block, BLOCK_BYTES)
    # ECB of a single block is the bare cipher, not a mode of operation.
    encryptor = Cipher(_key(key), modes.ECB()).encryptor()  # noqa: S305
    return encryptor.update(block) + encryptor.finalize()


def decrypt_block(key: bytes, block: bytes) -> bytes:
    """Return what `encrypt_block` made `block` of."""
    _check("SM4 block", block, BLOCK_BYTES)
    decryptor = Cipher(_key(key), modes.ECB()).decryptor()  # noqa: S305 - a single block
    return decryptor.update(block) + decryptor.finalize()


def cbc_encrypt(key: bytes, iv: bytes, plaintext: bytes) -> bytes:
    """Return CBC with PKCS#7 padding; it authenticates nothing."""
    _check("IV", iv, BLOCK_BYTES)
    padding = BLOCK_BYTES - len(plaintext) % BLOCK_BYTES
    encryptor = Cipher(_key(key), modes.CBC(iv)).encryptor()
    return encryptor.update(plaintext + bytes((padding,)) * padding) + encryptor.finalize()


def cbc_decrypt(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """Return the plaintext of CBC with PKCS#7 padding; `E_CIPHERTEXT` if length or padding is wrong.

    Whoever lets a stranger see the difference builds a padding oracle: use GCM between parties.
    """
    _check("IV", iv, BLOCK_BYTES)
    if not ciphertext or len(ciphertext) % BLOCK_BYTES:
        raise _altered()
    decryptor = Cipher(_key(key), modes.CBC(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    count = padded[-1]
    if not 1 <= count <= BLOCK_BYTES or not sm3.equal(padded[-count:], bytes((count,)) * count):
        raise _altered()
    return padded[:-count]


def ctr(key: bytes, counter: bytes, text: bytes) -> bytes:
    """Return `text` under the CTR key stream; the same call encrypts and decrypts."""
    _check("counter block", counter, BLOCK_BYTES)
    encryptor = Cipher(_key(key), modes.CTR(counter)).encryptor()
    return encryptor.update(text) + encryptor.finalize()


def gcm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Return ciphertext and 16-byte tag."""
    _check("nonce", nonce, NONCE_BYTES)
    encryptor = Cipher(_key(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(aad)
    return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag


def gcm_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext of ciphertext and tag; `E_CIPHERTEXT` if the tag does not match."""
    _check("nonce", nonce, NONCE_BYTES)
    if len(sealed) < TAG_BYTES:
        raise _altered()
    decryptor = Cipher(_key(key), modes.GCM(nonce, sealed[-TAG_BYTES:])).decryptor()
    decryptor.authenticate_additional_data(aad)
    try:
        return decryptor.update(sealed[:-TAG_BYTES]) + decryptor.finalize()
    except (InvalidTag, ValueError) as exc:
        # `cryptography` says ValueError for a wrong tag when this thread's OpenSSL error queue was not empty.
        raise _altered() from exc


def ccm_seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes) -> bytes:
    """Return ciphertext and 16-byte tag (RFC 3610 with a 12-byte nonce, as TLS_SM4_CCM_SM3 uses it)."""
    tag, ciphertext = _ccm(key, nonce, plaintext, aad, plaintext)
    return ciphertext + tag


def ccm_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext of ciphertext and tag; `E_CIPHERTEXT` if the tag does not match."""
    _check("nonce", nonce, NONCE_BYTES)
    if len(sealed) < TAG_BYTES:
        raise _altered()
    plaintext = ctr(key, _ccm_counter(nonce, 1), sealed[:-TAG_BYTES])
    tag, _ = _ccm(key, nonce, plaintext, aad, b"")
    if not sm3.equal(tag, sealed[-TAG_BYTES:]):
        raise _altered()
    return plaintext


def _ccm_counter(nonce: bytes, number: int) -> bytes:
    return bytes((_CCM_LENGTH_OCTETS - 1,)) + nonce + number.to_bytes(_CCM_LENGTH_OCTETS, "big")


def _ccm(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes, to_encrypt: bytes) -> tuple[bytes, bytes]:
    """Return the encrypted tag over `plaintext` and the encryption of `to_encrypt`."""
    _check("nonce", nonce, NONCE_BYTES)
    if len(plaintext) > CCM_MAX_BYTES:
        msg = f"CCM plaintext: is {len(plaintext)} bytes, at most {CCM_MAX_BYTES} fit"
        raise ValueError(msg)
    flags = (0x40 if aad else 0) | (TAG_BYTES - 2) // 2 << 3 | _CCM_LENGTH_OCTETS - 1
    blocks = bytes((flags,)) + nonce + len(plaintext).to_bytes(_CCM_LENGTH_OCTETS, "big")
    if aad:
        short = len(aad) < 0xFF00
        length = len(aad).to_bytes(2, "big") if short else b"\xff\xfe" + len(aad).to_bytes(4, "big")
        blocks += _padded(length + aad)
    blocks += _padded(plaintext)
    # CBC-MAC: CBC with a zero IV, of which only the last block is kept.
    encryptor = Cipher(_key(key), modes.CBC(bytes(BLOCK_BYTES))).encryptor()
    mac = (encryptor.update(blocks) + encryptor.finalize())[-BLOCK_BYTES:]
    # Key stream block 0 hides the tag, the blocks after it the text (RFC 3610 2.3).
    stream = ctr(key, _ccm_counter(nonce, 0), mac + to_encrypt)
    return stream[:TAG_BYTES], stream[TAG_BYTES:]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK_BYTES)
