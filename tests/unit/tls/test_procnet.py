import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zonegate.gateway.tls.procnet import find_uid

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="the recorded tables are of a little-endian machine")

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
# 127.0.0.1:45678 -> 127.0.0.1:50051, uid 1000; its other end, uid 0; a dead one of the same port.
_REST = "00000000:00000000 00:00000000 00000000"
TCP = HEAD + (
    f"   0: 0100007F:C383 0100007F:B26E 01 {_REST}     0        0 11111 1 0 20 4 30 10 -1\n"
    f"   1: 0100007F:B26E 0100007F:C383 01 {_REST}  1000        0 22222 1 0 20 4 30 10 -1\n"
    f"   2: 0100007F:B26F 0100007F:C383 01 {_REST}     0        0 0 1 0 20 4 30 10 -1\n"
    f"   3: 0100007F:B270 0100007F:C383 06 {_REST}     0        0 33333 3 0\n"
)
TCP6 = HEAD + (
    f"   0: 00000000000000000000000001000000:B26E 00000000000000000000000001000000:C383 01 {_REST}  1001 0 44444 1\n"
    f"   1: 0000000000000000FFFF00000100007F:B271 0000000000000000FFFF00000100007F:C383 01 {_REST}  1002 0 55555 1\n"
)
OWN, OWN6 = ("127.0.0.1", 50051), ("::1", 50051)

CASES = {
    "established": (TCP, ("127.0.0.1", 45678), OWN, False, 1000),
    "the listener's own end is not the peer": (TCP, OWN, ("127.0.0.1", 45678), False, 0),
    "held by nobody: uid 0 without an inode": (TCP, ("127.0.0.1", 45679), OWN, False, None),
    "not established": (TCP, ("127.0.0.1", 45680), OWN, False, None),
    "another port": (TCP, ("127.0.0.1", 45681), OWN, False, None),
    "another address": (TCP, ("127.0.0.2", 45678), OWN, False, None),
    "IPv6": (TCP6, ("::1", 45678), OWN6, True, 1001),
    "IPv4 client of a dual-stack socket": (TCP6, ("127.0.0.1", 45681), OWN, True, 1002),
    "IPv6 peer in the IPv4 table": (TCP, ("::1", 45678), OWN6, False, None),
    "empty table": (HEAD, ("127.0.0.1", 45678), OWN, False, None),
}


@pytest.mark.parametrize(("table", "peer", "own", "wide", "uid"), CASES.values(), ids=CASES)
def test_find_uid(table: str, peer: tuple[str, int], own: tuple[str, int], wide: bool, uid: int | None):
    assert find_uid(table, peer, own, wide=wide) == uid


@given(st.text(max_size=300))
def test_any_table_gives_a_user_or_nobody(table: str):
    assert find_uid(table, ("127.0.0.1", 1), OWN, wide=False) is None
