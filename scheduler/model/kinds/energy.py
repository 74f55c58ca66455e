"""What is declared and measured of a site's supply beside the figures that decisions price.

Measurements of others come before what a site declares: an inspector's PUE counts, not the one of
the brochure.
"""

from typing import Annotated, Literal

from msgspec import Meta

from scheduler.model.kinds.fields import Instant, Name, NotNegative, Part, ShortText

EnergyMeasure = Literal["pue", "wue", "renewable-share"]
"""Facility over IT energy (ISO/IEC 30134-2); litres per kWh of IT energy (30134-9); the share of
the supply that is renewable, 0 to 1 (30134-3)."""

MAX_MEASUREMENTS = 16
MAX_LIMITS = 16
MAX_INSPECTIONS = 256
MAX_CURVE_POINTS = 32


class EnergyMeasurement(Part, frozen=True, kw_only=True):
    """One figure that was measured at a site, and who did."""

    measure: EnergyMeasure
    value: NotNegative
    measured_by: Annotated[ShortText, Meta(min_length=1, description="Who measured it.")]
    observed_at: Annotated[Instant, Meta(description="When; the newest one counts.")]


class InspectedFigure(EnergyMeasurement, frozen=True, kw_only=True):
    """A figure of one site that the authority had measured: operators cannot change it."""

    site: Annotated[Name, Meta(description="The site that it is about.")]


class EnergyLimit(Part, frozen=True, kw_only=True):
    """What sites must keep to from a day on, by an authority's word.

    `pue` and `wue` are upper limits, `renewable-share` is a lower one. Of several limits in force
    the strictest counts, so a list can hold the steps by which a limit tightens.
    """

    measure: EnergyMeasure
    limit: Annotated[
        NotNegative,
        Meta(description="At most for pue and wue, at least for renewable-share (0 to 1)."),
    ]
    tiers: Annotated[
        tuple[Literal["edge", "regional", "central"], ...],
        Meta(max_length=3, description="The classes of sites that it is about. Empty: all."),
    ] = ()
    from_: Annotated[Instant | None, Meta(description="In force from then on; left out: now.")] = (
        None
    )
    until: Annotated[
        Instant | None, Meta(description="In force until just before; left out: without end.")
    ] = None
    document: Annotated[ShortText, Meta(description="Where it is written.")] = ""


class CurvePoint(Part, frozen=True, kw_only=True):
    """A point of the measured power of a site's equipment over its busy cores, before PUE."""

    busy_cores: NotNegative
    watts: NotNegative
