"""SM2 signatures per second of `zonegate.gm` beside `openssl speed sm2`: at least 0.8 of it is wanted.

The two alternate, five rounds of a second each; the ratio is taken pair by pair, so that a noisy machine harms both.
CPU time is counted, as `openssl speed` does by default. One thread, 32-byte messages, the standard's signer id.
"""

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from zonegate.gm.sm2 import CERT_ID, PrivateKey

ROUNDS = 5
SECONDS = 1.0
WANTED = 0.8


def per_second(action: Callable[[], object]) -> float:
    end = (begin := time.process_time()) + SECONDS
    done = 0
    while (now := time.process_time()) < end:
        action()
        done += 1
    return done / (now - begin)


def openssl() -> tuple[float, float]:
    command = ["openssl", "speed", "-seconds", "1", "sm2"]
    text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    found = re.search(r"SM2.*?s\s+[\d.]+s\s+([\d.]+)\s+([\d.]+)", text)
    if found is None:
        sys.exit("`openssl speed sm2` printed no line for SM2")
    return float(found[1]), float(found[2])


def main() -> int:
    if shutil.which("openssl") is None:
        sys.exit("bench_sm2: not run: no openssl command to compare with")
    # One core for both: the child inherits it.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    key = PrivateKey.generate()
    message = bytes(32)
    signature = key.sign(message, signer_id=CERT_ID)
    public = key.public_key
    rows: list[tuple[float, float, float, float]] = []
    for _ in range(ROUNDS):
        theirs = openssl()
        sign = per_second(lambda: key.sign(message, signer_id=CERT_ID))
        verify = per_second(lambda: public.verify(signature, message, signer_id=CERT_ID))
        rows.append((sign, theirs[0], verify, theirs[1]))
    worst = 1.0
    print("| | zonegate /s | openssl speed /s | ratio (median of pairs) |")
    print("|---|---|---|---|")
    for name, ours, other in (("sign", 0, 1), ("verify", 2, 3)):
        ratio = statistics.median(row[ours] / row[other] for row in rows)
        worst = min(worst, ratio)
        mine, reference = (statistics.median(row[column] for row in rows) for column in (ours, other))
        print(f"| {name} | {mine:.0f} | {reference:.0f} | {ratio:.2f} |")
    print(f"\nwanted: at least {WANTED}; {'reached' if worst >= WANTED else 'NOT reached'}")
    return 0 if worst >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
