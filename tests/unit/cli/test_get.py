"""What `kapok get` takes and how its tables fit, without a hub."""

import argparse
from datetime import UTC, datetime

import pytest

from scheduler.cli import get
from scheduler.cli.entry import main
from scheduler.cli.looking.left_volumes import left_volumes, volume_row
from scheduler.cli.support.arguments import UsageError
from scheduler.cli.support.kind_names import find_kinds
from scheduler.cli.support.output import format_table
from scheduler.control.ports.hub import KAPOK_RESOURCES, SITES, WORKLOADS


def _given(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    get.register(parser)
    return parser.parse_args(words)


def test_the_printed_admission_reaches_the_hub_that_was_asked() -> None:
    given = _given("sites", "--pending", "--data-dir", "a city")
    assert get._hub_flags(given) == " --data-dir 'a city'"  # noqa: SLF001 - what is pasted, without a hub
    assert get._hub_flags(_given("sites")) == ""  # noqa: SLF001 - as above


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("site", [SITES]),
        ("Workload", [WORKLOADS]),
        ("kw,sites.kapok.dev", [WORKLOADS, SITES]),
        ("all", list(KAPOK_RESOURCES)),
    ],
)
def test_a_kind_has_all_the_names_that_kubectl_takes(text: str, kinds: list[object]) -> None:
    assert find_kinds(text) == kinds


def test_every_kind_of_ours_is_listed_by_each_of_its_names() -> None:
    for resource in KAPOK_RESOURCES:
        for name in (resource.plural, resource.kind, f"{resource.plural}.{resource.group}"):
            assert find_kinds(name) == [resource]


def test_an_unknown_kind_is_answered_by_the_nearest_one() -> None:
    with pytest.raises(UsageError, match=r"did you mean sites\?.*kubectl get sties"):
        find_kinds("sties")


@pytest.mark.parametrize(
    ("words", "namespace", "names"),
    [
        (("kw",), None, ()),
        (("kw", "-n", "health"), "health", ()),
        (("workload/portal", "-n", "health"), "health", ("portal",)),
        (("kw", "health/portal", "health/app"), "health", ("portal", "app")),
        (("sites", "-n", "health"), None, ()),
    ],
)
def test_names_and_namespaces_are_read_as_kubectl_reads_them(
    words: tuple[str, ...], namespace: str | None, names: tuple[str, ...]
) -> None:
    (query,) = get._queries(_given(*words))  # noqa: SLF001 - the arguments, without a hub
    assert (query.namespace, query.names) == (namespace, names)


@pytest.mark.parametrize(
    "words",
    [
        ("kw", "--pending"),
        ("kw,sites", "a"),
        ("all", "-w"),
        ("kw", "a/x", "b/y"),
        ("sites", "ns/x"),
    ],
    ids=" ".join,
)
def test_what_does_not_fit_together_is_wrong_usage(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        get._queries(_given(*words))  # noqa: SLF001 - as above


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gt",), "did you mean get?"),
        (("zzz",), "kapok --help"),
        (("get", "kw", "--namspace", "x"), "did you mean --namespace?"),
        (("get", "kw", "-o", "jsn"), "did you mean json?"),
        (("hub", "tokn"), "did you mean token?"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_typo_is_answered_by_what_was_meant(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(words)
    except SystemExit as left:
        code = int(left.code or 0)
    assert code == 2
    assert says in capsys.readouterr().err


def _width(line: str) -> int:
    return sum(2 if "\u2e80" <= one <= "\uffef" else 1 for one in line)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_a_table_fits_its_terminal_also_with_wide_characters(width: int) -> None:
    rows = [
        ("NAME", "PHASE", "REASON"),
        ("预约挂号", "Refused", "广州市政务服务数据管理局没有站点通过规则" * 3),
        ("portal", "Running", ""),
    ]
    lines = format_table(rows, width=width, fixed=1)
    assert all(_width(line.rstrip("\n")) <= width for line in lines)
    assert lines[1].startswith("预约挂号   ")


def test_names_are_never_cut_and_a_pipe_gets_whole_lines() -> None:
    rows = [("NAME", "X"), ("n" * 50, "x" * 50)]
    assert "n" * 50 in format_table(rows, width=20, fixed=1)[1]
    assert "x" * 50 in format_table(rows)[1]


def test_volumes_that_were_left_are_listed_with_their_sites() -> None:
    remains = [
        {"site": "m1", "claims": ["data", "logs"], "since": "2026-11-24T08:00:00Z"},
        {"site": "m2", "message": "not yet confirmed as gone"},
    ]
    one = {"metadata": {"namespace": "ns", "name": "db"}, "status": {"remains": remains}}
    now = datetime(2026, 11, 24, 8, 5, tzinfo=UTC)
    rows = [volume_row(each, now) for each in left_volumes(one)]
    assert rows == [
        ("ns", "db", "m1", "data,logs", "kept", "5m"),
        ("ns", "db", "m2", "-", "not yet confirmed as gone", ""),
    ]
    assert left_volumes({"metadata": one["metadata"]}) == []
