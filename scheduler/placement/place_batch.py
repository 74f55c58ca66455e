"""A batch of workloads over a fleet: prices from all, decisions one by one, exact to the node.

The batch is solved over sums of free capacity, which lie (`fit.py`); but its prices are good
prices. So each workload is then decided by `choose` itself, by priority first and by what it gains
next, with the prices as its scarcity term: no rule is broken, no node over-committed, and the bound
still holds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import digest
from scheduler.model.decision import Decision
from scheduler.model.demand import Demand
from scheduler.model.terms import DEFAULT_TERMS, ScarcityPrice, Terms
from scheduler.placement.ascent import reduced_profit
from scheduler.placement.batch import Batch, Instance, solve_batch
from scheduler.placement.choose import choose, consider
from scheduler.placement.fit import ENDLESS
from scheduler.placement.fleet import Fleet
from scheduler.placement.moment import Moment, moment_of
from scheduler.placement.nodes import COUNT

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of a batch.

    Attributes:
        decisions: one per demand, in the order of the demands.
        achieved: value less cost of what was newly placed, CNY per hour.
        bound: no division of the batch has more.
        terms: the terms with the scarcity prices that were found, quantised and versioned.
    """

    decisions: tuple[Decision, ...]
    achieved: float
    bound: float
    terms: Terms

    @property
    def ratio(self) -> float:
        """Achieved over bound."""
        return self.achieved / self.bound if self.bound > 0 else 1.0


def place_batch(
    demands: Sequence[Demand], fleet: Fleet, *, now: datetime, terms: Terms = DEFAULT_TERMS
) -> BatchOutcome:
    """Decides many workloads together; the fleet is not changed.

    Args:
        demands: what is asked. What runs already stays where it is.
        fleet: what is known of the sites.
        now: the time of the decisions.
        terms: limits and prices; scarcity prices of an earlier batch are replaced.
    """
    plain = msgspec.structs.replace(terms, scarcity=(), scarcity_version="")
    names, resources = sorted(fleet.slot_of), _resources(demands)
    instance = _instance(demands, fleet, moment_of(now, plain), names, resources)
    batch = solve_batch(instance)
    priced = with_prices(plain, batch, names, resources)
    gain = reduced_profit(instance, batch.prices).max(axis=1, initial=-np.inf)
    order = sorted(
        range(len(demands)),
        key=lambda place: (-demands[place].priority, -gain[place], demands[place].key),
    )
    scratch = Fleet(fleet.all_facts())
    decisions: dict[int, Decision] = {}
    achieved = 0.0
    slots = {name: place for place, name in enumerate(names)}
    for place in order:
        demand = demands[place]
        decision = choose(demand, scratch, now=now, terms=priced)
        scratch.commit(demand, decision)
        decisions[place] = decision
        before = demand.placed_replicas
        for each in decision.assignment:
            more = each.replicas - before.get(each.site, 0)
            profit = instance.profit[place, slots[each.site]]
            achieved += max(0, more) * float(profit) if np.isfinite(profit) else 0.0
    ordered = tuple(decisions[place] for place in range(len(demands)))
    return BatchOutcome(ordered, achieved, batch.bound, priced)


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
    return msgspec.structs.replace(terms, scarcity=scarcity, scarcity_version=digest(scarcity))


def _resources(demands: Sequence[Demand]) -> list[str]:
    return sorted({name for demand in demands for name in demand.requests})


def _instance(
    demands: Sequence[Demand],
    fleet: Fleet,
    moment: Moment,
    names: Sequence[str],
    resources: Sequence[str],
) -> Instance:
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    profit = np.full((len(demands), len(names)), -np.inf)
    missing = np.zeros(len(demands), np.int64)
    for place, demand in enumerate(demands):
        case = consider(demand, fleet, moment)
        own = demand.prices.value_cny_per_replica_hour
        value = moment.terms.value_cny_per_replica_hour if own is None else own
        worth = value * max(1, demand.priority + 1) - case.price.cny[slots]
        profit[place] = np.where(case.admission.admitted[slots], worth, -np.inf)
        missing[place] = max(0, demand.replicas - sum(case.standing.kept.values()))
    requests = np.array(
        [[float(demand.requests.get(name, 0)) for name in resources] for demand in demands]
    ).reshape(len(demands), len(resources))
    return Instance(_free(fleet, slots, resources), requests, missing, profit)


def _free(fleet: Fleet, slots: NDArray[np.int64], resources: Sequence[str]) -> Floats:
    rows = fleet.nodes.rows
    index = rows.rows_of(slots)
    counts = rows.column(COUNT)[index]
    free = [
        np.minimum(rows.sums(slots, rows.column(name)[index] * counts), float(ENDLESS) * 2**40)
        for name in resources
    ]
    return np.stack(free, axis=1) if free else np.zeros((len(slots), 0))
