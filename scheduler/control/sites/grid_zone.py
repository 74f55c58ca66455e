"""What is known of the grid zone of a site, and what was said of it before.

Feeds and official factors say something of a zone; a site names its zone (`energy.gridZone`). What
was said and is not said any more counts for a week, so that no site looks better for a loss: as the
history of intensities, it is in memory only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from msgspec.structs import replace

from scheduler.energy.factors.official_china import official_factor
from scheduler.energy.zone_outlook import ZoneOutlook
from scheduler.model.demand.kept_forecast import ZoneIntensity, known_zone, last_forecast
from scheduler.model.kinds.site import Intensity, IntensityForecast, Site

KEPT_FOR = timedelta(days=7)
"""What is gone counts for as long as the history of intensities reaches back."""

OutlookOf = Callable[[str], ZoneOutlook | None]
"""What feeds say of a grid zone; None: nothing."""


def no_outlook(zone: str) -> ZoneOutlook | None:
    """Knows no zone: there is no feed."""
    del zone
    return None


@dataclass(slots=True)
class GridZoneMemory:
    """What one site's zone and forecasts said last.

    Attributes:
        intensity: what is known of its zone; None: nothing ever was.
        forecast: the forecast of its zone, where its spec has none; None: there is none.
        last_forecast: what its forecast said, with what an earlier one said of hours that it
            leaves out.
    """

    intensity: ZoneIntensity | None = None
    forecast: IntensityForecast | None = None
    last_forecast: IntensityForecast | None = None
    _is_last_own: bool = False
    _reported_at: datetime | None = None
    _named_at: datetime | None = None
    _seen: tuple[IntensityForecast | None, IntensityForecast | None] = (None, None)

    def note(
        self, site: Site, reported: Intensity | None, outlook_of: OutlookOf, now: datetime
    ) -> None:
        """Takes in what is said now.

        Args:
            site: the object; of it what operators say of its supply.
            reported: what its agent reports.
            outlook_of: what feeds say.
            now: the time.
        """
        zone = site.spec.energy.grid_zone
        outlook = outlook_of(zone) if zone else None
        self._note_intensity(zone, outlook, reported, now)
        self._note_forecast(site.spec.energy.forecast, outlook.forecast if outlook else None, now)

    def kept_forecast(self, now: datetime) -> IntensityForecast | None:
        """`last_forecast`, unless it was issued too long ago."""
        last = self.last_forecast
        return None if last is None or now - last.observed_at > KEPT_FOR else last

    def _note_intensity(
        self,
        zone: str,
        outlook: ZoneOutlook | None,
        reported: Intensity | None,
        now: datetime,
    ) -> None:
        yearly = _official(zone, now.year) if zone else None
        if outlook is None and yearly is None and self.intensity is None:
            return
        present = None
        if outlook is not None or yearly is not None:
            self._named_at = now
            present = ZoneIntensity(
                hourly=outlook.hourly if outlook else None,
                yearly_gco2_per_kwh=yearly[0] if yearly else None,
                source=outlook.source if outlook else yearly[1] if yearly else "",
            )
        if reported is not None and reported.gco2_per_kwh is not None:
            self._reported_at = now
        found = known_zone(present, self._kept_intensity(now), reported)
        if found != self.intensity:
            self.intensity = found

    def _kept_intensity(self, now: datetime) -> ZoneIntensity | None:
        """What was known, without what was said too long ago."""
        last = self.intensity
        if last is None or (self._named_at is not None and now - self._named_at > KEPT_FOR):
            return None
        if self._reported_at is not None and now - self._reported_at > KEPT_FOR:
            last = replace(last, reported_gco2_per_kwh=None)
        at = last.hourly.observed_at if last.hourly else None
        return replace(last, hourly=None) if at is not None and now - at > KEPT_FOR else last

    def _note_forecast(
        self, own: IntensityForecast | None, of_zone: IntensityForecast | None, now: datetime
    ) -> None:
        """The forecast of the zone counts where the site had none of its own in the last week."""
        had_own = self._is_last_own and self.kept_forecast(now) is not None
        counts_own = own is not None or had_own
        if self._seen[0] is own and self._seen[1] is of_zone and counts_own == self._is_last_own:
            return
        self._seen = (own, of_zone)
        before = self.last_forecast if counts_own == self._is_last_own else None
        self._is_last_own = counts_own
        self.forecast = None if counts_own else of_zone
        self.last_forecast = last_forecast(own if counts_own else of_zone, before)


@lru_cache(maxsize=256)
def _official(zone: str, year: int) -> tuple[float, str] | None:
    """The official factor of a zone and who published it."""
    found = official_factor(zone, year=year)
    return None if found is None else (found.gco2_per_kwh, f"{found.source} ({found.boundary})")
