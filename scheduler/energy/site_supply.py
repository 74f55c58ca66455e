"""The figures of a site's supply that count: measured before declared.

First comes what the authority had measured (`SiteGrant`), then what operators say that others
measured, then what the agent measures, then what operators declare. A PUE below 1 cannot be, and is
unknown.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from scheduler.model.kinds.energy import EnergyMeasure, EnergyMeasurement
from scheduler.model.kinds.fields import Origin
from scheduler.model.kinds.rights import SiteGrantSpec
from scheduler.model.kinds.site import SiteEnergy

HIGHEST_PUE = 10.0


class Figure(NamedTuple):
    """A value, how it was obtained, and who measured it.

    Attributes:
        value: None: unknown.
        origin: how it was obtained.
        by: who measured it; "": it is declared.
    """

    value: float | None
    origin: Origin = "unknown"
    by: str = ""


NO_FIGURE = Figure(None)


def measured(
    energy: SiteEnergy, measure: EnergyMeasure, inspected: Sequence[EnergyMeasurement] = ()
) -> Figure:
    """The newest measurement of the authority, else of others; a value of None without one."""
    for source in (inspected, energy.measurements):
        found = [each for each in source if each.measure == measure]
        if found:
            newest = max(found, key=lambda each: each.observed_at)
            return Figure(newest.value, "measured", newest.measured_by)
    return Figure(None)


def inspected_at(site: str, grants: Iterable[SiteGrantSpec]) -> tuple[EnergyMeasurement, ...]:
    """What the authority had measured at a site, by all of its grants.

    A grant that has ended says no more what a site may run; what was measured stays measured.
    """
    return tuple(one for grant in grants for one in grant.measurements if one.site == site)


def pue_of(
    energy: SiteEnergy,
    reported: Figure = NO_FIGURE,
    inspected: Sequence[EnergyMeasurement] = (),
) -> Figure:
    """The PUE that counts.

    Args:
        energy: the site's supply.
        reported: what its agent says.
        inspected: what the authority had measured.
    """
    found = measured(energy, "pue", inspected)
    if found.value is not None:  # one that cannot be makes no room for what is declared
        return found if _is_pue(found.value) else Figure(None)
    candidates = (
        reported if reported.origin == "measured" else Figure(None),
        Figure(energy.pue, energy.pue_origin),
        reported,
    )
    return next((each for each in candidates if _is_pue(each.value)), Figure(None))


def wue_of(energy: SiteEnergy, inspected: Sequence[EnergyMeasurement] = ()) -> Figure:
    """The WUE that counts, in litres per kWh."""
    found = measured(energy, "wue", inspected)
    if found.value is not None:
        return found
    declared = energy.wue_litres_per_kwh
    return Figure(declared, "assumed" if declared is not None else "unknown")


def renewable_share_of(energy: SiteEnergy, inspected: Sequence[EnergyMeasurement] = ()) -> Figure:
    """The renewable share that counts: measured, or declared with evidence; else unknown."""
    found = measured(energy, "renewable-share", inspected)
    if found.value is not None:
        return found if found.value <= 1 else Figure(None)  # percent, most likely
    if energy.green_share is None or not energy.green_evidence.strip():
        return Figure(None)
    return Figure(energy.green_share, "estimated", energy.green_evidence.strip())


def _is_pue(value: float | None) -> bool:
    return value is not None and 1 <= value <= HIGHEST_PUE
