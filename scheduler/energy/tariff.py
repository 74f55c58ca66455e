"""The price of electricity by hour of the day (峰谷电价), and its mean over a run.

A site's `energyCnyPerKwh` is its highest price, and a tariff lists cheaper hours. The lowest price
given for an hour applies, so that a missing entry of a tariff never makes a site look cheaper.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.site import SitePrices, TariffHours

Floats = NDArray[np.float64]

_HOURS = 24
_HOUR_SECONDS = 3600.0
_DAY_SECONDS = _HOURS * _HOUR_SECONDS
_OFFSET_SECONDS = 8 * _HOUR_SECONDS
"""China Standard Time (UTC+8), used in all of China."""
_MAX_CACHED_TARIFFS = 4096
_SEARCH_DAYS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """The prices of a day as arrays.

    Attributes:
        cny_per_kwh: price by hour; [24].
        cumulative_sums: integral up to each hour, in CNY/kWh * s; [25].
    """

    cny_per_kwh: Floats
    cumulative_sums: Floats

    @property
    def daily_mean_cny_per_kwh(self) -> float:
        """The mean price of work that runs around the clock."""
        return float(self.cumulative_sums[-1] / _DAY_SECONDS)

    def mean_cny_per_kwh(self, starts: Floats, duration_seconds: float) -> Floats:
        """The mean price of runs, in CNY per kWh.

        Args:
            starts: starts of the runs, in seconds since 1970; [runs].
            duration_seconds: length of each run, above 0.
        """
        found: Floats = self._integral_until(starts + duration_seconds) - self._integral_until(
            starts
        )
        return found / duration_seconds

    def candidate_starts(self, first: float, last: float, duration_seconds: float) -> Floats:
        """Starts in (`first`, `last`] that include the best one of the next days."""
        changes = np.flatnonzero(self.cny_per_kwh != np.roll(self.cny_per_kwh, 1)) * _HOUR_SECONDS
        midnight = np.floor((first + _OFFSET_SECONDS) / _DAY_SECONDS) * _DAY_SECONDS
        days = np.arange(_SEARCH_DAYS + 1) * _DAY_SECONDS
        # Instants of the next days at which the price changes, in seconds since 1970.
        edges = (midnight - _OFFSET_SECONDS + days[:, None] + changes).ravel()
        into = duration_seconds % _DAY_SECONDS  # prices repeat every day
        tried = np.unique(np.concatenate([edges, edges - into, [last]]))
        return tried[(tried > first) & (tried <= last)]

    def _integral_until(self, times: Floats) -> Floats:
        days, into = np.divmod(times + _OFFSET_SECONDS, _DAY_SECONDS)
        hour = np.minimum((into // _HOUR_SECONDS).astype(np.int64), _HOURS - 1)
        within = self.cny_per_kwh[hour] * (into - hour * _HOUR_SECONDS)
        summed: Floats = days * self.cumulative_sums[-1] + self.cumulative_sums[hour] + within
        return summed


@lru_cache(maxsize=_MAX_CACHED_TARIFFS)
def tariff_of(prices: SitePrices) -> Tariff | None:
    """A site's tariff; None: it has none, or its highest price is unknown."""
    highest = prices.energy_cny_per_kwh
    if not prices.tariff or highest is None or not np.isfinite(highest):
        return None
    hours = np.full(_HOURS, highest)
    for each in prices.tariff:
        if np.isfinite(each.energy_cny_per_kwh):
            covered = _covered_hours(each)
            hours[covered] = np.minimum(hours[covered], each.energy_cny_per_kwh)
    sums = np.concatenate([[0.0], np.cumsum(hours * _HOUR_SECONDS)])
    return Tariff(hours, sums)


def mean_energy_cny_per_kwh(prices: SitePrices) -> float | None:
    """The mean price in CNY per kWh of work that runs around the clock; None: unknown."""
    tariff = tariff_of(prices) if prices.tariff else None
    return prices.energy_cny_per_kwh if tariff is None else tariff.daily_mean_cny_per_kwh


def _covered_hours(hours: TariffHours) -> list[int]:
    end = hours.to_hour if hours.to_hour > hours.from_hour else hours.to_hour + _HOURS
    return [hour % _HOURS for hour in range(hours.from_hour, end)]
