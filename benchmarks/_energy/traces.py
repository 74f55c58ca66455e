"""Public jobs, in ticks: what is wrong with a line is refused by its number."""

import csv
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

import numpy as np

_JOBS = "gaia-job-traces/pai_1k.csv"
INPUT = "jobs: measured (Alibaba PAI trace)"
_COLUMNS = ("arrival_time", "length", "cpus")
_MOST_SECONDS = 366 * 86_400.0
_MOST_CORES = 4096
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
    """The jobs, in order of arrival.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: a line is no job; it is named.
    """
    return [
        Job(int(at / TICK_SECONDS), int(length / TICK_SECONDS), int(cores))
        for at, length, cores in _rows(data)
    ]


def mean_lengths(data: Path | None, limit_seconds: float) -> tuple[float, float]:
    """Mean length of the jobs up to a limit and from it, in ticks, as the published code has it.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: a line is no job, or no job is as short or as long.
    """
    lengths = np.array([length for _, length, _ in _rows(data)])
    short, long = lengths[lengths <= limit_seconds], lengths[lengths >= limit_seconds]
    if not short.size or not long.size:
        raise ValueError(f"{_JOBS}: all jobs are on one side of {limit_seconds:g} s")
    return float(short.mean()) / TICK_SECONDS, float(long.mean()) / TICK_SECONDS


def _rows(data: Path | None) -> list[tuple[float, float, float]]:
    """Arrival and length in seconds, and cores, of each line."""
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds {_JOBS}")
    lines = csv.DictReader((data / _JOBS).read_text(encoding="utf-8").splitlines())
    missing = [each for each in _COLUMNS if each not in (lines.fieldnames or ())]
    if missing:
        raise ValueError(f"{_JOBS}: no column {', '.join(missing)}")
    found: list[tuple[float, float, float]] = []
    for number, line in enumerate(lines, start=2):
        at, length, cores = (_number(line[column], number, column) for column in _COLUMNS)
        before = found[-1][0] if found else 0.0
        if not before <= at <= _MOST_SECONDS:
            raise ValueError(f"{_JOBS}, line {number}: arrival_time {at:g} is before {before:g}")
        if not TICK_SECONDS <= length <= _MOST_SECONDS:
            raise ValueError(f"{_JOBS}, line {number}: a length of {length:g} s is no job")
        if not 1 <= cores <= _MOST_CORES:
            raise ValueError(f"{_JOBS}, line {number}: {cores:g} cpus; write 1 to {_MOST_CORES}")
        found.append((at, length, cores))
    if not found:
        raise ValueError(f"{_JOBS}: no jobs")
    return found


def _number(text: str | None, line: int, column: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = nan
    if not isfinite(value):
        raise ValueError(f"{_JOBS}, line {line}: {column} {text!r} is no number")
    return value
