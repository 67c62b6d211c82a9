"""Strangers in a process of their own: so many hopeful ClientHellos a second, each from another loopback address.

Run as ``python strangers.py PORT PER_SECOND SECONDS``; prints how many it has sent.
"""

import contextlib
import socket
import sys
import time

from support.tls import Stock, client_hello

HELD = 200


def send(port: int, per_second: float, seconds: float) -> int:
    """Send hellos and never answer; the oldest connections are let go."""
    hello = client_hello(Stock())
    held: list[socket.socket] = []
    begun, sent = time.monotonic(), 0
    while (passed := time.monotonic() - begun) < seconds:
        while sent < passed * per_second:
            sock = socket.socket()
            sock.setblocking(False)
            sock.bind((f"127.{1 + sent // 200 % 50}.{sent % 200}.1", 0))
            with contextlib.suppress(BlockingIOError):
                sock.connect(("127.0.0.1", port))
            with contextlib.suppress(OSError):
                sock.send(hello)
            held.append(sock)
            sent += 1
            if len(held) > HELD:
                held.pop(0).close()
        time.sleep(0.001)
    for sock in held:
        sock.close()
    return sent


if __name__ == "__main__":
    sys.stdout.write(f"{send(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))}\n")
