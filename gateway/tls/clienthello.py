"""[d] Reads a ClientHello strictly and says whether RFC 8998 could succeed with it, before any SM2 is spent on it.

Pure: bytes in; a value, None (not complete yet) or `ZoneGateError` out. It refuses only what OpenSSL, pinned as in
`context`, would refuse too, at a hundredth of the cost and with the reason that OpenSSL cannot give (TL-02, TL-04).
What it lets through is still judged by OpenSSL and, after the handshake, by `check`.
"""

from dataclasses import dataclass

from zonegate.errors import ZoneGateError
from zonegate.reasons import Reason

# RFC 8998 and standards.md C10.
TLS_1_3 = 0x0304
TLS_SM4_GCM_SM3 = 0x00C6
TLS_SM4_CCM_SM3 = 0x00C7
CURVE_SM2 = 41
CURVE_SM2_MLKEM768 = 0x11EE
SM2SIG_SM3 = 0x0708
ALPN_H2 = b"h2"

# A hello with a hybrid share, ten ALPN names and every extension that stock clients send is below 3 KiB.
HELLO_LIMIT_BYTES = 8192
_RECORD_LIMIT_BYTES = 16384
_EXTENSIONS_MAX = 64

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_TLCP_1_1 = 0x0101
_TLS_1_2 = 0x0303
_VERSION_NAMES = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", _TLCP_1_1: "TLCP 1.1"}

_EXT_SUPPORTED_GROUPS = 10
_EXT_SIGNATURE_ALGORITHMS = 13
_EXT_ALPN = 16
_EXT_SUPPORTED_VERSIONS = 43
_EXT_SIGNATURE_ALGORITHMS_CERT = 50
_EXT_KEY_SHARE = 51


@dataclass(frozen=True, slots=True)
class ClientHello:
    """What a client offers, in its order; an absent extension is an empty tuple."""

    legacy_version: int
    suites: tuple[int, ...]
    versions: tuple[int, ...]
    groups: tuple[int, ...]
    signatures: tuple[int, ...]
    certificate_signatures: tuple[int, ...]
    alpn: tuple[bytes, ...]
    share_groups: tuple[int, ...]
    extensions: frozenset[int]


def _malformed(detail: str) -> ZoneGateError:
    return ZoneGateError(Reason.E_TLS_PROTOCOL, detail)


def _version_name(version: int) -> str:
    return _VERSION_NAMES.get(version, f"0x{version:04X}")


class _Cursor:
    """Walks bytes; running past the end is the one error."""

    __slots__ = ("_data", "_end", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0
        self._end = len(data)

    def take(self, count: int, field: str) -> bytes:
        stop = self._position + count
        if stop > self._end:
            raise _malformed(f"ClientHello.{field}: ends after {self._end - self._position} of {count} bytes")
        piece = self._data[self._position : stop]
        self._position = stop
        return piece

    def number(self, width: int, field: str) -> int:
        return int.from_bytes(self.take(width, field), "big")

    def vector(self, width: int, field: str) -> bytes:
        return self.take(self.number(width, field), field)

    def finish(self, field: str) -> None:
        if self._position != self._end:
            raise _malformed(f"ClientHello.{field}: {self._end - self._position} bytes too many")

    @property
    def remaining(self) -> int:
        return self._end - self._position


def _hello_body(data: bytes) -> bytes | None:
    """Return the ClientHello's body out of its records, or None while more bytes are needed."""
    message = bytearray()
    position = 0
    while True:
        header = data[position : position + 5]
        if header and header[0] != _HANDSHAKE:
            if position == 0 and len(header) >= 3 and header[0] & 0x80 and header[2] == _CLIENT_HELLO:
                raise ZoneGateError(Reason.E_TLS_VERSION, "record: an SSL 2 hello, TLS 1.3 is required")
            raise _malformed(f"record.type: {header[0]}, a connection begins with a handshake record (22)")
        if len(header) >= 3 and header[1] != 3:
            version = int.from_bytes(header[1:3], "big")
            if version == _TLCP_1_1:
                raise ZoneGateError(Reason.E_TLS_VERSION, "record.version: TLCP 1.1, TLS 1.3 is required")
            raise _malformed(f"record.version: 0x{version:04X}, 0x0301 or 0x0303 are allowed")
        if len(header) < 5:
            return None
        length = int.from_bytes(header[3:5], "big")
        if not 0 < length <= _RECORD_LIMIT_BYTES:
            raise _malformed(f"record.length: {length}, 1 to {_RECORD_LIMIT_BYTES} are allowed")
        message += data[position + 5 : position + 5 + length]
        if message and message[0] != _CLIENT_HELLO:
            raise _malformed(f"handshake.type: {message[0]}, the first message is a ClientHello (1)")
        if len(message) >= 4:
            size = int.from_bytes(message[1:4], "big")
            if size > HELLO_LIMIT_BYTES:
                raise _malformed(f"handshake.length: {size}, at most {HELLO_LIMIT_BYTES} are allowed")
            if len(message) >= 4 + size:
                # RFC 8446 5.1: nothing may follow the hello in its record before the keys change.
                if len(message) > 4 + size:
                    raise _malformed(f"handshake: {len(message) - 4 - size} bytes follow the ClientHello in its record")
                return bytes(message[4:])
        position += 5 + length
        if position > len(data):
            return None


def _numbers(data: bytes, field: str) -> tuple[int, ...]:
    if len(data) % 2 or not data:
        raise _malformed(f"ClientHello.{field}: {len(data)} bytes, a non-empty list of 2-byte numbers is needed")
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _number_list(body: bytes, width: int, field: str) -> tuple[int, ...]:
    cursor = _Cursor(body)
    numbers = _numbers(cursor.vector(width, field), field)
    cursor.finish(field)
    return numbers


def _alpn(body: bytes) -> tuple[bytes, ...]:
    cursor = _Cursor(body)
    names = _Cursor(cursor.vector(2, "alpn"))
    cursor.finish("alpn")
    found = []
    while names.remaining:
        name = names.vector(1, "alpn")
        if not name:
            raise _malformed("ClientHello.alpn: an empty protocol name")
        found.append(name)
    return tuple(found)


def _key_shares(body: bytes) -> tuple[int, ...]:
    cursor = _Cursor(body)
    shares = _Cursor(cursor.vector(2, "key_share"))
    cursor.finish("key_share")
    groups = []
    while shares.remaining:
        groups.append(shares.number(2, "key_share"))
        if not shares.vector(2, "key_share"):
            raise _malformed("ClientHello.key_share: an empty share")
    return tuple(groups)


def _extensions(data: bytes) -> dict[int, bytes]:
    cursor = _Cursor(data)
    found: dict[int, bytes] = {}
    while cursor.remaining:
        number = cursor.number(2, "extensions")
        if number in found:
            raise _malformed(f"ClientHello.extensions: {number} stands twice")
        found[number] = cursor.vector(2, "extensions")
        if len(found) > _EXTENSIONS_MAX:
            raise _malformed(f"ClientHello.extensions: more than {_EXTENSIONS_MAX}")
    return found


def parse_client_hello(data: bytes) -> ClientHello | None:
    """Return the hello at the start of a connection, None while it is incomplete, or raise E_TLS_PROTOCOL/_VERSION."""
    body = _hello_body(data)
    if body is None:
        if len(data) > HELLO_LIMIT_BYTES + 1024:
            raise _malformed(f"ClientHello: not complete after {len(data)} bytes")
        return None
    cursor = _Cursor(body)
    legacy_version = cursor.number(2, "legacy_version")
    cursor.take(32, "random")
    session_id = cursor.vector(1, "session_id")
    if len(session_id) > 32:
        raise _malformed(f"ClientHello.session_id: {len(session_id)} bytes, at most 32 are allowed")
    suites = _numbers(cursor.vector(2, "cipher_suites"), "cipher_suites")
    compression = cursor.vector(1, "compression_methods")
    if 0 not in compression:
        raise _malformed("ClientHello.compression_methods: null is not among them")
    # Hellos before TLS 1.2 may end here; they are well formed and too old, which is another reason.
    extensions = _extensions(cursor.vector(2, "extensions")) if cursor.remaining else {}
    cursor.finish("extensions")

    def numbers(extension: int, width: int, field: str) -> tuple[int, ...]:
        return _number_list(extensions[extension], width, field) if extension in extensions else ()

    return ClientHello(
        legacy_version=legacy_version,
        suites=suites,
        versions=numbers(_EXT_SUPPORTED_VERSIONS, 1, "supported_versions"),
        groups=numbers(_EXT_SUPPORTED_GROUPS, 2, "supported_groups"),
        signatures=numbers(_EXT_SIGNATURE_ALGORITHMS, 2, "signature_algorithms"),
        certificate_signatures=numbers(_EXT_SIGNATURE_ALGORITHMS_CERT, 2, "signature_algorithms_cert"),
        alpn=_alpn(extensions[_EXT_ALPN]) if _EXT_ALPN in extensions else (),
        share_groups=_key_shares(extensions[_EXT_KEY_SHARE]) if _EXT_KEY_SHARE in extensions else (),
        extensions=frozenset(extensions),
    )


def _listed(numbers: tuple[int, ...]) -> str:
    shown = ", ".join(f"0x{number:04X}" for number in numbers[:8])
    return shown + (" …" if len(numbers) > 8 else "") if numbers else "nothing"


def check_client_hello(hello: ClientHello, groups: frozenset[int]) -> None:
    """Raise the reason why no RFC 8998 handshake can come of `hello`; `groups` are those that the server takes."""
    if TLS_1_3 not in hello.versions:
        offered = max(hello.versions, default=hello.legacy_version)
        raise ZoneGateError(Reason.E_TLS_VERSION, f"supported_versions: {_version_name(offered)}, TLS 1.3 is required")
    if hello.legacy_version != _TLS_1_2:
        raise _malformed(f"ClientHello.legacy_version: 0x{hello.legacy_version:04X}, TLS 1.3 writes 0x0303")
    if not {TLS_SM4_GCM_SM3, TLS_SM4_CCM_SM3} & set(hello.suites):
        raise ZoneGateError(Reason.E_TLS_SUITE, f"cipher_suites: {_listed(hello.suites)}; 0x00C6 or 0x00C7 is required")
    if not groups & set(hello.groups):
        raise ZoneGateError(Reason.E_TLS_GROUP, f"supported_groups: {_listed(hello.groups)}; 0x0029 is required")
    # RFC 8998 3.2: the share for curveSM2 comes with the hello. A hybrid share alone is let through, since a client
    # that prefers the hybrid group is asked for curveSM2 by HelloRetryRequest.
    if not {CURVE_SM2, CURVE_SM2_MLKEM768} & set(hello.share_groups):
        raise ZoneGateError(Reason.E_TLS_GROUP, f"key_share: {_listed(hello.share_groups)}; 0x0029 is required")
    for field, offered_signatures in (
        ("signature_algorithms", hello.signatures),
        ("signature_algorithms_cert", hello.certificate_signatures or hello.signatures),
    ):
        if SM2SIG_SM3 not in offered_signatures:
            raise ZoneGateError(Reason.E_TLS_SIGNATURE, f"{field}: {_listed(offered_signatures)}; 0x0708 is required")
    if ALPN_H2 not in hello.alpn:
        names = b", ".join(hello.alpn[:4]).decode("ascii", "backslashreplace")[:64] or "nothing"
        raise ZoneGateError(Reason.E_TLS_ALPN, f"alpn: {names}; h2 is required")
