"""Reads the known answers under `tests/vectors`."""

import tomllib
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "vectors"


def load(name: str) -> dict[str, Any]:
    """Return the document of one vector file."""
    return tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))


SM = load("sm.toml")
EXAMPLE_D = int(SM["sm2"]["d"], 16)
EXAMPLE_POINT = bytes.fromhex("04" + SM["sm2"]["x"] + SM["sm2"]["y"])
EXAMPLE_K = int(SM["sm2"]["k"], 16)


def octets(text: str) -> bytes:
    return bytes.fromhex(text)
