"""Two carbon ledgers of one hour, never mixed: location and market.

Location: grid energy times the grid's own factor. Market: the evidenced share of the supply at 0,
the rest at the residual factor, never at the grid's mean (GHG Protocol, Scope 2 Guidance, 6.3).
Without evidence the share is 0 however green it is declared. Where a factor is missing, grams are
unknown and the energy is counted as such: it is not added as 0. Sums of direct and of life-cycle
factors are kept apart.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

from scheduler.energy.accounts.hours import EnergyHour
from scheduler.energy.factors.factor import Boundary, EmissionFactor
from scheduler.model.kinds.fields import Origin

JOULES_PER_KWH = 3_600_000.0

_Key = TypeVar("_Key")
_MAX_CACHED_FACTORS = 4096


@dataclass(frozen=True, slots=True)
class Emission:
    """What some energy emitted.

    Attributes:
        grams: grams of CO2; None: no factor is known.
        boundary: what the factor includes.
        origin: that of the factor.
        source: of the factor, for people.
    """

    grams: float | None
    boundary: Boundary = "unstated"
    origin: Origin = "unknown"
    source: str = ""


def facility_kwh(row: EnergyHour) -> float | None:
    """IT energy times PUE; None: the PUE is unknown, or below 1, which none can be."""
    pue = row.pue
    if pue is None or not pue >= 1:
        return None
    return row.it_joules * pue / JOULES_PER_KWH


def grid_kwh(row: EnergyHour) -> float | None:
    """What the grid supplied: the facility's energy less its own photovoltaics, which counts once.

    None: unknown.
    """
    whole = facility_kwh(row)
    return None if whole is None else max(0.0, whole - row.pv_joules / JOULES_PER_KWH)


def location_emission(row: EnergyHour) -> Emission:
    """The location ledger of an hour."""
    return _emission(grid_kwh(row), row.location)


def market_emission(row: EnergyHour) -> Emission:
    """The market ledger of an hour."""
    factor = market_factor(row.green_share, row.green_evidence, row.residual)
    return _emission(grid_kwh(row), factor)


@lru_cache(maxsize=_MAX_CACHED_FACTORS)
def market_factor(
    green_share: float | None, green_evidence: str, residual: EmissionFactor | None
) -> EmissionFactor | None:
    """The factor of the supply by contract; None: the residual factor is unknown.

    Args:
        green_share: the share that is declared green.
        green_evidence: certificates or contracts; "": none, and the share does not count.
        residual: the factor of the rest.
    """
    if residual is None:
        return None
    share = (green_share or 0.0) if green_evidence.strip() else 0.0
    evidence = f"{share:.0%} by {green_evidence.strip()}; " if share else ""
    return EmissionFactor(
        gco2_per_kwh=residual.gco2_per_kwh * (1 - share),
        origin=residual.origin,
        boundary=residual.boundary,
        source=f"{evidence}rest {residual.source}",
        year=residual.year,
    )


def _emission(kwh: float | None, factor: EmissionFactor | None) -> Emission:
    if kwh is None or factor is None:
        return Emission(None)
    grams = kwh * factor.gco2_per_kwh
    return Emission(grams, factor.boundary, factor.origin, factor.source)


@dataclass(slots=True)
class CarbonSum:
    """Grams of one ledger, by boundary, and the energy that no factor is known for.

    Attributes:
        grams: by boundary.
        kwh_by_origin: IT energy by the origin of the factor.
        kwh_without_factor: IT energy that is in none of the grams.
        sources: of the factors.
    """

    grams: dict[Boundary, float] = field(default_factory=dict)
    kwh_by_origin: dict[Origin, float] = field(default_factory=dict)
    kwh_without_factor: float = 0.0
    sources: set[str] = field(default_factory=set)

    def add(self, emission: Emission, *, kwh: float, share: float = 1.0) -> None:
        """Adds a share of an hour's emission; `kwh` is that share's IT energy."""
        if emission.grams is None:
            self.kwh_without_factor += kwh
            return
        before = self.grams.get(emission.boundary, 0.0)
        self.grams[emission.boundary] = before + emission.grams * share
        known = self.kwh_by_origin.get(emission.origin, 0.0)
        self.kwh_by_origin[emission.origin] = known + kwh
        self.sources.add(emission.source)

    @property
    def boundary(self) -> Boundary | None:
        """The only boundary of the sum; None: there is none, or several are mixed."""
        return next(iter(self.grams)) if len(self.grams) == 1 else None

    @property
    def kilograms(self) -> float | None:
        """The sum in kg; None: nothing is known, or factors of several boundaries are mixed."""
        only = self.boundary
        return None if only is None else self.grams[only] / 1000


def merge_sums(sums: Iterable[CarbonSum]) -> CarbonSum:
    """The sum of sums."""
    found = CarbonSum()
    for each in sums:
        _add_up(found.grams, each.grams)
        _add_up(found.kwh_by_origin, each.kwh_by_origin)
        found.kwh_without_factor += each.kwh_without_factor
        found.sources |= each.sources
    return found


def _add_up(into: dict[_Key, float], values: Mapping[_Key, float]) -> None:
    for key, value in values.items():
        into[key] = into.get(key, 0.0) + value
