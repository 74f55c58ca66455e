"""Lengths of a queue from what ran before, counting what still runs."""

import argparse
import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from benchmarks.energy import add_arguments
from benchmarks.energy import rows as energy_rows
from scheduler.energy.forecasts.run_lengths import run_lengths, tempered_cost

_DATA = os.environ.get("KAPOK_DATA_DIR", "")
_ADMITS = (60.0, 7200.0)


def _mean(seconds: list[float], ended: list[bool]) -> float:
    found = run_lengths(np.array(seconds), np.array(ended, np.bool_), admits=_ADMITS)
    assert found.shares.sum() == pytest.approx(1)
    return float(found.seconds @ found.shares)


def test_without_any_past_lengths_spread_over_what_the_queue_admits() -> None:
    assert 60 < _mean([], []) < 7200


def test_many_equal_lengths_outweigh_what_was_assumed() -> None:
    assert _mean([600.0] * 500, [True] * 500) == pytest.approx(600, rel=0.05)


def test_work_that_still_runs_makes_lengths_longer_and_never_shorter() -> None:
    ended = [600.0] * 20
    assert _mean([*ended, *[3600.0] * 10], [*[True] * 20, *[False] * 10]) > _mean(
        ended, [True] * 20
    )
    just_begun = _mean([*ended, *[1.0] * 10], [*[True] * 20, *[False] * 10])
    assert just_begun == pytest.approx(_mean(ended, [True] * 20))


@pytest.mark.parametrize(
    ("seconds", "admits"), [([0.0], _ADMITS), ([-1.0], _ADMITS), ([9.0], (7200.0, 60.0))]
)
def test_what_is_no_length_is_refused(seconds: list[float], admits: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="above 0 s"):
        run_lengths(np.array(seconds), np.array([True]), admits=admits)


def test_a_constant_rate_costs_the_mean_length_at_any_start() -> None:
    lengths = run_lengths(np.array([60.0, 600.0]), np.array([True, True]), admits=_ADMITS)
    costs = np.stack([2.0 * lengths.seconds, 3.0 * lengths.seconds])
    mean = float(lengths.seconds @ lengths.shares)

    assert tempered_cost(costs, lengths) == pytest.approx([2 * mean, 3 * mean])


@pytest.mark.skipif(not _DATA, reason="KAPOK_DATA_DIR names no public data")
def test_published_policies_are_reproduced_and_beaten_at_no_longer_waits() -> None:
    found = {str(row["policy"]): row for row in _figures("gaia")}
    carbon = {name: float(str(row["carbon"])) for name, row in found.items()}
    wait = {name: float(str(row.get("mean_wait_hours", 0))) for name, row in found.items()}

    assert carbon["lowest-slot"] == pytest.approx(0.780037, abs=0.001)
    assert carbon["lowest-window"] == pytest.approx(0.683704, abs=0.001)
    assert carbon["carbon-time"] == pytest.approx(0.724888, abs=0.001)
    assert carbon["ecovisor"] == pytest.approx(0.639105, abs=0.001)
    assert (wait["lowest-window"], wait["carbon-time"]) == pytest.approx((6.64, 4.73), abs=0.01)
    assert carbon["learned-lengths"] < carbon["lowest-window"] - 0.01
    assert wait["learned-lengths"] <= 6.64
    assert carbon["learned-lengths-wait-4.73"] < 0.70
    assert wait["learned-lengths-wait-4.73"] <= 4.73
    assert all(row.get("late", 0) == 0 for row in found.values())


@pytest.mark.skipif(not _DATA, reason="KAPOK_DATA_DIR names no public data")
@pytest.mark.timeout(600)  # a thousand jobs, each planned; twenty seconds on an idle machine
def test_five_clusters_save_as_much_with_shorter_waits_and_nothing_is_late() -> None:
    for load, greedy_saving in ((0.5, 0.427), (0.8, 0.27)):
        rows = [row for row in _figures("clusters") if row["load"] == load]
        found = {str(row["policy"]): row for row in rows}
        ours, greedy = found["greedy-wait-12"], found["greedy"]
        saving = {name: float(str(row["saving"])) for name, row in found.items()}

        assert (ours["misses"], greedy["misses"]) == (0, 0)
        assert float(str(ours["mean_wait_hours"])) <= 12.0
        assert saving["greedy-wait-12"] >= greedy_saving
        assert saving["greedy-wait-12"] >= saving["greedy"] - 0.01
        assert max(saving.values()) == saving["bound"]


@cache
def _figures(experiment: str) -> list[dict[str, object]]:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    chosen = argparse.Namespace(data=Path(_DATA), seed=0)
    return energy_rows(parser.parse_args([experiment], chosen))
