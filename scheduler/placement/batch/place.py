"""A batch of workloads over a fleet: prices from all, then decisions one by one, exact to the node.

The batch is solved over sums of free capacity, which say nothing of single nodes
(`fit/capacity.py`), but its prices are good. So each workload is then decided by `choose`, by
priority first, those that the solver put somewhere next, then by what they gain, with the prices as
the scarcity term and the solver's sites as the assignment: no rule is broken, no node is
overcommitted, and the bound still holds.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.canonical import canonical_digest
from scheduler.model.decision import Decision
from scheduler.model.demand.assignment import (
    AssignedReplicas,
    AssignedWorkload,
    BatchAssignment,
    assignment_version,
)
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.terms import ScarcityPrice, Terms
from scheduler.placement.assigned import may_follow
from scheduler.placement.batch.batch import solve_batch
from scheduler.placement.batch.instance import (
    BatchInstance,
    BatchSolution,
    achieved_ratio_of,
    hottest_site,
)
from scheduler.placement.choose import choose, prepare_cycle
from scheduler.placement.fit.summed_capacity import UNLIMITED
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import CycleState
from scheduler.placement.solver.dual_ascent import reduced_profit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_MAX_PRIORITY_FACTOR = 999
"""The most that a priority multiplies the value by: priorities go up to a billion, and prices of
such a span would lose all precision. The order of decisions follows the priority itself."""
_MAX_ASSIGNED = 200_000
"""A batch assigns at most so many workloads, so that the ledger can hold the list as one blob."""
_DIGITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class HottestSite:
    """The site for which most is wanted of what it has; figures are demand divided by supply.

    Attributes:
        name: its name; empty: there is no site.
        before: if every workload went where its profit is highest; None: the site has nothing.
        after: at the fullest site, of what the batch places; None: that site has nothing.
    """

    name: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOutcome:
    """The outcome of a batch.

    Attributes:
        decisions: one per demand, in the order of the demands.
        order: keys of the demands in the order in which they were decided.
        achieved: value less cost of what was newly placed, CNY per hour.
        bound: an upper bound on what any division of the batch could achieve, CNY per hour.
        terms: the terms with the scarcity prices that were found, quantised and versioned.
        method: how the prices were found, for the record.
        assigned: where the missing replicas of each workload go that may follow a batch.
        hottest: the site for which most is wanted.
    """

    decisions: tuple[Decision, ...]
    order: tuple[str, ...]
    achieved: float
    bound: float
    terms: Terms
    method: str
    assigned: tuple[AssignedWorkload, ...] = ()
    hottest: HottestSite = HottestSite(name="", before=0.0, after=0.0)

    @property
    def assignment_version(self) -> str:
        """The version of the list of assigned workloads; empty if none is assigned."""
        return assignment_version(self.assigned)

    @property
    def ratio(self) -> float:
        """Profit achieved divided by its upper bound; 1 is optimal."""
        return achieved_ratio_of(self.achieved, self.bound)


BatchSteps = Generator[None, None, BatchOutcome]


def place_batch_in_steps(
    demands: Sequence[Demand], fleet: Fleet, *, now: datetime, terms: Terms
) -> BatchSteps:
    """Decides many workloads together; yields often, so that the caller can do other work.

    Args:
        demands: the demands.
        fleet: the fleet; it is changed: what is decided counts as in flight.
        now: the time of the decisions.
        terms: limits and prices.
    """
    without_scarcity = msgspec.structs.replace(terms, scarcity=(), scarcity_version="")
    names, resources = sorted(fleet.slot_of), _resource_names(demands)
    without_solar = msgspec.structs.replace(
        without_scarcity, pv_longest_run_seconds=0
    )  # all are priced at once here, and a surplus can be given away only once
    instance = yield from _build_instance(
        demands, fleet, decision_context(now, without_solar), names, resources
    )
    batch = solve_batch(instance)
    priced = with_scarcity_prices(without_scarcity, batch, names, resources)
    order = _decision_order(demands, instance, batch)
    decisions: dict[int, Decision] = {}
    achieved = 0.0
    placed = np.zeros(instance.profit.shape, np.int64)
    slots = {name: index for index, name in enumerate(names)}
    for index in order:
        yield
        demand = demands[index]
        assigned = _assignment_of(batch.placed[index], names)
        decision = choose(demand, fleet, now=now, terms=priced, assigned=assigned)
        decisions[index] = decision
        fleet.assume(demand, decision)
        placed[index] = _added_replicas(demand, decision, slots)
        achieved += _profit_of_added(placed[index], instance.profit[index])
    ordered = tuple(decisions[index] for index in range(len(demands)))
    keys = tuple(demands[index].key for index in order)
    following = [index for index in order if may_follow(demands[index]) and placed[index].any()]
    return BatchOutcome(
        decisions=ordered,
        order=keys,
        achieved=achieved,
        bound=batch.bound,
        terms=priced,
        method=batch.method,
        assigned=_assigned_workloads(demands, placed, following[:_MAX_ASSIGNED], names),
        hottest=_hottest_site(instance, placed, names),
    )


def _decision_order(
    demands: Sequence[Demand], instance: BatchInstance, batch: BatchSolution
) -> list[int]:
    """Indices of the demands by priority, those that the solver placed wholly first.

    Then by what a replica gains at the prices. Who is left out must not take the room of others.
    """
    reduced = reduced_profit(instance, batch.prices).max(axis=1, initial=-np.inf)
    is_left_out = batch.placed.sum(axis=1) < instance.replicas
    return sorted(
        range(len(demands)),
        key=lambda index: (
            -demands[index].priority,
            is_left_out[index],
            -reduced[index],
            demands[index].key,
        ),
    )


def _assignment_of(placed: Ints, names: Sequence[str]) -> BatchAssignment | None:
    """The solver's sites of one workload; its list is recorded by no version, as it is no input."""
    sites = _sites_of(placed, names)
    return BatchAssignment(version="", sites=sites) if sites else None


def _sites_of(placed: Ints, names: Sequence[str]) -> tuple[AssignedReplicas, ...]:
    return tuple(
        AssignedReplicas(site=names[site], replicas=int(placed[site]))
        for site in placed.nonzero()[0].tolist()
    )


def _assigned_workloads(
    demands: Sequence[Demand], placed: Ints, indices: Sequence[int], names: Sequence[str]
) -> tuple[AssignedWorkload, ...]:
    """Where these workloads go, sorted by their keys."""
    return tuple(
        AssignedWorkload(workload=demands[index].key, sites=_sites_of(placed[index], names))
        for index in sorted(indices, key=lambda index: demands[index].key)
    )


def _hottest_site(instance: BatchInstance, placed: Ints, names: Sequence[str]) -> HottestSite:
    site, before, after = hottest_site(instance, placed)
    return HottestSite(
        name=names[site] if names else "",
        before=round(before, _DIGITS) if np.isfinite(before) else None,
        after=round(after, _DIGITS) if np.isfinite(after) else None,
    )


def _added_replicas(demand: Demand, decision: Decision, slots: dict[str, int]) -> Ints:
    """The replicas that a decision adds; [sites]."""
    added, before = np.zeros(len(slots), np.int64), demand.placed_replicas
    for each in decision.assignment:
        added[slots[each.site]] = max(0, each.replicas - before.get(each.site, 0))
    return added


def _profit_of_added(added: Ints, profit: Floats) -> float:
    """Value less cost of added replicas, CNY per hour; 0 where the profit is not finite."""
    some = added.nonzero()[0]
    return float((added[some] * np.where(np.isfinite(profit[some]), profit[some], 0.0)).sum())


def with_scarcity_prices(
    terms: Terms, batch: BatchSolution, names: Sequence[str], resources: Sequence[str]
) -> Terms:
    """The terms with the prices of a batch: six digits each, versioned by their digest."""
    scarcity = tuple(
        ScarcityPrice(site=site, resource=resource, cny_per_unit_hour=float(f"{price:.6g}"))
        for site, prices in zip(names, batch.prices.tolist(), strict=True)
        for resource, price in zip(resources, prices, strict=True)
        if price > 0
    )
    version = canonical_digest(scarcity) if scarcity else ""
    return msgspec.structs.replace(terms, scarcity=scarcity, scarcity_version=version)


def _resource_names(demands: Sequence[Demand]) -> list[str]:
    return sorted({name for demand in demands for name in demand.requests})


def _build_instance(
    demands: Sequence[Demand],
    fleet: Fleet,
    context: DecisionContext,
    names: Sequence[str],
    resources: Sequence[str],
) -> Generator[None, None, BatchInstance]:
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    profit = np.full((len(demands), len(names)), -np.inf)
    missing = np.zeros(len(demands), np.int64)
    for index, demand in enumerate(demands):
        yield
        state = prepare_cycle(demand, fleet, context)
        profit[index] = _profit_by_site(state, slots)
        missing[index] = max(0, demand.replicas - sum(state.retained.kept.values()))
    requests = np.array(
        [[float(demand.requests.get(name, 0)) for name in resources] for demand in demands]
    ).reshape(len(demands), len(resources))
    return BatchInstance(
        free=_free_by_site(fleet, slots, resources),
        requests=requests,
        replicas=missing,
        profit=profit,
        whole=np.array([demand.gang for demand in demands], np.bool_),
    )


def _profit_by_site(state: CycleState, slots: NDArray[np.int64]) -> Floats:
    """Value less cost of a replica at each site; -inf where a rule forbids it.

    A workload that states no value is to run whatever it costs: its value is what it costs at its
    most expensive site, plus the value of the terms. A stated value is a limit to the cost.
    """
    demand, terms = state.demand, state.context.terms
    admitted = state.filter_result.admitted[slots]
    cost = state.costs.cny[slots]
    priority_factor = 1 + min(max(0, demand.priority), _MAX_PRIORITY_FACTOR)
    stated_value = demand.prices.value_cny_per_replica_hour
    if stated_value is None:
        value = terms.value_cny_per_replica_hour * priority_factor + cost[admitted].max(initial=0.0)
    else:
        value = stated_value * priority_factor
    return np.where(admitted, value - cost, -np.inf)


def _free_by_site(fleet: Fleet, slots: NDArray[np.int64], resources: Sequence[str]) -> Floats:
    rows = fleet.nodes.rows
    columns = fleet.nodes.column_numbers_of(resources)  # first: these may replace the matrix
    index = rows.row_indices(slots)
    counts = fleet.nodes.node_counts(index)
    free = [
        np.minimum(
            rows.sum_by_site(slots, rows.matrix[number].take(index) * counts),
            float(UNLIMITED) * 2**40,
        )
        for number in columns
    ]
    summed = np.stack(free, axis=1) if free else np.zeros((len(slots), 0))
    return np.maximum(summed - _in_flight_by_site(fleet, slots, resources), 0.0)


def _in_flight_by_site(fleet: Fleet, slots: NDArray[np.int64], resources: Sequence[str]) -> Floats:
    """What is ordered at each site and runs on no node yet; [sites, resources]."""
    taken = np.zeros((len(slots), len(resources)))
    for index, slot in enumerate(slots.tolist()):
        facts = fleet.facts[slot]
        for each in facts.in_flight if facts else ():
            taken[index] += [each.replicas * each.requests.get(name, 0) for name in resources]
    return taken
