"""Intensities that agents report with their sites, and the official factor behind them.

An agent does not say what its figure includes, so the boundary is `unstated`. A site without a grid
zone has no official factor: its intensity is unknown, and it is named.
"""

from scheduler.energy.factors.factor import EmissionFactor, FactorError, checked_gco2_per_kwh
from scheduler.energy.factors.official_china import official_factor
from scheduler.energy.intensity.series import hour_of
from scheduler.model.kinds.site import Intensity, Site


def reported_point(site: str, intensity: Intensity | None) -> tuple[int, EmissionFactor] | None:
    """The hour and the factor that an agent reports; None: none, or none with a date.

    Args:
        site: the site's name.
        intensity: as reported.
    """
    if intensity is None or intensity.gco2_per_kwh is None or intensity.observed_at is None:
        return None
    try:
        grams = checked_gco2_per_kwh(intensity.gco2_per_kwh, what=f"intensity of {site}")
    except FactorError:
        return None
    factor = EmissionFactor(gco2_per_kwh=grams, origin=intensity.origin, source=f"agent of {site}")
    return hour_of(intensity.observed_at), factor


def reported_problem(site: Site) -> str:
    """What is wrong with a site's own figures, by name; "": nothing."""
    name, intensity = site.metadata.name, site.status.intensity
    if intensity is not None and intensity.gco2_per_kwh is not None:
        try:
            checked_gco2_per_kwh(intensity.gco2_per_kwh, what=f"intensity of {name}")
        except FactorError as error:
            return str(error)
    if not site.spec.energy.grid_zone and intensity is None:
        return f"site {name} names no energy.gridZone and reports no intensity: it is unknown"
    return ""


def yearly_factor_of(site: Site, *, year: int) -> EmissionFactor | None:
    """The official factor of a site's grid zone; None: it has none, or none is published."""
    zone = site.spec.energy.grid_zone
    return official_factor(zone, year=year) if zone else None
