"""Series of intensity: age limits, what stands in and says so, and feeds that are doubted."""

import msgspec
import pytest

from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.factors.official_china import official_factor
from scheduler.energy.intensity.reported import (
    reported_point,
    reported_problem,
    yearly_factor_of,
)
from scheduler.energy.intensity.series import IntensitySeries
from scheduler.model.kinds.site import Intensity, Site
from tests.support.sites import NOW

_HOUR = 480_000
_YEARLY = official_factor("CN-GD", year=2026)


def _factor(grams: float, boundary: str = "life-cycle") -> EmissionFactor:
    return msgspec.convert(
        {"gco2PerKwh": grams, "origin": "measured", "boundary": boundary, "source": "feed"},
        EmissionFactor,
    )


def _days(days: int, *, until: int = _HOUR) -> IntensitySeries:
    points = {
        hour: _factor(300 + 10 * (hour % 24) + (hour - until) // 24)
        for hour in range(until - 24 * days, until + 1)
    }
    return IntensitySeries("DE").with_points(points)


def test_the_figure_of_the_hour_counts_as_it_is() -> None:
    found = _days(3).factor_at(_HOUR, _YEARLY)

    assert found is not None
    assert (found.origin, found.source) == ("measured", "feed")


@pytest.mark.parametrize("age", [1, 6])
def test_for_six_hours_the_last_figure_stands_in_and_says_its_age(age: int) -> None:
    series = _days(3)

    found = series.factor_at(_HOUR + age, _YEARLY)

    assert found is not None
    assert found.gco2_per_kwh == series.points[_HOUR].gco2_per_kwh
    assert (found.origin, f"{age} h old" in found.source) == ("estimated", True)


@pytest.mark.parametrize("age", [7, 48])
def test_until_two_days_the_mean_of_the_same_hour_stands_in(age: int) -> None:
    series, asked = _days(3), _HOUR + age
    same = [value.gco2_per_kwh for hour, value in series.points.items() if (asked - hour) % 24 == 0]

    found = series.factor_at(asked, _YEARLY)

    assert found is not None
    assert found.gco2_per_kwh == pytest.approx(sum(same) / len(same))
    assert f"feed silent for {age} h" in found.source


def test_after_two_days_the_yearly_factor_stands_in_and_distinguishes_no_hours() -> None:
    found = _days(3).factor_at(_HOUR + 49, _YEARLY)

    assert found == _YEARLY
    assert found is not None
    assert not found.distinguishes_hours


def test_a_feed_that_is_down_without_a_yearly_factor_is_unknown_and_not_zero() -> None:
    assert _days(3).factor_at(_HOUR + 49) is None
    assert IntensitySeries("DE").factor_at(_HOUR) is None


def test_a_mean_of_direct_and_life_cycle_figures_is_not_made() -> None:
    mixed = _days(1).with_points({_HOUR - 17: _factor(500, "direct")})

    assert mixed.factor_at(_HOUR + 7, _YEARLY) is not None
    both = mixed.with_points({_HOUR - 41: _factor(500, "life-cycle")})
    assert both.factor_at(_HOUR + 7, _YEARLY) == _YEARLY


def test_a_feed_that_repeats_yesterday_is_named_and_not_taken_in() -> None:
    series = _days(2)
    repeated = {hour + 24: series.points[hour] for hour in range(_HOUR - 20, _HOUR + 1)}

    after = series.with_points(repeated)

    assert "repeats the figures of yesterday" in after.problem
    assert max(after.points) == _HOUR


def test_a_feed_that_repeats_yesterday_for_days_is_found_hour_by_hour_and_ends() -> None:
    series, problems = _days(2), 0
    for ahead in range(1, 73):
        hour = _HOUR + ahead
        yesterday = _HOUR - 23 + (ahead - 1) % 24
        series = series.with_points({hour: _days(2).points[yesterday]})
        problems += bool(series.problem)

    assert problems >= 48
    assert max(series.points) < _HOUR + 72
    found = series.factor_at(_HOUR + 72, _YEARLY)
    assert found is None or found.origin != "measured"
    right = series.with_points({_HOUR + 73: _factor(123.4)})
    assert right.problem == ""
    assert right.points[_HOUR + 73].gco2_per_kwh == 123.4


def test_a_constant_feed_is_a_yearly_factor() -> None:
    constant = {_HOUR + hour: _factor(435.36) for hour in range(72)}

    series = IntensitySeries("HK").with_points(constant)

    assert "the same at every hour" in series.problem
    found = series.factor_at(_HOUR + 3)
    assert found is not None
    assert found.origin == "yearly"


def test_a_series_is_bounded() -> None:
    assert len(_days(100).points) == 31 * 24


def _site(zone: str = "CN-GD", intensity: Intensity | None = None) -> Site:
    return msgspec.convert(
        {
            "metadata": {"name": "m1"},
            "spec": {"energy": {"gridZone": zone}},
            "status": {"intensity": msgspec.to_builtins(intensity)} if intensity else {},
        },
        Site,
    )


def test_an_agents_figure_counts_with_its_origin_and_an_unstated_boundary() -> None:
    found = reported_point("m1", Intensity(gco2_per_kwh=410, origin="measured", observed_at=NOW))

    assert found is not None
    assert (found[1].origin, found[1].boundary) == ("measured", "unstated")


@pytest.mark.parametrize("grams", [0.41, 41_000.0, float("nan")])
def test_an_absurd_figure_of_an_agent_is_no_figure(grams: float) -> None:
    intensity = Intensity(gco2_per_kwh=grams, origin="measured", observed_at=NOW)

    assert reported_point("m1", intensity) is None


def test_kilograms_of_an_agent_are_named_with_the_site() -> None:
    problem = reported_problem(_site(intensity=Intensity(gco2_per_kwh=0.41)))

    assert "intensity of m1" in problem
    assert "kg/kWh" in problem


def test_a_site_without_zone_is_named_and_unknown() -> None:
    site = _site(zone="")

    assert "names no energy.gridZone" in reported_problem(site)
    assert yearly_factor_of(site, year=2026) is None
    assert reported_problem(_site()) == ""
    assert yearly_factor_of(_site(), year=2026) == _YEARLY
