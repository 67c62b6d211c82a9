"""Command-line tools that a test drives: found, or the test says that it was not run and what is missing."""

import shutil
import sys
from pathlib import Path

import pytest


def debian_tool(name: str, package: str) -> str:
    """Return the path of the program `name`; else skip, naming its Debian package. A skip is never a pass."""
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.prefix, "bin")))
    if found is None:
        pytest.skip(f"not run: {name} (Debian package {package}) is missing")
    return found
