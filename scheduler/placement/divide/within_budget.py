"""The cheapest division, tried if the strategy's would exceed the tenant's budget.

A strategy is a preference about even shares; a budget is a limit. A note of the decision says that
it was divided by cost instead. Duplicated work, and a pair with its standby, are never divided by
cost.
"""

from msgspec.structs import replace

from scheduler.placement.cost.spend import explain_over_tenant_limits
from scheduler.placement.divide.disaster_recovery import DISASTER_RECOVERY_PRESET
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.site_groups import divide_with_preferred_affinity
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


def divide_within_budget(
    request: DivisionRequest, fleet: Fleet, context: DecisionContext
) -> Division | None:
    """The cheapest division, if it is within the budget; None: it is not, or may not be used.

    Args:
        request: the request of which the division by strategy exceeds the budget.
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
    note = f"{demand.strategy} would exceed the tenant's budget; divided by cost instead"
    return replace(division, notes=(*division.notes, note))


_STRATEGIES_NOT_REPLACED = ("CostOptimal", "Duplicated")
