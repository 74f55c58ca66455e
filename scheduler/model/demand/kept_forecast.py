"""What was last said of a site's carbon: by forecasts, by its grid zone, and by itself.

No site may look better because a figure of it is lost or old. So the last forecast that could be
used, and the last intensities, are kept beside the facts and recorded with them: a figure that
stands in for a better one counts as no less.

A feed says what the hour emits, an official factor what the year does. They count where the site
reports nothing better.
"""

from math import isfinite, nan
from typing import Final, NamedTuple

from msgspec.structs import replace

from scheduler.model.kinds.fields import Instant, NotNegative, Part, ShortText
from scheduler.model.kinds.site import HOURLY_ORIGINS, Intensity, IntensityForecast

_MAX_STEPS: Final = 200
"""As many steps as an `IntensityForecast` may hold."""


class KeptForecast(Part, frozen=True, kw_only=True):
    """The last forecast of a site that could be used.

    Facts without one were recorded before forecasts were kept, or are of a site that never had a
    forecast: then the present intensity alone counts where no forecast does.
    """

    forecast: IntensityForecast | None = None
    """The forecast; None: that of the spec, whole."""


def last_forecast(
    present: IntensityForecast | None, before: IntensityForecast | None
) -> IntensityForecast | None:
    """The present forecast, with the steps that an earlier one had and this one leaves out.

    Args:
        present: the forecast of the spec.
        before: what was kept until now.

    Returns:
        `present` itself if it leaves nothing out, `before` if `present` cannot be used; None if
        there never was one that can. Steps that ended before `present` was issued are past. Steps
        of another length are another forecast, and are not mixed.
    """
    if present is None or present.origin not in HOURLY_ORIGINS or not present.steps:
        return before
    if before is None or before == present or before.step_seconds != present.step_seconds:
        return present
    length = present.step_seconds
    begun = present.observed_at.timestamp() - length
    taken = [each.at.timestamp() for each in present.steps]
    # A step of `before` overlaps one of `present` that begins less than a step's length from it.
    left_out = [
        step
        for step in before.steps
        if step.at.timestamp() > begun
        and all(abs(step.at.timestamp() - other) >= length for other in taken)
    ]
    if not left_out:
        return present
    steps = sorted((*present.steps, *left_out), key=lambda each: each.at)
    return replace(present, steps=tuple(steps[:_MAX_STEPS]))


def kept_forecast(
    present: IntensityForecast | None, before: IntensityForecast | None
) -> KeptForecast | None:
    """What the facts of a site hold of its forecasts; None: it never had one that can be used.

    Args:
        present: the forecast of the spec.
        before: what was kept until now.
    """
    last = last_forecast(present, before)
    if last is None:
        return None
    return KeptForecast() if last is present else KeptForecast(forecast=last)


class ZoneIntensity(Part, frozen=True, kw_only=True):
    """The intensity of the grid zone of a site; recorded with its facts."""

    hourly: Intensity | None = None
    """What a feed said last of an hour, with the time of that hour."""
    yearly_gco2_per_kwh: NotNegative | None = None
    """The official factor of the zone."""
    reported_gco2_per_kwh: NotNegative | None = None
    """What the site itself reported last, whether it still does or not."""
    source: ShortText = ""
    """Who says it, and what the figures include; for people."""


def known_zone(
    present: ZoneIntensity | None, before: ZoneIntensity | None, reported: Intensity | None
) -> ZoneIntensity | None:
    """What is known of a zone, with what was said before and is not said any more.

    Args:
        present: what feed and official factor say now; None: nothing.
        before: what was known until now.
        reported: what the site reports now; None: nothing.
    """
    if present is None and before is None:
        return None
    now, last = present or ZoneIntensity(), before or ZoneIntensity()
    yearly = now.yearly_gco2_per_kwh
    own = None if reported is None else reported.gco2_per_kwh
    return ZoneIntensity(
        hourly=now.hourly or last.hourly,
        yearly_gco2_per_kwh=last.yearly_gco2_per_kwh if yearly is None else yearly,
        reported_gco2_per_kwh=last.reported_gco2_per_kwh if own is None else own,
        source=now.source or last.source,
    )


class CountedZone(NamedTuple):
    """How a zone counts beside what the site reports; in g/kWh, NaN is unknown.

    Attributes:
        hourly: the feed's figure while it is fresh, no less than what it stands in for.
        hourly_at: the time of the feed's figure, in seconds since 1970.
        otherwise: what counts while neither the site's figure nor the feed's is fresh.
    """

    hourly: float = nan
    hourly_at: float = nan
    otherwise: float = nan


NO_ZONE = CountedZone()


def counted_zone(
    zone: ZoneIntensity | None, reported: Intensity | None, p90: float | None
) -> CountedZone:
    """How the zone of a site counts.

    Args:
        zone: what is known of it; None: nothing.
        reported: what the site reports.
        p90: the 90th percentile of what it reported in a week.
    """
    if zone is None:
        return NO_ZONE
    own = least = _figure(reported)
    is_yearly = reported is not None and reported.origin == "yearly" and isfinite(own)
    if is_yearly:
        least = nan  # a yearly factor is no better than the feed's figure of the hour
    elif not isfinite(own):
        least = _number(zone.reported_gco2_per_kwh)
    hourly = _figure(zone.hourly)
    yearly = own if is_yearly else _number(zone.yearly_gco2_per_kwh)
    return CountedZone(
        hourly=_largest(hourly, least) if isfinite(hourly) else nan,
        hourly_at=_seconds(zone.hourly.observed_at if zone.hourly else None),
        otherwise=_largest(yearly, hourly, least, _number(p90)) if isfinite(yearly) else nan,
    )


def is_hourly(intensity: Intensity | None) -> bool:
    """Whether an intensity is a figure of the hour, not a yearly factor or none at all."""
    is_known = intensity is not None and intensity.gco2_per_kwh is not None
    return is_known and has_hourly_origin(intensity)


def has_hourly_origin(intensity: Intensity | None) -> bool:
    """Whether an intensity is said to be that of the hour, known or not."""
    return intensity is not None and intensity.origin in HOURLY_ORIGINS


def counts_by_hour(zone: ZoneIntensity | None, reported: Intensity | None) -> bool:
    """Whether a site has a figure of the hour, its own or a feed's."""
    if zone is None:
        return has_hourly_origin(reported)
    return zone.hourly is not None or is_hourly(reported)


def counts_by_year(zone: ZoneIntensity | None, reported: Intensity | None) -> bool:
    """Whether the intensity of a site is a yearly factor, its own or the official one."""
    if zone is None or (reported is not None and reported.gco2_per_kwh is not None):
        says_year = reported is not None and reported.origin == "yearly"
        return says_year and (zone is None or zone.hourly is None)
    return zone.hourly is None and zone.yearly_gco2_per_kwh is not None


def _figure(intensity: Intensity | None) -> float:
    return nan if intensity is None else _number(intensity.gco2_per_kwh)


def _number(value: float | None) -> float:
    return value if value is not None and isfinite(value) else nan


def _seconds(at: Instant | None) -> float:
    return nan if at is None else at.timestamp()


def _largest(*figures: float) -> float:
    """The largest of the figures that are known; one is."""
    return max(one for one in figures if isfinite(one))
