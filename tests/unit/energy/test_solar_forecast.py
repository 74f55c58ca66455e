"""Solar power from clear sky and recent clearness."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from scheduler.energy.forecasts.hourly import Floats
from scheduler.energy.forecasts.solar import solar_forecast

_DATA = os.environ.get("KAPOK_DATA_DIR", "")
_CSV = "pv-clearsky-2022/pv_clearsky_pu_2022_11sites.csv.gz"
SKY: Floats = np.tile(np.maximum(0, np.sin((np.arange(24) - 6) / 12 * np.pi)), 9)


def test_a_half_clear_week_gives_half_of_a_clear_sky() -> None:
    made = solar_forecast(SKY * 0.5, SKY, SKY[:24] * 1.1)

    assert np.allclose(made.expected, SKY[:24] * 0.55)
    assert np.allclose(made.low, made.high)


def test_a_cloudy_day_widens_the_range_and_lowers_the_middle() -> None:
    roof = SKY.copy()
    roof[-24:] *= 0.1
    made = solar_forecast(roof, SKY, SKY[:24])

    assert 0.8 < made.expected.max() < 0.95
    assert (made.low <= made.expected).all()
    assert (made.expected <= made.high + 1e-12).all()
    assert made.low[12] < 0.2


def test_days_before_the_last_week_no_longer_count() -> None:
    roof = SKY * 0.4
    roof[:48] = 0.0

    assert solar_forecast(roof, SKY, SKY[:24]).expected.max() == pytest.approx(0.4)


def test_an_unknown_past_is_unknown_by_day_and_zero_by_night() -> None:
    made = solar_forecast(np.full(len(SKY), np.nan), SKY, SKY[:24])

    assert np.isnan(made.expected[12])
    assert made.expected[0] == 0.0
    assert solar_forecast(np.array([]), np.array([]), SKY[:24]).expected[0] == 0.0


def test_watts_where_kilowatts_are_meant_are_refused() -> None:
    with pytest.raises(ValueError, match="check rating and unit"):
        solar_forecast(SKY * 1000, SKY, SKY[:24])


def test_rows_of_different_hours_are_refused() -> None:
    with pytest.raises(ValueError, match="different hours"):
        solar_forecast(SKY[1:], SKY, SKY[:24])


@pytest.mark.skipif(not _DATA, reason="KAPOK_DATA_DIR names no public data")
def test_under_a_sky_of_constant_clearness_a_year_of_days_is_exact() -> None:
    with gzip.open(Path(_DATA) / _CSV, "rt", encoding="utf-8") as rows:
        sky = np.loadtxt(rows, delimiter=",", skiprows=1, usecols=1)
    for day in range(10, 360, 25):
        at = day * 24
        made = solar_forecast(sky[:at] * 0.6, sky[:at], sky[at : at + 24])
        assert np.allclose(made.expected, sky[at : at + 24] * 0.6)
