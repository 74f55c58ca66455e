"""The figures that apply to a site's energy: PUE, factors, price, water, the equipment's making."""

from collections.abc import Sequence
from datetime import UTC, datetime

from scheduler.energy.accounts.equipment import embodied_gco2e
from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.accounts.money import energy_price_in_hour
from scheduler.energy.coefficients import core_power_of
from scheduler.energy.factors.factor import EmissionFactor
from scheduler.energy.factors.official_china import residual_factor
from scheduler.energy.placement_power import Hardware
from scheduler.energy.site_supply import Figure, pue_of, wue_of
from scheduler.model.kinds.energy import EnergyMeasurement
from scheduler.model.kinds.site import Site, SiteEnergy
from scheduler.model.units import SECONDS_PER_HOUR


def energy_hour_of(
    site: Site,
    hour: int,
    *,
    location: EmissionFactor | None,
    reported_pue: Figure,
    inspected: Sequence[EnergyMeasurement] = (),
) -> EnergyHour:
    """A row without energy, with the figures of a site in an hour.

    Args:
        site: the site.
        hour: hours since 1970 UTC.
        location: the factor of its grid in this hour; None: unknown.
        reported_pue: what its agent says.
        inspected: what the authority had measured there.
    """
    energy, prices = site.spec.energy, site.spec.prices
    pue = pue_of(energy, reported_pue, inspected)
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
        wue_litres_per_kwh=wue_of(energy, inspected).value,
        embodied_grams=embodied_gco2e(
            energy.embodied_kilograms, energy.lifetime_years, SECONDS_PER_HOUR
        ),
    )


def hardware_of(energy: SiteEnergy) -> Hardware:
    """What is known of a site's machines, for the model of power."""
    points = sorted((each.busy_cores, each.watts) for each in energy.power_curve)
    return Hardware(core=core_power_of(energy.microarchitecture), curve=tuple(points))
