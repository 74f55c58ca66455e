"""Step 5, choose: builds the `Decision` from a division, or counts the reasons for having none."""

from collections.abc import Sequence
from operator import mul
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.decision import Cost, Decision, DecisionPhase, SiteAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import CLUSTER_UNREACHABLE
from scheduler.model.demand.ordinals import format_ordinals, ordinals_after
from scheduler.model.formatters import format_list, format_replicas
from scheduler.model.lazy import lazy
from scheduler.model.reasons import REASONS, Reason
from scheduler.placement.cost.energy import carbon_intensity_of_run, replica_kwh_per_hour
from scheduler.placement.cost.implausible import OddFigures, find_implausible, implausible_notes
from scheduler.placement.cost.site_costs import SiteCosts, site_costs_of
from scheduler.placement.divide.divide import MIN_SITES_TO_CACHE_FULL
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.filter.filter import FilterResult
from scheduler.placement.filter.retention import (
    RetainedShares,
    format_ended,
    format_moved,
    format_preempted,
    format_unready,
)
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fit.caveats import NOTE_IN_FLIGHT_BOUND, caveats_of
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.required_rules import format_unmet, unmet_rules

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MAX_NAMED_SITES = 8
_ABOUT_REPORTS = ("silent", "stale")


class CycleState(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """The results of the steps filter and fit; those of cost are computed at first use."""

    demand: Demand
    fleet: Fleet
    context: DecisionContext
    filter_result: FilterResult
    retained: RetainedShares
    capacity: SiteCapacity

    @lazy
    def costs(self) -> SiteCosts:
        """What a replica costs at every site."""
        return site_costs_of(self.demand, self.fleet, self.context)


def build_decision(state: CycleState, division: Division, gate: Reason | None) -> Decision:
    """Builds the decision.

    Args:
        state: the results of the steps before.
        division: how replicas are divided; none if `replicas_by_slot` is None.
        gate: the scheduling gate that blocks new replicas; None: no gate.
    """
    demand, retained = state.demand, state.retained
    placed = division.replicas_by_slot is not None
    shares = (
        division.replicas_by_slot
        if division.replicas_by_slot is not None
        else _retained_replicas(retained)
    )
    reasons = {} if placed else _reasons(state, division, gate)
    unmet = unmet_rules(demand, state.fleet, shares, state.filter_result, state.context)
    optimal = placed and division.is_optimal and not division.gap and not unmet
    names = sorted([(state.fleet.name_at(slot), count) for slot, count in shares.items()])
    decision = Decision(
        workload=demand.key,
        uid=demand.uid,
        phase=_phase(state, placed=placed),
        assignment=tuple([SiteAssignment(site=site, replicas=count) for site, count in names]),
        reasons=reasons,
        line=_format_line(state, names, reasons, placed=placed) + format_unmet(unmet),
        group=division.group,
        cost=(
            _total_cost(demand, state.fleet, state.context, state.costs, names)
            if names
            else Cost(cny_per_hour=0.0, gco2_per_hour=0.0)
        ),
        optimal=optimal,
        gap=0.0 if optimal or not placed else division.gap or None,
        notes=_notes(state, division, reasons, shares),
        unmet=unmet,
        decided_at=state.context.now,
    )
    return _with_previous_placement(decision, state, names) if demand.placed else decision


def build_placed_decision(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    *,
    costs: SiteCosts,
    shares: ReplicasBySlot,
    filter_result: FilterResult,
) -> Decision:
    """`build_decision` for plain work that is placed: see `plain.py`.

    Args:
        demand: what was asked; nothing of it ran before.
        fleet: the sites.
        context: the time and terms.
        costs: what a replica costs at each site.
        shares: replicas by slot; the cheapest division.
        filter_result: the answers of the filter.
    """
    facts = fleet.facts
    names = sorted([(facts[slot].name, count) for slot, count in shares.items()])  # type: ignore[union-attr]  # sites with replicas have facts
    odd = find_implausible(fleet, context)
    return Decision(
        workload=demand.key,
        uid=demand.uid,
        phase="Placed",
        assignment=tuple([SiteAssignment(site=site, replicas=count) for site, count in names]),
        line=f"placed on {format_sites(names, _MAX_NAMED_SITES)}",
        cost=_total_cost(demand, fleet, context, costs, names),
        optimal=True,
        gap=0.0,
        notes=_notes_on_implausible(fleet, shares, filter_result, odd) if odd else (),
        decided_at=context.now,
    )


def _with_previous_placement(
    decision: Decision, state: CycleState, names: list[tuple[str, int]]
) -> Decision:
    """The decision, completed by what becomes of the replicas that ran before."""
    lost, violated = state.retained.lost, state.retained.violated
    vacated = _vacated_sites(state, names)
    moved = ""
    if state.demand.evicted:
        moved = format_moved(state.demand, state.fleet, dict(names), state.context.now_seconds)
    if state.demand.unready:
        moved += format_unready(state.demand, dict(names))
    if state.retained.preempted:
        moved += format_preempted(state.demand, state.retained, state.fleet)
    ended = state.retained.preempted.items()
    return msgspec.structs.replace(
        decision,
        lost=tuple(vacated),
        ended=tuple([site for site in vacated if site in lost]),
        ended_by={site: lost[site] for site in vacated if site in lost},
        violations={site: _as_reason(violated[site]) for site in sorted(violated)},
        line=decision.line + moved + format_ended(lost, vacated),
        preempted=dict(sorted((state.fleet.name_at(slot), count) for slot, count in ended)),
    )


def _vacated_sites(state: CycleState, names: list[tuple[str, int]]) -> list[str]:
    """Sites that held replicas and hold none after this decision."""
    ran = state.demand.placed_replicas.keys() | state.retained.lost.keys()
    return sorted(ran.difference([name for name, _ in names]))


def _notes(
    state: CycleState, division: Division, reasons: dict[Reason, int], shares: ReplicasBySlot
) -> tuple[str, ...]:
    notes = _notes_on_shapes(state, division)
    odd = find_implausible(state.fleet, state.context)
    if odd:
        notes = (*notes, *_notes_on_implausible(state.fleet, shares, state.filter_result, odd))
    if reasons.keys() & {"full", "fragmented"} and state.capacity.is_lower_bound_at_any(
        state.filter_result.admitted_slots
    ):
        return (NOTE_IN_FLIGHT_BOUND, *notes)
    if state.demand.identity == "Ranges" and shares:
        notes = (*notes, _note_on_ordinals(state.demand, state.fleet, shares))
    return notes


def _notes_on_implausible(
    fleet: Fleet, shares: ReplicasBySlot, filter_result: FilterResult, odd: OddFigures
) -> tuple[str, ...]:
    judged = [*shares, *filter_result.admitted_slots.tolist()]
    return tuple(implausible_notes(fleet, judged, odd))


def _note_on_ordinals(demand: Demand, fleet: Fleet, shares: ReplicasBySlot) -> str:
    counts = {fleet.name_at(slot): count for slot, count in shares.items()}
    ranges = ordinals_after(demand, counts)
    texts = [
        f"{site} {format_ordinals(one.first, one.length)}"
        for site, one in sorted(ranges.items(), key=lambda each: each[1])
    ]
    return f"ordinals: {format_list(texts, _MAX_NAMED_SITES)}"


def _notes_on_shapes(state: CycleState, division: Division) -> tuple[str, ...]:
    if state.capacity.has_no_caveats:
        return division.notes
    is_exact, is_searched = state.capacity.is_single_pod, state.capacity.is_exhaustive
    caveats = caveats_of(
        state.demand, state.fleet, is_single_pod=is_exact, is_exhaustive=is_searched
    )
    return (*caveats, *division.notes)


def _retained_replicas(retained: RetainedShares) -> ReplicasBySlot:
    slots = retained.kept.keys() | retained.replaced.keys()
    return {s: retained.kept.get(s, 0) + retained.replaced.get(s, 0) for s in sorted(slots)}


def _phase(state: CycleState, *, placed: bool) -> DecisionPhase:
    if placed:
        return "Placed"
    may_fit_later = len(state.filter_result.admitted_slots) or _retained_replicas(state.retained)
    return "Waiting" if may_fit_later or _passed_but_unreachable(state) else "Refused"


def _passed_but_unreachable(state: CycleState) -> list[str]:
    """Sites that pass every rule but those about reports, whose agent cannot reach its cluster.

    Unlike a silent site, such a site is known to be there, so the workload waits for it.
    """
    unreachable = state.fleet.report_column(
        "cluster-unreachable", lambda facts: facts.is_cluster_unreachable, np.bool_
    )
    if not unreachable.any():
        return []
    left = unreachable.copy()
    for rule, passed in state.filter_result.passed:
        if rule.reason not in _ABOUT_REPORTS:
            left &= passed
    return [state.fleet.name_at(int(slot)) for slot in left.nonzero()[0]]


def _as_reason(reason: str) -> Reason:
    return _REASON_ORDER[reason][1]


_REASON_ORDER: dict[str, tuple[int, Reason]] = {
    reason: (rank, reason) for rank, reason in enumerate(REASONS)
}


def _reasons(state: CycleState, division: Division, gate: Reason | None) -> dict[Reason, int]:
    counts = state.filter_result.count_first_reasons()
    slots = state.filter_result.admitted_slots
    if len(slots):
        if gate:
            counts[gate] = len(slots)
        elif division.spread_failed:
            counts["spread"] = len(slots)
        else:
            for reason, count in _capacity_reasons(state, slots).items():
                counts[reason] = counts.get(reason, 0) + count
    return dict(sorted(counts.items(), key=lambda each: (-each[1], _REASON_ORDER[each[0]][0])))


def _capacity_reasons(state: CycleState, slots: Ints) -> dict[Reason, int]:
    """Why sites that pass every rule do not take all replicas; each site counts once.

    Nodes are checked only where the sums suffice for a replica: other sites are simply full.
    """
    fit = state.capacity.unbounded_kernel_fit
    if fit is not None:
        return _counts_by_reason(len(slots), _count_fragmented(state, fit, slots))
    by_sums = state.capacity.replicas_by_sums(slots)
    positions = (
        np.arange(len(slots)) if state.capacity.has_namespace_limits else by_sums.nonzero()[0]
    )
    looked_at = slots.take(positions)
    by_nodes = state.capacity.replicas_at(looked_at)
    is_quota_bound = np.zeros(len(looked_at), np.bool_)
    if state.capacity.quota_bound_slots:
        is_quota_bound = np.isin(looked_at, sorted(state.capacity.quota_bound_slots))
        is_quota_bound &= by_nodes < state.demand.replicas
    fragmented = ~is_quota_bound & is_fragmented(
        by_nodes, by_sums.take(positions), state.demand.replicas
    )
    return _counts_by_reason(
        len(slots), int(np.count_nonzero(fragmented)), int(np.count_nonzero(is_quota_bound))
    )


def _count_fragmented(state: CycleState, fit: "Fit", slots: Ints) -> int:
    """At how many sites only the sums suffice, as `is_fragmented` defines it."""
    if len(slots) > MIN_SITES_TO_CACHE_FULL:
        sums, full = state.capacity.replicas_by_sums(slots), state.capacity.kernel_full_sites
    else:
        sums, full = fit.replicas_by_sums(slots, state.fleet.in_flight_totals.totals), None
    return fit.count_fragmented(slots, sums, state.demand.replicas, full)


def _counts_by_reason(sites: int, fragmented: int, by_quota: int = 0) -> dict[Reason, int]:
    counts: dict[Reason, int] = {
        "full": sites - by_quota - fragmented,
        "fragmented": fragmented,
        "quota": by_quota,
    }
    return {reason: count for reason, count in counts.items() if count}


def is_fragmented(by_nodes: Ints, by_sums: Ints, replicas: int) -> Bools:
    """Sites whose free capacity suffices in sum, but is too little on single nodes.

    Args:
        by_nodes: replicas that each site takes; [sites].
        by_sums: replicas that the sums of its free capacity would take; [sites].
        replicas: how many replicas are asked.

    Returns:
        One answer per site; [sites].
    """
    none_fits = (by_nodes == 0) & (by_sums >= 1)
    too_few = (by_nodes < replicas) & (by_sums >= replicas)
    fragmented: Bools = none_fits | too_few
    return fragmented


def _format_line(
    state: CycleState, names: list[tuple[str, int]], reasons: dict[Reason, int], *, placed: bool
) -> str:
    there = format_sites(names, _MAX_NAMED_SITES)
    if placed:
        return f"placed on {there}" if names else "no replicas requested, nothing to place"
    total = len(state.fleet)
    if not total:
        return "there are no sites"
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    line = f"0/{total} sites are feasible: {counts}" if counts else f"0/{total} sites are feasible"
    unreachable = sorted(_passed_but_unreachable(state))
    if unreachable:
        line = f"{line}; {CLUSTER_UNREACHABLE} at {format_list(unreachable, _MAX_NAMED_SITES)}"
    line += _format_sites_to_report(state, reasons)
    return f"{line}; running replicas stay on {there}" if names else line


def _format_sites_to_report(state: CycleState, reasons: dict[Reason, int]) -> str:
    """The sites that may have room once they report what was sent there; "" if none may."""
    if not reasons.keys() & {"full", "fragmented"}:
        return ""
    held = state.capacity.held_by_in_flight(state.filter_result.admitted_slots)
    if not held:
        return ""
    names = sorted([state.fleet.name_at(slot) for slot in held])
    sites = "the site" if len(names) == 1 else "the sites"
    there = format_list(names, _MAX_NAMED_SITES)
    return f"; waiting for {sites} to report what was just sent: {there}"


def format_sites(names: Sequence[tuple[str, int]], max_count: int) -> str:
    """The first `max_count` sites with their replicas: `m1 (2), m2 (1) and 3 more sites`."""
    shown = ", ".join(format_replicas(names[:max_count]))
    more = len(names) - max_count
    return f"{shown} and {more} more sites" if more > 0 else shown


def _total_cost(
    demand: Demand,
    fleet: Fleet,
    context: DecisionContext,
    costs: SiteCosts,
    names: list[tuple[str, int]],
) -> Cost:
    """The cost of all replicas, added in the order of site names.

    Sums of floats depend on the order, and the order in which sites joined must not be an input.
    """
    kwh = replica_kwh_per_hour(demand, context)
    emitted = carbon_intensity_of_run(fleet, demand, context)
    if len(names) == 1:  # as below, in fewer steps: most decisions place at one site
        slot, count = fleet.slot_of[names[0][0]], names[0][1]
        is_known = not costs.is_any_unknown or not costs.unknown.item(slot)
        money_there = 0.0 + costs.cny.item(slot) * count
        grams_there = (0.0 + emitted.value.item(slot) * count) * kwh
        return Cost(
            cny_per_hour=money_there if is_known else None,
            gco2_per_hour=None if emitted.missing.item(slot) else grams_there,
        )
    slots = [fleet.slot_of[name] for name, _ in names]
    counts = [count for _, count in names]
    money = _sum_over_replicas(_values_at(costs.cny, slots), counts)
    grams = _sum_over_replicas(_values_at(emitted.value, slots), counts) * kwh
    is_known = not costs.is_any_unknown or not any(_values_at(costs.unknown, slots))
    return Cost(
        cny_per_hour=money if is_known else None,
        gco2_per_hour=None if any(_values_at(emitted.missing, slots)) else grams,
    )


def _values_at(figures: NDArray[Any], slots: list[int]) -> list[Any]:
    """The figures of a few sites, as a list: faster than array operations."""
    return [figures.item(slot) for slot in slots]


def _sum_over_replicas(each: list[float], counts: list[int]) -> float:
    """The sum over sites of a figure per replica times the number of replicas."""
    return sum(map(mul, each, counts), 0.0)
