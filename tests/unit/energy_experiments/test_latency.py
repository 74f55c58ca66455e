"""The experiment `latency`: the yardstick is the best there is, and moves are counted."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from benchmarks._energy.latency import (
    RareMoves,
    least_grams,
    most_served,
    move_rarely,
    read_regions,
    rows,
)

_SERVICES = 4
_YEAR = 40 * 24
_BEGIN = datetime(2022, 1, 1, tzinfo=UTC)


def _data(tmp_path: Path, *, times: str = "8", gap: bool = False) -> Path:
    folder = tmp_path / "electricitymaps-2022-hourly"
    latency = tmp_path / "gcp-latency"
    folder.mkdir()
    latency.mkdir()
    lines = ["datetime_utc,GB,NL,PL,AU-NSW"]
    for hour in range(_YEAR):
        at = (_BEGIN + timedelta(hours=hour)).isoformat()
        windy = 60 if hour // 240 % 2 else 300
        wrong = "NaN" if gap and hour == 9 else "700"
        lines.append(f"{at},{200 + hour % 24},{windy + hour % 7},{wrong},{500 + hour % 5}")
    (folder / "zones.csv").write_text("\n".join(lines), encoding="utf-8")
    zones = {"west2": "GB", "west4": "NL", "central2": "PL", "south1": "AUS-NSW", "far1": "XX"}
    (latency / "gcp_dc_zonecode_mapper.json").write_text(json.dumps(zones), encoding="utf-8")
    (latency / "raw_gcp_latency.csv").write_text(
        "sending_region,receiving_region,milliseconds\n"
        f"west2,west4,{times}\nwest4,west2,9\nwest2,central2,27\ncentral2,west2,27\n"
        "west4,central2,21\ncentral2,west4,21\nfar1,west2,3\n",
        encoding="utf-8",
    )
    return tmp_path


def test_regions_with_intensities_are_used_and_unmeasured_ways_are_never_short(
    tmp_path: Path,
) -> None:
    regions = read_regions(_data(tmp_path))
    assert list(regions.names) == ["central2", "south1", "west2", "west4"]
    assert regions.milliseconds[2, 3] == 8
    assert np.isinf(regions.milliseconds[1, 2])
    assert regions.milliseconds.diagonal().tolist() == [0, 0, 0, 0]


def test_a_zone_with_a_wrong_hour_is_left_out_by_name(tmp_path: Path) -> None:
    regions = read_regions(_data(tmp_path, gap=True))
    assert "central2" not in regions.names
    assert any("central2 is left out" in flag and "nan" in flag for flag in regions.flags)


@pytest.mark.parametrize("times", ["soon", "-4", "0", "nan", "999999999"])
def test_a_round_trip_that_is_none_is_refused_by_line(tmp_path: Path, times: str) -> None:
    with pytest.raises(ValueError, match="line 2: a round trip of"):
        read_regions(_data(tmp_path, times=times))


def test_rows_say_what_is_saved_and_no_service_moves_twice_a_week(tmp_path: Path) -> None:
    found = rows(_data(tmp_path), 0)
    assert [row["within_milliseconds"] for row in found] == [10, 20, 50, 100] * 2
    assert [row["room"] for row in found] == ["enough"] * 4 + ["little"] * 4
    for row in found:
        assert row["most_moves_in_a_week"] in {0, 1}
        assert row["saving"] <= row["hourly_saving"]  # type: ignore[operator]
        assert row["of_hourly_saving"] <= row["weekly_in_hindsight"] <= 1  # type: ignore[operator]
        assert "measured" in str(row["inputs"])
    wide, narrow = found[2], found[0]
    assert wide["hourly_saving"] > narrow["hourly_saving"]  # type: ignore[operator]
    assert found[6]["hourly_saving"] < wide["hourly_saving"]  # type: ignore[operator]


def test_moves_within_a_week_are_counted() -> None:
    run = RareMoves()
    for hour in (0, 100, 168, 400):
        run.count([3], hour)
    assert (run.moves, run.most) == (4, 2)


def test_services_without_neighbours_stay_and_emit_what_their_regions_do() -> None:
    hours = np.random.default_rng(3).uniform(50, 900, (3, _YEAR))
    run = move_rarely(hours, np.eye(3, dtype=np.bool_), np.full(3, _SERVICES))
    assert run.moves == 0
    assert run.grams == pytest.approx(hours[:, 28 * 24 :].sum() * _SERVICES)


def test_the_yardstick_is_the_best_of_all_divisions() -> None:
    """Services of two regions at three places, by trying all numbers; the third region's stay."""
    chance = np.random.default_rng(5)
    for _ in range(25):
        near = (chance.random((3, 3)) < 0.7) | np.eye(3, dtype=np.bool_)
        near[2] = [False, False, True]
        rooms = chance.integers(4, 7, 3)
        hours = chance.uniform(20, 900, (3, 4))
        divisions = [
            each
            for each in product(range(_SERVICES + 1), repeat=6)
            if sum(each[:3]) == sum(each[3:]) == _SERVICES
            and all(near[n // 3, n % 3] or not count for n, count in enumerate(each))
            and all(
                each[place] + each[place + 3] <= rooms[place] - _SERVICES * (place == 2)
                for place in range(3)
            )
        ]
        best = sum(
            min(sum(column[n % 3] * count for n, count in enumerate(each)) for each in divisions)
            + column[2] * _SERVICES
            for column in hours.T
        )
        assert least_grams(hours, near, rooms) == pytest.approx(best)


def test_with_room_for_all_each_service_goes_to_the_cleanest_place_that_is_near() -> None:
    hours = np.array([[300.0, 90.0], [100.0, 200.0], [10.0, 10.0]])
    near = np.array([[True, True, False], [False, True, False], [False, False, True]])
    rooms = np.full(3, 3 * _SERVICES)
    assert least_grams(hours, near, rooms) == _SERVICES * (100 + 90 + 100 + 200 + 10 + 10)


def test_the_largest_flow_reroutes_services() -> None:
    near = np.array([[True, True], [True, False]])
    assert most_served(near, np.array([4, 4])) == 2 * _SERVICES
    assert most_served(near, np.array([4, 1])) == _SERVICES + 1
    assert most_served(near, np.array([0, 0])) == 0
