"""`EnergyHour`: what is kept of one site and hour, as it is recorded.

Inputs are recorded and figures are computed from them, so that a report can be computed again by
who doubts it. A figure that was not known is absent. A row holds the figures that were known when
it began; an hour may have several rows, which add up.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from scheduler.energy.factors.factor import EmissionFactor
from scheduler.model.kinds.fields import NotNegative, Origin, Part, Ratio

MAX_USERS_PER_HOUR = 1_000
"""Tenants of one site and hour that are named; the rest counts to the site itself."""

MAX_HOUR = 8_784_000
"""About the year 2970: beyond it a date cannot be meant."""


class EnergyHour(Part, frozen=True, kw_only=True):
    """Energy of one site in one hour, and the figures that apply to it.

    Attributes:
        site: the site's name.
        hour: hours since 1970, in UTC.
        seconds: how much of the hour is covered.
        unmeasured_seconds: of these without a known power.
        it_joules: energy of the equipment, whole joules.
        origin: how that was obtained.
        pv_joules: own photovoltaics that was used at the site.
        pue: facility over IT energy; None: unknown, and then the facility's energy is, too.
        pue_origin: where it comes from.
        location: the factor of the grid.
        green_share: share of the supply with evidence, for the market ledger.
        green_evidence: the evidence; "": none, and then the share does not count.
        residual: the factor of all supply without evidence.
        energy_cny_per_kwh: price in this hour.
        peak_cny_per_kilowatt_month: price of the month's highest hour.
        wue_litres_per_kwh: water per kWh of IT energy (ISO/IEC 30134-9).
        embodied_grams: the share of the equipment's making that falls on these seconds.
        doubt: why the meter's figure is doubted; "": it is not.
        users: joules of IT energy by tenant; "": idle, and what is not Kapok's. They add up to
            `it_joules`.
    """

    site: Annotated[str, Meta(max_length=253)]
    hour: Annotated[int, Meta(ge=0, le=MAX_HOUR)]
    seconds: NotNegative = 0.0
    unmeasured_seconds: NotNegative = 0.0
    it_joules: Annotated[int, Meta(ge=0)] = 0
    origin: Origin = "unknown"
    pv_joules: NotNegative = 0.0
    pue: float | None = None
    pue_origin: Origin = "unknown"
    location: EmissionFactor | None = None
    green_share: Ratio | None = None
    green_evidence: str = ""
    residual: EmissionFactor | None = None
    energy_cny_per_kwh: float | None = None
    peak_cny_per_kilowatt_month: NotNegative | None = None
    wue_litres_per_kwh: NotNegative | None = None
    embodied_grams: NotNegative | None = None
    doubt: Annotated[str, Meta(max_length=500)] = ""
    users: dict[str, int] = msgspec.field(default_factory=dict)


class SiteCounter(Part, frozen=True, kw_only=True):
    """The last reading of a site's counter: from it a later process goes on."""

    counter_id: str
    at_seconds: float
    it_joules: float | None = None
    pv_joules: float | None = None
    unmeasured_seconds: float = 0.0


class EnergyPage(Part, frozen=True, kw_only=True):
    """One record of the ledger: rows of some hours, and where the counters stood at its end."""

    hours: tuple[EnergyHour, ...] = ()
    counters: dict[str, SiteCounter] = msgspec.field(default_factory=dict)


def bounded_users(users: dict[str, int]) -> dict[str, int]:
    """At most `MAX_USERS_PER_HOUR` users; what the smallest ones used counts to the site itself."""
    if len(users) <= MAX_USERS_PER_HOUR:
        return users
    ranked = sorted(users, key=lambda name: (name != "", -users[name], name))
    kept = {name: users[name] for name in ranked[:MAX_USERS_PER_HOUR]}
    rest = sum(users.values()) - sum(kept.values())
    return {**kept, "": kept.get("", 0) + rest}


def hours_between(rows: Iterable[EnergyHour], first: int, end: int) -> list[EnergyHour]:
    """The rows of hours from `first` until before `end`."""
    return [row for row in rows if first <= row.hour < end]
