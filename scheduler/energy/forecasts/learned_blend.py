"""The blend with shares that are learned from the past of the zone itself.

How much yesterday, the week and the last hours say about an hour differs by grid: one of wind
forgets within a day, one of sun repeats itself. So the shares are the ridge regression of what
happened on what was known when a forecast would have been made, for each few hours of distance, in
logarithms, as grids differ in level. With less than ten days of past it is the plain blend.

The range comes from how far the regression is off on those hours.
"""

import numpy as np
from numpy.typing import NDArray

from scheduler.energy.forecasts.blend import Blend, quantiles
from scheduler.energy.forecasts.hourly import (
    DAYS_PER_WEEK,
    HOURS_PER_DAY,
    HOURS_PER_WEEK,
    Floats,
    HourlyForecast,
    checked_history,
)

Hours = NDArray[np.int64]

_LEARNED_FROM_HOURS = 120 * HOURS_PER_DAY
_EVERY_HOURS = 5
"""Between two forecasts that are learned from; 5 and 24 have no divisor in common, so that they
are made at all hours of the day."""
_HOURS_PER_BAND = 4
_RIDGE = 5.0
_FEWEST_EXAMPLES = 12
_LAST_HOURS = 6
_LOWEST = 1e-3
"""A figure of 0 has no logarithm."""


class LearnedBlend:
    """Yesterday, the week and the last hours, with shares learned for each distance."""

    name = "learned-blend"

    def forecast(self, history: Floats, hours: int) -> HourlyForecast:
        """See `Forecaster`; without enough known hours it is the plain blend."""
        past = checked_history(history, hours)
        bands = -(-hours // _HOURS_PER_BAND)
        whole = bands * _HOURS_PER_BAND
        logs = np.log(np.maximum(past[-_LEARNED_FROM_HOURS - HOURS_PER_WEEK - whole :], _LOWEST))
        examples = np.arange(len(logs) - whole, HOURS_PER_WEEK - 1, -_EVERY_HOURS)
        if len(examples) < _FEWEST_EXAMPLES:
            return Blend().forecast(past, hours)
        week, known = _known_at(logs, np.array([*examples, len(logs)]), whole)
        happened = logs[examples[:, None] + np.arange(whole)] - week[:-1]
        shift, low, high = _regression(known, happened, bands)
        expected = np.exp(week[-1] + shift)[:hours]
        if np.isnan(expected).any():
            return Blend().forecast(past, hours)
        lowest, highest = expected * np.exp(low)[:hours], expected * np.exp(high)[:hours]
        return HourlyForecast(expected, lowest, highest, self.name)


def _known_at(logs: Floats, issued: Hours, hours: int) -> tuple[Floats, Floats]:
    """What is known when forecasts are made.

    Returns:
        The mean of each hour over the week before, [forecasts, hours], and what explains the
        difference from it, [forecasts, hours, explanations].
    """
    ahead = np.arange(hours) % HOURS_PER_DAY
    days = np.arange(1, DAYS_PER_WEEK + 1) * HOURS_PER_DAY
    back = logs[issued[None, :, None] - days[:, None, None] + ahead]  # [days, forecasts, hours]
    week = back.mean(axis=0)
    level = _mean_of_last(logs, issued, HOURS_PER_WEEK)
    of_days = (
        _mean_of_last(logs, issued, HOURS_PER_DAY) - level,
        _mean_of_last(logs, issued - HOURS_PER_DAY, HOURS_PER_DAY) - level,
    )
    of_hours = (_deviation(logs, issued, 1), _deviation(logs, issued, _LAST_HOURS))
    each_hour = np.broadcast_to(np.stack([*of_days, *of_hours])[:, :, None], (4, *week.shape))
    shapes = (back[0] - week, back[1] - week, back[-1] - week, level[:, None] - week)
    return week, np.stack([*shapes, *each_hour], axis=-1)


def _mean_of_last(logs: Floats, until: Hours, hours: int) -> Floats:
    mean: Floats = logs[until[:, None] - np.arange(1, hours + 1)].mean(axis=1)
    return mean


def _deviation(logs: Floats, until: Hours, hours: int) -> Floats:
    """How far the last hours are from the same hours of the days before."""
    before = [
        _mean_of_last(logs, until - day * HOURS_PER_DAY, hours) for day in range(1, DAYS_PER_WEEK)
    ]
    deviation: Floats = _mean_of_last(logs, until, hours) - np.mean(before, axis=0)
    return deviation


def _regression(known: Floats, happened: Floats, bands: int) -> tuple[Floats, Floats, Floats]:
    """The difference that the last row of `known` explains, and the range of errors around it.

    Hours that are unknown, or explained by unknown ones, teach nothing.
    """
    shift, low, high = (np.full(happened.shape[1], np.nan) for _ in range(3))
    usable = ~np.isnan(happened) & ~np.isnan(known[:-1]).any(axis=-1)
    for band in range(bands):
        part = slice(band * _HOURS_PER_BAND, (band + 1) * _HOURS_PER_BAND)
        rows = usable[:, part]
        if rows.sum() < _FEWEST_EXAMPLES:
            continue
        explained, figures = known[:-1, part][rows], happened[:, part][rows]
        normal = explained.T @ explained + _RIDGE * np.eye(explained.shape[1])
        shares = np.linalg.solve(normal, explained.T @ figures)
        shift[part] = known[-1, part] @ shares
        low[part], high[part] = quantiles((figures - explained @ shares)[:, None])
    return shift, low, high
