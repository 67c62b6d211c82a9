"""What import-linter does not see: every file marked [d] is held to it, and systems import nothing of ours."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("src/zonegate", "ca", "gateway", "monitoring", "policies", "proto")
SYSTEMS = ROOT / "src" / "zonegate" / "demo" / "systems"
FORBIDDEN = {
    "grpc",
    "OpenSSL",
    "ssl",
    "socket",
    "sqlite3",
    "sqlalchemy",
    "asyncio",
    "threading",
    "subprocess",
    "uvloop",
    "zonegate.clock",
}


def modules() -> list[Path]:
    return sorted(path for source in SOURCES for path in (ROOT / source).rglob("*.py") if "_pb2" not in path.name)


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)


def decides(path: Path) -> bool:
    return "[d]" in (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0]


def test_there_are_files_that_decide() -> None:
    assert sum(decides(path) for path in modules()) >= 5


@pytest.mark.parametrize("path", [*filter(decides, modules())], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_that_decides_does_no_io(path: Path) -> None:
    wrong = {name for name in imported(path) for banned in FORBIDDEN if name == banned or name.startswith(banned + ".")}
    assert not wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_department_systems_import_nothing_of_zonegate() -> None:
    for path in SYSTEMS.rglob("*.py"):
        assert not [name for name in imported(path) if name.split(".")[0] == "zonegate"], path.name
