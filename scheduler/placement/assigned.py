"""Follows what a batch or a kept plan assigns to a workload, if every rule and the room still hold.

A batch weighs all waiting workloads against each other, so its site may cost a single workload more
than another one. Only work that is divided by cost alone, and that starts at once, can follow it:
even shares, weights, an order of site groups or a preference say more than a batch knows. The plan
that was kept for a loss (`scheduler/model/demand/loss_plan.py`) is followed by the same rules.
"""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.decision import FollowedBatch
from scheduler.model.demand.assignment import BatchAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_list
from scheduler.placement.cost.site_costs import SiteCosts
from scheduler.placement.cost.spend import explain_over_tenant_limits
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division, ReplicasBySlot, add_replicas
from scheduler.placement.divide.site_groups import divide_with_preferred_affinity
from scheduler.placement.filter.filter import FilterResult
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.required_rules import unmet_rules

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SAME_CNY_PER_HOUR = 1e-9
_DIGITS = 9
_VERSION_CHARACTERS = len("sha256:") + 12
_MAX_NAMED_SITES = 8
_SCARCITY = "scarcity"


@dataclass(frozen=True, slots=True)
class Followed:
    """A division that a batch assigned.

    Attributes:
        division: the division.
        batch: which batch it was, and what following it costs.
    """

    division: Division
    batch: FollowedBatch


def follow_assignment(
    assigned: BatchAssignment,
    request: DivisionRequest,
    usual: Division,
    *,
    fleet: Fleet,
    filter_result: FilterResult,
    context: DecisionContext,
) -> Followed | None:
    """The division that a batch assigned; None: it does not hold now.

    Args:
        assigned: where the batch puts what is missing.
        request: what is divided.
        usual: the division without the batch.
        fleet: the sites.
        filter_result: the answers of the filter.
        context: the time and terms.
    """
    if not usual.replicas_by_slot or not may_follow(request.demand):
        return None
    added = _added_replicas(assigned, request, fleet)
    if added is None:
        return None
    slots = np.array(list(added), np.int64)
    replicas = np.array(list(added.values()), np.int64)
    shares = add_replicas(request.kept, slots, replicas)
    demand, costs = request.demand, request.costs
    if (
        (request.max_additional_at(slots) < replicas).any()
        or _missing_figures(costs, shares) > _missing_figures(costs, usual.replicas_by_slot)
        or unmet_rules(demand, fleet, shares, filter_result, context)
        or explain_over_tenant_limits(demand, fleet, context, costs, shares)
    ):
        return None
    above = _cny_above_cheapest(request, shares, fleet)
    note = _format_note(assigned, above)
    division = _with_gap(usual, shares, costs)
    return Followed(
        replace(division, notes=(*usual.notes, note)),
        FollowedBatch(
            assignment=assigned.version, loss=assigned.loss, cny_above_cheapest_per_hour=above
        ),
    )


def may_follow(demand: Demand) -> bool:
    """Whether a demand is divided by cost alone, at once, so that a batch may choose its sites."""
    has_preference = (
        bool(demand.site_groups)
        or any(not each.required for each in demand.companions)
        or any(not each.required for each in demand.spread)
    )
    schedule = demand.schedule
    is_timed = schedule.deadline is not None and bool(schedule.duration_seconds)
    starts_over = demand.mode == "Fresh" and bool(demand.placed)
    by_cost = demand.strategy == "CostOptimal" and not demand.preset
    return by_cost and not has_preference and not is_timed and not starts_over


def _added_replicas(
    assigned: BatchAssignment, request: DivisionRequest, fleet: Fleet
) -> ReplicasBySlot | None:
    """What is added by slot; None if it is not what is missing now, or not at open sites."""
    missing = request.replicas - request.kept_total
    added: ReplicasBySlot = {}
    for each in assigned.sites:
        slot = fleet.slot_of.get(each.site)
        if slot is None or slot in added or each.replicas <= 0:
            return None
        added[slot] = each.replicas
    if missing <= 0 or sum(added.values()) != missing:
        return None
    is_open = np.isin(np.array(list(added), np.int64), request.open_slots)
    return added if is_open.all() else None


def _missing_figures(costs: SiteCosts, shares: ReplicasBySlot) -> int:
    return sum(int(costs.unknown[slot]) * count for slot, count in shares.items())


def _with_gap(usual: Division, shares: ReplicasBySlot, costs: SiteCosts) -> Division:
    """The division of these shares, with what it may cost above the best one."""
    cost = _sum_over_replicas(costs.cny, shares)
    least = _sum_over_replicas(costs.cny, usual.replicas_by_slot or {})
    if usual.is_optimal and cost - least <= _SAME_CNY_PER_HOUR:
        return replace(usual, replicas_by_slot=shares)
    is_bounded = cost > 0 and (usual.is_optimal or usual.gap > 0)
    gap = (cost - least * (1 - usual.gap)) / cost if is_bounded else 0.0
    return replace(usual, replicas_by_slot=shares, is_optimal=False, gap=max(0.0, gap))


def _cny_above_cheapest(
    request: DivisionRequest, shares: ReplicasBySlot, fleet: Fleet
) -> float | None:
    """What shares cost an hour above the cheapest division, in money; None: it is not known."""
    costs = request.costs
    money = np.zeros(len(costs.cny))
    for rule, units, figures in costs.terms:
        if rule.term != _SCARCITY:
            money += figures.value * units
    cheapest = divide_with_preferred_affinity(
        replace(request, costs=replace(costs, cny=money)), fleet
    ).replicas_by_slot
    if cheapest is None:
        return None
    used = np.array(sorted({*shares, *cheapest}), np.int64)
    if not costs.are_known(used):
        return None
    above = _sum_over_replicas(money, shares) - _sum_over_replicas(money, cheapest)
    return round(above, _DIGITS) if above > _SAME_CNY_PER_HOUR else 0.0


def _format_note(assigned: BatchAssignment, above: float | None) -> str:
    sites = sorted(f"{each.site} ({each.replicas})" for each in assigned.sites)
    where = format_list(sites, _MAX_NAMED_SITES)
    if above is None:
        cost = "the cost above the cheapest sites is unknown"
    elif above:
        cost = f"{above:.4g} CNY/h above the cheapest sites"
    else:
        cost = "no site is cheaper"
    version = assigned.version[:_VERSION_CHARACTERS]
    if assigned.loss:
        return f"by the plan {version} for the loss of {assigned.loss} to {where}: {cost}"
    return f"assigned by batch {version} to {where}: {cost}"


def _sum_over_replicas(figures: Floats, shares: ReplicasBySlot) -> float:
    return float(sum(figures[slot] * count for slot, count in sorted(shares.items())))
