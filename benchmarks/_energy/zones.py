"""Public intensities by zone and hour: what is refused by name, and what is only flagged.

A file is `electricitymaps-YEAR-hourly/*.csv` with a column of times in UTC and one for each zone.
Hours that are missing, that come twice, that no zone names, or whose figure is no intensity are
refused, as an experiment on invented hours would say nothing. A zone that says the same at every
hour, or repeats a day, is flagged: providers fill gaps so.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scheduler.energy.forecasts.hourly import HOURS_PER_DAY, Floats
from scheduler.energy.intensity.csv_series import parse_csv

INPUT = "intensity: estimated, life-cycle (Electricity Maps)"
_FOLDER = "electricitymaps-2022-hourly"
_FOLDERS = "electricitymaps-*-hourly"


@dataclass(frozen=True, slots=True)
class ZoneHours:
    """A zone's hours.

    Attributes:
        zone: its name.
        first_hour: hours since 1970 UTC of the first figure.
        hours: g/kWh of each hour; [hours].
        flags: what is doubtful about them, for people.
    """

    zone: str
    first_hour: int
    hours: Floats
    flags: tuple[str, ...] = ()


def read_zone(data: Path | None, zone: str) -> Floats:
    """Life-cycle intensity of each hour of the year, in g/kWh.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: the zone is not in it, or hours are missing or wrong.
    """
    return zone_hours(data, zone).hours


def zone_hours(data: Path | None, zone: str) -> ZoneHours:
    """A zone's hours, with what is doubtful about them.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: the zone is not in it, or hours are missing or wrong; the first one is named.
    """
    path = _file_of(data, zone)
    text = path.read_text(encoding="utf-8")
    series = parse_csv(text, name=f"{path.name}, {zone}", zone=zone, boundary="life-cycle")
    if series.problems:
        raise ValueError(series.problems[0])
    if not series.points:
        raise ValueError(f"{path.name}, {zone}: no hours")
    known = sorted(series.points)
    hours = np.array([series.points[hour].gco2_per_kwh for hour in known])
    return ZoneHours(zone, known[0], hours, flags_of(zone, hours))


def known_zones(data: Path | None) -> dict[str, Path]:
    """The zones of the data set, and the file of each.

    Raises:
        FileNotFoundError: there is no such data set.
        ValueError: a zone is in two files, so that it is not clear which one counts.
    """
    found: dict[str, Path] = {}
    for path in _files(data):
        with path.open(encoding="utf-8", newline="") as file:
            header = [cell.strip() for cell in next(csv.reader(file), [])]
        for zone in header[1:]:
            if zone in found:
                raise ValueError(f"zone {zone} is in {found[zone].name} and in {path.name}")
            found[zone] = path
    return found


def flags_of(zone: str, hours: Floats) -> tuple[str, ...]:
    """What is doubtful about a zone's hours, for people."""
    if len(hours) > HOURS_PER_DAY and np.ptp(hours) == 0:
        return (f"{zone} says the same at every hour, so that it shows no saving by time",)
    first, longest = _longest_repetition(hours)
    if longest < HOURS_PER_DAY:
        return ()
    return (f"{zone} repeats the day before for {longest} hours from hour {first} on",)


def _longest_repetition(hours: Floats) -> tuple[int, int]:
    """Where the longest run begins whose hours say what they said a day before, and its length.

    A run of one figure only does not count: a grid of one source is constant for days.
    """
    equal = hours[HOURS_PER_DAY:] == hours[:-HOURS_PER_DAY]
    edges = np.flatnonzero(np.diff(np.concatenate([[0], equal.astype(np.int8), [0]])))
    best = (0, 0)
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        varies = np.ptp(hours[begin + HOURS_PER_DAY : end + HOURS_PER_DAY]) > 0
        if varies and end - begin > best[1]:
            best = (begin + HOURS_PER_DAY, end - begin)
    return best


def _file_of(data: Path | None, zone: str) -> Path:
    found = known_zones(data)
    if zone not in found:
        raise ValueError(f"zone {zone} is not among {', '.join(sorted(found))}")
    return found[zone]


def _files(data: Path | None) -> list[Path]:
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds {_FOLDER}/")
    usual = sorted((data / _FOLDER).glob("*.csv"))
    others = [sorted(each.glob("*.csv")) for each in sorted(data.glob(_FOLDERS))]
    found = usual or next((each for each in others if each), [])
    if not found:
        raise FileNotFoundError(f"{data} holds no {_FOLDERS}/*.csv")
    return found
