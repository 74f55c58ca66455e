"""When to run: what a grid is expected to emit while a piece of work runs.

A forecast is a step function with gaps. The mean over a run is known only where steps cover all of
it: nothing is claimed beyond the end of a forecast. A forecast of yearly or assumed origin says the
same of every hour or nothing at all, so no saving by time follows from it.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.site import IntensityForecast

Floats = NDArray[np.float64]

HOURLY_ORIGINS: frozenset[Origin] = frozenset({"measured", "estimated", "modelled"})
"""Origins of figures that follow the hours."""

_MAX_CACHED_PROFILES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class IntensityProfile:
    """A forecast, ready to be asked.

    Attributes:
        starts: when each step begins, in seconds since 1970, ascending.
        step_seconds: how long each holds.
        gco2_per_kwh: by step.
        cumulative_sums: gCO2/kWh * seconds before each step.
        issued_seconds: when the forecast was issued.
    """

    starts: Floats
    step_seconds: float
    gco2_per_kwh: Floats
    cumulative_sums: Floats
    issued_seconds: float

    def mean_gco2_per_kwh(self, starts: Floats, duration_seconds: float) -> Floats:
        """Mean intensity of runs that begin at `starts`; NaN where not all of a run is covered.

        Args:
            starts: seconds since 1970.
            duration_seconds: of a run, above 0.
        """
        ends = starts + duration_seconds
        covered = self._covered_seconds(ends) - self._covered_seconds(starts)
        whole = covered >= duration_seconds - _TOLERANCE_SECONDS
        mean = (self._integral_until(ends) - self._integral_until(starts)) / duration_seconds
        return np.where(whole, mean, np.nan)

    def candidate_starts(self, first: float, last: float, duration_seconds: float) -> Floats:
        """Starts after `first`, up to `last`, among which the best one is.

        The mean over a sliding run is linear between the moments at which its start or its end
        meets an edge of a step, so its least value is at one of them, or at the last start.
        """
        edges = np.concatenate([self.starts, self.starts + self.step_seconds])
        tried = np.unique(np.concatenate([edges, edges - duration_seconds, [last]]))
        return tried[(tried > first) & (tried <= last)]

    def _locate_step(self, times: Floats) -> tuple[NDArray[np.int64], Floats]:
        step = np.searchsorted(self.starts, times, side="right") - 1
        into = np.clip(times - self.starts[np.maximum(step, 0)], 0.0, self.step_seconds)
        return step, np.where(step < 0, 0.0, into)

    def _covered_seconds(self, times: Floats) -> Floats:
        step, into = self._locate_step(times)
        covered: Floats = np.maximum(step, 0) * self.step_seconds + into
        return covered

    def _integral_until(self, times: Floats) -> Floats:
        step, into = self._locate_step(times)
        at = np.maximum(step, 0)
        summed: Floats = self.cumulative_sums[at] + self.gco2_per_kwh[at] * into
        return summed


_TOLERANCE_SECONDS = 1e-3


@lru_cache(maxsize=_MAX_CACHED_PROFILES)
def intensity_profile_of(forecast: IntensityForecast) -> IntensityProfile | None:
    """A forecast ready to be asked; None: nothing can be claimed by it.

    Remembered, as all sites of a grid zone bring the same one. Steps that overlap contradict each
    other, and then none counts.
    """
    starts = np.array([each.at.timestamp() for each in forecast.steps], np.float64)
    grams = np.array([each.gco2_per_kwh for each in forecast.steps], np.float64)
    step = float(forecast.step_seconds)
    usable = forecast.origin in HOURLY_ORIGINS and len(starts) and np.isfinite(grams).all()
    if not usable or (np.diff(starts) < step).any():
        return None
    sums = np.concatenate([[0.0], np.cumsum(grams[:-1] * step)])
    return IntensityProfile(starts, step, grams, sums, forecast.observed_at.timestamp())
