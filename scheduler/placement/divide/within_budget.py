"""Where a strategy would cost more than the tenant's budget leaves, the cheapest division is tried.

A strategy is a wish about evenness; a budget is a limit. The decision says in its notes that cost
divided in place of the strategy. What is not to be divided by cost (Duplicated work, a pair and its
standby) is not.
"""

from msgspec.structs import replace

from scheduler.placement.cost.spend import explain_over_tenant_limits
from scheduler.placement.divide.disaster_recovery import DISASTER_RECOVERY_PRESET
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.preferred_affinity import divide_with_preferred_affinity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


def divide_within_budget(
    request: DivisionRequest, fleet: Fleet, context: DecisionContext
) -> Division | None:
    """The cheapest division, if the tenant may have it; None: not even that.

    Args:
        request: what the strategy divided, at a price that is too high.
        fleet: the fleet.
        context: the time and terms.
    """
    demand = request.demand
    if (
        demand.budget_left is None
        or demand.strategy in _STRATEGIES_NOT_REPLACED
        or demand.preset == DISASTER_RECOVERY_PRESET
    ):
        return None
    by_cost = replace(demand, strategy="CostOptimal")
    division = divide_with_preferred_affinity(replace(request, demand=by_cost, weights=None), fleet)
    if not division.replicas_by_slot or explain_over_tenant_limits(
        demand, fleet, context, request.costs, division.replicas_by_slot
    ):
        return None
    note = f"{demand.strategy} would cost more than the budget leaves; divided by cost"
    return replace(division, notes=(*division.notes, note))


_STRATEGIES_NOT_REPLACED = ("CostOptimal", "Duplicated")
