"""A batch of workloads over a fleet: prices from all, decisions one by one, exact to the node.

The batch is solved over sums of free capacity, which lie (`capacity.py`); but its prices are good
prices. So each workload is then decided by `choose` itself, by priority first and by what it gains
next, with the prices as its scarcity term: no rule is broken, no node over-committed, and the bound
still holds.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import digest
from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import ScarcityPrice, Terms
from scheduler.placement.batch.batch import Batch, Instance, ratio_of, solve_batch
from scheduler.placement.choose import choose, consider
from scheduler.placement.fit.summed_capacity import ENDLESS
from scheduler.placement.fleet.context import Moment, moment_of
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import Case
from scheduler.placement.solver.dual_ascent import reduced_profit

Floats = NDArray[np.float64]

_MOST_URGENCY = 999
"""By how much a priority multiplies the value at most: priorities go up to a billion, and prices
that span so much have no digits left. The order of decisions follows the priority itself."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of a batch.

    Attributes:
        decisions: one per demand, in the order of the demands.
        order: keys of the demands in the order in which they were decided.
        achieved: value less cost of what was newly placed, CNY per hour.
        bound: no division of the batch has more.
        terms: the terms with the scarcity prices that were found, quantised and versioned.
        method: how the prices were found, for the record.
    """

    decisions: tuple[Decision, ...]
    order: tuple[str, ...]
    achieved: float
    bound: float
    terms: Terms
    method: str

    @property
    def ratio(self) -> float:
        """Achieved over bound."""
        return ratio_of(self.achieved, self.bound)


Steps = Generator[None, None, BatchOutcome]


def batch_steps(demands: Sequence[Demand], fleet: Fleet, *, now: datetime, terms: Terms) -> Steps:
    """Decides many workloads together, in steps between which the caller can give way.

    Args:
        demands: what is asked.
        fleet: is changed: what is decided counts as in flight.
        now: the time of the decisions.
        terms: limits and prices.
    """
    plain = msgspec.structs.replace(terms, scarcity=(), scarcity_version="")
    names, resources = sorted(fleet.slot_of), _resources(demands)
    shaded = msgspec.structs.replace(plain, pv_longest_run_seconds=0)  # here all are priced at once
    instance = yield from _instance(demands, fleet, moment_of(now, shaded), names, resources)
    batch = solve_batch(instance)
    priced = with_prices(plain, batch, names, resources)
    order = _order(demands, instance, batch)
    decisions: dict[int, Decision] = {}
    achieved = 0.0
    slots = {name: place for place, name in enumerate(names)}
    for place in order:
        yield
        demand = demands[place]
        decision = decisions[place] = choose(demand, fleet, now=now, terms=priced)
        fleet.commit(demand, decision)
        achieved += _gained(demand, decision, instance.profit[place], slots)
    ordered = tuple(decisions[place] for place in range(len(demands)))
    keys = tuple(demands[place].key for place in order)
    return BatchOutcome(ordered, keys, achieved, batch.bound, priced, batch.method)


def _order(demands: Sequence[Demand], instance: Instance, batch: Batch) -> list[int]:
    """By priority first, then by what a replica gains at the prices."""
    gain = reduced_profit(instance, batch.prices).max(axis=1, initial=-np.inf)
    return sorted(
        range(len(demands)),
        key=lambda place: (-demands[place].priority, -gain[place], demands[place].key),
    )


def _gained(demand: Demand, decision: Decision, profit: Floats, slots: dict[str, int]) -> float:
    """Value less cost of the replicas that a decision adds, CNY per hour."""
    before, gained = demand.placed_replicas, 0.0
    for each in decision.assignment:
        more = each.replicas - before.get(each.site, 0)
        worth = float(profit[slots[each.site]])
        gained += max(0, more) * worth if np.isfinite(worth) else 0.0
    return gained


def with_prices(
    terms: Terms, batch: Batch, names: Sequence[str], resources: Sequence[str]
) -> Terms:
    """Terms with the prices of a batch: six digits, versioned by their digest."""
    scarcity = tuple(
        ScarcityPrice(site=site, resource=resource, cny_per_unit_hour=float(f"{price:.6g}"))
        for site, prices in zip(names, batch.prices.tolist(), strict=True)
        for resource, price in zip(resources, prices, strict=True)
        if price > 0
    )
    version = digest(scarcity) if scarcity else ""
    return msgspec.structs.replace(terms, scarcity=scarcity, scarcity_version=version)


def _resources(demands: Sequence[Demand]) -> list[str]:
    return sorted({name for demand in demands for name in demand.requests})


def _instance(
    demands: Sequence[Demand],
    fleet: Fleet,
    moment: Moment,
    names: Sequence[str],
    resources: Sequence[str],
) -> Generator[None, None, Instance]:
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    profit = np.full((len(demands), len(names)), -np.inf)
    missing = np.zeros(len(demands), np.int64)
    for place, demand in enumerate(demands):
        yield
        case = consider(demand, fleet, moment)
        profit[place] = _profit(case, slots)
        missing[place] = max(0, demand.replicas - sum(case.standing.kept.values()))
    requests = np.array(
        [[float(demand.requests.get(name, 0)) for name in resources] for demand in demands]
    ).reshape(len(demands), len(resources))
    return Instance(_free(fleet, slots, resources), requests, missing, profit)


def _profit(case: Case, slots: NDArray[np.int64]) -> Floats:
    """Value less cost of a replica at each site; -inf where a rule forbids it.

    A workload that states no value is to run whatever it costs: it is worth what it costs at its
    dearest site, and the value of the terms beyond that. Who states one sets his own limit.
    """
    demand, terms = case.demand, case.moment.terms
    admitted = case.admission.admitted[slots]
    cost = case.price.cny[slots]
    urgency = 1 + min(max(0, demand.priority), _MOST_URGENCY)
    own = demand.prices.value_cny_per_replica_hour
    if own is None:
        worth = terms.value_cny_per_replica_hour * urgency + cost[admitted].max(initial=0.0)
    else:
        worth = own * urgency
    return np.where(admitted, worth - cost, -np.inf)


def _free(fleet: Fleet, slots: NDArray[np.int64], resources: Sequence[str]) -> Floats:
    rows = fleet.nodes.rows
    index = rows.rows_of(slots)
    counts = fleet.nodes.counts(index)
    free = [
        np.minimum(rows.sums(slots, rows.column(name)[index] * counts), float(ENDLESS) * 2**40)
        for name in resources
    ]
    summed = np.stack(free, axis=1) if free else np.zeros((len(slots), 0))
    return np.maximum(summed - _on_its_way(fleet, slots, resources), 0.0)


def _on_its_way(fleet: Fleet, slots: NDArray[np.int64], resources: Sequence[str]) -> Floats:
    """What is ordered at each site and stands on no node yet; [sites, resources]."""
    taken = np.zeros((len(slots), len(resources)))
    for place, slot in enumerate(slots.tolist()):
        facts = fleet.facts[slot]
        for each in facts.in_flight if facts else ():
            taken[place] += [each.replicas * each.requests.get(name, 0) for name in resources]
    return taken
