"""A process that makes an SM2 key, and counts its private number in its own memory, open and closed (Linux).

Run as a script; prints two counts. The number is kept masked all the time, so that the search does not find itself,
and memory is masked before it is searched.
"""

import ctypes
import re
import sys
from pathlib import Path

from zonegate.gm import _libcrypto, sm2

MASK = 0x5A
MASKED = bytes(octet ^ MASK for octet in range(256))
WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw")


def masked_scalar(key: sm2.PrivateKey) -> bytes:
    lib = _libcrypto.library()
    number = ctypes.c_void_p()
    assert key._handle._key is not None
    assert lib.EVP_PKEY_get_bn_param(key._handle._key.address, b"priv", ctypes.byref(number)) == 1
    buffer = ctypes.create_string_buffer(32)
    assert lib.BN_bn2binpad(number, buffer, 32) == 32
    lib.BN_clear_free(number)
    octets = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ubyte))
    for at in range(32):
        octets[at] ^= MASK
    return buffer.raw


def occurrences(masked: bytes) -> int:
    found = 0
    with Path("/proc/self/mem").open("rb", buffering=0) as memory:
        for line in Path("/proc/self/maps").read_text().splitlines():
            area = WRITABLE.match(line)
            if area is None or "[v" in line:
                continue
            start, end = int(area[1], 16), int(area[2], 16)
            memory.seek(start)
            content = memory.read(end - start).translate(MASKED)
            # libcrypto keeps numbers in words of the machine's byte order: reversed on x86-64 and arm64.
            found += content.count(masked) + content.count(masked[::-1])
    return found


def main() -> None:
    key = sm2.PrivateKey.generate()
    key.public_key.verify(key.sign(b"m", signer_id=b""), b"m", signer_id=b"")
    key.decrypt(key.public_key.encrypt(b"m"))
    masked = masked_scalar(key)
    while_open = occurrences(masked)
    key.close()
    sys.stdout.write(f"{while_open} {occurrences(masked)}\n")


if __name__ == "__main__":
    main()
