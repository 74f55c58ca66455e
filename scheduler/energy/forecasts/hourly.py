"""What a forecaster is: hours of the past in, hours to come with a likely range out.

An hour of the past that is not known is NaN, and stays unknown: no forecaster puts a number in its
place without other hours to take it from, and where it has none the forecast is NaN.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOURS_PER_DAY = 24
DAYS_PER_WEEK = 7
HOURS_PER_WEEK = HOURS_PER_DAY * DAYS_PER_WEEK
MAX_HISTORY_HOURS = 2 * 366 * HOURS_PER_DAY
MAX_FORECAST_HOURS = HOURS_PER_WEEK
LOW_QUANTILE, HIGH_QUANTILE = 0.1, 0.9


@dataclass(frozen=True, slots=True, eq=False)
class HourlyForecast:
    """Hours to come, in the unit of the past; the first one follows the last hour of the past.

    Attributes:
        expected: the median; NaN where nothing is known; [hours].
        low: what one of ten hours stays below; NaN without enough past; [hours].
        high: what one of ten hours exceeds; NaN without enough past; [hours].
        forecaster: its name.
    """

    expected: Floats
    low: Floats
    high: Floats
    forecaster: str


class Forecaster(Protocol):
    """Makes a forecast of one series from its own past.

    Attributes:
        name: what a forecast says it is made by.
    """

    name: str

    def forecast(self, history: Floats, hours: int) -> HourlyForecast:
        """The hours after the last of the history.

        Args:
            history: one figure for each hour, 0 or more, the newest last; NaN: unknown; [hours].
            hours: how many are asked for.

        Raises:
            ValueError: the history or the number of hours is out of range.
        """
        ...


def checked_history(history: Floats, hours: int) -> Floats:
    """The history as floats, if it can be the past of a series.

    Raises:
        ValueError: it is too long or no row of figures, holds one below 0 or an infinite one, or
            asks for no hour or too many.
    """
    taken = np.asarray(history, np.float64)
    if taken.ndim != 1 or len(taken) > MAX_HISTORY_HOURS:
        raise ValueError(f"a history is one row of at most {MAX_HISTORY_HOURS} hours")
    if not 1 <= hours <= MAX_FORECAST_HOURS:
        raise ValueError(f"a forecast of {hours} hours: write 1 to {MAX_FORECAST_HOURS}")
    if np.isinf(taken).any() or (taken < 0).any():
        raise ValueError("a history has a figure below 0 or an infinite one; NaN is unknown")
    return taken


def unknown_hours(hours: int, forecaster: str) -> HourlyForecast:
    """A forecast that says nothing, as nothing is known."""
    unknown = np.full(hours, np.nan)
    return HourlyForecast(unknown, unknown, unknown, forecaster)
