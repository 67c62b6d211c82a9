"""SM2 sign and verify per second through `zonegate.gm.sm2`, beside `openssl speed sm2`, in one run.

Both are measured alternately on the same core, so that a noisy machine disturbs both alike. Prints the rounds, the
medians and the ratios as JSON with ``--json``; exits 1 if a ratio is below the bar of 0.8, and says so if there is no
openssl to compare with. Usage: `python bench/bench_sm2.py [--rounds N] [--seconds S] [--json]`.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

from zonegate.gm import _libcrypto, sm2

BAR = 0.8
# `openssl speed sm2` signs 20 bytes; Z is computed for each call there and remembered for each key here.
MESSAGE = b"x" * 20
_SPEED_LINE = re.compile(r"\(CurveSM2\)\s+[\d.]+s\s+[\d.]+s\s+([\d.]+)\s+([\d.]+)")
_BATCH = 50


def per_second(call: Callable[[], object], seconds: float) -> float:
    """Return how often `call` runs in one second of CPU time, as openssl counts it."""
    count = 0
    start = time.process_time()
    while (spent := time.process_time() - start) < seconds:
        for _ in range(_BATCH):
            call()
        count += _BATCH
    return count / spent


def ours(seconds: float) -> tuple[float, float]:
    """Return sign and verify per second."""
    key = sm2.PrivateKey.generate()
    public = sm2.PublicKey.from_spki(key.public_key.spki)
    signature = key.sign(MESSAGE, signer_id=sm2.CERT_ID)
    return (
        per_second(lambda: key.sign(MESSAGE, signer_id=sm2.CERT_ID), seconds),
        per_second(lambda: public.verify(signature, MESSAGE, signer_id=sm2.CERT_ID), seconds),
    )


def theirs(openssl: str, seconds: float) -> tuple[float, float]:
    """Return sign and verify per second of the openssl command."""
    command = [openssl, "speed", "-seconds", str(max(round(seconds), 1)), "sm2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = _SPEED_LINE.search(done.stdout)
    if found is None:
        raise SystemExit("bench_sm2: openssl speed printed no line for CurveSM2")
    return float(found[1]), float(found[2])


def main(arguments: list[str]) -> int:
    """Measure, print, and return 1 if a ratio is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    openssl = shutil.which("openssl")
    if openssl is None:
        print("bench_sm2: not run: no openssl command to compare with", file=sys.stderr)
        return 1
    # One core for both: the child inherits it.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    rounds = [(*ours(options.seconds), *theirs(openssl, options.seconds)) for _ in range(options.rounds)]
    names = ("zonegate sign", "zonegate verify", "openssl sign", "openssl verify")
    medians = {name: median(column) for name, column in zip(names, zip(*rounds, strict=True), strict=True)}
    ratios = {act: medians[f"zonegate {act}"] / medians[f"openssl {act}"] for act in ("sign", "verify")}
    if options.json:
        json.dump(
            {"libcrypto": _libcrypto.version(), "rounds": rounds, "per_second": medians, "ratio": ratios}, sys.stdout
        )
        print()
    else:
        print(f"libcrypto {_libcrypto.version()}, per second, {options.rounds} rounds of {options.seconds} s in turn")
        print("  ".join(f"{name:>15}" for name in names))
        for row in (*rounds, tuple(medians.values())):
            print("  ".join(f"{value:15.0f}" for value in row))
        print(f"last line: medians. ratio sign {ratios['sign']:.2f}, verify {ratios['verify']:.2f}, bar {BAR}")
    return 0 if min(ratios.values()) >= BAR else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
