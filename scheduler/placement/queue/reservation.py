"""Where, and for how many replicas, capacity is reserved for a workload that waits for it.

A site counts with what it could hold if all that Kapok placed there ended; what else runs there may
stay for ever. Of the sites that suffice alone, the one with the most free capacity now is chosen:
there the least must end first.
"""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.quantities import GPU_MILLI
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STRATEGIES_FREE_TO_DIVIDE = frozenset({"CostOptimal", "Aggregated", "Balanced"})


def is_reservable(demand: Demand) -> bool:
    """Whether capacity at any sites that suffice in sum would do for a workload.

    It would not if replicas must be at certain sites, in certain numbers or in a certain order.
    """
    is_free = demand.strategy in _STRATEGIES_FREE_TO_DIVIDE and not demand.preset
    return bool(demand.unit) and is_free and not demand.spread and not demand.site_groups


def choose_reservation(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    *,
    used_by_site: Mapping[str, Mapping[str, int]],
    excluded_sites: Collection[str],
) -> dict[str, int]:
    """Replicas to reserve capacity for, by site; empty: it would not fit, whatever ended.

    Args:
        demand: the demand that waits.
        fleet: the fleet.
        context: the time and terms.
        used_by_site: what placed replicas ask, by site and resource.
        excluded_sites: sites at which nothing is to be reserved.
    """
    if not is_reservable(demand):
        return {}
    state = prepare_cycle(demand, fleet, context)
    slots = np.array(
        [
            slot
            for slot in state.filter_result.admitted_slots.tolist()
            if slot not in state.retained.excluded and fleet.name_at(slot) not in excluded_sites
            if _has_gpu_cards(demand, fleet, slot)
        ],
        np.int64,
    )
    if not len(slots):
        return {}
    missing = max(1, demand.replicas - sum(state.retained.kept.values()))
    additional, max_replicas = (
        state.capacity.replicas_at(slots),
        _max_replicas(demand, fleet, slots, used_by_site),
    )
    names = [fleet.name_at(slot) for slot in slots.tolist()]
    return _choose_sites(
        missing, list(zip(names, additional.tolist(), max_replicas.tolist(), strict=True))
    )


def _choose_sites(missing: int, sites: list[tuple[str, int, int]]) -> dict[str, int]:
    """The one site that suffices and has the most free, or else those that could hold most.

    Args:
        missing: how many replicas.
        sites: name, replicas that fit now, and replicas that it could hold at most.
    """
    enough = [each for each in sites if each[2] >= missing]
    if enough:
        return {min(enough, key=lambda each: (-each[1], -each[2], each[0]))[0]: missing}
    found: dict[str, int] = {}
    for name, _, most in sorted(sites, key=lambda each: (-each[2], -each[1], each[0])):
        found[name] = min(most, missing)
        missing -= found[name]
        if not missing:
            return {site: count for site, count in found.items() if count}
    return {}


def _has_gpu_cards(demand: Demand, fleet: Fleet, slot: int) -> bool:
    """Whether a site has GPU cards, used or free, if shares of cards are asked."""
    facts = fleet.facts[slot]
    if facts is None or not any(each.shape.gpu_cards for each in demand.unit):
        return facts is not None
    rows = (row for each in facts.status.node_classes for row in each.free)
    return any(name.startswith(GPU_MILLI) for row in rows for name in row)


def _max_replicas(
    demand: Demand, fleet: Fleet, slots: Ints, used_by_site: Mapping[str, Mapping[str, int]]
) -> Ints:
    """Replicas that sites could hold, by sums of what is free and of what placed work asks."""
    rows = fleet.nodes.rows
    index = rows.row_indices(slots)
    counts = fleet.nodes.node_counts(index)
    names = [fleet.name_at(slot) for slot in slots.tolist()]
    max_replicas: Floats = np.full(len(slots), float(demand.replicas))
    for resource, asked in demand.requests.items():
        if asked <= 0:
            continue
        number = fleet.nodes.column_number(resource)
        free = rows.sum_by_site(slots, rows.matrix[number].take(index) * counts)
        if number < len(fleet.in_flight_totals.totals):
            free -= fleet.in_flight_totals.totals[number].take(slots)
        placed = np.array(
            [used_by_site.get(name, {}).get(resource, 0) for name in names], np.float64
        )
        max_replicas = np.minimum(max_replicas, np.floor((free + placed) / asked))
    return np.maximum(max_replicas, 0.0).astype(np.int64)
