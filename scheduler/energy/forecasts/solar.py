"""Solar power to come: what a clear sky would give, times how clear the last days were.

The clear sky is astronomy and needs no forecast. Clearness is the ratio of what a roof made to what
it would have made, over the daylight of the last days; a cloudy week is likely to go on. Ratios of
single hours near sunrise are noise, so sums are compared, not hours.
"""

import numpy as np

from scheduler.energy.forecasts.blend import quantiles
from scheduler.energy.forecasts.hourly import HOURS_PER_DAY, Floats, HourlyForecast, checked_history

_CLEARNESS_DAYS = 7
_FEWEST_DAYLIGHT_HOURS = 6
_LIGHT_SHARE = 0.05
"""Of the highest clear-sky power; hours with less are dusk."""
MAX_CLEARNESS = 1.3
"""Above a clear sky by reflecting clouds; more is a wrong rating or unit."""


def solar_forecast(made: Floats, clear_sky: Floats, clear_sky_ahead: Floats) -> HourlyForecast:
    """Power of the hours ahead, in the unit of the past.

    Args:
        made: what the site made in each hour of the past, the newest last; NaN: unknown.
        clear_sky: what it would have made under a clear sky, for the same hours.
        clear_sky_ahead: the same for the hours to come; [hours].

    Returns:
        The forecast; NaN where fewer than six hours of daylight of the last week are known. A night
        is 0 as soon as the clear sky says so.

    Raises:
        ValueError: rows differ in length or are no figures, or the site makes far more than a clear
            sky allows, so that units or ratings do not fit.
    """
    hours = len(clear_sky_ahead)
    past, ideal = checked_history(made, hours), checked_history(clear_sky, hours)
    ahead = checked_history(clear_sky_ahead, hours)
    if past.shape != ideal.shape:
        raise ValueError("solar power and clear sky are of different hours")
    recent = slice(-_CLEARNESS_DAYS * HOURS_PER_DAY, None)
    past, ideal = past[recent], ideal[recent]
    light = ~np.isnan(past) & (ideal > _LIGHT_SHARE * np.fmax.reduce(ideal, initial=0.0))
    if light.sum() < _FEWEST_DAYLIGHT_HOURS:
        unknown = np.where(ahead > 0, np.nan, 0.0)
        return HourlyForecast(unknown, unknown, unknown, "clear-sky")
    clearness = float(past[light].sum() / ideal[light].sum())
    if clearness > MAX_CLEARNESS:
        raise ValueError(
            f"solar power is {clearness:.1f} times that of a clear sky; check rating and unit"
        )
    low, high = (float(one[0]) for one in quantiles((past[light] / ideal[light])[:, None]))
    return HourlyForecast(ahead * clearness, ahead * low, ahead * high, "clear-sky")
