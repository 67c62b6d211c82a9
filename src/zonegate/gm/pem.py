"""PEM (RFC 7468), strictly: one label wanted, canonical base64, nothing between the lines.

Text outside the blocks is skipped, as every other tool does; a block of another label is not returned.
"""

import base64
import binascii
import re

PEM_LIMIT_BYTES = 1 << 27
_LINE = 64
_BLOCK = re.compile(
    rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\r\n]*)-----END ([A-Z0-9 ]{1,40})-----"
)


def encode(label: str, der: bytes) -> bytes:
    """Return the block of `der` under `label`."""
    text = base64.b64encode(der)
    lines = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return b"".join((f"-----BEGIN {label}-----\n".encode(), b"\n".join(lines), f"\n-----END {label}-----\n".encode()))


def decode(label: str, pem: bytes) -> tuple[bytes, ...]:
    """Return the contents of every block of `label`, in order; `ValueError` if a block is broken."""
    if len(pem) > PEM_LIMIT_BYTES:
        msg = f"the PEM text is {len(pem)} bytes, at most {PEM_LIMIT_BYTES} are allowed"
        raise ValueError(msg)
    wanted = label.encode()
    found = []
    for block in _BLOCK.finditer(pem):
        begin, body, end = block.groups()
        if begin != wanted:
            continue
        if begin != end:
            msg = f"a PEM block begins as {label} and ends as something else"
            raise ValueError(msg)
        try:
            found.append(base64.b64decode(body.replace(b"\r", b"").replace(b"\n", b""), validate=True))
        except binascii.Error as exc:
            msg = f"a PEM block of {label} is not base64"
            raise ValueError(msg) from exc
    if len(found) != pem.count(b"-----BEGIN " + wanted + b"-----"):
        msg = f"a PEM block of {label} has no proper body or end"
        raise ValueError(msg)
    return tuple(found)
