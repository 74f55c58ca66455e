"""What a site's own figures used to be: what an old or missing one is reckoned at, at the least.

Kept in memory only: after a restart the fall-back of the terms stands alone until figures come in.
"""

import math
from dataclasses import dataclass, field
from typing import Final

from scheduler.model.kinds.site import Intensity
from scheduler.model.units import SECONDS_PER_HOUR

_MAX_HOURS: Final = 168
_PERCENTILE: Final = 0.9


@dataclass(slots=True)
class IntensityHistory:
    """The carbon intensity of one site: the highest of each hour, for a week of such hours.

    A yearly factor is no history, and not kept.
    """

    _highest_by_hour: dict[int, float] = field(default_factory=dict)

    def record(self, intensity: Intensity | None, seconds: float) -> None:
        """A report brought this figure.

        Args:
            intensity: what was reported; None: nothing.
            seconds: monotonic, at which it came.
        """
        if intensity is None or intensity.gco2_per_kwh is None or intensity.origin == "yearly":
            return
        hour = int(seconds // SECONDS_PER_HOUR)
        self._highest_by_hour[hour] = max(
            self._highest_by_hour.get(hour, 0.0), intensity.gco2_per_kwh
        )
        if len(self._highest_by_hour) > _MAX_HOURS:
            del self._highest_by_hour[min(self._highest_by_hour)]

    def p90(self) -> dict[str, float]:
        """The 90th percentile by figure, as `SiteFacts.p90` wants it; empty without history.

        By nearest rank, in whole grams, so that it hardly ever changes.
        """
        if not self._highest_by_hour:
            return {}
        ordered = sorted(self._highest_by_hour.values())
        rank = math.ceil(_PERCENTILE * len(ordered))
        return {"gco2PerKwh": float(math.ceil(ordered[rank - 1]))}
