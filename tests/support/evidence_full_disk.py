"""Fills a small file system under a running evidence log, then frees it; run inside a mount namespace of its own.

usage: evidence_full_disk.py MOUNTED CERT KEY SECRET ROOT. Prints one JSON object with what was seen.
"""

import asyncio
import errno
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from support.evidence import decision, open_log, outcome, run, verify_directory, written
from zonegate.gateway.evidence.log import EvidenceLimits
from zonegate.gateway.evidence.reader import read_records
from zonegate.gateway.evidence.records import GapRecord, OutcomeRecord
from zonegate.gateway.evidence.sealcheck import Trust
from zonegate.identity import Net
from zonegate.pki.certificate import load_certificate
from zonegate.pki.credential import load_credential
from zonegate.pki.path import TrustAnchors

OPEN = 200


def fill(path: Path) -> None:
    with path.open("wb") as stream:
        for size in (1 << 20, 1 << 12):
            try:
                while True:
                    os.write(stream.fileno(), bytes(size))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def main(mounted: str, cert: str, key: str, secret: str, root: str) -> None:
    directory, filler = Path(mounted, "evidence"), Path(mounted, "filler")
    signer = load_credential(Path(cert), Path(key), Path(secret))
    seen: dict[str, object] = {}

    async def story(loop: asyncio.AbstractEventLoop) -> None:
        log = open_log(directory, signer, loop, limits=EvidenceLimits(reserve_bytes=1 << 20))
        opened = await written(log, *(decision(f"open{number}") for number in range(OPEN)))
        seen["opened"] = opened.count(None)
        fill(filler)
        granted, refused = [f"open{number}" for number in range(OPEN)], []
        for number in range(12):
            [error] = await written(log, decision(f"full{number}"))
            # The last page of the segment may still have had room for one.
            if error is None:
                granted.append(f"full{number}")
            else:
                refused.append(error.detail)
        seen["granted"], seen["refused"] = len(granted), refused
        for crossing in granted:
            log.append(outcome(crossing))
        while log.stats.open_crossings:
            await asyncio.sleep(0.001)
        # On the disk although it is full: the reserve has become a segment.
        found = [located.record for located in read_records(directory)]
        seen["outcomes_on_full_disk"] = sum(isinstance(record, OutcomeRecord) for record in found)
        seen["gaps_on_full_disk"] = sum(isinstance(record, GapRecord) for record in found)
        filler.unlink()
        seen["healed"] = await written(log, decision("after")) == [None]
        log.append(outcome("after"))
        log.close()

    run(story)
    report = verify_directory(directory, Trust(TrustAnchors(Net.EXTRA, (load_certificate(Path(root).read_bytes()),))))
    seen["unsealed"], seen["orderly"] = report.unsealed, report.orderly
    seen["why"] = [note for note in report.notes if note.startswith("gap")]
    sys.stdout.write(json.dumps(seen))


if __name__ == "__main__":
    main(*sys.argv[1:])
