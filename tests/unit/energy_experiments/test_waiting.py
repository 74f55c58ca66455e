"""The experiments `gaia`, `clusters` and `forecasts`: what they refuse, and what holds in a run."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from math import sin
from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks._energy import clusters, forecasts, gaia
from benchmarks._energy.traces import Job

_HOURS = 1300
_BEGIN = datetime(2022, 1, 1, tzinfo=UTC)


def _intensity(hour: int, zone: int) -> float:
    return 300 + 40 * zone + 120 * sin((hour + 3 * zone) / 24 * 6.2832) + 17 * sin(hour / 31)


def _data(tmp_path: Path, zones: tuple[str, ...] = ("AU-SA", "DE")) -> Path:
    folder, jobs = tmp_path / "electricitymaps-2022-hourly", tmp_path / "gaia-job-traces"
    folder.mkdir()
    jobs.mkdir()
    lines = [",".join(["datetime_utc", *zones])]
    for hour in range(_HOURS):
        at = (_BEGIN + timedelta(hours=hour)).isoformat()
        lines.append(",".join([at, *(f"{_intensity(hour, n):.3f}" for n in range(len(zones)))]))
    (folder / "zones.csv").write_text("\n".join(lines), encoding="utf-8")
    rows = [f"{900 * n},{600 + 977 * n % 20_000},{1 + n % 2}" for n in range(60)]
    (jobs / "pai_1k.csv").write_text("\n".join(["arrival_time,length,cpus", *rows]))
    return tmp_path


def test_gaia_runs_on_another_zone_and_hour_and_says_so(tmp_path: Path) -> None:
    found = {str(row["policy"]): row for row in gaia.rows(_data(tmp_path), zone="DE", first_hour=9)}
    bound, learned = found["bound-lengths-known"], found["learned-lengths"]

    assert found["at-once"]["carbon"] == 1.0
    assert bound["carbon"] <= found["lowest-window"]["carbon"]  # type: ignore[operator]
    assert bound["carbon"] <= learned["carbon"] < 1.0  # type: ignore[operator]
    for row in found.values():
        assert row["zone"] == "DE"
        assert row["published"] is None
        assert row.get("late", 0) == 0
        assert "estimated" in str(row["inputs"])


def test_gaia_names_hours_that_do_not_last(tmp_path: Path) -> None:
    data = _data(tmp_path)
    for first_hour in (1290, 9000, -5):
        with pytest.raises(ValueError, match=f"DE from hour {first_hour} on: jobs need"):
            gaia.rows(data, zone="DE", first_hour=first_hour)


@pytest.fixture(scope="module")
def zones() -> Iterator[clusters.Zones]:
    """Forecasts are made once for all tests; they take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clusters, "_FIRST_HOUR", 1000)
        patch.setattr(clusters, "_HOURS", 200)
        yield clusters.zones_of(
            [np.array([_intensity(hour, n) for hour in range(_HOURS)]) for n in range(5)]
        )


def _jobs(count: int = 40) -> list[Job]:
    chance = Random(4)  # noqa: S311 - a test
    return [Job(700 * n, chance.randint(120, 9_000), 1) for n in range(count)]


@pytest.mark.parametrize("resumes", [True, False])
def test_all_jobs_end_in_time_with_wrong_lengths_and_a_lost_cluster(
    zones: clusters.Zones, *, resumes: bool
) -> None:
    jobs = _jobs()
    trial = clusters.Trial(4, 11.5, 0.2, (1, 300), resumes, spare_hours=6, improves=True)
    run = clusters.Run(zones, trial)
    run.all(jobs, Random(1))  # noqa: S311 - a test

    assert len(run.waits) == len(jobs)
    assert not run.reserved.running
    assert not run.reserved.plans
    assert run.late == run.inevitable
    assert run.late == 0 or not resumes
    least = sum(job.length * job.cores for job in jobs) / 720 * 180
    assert run.grams > least


def test_waiting_saves_against_rotation_and_less_than_the_bound_allows(
    zones: clusters.Zones,
) -> None:
    jobs = _jobs()
    rotation = clusters.in_turn(zones, jobs, 4)
    run = clusters.Run(zones, clusters.Trial(4, 11.5))
    run.all(jobs, Random(1))  # noqa: S311 - a test

    assert run.late == 0
    assert max(run.waits) <= 24
    assert run.grams < 0.9 * rotation.grams
    assert clusters.least_grams(zones, jobs, 4) <= run.grams


def test_forecasts_have_a_row_for_each_zone_and_the_means(tmp_path: Path) -> None:
    found = forecasts.rows(_data(tmp_path), 0)
    assert [row["zone"] for row in found[:4]] == [
        "AU-SA",
        "DE",
        "mean without AU-SA",
        "and without constant zones",
    ]
    assert {row["forecaster"] for row in found} == {"blend", "learned-blend"}
    assert all(0 < float(str(row["mape_day_1"])) < 0.2 for row in found)


def test_forecasts_name_zones_with_too_few_hours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasts, "_FIRST_HOUR", 2000)
    with pytest.raises(ValueError, match="AU-SA, DE: a backtest needs six weeks"):
        forecasts.rows(_data(tmp_path), 0)
