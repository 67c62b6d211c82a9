"""The curve of GB/T 32918.5 (sm2p256v1) and the checks of CR-10, in our own integer arithmetic.

Public values only: nothing here computes with a private key but the range check of `check_scalar`. No point
arithmetic; that is libcrypto's.
"""

P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
A = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFC
B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
GX = 0x32C4AE2C1F1981195F9904466A39C9948FE30BBFF2660BE1715A4589334C74C7
GY = 0xBC3736A2F4F6779C59BDCEE36B692153D0A9877CC62A474002DF32E52139F0A0

COORDINATE_BYTES = 32
POINT_BYTES = 65
UNCOMPRESSED = 0x04


def point_problem(x: int, y: int) -> str | None:
    """Return what is wrong with an affine point, None if it is on the curve. Infinity has no affine form."""
    if not 0 <= x < P or not 0 <= y < P:
        return "has a coordinate that is not below p"
    # The cofactor is 1: every point of the curve but infinity has order n.
    if (y * y - (x * x * x + A * x + B)) % P:
        return "is not on the SM2 curve"
    return None


def encode_point(x: int, y: int) -> bytes:
    """Return the uncompressed form 04, X, Y."""
    return b"\x04" + x.to_bytes(COORDINATE_BYTES, "big") + y.to_bytes(COORDINATE_BYTES, "big")


def check_point(point: bytes) -> bytes:
    """Return `point` if it is the uncompressed form of a point on the curve; `ValueError` says what is wrong."""
    if point == b"\x00":
        msg = "the point is infinity"
        raise ValueError(msg)
    if point[:1] in (b"\x02", b"\x03"):
        msg = "the point is compressed, only the uncompressed form is allowed (CE-01)"
        raise ValueError(msg)
    if len(point) != POINT_BYTES or point[0] != UNCOMPRESSED:
        msg = f"the point is {len(point)} bytes, expected are {POINT_BYTES} beginning with 04"
        raise ValueError(msg)
    problem = point_problem(int.from_bytes(point[1:33], "big"), int.from_bytes(point[33:], "big"))
    if problem:
        msg = f"the point {problem}"
        raise ValueError(msg)
    return point


def check_scalar(d: int) -> int:
    """Return `d` if it is a private key of GB/T 32918.1 (1 to n-2); the message never shows it."""
    if not 1 <= d <= N - 2:
        msg = "the private key is not within 1 and n-2"
        raise ValueError(msg)
    return d
