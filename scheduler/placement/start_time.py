"""Where and when: work that can wait gets the cheapest site and start within its deadline.

Only work that states its deadline and its duration can wait, and only while no replica runs. Later
starts are considered where a forecast covers the whole run, or where the energy price changes with
the hours. A start now and every later one are priced by one series of each site, so waiting never
wins by a comparison of two sources. All other costs and the free capacity are assumed to stay as
they are now, but for what is planned: a planned start keeps its room for the time of its run
(`fit/planned_room.py`), so the cheapest start with room in its window counts. The workload is
decided again at the planned start, and every hour until then. Starts are planned with a margin
before the latest one, and so that a run which takes longer by `Terms.overrun_ratio` ends in time;
from then on the work takes what is free.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.energy.forecast import IntensityProfile
from scheduler.energy.tariff import Tariff
from scheduler.model.decision import Decision, SiteAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.formatters import format_epoch_seconds
from scheduler.model.kinds.workload import StartPlan
from scheduler.model.units import GRAMS_PER_KILOGRAM, SECONDS_PER_HOUR
from scheduler.placement.cost.energy import (
    carbon_intensity_at_start,
    pue,
    replica_kwh_per_hour,
)
from scheduler.placement.cost.forecasts import group_by_forecast_and_tariff
from scheduler.placement.cost.site_costs import SiteCosts, site_costs_of
from scheduler.placement.cost.terms.waiting import waiting_price
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.division import ReplicasBySlot
from scheduler.placement.divide.site_groups import divide_in_groups
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fit.planned_room import longest_run_seconds, planned_edges
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.in_flight import planned_runs
from scheduler.placement.gates import latest_start_seconds
from scheduler.placement.result import CycleState, format_sites

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_SITES = 64
"""How many sites of one forecast and tariff are considered, the cheapest ones."""
_MAX_STARTS_WITH_PLANS = 48
"""How many starts are tried where planned starts take room, the cheapest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStart:
    """A later start that is cheaper than a start now.

    Attributes:
        start_seconds: the start, in seconds since 1970.
        shares: replicas by slot.
        saved_cny: CNY saved over the whole run, after the cost of waiting; None: there is no room
            for a start now.
        saved_grams: grams of CO2 saved over the whole run; negative when it emits more.
    """

    start_seconds: float
    shares: ReplicasBySlot
    saved_cny: float | None = None
    saved_grams: float = 0.0


def can_wait(demand: Demand) -> bool:
    """Whether a later start may be considered at all."""
    schedule = demand.schedule
    is_timed = schedule.deadline is not None and bool(schedule.duration_seconds)
    return is_timed and demand.replicas > 0 and not demand.placed_replicas


def plan_start(
    state: CycleState, request: DivisionRequest, now_shares: ReplicasBySlot | None
) -> PlannedStart | None:
    """The cheapest later start that has room, if it saves enough; None: start now.

    The start that is planned already has room, whatever is free now: others may use it until then.

    Args:
        state: the results of the steps before, of work that can wait.
        request: what is divided, as for a start now.
        now_shares: replicas by slot for a start now; None: there is no room for one, so any later
            start is better.
    """
    found = _find_start(state, request, now_shares)
    kept = _kept_start(state, request, now_shares)
    if found is None or kept is None:
        return found or kept
    saves_more = (kept.saved_cny or 0.0) > (found.saved_cny or 0.0)
    return kept if saves_more else found


def _kept_start(
    state: CycleState, request: DivisionRequest, now_shares: ReplicasBySlot | None
) -> PlannedStart | None:
    """The start that is planned already, if it may still be."""
    demand, context, fleet = state.demand, state.context, state.fleet
    own = {
        slot: run
        for slot in sorted(fleet.planned_slots)
        if (facts := fleet.facts[slot]) is not None
        for run in facts.planned
        if run.workload == demand.key
    }
    starts = {run.start_at.timestamp() for run in own.values()}
    if len(starts) != 1 or not demand.unit or not set(own) <= set(request.open_slots.tolist()):
        return None
    start_seconds = starts.pop()
    shares = {
        slot: run.pods[0].replicas // demand.unit[0].count for slot, run in own.items() if run.pods
    }
    is_same = own == {
        fleet.slot_of[site]: run
        for site, run in planned_runs(
            demand,
            datetime.fromtimestamp(start_seconds, UTC),
            _assignments(state, shares),
        ).items()
    }
    is_whole = demand.strategy == "Duplicated" or sum(shares.values()) == demand.replicas
    is_in_time = context.now_seconds < start_seconds <= _last_start_seconds(demand, context)
    if not (is_same and is_whole and is_in_time):
        return None
    costs = site_costs_of(demand, fleet, replace(context, start_seconds=start_seconds))
    if now_shares is None:
        return PlannedStart(start_seconds=start_seconds, shares=shares)
    slots = np.array(sorted({*now_shares, *shares}), np.int64)
    if not (costs.are_known(slots) and state.costs.are_known(slots)):
        return None
    return _worthwhile_start(state, costs, now_shares, shares, start_seconds)


def _find_start(
    state: CycleState, request: DivisionRequest, now_shares: ReplicasBySlot | None
) -> PlannedStart | None:
    """The cheapest later start by what is free now and the plans of others."""
    if now_shares is not None:
        slots = np.array(sorted(now_shares), np.int64)
        if not len(slots) or not state.costs.are_known(slots):
            return None
    has_plans = bool(state.fleet.planned_slots)
    bounds = sorted(_best_starts(state, request, has_room_now=now_shares is not None))
    starts = list(dict.fromkeys(start for _, start in bounds))
    # Without plans all starts have the same room, so the cheapest one answers for all.
    for start_seconds in starts[: _MAX_STARTS_WITH_PLANS if has_plans else 1]:
        later_context = replace(state.context, start_seconds=start_seconds)
        capacity = state.capacity.during(later_context)
        if has_plans and not _may_have_room(request, capacity):
            continue
        costs = site_costs_of(state.demand, state.fleet, later_context)
        # Only sites whose costs are known both now and then are candidates: a site must not gain
        # because another one lost a figure.
        unknown = costs.unknown[request.open_slots] + state.costs.unknown[request.open_slots]
        open_slots = request.open_slots[unknown == 0]
        later = replace(request, open_slots=open_slots, costs=costs, capacity=capacity)
        shares = divide_in_groups(later, state.fleet).replicas_by_slot
        if shares is None and has_plans:
            continue
        if now_shares is None and shares is not None:
            return PlannedStart(start_seconds=start_seconds, shares=shares)
        return _worthwhile_start(state, costs, now_shares or {}, shares, start_seconds)
    return None


def _may_have_room(request: DivisionRequest, capacity: SiteCapacity) -> bool:
    """A quick look at whether all sites together have the room that is asked."""
    return int(capacity.replicas_at(request.open_slots).sum()) >= request.replicas


def _worthwhile_start(
    state: CycleState,
    costs: SiteCosts,
    now_shares: ReplicasBySlot,
    shares: ReplicasBySlot | None,
    start_seconds: float,
) -> PlannedStart | None:
    if shares is None:
        return None
    demand, context = state.demand, state.context
    seconds = float(demand.schedule.duration_seconds or 0)
    saved = _sum_over_replicas(state.costs.cny, now_shares) - _sum_over_replicas(costs.cny, shares)
    at_stake = _price_term(state.costs, "carbon").cny(now_shares) or abs(
        _price_term(state.costs, "energy").cny(now_shares)
    )
    if saved <= context.terms.least_saving_ratio * max(0.0, at_stake):
        return None
    grams_now = carbon_intensity_at_start(state.fleet, demand, context).value
    grams_then = carbon_intensity_at_start(
        state.fleet, demand, replace(context, start_seconds=start_seconds)
    ).value
    kwh = replica_kwh_per_hour(demand, context) * seconds / SECONDS_PER_HOUR
    grams = (
        _sum_over_replicas(grams_now, now_shares) - _sum_over_replicas(grams_then, shares)
    ) * kwh
    return PlannedStart(
        start_seconds=start_seconds,
        shares=shares,
        saved_cny=saved * seconds / SECONDS_PER_HOUR,
        saved_grams=grams,
    )


def _best_starts(
    state: CycleState, request: DivisionRequest, *, has_room_now: bool
) -> Iterator[tuple[float, float]]:
    """(CNY per replica-hour, start in seconds since 1970) for each forecast and tariff.

    The best of each, or where planned starts take room all of them: the best may have none.
    """
    demand, context = state.demand, state.context
    seconds = float(demand.schedule.duration_seconds or 0)
    last = _last_start_seconds(demand, context)
    carbon, energy = _price_term(state.costs, "carbon"), _price_term(state.costs, "energy")
    building = pue(state.fleet, context).value
    unplanned = replace(request, capacity=state.capacity.without_plans())
    slots_with_capacity = request.open_slots[
        (state.costs.unknown[request.open_slots] == 0)
        & (unplanned.max_additional_at(request.open_slots) > 0)
    ]
    has_plans = bool(state.fleet.planned_slots)
    beside = _starts_beside_plans(state, slots_with_capacity, last) if has_plans else []
    same_at_all_hours = set(slots_with_capacity.tolist())
    for profile, tariff, sites in group_by_forecast_and_tariff(
        state.fleet, slots_with_capacity, context
    ):
        same_at_all_hours.difference_update(sites.tolist())
        starts = _candidate_starts(profile, tariff, context.now_seconds, last, seconds)
        if beside:
            starts = np.unique(np.concatenate([starts, np.array(beside)]))
        changes = np.zeros(len(starts))
        fixed = state.costs.cny[sites]
        if profile is not None:
            changes += profile.mean_gco2_per_kwh(starts, seconds) * carbon.units
            fixed = fixed - carbon.figures[sites] * carbon.units
        if tariff is not None:
            changes += tariff.mean_cny_per_kwh(starts, seconds) * energy.units
            fixed = fixed - energy.figures[sites] * energy.units
        starts, changes = starts[~np.isnan(changes)], changes[~np.isnan(changes)]
        if not len(starts):
            continue
        waiting_costs = (starts - context.now_seconds) / seconds * waiting_price(demand, context)
        least = fixed + building[sites] * changes.min()
        few = np.argsort(least, kind="stable")[:_MAX_SITES]
        # [sites, starts]: fixed costs, those that change with the start times PUE, and waiting.
        costs = fixed[few, None] + building[sites[few], None] * changes + waiting_costs
        best = costs.min(axis=0)
        if has_plans:
            yield from zip(best.tolist(), starts.tolist(), strict=True)
            continue
        at = int(best.argmin())
        yield float(best[at]), float(starts[at])
    if same_at_all_hours and not has_room_now:
        # There the only reason to wait is room.
        cheapest = float(state.costs.cny[sorted(same_at_all_hours)].min())
        price = waiting_price(demand, context) / seconds
        for start in beside:
            yield cheapest + (start - context.now_seconds) * price, start


def _last_start_seconds(demand: Demand, context: DecisionContext) -> float:
    """The last start that is planned: a longer run ends in time, and a small delay does no harm."""
    seconds = float(demand.schedule.duration_seconds or 0)
    longer = longest_run_seconds(seconds, context) - seconds
    return (latest_start_seconds(demand) or 0.0) - longer - context.terms.start_margin_seconds


def _starts_beside_plans(state: CycleState, slots: Ints, last: float) -> Sequence[float]:
    """Starts at which the run just finds room beside planned ones; the first ones."""
    starts = planned_edges(state.fleet, state.demand, slots.tolist(), state.context)
    first = state.context.now_seconds
    return sorted(start for start in starts if first < start <= last)[:_MAX_STARTS_WITH_PLANS]


def _candidate_starts(
    profile: IntensityProfile | None,
    tariff: Tariff | None,
    first: float,
    last: float,
    seconds: float,
) -> Floats:
    candidates = [each.candidate_starts(first, last, seconds) for each in (profile, tariff) if each]
    return np.unique(np.concatenate(candidates))


@dataclass(frozen=True, slots=True)
class _PriceTerm:
    """A term of the costs: CNY per replica-hour = units * figures; 0 where it has no price.

    Attributes:
        units: units that a replica pays for.
        figures: the figures of the term, per unit (CNY or grams per kWh); [slot_capacity].
    """

    units: float
    figures: Floats

    def cny(self, shares: ReplicasBySlot) -> float:
        return _sum_over_replicas(self.figures, shares) * self.units


def _price_term(costs: SiteCosts, name: str) -> _PriceTerm:
    for cost, units, figures in costs.terms:
        if cost.term == name:
            return _PriceTerm(units, figures.value)
    return _PriceTerm(0.0, np.zeros(len(costs.cny)))


def _sum_over_replicas(figures: Floats, shares: ReplicasBySlot) -> float:
    return float(sum(figures[slot] * count for slot, count in sorted(shares.items())))


def postpone(
    decision: Decision, state: CycleState, plan: PlannedStart, now_shares: ReplicasBySlot | None
) -> Decision:
    """The decision to wait for a planned start.

    Args:
        decision: the decision that the work may not start yet.
        state: the results of the steps before.
        plan: the planned start.
        now_shares: replicas by slot for a start now; None: there is no room for one.
    """
    there = _assignments(state, plan.shares)
    latest = latest_start_seconds(state.demand) or plan.start_seconds
    line = (
        f"start planned at {format_epoch_seconds(plan.start_seconds)} on"
        f" {_format_assignments(there)}: {_why_later(state, plan, now_shares)};"
        f" latest start {format_epoch_seconds(latest)}"
    )
    start_at = datetime.fromtimestamp(plan.start_seconds, UTC)
    former = state.demand.plan
    remembered = (
        StartPlan(
            start_at=start_at,
            since=state.context.now,
            cny_at_once=None if now_shares is None else _run_cny(state, now_shares),
        )
        if former is None
        else replace(former, start_at=start_at)
    )
    return msgspec.structs.replace(
        decision, line=line, start_at=start_at, planned=there, plan=remembered
    )


def _why_later(state: CycleState, plan: PlannedStart, now_shares: ReplicasBySlot | None) -> str:
    if plan.saved_cny is None or now_shares is None:
        return "there is no room for it before"
    kilograms = abs(plan.saved_grams) / GRAMS_PER_KILOGRAM
    carbon = f"and {kilograms:.2g} kgCO2e"
    if plan.saved_grams < 0:
        carbon = f"and emits {kilograms:.2g} kgCO2e more"
    here = _format_assignments(_assignments(state, now_shares))
    return f"saves {plan.saved_cny:.2g} CNY {carbon} compared with now on {here}"


def note_on_given_up_plan(
    decision: Decision, state: CycleState, shares: ReplicasBySlot
) -> Decision:
    """The decision to start now, with what waiting has cost if the planned start is still to come.

    Args:
        decision: the decision that places the work.
        state: the results of the steps before.
        shares: replicas by slot.
    """
    plan, now = state.demand.plan, state.context.now
    if plan is None or decision.phase != "Placed" or plan.start_at <= now:
        return decision
    hours = max(0.0, (now - plan.since).total_seconds() / SECONDS_PER_HOUR)
    price = waiting_price(state.demand, state.context)
    waited = hours * price * sum(shares.values())
    planned = format_epoch_seconds(plan.start_at.timestamp())
    note = (
        f"the start planned at {planned} is no longer better;"
        f" started at once after {hours:.2g} h of waiting"
    )
    cny = _run_cny(state, shares)
    if plan.cny_at_once is None or cny is None:
        note += ", at a cost that is not known"
    else:
        lost = cny + waited - plan.cny_at_once
        note += f", which {'cost' if lost >= 0 else 'saved'} {abs(lost):.2g} CNY"
    return msgspec.structs.replace(decision, notes=(*decision.notes, note))


def _run_cny(state: CycleState, shares: ReplicasBySlot) -> float | None:
    """What the whole run costs, started now; None: a figure is not known."""
    if not state.costs.are_known(np.array(sorted(shares), np.int64)):
        return None
    hours = (state.demand.schedule.duration_seconds or 0) / SECONDS_PER_HOUR
    return _sum_over_replicas(state.costs.cny, shares) * hours


def _assignments(state: CycleState, shares: ReplicasBySlot) -> tuple[SiteAssignment, ...]:
    named = {state.fleet.name_at(slot): count for slot, count in shares.items()}
    return tuple(SiteAssignment(site=site, replicas=count) for site, count in sorted(named.items()))


_MAX_NAMED_SITES = 4


def _format_assignments(assigned: tuple[SiteAssignment, ...]) -> str:
    return format_sites([(each.site, each.replicas) for each in assigned], _MAX_NAMED_SITES)


def context_at_start(context: DecisionContext, decision: Decision) -> DecisionContext:
    """The context that explains the costs of a decision: of its planned start, if it has one."""
    if decision.start_at is None:
        return context
    return replace(context, start_seconds=decision.start_at.timestamp())
