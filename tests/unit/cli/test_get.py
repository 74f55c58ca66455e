"""Commands that `kapok get` prints to be pasted."""

import argparse
from datetime import UTC, datetime

from scheduler.cli import get


def test_the_printed_admission_reaches_the_hub_that_was_asked() -> None:
    parser = argparse.ArgumentParser()
    get.register(parser)
    given = parser.parse_args(["sites", "--pending", "--data-dir", "a city"])
    assert get._hub_flags(given) == " --data-dir 'a city'"  # noqa: SLF001 - what is pasted, without a hub
    assert get._hub_flags(parser.parse_args(["sites"])) == ""  # noqa: SLF001 - as above


def test_volumes_that_were_left_are_listed_with_their_sites() -> None:
    remains = [
        {"site": "m1", "claims": ["data", "logs"], "since": "2026-11-24T08:00:00Z"},
        {"site": "m2", "message": "not yet confirmed as gone"},
    ]
    one = {"metadata": {"namespace": "ns", "name": "db"}, "status": {"remains": remains}}
    now = datetime(2026, 11, 24, 8, 5, tzinfo=UTC)
    rows = [get._volume_row(each, now) for each in get._left_volumes(one)]  # noqa: SLF001 - as above
    assert rows == [
        ("ns", "db", "m1", "data,logs", "kept", "5m"),
        ("ns", "db", "m2", "-", "not yet confirmed as gone", ""),
    ]
    assert get._left_volumes({"metadata": one["metadata"]}) == []  # noqa: SLF001 - as above
