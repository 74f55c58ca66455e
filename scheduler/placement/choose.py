"""The decision on one page: admit, fit, cost, divide, choose.

A function of its inputs and of nothing else. "No" is an answer: `Waiting` when a site passes every
rule and only room or time is missing, `Refused` when none does or it is too late. What runs is
never taken away because nothing fits now.
"""

from datetime import datetime

import numpy as np

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.placement.cost.spend import explain_over_tenant_limits, with_limit_message
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import Division
from scheduler.placement.divide.preferred_affinity import divide_with_preferred_affinity
from scheduler.placement.divide.within_budget import divide_within_budget
from scheduler.placement.filter.filter import admit
from scheduler.placement.filter.retention import standing_of
from scheduler.placement.fit.capacity import Room
from scheduler.placement.fleet.context import Moment, moment_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.gates import hindrance, told
from scheduler.placement.result import Case, conclude
from scheduler.placement.start_time import can_wait, planned, postponed


def choose(
    demand: Demand, fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> Decision:
    """Decides where a workload runs.

    Args:
        demand: what is asked, with what runs already.
        fleet: what is known of the sites; it is not changed.
        now: the time of the decision, aware.
        terms: limits, prices and assumed figures.

    Returns:
        The cheapest division that breaks no rule, or why there is none; for work that can wait a
        later start, if that is cheaper.
    """
    case = consider(demand, fleet, moment_of(now, terms))
    hindered = hindrance(demand, case.standing, case.moment)
    if hindered:
        return told(conclude(case, Division(None), hindered), demand, case.moment, hindered)
    if not len(case.admission.slots) and not demand.placed and not demand.companions:
        return conclude(case, Division(None if demand.replicas else {}), None)
    ask = ask_of(case)
    division = divide_with_preferred_affinity(ask, fleet)
    if can_wait(demand) and division.replicas_by_slot:
        plan = planned(case, ask, division.replicas_by_slot)
        if plan is not None:
            not_yet = conclude(case, Division(None), "deadline")
            return postponed(not_yet, case, plan, division.replicas_by_slot)
    beyond = explain_over_tenant_limits(
        demand, fleet, case.moment, case.price, division.replicas_by_slot or {}
    )
    frugal = divide_within_budget(ask, fleet, case.moment) if beyond else division
    if frugal is None:
        return with_limit_message(conclude(case, Division(None), "quota"), beyond)
    return conclude(case, frugal, None)


def consider(demand: Demand, fleet: Fleet, moment: Moment) -> Case:
    """The first three steps: who may, who has room, at what cost; the last two when asked for."""
    admission = admit(demand, fleet, moment)
    standing = standing_of(demand, fleet, admission, moment)
    room = Room(fleet, demand, admission.rights.vendor_sets)
    return Case(demand, fleet, moment, admission, standing, room)


def ask_of(case: Case) -> DivisionRequest:
    """What is left to divide: the difference in Steady, everything in Fresh."""
    demand, fleet = case.demand, case.fleet
    admission, standing = case.admission, case.standing
    open_slots = admission.slots
    if standing.barred:
        open_slots = np.setdiff1d(open_slots, np.array(sorted(standing.barred)))
    weights = None
    if demand.strategy == "Weighted" and demand.weights:
        named = {each.site: each.weight for each in demand.weights if each.weight > 0}
        weights = {
            fleet.slot_of[site]: weight for site, weight in named.items() if site in fleet.slot_of
        }
        open_slots = np.intersect1d(open_slots, np.array(sorted(weights), np.int64))
    fresh = demand.mode == "Fresh"
    return DivisionRequest(
        demand=demand,
        replicas=demand.replicas,
        kept={} if fresh else dict(standing.kept),
        open_slots=open_slots,
        capacity=case.room,
        costs=case.price,
        weights=weights,
        own_replicas=dict(standing.kept) if fresh else {},
    )
