"""Public jobs and intensities, as arrays."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.intensity.csv_series import parse_csv

_JOBS = "gaia-job-traces/pai_1k.csv"
_ZONES = "electricitymaps-2022-hourly/ci_lca_gco2eq_per_kwh_2022_11zones.csv"
TICK_SECONDS = 5
"""The published simulation counts in ticks of 5 s, and cuts times and lengths to whole ones."""
TICKS_PER_HOUR = 3600 // TICK_SECONDS


@dataclass(frozen=True, slots=True)
class Job:
    """A job of the trace, in ticks.

    Attributes:
        at: when it arrives.
        length: how long it runs.
        cores: CPU cores.
    """

    at: int
    length: int
    cores: int


def read_jobs(data: Path | None) -> list[Job]:
    """The 1,000 jobs, in order of arrival.

    Raises:
        FileNotFoundError: there is no such data set.
    """
    rows = csv.DictReader(_text(data, _JOBS).splitlines())
    return [
        Job(
            int(float(row["arrival_time"]) / TICK_SECONDS),
            int(float(row["length"]) / TICK_SECONDS),
            int(float(row["cpus"])),
        )
        for row in rows
    ]


def mean_lengths(data: Path | None, limit_seconds: float) -> tuple[float, float]:
    """Mean length of the jobs up to a limit and from it, in ticks, as the published code has it."""
    rows = csv.DictReader(_text(data, _JOBS).splitlines())
    lengths = np.array([float(row["length"]) for row in rows])
    short, long = lengths[lengths <= limit_seconds], lengths[lengths >= limit_seconds]
    return float(short.mean()) / TICK_SECONDS, float(long.mean()) / TICK_SECONDS


def read_zone(data: Path | None, zone: str) -> Floats:
    """Life-cycle intensity of each hour of the year, in g/kWh.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: the zone is not in it, or hours are missing.
    """
    series = parse_csv(_text(data, _ZONES), name=_ZONES, zone=zone, boundary="life-cycle")
    if series.problems:
        raise ValueError(series.problems[0])
    return np.array([series.points[hour].gco2_per_kwh for hour in sorted(series.points)])


def _text(data: Path | None, name: str) -> str:
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds {name}")
    return (data / name).read_text(encoding="utf-8")
