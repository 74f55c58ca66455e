"""A move that lets a whole placement meet its required rules, where `onViolation` is Move.

As few replicas as the rules demand leave their sites, and the division places them again; if that
does not do, all of them are divided again. What leaves runs on until its replacement runs, so its
capacity is not used twice. No move is made that leaves a required rule unmet.
"""

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.policy import Spread
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division, ReplicasBySlot, drop_zeros
from scheduler.placement.divide.site_groups import divide_with_preferred_affinity
from scheduler.placement.divide.spread.levels import (
    UNKNOWN_PLACE,
    max_groups_of,
    max_per_group_of,
    place_numbers_of,
)
from scheduler.placement.filter.filter import FilterResult
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.required_rules import refusing_slots, unmet_rules


def may_move(demand: Demand) -> bool:
    """Whether running replicas may be moved to meet the required rules."""
    return demand.on_unmet_rules == "Move" and bool(demand.placed_replicas) and not demand.paused


def move_to_meet_rules(
    request: DivisionRequest,
    division: Division,
    fleet: Fleet,
    filter_result: FilterResult,
    context: DecisionContext,
) -> Division:
    """The division, or one that meets the required rules if it does not and there is one.

    Args:
        request: what was divided; what runs is in `kept`.
        division: its outcome.
        fleet: the sites.
        filter_result: the answers of the filter.
        context: the time and terms.
    """
    demand = request.demand

    def meets(shares: ReplicasBySlot | None) -> bool:
        return shares is not None and not unmet_rules(demand, fleet, shares, filter_result, context)

    if not request.kept or meets(division.replicas_by_slot):
        return division
    staying = _staying_replicas(request, fleet, filter_result, context)
    fewest = replace(request, kept=staying)
    all_again = replace(request, kept={}, own_replicas={**request.own_replicas, **request.kept})
    for tried in (fewest, all_again):
        moved = divide_with_preferred_affinity(tried, fleet)
        if meets(moved.replicas_by_slot):
            return moved
    return division


def _staying_replicas(
    request: DivisionRequest,
    fleet: Fleet,
    filter_result: FilterResult,
    context: DecisionContext,
) -> ReplicasBySlot:
    """What may stay: without what the rules about sites, copies and levels send away."""
    demand = request.demand
    stays = dict(request.kept)
    for slot in refusing_slots(stays, filter_result, demand, fleet, context):
        del stays[slot]
    if demand.strategy == "Duplicated":
        return {slot: count for slot, count in stays.items() if count >= demand.replicas}
    for rule in demand.spread:
        if rule.required:
            _leave_crowded_groups(stays, rule, request, fleet)
    return drop_zeros(stays)


def _leave_crowded_groups(
    stays: ReplicasBySlot, rule: Spread, request: DivisionRequest, fleet: Fleet
) -> None:
    """Takes away what a level does not allow, and one each for the groups that it lacks."""
    numbers = place_numbers_of(fleet, rule.by)
    groups: dict[int, list[int]] = {}
    for slot in sorted(stays, key=lambda slot: (request.costs.cny[slot], fleet.name_at(slot))):
        groups.setdefault(int(numbers[slot]), []).append(slot)
    for slot in groups.pop(UNKNOWN_PLACE, ()):
        stays[slot] = 0
    totals = {number: sum(stays[slot] for slot in slots) for number, slots in groups.items()}
    totals = {number: total for number, total in totals.items() if total}
    largest = sorted(totals, key=lambda each: (-totals[each], fleet.name_at(groups[each][0])))
    for number in largest[max_groups_of(rule) :]:
        _take_away(stays, groups[number], totals.pop(number))
    for number, total in totals.items():
        surplus = max(0, total - max_per_group_of(rule))
        _take_away(stays, groups[number], surplus)
        totals[number] = total - surplus
    free = request.replicas - sum(totals.values())
    for _ in range(rule.min_groups - len(totals) - free):
        fullest = max(totals, key=lambda each: (totals[each], -largest.index(each)), default=None)
        if fullest is None or totals[fullest] <= 1:
            break
        _take_away(stays, groups[fullest], 1)
        totals[fullest] -= 1


def _take_away(stays: ReplicasBySlot, slots: list[int], count: int) -> None:
    """Takes replicas away at the last of some slots first."""
    for slot in reversed(slots):
        taken = min(stays[slot], count)
        stays[slot] -= taken
        count -= taken
