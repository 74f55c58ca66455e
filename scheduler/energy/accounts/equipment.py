"""The two numbers beside electricity: what making the equipment emitted, and water.

Embodied carbon is SCI's M = TE * TS * RS (ISO/IEC 21031:2024): what the equipment's making
emitted, times the share of its life, times the share of it that is used. Water is WUE times IT
energy (ISO/IEC 30134-9). Both are reported as one number each and are in neither carbon ledger.
"""

from scheduler.model.units import GRAMS_PER_KILOGRAM, SECONDS_PER_HOUR

_HOURS_PER_YEAR = 8_766
_MOST_GRAMS = 1e15
"""A billion tonnes: a figure of another unit, and so unknown."""
_SECONDS_PER_YEAR = _HOURS_PER_YEAR * SECONDS_PER_HOUR


def embodied_gco2e(
    total_kgco2e: float | None, lifetime_years: float | None, seconds: float
) -> float | None:
    """The share of the equipment's making that falls on some seconds; None: unknown.

    Args:
        total_kgco2e: what making all of it emitted.
        lifetime_years: how long it is used, above 0.
        seconds: the time.
    """
    if total_kgco2e is None or lifetime_years is None or lifetime_years <= 0 or total_kgco2e < 0:
        return None
    grams = total_kgco2e * GRAMS_PER_KILOGRAM * seconds / (lifetime_years * _SECONDS_PER_YEAR)
    return grams if grams <= _MOST_GRAMS else None


def software_carbon_intensity(
    operational_gco2e: float | None, embodied_gco2e: float | None, functional_units: float
) -> float | None:
    """SCI = (O + M) per R, in gCO2e per functional unit; None: a part is unknown, or R is 0.

    Args:
        operational_gco2e: what the energy emitted, by the location ledger as SCI asks.
        embodied_gco2e: the share of the equipment's making.
        functional_units: R, such as requests or tenants.
    """
    if operational_gco2e is None or embodied_gco2e is None or functional_units <= 0:
        return None
    return (operational_gco2e + embodied_gco2e) / functional_units


def water_litres(it_kwh: float, wue_litres_per_kwh: float | None) -> float | None:
    """Water that cooling used; None: the WUE is unknown."""
    return None if wue_litres_per_kwh is None else it_kwh * wue_litres_per_kwh
