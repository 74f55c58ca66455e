"""A tariff names the cheaper hours of a day, in China Standard Time."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.energy.tariff import Tariff, mean_energy_cny_per_kwh, tariff_of
from scheduler.model.kinds.site import SitePrices, TariffHours
from tests.support.counts import examples

MIDNIGHT = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()  # in China
HOUR = 3600.0


def prices(*hours: tuple[int, int, float], highest: float | None = 1.0) -> SitePrices:
    return SitePrices(
        energy_cny_per_kwh=highest,
        tariff=tuple(
            TariffHours(from_hour=begin, to_hour=end, energy_cny_per_kwh=cny)
            for begin, end, cny in hours
        ),
    )


def tariff(*hours: tuple[int, int, float]) -> Tariff:
    found = tariff_of(prices(*hours))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("begin", "hours", "expected"),
    [
        (0.0, 1.0, 0.4),
        (7.0, 2.0, 0.7),
        (8.0, 14.0, 1.0),
        (23.0, 24.0, (10 * 0.4 + 14) / 24),
        (21.5, 1.0, 0.7),
        (12.0, 240.0, (10 * 0.4 + 14) / 24),
    ],
)
def test_a_run_pays_the_hours_that_it_runs_in(begin: float, hours: float, expected: float) -> None:
    night = tariff((22, 8, 0.4))
    found = night.mean_cny_per_kwh(np.array([MIDNIGHT + begin * HOUR]), hours * HOUR)[0]
    assert found == pytest.approx(expected)


def test_work_around_the_clock_pays_the_mean_of_the_day() -> None:
    assert mean_energy_cny_per_kwh(prices((0, 12, 0.5))) == pytest.approx(0.75)
    assert mean_energy_cny_per_kwh(prices()) == 1.0
    assert mean_energy_cny_per_kwh(prices((0, 12, 0.5), highest=None)) is None


def test_an_hour_costs_the_least_that_is_said_of_it_and_never_more_than_the_highest_price() -> None:
    found = tariff((0, 6, 0.4), (3, 9, 0.2), (12, 13, 5.0)).cny_per_kwh
    assert found.tolist() == [0.4] * 3 + [0.2] * 6 + [1.0] * 15


@given(
    hours=st.lists(
        st.tuples(st.integers(0, 23), st.integers(1, 24), st.sampled_from([-0.2, 0.0, 0.3, 0.8])),
        min_size=1,
        max_size=4,
    ),
    minutes=st.integers(1, 2000),
    now=st.integers(0, 1440),
)
@settings(max_examples=examples(60), deadline=None)
def test_the_best_start_of_a_day_is_now_or_among_those_worth_trying(
    hours: list[tuple[int, int, float]], minutes: int, now: int
) -> None:
    found, first, seconds = tariff(*hours), MIDNIGHT + 60 * now, 60.0 * minutes
    last = first + 26 * HOUR
    starts = np.concatenate([[first], found.candidate_starts(first, last, seconds)])
    every_five_minutes = found.mean_cny_per_kwh(np.arange(first, last, 300), seconds)
    assert found.mean_cny_per_kwh(starts, seconds).min() <= every_five_minutes.min() + 1e-6
