"""The division that is tried where the strategy's would exceed the tenant's budget.

A strategy is a preference about even shares, and so is the order of site groups; a budget is a
limit. A note of the decision says what was divided by instead. Duplicated work, and a pair with its
standby, are never divided by cost.

A budget of money is met by the cheapest division or by none. A budget of carbon may be met by a
more expensive one: on small fleets an integer program finds the cheapest division within both
budgets; on large ones carbon gets a price, which is raised until the cheapest division meets the
budget, and the program then searches the sites that are near.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.placement.cost.energy import carbon_intensity_with_pue, replica_kwh_per_hour
from scheduler.placement.cost.spend import explain_over_tenant_limits
from scheduler.placement.divide.disaster_recovery import DISASTER_RECOVERY_PRESET
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.divide.site_groups import divide_with_preferred_affinity
from scheduler.placement.divide.spread.search import SumLimit
from scheduler.placement.divide.spread.spread import divide_within_limits
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
IsWithin = Callable[[Division], bool]

_STRATEGIES_NOT_REPLACED = ("Duplicated",)
_MAX_SITES_SEARCHED = 64
"""With at most so many sites that have capacity, the integer program decides."""
_TIGHTER = (1e-9, 1e-5)
"""Parts of a limit that are left unused, as the solver meets limits only within a tolerance."""
_SAME_COST = 1e-9
"""Costs that differ by less are the same, as a ratio."""
_LEAST_PRICE, _PRICE_DECADES, _PRICE_STEPS = 1e-9, 18, 40
"""CNY per gram: the first price tried, how often it grows tenfold, and then how often it is halved
towards the least that does."""


def divide_within_budget(
    request: DivisionRequest, fleet: Fleet, context: DecisionContext
) -> Division | None:
    """The cheapest division within the budget; None: there is none, or it may not be used.

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

    def is_within(division: Division) -> bool:
        return bool(division.replicas_by_slot) and not explain_over_tenant_limits(
            demand, fleet, context, request.costs, division.replicas_by_slot or {}
        )

    for groups in (demand.site_groups, ()) if demand.site_groups else ((),):
        by_cost = replace(demand, strategy="CostOptimal", site_groups=groups)
        asked = replace(request, demand=by_cost, weights=None)
        cheapest = divide_with_preferred_affinity(asked, fleet)
        if is_within(cheapest):
            note = f"{demand.strategy} would exceed the tenant's budget; divided by cost instead"
            return replace(cheapest, notes=(*cheapest.notes, note))
        cleaner = _divide_within_carbon(asked, cheapest, fleet, context, is_within)
        if cleaner is not None:
            note = "the cheapest division would exceed the tenant's budget of carbon"
            return replace(cleaner, notes=(*cleaner.notes, f"{note}; a cleaner one is used"))
    return None


def _divide_within_carbon(
    request: DivisionRequest,
    cheapest: Division,
    fleet: Fleet,
    context: DecisionContext,
    is_within: IsWithin,
) -> Division | None:
    left = request.demand.budget_left
    if left is None or left.gco2_per_hour is None or not cheapest.replicas_by_slot:
        return None
    kwh = replica_kwh_per_hour(request.demand, context)
    grams = carbon_intensity_with_pue(fleet, context).value * kwh
    if _sum_over_replicas(grams, cheapest.replicas_by_slot) <= left.gco2_per_hour:
        return None  # it is the money that is exceeded, and nothing costs less
    has_order = any(not each.required for each in request.demand.companions)
    has_order = has_order or bool(request.demand.site_groups)
    if len(request.open_slots) <= _MAX_SITES_SEARCHED and not has_order:
        searched = _search_within_limits(request, fleet, grams, is_within)
        if searched is not None:
            return searched
    priced = _raise_carbon_price(request, fleet, grams, left.gco2_per_hour)
    if priced is None:
        return None
    found = [priced.with_gap(priced.division)] if is_within(priced.division) else []
    if not has_order:
        nearest = replace(request, open_slots=priced.nearest_slots(request))
        searched = _search_within_limits(nearest, fleet, grams, is_within)
        found += [] if searched is None else [priced.with_gap(searched)]
    return min(found, key=priced.cost_of, default=None)


def _search_within_limits(
    request: DivisionRequest, fleet: Fleet, grams: Floats, is_within: IsWithin
) -> Division | None:
    """The cheapest division within both budgets, with preferred levels where they can be met."""
    required = tuple(rule for rule in request.demand.spread if rule.required)
    for spread in dict.fromkeys((request.demand.spread, required)):
        asked = replace(request, demand=replace(request.demand, spread=spread))
        division = _search_with_spread(asked, fleet, grams, is_within)
        if division is not None:
            return division
    return None


def _search_with_spread(
    request: DivisionRequest, fleet: Fleet, grams: Floats, is_within: IsWithin
) -> Division | None:
    left = request.demand.budget_left
    bounds = (
        ()
        if left is None
        else ((grams, left.gco2_per_hour), (request.costs.cny, left.cny_per_hour))
    )
    for slack in _TIGHTER:
        limits = [
            SumLimit(each, (most - _sum_over_replicas(each, request.kept)) * (1.0 - slack))
            for each, most in bounds
            if most is not None
        ]
        division = divide_within_limits(request, fleet, limits)
        if is_within(division):
            return division
    return None


@dataclass(frozen=True, slots=True)
class _PricedDivision:
    """The cheapest division at the least price of carbon at which it meets the budget of carbon.

    Attributes:
        division: the division.
        cny: CNY per replica-hour, without that price; [slot_capacity].
        priced: CNY per replica-hour, with it; [slot_capacity].
        bound: no division within the budget of carbon costs less, in CNY per hour.
    """

    division: Division
    cny: Floats
    priced: Floats
    bound: float

    def cost_of(self, division: Division) -> float:
        """What a division costs, in CNY per hour."""
        return _sum_over_replicas(self.cny, division.replicas_by_slot or {})

    def with_gap(self, division: Division) -> Division:
        """A division with what it may cost above the best one."""
        cost = self.cost_of(division)
        gap = (cost - self.bound) / cost if cost > 0 else 0.0
        is_proven = self.division.is_optimal and gap <= _SAME_COST
        return replace(division, is_optimal=is_proven, gap=0.0 if is_proven else max(gap, 0.0))

    def nearest_slots(self, request: DivisionRequest) -> Ints:
        """Few sites with capacity: those that are used, and the cheapest at this price."""
        slots = request.open_slots[request.max_additional_at(request.open_slots) > 0]
        order = np.argsort(self.priced[slots], kind="stable")[:_MAX_SITES_SEARCHED]
        used = np.array(sorted(self.division.replicas_by_slot or {}), np.int64)
        return np.union1d(slots[order], np.intersect1d(slots, used))


def _raise_carbon_price(
    request: DivisionRequest, fleet: Fleet, grams: Floats, most: float
) -> _PricedDivision | None:
    """Raises the price of carbon until the cheapest division meets its budget; None: it never does.

    A division within the budget costs at least the priced cost less the price of the whole budget.
    """
    cny = request.costs.cny

    def divided_at(price: float) -> Division:
        costs = replace(request.costs, cny=cny + price * grams)
        return divide_with_preferred_affinity(replace(request, costs=costs), fleet)

    def is_clean(division: Division) -> bool:
        shares = division.replicas_by_slot
        return bool(shares) and _sum_over_replicas(grams, shares or {}) <= most

    prices = (_LEAST_PRICE * 10.0**decade for decade in range(_PRICE_DECADES))
    high = next((price for price in prices if is_clean(divided_at(price))), None)
    if high is None:
        return None
    low = high / 10
    for _ in range(_PRICE_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_clean(divided_at(middle)) else (middle, high)
    best, priced = divided_at(high), cny + high * grams
    bound = _sum_over_replicas(priced, best.replicas_by_slot or {}) - high * most
    return _PricedDivision(best, cny, priced, bound)


def _sum_over_replicas(figures: Floats, shares: ReplicasBySlot) -> float:
    return float(sum(figures[slot] * count for slot, count in sorted(shares.items())))
