"""Runs every `bench/bench_*.py` and writes what they print to docs/bench.md, with the machine they ran on.

A benchmark is a program that prints its figures (a Markdown table, or text) and exits 1 if they are not what is
wanted. Its docstring says what is measured. One that needs what is not installed says so and counts as not run (77).
"""

import ast
import os
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPORT = ROOT / "docs" / "bench.md"
NOT_RUN = 77
TIMEOUT_SECONDS = 1800


def machine() -> list[str]:
    cpu = next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith(("model name", "CPU part"))
    )
    openssl = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout.split(" (")[0]
    versions = ", ".join(f"{name} {version(name)}" for name in ("pyopenssl", "cryptography", "uvloop", "grpcio"))
    return [
        f"{time.strftime('%Y-%m-%d', time.gmtime())}, {cpu}, {len(os.sched_getaffinity(0))} cores,",
        f"Python {platform.python_version()}, {openssl.strip()}, {versions}.",
    ]


def section(script: Path) -> tuple[list[str], bool]:
    """Return the report's section of one benchmark, and whether its figures are what is wanted."""
    docstring = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or script.stem
    sys.stderr.write(f"{script.name}: {docstring.splitlines()[0]}\n")
    done = subprocess.run(
        [sys.executable, script], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    printed = done.stdout.strip()
    sys.stderr.write(f"{printed}\n{done.stderr}\n")
    body = [printed] if printed.startswith("|") else ["```text", printed, "```"]
    if done.returncode == NOT_RUN:
        body = [f"not run: {printed}"]
    elif done.returncode != 0:
        body.append("\nThe figures are not what is wanted, or the benchmark failed.")
    return [f"## {script.stem.removeprefix('bench_')}", "", docstring, "", *body, ""], done.returncode in {0, NOT_RUN}


def main() -> int:
    report = ["# Measurements", "", "Written by `make bench`.", *machine(), ""]
    well = True
    for script in sorted((ROOT / "bench").glob("bench_*.py")):
        lines, wanted = section(script)
        report += lines
        well = well and wanted
    REPORT.write_text("\n".join(report), encoding="utf-8")
    sys.stderr.write(f"written: {REPORT.relative_to(ROOT)}\n")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
