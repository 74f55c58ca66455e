"""The figures of a site: the numbers that `Fleet.figure` holds as arrays; NaN is unknown."""

from math import isfinite, nan
from typing import Final

from scheduler.energy.power import pv_surplus_watts
from scheduler.energy.tariff import mean_energy_cny_per_kwh
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.kept_forecast import counted_zone, is_hourly
from scheduler.model.kinds.fields import Instant

FIGURES: Final = (
    "observed_at",
    "silent_since",
    "energy_cny_per_kwh",
    "core_cny_per_hour",
    "pue",
    "gco2_per_kwh",
    "gco2_observed_at",
    "gco2_p90",
    "energy_p90",
    "pv_surplus_watts",
    "power_observed_at",
    "zone_gco2_per_kwh",
    "zone_observed_at",
    "zone_otherwise_gco2_per_kwh",
)
"""The names of the figures, with their units; `…_at` and `…_since` are in seconds since 1970."""
FIRST_COST_FIGURE: Final = 2
"""The index of the first figure that enters costs; those before it only say how old a report is."""


def figures_of(facts: SiteFacts) -> tuple[float, ...]:
    """The figures of a site, in the order of `FIGURES`."""
    spec, status = facts.spec, facts.status
    intensity, power = status.intensity, status.power
    zone = facts.zone_intensity
    counted = counted_zone(zone, intensity, facts.p90.get("gco2PerKwh"))
    intensity_at = (intensity.observed_at or status.observed_at) if intensity else None
    if zone is not None and zone.hourly is not None and not is_hourly(intensity):
        intensity_at = None  # the feed's figure of the hour comes before it
    return (
        epoch_seconds(status.observed_at),
        epoch_seconds(facts.silent_since),
        _finite_or_nan(mean_energy_cny_per_kwh(spec.prices)),
        _finite_or_nan(spec.prices.core_cny_per_hour),
        _finite_or_nan(spec.energy.pue),
        _finite_or_nan(intensity.gco2_per_kwh if intensity else None),
        epoch_seconds(intensity_at),
        _finite_or_nan(facts.p90.get("gco2PerKwh")),
        _finite_or_nan(facts.p90.get("energyCnyPerKwh")),
        _finite_or_nan(pv_surplus_watts(power, spec.energy.pue)),
        epoch_seconds((power.observed_at or status.observed_at) if power else None),
        *counted,
    )


def epoch_seconds(instant: Instant | None, default: float = nan) -> float:
    """An instant in seconds since 1970; `default` for None."""
    return default if instant is None else instant.timestamp()


def _finite_or_nan(value: float | None) -> float:
    """A figure; NaN where it is missing or not finite."""
    return value if value is not None and isfinite(value) else nan
