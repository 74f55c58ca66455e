"""How good a forecaster was: forecasts from each part of a series, compared with what followed.

Only hours before a forecast are shown to it. The gain is what matters to work that can wait: how
much of the saving of the best window was had by starting where the forecast is lowest.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scheduler.energy.forecasts.hourly import HOURS_PER_DAY, Floats, Forecaster

_DAYS = 2


@dataclass(frozen=True, slots=True)
class ForecastErrors:
    """Errors of one forecaster on one series.

    Attributes:
        mean_percentage_errors: mean of error over figure (MAPE), of the first and second day.
        relative_errors: sum of errors over sum of figures, of the first and second day.
        inside_range_share: hours within the low and high quantile, of those with a range.
        perfect_gain: what starting in the best window of the first day saves against starting at
            once, as the mean of all forecasts, in the unit of the series.
        gain: what starting in the window saves that the forecast says is best.
    """

    mean_percentage_errors: tuple[float, ...]
    relative_errors: tuple[float, ...]
    inside_range_share: float
    perfect_gain: float
    gain: float


def backtest(
    forecaster: Forecaster, series: Floats, issued: Sequence[int], *, window_hours: int = 4
) -> ForecastErrors:
    """The errors of forecasts of two days, made at hours of a series without gaps.

    Args:
        forecaster: what is measured.
        series: one figure above 0 for each hour.
        issued: the first hour of each forecast; two days and a window must follow.
        window_hours: how long the work runs that could start later.

    Raises:
        ValueError: no forecast is asked for, or a series ends before one.
    """
    hours = _DAYS * HOURS_PER_DAY
    if not issued or max(issued) + hours > len(series):
        raise ValueError("a backtest needs forecasts, and two days of figures after each")
    made = [forecaster.forecast(series[:at], hours) for at in issued]
    expected = np.array([one.expected for one in made])
    low, high = (np.array([getattr(one, name) for one in made]) for name in ("low", "high"))
    real = np.array([series[at : at + hours] for at in issued])
    ranged = ~np.isnan(low)
    inside = ((real >= low) & (real <= high))[ranged]
    perfect, gained = _gains(expected, real, window_hours)
    days = [slice(day * HOURS_PER_DAY, (day + 1) * HOURS_PER_DAY) for day in range(_DAYS)]
    off = np.abs(expected - real)
    return ForecastErrors(
        mean_percentage_errors=tuple(float((off[:, d] / real[:, d]).mean()) for d in days),
        relative_errors=tuple(float(off[:, d].sum() / real[:, d].sum()) for d in days),
        inside_range_share=float(inside.mean()) if inside.size else float("nan"),
        perfect_gain=float(perfect.mean()),
        gain=float(gained.mean()),
    )


def _gains(expected: Floats, real: Floats, window_hours: int) -> tuple[Floats, Floats]:
    """Of the best start within a day, and of the one that the forecast prefers; [forecasts]."""
    until = HOURS_PER_DAY + window_hours - 1
    means = [
        np.lib.stride_tricks.sliding_window_view(rows[:, :until], window_hours, axis=1).mean(axis=2)
        for rows in (expected, real)
    ]
    chosen = means[0].argmin(axis=1)
    at_once, best = means[1][:, 0], means[1].min(axis=1)
    return at_once - best, at_once - means[1][np.arange(len(real)), chosen]
