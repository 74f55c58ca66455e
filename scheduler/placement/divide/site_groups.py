"""Preferred affinity, and within it ordered site groups: the first is filled before the next.

Sites that meet the preferred affinity are tried alone; the last preference is dropped first.

A division resumes at the group that was used last, so that a workload that moved on does not try
its first group again with every replica; if that group and the later ones are full, the earlier
ones are tried again, from the first. Spread counts over all groups in use: the result is the
cheapest of the divisions that leave the fewest replicas to later groups. Strategies other than
CostOptimal hold only as long as one group suffices: the order of the groups takes precedence over
even shares. Mode Fresh always begins with the first group.
"""

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.placement.divide.disaster_recovery import (
    DISASTER_RECOVERY_PRESET,
    divide_disaster_recovery,
)
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.divide.spread.spread import divide_spread
from scheduler.placement.filter.constraints.companion import satisfies_companion
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import sites_in_group

Ints = NDArray[np.int64]


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
    return (f"preferred affinity terms not met: {dropped}",) if dropped else ()


def divide_in_groups(request: DivisionRequest, fleet: Fleet) -> Division:
    """Divides among the sites of the first group with capacity, and of later ones if it is full."""
    demand = request.demand
    if demand.preset == DISASTER_RECOVERY_PRESET and demand.replicas > 0:
        return divide_disaster_recovery(request, fleet)
    if (
        not demand.site_groups
        or demand.strategy == "Duplicated"
        or request.replicas <= request.kept_total
    ):
        return divide_spread(request, fleet)
    members = _open_slots_by_group(request, fleet)
    names = [each.name for each in demand.site_groups]
    resumes = demand.mode != "Fresh" and demand.last_group in names  # Fresh starts over
    begin = names.index(demand.last_group) if resumes else 0
    members, names = members[begin:] + members[:begin], names[begin:] + names[:begin]
    divided = _divide_widening if demand.spread else _divide_overflowing
    return divided(request, fleet, members, names)


def _open_slots_by_group(request: DivisionRequest, fleet: Fleet) -> list[Ints]:
    """The open slots of each group; a site belongs to the first group that holds it."""
    members: list[Ints] = []
    left = request.open_slots
    for group in request.demand.site_groups:
        is_member = sites_in_group(fleet, group)[left]
        members.append(left[is_member])
        left = left[~is_member]
    return members


def _divide_overflowing(
    request: DivisionRequest, fleet: Fleet, members: list[Ints], names: list[str]
) -> Division:
    """Fills one group after the other; for demands without spread."""
    shares: ReplicasBySlot = dict(request.kept)
    for slots, name in zip(members, names, strict=True):
        missing = request.replicas - sum(shares.values())
        additional = int(request.max_additional_at(slots).sum()) if len(slots) else 0
        if additional <= 0:
            continue
        part = replace(
            request,
            replicas=sum(shares.values()) + min(additional, missing),
            kept=shares,
            open_slots=slots,
        )
        division = divide_spread(part, fleet)
        if division.replicas_by_slot is None:
            continue
        shares = division.replicas_by_slot
        if sum(shares.values()) == request.replicas:
            return replace(division, group=name)
    return Division(replicas_by_slot=None)


def _divide_widening(
    request: DivisionRequest, fleet: Fleet, members: list[Ints], names: list[str]
) -> Division:
    """Divides over the first group, then over the first two, and so on, until the spread holds."""
    slots: Ints = np.zeros(0, np.int64)
    division = Division(replicas_by_slot=None)
    later = request.costs.unknown.copy()
    most = int(later.max(initial=0)) + 1  # more than any site has unknown figures
    for index, (more, name) in enumerate(zip(members, names, strict=True)):
        slots = np.sort(np.concatenate([slots, more]))
        later[more] += index * most  # a later group ranks behind, whatever it costs
        price = replace(request.costs, unknown=later, is_any_unknown=True)
        widened = replace(request, open_slots=slots, costs=price)
        division = divide_spread(_with_cost_optimal_strategy(widened) if index else widened, fleet)
        if division.replicas_by_slot is not None:
            return replace(division, group=name)
    return division


def _with_cost_optimal_strategy(request: DivisionRequest) -> DivisionRequest:
    """The request as CostOptimal; the costs already encode the group order."""
    return replace(request, demand=replace(request.demand, strategy="CostOptimal"))
