"""The carbon intensities that a site reported: a lower bound for one that is old or missing.

Kept in memory only: after a restart only the fall-back of the terms applies until reports come.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from scheduler.model.kinds.site import Intensity
from scheduler.model.units import SECONDS_PER_HOUR

_MAX_HOURS: Final = 168
_PERCENTILE: Final = 0.9


@dataclass(frozen=True, slots=True)
class IntensityHistory:
    """The highest carbon intensity of one site in each hour, for the last 168 hours with a report.

    A yearly factor says nothing about an hour, so it is not kept.
    """

    _highest_by_hour: dict[int, float] = field(default_factory=dict)

    def with_intensity(self, intensity: Intensity | None, seconds: float) -> "IntensityHistory":
        """The history with the intensity of one more report.

        Args:
            intensity: as reported; None: the report has none.
            seconds: monotonic time of the report.
        """
        if intensity is None or intensity.gco2_per_kwh is None or intensity.origin == "yearly":
            return self
        hour = int(seconds // SECONDS_PER_HOUR)
        highest = dict(self._highest_by_hour)
        highest[hour] = max(highest.get(hour, 0.0), intensity.gco2_per_kwh)
        if len(highest) > _MAX_HOURS:
            del highest[min(highest)]
        return IntensityHistory(highest)

    def p90(self) -> dict[str, float]:
        """The 90th percentile as `SiteFacts.p90` holds it; empty without history.

        By nearest rank and rounded up to whole grams, so that it rarely changes.
        """
        if not self._highest_by_hour:
            return {}
        ordered = sorted(self._highest_by_hour.values())
        rank = math.ceil(_PERCENTILE * len(ordered))
        return {"gco2PerKwh": float(math.ceil(ordered[rank - 1]))}
