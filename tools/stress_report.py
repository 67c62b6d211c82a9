"""Turns the JUnit file of `make stress` into docs/stress.md: each long run, how it ended, how long, what it measured.

A test adds a figure with `record_property("name", value)`. A run that was skipped is written as not run, with why.
"""

import argparse
import os
import platform
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path


def row(case: ET.Element) -> str:
    """Return one line of the table."""
    ended = "passed"
    for kind, word in (("failure", "FAILED"), ("error", "FAILED"), ("skipped", "not run")):
        found = case.find(kind)
        if found is not None:
            message = (found.get("message") or "no message").splitlines()[0][:200]
            ended = f"{word}: {message.removeprefix('not run: ')}"
    figures = "; ".join(f"{item.get('name')} {item.get('value')}" for item in case.iter("property"))
    return f"| {case.get('name')} | {ended} | {float(case.get('time') or 0):.0f} s | {figures} |"


def main() -> int:
    """Read the file, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("junit", type=Path)
    parser.add_argument("report", type=Path)
    arguments = parser.parse_args()
    cases = list(ET.parse(arguments.junit).getroot().iter("testcase"))  # noqa: S314 - as above
    day = time.strftime("%Y-%m-%d", time.gmtime())
    lines = [
        "# Long runs",
        "",
        f"Written by `make stress`, {day}, {os.cpu_count()} cores, Python {platform.python_version()}.",
        "",
        "| run | ended | took | figures |",
        "|---|---|---|---|",
        *map(row, cases),
        "",
    ]
    arguments.report.write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write(f"{len(cases)} runs, written: {arguments.report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
