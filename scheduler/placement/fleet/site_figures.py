"""The figures of one site: numbers that decisions compare for all sites at once; NaN is unknown."""

from math import isfinite, nan
from typing import Final

from scheduler.energy.power import pv_surplus_watts
from scheduler.energy.tariff import mean_energy_cny_per_kwh
from scheduler.model.demand.facts import SiteFacts
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
)
"""Their names; instants are in seconds since 1970."""
FIRST_PRICED: Final = 2
"""From this one on figures enter costs; those before it tell how old all others are."""


def figures_of(facts: SiteFacts) -> tuple[float, ...]:
    """The figures of a site, in the order of `FIGURES`."""
    spec, status = facts.spec, facts.status
    intensity, power = status.intensity, status.power
    return (
        seconds(status.observed_at),
        seconds(facts.silent_since),
        _number(mean_energy_cny_per_kwh(spec.prices)),
        _number(spec.prices.core_cny_per_hour),
        _number(spec.energy.pue),
        _number(intensity.gco2_per_kwh if intensity else None),
        seconds((intensity.observed_at or status.observed_at) if intensity else None),
        _number(facts.p90.get("gco2PerKwh")),
        _number(facts.p90.get("energyCnyPerKwh")),
        _number(pv_surplus_watts(power, spec.energy.pue)),
        seconds((power.observed_at or status.observed_at) if power else None),
    )


def seconds(instant: Instant | None, otherwise: float = nan) -> float:
    """An instant in seconds since 1970, or what stands for none."""
    return otherwise if instant is None else instant.timestamp()


def _number(value: float | None) -> float:
    """A figure, or NaN: not finite is not known."""
    return value if value is not None and isfinite(value) else nan
