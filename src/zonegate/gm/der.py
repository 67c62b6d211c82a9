"""Strict DER: a small reader and writer, and the two SM2 shapes of GM/T 0009 (signature, SM2Cipher).

The reader accepts one encoding of each value and nothing else: definite minimal lengths, minimal integers, no
trailing bytes. It knows no structure but SM2Signature and SM2Cipher; certificates and keys are read by their own
modules with this reader. Inside, `DerError` (a `ValueError`); the two decoders raise `ZoneGateError`.
"""

from typing import NamedTuple

from zonegate.errors import ZoneGateError
from zonegate.gm import curve
from zonegate.reasons import Reason

BOOLEAN = 0x01
INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL = 0x05
OID = 0x06
ENUMERATED = 0x0A
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
SEQUENCE = 0x30
SET = 0x31

NULL_TLV = b"\x05\x00"
_MAX_LENGTH_OCTETS = 4


class DerError(ValueError):
    """The bytes are not the one DER encoding of what is expected here."""


def context(number: int) -> int:
    """Return the tag octet of a constructed context tag `[number]`."""
    return 0xA0 | number


def context_primitive(number: int) -> int:
    """Return the tag octet of a primitive (IMPLICIT) context tag `[number]`."""
    return 0x80 | number


class Reader:
    """Reads elements one after another from `buffer[start:end]`, never past `end`."""

    __slots__ = ("_buffer", "_end", "position")

    def __init__(self, buffer: bytes, start: int = 0, end: int | None = None) -> None:
        self._buffer = buffer
        self.position = start
        self._end = len(buffer) if end is None else end

    def at_end(self) -> bool:
        """Whether every byte has been read."""
        return self.position == self._end

    def peek(self) -> int | None:
        """Return the next tag octet, None at the end."""
        return self._buffer[self.position] if self.position < self._end else None

    def _head(self) -> tuple[int, int, int]:
        """Return tag, start and end of the next element's content and step over it."""
        buffer, position, end = self._buffer, self.position, self._end
        if position + 2 > end:
            msg = "an element is cut off"
            raise DerError(msg)
        tag = buffer[position]
        if tag & 0x1F == 0x1F:
            msg = "a multi-octet tag has no place here"
            raise DerError(msg)
        length = buffer[position + 1]
        position += 2
        if length >= 0x80:
            count = length & 0x7F
            if count == 0:
                msg = "the length is indefinite, DER has definite lengths only"
                raise DerError(msg)
            if count > _MAX_LENGTH_OCTETS or position + count > end:
                msg = "the length is cut off or longer than four octets"
                raise DerError(msg)
            length = int.from_bytes(buffer[position : position + count], "big")
            if length < 0x80 or buffer[position] == 0:
                msg = "the length is not minimal"
                raise DerError(msg)
            position += count
        if position + length > end:
            msg = f"an element of {length} bytes has {end - position} bytes left"
            raise DerError(msg)
        self.position = position + length
        return tag, position, position + length

    def element(self) -> tuple[int, bytes]:
        """Return tag and content of the next element."""
        tag, start, end = self._head()
        return tag, self._buffer[start:end]

    def tlv(self) -> bytes:
        """Return the next element whole, tag and length included."""
        start = self.position
        self._head()
        return self._buffer[start : self.position]

    def read(self, tag: int, what: str) -> bytes:
        """Return the content of the next element, which must have `tag`."""
        _, start, end = self._expect(tag, what)
        return self._buffer[start:end]

    def _expect(self, tag: int, what: str) -> tuple[int, int, int]:
        if self.position >= self._end:
            msg = f"{what}: is missing"
            raise DerError(msg)
        head = self._head()
        if head[0] != tag:
            msg = f"{what}: the tag is {head[0]:#04x}, expected is {tag:#04x}"
            raise DerError(msg)
        return head

    def enter(self, tag: int, what: str) -> "Reader":
        """Return a reader over the content of the next element, which must have `tag`."""
        _, start, end = self._expect(tag, what)
        return Reader(self._buffer, start, end)

    def sequence(self, what: str) -> "Reader":
        """Return a reader over the content of the next SEQUENCE."""
        return self.enter(SEQUENCE, what)

    def integer(self, what: str) -> int:
        """Return the next INTEGER, which must be minimal and not negative."""
        _, start, end = self._expect(INTEGER, what)
        buffer = self._buffer
        if start == end:
            msg = f"{what}: the integer is empty"
            raise DerError(msg)
        first = buffer[start]
        if first & 0x80:
            msg = f"{what}: the integer is negative"
            raise DerError(msg)
        if first == 0 and end - start > 1 and not buffer[start + 1] & 0x80:
            msg = f"{what}: the integer is not minimal"
            raise DerError(msg)
        return int.from_bytes(buffer[start:end], "big")

    def bit_string(self, what: str) -> bytes:
        """Return the octets of the next BIT STRING, which must have no unused bits."""
        content = self.read(BIT_STRING, what)
        if not content or content[0] != 0:
            msg = f"{what}: the bit string does not hold whole octets"
            raise DerError(msg)
        return content[1:]

    def oid(self, what: str) -> str:
        """Return the next OBJECT IDENTIFIER in dotted form."""
        return decode_oid(self.read(OID, what), what)

    def end(self, what: str) -> None:
        """Raise if bytes are left."""
        if self.position != self._end:
            msg = f"{what}: {self._end - self.position} bytes are left over"
            raise DerError(msg)


def tlv(tag: int, content: bytes) -> bytes:
    """Return the element with the minimal definite length."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(octets))) + octets + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of encoded parts."""
    return tlv(SEQUENCE, b"".join(parts))


def integer(value: int) -> bytes:
    """Return the minimal INTEGER of a number that is not negative."""
    if value < 0:
        msg = "only integers that are not negative are written here"
        raise ValueError(msg)
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octet_string(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(OCTET_STRING, content)


def bit_string(octets: bytes) -> bytes:
    """Return a BIT STRING of whole octets."""
    return tlv(BIT_STRING, b"\x00" + octets)


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER; arcs may be of any size (2.25.<uuid> has 128 bits)."""
    arcs = [int(arc) for arc in dotted.split(".")]
    if len(arcs) < 2 or arcs[0] > 2 or (arcs[0] < 2 and arcs[1] > 39) or min(arcs) < 0:
        msg = f"{dotted!r} is not an object identifier"
        raise ValueError(msg)
    content = bytearray()
    for arc in (arcs[0] * 40 + arcs[1], *arcs[2:]):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        content += bytes(reversed(septets))
    return tlv(OID, bytes(content))


_OID_CONTENT_LIMIT = 128


def decode_oid(content: bytes, what: str) -> str:
    """Return the dotted form of an OBJECT IDENTIFIER's content octets."""
    if not content or content[-1] & 0x80 or len(content) > _OID_CONTENT_LIMIT:
        msg = f"{what}: the object identifier is empty, cut off or too long"
        raise DerError(msg)
    arcs: list[int] = []
    arc, starting = 0, True
    for octet in content:
        if starting and octet == 0x80:
            msg = f"{what}: an arc of the object identifier is not minimal"
            raise DerError(msg)
        arc = arc << 7 | octet & 0x7F
        starting = not octet & 0x80
        if starting:
            arcs.append(arc)
            arc = 0
    top = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (top, arcs[0] - 40 * top, *arcs[1:]))


# --- SM2Signature ::= SEQUENCE { r INTEGER, s INTEGER } (C3.1)

SIGNATURE_MAX_BYTES = 72


class Cipher(NamedTuple):
    """The parts of an SM2 ciphertext: C1 as coordinates, C3, C2."""

    x: int
    y: int
    hash: bytes
    ciphertext: bytes


def _bounded(der: bytes, limit: int) -> Reader:
    if len(der) > limit:
        msg = f"is {len(der)} bytes, at most {limit} are possible"
        raise DerError(msg)
    return Reader(der)


def encode_signature(r: int, s: int) -> bytes:
    """Return the DER of (r, s), which must be a pair that could verify (CR-05)."""
    if problem := _signature_problem(r, s):
        raise ValueError(problem)
    return sequence(integer(r), integer(s))


def decode_signature(der: bytes) -> tuple[int, int]:
    """Return (r, s) of strict DER; `E_SIGNATURE_FORMAT` says which clause of CR-05 is broken."""
    try:
        outer = _bounded(der, SIGNATURE_MAX_BYTES)
        body = outer.sequence("SM2Signature")
        outer.end("SM2Signature")
        r = body.integer("r")
        s = body.integer("s")
        body.end("SM2Signature")
    except DerError as exc:
        raise ZoneGateError(Reason.E_SIGNATURE_FORMAT, f"signature: {exc}") from exc
    if problem := _signature_problem(r, s):
        raise ZoneGateError(Reason.E_SIGNATURE_FORMAT, f"signature: {problem}")
    return r, s


def _signature_problem(r: int, s: int) -> str | None:
    if not 0 < r < curve.N:
        return "r is not within 1 and n-1"
    if not 0 < s < curve.N:
        return "s is not within 1 and n-1"
    if r + s == curve.N:
        return "r + s equals n"
    return None


# --- SM2Cipher ::= SEQUENCE { x INTEGER, y INTEGER, hash OCTET STRING (32), cipherText OCTET STRING } (C3.1)

CIPHER_MAX_BYTES = 1 << 20
_RAW_POINT = 65
_RAW_HASH = 32


def encode_cipher(cipher: Cipher) -> bytes:
    """Return the DER SM2Cipher of `cipher`."""
    return sequence(integer(cipher.x), integer(cipher.y), octet_string(cipher.hash), octet_string(cipher.ciphertext))


def decode_cipher(der: bytes) -> Cipher:
    """Return the parts of a strict DER SM2Cipher with C1 on the curve; otherwise `E_CIPHERTEXT`."""
    try:
        outer = _bounded(der, CIPHER_MAX_BYTES)
        body = outer.sequence("SM2Cipher")
        outer.end("SM2Cipher")
        x = body.integer("xCoordinate")
        y = body.integer("yCoordinate")
        digest = body.read(OCTET_STRING, "hash")
        ciphertext = body.read(OCTET_STRING, "cipherText")
        body.end("SM2Cipher")
    except DerError as exc:
        raise ZoneGateError(Reason.E_CIPHERTEXT, f"ciphertext: {exc}") from exc
    return _checked_cipher(x, y, digest, ciphertext)


def _checked_cipher(x: int, y: int, digest: bytes, ciphertext: bytes) -> Cipher:
    if problem := curve.point_problem(x, y):
        raise ZoneGateError(Reason.E_CIPHERTEXT, f"ciphertext: C1 {problem}")
    if len(digest) != _RAW_HASH:
        raise ZoneGateError(Reason.E_CIPHERTEXT, f"ciphertext: C3 has {len(digest)} bytes, SM3 has {_RAW_HASH}")
    if not ciphertext:
        raise ZoneGateError(Reason.E_CIPHERTEXT, "ciphertext: C2 is empty")
    return Cipher(x, y, digest, ciphertext)


def encode_cipher_c1c3c2(cipher: Cipher) -> bytes:
    """Return the raw form of GB/T 32918.4-2016: 04, x, y, C3, C2."""
    return curve.encode_point(cipher.x, cipher.y) + cipher.hash + cipher.ciphertext


def decode_cipher_c1c3c2(raw: bytes) -> Cipher:
    """Return the parts of the raw form of GB/T 32918.4-2016: 04, x, y, C3, C2."""
    x, y, rest = _raw_point(raw)
    return _checked_cipher(x, y, rest[:_RAW_HASH], rest[_RAW_HASH:])


def decode_cipher_obsolete_c1c2c3(raw: bytes) -> Cipher:
    """Return the parts of the raw form of the 2010 draft: 04, x, y, C2, C3 (CR-04: only when asked for)."""
    x, y, rest = _raw_point(raw)
    return _checked_cipher(x, y, rest[-_RAW_HASH:], rest[:-_RAW_HASH])


def _raw_point(raw: bytes) -> tuple[int, int, bytes]:
    if not _RAW_POINT + _RAW_HASH < len(raw) <= CIPHER_MAX_BYTES:
        raise ZoneGateError(
            Reason.E_CIPHERTEXT, f"ciphertext: is {len(raw)} bytes, more than {_RAW_POINT + _RAW_HASH} are needed"
        )
    if raw[0] != curve.UNCOMPRESSED:
        raise ZoneGateError(Reason.E_CIPHERTEXT, f"ciphertext: C1 begins with {raw[0]:#04x}, expected is 0x04")
    return int.from_bytes(raw[1:33], "big"), int.from_bytes(raw[33:65], "big"), raw[_RAW_POINT:]
