"""Options may stand between words, as kubectl takes them, and mistakes are still told plainly."""

import argparse

import pytest

from scheduler.cli import demo, get
from scheduler.cli.support.command_parser import CommandParser


def parsed(module: object, *words: str) -> argparse.Namespace:
    parser = CommandParser(prog="kapok")
    module.register(parser)  # type: ignore[attr-defined]  # a command
    return parser.parse_words(words)


@pytest.mark.parametrize(
    "words",
    [
        ("kw", "web", "db", "-n", "dev", "-o", "yaml"),
        ("kw", "-n", "dev", "web", "-o", "yaml", "db"),
        ("-n", "dev", "kw", "-o", "yaml", "web", "db"),
        ("-n", "dev", "-o=yaml", "kw", "web", "db"),
    ],
)
def test_options_stand_anywhere(words: tuple[str, ...]) -> None:
    found = parsed(get, *words)
    assert (found.what, found.names) == ("kw", ["web", "db"])
    assert (found.namespace, found.output) == ("dev", "yaml")


def test_subcommands_keep_their_order() -> None:
    found = parsed(demo, "poke", "silence", "m1", "--data-dir", "city")
    assert (found.poke, found.argument) == ("silence", "m1")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "required: KIND\n"),
        (("kw", "--wach"), "--wach; did you mean --watch?"),
        (("kw", "-n", "dev", "web", "--nope"), "unrecognized arguments: --nope"),
        (("kw", "-A", "-n", "dev"), "not allowed with argument"),
    ],
)
def test_a_mistake_is_told(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(get, *words)
    assert said in capsys.readouterr().err
