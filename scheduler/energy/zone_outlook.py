"""What is known of a grid zone now and expected of it, from the series of a feed.

The newest figure of an hour is the present one; it keeps the date of its hour, so a feed that is
silent grows old. The hours to come are those that the feed itself forecasts, else they are made of
the zone's own past (`forecasts`). A forecast is as old as the figures that it is made of.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.forecasts.hourly import HOURS_PER_DAY, Floats, Forecaster
from scheduler.energy.forecasts.learned_blend import LearnedBlend
from scheduler.energy.intensity.series import IntensitySeries
from scheduler.model.kinds.site import ForecastStep, Intensity, IntensityForecast
from scheduler.model.units import SECONDS_PER_HOUR

FORECAST_HOURS = 72
_FEWEST_HOURS_AHEAD = 6
"""A feed that forecasts fewer hours is helped out by the zone's own past."""
_FEWEST_HOURS_KNOWN = HOURS_PER_DAY
_MAX_SILENT_HOURS = HOURS_PER_DAY
_MAX_HISTORY_HOURS = 31 * HOURS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class ZoneOutlook:
    """A grid zone, now and in the hours to come.

    Attributes:
        hourly: the newest figure of an hour, with the time at which the hour began.
        forecast: the hours to come; None: too little is known.
        source: who says it and what the figures include, for people.
    """

    hourly: Intensity
    forecast: IntensityForecast | None
    source: str


def outlook_of(
    series: IntensitySeries,
    hour: int,
    *,
    ahead: Mapping[int, EmissionFactor] | None = None,
    ahead_hour: int = 0,
    forecaster: Forecaster | None = None,
) -> ZoneOutlook | None:
    """What a series says of a zone; None: it has no figure of an hour.

    Args:
        series: of the zone.
        hour: the present hour, since 1970 UTC.
        ahead: what the feed forecasts, by hour.
        ahead_hour: the hour in which it said so.
        forecaster: makes what the feed does not forecast; None: `LearnedBlend`.
    """
    known = {at: each for at, each in series.points.items() if each.distinguishes_hours}
    newest = max((at for at in known if at <= hour), default=None)
    if newest is None:
        return None
    last = known[newest]
    coming = {at: each for at, each in (ahead or {}).items() if at > newest}
    if len([at for at in coming if at >= hour]) >= _FEWEST_HOURS_AHEAD and not series.problem:
        steps = {at: each.gco2_per_kwh for at, each in coming.items() if each.distinguishes_hours}
        issued = ahead_hour
    else:
        steps = _expected(known, newest, hour, forecaster or LearnedBlend())
        issued = newest
    if steps:  # with the present hour, so that a newer forecast leaves out none that is not over
        steps[newest] = last.gco2_per_kwh
    return ZoneOutlook(
        hourly=Intensity(
            gco2_per_kwh=last.gco2_per_kwh, origin=last.origin, observed_at=_start_of(newest)
        ),
        forecast=_forecast_of(steps, hour, issued),
        source=f"{last.source} ({last.boundary})",
    )


def _expected(
    known: Mapping[int, EmissionFactor], newest: int, hour: int, forecaster: Forecaster
) -> dict[int, float]:
    """The hours after the newest figure, made of the past."""
    if len(known) < _FEWEST_HOURS_KNOWN or hour - newest > _MAX_SILENT_HOURS:
        return {}
    oldest = max(min(known), newest - _MAX_HISTORY_HOURS + 1)
    figures = (known.get(at) for at in range(oldest, newest + 1))
    history: Floats = np.array([each.gco2_per_kwh if each else np.nan for each in figures])
    made = forecaster.forecast(history, hour - newest + FORECAST_HOURS).expected
    return {
        newest + 1 + ahead: round(float(grams), 1)
        for ahead, grams in enumerate(made)
        if np.isfinite(grams)
    }


def _forecast_of(steps: Mapping[int, float], hour: int, issued: int) -> IntensityForecast | None:
    coming = sorted(at for at in steps if issued <= at < hour + FORECAST_HOURS)
    if not any(at > hour for at in coming):
        return None
    return IntensityForecast(
        observed_at=_start_of(issued),
        origin="modelled",
        step_seconds=int(SECONDS_PER_HOUR),
        steps=tuple(ForecastStep(at=_start_of(at), gco2_per_kwh=steps[at]) for at in coming),
    )


def _start_of(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * SECONDS_PER_HOUR, UTC)
