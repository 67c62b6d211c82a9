"""Compiles every .proto into the Python modules beside it, or checks that the committed ones are equal.

`-I src` gives the generated modules the import path of the package (`from zonegate.proto.boundary.v1 import …`),
because `src/zonegate/proto` is a link to `proto/`. The demo's department systems import nothing of zonegate: their
files are compiled in their own folder. A `*_pb2_grpc.py` is kept only where a file declares a service.
"""

import argparse
import filecmp
import re
import shutil
import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SYSTEMS = Path("src/zonegate/demo/systems/protos")


def compile_into(out: Path) -> list[Path]:
    """Write the generated files below `out`, laid out as below the repository; return their relative paths."""
    well_known = str(resources.files("grpc_tools") / "_proto")
    written: list[Path] = []
    for include, sources in _groups().items():
        if not sources:
            continue
        target = out / include
        target.mkdir(parents=True, exist_ok=True)
        arguments = [f"-I{include}", f"-I{well_known}"]
        arguments += [f"--{kind}_out={target}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", *arguments, *map(str, sources)]) != 0:
            sys.exit(1)
        for source in sources:
            stem = source.with_suffix("")
            names = [stem.with_name(stem.name + suffix) for suffix in ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")]
            if not re.search(r"(?m)^service\s", source.read_text(encoding="utf-8")):
                (out / names.pop()).unlink()
            written += names
    return written


def _groups() -> dict[Path, list[Path]]:
    ours = sorted(Path("proto").glob("*/v*/*.proto"))
    theirs = sorted(SYSTEMS.glob("*.proto"))
    return {Path("src"): [Path("src/zonegate") / path for path in ours], SYSTEMS: theirs}


def _committed() -> set[Path]:
    patterns = ("*_pb2*.py", "*_pb2.pyi")
    ours = {Path("src/zonegate") / path for pattern in patterns for path in Path("proto").rglob(pattern)}
    return ours | {path for pattern in patterns for path in SYSTEMS.glob(pattern)}


def _check(out: Path, written: list[Path]) -> int:
    wrong = [f"{path} is not what its .proto gives" for path in written if not _equal(out / path, path)]
    wrong += [f"{path} has no .proto, or no service" for path in sorted(_committed() - set(written))]
    for line in wrong:
        sys.stderr.write(f"{line}; run `make proto`\n")
    sys.stdout.write(f"{len(written)} generated files, {len(wrong)} differ\n")
    return 1 if wrong else 0


def _equal(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def main() -> int:
    """Run from anywhere; work in the repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the committed files, change nothing")
    only_check = parser.parse_args().check
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        written = compile_into(out)
        if only_check:
            return _check(out, written)
        for path in _committed() - set(written):
            path.unlink()
        for path in written:
            shutil.copyfile(out / path, path)
    sys.stdout.write(f"{len(written)} files written\n")
    return 0


if __name__ == "__main__":
    import os

    os.chdir(ROOT)
    sys.exit(main())
