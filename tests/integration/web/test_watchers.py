"""Open pages cost little, and a change reaches them soon: a real server and another process."""

import argparse

import pytest

from benchmarks.watchers import CPU_LIMIT_PERCENT, LATENCY_LIMIT_MILLISECONDS, add_arguments, rows


def measured(*words: str) -> dict[str, dict[str, object]]:
    """The row of each view."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return {str(row["view"]): row for row in rows(parser.parse_args(words))}


@pytest.mark.timeout(180)
def test_each_change_reaches_each_page() -> None:
    found = measured("--sites", "20", "--watchers", "3", "--seconds", "1.5")
    assert int(str(found["overview"]["changes"])) >= 6
    assert found["fleet"]["watchers"] == 3


@pytest.mark.soak
@pytest.mark.timeout(200)
def test_fifty_pages_of_a_large_fleet_keep_to_the_limits() -> None:
    found = measured("--sites", "1000", "--watchers", "50", "--seconds", "20")
    for row in found.values():
        assert float(str(row["watch_percent"])) < CPU_LIMIT_PERCENT, row
    late = float(str(found["overview"]["late_milliseconds"]))
    assert late < LATENCY_LIMIT_MILLISECONDS, found
