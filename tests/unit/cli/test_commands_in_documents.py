"""Every command that a document names in its sentences and tables is one that the programs have.

Commands in blocks are typed (`tests/e2e/test_documents.py`). Those between backticks often hold
words in capitals, so here their commands, subcommands and options are looked up.
"""

import argparse
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scheduler.cli.entry import COMMANDS
from scheduler.cli.support.command_parser import CommandParser
from tests.support.up import ROOT

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(path for path in (ROOT / "docs").rglob("*.md") if "decisions" not in path.parts),
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def named_commands(text: str, program: str) -> Iterator[list[str]]:
    """The words of each command of a program that stands between backticks."""
    for words in re.findall(rf"`(?:sudo )?{program} ([^`]+)`", text):
        yield words.split()


@cache
def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of a command."""
    parser = CommandParser(prog=command)
    importlib.import_module(f"scheduler.cli.{command.replace('-', '_')}").register(parser)
    return parser


def unknown_words(words: list[str]) -> list[str]:
    """Options and subcommands that `kapok` does not have; placeholders and values are not read."""
    if words[0] == "--lang":
        words = words[2:]
    if not words:
        return []
    command, *rest = words
    if command not in COMMANDS:
        return [command]
    if command == "kubectl":
        return []
    parser, unknown, is_value = parser_of(command), list[str](), False
    options = dict(parser._option_string_actions)  # noqa: SLF001 - argparse has no other list
    for word in rest:
        choices = subcommands(parser)
        if word.startswith("-"):
            option = options.get(word.partition("=")[0])
            unknown += [word] if option is None else []
            is_value = option is not None and option.nargs != 0
        elif is_value:
            is_value = False
        elif word in choices:
            parser = choices[word]
            options |= parser._option_string_actions  # noqa: SLF001 - as above
        elif choices and re.fullmatch("[a-z-]+", word):
            unknown.append(word)
    return unknown


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The subcommands of a parser by name."""
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:  # noqa: SLF001 - argparse has no other list
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            found |= action.choices
    return found


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_in_a_sentence_exists_with_its_options(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = [
        (words, unknown)
        for words in named_commands(text, "kapok")
        if (unknown := unknown_words(words))
    ]
    assert found == []
    targets = {words[0] for words in named_commands(text, "make")}
    assert [
        one for one in targets if not re.search(rf"^{re.escape(one)}:", MAKEFILE, re.MULTILINE)
    ] == []


def test_a_command_that_is_not_there_is_found() -> None:
    assert unknown_words(["fly"]) == ["fly"]
    assert unknown_words(["hub", "fly"]) == ["fly"]
    assert unknown_words(["hub", "adopt", "--lost", "objects", "--fly"]) == ["--fly"]
    assert unknown_words(["--lang", "zh", "explain", "NAMESPACE/NAME", "--versus", "SITE"]) == []
