"""What a feed's series says of a grid zone now, and what is expected of it."""

from datetime import UTC, datetime, timedelta

import numpy as np

from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.forecasts.blend import Blend
from scheduler.energy.intensity.series import IntensitySeries
from scheduler.energy.zone_outlook import FORECAST_HOURS, outlook_of
from scheduler.model.demand.kept_forecast import kept_forecast, last_forecast

NOW_HOUR = 492_000


def at(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)


def factor(grams: float, origin: str = "measured") -> EmissionFactor:
    return EmissionFactor(gco2_per_kwh=grams, origin=origin, boundary="life-cycle", source="feed")  # type: ignore[arg-type]


def grams_at(hour: int) -> float:
    return 400.0 + 200.0 * float(np.sin(hour * np.pi / 12))


def series(newest: int = NOW_HOUR, hours: int = 240) -> IntensitySeries:
    points = {hour: factor(grams_at(hour)) for hour in range(newest - hours + 1, newest + 1)}
    return IntensitySeries("DE", points)


def test_the_newest_figure_counts_with_the_date_of_its_hour_and_its_source() -> None:
    found = outlook_of(series(NOW_HOUR - 1), NOW_HOUR)
    assert found is not None
    assert found.hourly.gco2_per_kwh == grams_at(NOW_HOUR - 1)
    assert (found.hourly.origin, found.hourly.observed_at) == ("measured", at(NOW_HOUR - 1))
    assert found.source == "feed (life-cycle)"


def test_without_a_forecast_of_the_feed_the_zones_own_past_makes_one() -> None:
    found = outlook_of(series(NOW_HOUR - 1), NOW_HOUR)
    assert found is not None
    assert found.forecast is not None
    steps = {step.at: step.gco2_per_kwh for step in found.forecast.steps}
    assert set(steps) == {at(hour) for hour in range(NOW_HOUR - 1, NOW_HOUR + FORECAST_HOURS)}
    assert steps[at(NOW_HOUR - 1)] == grams_at(NOW_HOUR - 1)
    for hour in (NOW_HOUR + 1, NOW_HOUR + 30):
        assert abs(steps[at(hour)] - grams_at(hour)) < 0.1 * grams_at(hour)
    assert (found.forecast.origin, found.forecast.observed_at) == ("modelled", at(NOW_HOUR - 1))


def test_the_feeds_own_forecast_comes_first_unless_it_is_short() -> None:
    ahead = {hour: factor(111.0, "estimated") for hour in range(NOW_HOUR + 1, NOW_HOUR + 25)}
    found = outlook_of(series(), NOW_HOUR, ahead=ahead, ahead_hour=NOW_HOUR)
    assert found is not None
    assert found.forecast is not None
    assert {step.gco2_per_kwh for step in found.forecast.steps[1:]} == {111.0}
    assert found.forecast.observed_at == at(NOW_HOUR)
    short = dict(list(ahead.items())[:3])
    own = outlook_of(series(), NOW_HOUR, ahead=short, ahead_hour=NOW_HOUR, forecaster=Blend())
    assert own is not None
    assert own.forecast is not None
    assert len(own.forecast.steps) == FORECAST_HOURS


def test_a_forecast_is_as_old_as_the_figures_that_it_is_made_of() -> None:
    silent = outlook_of(series(NOW_HOUR - 20), NOW_HOUR)
    assert silent is not None
    assert silent.forecast is not None
    assert silent.forecast.observed_at == at(NOW_HOUR - 20)
    longer = outlook_of(series(NOW_HOUR - 25), NOW_HOUR)
    assert longer is not None
    assert longer.forecast is None


def test_too_little_past_makes_no_forecast_and_yearly_factors_make_no_outlook() -> None:
    little = outlook_of(series(hours=20), NOW_HOUR)
    assert little is not None
    assert little.forecast is None
    yearly = IntensitySeries("CN-GD", {NOW_HOUR: factor(430.0, "yearly")})
    assert outlook_of(yearly, NOW_HOUR) is None
    assert outlook_of(IntensitySeries("DE"), NOW_HOUR) is None


def test_a_feed_that_repeats_yesterday_forecasts_nothing_of_its_own() -> None:
    day = {hour: factor(grams_at(hour)) for hour in range(NOW_HOUR - 47, NOW_HOUR - 23)}
    again = {hour + 24: each for hour, each in day.items()}
    doubted = IntensitySeries("DE", day).with_points(again)
    assert doubted.problem
    ahead = {hour: factor(1.0) for hour in range(NOW_HOUR + 1, NOW_HOUR + 25)}
    found = outlook_of(doubted, NOW_HOUR, ahead=ahead, ahead_hour=NOW_HOUR)
    assert found is not None
    assert found.forecast is None or 1.0 not in {step.gco2_per_kwh for step in found.forecast.steps}


def test_a_newer_forecast_leaves_out_nothing_that_is_not_over() -> None:
    before = outlook_of(series(NOW_HOUR - 1), NOW_HOUR)
    after = outlook_of(series(NOW_HOUR), NOW_HOUR + 1)
    assert before is not None
    assert after is not None
    kept = kept_forecast(after.forecast, last_forecast(before.forecast, None))
    assert kept is not None
    assert kept.forecast is None
    assert after.forecast is not None
    assert after.forecast.steps[-1].at == at(NOW_HOUR + 1) + timedelta(hours=FORECAST_HOURS - 1)
