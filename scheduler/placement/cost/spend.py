"""What a placement costs an hour, and what a tenant's quota and budget say to it.

A budget is a rate: CNY per hour (what decisions call `cnyPerHour`: energy, compute and the priced
terms) and kgCO2e per hour. Figures that are not known count as assumed, on the dear side: unknown
is never free. Fewer or moved replicas are always allowed; what runs is never ended for money.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.tenant import Spend
from scheduler.model.quantities import written
from scheduler.model.units import GRAMS_PER_KILOGRAM
from scheduler.placement.cost.energy import emissions, replica_kwh_per_hour
from scheduler.placement.cost.site_costs import Price, price_of
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


def spend_of(
    demand: Demand,
    fleet: Fleet,
    moment: Moment,
    shares: Mapping[str, int],
    price: Price | None = None,
) -> Spend:
    """What replicas at these sites cost an hour; sites that are gone cost nothing.

    Args:
        demand: what runs.
        fleet: the prices.
        moment: when.
        shares: replicas by site.
        price: what `price_of` says, if it was asked already.
    """
    known = sorted(site for site in shares if site in fleet.slot_of)
    if not known:
        return Spend()
    slots = np.array([fleet.slot_of[site] for site in known], np.int64)
    counts = np.array([shares[site] for site in known], np.float64)
    asked = price_of(demand, fleet, moment) if price is None else price
    kwh = replica_kwh_per_hour(demand, moment)
    return Spend(
        cny_per_hour=float((counts * asked.cny[slots]).sum()),
        gco2_per_hour=float((counts * kwh * emissions(fleet, moment).value[slots]).sum()),
    )


def beyond_quota(demand: Demand, replicas: int, sites: int) -> str:
    """Why a tenant's quota does not allow so much; empty when it does."""
    if not demand.quota_left:
        return ""
    usage = demand.usage(replicas, sites)
    for name, left in demand.quota_left.items():
        asked = usage.get(name, 0)
        if asked > left:
            rest = written(name, max(0, left))
            own = written(name, demand.quota.get(name, 0))
            return (
                f"tenant {demand.tenant} has {rest} of {name} left (its quota is {own}); "
                f"this asks for {written(name, asked)}"
            )
    return ""


def beyond_tenant(
    demand: Demand, fleet: Fleet, moment: Moment, price: Price, shares: Mapping[int, int]
) -> str:
    """Why the tenant may not have this division; empty when it may."""
    if demand.quota_left is None and demand.budget_left is None:
        return ""
    names = {fleet.name_at(slot): count for slot, count in shares.items() if count}
    before = demand.placed_replicas
    replicas = sum(names.values())
    if replicas <= sum(before.values()) and len(names) <= len(before):
        return ""
    return beyond_quota(demand, replicas, len(names)) or _beyond_budget(
        demand, spend_of(demand, fleet, moment, names, price)
    )


def _beyond_budget(demand: Demand, spend: Spend) -> str:
    left, budget = demand.budget_left, demand.budget
    if left is None:
        return ""
    grams = None if budget.kgco2e_per_hour is None else budget.kgco2e_per_hour * GRAMS_PER_KILOGRAM
    for unit, asked, rest, whole in (
        ("CNY/h", spend.cny_per_hour, left.cny_per_hour, budget.cny_per_hour),
        ("gCO2e/h", spend.gco2_per_hour, left.gco2_per_hour, grams),
    ):
        if rest is not None and not asked <= rest:
            return (
                f"tenant {demand.tenant} has {max(0.0, rest):.4g} {unit} left of its budget of "
                f"{whole:.4g} {unit}; this would take {asked:.4g} {unit}"
            )
    return ""


def refused_for(decision: Decision, sentence: str) -> Decision:
    """The decision, with what the tenant's limits say."""
    return msgspec.structs.replace(decision, line=f"{decision.line}; {sentence}")
