"""The department systems are strangers to zonegate, and their data is nobody's."""

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from zonegate.codes import check_citizen_number
from zonegate.demo.parties import SYSTEMS, SYSTEMS_FOLDER

SCRIPTS = sorted(SYSTEMS_FOLDER.rglob("*.py"))
POLICY = SYSTEMS_FOLDER.parent / "policy"


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_system_imports_nothing_of_zonegate(path: Path) -> None:
    ours = {"zonegate", "ca", "gateway", "policies", "monitoring", "proto"}
    assert not {name for name in imported(path) if name.partition(".")[0] in ours}
    assert not {"import_module", "__import__"} & {
        node.id for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Name)
    }


def test_every_script_is_there() -> None:
    assert {party.script for party in SYSTEMS if party.script} <= {path.name for path in SCRIPTS}


def test_the_descriptor_is_what_the_proto_gives(tmp_path: Path) -> None:
    out = tmp_path / "statistics.binpb"
    well_known = str(Path(protoc.__file__).parent / "_proto")
    folder = SYSTEMS_FOLDER / "protos"
    words = [f"-I{folder}", f"-I{well_known}", "--include_imports", f"--descriptor_set_out={out}", "statistics.proto"]
    assert protoc.main(["protoc", *words]) == 0
    read = [FileDescriptorSet.FromString(path.read_bytes()) for path in (out, POLICY / "statistics.binpb")]
    assert read[0] == read[1]


def test_citizens_have_valid_check_characters_and_an_area_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("population_service", SYSTEMS_FOLDER / "population_service.py")
    assert spec is not None
    assert spec.loader is not None
    service = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(service)
    assert len(service.REGISTER) == service.CITIZENS == 1000
    for number in service.REGISTER:
        assert number.startswith("999999")
        check_citizen_number(number)


@pytest.mark.parametrize(
    ("path", "message"),
    [("Population/Verify", "{nonsense"), ("Population/Verify", '{"nope": 1}'), ("Nothing/Here", '{"number": "1"}')],
)
def test_a_message_that_is_no_request_is_one_line(path: str, message: str) -> None:
    script = str(SYSTEMS_FOLDER / "caller.py")
    command = [sys.executable, "-I", script, "127.0.0.1:1", path, message]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"message: is not the JSON of a request of {path}: ")
    assert "Traceback" not in done.stderr
