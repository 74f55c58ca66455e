"""The same hour of yesterday, blended with the mean of that hour over a week.

Yesterday knows the weather, the week knows the shape of a day. The second day ahead is farther from
yesterday, so yesterday counts less there. How far such forecasts were off in the weeks before is
the range: the quantiles of forecast and figure, as ratios, at the same distance.
"""

import numpy as np

from scheduler.energy.forecasts.hourly import (
    DAYS_PER_WEEK,
    HIGH_QUANTILE,
    HOURS_PER_DAY,
    HOURS_PER_WEEK,
    LOW_QUANTILE,
    Floats,
    HourlyForecast,
    checked_history,
    unknown_hours,
)

_YESTERDAY_SHARES = (0.6, 0.4)
"""On the first day and later."""
_FEWEST_RESIDUALS = 5
_MOST_RESIDUAL_DAYS = 28


class Blend:
    """Yesterday and the week, with the range of its own errors."""

    name = "blend"

    def forecast(self, history: Floats, hours: int) -> HourlyForecast:
        """See `Forecaster`; nothing is expected of an hour that no day of the week knows."""
        past = checked_history(history, hours)
        if len(past) < HOURS_PER_DAY:
            return unknown_hours(hours, self.name)
        expected = _blend(past, hours)
        low, high = _ratio_quantiles(past, hours)
        return HourlyForecast(expected, expected * low, expected * high, self.name)


def _blend(past: Floats, hours: int) -> Floats:
    days = last_days(past)
    yesterday, known = days[-1], ~np.isnan(days)
    counts = known.sum(axis=0)
    sums = np.where(known, days, 0.0).sum(axis=0)
    week = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    yesterday = np.where(np.isnan(yesterday), week, yesterday)
    ahead = np.arange(hours)
    hour = ahead % HOURS_PER_DAY
    share = np.where(ahead < HOURS_PER_DAY, *_YESTERDAY_SHARES)
    blended: Floats = share * yesterday[hour] + (1 - share) * week[hour]
    return blended


def last_days(past: Floats) -> Floats:
    """The last seven days, or as many whole ones as there are; [days, 24], the newest last."""
    count = min(DAYS_PER_WEEK, len(past) // HOURS_PER_DAY)
    return past[len(past) - count * HOURS_PER_DAY :].reshape(count, HOURS_PER_DAY)


def _ratio_quantiles(past: Floats, hours: int) -> tuple[Floats, Floats]:
    """Figure over forecast of the forecasts made a day apart, low and high; NaN: too few."""
    ratios = [
        past[issued : issued + hours] / _positive(_blend(past[:issued], hours))
        for issued in range(len(past) - hours, HOURS_PER_WEEK - 1, -HOURS_PER_DAY)
    ][:_MOST_RESIDUAL_DAYS]
    if len(ratios) < _FEWEST_RESIDUALS:
        unknown = np.full(hours, np.nan)
        return unknown, unknown
    return quantiles(np.array(ratios))


def quantiles(rows: Floats) -> tuple[Floats, Floats]:
    """Low and high quantile of each column; NaN where it has too few figures; [rows, columns]."""
    unknown = np.isnan(rows)
    known = (~unknown).sum(axis=0) >= _FEWEST_RESIDUALS
    filled = np.where(known, rows, 0.0)
    # np.nanquantile goes column by column, which is slow where nothing is missing
    of_columns = np.nanquantile if unknown.any() else np.quantile
    low, high = of_columns(filled, (LOW_QUANTILE, HIGH_QUANTILE), axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)


def _positive(figures: Floats) -> Floats:
    return np.where(figures > 0, figures, np.nan)
