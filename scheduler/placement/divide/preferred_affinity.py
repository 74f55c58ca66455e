"""Preferred affinity: sites that meet it are tried alone; the last preference is dropped first.

A step of its own, between the site groups and the budget.
"""

from msgspec.structs import replace

from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.site_groups import divide_in_groups
from scheduler.placement.filter.constraints.companion import satisfies_companion
from scheduler.placement.fleet.fleet import Fleet


def divide_with_preferred_affinity(request: DivisionRequest, fleet: Fleet) -> Division:
    """Divides among the sites that meet the preferred affinity, or as much of it as can be met."""
    if not request.demand.companions:
        return divide_in_groups(request, fleet)
    preferred = [each for each in request.demand.companions if not each.required]
    for dropped in range(len(preferred)):
        remaining = preferred[: len(preferred) - dropped]
        slots = request.open_slots
        for affinity in remaining:
            slots = slots[satisfies_companion(fleet, affinity)[slots]]
        division = divide_in_groups(replace(request, open_slots=slots), fleet)
        if division.replicas_by_slot is not None:
            return replace(division, notes=(*division.notes, *_format_dropped(dropped)))
    division = divide_in_groups(request, fleet)
    return (
        replace(division, notes=(*division.notes, *_format_dropped(len(preferred))))
        if preferred
        else division
    )


def _format_dropped(dropped: int) -> tuple[str, ...]:
    return (f"{dropped} preferred affinity could not be met",) if dropped else ()
