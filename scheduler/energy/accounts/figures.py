"""The figures that apply to a site's energy: PUE, factors, price, water, the equipment's making.

Measured comes before declared: first what others measured at the site, then what its agent
measures, then what operators declare. A PUE below 1 cannot be, whoever says so, and is unknown.
"""

from datetime import UTC, datetime
from typing import NamedTuple

from scheduler.energy.accounts.equipment import embodied_gco2e
from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.money import energy_price_in_hour
from scheduler.energy.coefficients import core_power_of
from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.factors.official_china import residual_factor
from scheduler.energy.placement_power import Hardware
from scheduler.model.kinds.energy import EnergyMeasure
from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.site import Site, SiteEnergy
from scheduler.model.units import SECONDS_PER_HOUR

HIGHEST_PUE = 10.0


class Figure(NamedTuple):
    """A value, how it was obtained, and by whom.

    Attributes:
        value: None: unknown.
        origin: how it was obtained.
        by: who measured it; "": it is declared.
    """

    value: float | None
    origin: Origin = "unknown"
    by: str = ""


def measured(energy: SiteEnergy, measure: EnergyMeasure) -> Figure:
    """The newest measurement of others; a value of None without one."""
    found = [each for each in energy.measurements if each.measure == measure]
    if not found:
        return Figure(None)
    newest = max(found, key=lambda each: each.observed_at)
    return Figure(newest.value, "measured", newest.measured_by)


def pue_of(energy: SiteEnergy, reported: Figure = Figure(None)) -> Figure:  # noqa: B008 - immutable
    """The PUE that counts.

    Args:
        energy: the site's supply.
        reported: what its agent says.
    """
    candidates = (
        measured(energy, "pue"),
        reported if reported.origin == "measured" else Figure(None),
        Figure(energy.pue, energy.pue_origin),
        reported,
    )
    return next((each for each in candidates if _is_pue(each.value)), Figure(None))


def wue_of(energy: SiteEnergy) -> Figure:
    """The WUE that counts, in litres per kWh."""
    found = measured(energy, "wue")
    if found.value is not None:
        return found
    declared = energy.wue_litres_per_kwh
    return Figure(declared, "assumed" if declared is not None else "unknown")


def renewable_share_of(energy: SiteEnergy) -> Figure:
    """The renewable share that counts: measured, or declared with evidence; else unknown."""
    found = measured(energy, "renewable-share")
    if found.value is not None:
        return found
    if energy.green_share is None or not energy.green_evidence.strip():
        return Figure(None)
    return Figure(energy.green_share, "estimated", energy.green_evidence.strip())


def energy_hour_of(
    site: Site, hour: int, *, location: EmissionFactor | None, reported_pue: Figure
) -> EnergyHour:
    """A row without energy, with the figures of a site in an hour.

    Args:
        site: the site.
        hour: hours since 1970 UTC.
        location: the factor of its grid in this hour; None: unknown.
        reported_pue: what its agent says.
    """
    energy, prices = site.spec.energy, site.spec.prices
    pue = pue_of(energy, reported_pue)
    year = datetime.fromtimestamp(hour * SECONDS_PER_HOUR, UTC).year
    return EnergyHour(
        site=site.metadata.name,
        hour=hour,
        pue=pue.value,
        pue_origin=pue.origin,
        location=location,
        green_share=energy.green_share,
        green_evidence=energy.green_evidence,
        residual=residual_factor(energy.grid_zone, year=year) if energy.grid_zone else None,
        energy_cny_per_kwh=energy_price_in_hour(prices, hour),
        peak_cny_per_kilowatt_month=prices.peak_cny_per_kilowatt_month,
        wue_litres_per_kwh=wue_of(energy).value,
        embodied_gco2e=embodied_gco2e(
            energy.embodied_kgco2e, energy.lifetime_years, SECONDS_PER_HOUR
        ),
    )


def hardware_of(energy: SiteEnergy) -> Hardware:
    """What is known of a site's machines, for the model of power."""
    points = sorted((each.busy_cores, each.watts) for each in energy.power_curve)
    return Hardware(core=core_power_of(energy.microarchitecture), curve=tuple(points))


def _is_pue(value: float | None) -> bool:
    return value is not None and 1 <= value <= HIGHEST_PUE
