"""What a pip user gets: one package, with everything in it that the program reads at run time."""

import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "src" / "zonegate"
LINKED = ("ca", "gateway", "monitoring", "policies", "proto")
DATA = {".toml", ".yaml", ".yml", ".json", ".md", ".proto", ".pyi", ".binpb"}
NOT_SOURCE = shutil.ignore_patterns(".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "out")


@pytest.mark.parametrize("name", LINKED)
def test_links_lead_to_the_folders_at_the_top(name: str) -> None:
    link = PACKAGE / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that nothing of an earlier build in the tree can get into it."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=NOT_SOURCE)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--quiet"]
    subprocess.run([*command, "--wheel-dir", folder, folder / "source"], check=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_one_top_level_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"zonegate"}
    assert len(tops) == 2
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_every_module_and_data_file_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    folders = {"zonegate": PACKAGE} | {f"zonegate/{name}": ROOT / name for name in LINKED}
    wanted = {
        f"{prefix}/{path.relative_to(folder).as_posix()}"
        for prefix, folder in folders.items()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in DATA | {".py"} and "__pycache__" not in path.parts
    }
    known = {"zonegate/reasons/reasons.toml", "zonegate/monitoring/alerts/zonegate.rules.yml", "zonegate/ca/profile.py"}
    assert known <= wanted
    assert "zonegate/py.typed" in packed
    assert wanted - packed == set()


def test_the_program_runs_from_the_wheel_outside_the_repository(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet", "--target"]
    subprocess.run([*install, target, wheel], check=True, timeout=120)
    assert {path.name for path in target.iterdir() if not path.name.endswith(".dist-info")} == {"zonegate", "bin"}
    # -I leaves the repository's editable install out; the dependencies come from this environment.
    program = f"""
import sys
sys.path[:0] = [{str(target)!r}, {sysconfig.get_paths()["purelib"]!r}]
import zonegate
assert zonegate.__file__.startswith({str(target)!r}), zonegate.__file__
from zonegate.cli import main
sys.exit(main(sys.argv[1:]))
"""
    for arguments in (["--help"], ["reasons", "E_RATE"]):
        command = [sys.executable, "-I", "-c", program, *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
    for name in (*LINKED, "tests"):
        assert not (target / name).exists()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock", "requirements-bench.lock"])
def test_lock_files_name_versions_and_nothing_of_a_machine(name: str) -> None:
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"#.*|-r requirements\.lock|[A-Za-z0-9._-]+==[0-9][0-9a-z.+]*", line), line
