"""Step 5, choose: the division becomes a `Decision`, or the reasons are counted."""

from functools import cached_property
from operator import mul
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.decision import Cost, Decision, DecisionPhase, SiteAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.reasons import REASONS, Reason
from scheduler.placement.cost.energy import carbon_intensity_of_run, replica_kwh_per_hour
from scheduler.placement.cost.site_costs import SiteCosts, site_costs_of
from scheduler.placement.divide.divide import MIN_SITES_TO_CACHE_FULL, ReplicasBySlot
from scheduler.placement.divide.division import Division
from scheduler.placement.filter.filter import Admission
from scheduler.placement.filter.retention import Standing, told_of_lost
from scheduler.placement.fit.capacity import Room
from scheduler.placement.fit.caveats import notes_of
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet

if TYPE_CHECKING:
    from scheduler.placement.kernel.kernel import Fit

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MOST_NAMED = 8


class Case(msgspec.Struct, frozen=True, dict=True):
    """All that the steps before have found, and the third, as soon as anybody asks for it."""

    demand: Demand
    fleet: Fleet
    moment: Moment
    admission: Admission
    standing: Standing
    room: Room

    @cached_property
    def price(self) -> SiteCosts:
        """What a replica costs at every site."""
        return site_costs_of(self.demand, self.fleet, self.moment)


def conclude(case: Case, division: Division, hindered: Reason | None) -> Decision:
    """Makes the decision."""
    demand, standing = case.demand, case.standing
    placed = division.replicas_by_slot is not None
    shares = (
        division.replicas_by_slot
        if division.replicas_by_slot is not None
        else _what_stays(standing)
    )
    reasons = {} if placed else _reasons(case, division, hindered)
    names = sorted([(case.fleet.name_at(slot), count) for slot, count in shares.items()])
    decision = Decision(
        workload=demand.key,
        uid=demand.uid,
        phase=_phase(case, placed=placed),
        assignment=tuple([SiteAssignment(site=site, replicas=count) for site, count in names]),
        reasons=reasons,
        line=_line(case, names, reasons, placed=placed),
        group=division.group,
        cost=_cost(case, names),
        optimal=placed and division.is_optimal,
        gap=division.gap,
        notes=_notes(case, division),
        decided_at=case.moment.now,
    )
    return _with_what_ran(decision, case, names) if demand.placed else decision


def _with_what_ran(decision: Decision, case: Case, names: list[tuple[str, int]]) -> Decision:
    """The decision, with what becomes of what ran before."""
    lost, violated = case.standing.lost, case.standing.violated
    left = _left(case, names)
    return msgspec.structs.replace(
        decision,
        lost=tuple(left),
        ended=tuple([site for site in left if site in lost]),
        ended_by={site: lost[site] for site in left if site in lost},
        violations={site: _as_reason(violated[site]) for site in sorted(violated)},
        line=decision.line + told_of_lost(lost, left),
    )


def _left(case: Case, names: list[tuple[str, int]]) -> list[str]:
    """Sites that held replicas and hold none any more."""
    ran = case.demand.placed_replicas.keys() | case.standing.lost.keys()
    return sorted(ran.difference([name for name, _ in names]))


def _notes(case: Case, division: Division) -> tuple[str, ...]:
    if case.room.is_plain:
        return division.notes
    is_exact, is_searched = case.room.is_exact, case.room.is_searched
    told = notes_of(case.demand, case.fleet, is_single=is_exact, is_searched=is_searched)
    return (*told, *division.notes)


def _what_stays(standing: Standing) -> ReplicasBySlot:
    return {**standing.kept, **standing.replaced}


def _phase(case: Case, *, placed: bool) -> DecisionPhase:
    if placed:
        return "Placed"
    return "Waiting" if len(case.admission.slots) or _what_stays(case.standing) else "Refused"


def _as_reason(reason: str) -> Reason:
    return _ORDER_OF[reason][1]


_ORDER_OF: dict[str, tuple[int, Reason]] = {
    reason: (place, reason) for place, reason in enumerate(REASONS)
}


def _reasons(case: Case, division: Division, hindered: Reason | None) -> dict[Reason, int]:
    counts = case.admission.first_reasons()
    slots = case.admission.slots
    if len(slots):
        if hindered:
            counts[hindered] = len(slots)
        elif division.spread_failed:
            counts["spread"] = len(slots)
        else:
            for reason, count in _without_room(case, slots).items():
                counts[reason] = counts.get(reason, 0) + count
    return dict(sorted(counts.items(), key=lambda each: (-each[1], _ORDER_OF[each[0]][0])))


def _without_room(case: Case, slots: Ints) -> dict[Reason, int]:
    """Why sites that pass every rule do not take all: each counts once.

    Nodes are looked at only where the sums would do: else there is nothing to be fragmented.
    """
    fit = case.room.sole_kernel_fit
    if fit is not None:
        return _told(len(slots), _fragmented(case, fit, slots))
    summed = case.room.summed(slots)
    may_be = np.arange(len(slots)) if case.room.has_limits else summed.nonzero()[0]
    looked_at = slots.take(may_be)
    room = case.room.at(looked_at)
    bound = np.zeros(len(looked_at), np.bool_)
    if case.room.bound_by_quota:
        bound = np.isin(looked_at, sorted(case.room.bound_by_quota))
        bound &= room < case.demand.replicas
    broken = ~bound & is_fragmented(room, summed.take(may_be), case.demand.replicas)
    return _told(len(slots), int(np.count_nonzero(broken)), int(np.count_nonzero(bound)))


def _fragmented(case: Case, fit: "Fit", slots: Ints) -> int:
    """At how many sites the sums would do, though no node, or too few, have enough."""
    if len(slots) > MIN_SITES_TO_CACHE_FULL:
        sums, full = case.room.summed(slots), case.room.kernel_full
    else:
        sums, full = fit.sums(slots, case.fleet.flying.total), None
    return fit.fragmented(slots, sums, case.demand.replicas, full)


def _told(sites: int, fragmented: int, by_quota: int = 0) -> dict[Reason, int]:
    told: dict[Reason, int] = {
        "full": sites - by_quota - fragmented,
        "fragmented": fragmented,
        "quota": by_quota,
    }
    return {reason: count for reason, count in told.items() if count}


def is_fragmented(room: Ints, summed: Ints, replicas: int) -> Bools:
    """Sites whose free capacity would do in sum, though no node, or too few nodes, have enough.

    Args:
        room: replicas that each site takes; [sites].
        summed: replicas that the sums of its free capacity would take; [sites].
        replicas: how many are asked.

    Returns:
        One answer per site; [sites].
    """
    none_fits = (room == 0) & (summed >= 1)
    too_few = (room < replicas) & (summed >= replicas)
    fragmented: Bools = none_fits | too_few
    return fragmented


def _line(
    case: Case, names: list[tuple[str, int]], reasons: dict[Reason, int], *, placed: bool
) -> str:
    there = _list(names)
    if placed:
        return (
            f"placed on {there}" if names else "asks for no replicas, so there is nothing to place"
        )
    total = len(case.fleet)
    if not total:
        return "there are no sites"
    told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    line = f"0/{total} sites are feasible: {told}" if told else f"0/{total} sites are feasible"
    return f"{line}; stays on {there}" if names else line


def _list(names: list[tuple[str, int]]) -> str:
    told = [f"{site} ({count})" for site, count in names[:_MOST_NAMED]]
    more = len(names) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(told)} and {more} more sites"
    return ", ".join(told)


def _cost(case: Case, names: list[tuple[str, int]]) -> Cost:
    """What all replicas cost, added up by name: which site joined first is no input."""
    if not names:
        return Cost(cny_per_hour=0.0, gco2_per_hour=0.0)
    kwh = replica_kwh_per_hour(case.demand, case.moment)
    emitted = carbon_intensity_of_run(case.fleet, case.demand, case.moment)
    slots = [case.fleet.slot_of[name] for name, _ in names]
    price = case.price
    counts = [count for _, count in names]
    money = _price_of_all(_at(price.cny, slots), counts)
    grams = _price_of_all(_at(emitted.value, slots), counts) * kwh
    is_known = not price.is_any_unknown or not any(_at(price.unknown, slots))
    return Cost(
        cny_per_hour=money if is_known else None,
        gco2_per_hour=None if any(_at(emitted.missing, slots)) else grams,
    )


def _at(figures: NDArray[Any], slots: list[int]) -> list[Any]:
    """Figures of a few sites; so much faster than as an array."""
    return [figures.item(slot) for slot in slots]


def _price_of_all(each: list[float], counts: list[int]) -> float:
    """The price of all replicas; `each` is what one costs at a site."""
    return sum(map(mul, each, counts), 0.0)
