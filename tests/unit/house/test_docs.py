"""The documentation says what is there: commands exist with their options, links lead somewhere, languages agree."""

import re
import shlex
from pathlib import Path

import click
import pytest

from zonegate.cli.main import COMMANDS, root

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "monitoring/runbooks/*.md", "bench/*.md")
    for page in ROOT.glob(pattern)
)
MAKE_TARGETS = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8")))
_FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")
_INLINE = re.compile(r"`zonegate ([a-z][^`]*)`")
_SHELL = re.compile(r"\s(?:\||>>?|<|&&|;|&)(?:\s|$)")


def console_commands(page: Path) -> list[str]:
    """Return the commands of a page's console blocks, continued lines joined."""
    return [line[2:] for line in _lines(page, {"console"}) if line.startswith("$ ")]


def zonegate_commands(page: Path) -> list[str]:
    """Return what is run with zonegate in console blocks, and in blocks that hold commands only."""
    lines = [*console_commands(page), *_lines(page, {"", "sh", "bash"})]
    return [
        _SHELL.split(line.removeprefix(prefix))[0].strip()
        for line in lines
        for prefix in ("zonegate ", ".venv/bin/zonegate ")
        if line.startswith(prefix)
    ]


def _lines(page: Path, languages: set[str]) -> list[str]:
    blocks = [body for language, body in _FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]
    return [line for body in blocks for line in body.replace("\\\n", " ").splitlines()]


def inline_commands(page: Path) -> list[str]:
    return _INLINE.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))


def resolve(words: list[str]) -> tuple[click.Command, click.Context, list[str]]:
    """Follow the words down the command table; return the last command and the words that are its arguments."""
    command: click.Command = root
    context = click.Context(root, info_name="zonegate")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"{context.command_path} has no command {words[0]!r}"
        command, words = found, words[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    return command, context, words


def check_arguments(command: click.Command, context: click.Context, words: list[str]) -> None:
    """Refuse unknown options, missing values and missing arguments; a file that is named need not exist."""
    if {"--help", "-h"} & set(words):
        return
    values, left, _ = command.make_parser(context).parse_args(list(words))
    assert not left, f"{context.command_path}: {left} is too much"
    missing = [
        parameter.name
        for parameter in command.params
        if parameter.required and parameter.name is not None and values.get(parameter.name) in (None, ())
    ]
    assert not missing, f"{context.command_path}: {missing} is missing"


def _cases(pages: list[Path], commands_of: object) -> list[object]:
    assert callable(commands_of)
    return [
        pytest.param(command, id=f"{page.relative_to(ROOT)}: {command}")
        for page in pages
        for command in dict.fromkeys(commands_of(page))
    ]


@pytest.mark.parametrize("line", _cases(PAGES, zonegate_commands))
def test_a_command_in_a_console_block_parses(line: str) -> None:
    command, context, words = resolve(shlex.split(line, comments=True))
    assert not isinstance(command, click.Group) or {"--help", "-h", "--version"} & set(words)
    check_arguments(command, context, words)


@pytest.mark.parametrize("line", _cases(PAGES, inline_commands))
def test_a_command_in_running_text_exists(line: str) -> None:
    # Words in capitals stand for a value there, and need not be complete: only names are checked.
    command, context, words = resolve(line.split())
    options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options | {"--help"}, context.command_path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_has_help_in_both_languages(name: str) -> None:
    command, _, _ = resolve([name])
    assert command.help is not None
    assert re.search(r"[\u4e00-\u9fff]", command.help)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page: Path) -> None:
    used = {
        target for command in console_commands(page) if command.startswith("make ") for target in command.split()[1:]
    }
    used |= set(re.findall(r"`make ([a-z]+)`", page.read_text(encoding="utf-8")))
    assert used <= MAKE_TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_both_readmes_show_the_same_commands() -> None:
    assert console_commands(ROOT / "README.md") == console_commands(ROOT / "README.zh-CN.md")
