"""Preferred affinity: sites that meet the wishes are tried alone; the last wish goes first."""

from msgspec.structs import replace

from scheduler.placement.divide.divide import Ask
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.site_groups import divide_in_groups
from scheduler.placement.filter.constraints.companion import fits
from scheduler.placement.fleet.fleet import Fleet


def divide_as_wished(ask: Ask, fleet: Fleet) -> Division:
    """Divides within the preferred affinity, or as much of it as can be met."""
    if not ask.demand.companions:
        return divide_in_groups(ask, fleet)
    wishes = [each for each in ask.demand.companions if not each.required]
    for dropped in range(len(wishes)):
        left = wishes[: len(wishes) - dropped]
        slots = ask.open
        for wish in left:
            slots = slots[fits(fleet, wish)[slots]]
        division = divide_in_groups(replace(ask, open=slots), fleet)
        if division.shares is not None:
            return replace(division, notes=(*division.notes, *_told(dropped)))
    division = divide_in_groups(ask, fleet)
    return replace(division, notes=(*division.notes, *_told(len(wishes)))) if wishes else division


def _told(dropped: int) -> tuple[str, ...]:
    return (f"{dropped} preferred affinity could not be met",) if dropped else ()
