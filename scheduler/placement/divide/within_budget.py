"""Where a strategy would cost more than the tenant's budget leaves, the cheapest division is tried.

A strategy is a wish about evenness; a budget is a limit. The decision says in its notes that cost
divided in place of the strategy. What is not to be divided by cost (Duplicated work, a pair and its
standby) is not.
"""

from msgspec.structs import replace

from scheduler.placement.cost.spend import beyond_tenant
from scheduler.placement.divide.disaster_recovery import PRESET
from scheduler.placement.divide.divide import Ask
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.preferred_affinity import divide_as_wished
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


def cheaper(ask: Ask, fleet: Fleet, moment: Moment) -> Division | None:
    """The cheapest division, if the tenant may have it; None: not even that.

    Args:
        ask: what the strategy divided, at a price that is too high.
        fleet: the fleet.
        moment: the time and terms.
    """
    demand = ask.demand
    if demand.budget_left is None or demand.strategy in _AS_THEY_ARE or demand.preset == PRESET:
        return None
    by_cost = replace(demand, strategy="CostOptimal")
    division = divide_as_wished(replace(ask, demand=by_cost, weights=None), fleet)
    if not division.shares or beyond_tenant(demand, fleet, moment, ask.price, division.shares):
        return None
    note = f"{demand.strategy} would cost more than the budget leaves; divided by cost"
    return replace(division, notes=(*division.notes, note))


_AS_THEY_ARE = ("CostOptimal", "Duplicated")
