"""`EmissionFactor`: what a kWh emits, and what the figure includes.

A direct factor counts what power stations emit while they generate (MEE, IPCC), a life-cycle factor
also their construction and their fuel's way (Electricity Maps). Both are grams per kWh, and the
second is higher for the same grid: 30 to 60 g/kWh on a grid of wind and sun. So a factor says which
it is, and sums of different boundaries are never one number.
"""

from typing import Annotated, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import Origin, Part

Boundary = Literal["direct", "life-cycle", "unstated"]
"""What a factor includes. `unstated`: its source does not say, so it compares with neither."""

LOWEST_PLAUSIBLE_GCO2_PER_KWH = 2.0
HIGHEST_PLAUSIBLE_GCO2_PER_KWH = 2500.0
"""Lignite in an old station stays below 1,500. Higher figures are of another unit, as milligrams;
lower ones above 0 most likely are kilograms per kWh."""


class EmissionFactor(Part, frozen=True, kw_only=True):
    """What one kWh emits.

    Attributes:
        gco2_per_kwh: grams of CO2 (or its equivalent) per kWh.
        origin: how it was obtained; a `yearly` factor does not distinguish hours.
        boundary: what it includes.
        source: who published it, and which document, for people.
        year: the year that it is about; None: it is about its hour.
    """

    gco2_per_kwh: Annotated[float, Meta(ge=0, le=HIGHEST_PLAUSIBLE_GCO2_PER_KWH)]
    origin: Origin
    boundary: Boundary = "unstated"
    source: str = ""
    year: int | None = None

    @property
    def distinguishes_hours(self) -> bool:
        """Whether a saving by time may be claimed with it."""
        return self.origin in {"measured", "estimated", "modelled"}


class FactorError(ValueError):
    """A figure that is no intensity; the message names it and says what to check."""


def checked_gco2_per_kwh(value: float, *, what: str) -> float:
    """The value, if it can be an intensity in g/kWh.

    Args:
        value: as read.
        what: names the figure in the message.

    Raises:
        FactorError: it is no number, negative, or of another unit.
    """
    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - NaN
        raise FactorError(f"{what}: {value} is no number; leave the hour out if it is unknown")
    if value < 0:
        raise FactorError(f"{what}: an intensity of {value:g} g/kWh is below zero")
    if 0 < value < LOWEST_PLAUSIBLE_GCO2_PER_KWH:
        raise FactorError(
            f"{what}: {value:g} g/kWh is implausibly low; is it in kg/kWh? write g/kWh"
        )
    if value > HIGHEST_PLAUSIBLE_GCO2_PER_KWH:
        raise FactorError(
            f"{what}: {value:g} g/kWh is implausibly high; is it of another unit? write g/kWh"
        )
    return value
