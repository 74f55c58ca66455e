"""Public data of experiments: what is refused by name, and what is flagged."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from benchmarks._energy.traces import mean_lengths, read_jobs
from benchmarks._energy.zones import flags_of, known_zones, read_zone, zone_hours

_BEGIN = datetime(2022, 1, 1, tzinfo=UTC)


def _lines(hours: int = 60) -> list[str]:
    return [
        f"{(_BEGIN + timedelta(hours=hour)).isoformat()},{200 + hour % 24 + hour / 100},{500}"
        for hour in range(hours)
    ]


def _written(tmp_path: Path, lines: list[str], name: str = "zones.csv", year: int = 2022) -> Path:
    folder = tmp_path / f"electricitymaps-{year}-hourly"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(["datetime_utc,DE,HK", *lines]), encoding="utf-8")
    return tmp_path


def test_a_zone_is_a_row_of_hours(tmp_path: Path) -> None:
    data = _written(tmp_path, _lines())
    found = zone_hours(data, "DE")
    assert (len(found.hours), found.flags) == (60, ())
    assert found.first_hour == int(_BEGIN.timestamp()) // 3600
    assert found.hours[0] == 200.0


def test_another_year_is_read_where_2022_is_missing(tmp_path: Path) -> None:
    assert len(read_zone(_written(tmp_path, _lines(), year=2023), "DE")) == 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:20] + lines[21:], "1 hours are missing, the first is 2022-01-01"),
        (lambda lines: [lines[0].replace("200.0", "NaN"), *lines[1:]], "nan is no number"),
        (lambda lines: [lines[0].replace("200.0", ""), *lines[1:]], "nan is no number"),
        (lambda lines: [lines[0].replace("200.0", "-3"), *lines[1:]], "-3 g/kWh is below zero"),
        (lambda lines: [lines[0].replace("200.0", "0.2"), *lines[1:]], "is it in kg/kWh"),
        (lambda lines: [lines[0].replace("200.0", "9000"), *lines[1:]], "implausibly high"),
        (lambda lines: [*lines, lines[-1]], "for the second time"),
        (lambda lines: [line.replace("+00:00", "") for line in lines], "a time without a zone"),
        (lambda _lines: [], "no hours"),
    ],
    ids=["gap", "nan", "empty", "negative", "kilograms", "high", "twice", "naive", "nothing"],
)
def test_wrong_hours_are_refused_by_name(
    tmp_path: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    data = _written(tmp_path, change(_lines()))
    with pytest.raises(ValueError, match="DE") as refused:
        read_zone(data, "DE")
    assert message in str(refused.value)


def test_the_hour_that_a_clock_skips_is_missing_and_the_one_it_repeats_is_not_twice(
    tmp_path: Path,
) -> None:
    """Local times with offsets: UTC has neither a hole nor a double hour in October."""
    first = datetime.fromisoformat("2022-10-29T22:00:00+00:00")
    local = [first + timedelta(hours=hour) for hour in range(6)]
    offsets = [2, 2, 2, 1, 1, 1]  # Berlin sets its clock back at 01:00 UTC
    lines = [
        f"{(at + timedelta(hours=off)).replace(tzinfo=None).isoformat()}+0{off}:00,{300 + off},500"
        for at, off in zip(local, offsets, strict=True)
    ]
    assert len(read_zone(_written(tmp_path, lines), "DE")) == 6


def test_a_zone_of_no_file_and_one_of_two_files_are_named(tmp_path: Path) -> None:
    data = _written(tmp_path, _lines())
    with pytest.raises(ValueError, match="zone XX is not among DE, HK"):
        read_zone(data, "XX")
    _written(tmp_path, _lines(), name="more.csv")
    with pytest.raises(ValueError, match=r"zone DE is in more\.csv and in zones\.csv"):
        known_zones(data)


@pytest.mark.parametrize("data", [None, Path("/nonexistent")])
def test_a_missing_data_set_is_named(data: Path | None) -> None:
    with pytest.raises(FileNotFoundError, match="electricitymaps"):
        read_zone(data, "DE")


def test_repeated_days_and_constant_zones_are_flagged() -> None:
    varied = np.random.default_rng(1).uniform(100, 300, 240)
    repeated = varied.copy()
    for hour in range(100, 130):
        repeated[hour] = repeated[hour - 24]
    flat = varied.copy()
    flat[100:160] = 250.0

    assert flags_of("DE", varied) == ()
    assert flags_of("DE", flat) == ()
    assert flags_of("DE", np.full(240, 435.36)) == (
        "DE says the same at every hour, so that it shows no saving by time",
    )
    (flag,) = flags_of("DE", repeated)
    assert flag == "DE repeats the day before for 30 hours from hour 100 on"


def _with_jobs(tmp_path: Path, *lines: str, header: str = "arrival_time,length,cpus") -> Path:
    folder = tmp_path / "gaia-job-traces"
    folder.mkdir()
    (folder / "pai_1k.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    return tmp_path


def test_jobs_are_read_in_whole_ticks(tmp_path: Path) -> None:
    data = _with_jobs(tmp_path, "0.0,303.0,1", "68.0,9001.0,4")
    first, second = read_jobs(data)
    assert (first.at, first.length, first.cores) == (0, 60, 1)
    assert (second.at, second.length, second.cores) == (13, 1800, 4)
    assert mean_lengths(data, 7200) == (60.6, 1800.2)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("0,nan,1",), "line 2: length 'nan' is no number"),
        (("0,inf,1",), "line 2: length 'inf' is no number"),
        (("0,,1",), "line 2: length '' is no number"),
        (("0,600",), "line 2: cpus None is no number"),
        (("0,-600,1",), "line 2: a length of -600 s is no job"),
        (("0,0,1",), "line 2: a length of 0 s is no job"),
        (("0,600,0",), "line 2: 0 cpus"),
        (("0,600,1e9",), "line 2: 1e+09 cpus"),
        (("-5,600,1",), "line 2: arrival_time -5 is before 0"),
        (("50,600,1", "40,600,1"), "line 3: arrival_time 40 is before 50"),
        ((), "no jobs"),
    ],
)
def test_a_line_that_is_no_job_is_named(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match="pai_1k") as refused:
        read_jobs(_with_jobs(tmp_path, *lines))
    assert message in str(refused.value)


def test_columns_and_queues_that_are_missing_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(ValueError, match="no column length, cpus"):
        read_jobs(_with_jobs(tmp_path / "a", "0,1", header="arrival_time,x"))
    with pytest.raises(ValueError, match="all jobs are on one side of 7200 s"):
        mean_lengths(_with_jobs(tmp_path / "b", "0,600,1"), 7200)
