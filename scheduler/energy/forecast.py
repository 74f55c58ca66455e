"""Forecasts of carbon intensity: the mean over a run, and the starts worth trying.

A forecast is a step function with gaps. The mean over a run is known only if steps cover the whole
run; beyond the end of a forecast nothing is known. A forecast of yearly or assumed origin does not
distinguish hours, so it cannot show that a later start saves carbon.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from scheduler.model.kinds.site import HOURLY_ORIGINS, IntensityForecast

Floats = NDArray[np.float64]

_MAX_CACHED_PROFILES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class IntensityProfile:
    """A forecast as arrays.

    Attributes:
        starts: start of each step, in seconds since 1970, ascending; [steps].
        step_seconds: length of each step.
        gco2_per_kwh: intensity of each step; [steps].
        cumulative_sums: integral up to each step, in gCO2/kWh * s; [steps].
        issued_seconds: when the forecast was issued.
    """

    starts: Floats
    step_seconds: float
    gco2_per_kwh: Floats
    cumulative_sums: Floats
    issued_seconds: float

    def mean_gco2_per_kwh(self, starts: Floats, duration_seconds: float) -> Floats:
        """The mean intensity of runs; NaN where the steps do not cover the whole run.

        Args:
            starts: starts of the runs, in seconds since 1970; [runs].
            duration_seconds: length of each run, above 0.
        """
        ends = starts + duration_seconds
        covered = self._covered_seconds(ends) - self._covered_seconds(starts)
        whole = covered >= duration_seconds - _TOLERANCE_SECONDS
        mean = (self._integral_until(ends) - self._integral_until(starts)) / duration_seconds
        return np.where(whole, mean, np.nan)

    def covered_part(self, start: float, duration_seconds: float) -> tuple[float, float]:
        """What the steps add to the mean over a run, and the share of the run that they cover."""
        ends = np.array([start, start + duration_seconds])
        grams, covered = np.diff(self._integral_until(ends)), np.diff(self._covered_seconds(ends))
        return float(grams[0]) / duration_seconds, float(covered[0]) / duration_seconds

    def candidate_starts(self, first: float, last: float, duration_seconds: float) -> Floats:
        """Starts in (`first`, `last`] that include the best one.

        The mean over a sliding run is linear between the instants at which its start or end meets
        the edge of a step, so its minimum is at one of them or at the last start.
        """
        edges = np.concatenate([self.starts, self.starts + self.step_seconds])
        tried = np.unique(np.concatenate([edges, edges - duration_seconds, [last]]))
        return tried[(tried > first) & (tried <= last)]

    def _locate_step(self, times: Floats) -> tuple[NDArray[np.int64], Floats]:
        # The step that holds each time, and how far into it; -1 and 0 before the first step.
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
"""Seconds since 1970 are near 2^31, where sums of float64 are exact to less than a microsecond."""


@lru_cache(maxsize=_MAX_CACHED_PROFILES)
def intensity_profile_of(forecast: IntensityForecast) -> IntensityProfile | None:
    """The profile of a forecast; None if it cannot be used.

    Cached, because all sites of a grid zone have the same forecast. A forecast whose steps overlap
    contradicts itself and is not used.
    """
    starts = np.array([each.at.timestamp() for each in forecast.steps], np.float64)
    grams = np.array([each.gco2_per_kwh for each in forecast.steps], np.float64)
    step = float(forecast.step_seconds)
    usable = forecast.origin in HOURLY_ORIGINS and len(starts) and np.isfinite(grams).all()
    if not usable or (np.diff(starts) < step).any():
        return None
    sums = np.concatenate([[0.0], np.cumsum(grams[:-1] * step)])
    return IntensityProfile(starts, step, grams, sums, forecast.observed_at.timestamp())
