"""Options may stand between words, as kubectl takes them, and mistakes are still told plainly."""

import argparse

import pytest

from scheduler.cli import demo, failover, get, site
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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("health/db", "--site", ""), "argument --site: invalid name ''"),
        (("health/db", "--site", "a/b"), "argument --site: invalid name 'a/b'"),
        (("a/b/c",), "invalid workload 'a/b/c': expected NAMESPACE/NAME"),
        (("/db",), "invalid workload '/db'"),
        (("health/",), "invalid workload 'health/'"),
        (("",), "invalid workload ''"),
        (("db", "--timeout", "nan"), "invalid duration 'nan'"),
        (("db", "--timeout", "-1"), "invalid duration '-1'"),
    ],
)
def test_a_failover_names_a_workload_a_site_and_a_time(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty site, as of an unset variable, must not mean all silent sites."""
    with pytest.raises(SystemExit) as ended:
        parsed(failover, *words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_name_alone_is_in_the_default_namespace() -> None:
    assert parsed(failover, "db").workload == ("default", "db")
    assert parsed(failover, "健康/db").workload == ("健康", "db")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("drain", "m1/status"), "argument NAME: invalid name 'm1/status'"),
        (("uncordon", ""), "argument NAME: invalid name ''"),
        (("drain", "m1", "--timeout", "-5"), "invalid duration '-5': expected seconds, 0 or more"),
        (("drain", "m1", "--timeout", "nan"), "invalid duration 'nan'"),
        (("drain", "m1", "--by", "0001-01-01T00:00:00+08:00"), "invalid time '0001-01-01"),
    ],
)
def test_a_site_command_takes_no_other_object_and_no_endless_wait(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(site, *words)
    assert said in capsys.readouterr().err
