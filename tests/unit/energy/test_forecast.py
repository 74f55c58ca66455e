"""A forecast is a step function with gaps; nothing is claimed where it says nothing."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.energy.forecast import IntensityProfile, intensity_profile_of
from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.site import ForecastStep, IntensityForecast
from tests.support.counts import examples

BEGIN = datetime(2026, 11, 23, 8, tzinfo=UTC)


def forecast(
    *steps: tuple[int, float], origin: Origin = "modelled", step_seconds: int = 3600
) -> IntensityForecast:
    """Steps as (minutes from the beginning, grams)."""
    return IntensityForecast(
        observed_at=BEGIN,
        origin=origin,
        step_seconds=step_seconds,
        steps=tuple(
            ForecastStep(at=BEGIN + timedelta(minutes=minutes), gco2_per_kwh=grams)
            for minutes, grams in steps
        ),
    )


def profile(*steps: tuple[int, float]) -> IntensityProfile:
    found = intensity_profile_of(forecast(*steps))
    assert found is not None
    return found


def mean(of: IntensityProfile, minutes: float, seconds: float) -> float:
    starts = np.array([BEGIN.timestamp() + minutes * 60])
    return float(of.mean_gco2_per_kwh(starts, seconds)[0])


def test_a_run_over_an_edge_has_the_weighted_mean() -> None:
    two = profile((0, 100.0), (60, 400.0))
    assert mean(two, 0, 3600) == 100.0
    assert mean(two, 45, 3600) == pytest.approx(0.25 * 100 + 0.75 * 400)


@pytest.mark.parametrize(("minutes", "seconds"), [(-1, 60), (90, 3600), (30, 5400), (500, 60)])
def test_a_run_that_no_step_covers_in_part_is_unknown(minutes: float, seconds: float) -> None:
    gap = profile((0, 100.0), (120, 50.0))
    assert np.isnan(mean(gap, minutes, seconds))


@pytest.mark.parametrize("origin", ["yearly", "assumed", "unknown"])
def test_a_figure_without_hourly_values_plans_nothing(origin: Origin) -> None:
    assert intensity_profile_of(forecast((0, 1.0), origin=origin)) is None


def test_steps_that_overlap_or_are_none_or_not_finite_claim_nothing() -> None:
    assert intensity_profile_of(forecast()) is None
    assert intensity_profile_of(forecast((0, 1.0), (30, 2.0))) is None
    assert intensity_profile_of(forecast((60, 1.0), (0, 2.0))) is None
    assert intensity_profile_of(forecast((0, float("inf")))) is None


def test_equal_forecasts_are_understood_once() -> None:
    assert intensity_profile_of(forecast((0, 5.0))) is intensity_profile_of(forecast((0, 5.0)))


@given(
    grams=st.lists(st.integers(0, 900) | st.none(), min_size=1, max_size=12),
    minutes=st.integers(1, 400),
)
@settings(max_examples=examples(100), deadline=None)
def test_the_best_start_is_now_or_among_those_worth_trying(
    grams: list[int | None], minutes: int
) -> None:
    steps = [(60 * hour, float(each)) for hour, each in enumerate(grams) if each is not None]
    if not steps:
        return
    found, seconds, now = profile(*steps), minutes * 60.0, BEGIN.timestamp()
    last = now + 14 * 3600
    starts = np.concatenate([[now], found.candidate_starts(now, last, seconds)])
    tried = found.mean_gco2_per_kwh(starts, seconds)
    every_minute = found.mean_gco2_per_kwh(np.arange(now + 60, last + 1, 60), seconds)
    known = every_minute[np.isfinite(every_minute)]
    best = np.nanmin(tried) if np.isfinite(tried).any() else np.inf
    assert not len(known) or best <= known.min() + 1e-6
