"""The decision on one page: filter, fit, cost, divide, choose.

It is a pure function of its inputs. "No" is an answer: `Waiting` when a site passes every rule and
only capacity or time is missing, `Refused` when no site does or it is too late. Running replicas
are never taken away because nothing fits now.
"""

from collections.abc import Collection, Sequence
from datetime import datetime

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.decision import Decision, RolloutStep
from scheduler.model.demand.assignment import BatchAssignment
from scheduler.model.demand.demand import Demand, RebalanceQuestion
from scheduler.model.demand.ordinals import OrdinalRange, growth_by_site
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.placement.assigned import follow_assignment
from scheduler.placement.cost.spend import explain_over_tenant_limits, with_limit_message
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.divide.site_groups import divide_with_preferred_affinity
from scheduler.placement.divide.within_budget import divide_within_budget
from scheduler.placement.filter.filter import filter_sites
from scheduler.placement.filter.retention import retained_shares
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.labels import site_labels
from scheduler.placement.gates import scheduling_gate, with_gate_message
from scheduler.placement.plain import choose_plainly
from scheduler.placement.preemption.preempt import preempt
from scheduler.placement.rebalance.saving import format_saving, is_worth_it, saving_of
from scheduler.placement.result import CycleState, build_decision
from scheduler.placement.rollout.advance import advance, with_rollout
from scheduler.placement.rule_moves import may_move, move_to_meet_rules
from scheduler.placement.start_time import can_wait, note_on_given_up_plan, plan_start, postpone

Ints = NDArray[np.int64]


def choose(
    demand: Demand,
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    assigned: BatchAssignment | None = None,
) -> Decision:
    """Decides where a workload runs.

    Args:
        demand: the workload, with what of it runs already.
        fleet: the sites; only its caches change.
        now: the time of the decision; aware.
        terms: limits, prices and assumed figures.
        assigned: where a batch puts the workload. It is followed if every rule and the room hold;
            otherwise the decision is the same as without it.

    Returns:
        The cheapest division that meets every rule, or why there is none. For work that can wait
        it may be a later start, if that is cheaper.
    """
    context = decision_context(now, terms)
    if demand.rebalance is not None:
        return _choose_cheaper(demand, fleet, context, demand.rebalance)
    decision = (assigned is None and choose_plainly(demand, fleet, context)) or _choose_in_steps(
        demand, fleet, context, assigned
    )
    if demand.victims and decision.phase == "Waiting":
        decision = _choose_victims(decision, demand, fleet, context)
    if demand.rollout is not None:
        sites = [each.site for each in decision.assignment if each.replicas > 0]
        return with_rollout(decision, rollout_step(demand, sites, fleet, now=now, terms=terms))
    return decision


def _choose_cheaper(
    demand: Demand, fleet: Fleet, context: DecisionContext, question: RebalanceQuestion
) -> Decision:
    """The decision that starts over, if what that moves is worth it; else all stays as it is."""
    plain, now, terms = replace(demand, rebalance=None), context.now, context.terms
    steady = choose(replace(plain, mode="Steady"), fleet, now=now, terms=terms)
    runs = {one.site: one.replicas for one in steady.assignment if one.replicas > 0}
    if steady.phase != "Placed" or runs != demand.placed_replicas or steady.violations:
        return steady
    fresh = choose(replace(plain, mode="Fresh"), fleet, now=now, terms=terms)
    step = saving_of(steady, fresh, plain, fleet, context)
    if step is None or fresh.unmet or not is_worth_it(step, question):
        return steady
    return replace(fresh, rebalance=step, line=fresh.line + format_saving(step))


def rollout_step(
    demand: Demand,
    sites: Sequence[str],
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
) -> RolloutStep | None:
    """The next step of the rollout of a workload; None: nothing is rolled out.

    Args:
        demand: the workload.
        sites: where it has replicas.
        fleet: the sites, which say their labels and whether there is room for surge.
        now: the time of the decision; aware.
        terms: limits, prices and assumed figures.
    """
    if demand.rollout is None:
        return None

    def lacks_room(site: str, pods: int) -> bool:
        slot = fleet.slot_of.get(site)
        if slot is None:
            return True
        state = prepare_cycle(demand, fleet, decision_context(now, terms))
        return state.capacity.replicas_at_slot(slot) < pods

    labels = {
        site: site_labels(fleet.facts_of(site)) if site in fleet.slot_of else {} for site in sites
    }
    return advance(demand.rollout, labels, now=now, lacks_room=lacks_room)


def _choose_victims(
    waiting: Decision, demand: Demand, fleet: Fleet, context: DecisionContext
) -> Decision:
    """The decision with what ends for a workload that finds no room, or whose tenant no quota.

    What can wait for a later start ends nothing.
    """
    state = prepare_cycle(demand, fleet, context)
    if scheduling_gate(demand, state.retained, context) not in (None, "quota") or can_wait(demand):
        return waiting

    def decide(request: DivisionRequest) -> Decision:
        division = divide_with_preferred_affinity(request, fleet)
        after = replace(state, capacity=request.capacity, demand=request.demand)
        return _decide_within_limits(after, request, division)

    # Of the room that planned starts keep, nothing is given to it: no victim has that.
    request = division_request(state)
    request = replace(
        request, open_slots=_without(request.open_slots, state.capacity.planned_slots)
    )
    return preempt(
        waiting,
        request,
        fleet,
        filter_result=state.filter_result,
        context=context,
        decide=decide,
    )


def _choose_in_steps(
    demand: Demand, fleet: Fleet, context: DecisionContext, assigned: BatchAssignment | None
) -> Decision:
    state = prepare_cycle(demand, fleet, context)
    gate = scheduling_gate(demand, state.retained, state.context)
    if gate:
        return with_gate_message(
            build_decision(state, Division(replicas_by_slot=None), gate),
            demand,
            state.context,
            gate,
        )
    if not len(state.filter_result.admitted_slots) and not demand.placed and not demand.companions:
        return build_decision(
            state, Division(replicas_by_slot=None if demand.replicas else {}), None
        )
    request = division_request(state)
    division = divide_with_preferred_affinity(request, fleet)
    if may_move(demand):
        division = move_to_meet_rules(request, division, fleet, state.filter_result, state.context)
    now_shares = division.replicas_by_slot
    may_find_room_later = now_shares is None and fleet.planned_slots
    if can_wait(demand) and (now_shares or may_find_room_later):
        plan = plan_start(state, request, now_shares)
        if plan is not None:
            too_early = build_decision(state, Division(replicas_by_slot=None), "deadline")
            return postpone(too_early, state, plan, now_shares)
    followed = assigned and follow_assignment(
        assigned,
        request,
        division,
        fleet=fleet,
        filter_result=state.filter_result,
        context=state.context,
    )
    if followed:
        return replace(build_decision(state, followed.division, None), batch=followed.batch)
    return _decide_within_limits(state, request, division)


def _decide_within_limits(
    state: CycleState, request: DivisionRequest, division: Division
) -> Decision:
    """The decision by a division, or by the cheapest one within the tenant's budget."""
    demand, fleet = state.demand, state.fleet
    over_budget = explain_over_tenant_limits(
        demand, fleet, state.context, state.costs, division.replicas_by_slot or {}
    )
    cheapest_in_budget = (
        divide_within_budget(request, fleet, state.context) if over_budget else division
    )
    if cheapest_in_budget is None:
        return with_limit_message(
            build_decision(state, Division(replicas_by_slot=None), "quota"), over_budget
        )
    decision = build_decision(state, cheapest_in_budget, None)
    if demand.plan is None or not can_wait(demand):
        return decision
    return note_on_given_up_plan(decision, state, cheapest_in_budget.replicas_by_slot or {})


def prepare_cycle(demand: Demand, fleet: Fleet, context: DecisionContext) -> CycleState:
    """The steps before dividing: filter, fit and cost. The last two compute on request.

    Work that can wait is priced by the same series for a start now as for every later one.
    """
    if context.start_seconds is None and can_wait(demand):
        context = replace(context, start_seconds=context.now_seconds)
    filter_result = filter_sites(demand, fleet, context)
    retained = retained_shares(demand, fleet, filter_result, context)
    capacity = SiteCapacity(fleet, demand, filter_result.rights.vendor_sets, context)
    return CycleState(
        demand=demand,
        fleet=fleet,
        context=context,
        filter_result=filter_result,
        retained=retained,
        capacity=capacity,
    )


def division_request(state: CycleState) -> DivisionRequest:
    """What is to be divided: the missing replicas in mode Steady, all of them in mode Fresh."""
    demand, fleet = state.demand, state.fleet
    filter_result, retained = state.filter_result, state.retained
    open_slots = filter_result.admitted_slots
    if retained.excluded:
        open_slots = _without(open_slots, retained.excluded)
    weights = None
    if demand.strategy == "Weighted" and demand.weights:
        weights = {
            fleet.slot_of[each.site]: each.weight
            for each in demand.weights
            if each.weight > 0 and each.site in fleet.slot_of
        }
        open_slots = np.intersect1d(open_slots, np.array(sorted(weights), np.int64))
    fresh = demand.mode == "Fresh"
    return DivisionRequest(
        demand=demand,
        replicas=demand.replicas,
        kept={} if fresh else dict(retained.kept),
        open_slots=open_slots,
        capacity=state.capacity,
        costs=state.costs,
        weights=weights,
        own_replicas=dict(retained.kept) if fresh else {},
        caps=_room_in_ranges(state) if demand.identity == "Ranges" else {},
    )


def _without(slots: Ints, excluded: Collection[int]) -> Ints:
    """Slots in ascending order, each once, without some others; quick if these are few."""
    gone = np.array(sorted(excluded), np.int64)
    places = np.searchsorted(slots, gone)
    places = places[: np.searchsorted(places, len(slots))]  # above the last slot there is none
    stays = np.ones(len(slots), np.bool_)
    stays[places[slots[places] == gone[: len(places)]]] = False
    return slots[stays]


def _room_in_ranges(state: CycleState) -> ReplicasBySlot:
    """How many replicas sites with a range of ordinals can get, so that no other range changes."""
    kept, fleet, firsts = state.retained.kept, state.fleet, state.demand.first_ordinals
    ranges = {
        site: OrdinalRange(firsts.get(site, 0), kept[fleet.slot_of[site]])
        for site in state.demand.placed_replicas
        if fleet.slot_of.get(site) in kept
    }
    growth = growth_by_site(ranges, state.demand.replicas)
    return {fleet.slot_of[site]: more for site, more in growth.items()}
