"""What electricity costs by the hour of the day (峰谷电价), and on average over a run.

A site's `energyCnyPerKwh` is its highest price, and a tariff names the cheaper hours. An hour costs
the least that is said of it, so that losing a part of a tariff never makes a site look cheaper.
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
"""China Standard Time, kept in all of China."""
_MAX_CACHED_TARIFFS = 4096
_SEARCH_DAYS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Tariff:
    """The prices of a day, ready to be asked.

    Attributes:
        cny_per_kwh: by hour; [24].
        cumulative_sums: CNY/kWh * seconds before each hour; [25].
    """

    cny_per_kwh: Floats
    cumulative_sums: Floats

    @property
    def daily_mean_cny_per_kwh(self) -> float:
        """CNY per kWh of what runs around the clock."""
        return float(self.cumulative_sums[-1] / _DAY_SECONDS)

    def mean_cny_per_kwh(self, starts: Floats, duration_seconds: float) -> Floats:
        """CNY per kWh of runs that begin at `starts`.

        Args:
            starts: seconds since 1970.
            duration_seconds: of a run, above 0.
        """
        found: Floats = self._integral_until(starts + duration_seconds) - self._integral_until(
            starts
        )
        return found / duration_seconds

    def candidate_starts(self, first: float, last: float, duration_seconds: float) -> Floats:
        """Starts after `first`, up to `last`, among which the best one of the next days is."""
        changes = np.flatnonzero(self.cny_per_kwh != np.roll(self.cny_per_kwh, 1)) * _HOUR_SECONDS
        midnight = np.floor((first + _OFFSET_SECONDS) / _DAY_SECONDS) * _DAY_SECONDS
        days = np.arange(_SEARCH_DAYS + 1) * _DAY_SECONDS
        edges = (midnight - _OFFSET_SECONDS + days[:, None] + changes).ravel()
        into = duration_seconds % _DAY_SECONDS
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
    """A site's tariff ready to be asked; None: it has none, or the highest price is not known."""
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
    """CNY per kWh of what runs around the clock; None: unknown."""
    tariff = tariff_of(prices) if prices.tariff else None
    return prices.energy_cny_per_kwh if tariff is None else tariff.daily_mean_cny_per_kwh


def _covered_hours(hours: TariffHours) -> list[int]:
    end = hours.to_hour if hours.to_hour > hours.from_hour else hours.to_hour + _HOURS
    return [hour % _HOURS for hour in range(hours.from_hour, end)]
