"""Revocation lists of 100,000 entries: built, signed, read back and judged, in seconds, with the memory they take.

One process, one thread, wall time. Full list; the same in 16 shards; a delta of 1,000 changes against it. Memory is
the growth of the process's peak (VmHWM) over the whole of the step; wanted is the full list within five seconds.
"""

import resource
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from zonegate.ca import asn1
from zonegate.ca.addresses import Shard
from zonegate.ca.names import SubjectName
from zonegate.ca.revocation import FULL, ListShape, RevokedCertificate, build_tbs_crl, changes_since
from zonegate.gm.sm2 import CERT_ID, PrivateKey
from zonegate.pki.crl import Crl, RevocationReason, load_any

ENTRIES = 100_000
SHARDS = 16
CHANGES = 1_000
WANTED_SECONDS = 5.0
AT = datetime(2030, 1, 1, tzinfo=UTC)
REASONS = (RevocationReason.KEY_COMPROMISE, RevocationReason.UNSPECIFIED, RevocationReason.CERTIFICATE_HOLD)
KEY = PrivateKey.generate()
ISSUER = SubjectName("测试机构", "EXTRA Sub-CA 1").der

Result = TypeVar("Result")


def entries() -> list[RevokedCertificate]:
    serials = ((0x41 << 120) + number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 119) for number in range(ENTRIES))
    return [
        RevokedCertificate(serial, AT - timedelta(seconds=number % 90_000), REASONS[number % 3])
        for number, serial in enumerate(serials)
    ]


def made(revoked: list, shape: ListShape = FULL, number: int = 7) -> bytes:
    tbs = build_tbs_crl(
        ISSUER,
        KEY.public_key,
        revoked,
        number=number,
        this_update=AT,
        next_update=AT + timedelta(days=1),
        shape=shape,
    )
    return asn1.encode_signed(tbs, KEY.sign(tbs, signer_id=CERT_ID))


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(name: str, work: Callable[[], Result]) -> tuple[Result, float]:
    before, begin = peak(), time.perf_counter()
    result = work()
    seconds = time.perf_counter() - begin
    print(f"| {name} | {seconds:.2f} | {peak() - before:.0f} |")
    return result, seconds


def main() -> int:
    revoked = entries()
    print("| step | seconds | peak memory grew, MB |")
    print("|---|---|---|")
    full, seconds = step(f"full list of {ENTRIES:,}, built and signed", lambda: made(revoked))
    crl, _ = step("read back", lambda: load_any(full))
    parts = [Shard(SHARDS, index) for index in range(SHARDS)]

    def shards() -> list[Crl]:
        return [
            load_any(
                made(
                    [one for one in revoked if part.holds(one.serial)],
                    ListShape(shard_urls=(part.url("http://crl.example/sub.crl"),)),
                )
            )
            for part in parts
        ]

    found, _ = step(f"{SHARDS} shards, built, signed and read back", shards)
    assert sum(len(one.revoked) for one in found) == ENTRIES
    now = revoked[CHANGES:]
    delta, _ = step(
        f"delta of {CHANGES:,} changes, found, built and signed",
        lambda: made(list(changes_since(crl.revoked, now, now=AT)), ListShape(base=7), number=8),
    )
    assert len(load_any(delta).removed) == CHANGES
    print(f"| size of the full list | {len(full) / 1e6:.1f} MB | |")
    return 0 if seconds <= WANTED_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
