"""Preemption: what ends so that a workload that finds no room gets it, in one decision.

The workload waits, passes every rule somewhere, and lacks only room. Then the set of victims that
does the least harm (`harm.py`) is searched with which it really fits: by every rule, divided as it
asks, and on the nodes, wherever on them its victims run (`worst_room.py`). Nothing ends for less.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace

from scheduler.model.decision import Decision, Preemption, Victim
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import PossibleVictim, usage_of_replica
from scheduler.model.formatters import format_list
from scheduler.model.kinds.workload import MAX_PREEMPTED_SITES, MAX_VICTIMS
from scheduler.placement.cost.spend import explain_over_quota
from scheduler.placement.divide.divide import DivisionRequest
from scheduler.placement.divide.site_groups import divide_with_preferred_affinity
from scheduler.placement.filter.filter import FilterResult
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.preemption.eligible import (
    eligible_victims,
    is_lower,
    takes_back_no_more,
)
from scheduler.placement.preemption.freed_capacity import FreedCapacity, RoomAfterVictims
from scheduler.placement.preemption.harm import Ended, over_budget
from scheduler.placement.preemption.search import Found, VictimSearch

_MAX_NAMED = 8
_SUMS_SUFFICE = frozenset({"CostOptimal", "Aggregated", "Balanced"})

Decide = Callable[[DivisionRequest], Decision]
"""What is decided when the sites have the capacity of a request."""


def preempt(
    waiting: Decision,
    request: DivisionRequest,
    fleet: Fleet,
    *,
    filter_result: FilterResult,
    context: DecisionContext,
    decide: Decide,
) -> Decision:
    """The decision with what ends for the workload, or the given one if nothing may or would help.

    Args:
        waiting: the decision until now: the workload waits for room.
        request: what was divided.
        fleet: the sites.
        filter_result: the answers of the filter.
        context: the time and terms of the decision.
        decide: decides on a request with more capacity.
    """
    demand = request.demand
    victims = eligible_victims(demand, fleet)
    if not victims:
        return waiting
    trial = _Trial(
        request=request,
        fleet=fleet,
        filter_result=filter_result,
        victims=victims,
        room=RoomAfterVictims(demand, fleet, filter_result.rights.vendor_sets, victims, context),
    )
    sites = {fleet.name_at(slot) for slot in request.open_slots.tolist()}
    if explain_over_quota(demand, demand.replicas, 1):
        own = [one for one in victims if one.tenant == demand.tenant]
        sites |= {share.site for one in own for share in one.shares}
    found = VictimSearch(
        victims=victims,
        sites=frozenset(sites),
        fits=trial.fits,
        may_end=lambda ended: not demand.reclaim or takes_back_no_more(demand, victims, ended),
    ).find()
    if found is None:
        return waiting
    then = decide(trial.request_after(found.ended))
    if then.phase != "Placed" or then.unmet:
        return waiting
    return _with_victims(waiting, then, demand, victims, found)


@dataclass(slots=True)
class _Trial:
    """Divides with the capacity that sites have when victims have ended.

    Attributes:
        request: what is to be divided.
        fleet: the sites.
        filter_result: the answers of the filter.
        victims: those that may end.
        room: what sites take then.
    """

    request: DivisionRequest
    fleet: Fleet
    filter_result: FilterResult
    victims: list[PossibleVictim]
    room: RoomAfterVictims
    _free_now: dict[int, int] | None = None
    _open: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self._open = frozenset(self.request.open_slots.tolist())

    def fits(self, ended: Ended) -> bool:
        """Whether the workload fits when these have ended."""
        if not self._do_sums_suffice(ended):
            return False
        after = self._demand_after(ended)
        if explain_over_quota(after, after.replicas, 1):
            return False
        division = divide_with_preferred_affinity(self.request_after(ended), self.fleet)
        return division.replicas_by_slot is not None

    def request_after(self, ended: Ended) -> DivisionRequest:
        """The request with the capacity that is there when these have ended."""
        room = self.room.by_slot(ended)
        capacity = FreedCapacity(
            self.request.capacity,
            self.fleet,
            self.request.demand,
            self.filter_result.rights.vendor_sets,
            room,
        )
        slots = self._room_now().keys() | room.keys() | self.request.own_replicas.keys()
        useful = np.array(sorted(slots & self._open), np.int64)
        demand = self._demand_after(ended)
        return replace(self.request, capacity=capacity, open_slots=useful, demand=demand)

    def _demand_after(self, ended: Ended) -> Demand:
        """The demand with the quota that its tenant's own victims leave."""
        demand = self.request.demand
        if not demand.quota_left:
            return demand
        left = dict(demand.quota_left)
        for (number, site), count in ended.items():
            victim = self.victims[number]
            share = next(one for one in victim.shares if one.site == site)
            if victim.tenant == demand.tenant and not share.ending:
                for name, used in usage_of_replica(victim).items():
                    if name in left:
                        left[name] += used * count
        return replace(demand, quota_left=left)

    def _do_sums_suffice(self, ended: Ended) -> bool:
        """A quick answer: without room for all replicas in sum, no division places them."""
        if self.request.own_replicas or self.request.demand.strategy not in _SUMS_SUFFICE:
            return True
        free = dict(self._room_now())
        for slot, count in self.room.by_slot(ended).items():
            if slot in self._open:
                free[slot] = max(free.get(slot, 0), count)
        return sum(free.values()) >= self.request.replicas - self.request.kept_total

    def _room_now(self) -> dict[int, int]:
        """Replicas by slot that fit now, at the open sites where any does."""
        if self._free_now is None:
            slots = self.request.open_slots
            free = self.request.capacity.replicas_at(slots)
            pairs = zip(slots.tolist(), free.tolist(), strict=True)
            self._free_now = {slot: count for slot, count in pairs if count > 0}
        return self._free_now


def _with_victims(
    waiting: Decision, then: Decision, demand: Demand, victims: list[PossibleVictim], found: Found
) -> Decision:
    ending = sorted(
        (
            _victim(demand, victims[number], site, count)
            for (number, site), count in found.ended.items()
        ),
        key=lambda one: (one.workload, one.site),
    )
    if len(ending) > MAX_VICTIMS or len(then.assignment) > MAX_PREEMPTED_SITES:
        return waiting  # more than a status names
    preemption = Preemption(
        place=then.assignment,
        victims=tuple(ending),
        broken_budgets=_broken_budgets(victims, found),
        least=found.is_least,
    )
    line = waiting.line + format_preemption(preemption)
    return replace(waiting, preemption=preemption, line=line)


def _victim(demand: Demand, victim: PossibleVictim, site: str, count: int) -> Victim:
    share = next(one for one in victim.shares if one.site == site)
    return Victim(
        workload=victim.workload,
        site=site,
        replicas=count,
        keep=share.replicas - count,
        priority=victim.priority,
        reclaimed=not is_lower(demand, victim),
    )


def _broken_budgets(victims: list[PossibleVictim], found: Found) -> tuple[str, ...]:
    totals: dict[int, int] = {}
    for (number, _), count in found.ended.items():
        totals[number] = totals.get(number, 0) + count
    return tuple(
        f"{victims[number].workload}: {victims[number].budget}"
        for number, count in sorted(totals.items())
        if over_budget(victims[number], count)
    )


def format_preemption(preemption: Preemption) -> str:
    """What gives way, for the decision's line."""
    texts = [
        f"{one.replicas} of {one.replicas + one.keep} of {one.workload} at {one.site} "
        + ("(borrowed quota)" if one.reclaimed else f"(priority {one.priority})")
        for one in preemption.victims
    ]
    broken = format_list(preemption.broken_budgets, _MAX_NAMED)
    beyond = f"; more than PodDisruptionBudgets allow: {broken}" if broken else ""
    return f"; for it end {format_list(texts, _MAX_NAMED)}{beyond}"
