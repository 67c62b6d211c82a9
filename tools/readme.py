"""Renews the help texts quoted in the documentation, or checks that they are the program's own.

A fenced `console` block whose first line is `$ zonegate … --help` holds that command's output at 80 columns.
"""

import argparse
import re
import sys
from pathlib import Path

from click.testing import CliRunner

from zonegate.cli.main import root

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "README.zh-CN.md", "docs/**/*.md")
BLOCK = re.compile(r"(?ms)^```console\n\$ zonegate (?P<arguments>(?:[^\n]* )?)--help\n.*?^```$")


def help_text(arguments: str) -> str:
    """Return what `zonegate ARGUMENTS --help` prints."""
    result = CliRunner().invoke(root, [*arguments.split(), "--help"], prog_name="zonegate", terminal_width=80)
    if result.exit_code != 0:
        sys.exit(f"zonegate {arguments} --help: exit {result.exit_code}\n{result.output}")
    return result.output


def renewed(page: str) -> str:
    """Return `page` with every help block as the program prints it."""
    return BLOCK.sub(lambda block: _block(block["arguments"]), page)


def _block(arguments: str) -> str:
    return f"```console\n$ zonegate {arguments}--help\n{help_text(arguments)}```"


def main() -> int:
    """Run from anywhere; work in the repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    only_check = parser.parse_args().check
    wrong = 0
    for path in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        page = path.read_text(encoding="utf-8")
        new = renewed(page)
        if new == page:
            continue
        if only_check:
            wrong += 1
            sys.stderr.write(f"{path.relative_to(ROOT)}: a help text is not the program's; run `make format`\n")
        else:
            path.write_text(new, encoding="utf-8")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
