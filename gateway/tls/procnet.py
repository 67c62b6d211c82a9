"""[d] Finds the user of a loopback TCP peer in the text of `/proc/net/tcp` and `/proc/net/tcp6` (proc(5)).

Pure: text in, uid or None out. A row counts only while it is established and has an inode: the kernel shows uid 0 for
sockets that no process holds any more, and they must not pass for root's.
"""

import sys
from ipaddress import IPv4Address, IPv6Address, ip_address

_ESTABLISHED = "01"

Endpoint = tuple[str, int]


def _hex_address(host: str, *, wide: bool) -> str:
    """Return the address as the kernel prints it: 32-bit words in the byte order of the machine."""
    address = ip_address(host.partition("%")[0])
    if wide:
        if isinstance(address, IPv4Address):
            address = IPv6Address(f"::ffff:{address}")
        packed = address.packed
    else:
        packed = address.packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def _hex_endpoint(endpoint: Endpoint, *, wide: bool) -> str:
    host, port = endpoint
    return f"{_hex_address(host, wide=wide)}:{port:04X}"


def find_uid(table: str, peer: Endpoint, own: Endpoint, *, wide: bool) -> int | None:
    """Return the uid that holds the socket whose local end is `peer` and whose remote end is `own`; None if nobody.

    `wide` says that `table` is `/proc/net/tcp6`, where an IPv4 endpoint stands as a mapped IPv6 address.
    """
    if not wide and ":" in peer[0]:
        return None
    local, remote = _hex_endpoint(peer, wide=wide), _hex_endpoint(own, wide=wide)
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[1] != local or fields[2] != remote:
            continue
        if fields[3] == _ESTABLISHED and fields[9] != "0":
            return int(fields[7])
    return None
