"""Equal work that waits together is decided in one step.

The answer is what `choose` gives one workload after the other, with `Fleet.assume` between: equal
demands pass the same rules and pay the same prices, so sites are filtered and priced once. Each
decision takes room at its sites only, so only these are looked at again; the kernel says how many
of the next ones a site takes. What sites of one price get depends on the names of the workloads,
as usual. Where a decision may change more than room (budgets, own solar power), or asks for more
than the cheapest sites (spread, groups, other strategies), one is made after the other.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import isnan
from types import MappingProxyType

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from scheduler.model.canonical import stable_hash
from scheduler.model.decision import (
    Decision,
    EqualDecisions,
    OutcomeRun,
    Subject,
    decision_bytes,
)
from scheduler.model.demand.assignment import BatchAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS, Terms
from scheduler.model.units import WATTS_PER_KILOWATT
from scheduler.placement.choose import choose, division_request, prepare_cycle
from scheduler.placement.cost.energy import replica_kwh_per_hour
from scheduler.placement.cost.solar import free_solar_ratio
from scheduler.placement.divide.divide import iter_cheapest_sites
from scheduler.placement.divide.division import Division, ReplicasBySlot
from scheduler.placement.filter.filter import rulebook
from scheduler.placement.fit.capacity import SiteCapacity
from scheduler.placement.fit.kernel_fit import kernel_rows
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.in_flight import in_flight_pods
from scheduler.placement.gates import scheduling_gate
from scheduler.placement.result import CycleState, build_decision
from scheduler.placement.start_time import can_wait

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

Assigned = Mapping[str, BatchAssignment]
_NOTHING: Assigned = MappingProxyType({})

_ANY_NUMBER = 2**62
"""More shares than there are workloads and sites."""


def choose_equal(
    demand: Demand,
    subjects: Sequence[Subject],
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    assigned: Assigned = _NOTHING,
) -> EqualDecisions:
    """Decides where equal workloads run, one after the other, and counts each as in flight.

    Args:
        demand: what each of them asks; its own name does not matter.
        subjects: their names, in the order in which they are decided.
        fleet: the sites; what is placed is in flight there afterwards, as by `Fleet.assume`.
        now: the time of all decisions; aware.
        terms: limits, prices and assumed figures.
        assigned: where a batch, or the plan for a loss, puts some of them, by workload.

    Returns:
        All decisions; `expand` gives each as `choose` would have given it.
    """
    if not assigned:
        decided = choose_together(demand, subjects, fleet, now=now, terms=terms)
        if decided is not None:
            return decided
    made = _Outcomes()
    for subject in subjects:
        one = replace(demand, key=subject.workload, uid=subject.uid)
        entry = assigned.get(subject.workload)
        decision = choose(one, fleet, now=now, terms=terms, assigned=entry)
        made.add_decision(decision, 1)
        fleet.assume(one, decision)
    return made.of(subjects)


def choose_moves(
    demand: Demand,
    subjects: Sequence[Subject],
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    assigned: Assigned = _NOTHING,
) -> EqualDecisions:
    """As `choose_equal`, for replicas that are to leave sites, and only as far as they find room.

    Args:
        demand: as for `choose_equal`.
        subjects: likewise.
        fleet: likewise.
        now: likewise.
        terms: likewise.
        assigned: likewise.

    Returns:
        The decisions about the first ones; the next finds no room, and is no part of it.
    """
    made = _Outcomes()
    count = 0
    with _undone_on_error(fleet, made.former_facts):
        for subject in subjects:
            one = replace(demand, key=subject.workload, uid=subject.uid)
            entry = assigned.get(subject.workload)
            decision = choose(one, fleet, now=now, terms=terms, assigned=entry)
            if decision.phase != "Placed":
                break
            for each in decision.assignment:
                made.former_facts.setdefault(each.site, fleet.facts_of(each.site))
            fleet.assume(one, decision)
            made.add_decision(decision, 1)
            count += 1
    return made.of(subjects[:count])


def is_whole_move(demand: Demand) -> bool:
    """Whether all that runs is to leave its sites, and the move depends on nothing but room.

    So that of equal moves each can be decided as soon as the one before it is in the fleet.
    """
    return (
        bool(demand.placed)
        and bool(demand.evicted)
        and all(one.phase != "Withdrawing" and one.site in demand.evicted for one in demand.placed)
        and not (demand.evicted_keep or demand.unready or demand.moves_back_to or demand.preempted)
        and not (demand.companions or demand.claims or demand.paused)
        and demand.identity is None
        and demand.plan is None
        and demand.quota_left is None
        and demand.budget_left is None
        and demand.preemption == "Never"
    )


def choose_together(
    demand: Demand,
    subjects: Sequence[Subject],
    fleet: Fleet,
    *,
    now: datetime,
    terms: Terms = DEFAULT_TERMS,
    most_shares: int | None = None,
) -> EqualDecisions | None:
    """As `choose_equal`, unless these workloads have to be decided one after the other.

    Args:
        demand: as for `choose_equal`.
        subjects: likewise.
        fleet: likewise.
        now: likewise.
        terms: likewise.
        most_shares: no more are decided once these have so many shares of sites in all, each site
            of each workload counted; None: all are. It bounds the time of a step.

    Returns:
        The decisions about all of them, or about the first ones; None: none was made, and the fleet
        is as it was.
    """
    made = _Outcomes(most_shares)
    if not subjects:
        return made.of(subjects)
    with _undone_on_error(fleet, made.former_facts):
        placed = _fill_sites(demand, subjects, fleet, decision_context(now, terms), made)
        if placed is None:
            return None
        if made.is_full:
            return made.of(subjects[:placed])
        if placed < len(subjects):
            # The next one finds no place, so nothing changes for those after it.
            one = replace(demand, key=subjects[placed].workload, uid=subjects[placed].uid)
            made.add_decision(choose(one, fleet, now=now, terms=terms), len(subjects) - placed)
    return made.of(subjects)


@contextmanager
def _undone_on_error(fleet: Fleet, former_facts: dict[str, SiteFacts]) -> Iterator[None]:
    """Gives the fleet the facts back that its body has noted, if that raises anything."""
    try:
        yield
    except BaseException:
        for facts in former_facts.values():
            fleet.upsert(facts)
        raise


def may_choose_together(
    demand: Demand, fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> bool:
    """Whether it is of use to ask `choose_together` about workloads with this demand."""
    return _takes_room_only(demand, fleet, decision_context(now, terms))


class _Outcomes:
    """The outcomes so far, each once, and which decisions have them.

    Attributes:
        outcomes: each once.
        runs: which decisions have them.
        former_facts: of the sites where something was placed, by name, as they were before.
        shares_left: how many more shares of sites they may have in all.
    """

    def __init__(self, most_shares: int | None = None) -> None:
        self.shares_left = _ANY_NUMBER if most_shares is None else most_shares
        self.former_facts: dict[str, SiteFacts] = {}
        self.outcomes: list[Decision] = []
        self.runs: list[OutcomeRun] = []
        self._number_of: dict[bytes, int] = {}
        self._number_of_shares: dict[frozenset[tuple[int, int]], int] = {}

    @property
    def is_full(self) -> bool:
        """Whether they have as many shares as they may."""
        return self.shares_left <= 0

    def add_decision(self, decision: Decision, count: int) -> None:
        """Adds decisions that differ from `decision` in their names only."""
        self._add_run(self._number(decision), count)

    def add_shares(self, state: CycleState, shares: ReplicasBySlot, count: int) -> None:
        """Adds placed decisions with the same replicas at each site."""
        self.shares_left -= count * len(shares)
        key = frozenset(shares.items())
        number = self._number_of_shares.get(key)
        if number is None:
            built = build_decision(state, Division(replicas_by_slot=shares), None)
            number = self._number_of_shares[key] = self._number(built)
        self._add_run(number, count)

    def of(self, subjects: Sequence[Subject]) -> EqualDecisions:
        """The decisions about these workloads, in the order in which they were added."""
        return EqualDecisions(
            subjects=tuple(subjects), outcomes=tuple(self.outcomes), runs=tuple(self.runs)
        )

    def _number(self, decision: Decision) -> int:
        outcome = replace(decision, workload="", uid="")
        number = self._number_of.setdefault(decision_bytes(outcome), len(self.outcomes))
        if number == len(self.outcomes):
            self.outcomes.append(outcome)
        return number

    def _add_run(self, number: int, count: int) -> None:
        if self.runs and self.runs[-1].outcome == number:
            count += self.runs.pop().count
        self.runs.append(OutcomeRun(outcome=number, count=count))


def _fill_sites(
    demand: Demand,
    subjects: Sequence[Subject],
    fleet: Fleet,
    context: DecisionContext,
    made: _Outcomes,
) -> int | None:
    """Decides as many of the demands as the sites take, and counts them as in flight.

    It stops when `made` is full.

    Returns:
        How many were placed: the next is not, nor is any after it. None: none was looked at, as
        these demands must be decided one by one.
    """
    if not _takes_room_only(demand, fleet, context):
        return None
    state = prepare_cycle(demand, fleet, context)
    if scheduling_gate(demand, state.retained, context):
        return 0
    if not state.capacity.has_no_caveats or state.capacity.unbounded_kernel_fit is None:
        return None
    sites = _OpenSites(state)
    template = in_flight_pods(demand, 1, new_site=True)[0]
    index, count = 0, len(subjects)
    shares: ReplicasBySlot = {}
    while index < count and not made.is_full:
        # What the last one took of a single site the next ones take too, while there is room.
        most = min(count - index, made.shares_left)
        again = sites.repeated_orders(shares, most) if len(shares) == 1 else 0
        if not again:
            again = 1
            shares = sites.cheapest_shares(subjects[index])
            if not shares:
                return index
        names = [each.workload for each in subjects[index : index + again]]
        for slot, replicas in shares.items():
            facts = fleet.facts[slot]
            if facts is not None:
                made.former_facts.setdefault(facts.name, facts)
            fleet.assume_equal(slot, replace(template, replicas=replicas), names)
        sites.look_again(shares)
        made.add_shares(state, shares, again)
        index += again
    return index


def _takes_room_only(demand: Demand, fleet: Fleet, context: DecisionContext) -> bool:
    """Whether a decision about it changes nothing for the next but the room at its sites.

    And whether only ties between sites depend on its name, and the cheapest sites are asked for.
    """
    is_plain = (
        demand.strategy == "CostOptimal"
        and demand.replicas > 0
        and not (demand.placed or demand.companions or demand.spread or demand.site_groups)
        and not (demand.preset or demand.gang or demand.claims)
        and demand.identity is None
        and demand.plan is None
        and demand.quota_left is None
        and demand.budget_left is None
        and demand.preemption == "Never"  # else others may end for it
        and not can_wait(demand)
    )
    if not is_plain or not fleet.is_compiled:
        return False
    watts = replica_kwh_per_hour(demand, context) * WATTS_PER_KILOWATT
    if free_solar_ratio(fleet, demand, context, watts) is not None:
        return False
    other = replace(demand, key=f"{demand.namespace}/", uid="")
    book = rulebook()
    keys = (book.rights.cache_key, book.cached.cache_key, book.seldom_shared_key)
    return all(key(demand) == key(other) for key in keys)


class _OpenSites:
    """The sites that take a replica, cheapest first; looked at only when they are needed."""

    def __init__(self, state: CycleState) -> None:
        self._state = state
        self._request = division_request(state)
        self._is_taken: Bools = np.zeros(state.fleet.slot_capacity, np.bool_)
        self._tied: list[Ints] = []
        """Sites of one price together: the name of the workload says which of them comes first."""
        self._room: dict[int, int] = {}
        self._next: tuple[int, int] | None = None
        self._read_rows()
        self._advance()

    def _read_rows(self) -> None:
        """Reads the rows of nodes where they are now, for sites that were not looked at yet."""
        state, slots = self._state, self._request.open_slots
        capacity = SiteCapacity(state.fleet, state.demand, state.filter_result.rights.vendor_sets)
        self._fit = capacity.unbounded_kernel_fit
        self._rows = kernel_rows(state.fleet)
        left = replace(self._request, open_slots=slots[~self._is_taken[slots]], capacity=capacity)
        self._cheapest = iter_cheapest_sites(left, state.demand.replicas)

    def cheapest_shares(self, subject: Subject) -> ReplicasBySlot:
        """What one workload gets of each site; empty: there is too little room for all of it."""
        missing = self._state.demand.replicas
        shares: ReplicasBySlot = {}
        for slot in self._iter_slots(subject):
            shares[slot] = min(self._room[slot], missing)
            missing -= shares[slot]
            if not missing:
                return shares
        return {}

    def repeated_orders(self, shares: ReplicasBySlot, most: int) -> int:
        """How many of the next workloads get the same as the last one; 0: look at each."""
        ((slot, replicas),) = shares.items()
        is_alone = bool(self._tied) and self._tied[0].tolist() == [slot]
        if not is_alone or replicas != self._state.demand.replicas or self._fit is None:
            return 0
        return self._fit.repeated_orders(slot, replicas, most)

    def look_again(self, slots: Iterable[int]) -> None:
        """Looks again at sites where something was placed."""
        if kernel_rows(self._state.fleet) is not self._rows:
            self._read_rows()
        for slot in slots:
            room = int(self._fit.replicas_at(np.array([slot]))[0]) if self._fit else 0
            self._room[slot] = room
            if not room:
                self._drop(slot)

    def _drop(self, slot: int) -> None:
        for number, tied in enumerate(self._tied):
            if slot in tied:
                self._tied[number] = tied[tied != slot]
                if not len(self._tied[number]):
                    del self._tied[number]
                return

    def _iter_slots(self, subject: Subject) -> Iterator[int]:
        number = 0
        while number < len(self._tied) or self._take_tied():
            tied = self._tied[number]
            number += 1
            if len(tied) == 1:
                yield tied.item(0)
                continue
            salted = replace(self._state.costs, salt=stable_hash(subject.uid or subject.workload))
            ties = salted.tie_breakers_of(tied)
            first = int(ties.argmin())
            yield tied.item(first)
            yield from tied.take(ties.argsort(kind="stable")[1:]).tolist()

    def _take_tied(self) -> bool:
        """Looks at the next sites of one price; returns whether there are any."""
        found, tied = self._next, []
        price = None if found is None else self._price_of(found[0])
        while found is not None and self._price_of(found[0]) == price:
            slot, self._room[slot] = found
            tied.append(slot)
            found = self._advance()
        if tied:
            self._tied.append(np.array(sorted(tied), np.int64))
        return bool(tied)

    def _advance(self) -> tuple[int, int] | None:
        """The site behind those that were looked at, and what it takes."""
        self._next = next(self._cheapest, None)
        if self._next is not None:
            self._is_taken[self._next[0]] = True
        return self._next

    def _price_of(self, slot: int) -> tuple[int, bool, float]:
        """What sites are sorted by; a price that is no number comes last."""
        costs = self._state.costs
        cny = costs.cny.item(slot)
        unknown = costs.unknown.item(slot) if costs.is_any_unknown else 0
        return unknown, isnan(cny), 0.0 if isnan(cny) else cny
