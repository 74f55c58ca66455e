"""New work that asks nothing special of its division: `choose` in fewer steps, the same answer.

Most demands are such: nothing of them runs yet, a replica is one pod, and the cheapest sites are
filled. For them the steps of `choose` that look at running replicas, gates, groups, spread, budgets
and later starts have nothing to do. Filter, fit, cost and the count of reasons are those of
`choose`.
"""

from operator import attrgetter

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.placement.cost.site_costs import site_costs_of
from scheduler.placement.divide.divide import cheapest_of
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.filter.filter import filter_sites
from scheduler.placement.filter.retention import RetainedShares
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import CycleState, build_decision, build_placed_decision

PLAIN_FIELDS = (
    "placed",  # else replicas may be kept, lost or moved
    "companions",
    "site_groups",
    "spread",
    "preset",
    "strategy",
    "schedule",  # else it may be too early or too late, or a later start cheaper
    "paused",
    "quota_left",
    "budget_left",
    "plan",
    "identity",  # else sites have ranges of ordinals
    "beside",
    "per_node",
    "unknown_scope",
    "budget_hold",  # else it may be held for the month
)
"""The fields of a demand that must have their defaults."""
_values_of = attrgetter(*PLAIN_FIELDS)
_DEFAULTS = _values_of(Demand(key=""))


def choose_plainly(demand: Demand, fleet: Fleet, context: DecisionContext) -> Decision | None:
    """The decision about plain work; None: the work is not plain, or no kernel fits its pods.

    Where planned starts may take room it is None, too.
    """
    if _values_of(demand) != _DEFAULTS or demand.replicas <= 0 or not fleet.is_compiled:
        return None
    filter_result = filter_sites(demand, fleet, context)
    slots = filter_result.admitted_slots
    capacity = SiteCapacity(fleet, demand, filter_result.rights.vendor_sets)
    if not capacity.has_no_caveats or capacity.unbounded_kernel_fit is None:
        return None
    if len(slots):
        costs = site_costs_of(demand, fleet, context)
        shares: ReplicasBySlot = {}
        sites = cheapest_of(slots, capacity, costs)
        if sites is not None and sites.fill(shares, demand.replicas):
            if not fleet.planned_slots.isdisjoint(shares):
                return None  # planned starts may take room there
            return build_placed_decision(
                demand, fleet, context, costs=costs, shares=shares, filter_result=filter_result
            )
    if fleet.planned_slots:
        return None
    state = CycleState(
        demand=demand,
        fleet=fleet,
        context=context,
        filter_result=filter_result,
        retained=RetainedShares(),
        capacity=capacity,
    )
    return build_decision(state, Division(replicas_by_slot=None), None)
