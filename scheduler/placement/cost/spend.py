"""What a placement costs per hour, and whether a tenant's quota and budget allow it.

A budget is a rate: CNY per hour (`cnyPerHour` of decisions: energy, compute and the priced terms)
and kgCO2e per hour. Unknown figures count as the assumed ones, which are on the expensive side:
unknown is never free. Fewer or moved replicas are always allowed; running replicas are never ended
because of money.
"""

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.tenant import Spend
from scheduler.model.quantities import format_amount
from scheduler.model.units import GRAMS_PER_KILOGRAM
from scheduler.placement.cost.energy import carbon_intensity_with_pue, replica_kwh_per_hour
from scheduler.placement.cost.site_costs import SiteCosts, site_costs_of
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.daemon_nodes import daemon_pods_at
from scheduler.placement.fleet.fleet import Fleet


def spend_of(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    replicas_by_site: Mapping[str, int],
    costs: SiteCosts | None = None,
) -> Spend:
    """What replicas at these sites cost per hour; sites that are gone cost nothing.

    Args:
        demand: the demand that the replicas are of.
        fleet: the fleet, with the prices.
        context: the time and terms.
        replicas_by_site: replicas by site.
        costs: the result of `site_costs_of`, if the caller has it.
    """
    known = sorted(site for site in replicas_by_site if site in fleet.slot_of)
    if not known:
        return Spend()
    slots = np.array([fleet.slot_of[site] for site in known], np.int64)
    counts = np.array([replicas_by_site[site] for site in known], np.float64)
    site_costs = site_costs_of(demand, fleet, context) if costs is None else costs
    kwh = replica_kwh_per_hour(demand, context)
    return Spend(
        cny_per_hour=float((counts * site_costs.cny[slots]).sum()),
        gco2_per_hour=float(
            (counts * kwh * carbon_intensity_with_pue(fleet, context).value[slots]).sum()
        ),
    )


def explain_over_quota(
    demand: Demand, replicas: int, sites: int, daemon_pods: Sequence[int] = ()
) -> str:
    """Why a tenant's quota does not allow so many replicas at so many sites; empty if it does.

    Args:
        demand: the workload.
        replicas: at all sites.
        sites: how many sites.
        daemon_pods: on how many nodes of these each of `demand.per_node` runs.
    """
    if not demand.quota_left:
        return ""
    usage = demand.quota_usage(replicas, sites, daemon_pods)
    for name, left in demand.quota_left.items():
        asked = usage.get(name, 0)
        if asked > left:
            rest = format_amount(name, max(0, left))
            own = format_amount(name, demand.quota.get(name, 0))
            return (
                f"tenant {demand.tenant} has {rest} of {name} left (its quota is {own}); "
                f"the workload requests {format_amount(name, asked)}"
            )
    return ""


def explain_over_tenant_limits(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    costs: SiteCosts,
    replicas_by_slot: Mapping[int, int],
) -> str:
    """Why the tenant's quota or budget does not allow a division; empty if both do."""
    if demand.quota_left is None and demand.budget_left is None:
        return ""
    replicas_by_site = {
        fleet.name_at(slot): count for slot, count in replicas_by_slot.items() if count
    }
    before = demand.placed_replicas
    replicas = sum(replicas_by_site.values())
    if replicas <= sum(before.values()) and len(replicas_by_site) <= len(before):
        return ""
    daemon_pods = daemon_pods_at(demand, fleet, replicas_by_site)
    return explain_over_quota(
        demand, replicas, len(replicas_by_site), daemon_pods
    ) or _explain_over_budget(demand, spend_of(demand, fleet, context, replicas_by_site, costs))


def _explain_over_budget(demand: Demand, spend: Spend) -> str:
    left, budget = demand.budget_left, demand.budget
    if left is None:
        return ""
    grams = None if budget.kgco2e_per_hour is None else budget.kgco2e_per_hour * GRAMS_PER_KILOGRAM
    for unit, asked, rest, whole in (
        ("CNY/h", spend.cny_per_hour, left.cny_per_hour, budget.cny_per_hour),
        ("gCO2e/h", spend.gco2_per_hour, left.gco2_per_hour, grams),
    ):
        if rest is not None and not asked <= rest:  # so that NaN is over the budget
            return (
                f"tenant {demand.tenant} has {max(0.0, rest):.4g} {unit} left of its budget of "
                f"{whole:.4g} {unit}; the placement would take {asked:.4g} {unit}"
            )
    return ""


def with_limit_message(decision: Decision, sentence: str) -> Decision:
    """The decision with a sentence of `explain_over_tenant_limits` at the end of its line."""
    return msgspec.structs.replace(decision, line=f"{decision.line}; {sentence}")
