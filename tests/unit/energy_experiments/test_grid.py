"""The experiment `grid`: requests are met and held, and promises are compared with the best."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from benchmarks._energy import grid
from benchmarks._energy.traces import Job
from scheduler.energy.plans.grid_event import SheddableWork, SheddingWay, promised_watts


def _data(tmp_path: Path) -> Path:
    folder = tmp_path / "gaia-job-traces"
    folder.mkdir()
    chance = Random(1)  # noqa: S311 - a test
    lines = [f"{60 * n},{chance.randint(600, 90_000)},{1 + n % 3}" for n in range(60)]
    (folder / "pai_1k.csv").write_text("\n".join(["arrival_time,length,cpus", *lines]))
    return tmp_path


def test_a_quarter_is_shed_and_held_without_a_missed_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "_SITES", 4)
    monkeypatch.setattr(grid, "_CORES", 40)
    half, full = grid.rows(_data(tmp_path), 5)
    for row in (half, full):
        assert row["sites"] == 4
        assert row["met"] in {3, 4}  # a site of few works may have less than a quarter to give
        assert row["reaction_seconds"] == 30
        assert row["held_share_least"] == 1.0
        assert row["misses"] == row["misses_of_largest"] == 0
        assert 0.98 <= row["delivered_of_largest_kwh"] <= 1.0  # type: ignore[operator]
        assert 0.9 <= row["promised_of_best"] <= 1.0  # type: ignore[operator]
        assert "drawn" in str(row["inputs"])


def test_what_is_delivered_is_counted_up_to_what_was_asked() -> None:
    run = grid.Delivered(asked=10.0, drawn_before=50.0, watts=[50.0, 40.0, 20.0, 45.0])
    assert run.shed.tolist() == [0.0, 10.0, 10.0, 5.0]
    assert run.held_share == pytest.approx(2 / 3)


def test_a_moved_job_begins_again_and_a_late_end_is_a_miss() -> None:
    work = SheddableWork(key="w", priority=0, watts=9.0, ends_in=5, spare=0)
    late = grid.SiteWork(work, left=5.0, deadline=2)
    free = {"b": 4}
    known: dict[str, float | None] = {"w": 5.0}
    for slot in range(5):
        grid.advance(late, 1.0, slot, known, free)
    assert late.left == 1e9

    way = SheddingWay("move", np.zeros(9), 1, 9, 0.0, "b")
    moved = grid.SiteWork(work, left=50.0, deadline=900, way=way, ran=30.0)
    grid.advance(moved, 1.0, 1, known, free)
    assert moved.is_gone
    assert (moved.left, free) == (49.0 + 31.0, {"b": 3})


def test_the_solver_finds_no_less_than_what_is_promised() -> None:
    chance = Random(3)  # noqa: S311 - a test
    jobs = [Job(0, chance.randint(200, 9000), 1 + n % 2) for n in range(40)]
    for site in range(3):
        works = [each.work for each in grid.draw_site(jobs, 0.3, chance, site)]
        room = {"site-01": 3, "site-05": 2}
        promised = promised_watts(works, slots=360, reaction=1, room=room)
        assert promised <= grid.best_watts(works, room) + 1e-6
