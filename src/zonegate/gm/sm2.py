"""SM2 keys and operations (GB/T 32918): sign, verify, encrypt, decrypt, keys as PKCS#8 and SPKI.

The signer id is an argument of every call; there is no default (CR-06, CR-08). What comes from outside is checked
here, in our own arithmetic and strict DER, before libcrypto sees it (CR-05, CR-10). Nothing shows a private key but
`to_pkcs8` and `to_scalar` (CR-15).
"""

from typing import Final, Self

from zonegate.errors import ZoneGateError
from zonegate.gm import _libcrypto, curve, der, sm3
from zonegate.reasons import Reason

CERT_ID: Final = b"1234567812345678"
TLS_ID: Final = b"TLSv1.3+GM+Cipher+Suite"

OID_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"
OID_SM2: Final = "1.2.156.10197.1.301"

ID_MAX_BYTES = 8191  # ENTL counts bits in two octets
PLAINTEXT_MAX_BYTES = 1 << 19
_ALGORITHM = der.sequence(der.oid(OID_EC_PUBLIC_KEY), der.oid(OID_SM2))
_SPKI_PREFIX = bytes.fromhex("3059") + _ALGORITHM + bytes.fromhex("034200")
_CURVE_OCTETS = b"".join(
    number.to_bytes(curve.COORDINATE_BYTES, "big") for number in (curve.A, curve.B, curve.GX, curve.GY)
)
_REMEMBERED_IDS = 4


def _z(point: bytes, signer_id: bytes) -> bytes:
    if len(signer_id) > ID_MAX_BYTES:
        msg = f"signer id: is {len(signer_id)} bytes, at most {ID_MAX_BYTES} are allowed"
        raise ValueError(msg)
    entl = (8 * len(signer_id)).to_bytes(2, "big")
    return sm3.digest(entl + signer_id + _CURVE_OCTETS + point[1:])


class PublicKey:
    """A point that is on the curve. Equal and hashed by the point; safe to use from several threads."""

    __slots__ = ("_handle", "_states", "point")

    def __init__(self, checked_point: bytes, handle: _libcrypto.KeyHandle | None = None) -> None:
        self.point: Final = checked_point
        self._handle = handle
        self._states: dict[bytes, sm3.Hash] = {}

    @classmethod
    def from_point(cls, point: bytes) -> Self:
        """Return the key of 04, X, Y; `E_KEY` says what is wrong with the point."""
        try:
            return cls(curve.check_point(point))
        except ValueError as exc:
            raise ZoneGateError(Reason.E_KEY, f"public key: {exc}") from exc

    @classmethod
    def from_spki(cls, spki: bytes) -> Self:
        """Return the key of a SubjectPublicKeyInfo; `E_DER` for its encoding, `E_KEY` for what it holds."""
        if len(spki) == len(_SPKI_PREFIX) + curve.POINT_BYTES and spki.startswith(_SPKI_PREFIX):
            return cls.from_point(spki[len(_SPKI_PREFIX) :])
        try:
            outer = der.Reader(spki)
            body = outer.sequence("SubjectPublicKeyInfo")
            outer.end("SubjectPublicKeyInfo")
            _check_algorithm(body)
            point = body.bit_string("subjectPublicKey")
            body.end("SubjectPublicKeyInfo")
        except der.DerError as exc:
            raise ZoneGateError(Reason.E_DER, f"public key: {exc}") from exc
        return cls.from_point(point)

    @property
    def spki(self) -> bytes:
        """The SubjectPublicKeyInfo in DER (C3.2)."""
        return _SPKI_PREFIX + self.point

    def digest(self, message: bytes, *, signer_id: bytes) -> bytes:
        """Return e = SM3(Z || message), what is signed."""
        running = self.running_digest(signer_id=signer_id)
        running.update(message)
        return running.digest()

    def running_digest(self, *, signer_id: bytes) -> sm3.Hash:
        """Return a running SM3 that has absorbed Z, for messages that come in pieces."""
        state = self._states.get(signer_id)
        if state is None:
            state = sm3.new()
            state.update(_z(self.point, signer_id))
            # Two ids exist in practice (CERT_ID, TLS_ID); a caller that invents more must not fill memory.
            if len(self._states) < _REMEMBERED_IDS:
                self._states[signer_id] = state
        return state.copy()

    def verify(self, signature: bytes, message: bytes, *, signer_id: bytes) -> None:
        """Return if `signature` (DER) is one of `message`; `E_SIGNATURE_FORMAT` or `E_SIGNATURE` if not."""
        self.verify_digest(signature, self.digest(message, signer_id=signer_id))

    def verify_digest(self, signature: bytes, digest: bytes) -> None:
        """Like `verify`, over a ready e = SM3(Z || message)."""
        der.decode_signature(signature)
        if len(digest) != sm3.DIGEST_BYTES:
            msg = f"digest: is {len(digest)} bytes, must be {sm3.DIGEST_BYTES}"
            raise ValueError(msg)
        if not _libcrypto.verify(self._opened(), signature, digest):
            raise ZoneGateError(Reason.E_SIGNATURE, "signature: it does not verify with this key, id and content")

    def encrypt(self, plaintext: bytes) -> bytes:
        """Return the DER SM2Cipher of 1 to 524,288 bytes."""
        if not 0 < len(plaintext) <= PLAINTEXT_MAX_BYTES:
            msg = f"plaintext: is {len(plaintext)} bytes, 1 to {PLAINTEXT_MAX_BYTES} are allowed"
            raise ValueError(msg)
        while True:
            ciphertext = _libcrypto.encrypt(self._opened(), plaintext)
            # GB/T 32918.4 step A5: a key stream of zero bits (likely for a single byte) is drawn again.
            if der.decode_cipher(ciphertext).ciphertext != plaintext:
                return ciphertext

    def _opened(self) -> _libcrypto.KeyHandle:
        handle = self._handle
        if handle is None:
            # Two threads may both come here: one handle is used, the other is collected.
            handle = self._handle = _libcrypto.public_key(self.point)
        return handle

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.point == other.point

    def __hash__(self) -> int:
        return hash(self.point)

    def __repr__(self) -> str:
        return f"PublicKey({self.point.hex()[:18]}…)"


class PrivateKey:
    """A key pair whose private half stays inside libcrypto; usable from several threads; `close` wipes it."""

    __slots__ = ("_handle", "public_key")

    def __init__(self, handle: _libcrypto.KeyHandle, public_key: PublicKey) -> None:
        self._handle = handle
        self.public_key: Final = public_key

    @classmethod
    def generate(cls) -> Self:
        """Return a new key pair."""
        handle = _libcrypto.generate()
        return cls(handle, PublicKey.from_point(handle.public_point()))

    @classmethod
    def from_scalar(cls, d: int) -> Self:
        """Return the key of the number `d`; `E_KEY` if it is not within 1 and n-2."""
        try:
            curve.check_scalar(d)
        except ValueError as exc:
            raise ZoneGateError(Reason.E_KEY, f"private key: {exc}") from exc
        point = _libcrypto.multiply_base(d)
        return cls(_libcrypto.private_key(d, point), PublicKey.from_point(point))

    @classmethod
    def from_pkcs8(cls, pkcs8: bytes) -> Self:
        """Return the key of a PrivateKeyInfo (C3.2); `E_DER` for its encoding, `E_KEY` for what it holds."""
        try:
            d, point = _read_private_key_info(pkcs8)
        except der.DerError as exc:
            raise ZoneGateError(Reason.E_DER, f"private key: {exc}") from exc
        key = cls.from_scalar(d)
        if point is not None and point != key.public_key.point:
            raise ZoneGateError(Reason.E_KEY, "private key: the public key beside it belongs to another key")
        return key

    def to_pkcs8(self) -> bytes:
        """Return the PrivateKeyInfo in DER: the plain private key, for sealing only (see `keyfile`)."""
        inner = der.sequence(
            der.integer(1),
            der.octet_string(self._handle.private_scalar()),
            der.tlv(der.context(1), der.bit_string(self.public_key.point)),
        )
        return der.sequence(der.integer(0), _ALGORITHM, der.octet_string(inner))

    def to_scalar(self) -> bytes:
        """Return d in 32 bytes: the plain private key, for sealing only (see `enveloped` and the key centre)."""
        return self._handle.private_scalar()

    def sign(self, message: bytes, *, signer_id: bytes) -> bytes:
        """Return the DER signature of `message` under `signer_id`."""
        return _libcrypto.sign(self._handle, self.public_key.digest(message, signer_id=signer_id))

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the DER signature over a ready e = SM3(Z || message)."""
        if len(digest) != sm3.DIGEST_BYTES:
            msg = f"digest: is {len(digest)} bytes, must be {sm3.DIGEST_BYTES}"
            raise ValueError(msg)
        return _libcrypto.sign(self._handle, digest)

    def decrypt(self, ciphertext: bytes) -> bytes:
        """Return the plaintext of a DER SM2Cipher; `E_CIPHERTEXT` if it is malformed, altered or another key's."""
        return self._decrypt(ciphertext, der.decode_cipher(ciphertext))

    def decrypt_c1c3c2(self, raw: bytes) -> bytes:
        """Return the plaintext of the raw form 04, x, y, C3, C2 (GB/T 32918.4-2016)."""
        cipher = der.decode_cipher_c1c3c2(raw)
        return self._decrypt(der.encode_cipher(cipher), cipher)

    def decrypt_obsolete_c1c2c3(self, raw: bytes) -> bytes:
        """Return the plaintext of the raw form 04, x, y, C2, C3 of the 2010 draft (CR-04: only by this name)."""
        cipher = der.decode_cipher_obsolete_c1c2c3(raw)
        return self._decrypt(der.encode_cipher(cipher), cipher)

    def _decrypt(self, ciphertext: bytes, cipher: der.Cipher) -> bytes:
        plaintext = _libcrypto.decrypt(self._handle, ciphertext)
        # An all-zero key stream is refused by GB/T 32918.4 step B4.
        if plaintext is None or plaintext == cipher.ciphertext:
            raise ZoneGateError(Reason.E_CIPHERTEXT, "ciphertext: it is altered or meant for another key")
        return plaintext

    def close(self) -> None:
        """Free the key; libcrypto overwrites its memory. Further use is `E_KEY`."""
        self._handle.close()

    def __reduce__(self) -> str:
        msg = "a private key is not pickled or copied"
        raise TypeError(msg)

    def __repr__(self) -> str:
        return f"PrivateKey(public_key={self.public_key!r})"


def z_value(public_key: PublicKey, signer_id: bytes) -> bytes:
    """Return Z = SM3(ENTL || id || a || b || Gx || Gy || X || Y) of GB/T 32918.2."""
    return _z(public_key.point, signer_id)


def digest_with_z(public_key: PublicKey, signer_id: bytes, message: bytes) -> bytes:
    """Return e = SM3(Z || message)."""
    return public_key.digest(message, signer_id=signer_id)


def _check_algorithm(body: der.Reader) -> None:
    algorithm = body.sequence("algorithm")
    name = algorithm.oid("algorithm")
    if name != OID_EC_PUBLIC_KEY:
        raise ZoneGateError(Reason.E_KEY, f"key: the algorithm is {name}, expected is {OID_EC_PUBLIC_KEY} with SM2")
    if algorithm.peek() != der.OID:
        raise ZoneGateError(Reason.E_KEY, "key: the curve is not given by name, expected is SM2")
    named = algorithm.oid("curve")
    if named != OID_SM2:
        raise ZoneGateError(Reason.E_KEY, f"key: the curve is {named}, expected is {OID_SM2} (SM2)")
    algorithm.end("algorithm")


def _read_private_key_info(pkcs8: bytes) -> tuple[int, bytes | None]:
    """Return d and the public point beside it, if any."""
    outer = der.Reader(pkcs8)
    body = outer.sequence("PrivateKeyInfo")
    outer.end("PrivateKeyInfo")
    if body.integer("version") != 0:
        msg = "version: only PrivateKeyInfo version 0 is read"
        raise der.DerError(msg)
    _check_algorithm(body)
    wrapped = der.Reader(body.read(der.OCTET_STRING, "privateKey"))
    body.end("PrivateKeyInfo")
    inner = wrapped.sequence("ECPrivateKey")
    wrapped.end("ECPrivateKey")
    if inner.integer("ECPrivateKey version") != 1:
        msg = "ECPrivateKey version: must be 1"
        raise der.DerError(msg)
    octets = inner.read(der.OCTET_STRING, "ECPrivateKey privateKey")
    if len(octets) != curve.COORDINATE_BYTES:
        msg = f"ECPrivateKey privateKey: is {len(octets)} bytes, must be {curve.COORDINATE_BYTES}"
        raise der.DerError(msg)
    if inner.peek() == der.context(0):
        named = inner.enter(der.context(0), "ECPrivateKey parameters")
        if named.oid("ECPrivateKey parameters") != OID_SM2:
            raise ZoneGateError(Reason.E_KEY, f"private key: the inner curve is not {OID_SM2} (SM2)")
        named.end("ECPrivateKey parameters")
    point = None
    if inner.peek() == der.context(1):
        holder = inner.enter(der.context(1), "ECPrivateKey publicKey")
        point = holder.bit_string("ECPrivateKey publicKey")
        holder.end("ECPrivateKey publicKey")
    inner.end("ECPrivateKey")
    return int.from_bytes(octets, "big"), point
