"""A closed key is gone from the memory of its process (CR-15)."""

import subprocess
import sys
from pathlib import Path

import pytest

from support import memory_scan

LINUX = sys.platform == "linux" and Path("/proc/self/mem").exists()


@pytest.mark.skipif(not LINUX, reason="not run: a process can read its own memory on Linux only")
@pytest.mark.req("CR-15")
def test_a_generated_key_is_wiped_when_it_is_closed() -> None:
    # Keys read from a file pass through Python's immutable bytes, which the language cannot wipe.
    done = subprocess.run([sys.executable, memory_scan.__file__], capture_output=True, text=True, check=True)
    while_open, closed = map(int, done.stdout.split())
    assert while_open >= 1
    assert closed == 0
