"""SM2 and SM3 a second time, in plain Python, written from GB/T 32905 and 32918 with the nonce as an argument.

For tests only: slow, not constant-time, and with an injectable k, which production code must not have (CR-09). It
imports nothing of zonegate, so that the two can be compared.
"""

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = P - 3
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
G = (
    0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7,
    0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0,
)

Point = tuple[int, int]

_MASK = 0xFFFFFFFF
_IV = (0x7380166F, 0x4914B2B9, 0x172442D7, 0xDA8A0600, 0xA96F30BC, 0x163138AA, 0xE38DEE4D, 0xB0FB0E4E)


def _rotated(word: int, count: int) -> int:
    count %= 32
    return (word << count | word >> (32 - count)) & _MASK if count else word


def _p0(word: int) -> int:
    return word ^ _rotated(word, 9) ^ _rotated(word, 17)


def _p1(word: int) -> int:
    return word ^ _rotated(word, 15) ^ _rotated(word, 23)


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    w = [int.from_bytes(block[at : at + 4], "big") for at in range(0, 64, 4)]
    for j in range(16, 68):
        w.append(_p1(w[j - 16] ^ w[j - 9] ^ _rotated(w[j - 3], 15)) ^ _rotated(w[j - 13], 7) ^ w[j - 6])
    a, b, c, d, e, f, g, h = state
    for j in range(64):
        t = 0x79CC4519 if j < 16 else 0x7A879D8A
        ss1 = _rotated(_rotated(a, 12) + e + _rotated(t, j) & _MASK, 7)
        ss2 = ss1 ^ _rotated(a, 12)
        ff = a ^ b ^ c if j < 16 else a & b | a & c | b & c
        gg = e ^ f ^ g if j < 16 else e & f | ~e & g
        tt1 = ff + d + ss2 + (w[j] ^ w[j + 4]) & _MASK
        tt2 = (gg & _MASK) + h + ss1 + w[j] & _MASK
        a, b, c, d = tt1, a, _rotated(b, 9), c
        e, f, g, h = _p0(tt2), e, _rotated(f, 19), g
    return tuple(new ^ old for new, old in zip((a, b, c, d, e, f, g, h), state, strict=True))


def sm3(message: bytes) -> bytes:
    padded = message + b"\x80" + bytes(-(len(message) + 9) % 64) + (8 * len(message)).to_bytes(8, "big")
    state: tuple[int, ...] = _IV
    for at in range(0, len(padded), 64):
        state = _compress(state, padded[at : at + 64])
    return b"".join(word.to_bytes(4, "big") for word in state)


def _add(left: Point | None, right: Point | None) -> Point | None:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2:
        if (y1 + y2) % P == 0:
            return None
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(number: int, point: Point) -> Point | None:
    result: Point | None = None
    addend: Point | None = point
    while number:
        if number & 1:
            result = _add(result, addend)
        addend = _add(addend, addend)
        number >>= 1
    return result


def public(d: int) -> Point:
    point = multiply(d, G)
    assert point is not None
    return point


def _octets(number: int) -> bytes:
    return number.to_bytes(32, "big")


def z(point: Point, signer_id: bytes) -> bytes:
    parts = (A, B, *G, *point)
    return sm3((8 * len(signer_id)).to_bytes(2, "big") + signer_id + b"".join(map(_octets, parts)))


def digest(point: Point, signer_id: bytes, message: bytes) -> int:
    return int.from_bytes(sm3(z(point, signer_id) + message), "big")


def sign(d: int, e: int, k: int) -> tuple[int, int] | None:
    """Return (r, s) for the nonce k, None where the standard draws another k."""
    r = (e + public(k)[0]) % N
    if r == 0 or r + k == N:
        return None
    s = pow(1 + d, -1, N) * (k - r * d) % N
    return (r, s) if s else None


def verify(point: Point, e: int, r: int, s: int) -> bool:
    if not 0 < r < N or not 0 < s < N:
        return False
    t = (r + s) % N
    if t == 0:
        return False
    found = _add(multiply(s, G), multiply(t, point))
    return found is not None and (e + found[0]) % N == r


def kdf(shared: bytes, length: int) -> bytes:
    output = b""
    counter = 1
    while len(output) < length:
        output += sm3(shared + counter.to_bytes(4, "big"))
        counter += 1
    return output[:length]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=True))


def encrypt(point: Point, message: bytes, k: int) -> tuple[Point, bytes, bytes] | None:
    """Return C1, C3, C2 for the nonce k, None where the key stream is all zero."""
    shared = multiply(k, point)
    assert shared is not None
    x2, y2 = map(_octets, shared)
    stream = kdf(x2 + y2, len(message))
    if not any(stream):
        return None
    return public(k), sm3(x2 + message + y2), _xor(message, stream)


def decrypt(d: int, c1: Point, c3: bytes, c2: bytes) -> bytes | None:
    """Return the message, None if C3 does not match."""
    shared = multiply(d, c1)
    assert shared is not None
    x2, y2 = map(_octets, shared)
    stream = kdf(x2 + y2, len(c2))
    message = _xor(c2, stream)
    return message if any(stream) and sm3(x2 + message + y2) == c3 else None
