"""The system's libcrypto (OpenSSL 3.0 or later) by ctypes: SM2 keys and the four SM2 operations, nothing else.

The only module that touches libcrypto. It takes checked values (points, scalars, strict DER) from `sm2` and returns
bytes; it decides nothing. Digests come in ready (Z included), so no signer id is ever left to libcrypto's empty
default (CR-08). Calls release the GIL and may run in several threads; the error queue is per thread.
"""

import ctypes
import ctypes.util
import sys
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

_NAMES = ("libcrypto.so.3", "libcrypto.so.4")
_MINIMUM = 0x30000000
_NID_SM2 = 1172
_SELECT_PUBLIC = 0x86  # EVP_PKEY_PUBLIC_KEY: parameters and public key
_SELECT_PAIR = 0x87  # EVP_PKEY_KEYPAIR
_UNSIGNED_INTEGER, _UTF8_STRING, _OCTET_STRING = 2, 4, 5
_POOLED_CONTEXTS = 4
_SIGNATURE_BUFFER = 80

_pointer = ctypes.c_void_p
_size = ctypes.c_size_t
_int = ctypes.c_int


class _Param(ctypes.Structure):
    """OSSL_PARAM."""

    _fields_ = (
        ("key", ctypes.c_char_p),
        ("data_type", ctypes.c_uint),
        ("data", ctypes.c_void_p),
        ("data_size", ctypes.c_size_t),
        ("return_size", ctypes.c_size_t),
    )


_SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "OpenSSL_version_num": (ctypes.c_ulong, ()),
    "ERR_clear_error": (None, ()),
    "ERR_get_error": (ctypes.c_ulong, ()),
    "ERR_error_string_n": (None, (ctypes.c_ulong, ctypes.c_char_p, _size)),
    "EVP_PKEY_CTX_new_from_name": (_pointer, (_pointer, ctypes.c_char_p, ctypes.c_char_p)),
    "EVP_PKEY_CTX_new_from_pkey": (_pointer, (_pointer, _pointer, ctypes.c_char_p)),
    "EVP_PKEY_CTX_free": (None, (_pointer,)),
    "EVP_PKEY_free": (None, (_pointer,)),
    "EVP_PKEY_fromdata_init": (_int, (_pointer,)),
    "EVP_PKEY_fromdata": (_int, (_pointer, ctypes.POINTER(_pointer), _int, ctypes.POINTER(_Param))),
    "EVP_PKEY_keygen_init": (_int, (_pointer,)),
    "EVP_PKEY_generate": (_int, (_pointer, ctypes.POINTER(_pointer))),
    "EVP_PKEY_get_bn_param": (_int, (_pointer, ctypes.c_char_p, ctypes.POINTER(_pointer))),
    "EVP_PKEY_get_octet_string_param": (
        _int,
        (_pointer, ctypes.c_char_p, ctypes.c_char_p, _size, ctypes.POINTER(_size)),
    ),
    "EVP_PKEY_sign_init": (_int, (_pointer,)),
    "EVP_PKEY_sign": (_int, (_pointer, ctypes.c_char_p, ctypes.POINTER(_size), ctypes.c_char_p, _size)),
    "EVP_PKEY_verify_init": (_int, (_pointer,)),
    "EVP_PKEY_verify": (_int, (_pointer, ctypes.c_char_p, _size, ctypes.c_char_p, _size)),
    "EVP_PKEY_encrypt_init": (_int, (_pointer,)),
    "EVP_PKEY_encrypt": (_int, (_pointer, ctypes.c_char_p, ctypes.POINTER(_size), ctypes.c_char_p, _size)),
    "EVP_PKEY_decrypt_init": (_int, (_pointer,)),
    "EVP_PKEY_decrypt": (_int, (_pointer, ctypes.c_char_p, ctypes.POINTER(_size), ctypes.c_char_p, _size)),
    "EC_GROUP_new_by_curve_name": (_pointer, (_int,)),
    "EC_GROUP_free": (None, (_pointer,)),
    "EC_POINT_new": (_pointer, (_pointer,)),
    "EC_POINT_clear_free": (None, (_pointer,)),
    "EC_POINT_mul": (_int, (_pointer, _pointer, _pointer, _pointer, _pointer, _pointer)),
    "EC_POINT_point2oct": (_size, (_pointer, _pointer, _int, ctypes.c_char_p, _size, _pointer)),
    "BN_bin2bn": (_pointer, (ctypes.c_char_p, _int, _pointer)),
    "BN_bn2binpad": (_int, (_pointer, ctypes.c_char_p, _int)),
    "BN_clear_free": (None, (_pointer,)),
}


@cache
def library() -> Any:
    """Return libcrypto with every function declared; `E_SELFTEST` names what was found if it cannot serve.

    `Any`: the functions of a ctypes library are attributes that no type checker can know.
    """
    found = ctypes.util.find_library("crypto")
    names = (*_NAMES, found) if found else _NAMES
    seen: list[str] = []
    for name in names:
        try:
            lib = ctypes.CDLL(name)
            for function, (result, arguments) in _SIGNATURES.items():
                declared = getattr(lib, function)
                declared.restype = result
                declared.argtypes = arguments
        except (OSError, AttributeError) as exc:
            seen.append(f"{name}: {exc}")
            continue
        version = int(lib.OpenSSL_version_num())
        if version >= _MINIMUM:
            return lib
        seen.append(f"{name}: version {version:#x}")
    raise ZoneGateError(
        Reason.E_SELFTEST, f"libcrypto: OpenSSL 3.0 or later with SM2 is needed; found {'; '.join(seen)}"
    )


def version() -> str:
    """Return the version number of the library in use, like ``3.0.19``."""
    number = int(library().OpenSSL_version_num())
    return f"{number >> 28}.{number >> 20 & 0xFF}.{number >> 4 & 0xFF}"


def _failed(call: str) -> ZoneGateError:
    """Return the error of this thread's queue, which is empty afterwards. Its text holds no key material."""
    lib = library()
    code = int(lib.ERR_get_error())
    text = ctypes.create_string_buffer(256)
    lib.ERR_error_string_n(code, text, 256)
    lib.ERR_clear_error()
    return ZoneGateError(Reason.E_INTERNAL, f"libcrypto: {call} failed: {text.value.decode(errors='replace')}")


class _Owned:
    """One object of libcrypto, freed with the last Python reference to it."""

    __slots__ = ("_free", "address")

    def __init__(self, address: int, free: Callable[[int], None]) -> None:
        self.address = address
        # Kept here because module globals may be gone when the last object is collected.
        self._free = free

    def __del__(self) -> None:
        self._free(self.address)


class KeyHandle:
    """One EVP_PKEY, and contexts made ready for its operations.

    Threads need no lock: a context is in the pool or with one borrower, since `deque.pop` gives it to one only, and
    whoever holds a reference keeps key and context alive until its call returns, closed or not.
    """

    __slots__ = ("_contexts", "_key")

    def __init__(self, address: int) -> None:
        self._key: _Owned | None = _Owned(address, library().EVP_PKEY_free)
        self._contexts: dict[str, deque[_Owned]] = {}

    def _open_key(self) -> _Owned:
        key = self._key
        if key is None:
            raise ZoneGateError(Reason.E_KEY, "key: it has been closed")
        return key

    def borrow(self, operation: str) -> _Owned:
        """Return a context initialised for `operation` (sign, verify, encrypt, decrypt); give it back after use."""
        try:
            return self._contexts[operation].pop()
        except (KeyError, IndexError):
            return self._new_context(operation)

    def _new_context(self, operation: str) -> _Owned:
        lib = library()
        key = self._open_key()
        address: int | None = lib.EVP_PKEY_CTX_new_from_pkey(None, key.address, None)
        if not address:
            raise _failed("EVP_PKEY_CTX_new_from_pkey")
        context = _Owned(address, lib.EVP_PKEY_CTX_free)
        if getattr(lib, f"EVP_PKEY_{operation}_init")(address) != 1:
            raise _failed(f"EVP_PKEY_{operation}_init")
        return context

    def give_back(self, operation: str, context: _Owned) -> None:
        """Keep the context for the next call, unless the key is closed or enough are there."""
        pool = self._contexts.get(operation)
        if pool is None:
            pool = self._contexts.setdefault(operation, deque())
        if len(pool) < _POOLED_CONTEXTS:
            pool.append(context)
        # After the append, so that whichever of this and `close` comes last empties the pool.
        if self._key is None:
            pool.clear()

    def private_scalar(self) -> bytes:
        """Return d as 32 bytes; the caller keeps it no longer than it must."""
        lib = library()
        lib.ERR_clear_error()
        key = self._open_key()
        number = _pointer()
        if lib.EVP_PKEY_get_bn_param(key.address, b"priv", ctypes.byref(number)) != 1:
            raise _failed("EVP_PKEY_get_bn_param")
        buffer = ctypes.create_string_buffer(32)
        try:
            if lib.BN_bn2binpad(number, buffer, 32) != 32:
                raise _failed("BN_bn2binpad")
            return buffer.raw
        finally:
            lib.BN_clear_free(number)
            ctypes.memset(buffer, 0, 32)

    def public_point(self) -> bytes:
        """Return the encoded public point."""
        lib = library()
        lib.ERR_clear_error()
        key = self._open_key()
        buffer = ctypes.create_string_buffer(80)
        length = _size()
        name = b"encoded-pub-key"
        if lib.EVP_PKEY_get_octet_string_param(key.address, name, buffer, 80, ctypes.byref(length)) != 1:
            raise _failed("EVP_PKEY_get_octet_string_param")
        return buffer.raw[: length.value]

    def close(self) -> None:
        """Let go of the key: libcrypto cleanses its memory with the last call that still uses it."""
        self._key = None
        for pool in tuple(self._contexts.values()):
            pool.clear()


def _from_params(selection: int, params: Any) -> KeyHandle:
    lib = library()
    lib.ERR_clear_error()
    context = lib.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
    if not context:
        raise _failed("EVP_PKEY_CTX_new_from_name")
    pkey = _pointer()
    try:
        if lib.EVP_PKEY_fromdata_init(context) != 1:
            raise _failed("EVP_PKEY_fromdata_init")
        if lib.EVP_PKEY_fromdata(context, ctypes.byref(pkey), selection, params) != 1 or not pkey.value:
            raise _failed("EVP_PKEY_fromdata")
    finally:
        lib.EVP_PKEY_CTX_free(context)
    return KeyHandle(pkey.value)


def _address(buffer: Any) -> int:
    return ctypes.addressof(buffer)


def public_key(point: bytes) -> KeyHandle:
    """Return the key of a checked uncompressed point."""
    group = ctypes.create_string_buffer(b"SM2")
    public = ctypes.create_string_buffer(point, len(point))
    params = (_Param * 3)(
        _Param(b"group", _UTF8_STRING, _address(group), 3, 0),
        _Param(b"pub", _OCTET_STRING, _address(public), len(point), 0),
        _Param(None, 0, None, 0, 0),
    )
    return _from_params(_SELECT_PUBLIC, params)


def private_key(d: int, point: bytes) -> KeyHandle:
    """Return the key of a checked scalar and its point."""
    group = ctypes.create_string_buffer(b"SM2")
    public = ctypes.create_string_buffer(point, len(point))
    native = (ctypes.c_ubyte * 32)()
    # OSSL_PARAM integers are in the machine's byte order.
    ctypes.memmove(native, d.to_bytes(32, sys.byteorder), 32)
    params = (_Param * 4)(
        _Param(b"group", _UTF8_STRING, _address(group), 3, 0),
        _Param(b"pub", _OCTET_STRING, _address(public), len(point), 0),
        _Param(b"priv", _UNSIGNED_INTEGER, _address(native), 32, 0),
        _Param(None, 0, None, 0, 0),
    )
    try:
        return _from_params(_SELECT_PAIR, params)
    finally:
        ctypes.memset(native, 0, 32)


def generate() -> KeyHandle:
    """Return a new key pair from libcrypto's generator, which seeds itself from the OS (CR-09)."""
    lib = library()
    lib.ERR_clear_error()
    context = lib.EVP_PKEY_CTX_new_from_name(None, b"SM2", None)
    if not context:
        raise _failed("EVP_PKEY_CTX_new_from_name")
    pkey = _pointer()
    try:
        if lib.EVP_PKEY_keygen_init(context) != 1:
            raise _failed("EVP_PKEY_keygen_init")
        if lib.EVP_PKEY_generate(context, ctypes.byref(pkey)) != 1 or not pkey.value:
            raise _failed("EVP_PKEY_generate")
    finally:
        lib.EVP_PKEY_CTX_free(context)
    return KeyHandle(pkey.value)


def multiply_base(d: int) -> bytes:
    """Return the uncompressed point d·G (libcrypto's constant-time ladder)."""
    lib = library()
    lib.ERR_clear_error()
    group = lib.EC_GROUP_new_by_curve_name(_NID_SM2)
    if not group:
        raise _failed("EC_GROUP_new_by_curve_name")
    point = lib.EC_POINT_new(group)
    number = lib.BN_bin2bn(d.to_bytes(32, "big"), 32, None)
    buffer = ctypes.create_string_buffer(65)
    try:
        if not point or not number:
            raise _failed("EC_POINT_new")
        if lib.EC_POINT_mul(group, point, number, None, None, None) != 1:
            raise _failed("EC_POINT_mul")
        if lib.EC_POINT_point2oct(group, point, 4, buffer, 65, None) != 65:
            raise _failed("EC_POINT_point2oct")
        return buffer.raw
    finally:
        lib.BN_clear_free(number)
        lib.EC_POINT_clear_free(point)
        lib.EC_GROUP_free(group)


def sign(key: KeyHandle, digest: bytes) -> bytes:
    """Return the DER signature of the digest e = SM3(Z || M)."""
    lib = library()
    lib.ERR_clear_error()
    context = key.borrow("sign")
    buffer = ctypes.create_string_buffer(_SIGNATURE_BUFFER)
    length = _size(_SIGNATURE_BUFFER)
    try:
        if lib.EVP_PKEY_sign(context.address, buffer, ctypes.byref(length), digest, len(digest)) != 1:
            raise _failed("EVP_PKEY_sign")
    finally:
        key.give_back("sign", context)
    return buffer.raw[: length.value]


def verify(key: KeyHandle, signature: bytes, digest: bytes) -> bool:
    """Whether a strict DER signature is one of the digest e = SM3(Z || M)."""
    lib = library()
    lib.ERR_clear_error()
    context = key.borrow("verify")
    try:
        result = lib.EVP_PKEY_verify(context.address, signature, len(signature), digest, len(digest))
    finally:
        key.give_back("verify", context)
    if result < 0:
        # A value that libcrypto cannot compute with is not a good signature; its queue is left empty.
        lib.ERR_clear_error()
    return bool(result == 1)


def encrypt(key: KeyHandle, plaintext: bytes) -> bytes:
    """Return the DER SM2Cipher of `plaintext`."""
    lib = library()
    lib.ERR_clear_error()
    context = key.borrow("encrypt")
    limit = len(plaintext) + 160
    buffer = ctypes.create_string_buffer(limit)
    length = _size(limit)
    try:
        if lib.EVP_PKEY_encrypt(context.address, buffer, ctypes.byref(length), plaintext, len(plaintext)) != 1:
            raise _failed("EVP_PKEY_encrypt")
    finally:
        key.give_back("encrypt", context)
    return buffer.raw[: length.value]


def decrypt(key: KeyHandle, ciphertext: bytes) -> bytes | None:
    """Return the plaintext of a strict DER SM2Cipher, None if it is not one for this key (C3 does not match)."""
    lib = library()
    lib.ERR_clear_error()
    context = key.borrow("decrypt")
    limit = len(ciphertext)
    buffer = ctypes.create_string_buffer(limit)
    length = _size(limit)
    try:
        if lib.EVP_PKEY_decrypt(context.address, buffer, ctypes.byref(length), ciphertext, limit) != 1:
            lib.ERR_clear_error()
            return None
        return ctypes.string_at(buffer, length.value)
    finally:
        key.give_back("decrypt", context)
        ctypes.memset(buffer, 0, limit)
