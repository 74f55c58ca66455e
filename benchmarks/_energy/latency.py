"""Services that may run in other regions within a measured round trip, and move rarely.

Each region has services of its own, which may run wherever the round trip is short enough. Every
week each may move once, by the intensities of the weeks before (`rare_moves`); the yardstick moves
all services every hour, for nothing, and knows the hour's intensity.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks._energy.zones import INPUT, known_zones, zone_hours
from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.plans.rare_moves import Bools, Ints, expected_level, rare_moves

_FOLDER = "gcp-latency"
_ZONES, _TIMES = "gcp_dc_zonecode_mapper.json", "raw_gcp_latency.csv"
_OTHER_NAMES = {"AUS-NSW": "AU-NSW", "AUS-VIC": "AU-VIC", "IN-DL": "IN-UP"}
_WITHIN_MILLISECONDS = (10.0, 20.0, 50.0, 100.0)
_SERVICES, _ROOM = 4, 6
"""Services of each region, and how many a region takes where room is short."""
_WEEK_HOURS, _FIRST_HOUR = 168, 28 * 24
_MOVING_HOURS = 1.0
_INPUTS = (
    f"{INPUT}; round trips: measured (SMU, GCP); services, room and an hour of moving: assumed"
)
_FEWEST_REGIONS = 2
_MAX_MILLISECONDS = 1e5


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of the experiment.

    Attributes:
        names: their names.
        hours: intensity of each; [regions, hours].
        milliseconds: round trips, infinite where none was measured; [regions, regions].
        flags: what is doubtful or left out, for people.
    """

    names: Sequence[str]
    hours: Floats
    milliseconds: Floats
    flags: Sequence[str] = ()


def rows(data: Path | None, _seed: int) -> list[dict[str, object]]:
    """One row for each bound on the round trip, without and with little room.

    Raises:
        FileNotFoundError: a data set is missing.
        ValueError: a figure is wrong, or fewer than two regions have intensities.
    """
    regions = read_regions(data)
    found = [
        _row(regions, within, room) for room in (None, _ROOM) for within in _WITHIN_MILLISECONDS
    ]
    flags = "; ".join(regions.flags)
    return [{**row, "flags": flags, "inputs": _INPUTS} for row in found]


def read_regions(data: Path | None) -> Regions:
    """All regions whose zone has intensities.

    A zone with wrong hours is left out by name, as one bad zone of many must not end all.

    Raises:
        FileNotFoundError: a data set is missing.
        ValueError: a round trip is no number, or fewer than two regions are left.
    """
    known = known_zones(data)
    if data is None:
        raise FileNotFoundError(f"give --data DIR or KAPOK_DATA_DIR; it holds {_FOLDER}/")
    zone_of: dict[str, str] = json.loads((data / _FOLDER / _ZONES).read_text(encoding="utf-8"))
    names, hours, flags = [], [], []
    for region, written in sorted(zone_of.items()):
        zone = _OTHER_NAMES.get(written, written)
        if zone not in known:
            continue
        try:
            series = zone_hours(data, zone)
        except ValueError as error:
            flags.append(f"{region} is left out: {error}")
            continue
        names.append(region)
        hours.append(series.hours)
        flags += [flag for flag in series.flags if flag not in flags]
    if len(names) < _FEWEST_REGIONS:
        raise ValueError("; ".join([f"{len(names)} regions have intensities", *flags]))
    if len({len(each) for each in hours}) > 1:
        raise ValueError("the zones' files cover different hours")
    return Regions(names, np.array(hours), _round_trips(data, names), flags)


def _round_trips(data: Path, names: Sequence[str]) -> Floats:
    place = {name: number for number, name in enumerate(names)}
    found = np.full((len(names), len(names)), np.inf)
    np.fill_diagonal(found, 0.0)
    with (data / _FOLDER / _TIMES).open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            sender, receiver = row["sending_region"], row["receiving_region"]
            if sender in place and receiver in place and sender != receiver:
                found[place[sender], place[receiver]] = _milliseconds(row["milliseconds"], line)
    return found


def _milliseconds(text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 < value < _MAX_MILLISECONDS:
        raise ValueError(f"{_TIMES}, line {line}: a round trip of {text!r} ms")
    return value


def _row(regions: Regions, within: float, room: int | None) -> dict[str, object]:
    near = regions.milliseconds <= within
    rooms = np.full(len(near), room or _SERVICES * len(near))
    later = regions.hours[:, _FIRST_HOUR:]
    home = float(later.sum()) * _SERVICES
    rare = move_rarely(regions.hours, near, rooms)
    hourly = least_grams(later, near, rooms)
    hindsight = least_grams(_weekly_means(later), near, rooms) * _WEEK_HOURS
    weeks = later.shape[1] / _WEEK_HOURS
    return {
        "within_milliseconds": within,
        "room": "little" if room else "enough",
        "regions": len(near),
        "hourly_saving": round(1 - hourly / home, 4),
        "saving": round(1 - rare.grams / home, 4),
        "of_hourly_saving": _share(home - rare.grams, home - hourly),
        "weekly_in_hindsight": _share(home - hindsight, home - hourly),
        "moves_per_service_week": round(rare.moves / weeks / (_SERVICES * len(near)), 4),
        "most_moves_in_a_week": rare.most,
    }


def _share(part: float, whole: float) -> float | None:
    """None where nothing can be saved, as no region is near."""
    return round(part / whole, 4) if whole > 0 else None


@dataclass(slots=True)
class RareMoves:
    """What came of moving rarely.

    Attributes:
        grams: of all services, moves included.
        moves: how many there were.
        by_service: of each service, in the week at hand.
        most: the most moves of one service within a week.
    """

    grams: float = 0.0
    moves: int = 0
    most: int = 0
    by_service: dict[int, list[int]] = field(default_factory=dict)

    def count(self, moved: Sequence[int], hour: int) -> None:
        """Counts moves of services in an hour."""
        for service in moved:
            lately = [at for at in self.by_service.get(service, []) if hour - at < _WEEK_HOURS]
            self.by_service[service] = [*lately, hour]
            self.most = max(self.most, len(lately) + 1)
        self.moves += len(moved)


def move_rarely(hours: Floats, near: Bools, rooms: Ints) -> RareMoves:
    """Runs the services of all regions, each moving at most once a week."""
    at = np.repeat(np.arange(len(hours)), _SERVICES)
    allowed = near[at]
    run = RareMoves()
    for hour in range(_FIRST_HOUR, hours.shape[1], _WEEK_HOURS):
        levels = np.array([expected_level(each[:hour]) for each in hours])
        places = rare_moves(
            at.tolist(),
            levels,
            allowed,
            rooms,
            horizon_hours=_WEEK_HOURS,
            moving_hours=_MOVING_HOURS,
        )
        moved = np.flatnonzero(places != at)
        run.count(moved.tolist(), hour)
        run.grams += float(hours[places[moved], hour].sum()) * _MOVING_HOURS
        at = places
        run.grams += float(hours[at, hour : hour + _WEEK_HOURS].sum())
    return run


def _weekly_means(hours: Floats) -> Floats:
    """The mean of each whole week; a last part of one is spread as if it were whole."""
    weeks = np.array_split(hours, range(_WEEK_HOURS, hours.shape[1], _WEEK_HOURS), axis=1)
    return np.stack([each.sum(axis=1) / _WEEK_HOURS for each in weeks], axis=1)


def least_grams(hours: Floats, near: Bools, rooms: Ints) -> float:
    """The least that all services emit if they move at every hour, for nothing.

    What a service emits depends on its place only, so filling the places from the cleanest on, as
    far as services can be brought there, is best (sets of filled places are a matroid). How many
    can be served by a set of places is the same at every hour.
    """
    if (rooms >= _SERVICES * len(near)).all():  # each goes to the cleanest place that is near
        return float(np.where(near[:, :, None], hours, np.inf).min(axis=1).sum()) * _SERVICES
    return sum(
        _least_grams_together(hours[group], near[np.ix_(group, group)], rooms[group])
        for group in _groups(near)
    )


def _least_grams_together(hours: Floats, near: Bools, rooms: Ints) -> float:
    served: dict[int, int] = {0: 0}  # by the places, as bits
    total = 0.0
    for column in hours.T:
        places = 0
        for place in np.argsort(column, kind="stable").tolist():
            more = places | 1 << place
            if more not in served:
                chosen = [each for each in range(len(near)) if more >> each & 1]
                served[more] = most_served(near[:, chosen], rooms[chosen])
            total += float(column[place]) * (served[more] - served[places])
            places = more
            if served[places] == _SERVICES * len(near):
                break
    return total


def _groups(near: Bools) -> list[list[int]]:
    """Regions that can reach each other, also by way of others."""
    left, groups = set(range(len(near))), []
    linked = near | near.T
    while left:
        group, more = set(), {min(left)}
        while more:
            group |= more
            reached = np.flatnonzero(linked[sorted(more)].any(axis=0)).tolist()
            more = set(reached) - group
        groups.append(sorted(group))
        left -= group
    return groups


def most_served(near: Bools, rooms: Ints) -> int:
    """How many services find room: the largest flow from regions to places."""
    regions, places = near.shape
    flow = np.zeros((regions, places), np.int64)
    waiting = np.full(regions, _SERVICES)
    left = rooms.copy()
    while True:
        path = _augmenting(near, flow, waiting, left)
        if not path:
            return int(flow.sum())
        ends = [flow[region, place] for region, place, sign in path if sign < 0]
        amount = int(min([waiting[path[0][0]], left[path[-1][1]], *ends]))
        for region, place, sign in path:
            flow[region, place] += sign * amount
        waiting[path[0][0]] -= amount
        left[path[-1][1]] -= amount


def _augmenting(near: Bools, flow: Ints, waiting: Ints, left: Ints) -> list[tuple[int, int, int]]:
    """The shortest way from a region with waiting services to a place with room."""
    came: dict[int, tuple[int, int]] = {}  # place: the region that reaches it, and from where
    reached: Mapping[int, int] = {int(region): -1 for region in np.flatnonzero(waiting)}
    seen = set(reached)
    while reached:
        onward: dict[int, int] = {}
        for region, source in reached.items():
            for place in np.flatnonzero(near[region]).tolist():
                if place in came:
                    continue
                came[place] = (region, source)
                if left[place] > 0:
                    return _path(place, came)
                for other in np.flatnonzero(flow[:, place]).tolist():
                    if other not in seen:
                        seen.add(other)
                        onward[other] = place
        reached = onward
    return []


def _path(place: int, came: Mapping[int, tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Region and place of each step, forward (1) or back (-1), from the first region on."""
    steps: list[tuple[int, int, int]] = []
    while place >= 0:
        region, source = came[place]
        steps.append((region, place, 1))
        if source >= 0:
            steps.append((region, source, -1))
        place = source
    return steps[::-1]
