"""Step 5, choose: the division becomes a `Decision`, or the reasons are counted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scheduler.model.decision import Assigned, Cost, Decision, Outcome
from scheduler.model.demand import Demand
from scheduler.model.reasons import REASONS, Reason
from scheduler.placement.admit import Admission
from scheduler.placement.divide import Shares
from scheduler.placement.evicting import Standing, told_of_lost
from scheduler.placement.fit import Room
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment
from scheduler.placement.notes import notes_of
from scheduler.placement.power_draw import emissions_of_run, replica_kwh_per_hour
from scheduler.placement.price import Price
from scheduler.placement.spread_answer import Division

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Case:
    """All that the steps before have found."""

    demand: Demand
    fleet: Fleet
    moment: Moment
    admission: Admission
    standing: Standing
    room: Room
    price: Price


def conclude(case: Case, division: Division, hindered: Reason | None) -> Decision:
    """Makes the decision."""
    demand, standing = case.demand, case.standing
    placed = division.shares is not None
    shares = division.shares if division.shares is not None else _what_stays(standing)
    reasons = {} if placed else _reasons(case, division, hindered)
    names = {case.fleet.name_at(slot): count for slot, count in shares.items()}
    lost = sorted({*demand.placed_replicas, *standing.lost} - {*names})
    return Decision(
        workload=demand.key,
        uid=demand.uid,
        phase=_phase(case, placed=placed),
        assignment=tuple(
            Assigned(site=site, replicas=count) for site, count in sorted(names.items())
        ),
        lost=tuple(lost),
        ended=tuple(sorted({*standing.lost} - {*names})),
        ended_by={site: why for site, why in sorted(standing.lost.items()) if site not in names},
        violations={site: _as_reason(reason) for site, reason in sorted(standing.violated.items())},
        reasons=reasons,
        line=_line(case, names, reasons, placed=placed) + told_of_lost(standing, names),
        group=division.group,
        cost=_cost(case, shares),
        optimal=placed and division.is_optimal,
        gap=division.gap,
        notes=(
            *notes_of(
                case.demand,
                case.fleet,
                is_single=case.room.is_exact,
                is_searched=case.room.is_searched,
            ),
            *division.notes,
        ),
        decided_at=case.moment.now,
    )


def _what_stays(standing: Standing) -> Shares:
    return {**standing.kept, **standing.replaced}


def _phase(case: Case, *, placed: bool) -> Outcome:
    if placed:
        return "Placed"
    return "Waiting" if len(case.admission.slots) or _what_stays(case.standing) else "Refused"


def _as_reason(reason: str) -> Reason:
    return next(each for each in REASONS if each == reason)


def _reasons(case: Case, division: Division, hindered: Reason | None) -> dict[Reason, int]:
    counts = case.admission.first_reasons(case.fleet)
    slots = case.admission.slots
    if len(slots):
        if hindered:
            counts[hindered] = len(slots)
        elif division.spread_failed:
            counts["spread"] = len(slots)
        else:
            for reason, count in _without_room(case, slots).items():
                counts[reason] = counts.get(reason, 0) + count
    order = list(REASONS)
    return dict(sorted(counts.items(), key=lambda each: (-each[1], order.index(each[0]))))


def _without_room(case: Case, slots: Ints) -> dict[Reason, int]:
    """Why sites that pass every rule do not take all: each counts once."""
    room = case.room.at(slots)
    short = room < case.demand.replicas
    bound = short & np.isin(slots, sorted(case.room.bound_by_quota))
    broken = ~bound & is_fragmented(room, case.room.summed(slots), case.demand.replicas)
    by_quota, fragmented = int(bound.sum()), int(broken.sum())
    told: dict[Reason, int] = {
        "full": len(slots) - by_quota - fragmented,
        "fragmented": fragmented,
        "quota": by_quota,
    }
    return {reason: count for reason, count in told.items() if count}


def is_fragmented(room: Ints, summed: Ints, replicas: int) -> Bools:
    """Sites whose free capacity would do in sum, though no node, or too few nodes, have enough."""
    none_fits = (room == 0) & (summed >= 1)
    too_few = (room < replicas) & (summed >= replicas)
    fragmented: Bools = none_fits | too_few
    return fragmented


def _line(case: Case, names: dict[str, int], reasons: dict[Reason, int], *, placed: bool) -> str:
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


def _list(names: dict[str, int]) -> str:
    told = [f"{site} ({count})" for site, count in sorted(names.items())]
    more = len(told) - _MOST_NAMED
    if more > 0:
        return f"{', '.join(told[:_MOST_NAMED])} and {more} more sites"
    return ", ".join(told)


def _cost(case: Case, shares: Shares) -> Cost:
    slots = np.array(sorted(shares), np.int64)
    counts = np.array([shares[slot] for slot in slots.tolist()], np.float64)
    if not len(slots):
        return Cost(cny_per_hour=0.0, gco2_per_hour=0.0)
    kwh = replica_kwh_per_hour(case.demand, case.moment)
    emitted = emissions_of_run(case.fleet, case.demand, case.moment)
    known = bool(emitted.known[slots].all())
    grams = float((counts * kwh * emitted.value[slots]).sum())
    money = float((counts * case.price.cny[slots]).sum())
    return Cost(
        cny_per_hour=money if case.price.is_known(slots) else None,
        gco2_per_hour=grams if known else None,
    )
