"""The order in which sites are explained: those that a reader needs first come first."""

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import CycleState

Ints = NDArray[np.int64]


def by_need(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    names: Collection[str],
    shares: Mapping[str, int],
) -> list[str]:
    """Names of sites: with replicas, then admitted by cost, then by how many rules refuse.

    Nothing is worded for it, so that of many sites only a page is explained.

    Args:
        demand: as in `choose`.
        fleet: as in `choose`.
        context: the time and terms of the decision.
        names: the sites to order.
        shares: replicas by site in the decision.
    """
    state = prepare_cycle(demand, fleet, context)
    refusals, costs = count_refusals_by_site(state), state.costs.cny
    unknown = np.isnan(costs)

    def key(name: str) -> tuple[int, int, bool, float, str]:
        slot = fleet.slot_of[name]
        cost = 0.0 if unknown[slot] else float(costs[slot])
        return (-shares.get(name, 0), int(refusals[slot]), bool(unknown[slot]), cost, name)

    return sorted(names, key=key)


def count_refusals_by_site(state: CycleState) -> Ints:
    """How many rules refuse each site; [slot_capacity]."""
    counts: Ints = np.zeros(len(state.filter_result.first_refusal_ranks), np.int64)
    for _, passed in state.filter_result.passed:
        counts += ~passed
    # Where no single grant allows all that is asked, each rule may pass by another grant.
    return np.maximum(counts, ~state.filter_result.admitted)
