"""Writes docs/conformance.md: each requirement, and the tests that are marked as showing it.

    conformance.py [--check]

Marks are read from the source (`@pytest.mark.req("CR-05")`), so nothing is run. `--check` writes nothing; it fails when
the page is not what the marks give, when a mark names an unknown id, or when an id of `SHOWN` has no test left.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"
REQUIREMENTS = ROOT / "tools" / "requirements.tsv"
NAMED_TESTS = 3

AREAS = {
    "CR": "National cryptography",
    "CE": "Certificates",
    "CA": "CA, RA, KMC",
    "RV": "Revocation, directory, time",
    "TL": "Transport",
    "MA": "Labels and mandatory access control",
    "XZ": "Crossings",
    "CI": "Content inspection",
    "SH": "Catalogue and sharing",
    "FE": "Hub federation",
    "AU": "Audit",
    "RO": "Roles",
    "MO": "Monitoring",
    "MP": "密评 (GB/T 39786)",
    "DB": "等保 (GB/T 22239)",
    "OP": "Operation",
}

# What has been shown must stay shown; a finished issue adds its ids here.
SHOWN_NUMBERS = {
    "CR": (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 15),
    "CE": (1, 2, 3, 5, 6, 7, 8, 9),
    "CA": (3, 14),
    "RV": (1, 2, 4),
    "TL": (1, 2, 3, 4, 5, 6, 7),
    "MA": (1, 2, 3, 4, 5, 8, 10),
    "AU": (1, 2, 4, 6),
    "MO": (1, 2),
    "XZ": (1, 2, 14),
}
SHOWN = frozenset(f"{area}-{number:02}" for area, numbers in SHOWN_NUMBERS.items() for number in numbers)


def requirements() -> Iterator[tuple[str, str, str]]:
    """Yield id, level and text of each requirement."""
    for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines():
        number, level, text = line.split("\t")
        yield number, level, text


def marked_tests() -> dict[str, list[str]]:
    """Return id -> the tests that carry it, as `path::name`; a mark on a module or class counts for all inside."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        where = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                for number in _ids(node.decorator_list):
                    found[number].append(f"{where}::{node.name}")
            elif isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets
            ):
                for number in _ids([node.value]):
                    found[number].append(where)
    return found


def _ids(nodes: list[ast.expr]) -> list[str]:
    calls = [call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call)]
    return [
        argument.value
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr == "req"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def page(rows: list[tuple[str, str, str]], found: dict[str, list[str]]) -> str:
    """Return the page."""
    lines = [
        "# Requirements and the tests that show them",
        "",
        "Made by `python tools/conformance.py` from the marks in `tests/`; `make check` compares. A requirement "
        "without a test is not claimed. A test that shows a part of a requirement carries its id too: the test says "
        "which part.",
    ]
    for area, title in AREAS.items():
        inside = [row for row in rows if row[0].startswith(area)]
        shown = sum(1 for row in inside if found.get(row[0]))
        lines += [
            "",
            f"## {title}: {shown} of {len(inside)}",
            "",
            "| id | level | requirement | tests |",
            "|---|---|---|---|",
        ]
        for number, level, text in inside:
            tests = found.get(number, [])
            named = "<br>".join(f"`{test.removeprefix('tests/')}`" for test in tests[:NAMED_TESTS])
            more = f"<br>and {len(tests) - NAMED_TESTS} more" if len(tests) > NAMED_TESTS else ""
            lines.append(f"| {number} | {level} | {text} | {named + more or '–'} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page; 1 where something is wrong."""
    rows = list(requirements())
    found = marked_tests()
    known = {number for number, _, _ in rows}
    problems = [f"{number}: no such requirement ({tests[0]})" for number, tests in found.items() if number not in known]
    problems += [f"{number}: no test shows it any more" for number in sorted(SHOWN) if not found.get(number)]
    made = page(rows, found)
    if "--check" not in arguments:
        PAGE.write_text(made, encoding="utf-8")
    elif not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != made:
        problems.append("docs/conformance.md is not what the marks give: run `python tools/conformance.py`")
    for problem in problems:
        sys.stderr.write(f"conformance: {problem}\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
