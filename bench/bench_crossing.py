"""CPU of one crossing in the gateway, everything on, beside Envoy's nearest: mTLS both sides, RBAC, access log.

200-byte unary calls at 4 and 64 in flight, with constant headers and with real clients' headers. The two chains run in
one process group and take turns, five rounds; CPU microseconds per call are of the measured hop's process alone (user
and system), medians over the rounds, ratios pair by pair. Calls per second and latency are of the whole chain on a
machine that also runs the load generator and the backend: for orientation only.
"""

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parent))

from chain import Chain, envoy_chain, zonegate_chain
from loadgen import Result, load

ROUNDS = 5
BODY = bytes(range(200))
SHAPES = ((4, 3_000), (64, 8_000))
WARM_UP = 2_000
OUT = Path(__file__).resolve().parent / "out" / "report.json"


def one(chain: Chain, *, in_flight: int, calls: int, real: bool) -> tuple[float, Result]:
    """Return CPU microseconds per call and what the client saw."""
    before = chain.cpu_seconds()
    result = uvloop.run(
        load(chain.port, chain.path, chain.headers, body=BODY, in_flight=in_flight, calls=calls, real=real)
    )
    return (chain.cpu_seconds() - before) / calls * 1e6, result


def main() -> int:
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        zonegate_chain(_sub(folder, "zonegate")) as ours,
        envoy_chain(_sub(folder, "envoy")) as theirs,
    ):
        chains = (ours, theirs)
        for chain in chains:
            one(chain, in_flight=64, calls=WARM_UP, real=True)
        for in_flight, calls in SHAPES:
            for headers in ("constant", "real"):
                rows += measure(chains, in_flight=in_flight, calls=calls, headers=headers)
    OUT.parent.mkdir(exist_ok=True)
    machine = {"cores": len(os.sched_getaffinity(0))}
    OUT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1))
    print(
        "| in flight | headers | zonegate µs | Envoy µs | ratio | zonegate p50 / p99 ms | Envoy p50 / p99 ms | failed |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for mine, other in zip(rows[::2], rows[1::2], strict=True):
        print(
            f"| {mine['in_flight']} | {mine['headers']} | {mine['cpu_us_per_call']:.0f} "
            f"| {other['cpu_us_per_call']:.0f} | {mine['ratio_to_envoy']:.2f} "
            f"| {mine['p50_ms']:.1f} / {mine['p99_ms']:.1f} | {other['p50_ms']:.1f} / {other['p99_ms']:.1f} "
            f"| {mine['failed'] + other['failed']} |"
        )
    return 1 if any(row["failed"] for row in rows) else 0


def measure(chains: tuple[Chain, Chain], *, in_flight: int, calls: int, headers: str) -> list[dict[str, object]]:
    """Alternate the chains for all rounds; return a row for each."""
    seen: dict[str, list[tuple[float, Result]]] = {chain.name: [] for chain in chains}
    for _ in range(ROUNDS):
        for chain in chains:
            seen[chain.name].append(one(chain, in_flight=in_flight, calls=calls, real=headers == "real"))
    ratio = statistics.median(
        mine / other for (mine, _), (other, _) in zip(seen[chains[0].name], seen[chains[1].name], strict=True)
    )
    rows: list[dict[str, object]] = []
    for name, runs in seen.items():
        results = [result for _, result in runs]
        row: dict[str, object] = {
            "system": name,
            "load": "unary-200B",
            "in_flight": in_flight,
            "headers": headers,
            "cpu_us_per_call": statistics.median(cpu for cpu, _ in runs),
            "calls_per_s": statistics.median(result.calls / result.seconds for result in results),
            "p50_ms": statistics.median(result.quantile(0.5) for result in results) * 1e3,
            "p99_ms": statistics.median(result.quantile(0.99) for result in results) * 1e3,
            "failed": sum(result.failed for result in results),
        }
        if name == chains[0].name:
            row["ratio_to_envoy"] = ratio
        rows.append(row)
    return rows


def _sub(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path


if __name__ == "__main__":
    sys.exit(main())
