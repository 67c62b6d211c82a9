"""What decides does no I/O: the [d] modules of this area import none of the modules that act."""

import ast
from importlib import resources

import pytest

DECIDERS = {
    "tls": ("alerts", "check", "clienthello", "crlview", "limits", "live", "procnet", "records", "channel"),
    "": ("ticket", "admission"),
}
FORBIDDEN = frozenset(
    {
        "grpc",
        "OpenSSL",
        "socket",
        "ssl",
        "sqlite3",
        "asyncio",
        "threading",
        "prometheus_client",
        "zonegate.proto",
        "zonegate.clock",
        "os",
        "time",
    }
)
FILES = [(folder, name) for folder, names in DECIDERS.items() for name in names]


@pytest.mark.parametrize(("folder", "name"), FILES, ids=[f"{folder or 'gateway'}.{name}" for folder, name in FILES])
def test_deciders_import_nothing_that_acts(folder: str, name: str):
    source = resources.files("zonegate.gateway").joinpath(folder, f"{name}.py").read_text(encoding="utf-8")
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
    assert not {module for module in imported if module in FORBIDDEN or module.partition(".")[0] in FORBIDDEN}
