"""Spread: in how many places the replicas are, and how many are in each.

CostOptimal gets the cheapest division. Most are found without a search, with a proof: if levels are
nested, filling the cheapest site first within the limits is optimal, and if the number of groups
comes out right, nothing is cheaper. If one level has too few groups, opening the groups whose first
replica is cheapest is optimal too. Only the remaining cases are searched (`search.py`): exactly on
nested levels, with a bound on crossed ones.

Other strategies choose groups by what they divide by, and divide within them; if that fails, the
cheapest division is taken, so that what can be spread is spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.kinds.policy import Spread
from scheduler.placement.cost.site_costs import SiteCosts
from scheduler.placement.divide.divide import (
    DivisionRequest,
    cheapest_sites_by_kernel,
    divide,
    iter_cheapest_sites,
)
from scheduler.placement.divide.division import Division, ReplicasBySlot, add_replicas
from scheduler.placement.divide.spread.enumerate_groups import enumerate_groups
from scheduler.placement.divide.spread.fill import GroupCounts, LazySites, fill_cheapest_first
from scheduler.placement.divide.spread.levels import (
    UNKNOWN_PLACE,
    Level,
    are_nested,
    are_nested_everywhere,
    joint_places_of,
    level_of,
    max_groups_of,
    max_per_group_of,
    place_numbers_of,
    replicas_by_place,
    satisfies,
)
from scheduler.placement.divide.spread.nested import divide_nested, is_cap_by_site
from scheduler.placement.divide.spread.scale_down import scale_down_within_spread
from scheduler.placement.divide.spread.search import SumLimit, search_cheapest_division
from scheduler.placement.fleet.fleet import Fleet

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Sites that may get more, in order of cost, and the spread constraints over them.

    Attributes:
        slots: the slots of the candidates, cheapest first; [candidates].
        max_additional: how many more replicas each could get; [candidates].
        levels: the constraints.
    """

    slots: Ints
    max_additional: Ints
    levels: list[Level]


def divide_spread(request: DivisionRequest, fleet: Fleet) -> Division:
    """Divides within the spread that is asked; drops preferred levels, the last first."""
    if not request.demand.spread:
        return Division(replicas_by_slot=divide(request))
    rules = list(request.demand.spread)
    preferred = [rule for rule in rules if not rule.required]
    while True:
        division = _divide_within(request, fleet, rules)
        if division.replicas_by_slot is not None or division.lacks_capacity or not preferred:
            break
        rules.remove(preferred.pop())
    if division.replicas_by_slot is None:
        has_capacity = not division.lacks_capacity and divide(request) is not None
        return replace(division, spread_failed=has_capacity)
    dropped = len(request.demand.spread) - len(rules)
    notes = (f"preferred spread constraints not met: {dropped}",) if dropped else ()
    return replace(division, notes=(*division.notes, *notes))


def divide_within_limits(
    request: DivisionRequest, fleet: Fleet, limits: Sequence[SumLimit]
) -> Division:
    """The cheapest division that meets the spread and limits on sums; drops no preferred level.

    Args:
        request: what is divided.
        fleet: the sites.
        limits: what the new replicas may come to in sum, by slot; [slot_capacity].
    """
    rules = request.demand.spread
    missing = request.replicas - request.kept_total
    max_additional = request.max_additional_at(request.open_slots)
    if missing <= 0 or int(max_additional.sum()) < missing:
        return Division(replicas_by_slot=None)
    candidates = _candidates_of(request, fleet, rules, max_additional)
    slots = candidates.slots
    found = search_cheapest_division(
        candidates.max_additional,
        costs_with_unknown_last(request.costs, slots),
        candidates.levels,
        missing,
        [SumLimit(each.each[slots], each.most) for each in limits],
    )
    if found is None:
        return Division(replicas_by_slot=None)
    return Division(
        replicas_by_slot=add_replicas(request.kept, slots, found.replicas),
        is_optimal=found.is_optimal,
        gap=found.gap,
    )


def _divide_within(request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    if not rules:
        return Division(replicas_by_slot=divide(request))
    missing = request.replicas - request.kept_total
    if request.demand.strategy == "Duplicated":
        return _divide_duplicated(request, fleet, rules)
    if missing <= 0:
        return scale_down_within_spread(request, fleet, rules)
    if any(rule.min_groups > request.replicas for rule in rules):
        return Division(replicas_by_slot=None)
    if request.demand.strategy == "CostOptimal" and are_nested_everywhere(fleet, rules):
        quick = _divide_cheapest_only(request, fleet, rules, missing) or divide_cheapest_of_groups(
            request, fleet, rules, missing
        )
        if quick is not None:
            return quick
    return _divide_among_all(request, fleet, rules)


def _divide_among_all(request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    """Divides over all candidates."""
    missing = request.replicas - request.kept_total
    max_additional = request.max_additional_at(request.open_slots)
    if int(max_additional.sum()) < missing:
        return Division(replicas_by_slot=None, lacks_capacity=True)
    candidates = _candidates_of(request, fleet, rules, max_additional)
    if request.demand.strategy != "CostOptimal":
        shares = _divide_by_strategy(request, candidates)
        if shares is not None:
            return Division(replicas_by_slot=shares)
    if _is_infeasible(candidates, missing):
        return Division(replicas_by_slot=None)
    is_tried = request.demand.strategy == "CostOptimal" and are_nested_everywhere(fleet, rules)
    replicas = (
        None
        if is_tried
        else _fill_without_search(candidates, missing, nested=are_nested(candidates.levels))
    )
    return (
        _search_cheapest(request, fleet, candidates, missing)
        if replicas is None
        else Division(replicas_by_slot=add_replicas(request.kept, candidates.slots, replicas))
    )


def divide_cheapest_of_groups(
    request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread], missing: int
) -> Division | None:
    """Divides over the cheapest sites of each group, as over all; None: nothing is proven there.

    The programme of `nested.py` reads of each group the cheapest sites that hold what is missing,
    and the one after them. So it finds the same with these alone, if it says that its answer is the
    only one, and gives nothing to sites of unknown cost: how far these are behind all others
    depends on all candidates, and is more with more of them. Where each site is a group, all are
    read, so there is nothing to gain.
    """
    is_by_site = any(rule.by == "site" for rule in rules)
    sites = None if request.kept or is_by_site else cheapest_sites_by_kernel(request)
    if sites is None:
        return None
    slots, max_additional = sites.cheapest_by_group(joint_places_of(fleet, rules), missing)
    if int(max_additional.sum()) < missing:
        return None
    levels = [level_of(fleet, slots, {}, rule) for rule in rules]
    if any(map(is_cap_by_site, levels)):  # with more candidates it may be none
        return None
    cost = costs_with_unknown_last(request.costs, slots)
    replicas = divide_nested(max_additional, cost, levels, missing)
    if replicas is None or request.costs.unknown[slots[replicas > 0]].any():
        return None
    return Division(replicas_by_slot=add_replicas({}, slots, replicas))


def _divide_cheapest_only(
    request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread], missing: int
) -> Division | None:
    """Divides over the cheapest sites only; None: no division is proven the cheapest there."""
    sites = LazySites(iter_cheapest_sites(request, missing))
    shares = fill_cheapest_first(
        sites, [_group_counts_of(request, fleet, rule) for rule in rules], missing
    )
    if shares is None and len(rules) == 1 and rules[0].min_groups > 1:
        counts = _group_counts_of(request, fleet, rules[0])
        shares = fill_cheapest_first(
            sites, [counts], missing, initial=_open_cheapest_groups(sites, counts, missing)
        )
    if shares is None:
        return None
    for slot, replicas in request.kept.items():
        shares[slot] = shares.get(slot, 0) + replicas
    return Division(replicas_by_slot=shares)


def _open_cheapest_groups(sites: LazySites, counts: GroupCounts, missing: int) -> ReplicasBySlot:
    """One replica for each group whose first replica is cheapest, until there are enough groups.

    To use one group more, the most expensive replica of a group with several is replaced by the
    first replica of an unused group. The cheapest first replica costs least, so this is optimal at
    one level.
    """
    opened: ReplicasBySlot = {}
    for slot, _ in sites:
        if counts.has_enough_groups or len(opened) >= missing:
            break
        if counts.is_group_unused(slot) and counts.remaining_at(slot) > 0:
            opened[slot] = 1
            counts.add_replicas(slot, 1)
    return opened


def _group_counts_of(request: DivisionRequest, fleet: Fleet, rule: Spread) -> GroupCounts:
    place_numbers = place_numbers_of(fleet, rule.by)
    held = replicas_by_place(place_numbers, request.kept)
    held.pop(UNKNOWN_PLACE, None)  # replicas at unknown places are in no group
    return GroupCounts(
        place_numbers=place_numbers,
        held=held,
        max_per_group=max_per_group_of(rule),
        max_groups=max(len(held), max_groups_of(rule)),  # groups of kept replicas stay
        min_groups=rule.min_groups,
    )


def _candidates_of(
    request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread], max_additional: Ints
) -> Candidates:
    """Sites with capacity in order of cost, without those of unknown place at a level."""
    additional_by_slot = np.zeros(fleet.slot_capacity, np.int64)
    # No site can get more than all replicas; the cap also keeps the sums below small.
    additional_by_slot[request.open_slots] = np.minimum(max_additional, request.replicas)
    slots = request.open_slots[max_additional > 0]
    for rule in rules:
        slots = slots[place_numbers_of(fleet, rule.by)[slots] > 0]
    slots = request.costs.sort_cheapest_first(slots)
    max_additional = additional_by_slot[slots]
    levels = [level_of(fleet, slots, request.kept, rule) for rule in rules]
    return Candidates(slots, max_additional, levels)


def _fill_without_search(candidates: Candidates, missing: int, *, nested: bool) -> Ints | None:
    """What `_divide_cheapest_only` does, over all candidates; None: a search is needed."""
    replicas = _fill_greedily(candidates, missing, np.zeros(len(candidates.slots), np.int64))
    if replicas is not None and nested and satisfies(candidates.levels, replicas):
        return replicas
    if replicas is not None and len(candidates.levels) == 1:
        replicas = _fill_with_more_groups(candidates, missing)
        if replicas is not None and satisfies(candidates.levels, replicas):
            return replicas
    return None


def _search_cheapest(
    request: DivisionRequest, fleet: Fleet, candidates: Candidates, missing: int
) -> Division:
    cost = costs_with_unknown_last(request.costs, candidates.slots)
    if fleet.is_compiled:
        replicas = divide_nested(candidates.max_additional, cost, candidates.levels, missing)
        if replicas is not None:
            return Division(replicas_by_slot=add_replicas(request.kept, candidates.slots, replicas))
    limited = _single_group_level(candidates)
    if limited is not None:
        max_additional, level = limited
        enumerated = enumerate_groups(max_additional, cost, level, missing)
        if enumerated is not None and enumerated.replicas is None:
            return Division(replicas_by_slot=None)
        if (
            enumerated is not None
            and enumerated.replicas is not None
            and satisfies(candidates.levels, enumerated.replicas)
        ):
            return Division(
                replicas_by_slot=add_replicas(request.kept, candidates.slots, enumerated.replicas)
            )
    found = search_cheapest_division(candidates.max_additional, cost, candidates.levels, missing)
    if found is None:
        return Division(replicas_by_slot=None)
    return Division(
        replicas_by_slot=add_replicas(request.kept, candidates.slots, found.replicas),
        is_optimal=found.is_optimal,
        gap=found.gap,
    )


def _fill_greedily(candidates: Candidates, missing: int, replicas: Ints) -> Ints | None:
    """Fills the cheapest site first, within the limits of every level; None: not all fit.

    Args:
        candidates: the candidates.
        missing: how many new replicas there are to be.
        replicas: new replicas to start with; [candidates].
    """
    replicas = replicas.copy()
    left = missing - int(replicas.sum())
    limits = [
        np.maximum(level.max_per_group - level.held, 0)
        - np.bincount(level.group, replicas, level.group_count).astype(np.int64)
        for level in candidates.levels
    ]
    for index in range(len(candidates.slots)):
        if left <= 0:
            break
        added = min(left, int(candidates.max_additional[index] - replicas[index]))
        for level, limit in zip(candidates.levels, limits, strict=True):
            added = min(added, int(limit[level.group[index]]))
        if added <= 0:
            continue
        replicas[index] += added
        left -= added
        for level, limit in zip(candidates.levels, limits, strict=True):
            limit[level.group[index]] -= added
    return replicas if left == 0 else None


def _single_group_level(candidates: Candidates) -> tuple[Ints, Level] | None:
    """The only level with several sites per group, and the capacity that levels by site leave."""
    single = [level for level in candidates.levels if level.group_count >= len(candidates.slots)]
    coarse = [level for level in candidates.levels if level.group_count < len(candidates.slots)]
    if len(coarse) != 1 or any(level.max_groups < level.group_count for level in single):
        return None
    max_additional = candidates.max_additional
    for level in single:
        max_additional = np.minimum(
            max_additional, np.maximum(level.max_per_group - level.held, 0)[level.group]
        )
    return max_additional, coarse[0]


def costs_with_unknown_last(costs: SiteCosts, slots: Ints) -> Floats:
    """Costs of which the unknown are above all known ones; [len(slots)].

    One more unknown figure outweighs any sum of money.
    """
    cny = costs.cny[slots]
    most = float(np.abs(cny).max(initial=0.0))
    # Two known costs differ by at most 2 * most, so one unknown figure always ranks behind.
    weighted: Floats = cny + costs.unknown[slots] * (1.0 + 2.0 * most)
    return weighted


def _fill_with_more_groups(candidates: Candidates, missing: int) -> Ints | None:
    """Opens the groups whose first replica is cheapest (`_open_cheapest_groups`), then fills up."""
    level = candidates.levels[0]
    replicas = np.zeros(len(candidates.slots), np.int64)
    used = level.held > 0
    for index in range(len(candidates.slots)):  # cheapest first
        if int(np.count_nonzero(used)) >= level.min_groups or int(replicas.sum()) >= missing:
            break
        group = level.group[index]
        if not used[group] and level.max_per_group > 0:
            used[group] = True
            replicas[index] = 1
    return _fill_greedily(candidates, missing, replicas)


def _is_infeasible(candidates: Candidates, missing: int) -> bool:
    """Whether a level has too few groups with capacity, or too little in its largest groups."""
    more = candidates.max_additional
    for level in sorted(candidates.levels, key=lambda each: -each.group_count):  # the finest first
        capacity = np.bincount(level.group, more, level.group_count)
        capacity = np.minimum(capacity, np.maximum(level.max_per_group - level.held, 0))
        if np.count_nonzero((capacity > 0) | (level.held > 0)) < level.min_groups:
            return True
        unused = np.sort(capacity[level.held == 0])[::-1]  # largest first
        most = level.max_groups - int(np.count_nonzero(level.held))
        if capacity[level.held > 0].sum() + unused[: max(0, most)].sum() < missing:
            return True
        # Groups of single sites: what a site may hold bounds it at the coarser levels too.
        if level.group_count == len(candidates.slots):
            more = np.minimum(more, capacity[level.group]).astype(np.int64)
    return False


def _divide_by_strategy(request: DivisionRequest, candidates: Candidates) -> ReplicasBySlot | None:
    """Divides by the strategy in the groups with most capacity; caps those that hold too many."""
    open_slots = _slots_of_largest_groups(candidates)
    caps: ReplicasBySlot = dict(request.caps)
    # Each round caps one group, so more rounds than groups do not help.
    for _ in range(1 + sum(level.group_count for level in candidates.levels)):
        shares = divide(replace(request, open_slots=np.sort(open_slots), caps=caps))
        if shares is None:
            return None
        replicas = np.array(
            [shares.get(slot, 0) - request.kept.get(slot, 0) for slot in candidates.slots.tolist()],
            np.int64,
        )
        if satisfies(candidates.levels, replicas):
            return shares
        if not _cap_fullest_group(candidates, replicas, caps):
            return None
    return None


def _slots_of_largest_groups(candidates: Candidates) -> Ints:
    allowed = np.ones(len(candidates.slots), np.bool_)
    for level in candidates.levels:
        weight = np.bincount(
            level.group, np.where(allowed, candidates.max_additional, 0), level.group_count
        )
        weight = np.minimum(weight, level.max_per_group)
        # The last key counts most: groups that hold replicas first, then those with most capacity.
        order = np.lexsort((np.arange(level.group_count), -weight, level.held == 0))
        chosen = np.zeros(level.group_count, np.bool_)
        chosen[order[: min(level.max_groups, level.group_count)]] = True
        allowed &= chosen[level.group]
    return candidates.slots[allowed]


def _cap_fullest_group(candidates: Candidates, replicas: Ints, caps: ReplicasBySlot) -> bool:
    """Caps the sites of the first group that holds too many, in proportion; False: none does."""
    for level in candidates.levels:
        totals = level.held + np.bincount(level.group, replicas, level.group_count).astype(np.int64)
        for group in np.flatnonzero(totals > np.maximum(level.max_per_group, level.held)).tolist():
            members = np.flatnonzero(level.group == group)
            allowed = max(0, level.max_per_group - int(level.held[group]))
            mine = replicas[members]
            parts = mine * allowed // max(1, int(mine.sum()))
            # Rounding down left some of `allowed`: one more each, to the sites with most.
            for extra in np.argsort(-mine, kind="stable")[: allowed - int(parts.sum())]:
                parts[extra] += 1
            for member, part in zip(members.tolist(), parts.tolist(), strict=True):
                caps[int(candidates.slots[member])] = part
            return True
    return False


def _divide_duplicated(request: DivisionRequest, fleet: Fleet, rules: Sequence[Spread]) -> Division:
    """Places all replicas at every site that the levels allow, cheapest sites first."""
    whole = divide(request)
    if whole is None:
        return Division(replicas_by_slot=None)
    slots = request.costs.sort_cheapest_first(np.array(sorted(whole), np.int64))
    used: list[dict[int, int]] = [{} for _ in rules]
    shares: ReplicasBySlot = {}
    for slot in slots.tolist():
        mine = [int(place_numbers_of(fleet, rule.by)[slot]) for rule in rules]
        if slot in request.kept or all(
            _may_use(rule, groups, place, whole[slot])
            for rule, groups, place in zip(rules, used, mine, strict=True)
        ):
            shares[slot] = whole[slot]
            for groups, place in zip(used, mine, strict=True):
                groups[place] = groups.get(place, 0) + whole[slot]
    enough = all(len(groups) >= rule.min_groups for rule, groups in zip(rules, used, strict=True))
    return Division(replicas_by_slot=shares if enough else None)


def _may_use(rule: Spread, groups: dict[int, int], place: int, replicas: int) -> bool:
    if not place:  # `UNKNOWN_PLACE`
        return False
    if rule.max_per_group is not None and groups.get(place, 0) + replicas > rule.max_per_group:
        return False
    return rule.max_groups is None or place in groups or len(groups) < rule.max_groups
