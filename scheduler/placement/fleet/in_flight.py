"""Pods in flight, ordered and not yet bound to a node; they count as if on the worst node.

A pod in flight may be bound to any node. Taking a request q from a node lowers `min over r of
floor(free_r / asked_r)` by at most `max over r of ceil(q_r / asked_r)`, whichever node it is. The
sum of these over all pods in flight is therefore never too small. It is the quick bound; where it
leaves fewer replicas than are wanted, `fit/in_flight_loss.py` computes what is lost at most.

`- max over r of ceil(q_r / asked_r)` equals `min over r of floor(-q_r / asked_r)`. So pods in
flight are kept among the node rows, as rows with negative free capacity (`node_table.py`), and the
same formula counts them in the same step.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from scheduler.model.decision import SiteAssignment
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import InFlight, PlannedRun, SiteFacts
from scheduler.model.manifests.manifests import Pods
from scheduler.placement.fleet.node_table import NodeTable
from scheduler.placement.fleet.nodes.columns import CARDS_COLUMN
from scheduler.placement.fleet.nodes.in_flight_change import InFlightChange

Floats = NDArray[np.float64]

_EXACT_BELOW = 2**53
"""Sums of whole numbers below it are exact in floats, in any order."""


class InFlightTotals:
    """Sums of the requests in flight, by column of the node rows and site.

    Args:
        nodes: the node rows, which number the columns.
        facts: the facts by slot, a list that the fleet keeps up to date.

    Attributes:
        totals: in the units of the node rows; [columns, slot_capacity].
    """

    def __init__(self, nodes: NodeTable, facts: Sequence[SiteFacts | None]) -> None:
        self._number_of = nodes.columns.known_number
        self._facts = facts
        self.totals: Floats = np.zeros((0, 0))
        nodes.on_new_column.append(self._fill_column)

    def grow_sites(self, sites: int) -> None:
        """Extends the arrays to `sites` slots."""
        more = np.zeros((len(self.totals), max(0, sites - self.totals.shape[1])))
        self.totals = np.concatenate([self.totals, more], axis=1)

    def replace(self, slot: int, in_flight: Sequence[InFlight]) -> None:
        """Replaces what is in flight at a site."""
        self.totals[:, slot] = 0.0
        for each in in_flight:
            self.add(slot, each)

    def change(self, slot: int, change: InFlightChange) -> None:
        """Takes over a change of what is in flight at a site, as `replace` by all of it would."""
        if len(change.dropped) + len(change.added) >= len(change.now):
            self.replace(slot, change.now)
            return
        for each in change.added:
            self.add(slot, each)
        if not np.all(self.totals[:, slot] < _EXACT_BELOW):
            self.replace(slot, change.now)  # a sum that was rounded cannot be taken back
            return
        for each in change.dropped:
            self.add(slot, msgspec.structs.replace(each, replicas=-each.replicas))

    def add(self, slot: int, entry: InFlight, copies: int = 1) -> None:
        """Adds pods in flight at a site; several equal entries at once as one by one."""
        totals, number_of, replicas = self.totals, self._number_of, entry.replicas
        for name, amount in entry.requests.items():
            column = number_of(name)
            if column is None:  # filled in once a demand names it
                continue
            if column >= len(totals):
                self.widen(column + 8)  # some spare, so that not every new column copies the array
                totals = self.totals
            before, more = totals.item(column, slot), replicas * amount
            totals[column, slot] = before + more if copies == 1 else _sum(before, more, copies)
        if entry.gpu_cards:
            self.widen(CARDS_COLUMN + 1)
            before = self.totals.item(CARDS_COLUMN, slot)
            more = replicas * entry.gpu_cards * entry.gpu_milli
            self.totals[CARDS_COLUMN, slot] = _sum(before, more, copies)

    def _fill_column(self, number: int, resource: str, slots: Iterable[int]) -> None:
        self.widen(number + 1)
        self.totals[number] = 0.0  # it may have been another resource's
        for slot in slots:
            facts = self._facts[slot]
            if facts is not None:
                self.totals[number, slot] = sum(
                    each.replicas * each.requests.get(resource, 0) for each in facts.in_flight
                )

    def widen(self, columns: int) -> None:
        """Extends the arrays to at least `columns` columns."""
        if columns > len(self.totals):
            more = np.zeros((columns - len(self.totals), self.totals.shape[1]))
            self.totals = np.concatenate([self.totals, more])


def _sum(total: float, more: int, copies: int) -> float:
    """The total after adding `more` so many times, rounded as if one after the other."""
    if copies > 1 and total + more * copies < _EXACT_BELOW:
        return total + more * copies
    for _ in range(copies):
        total += more
    return total


def pods_lost_to_in_flight(in_flight: Sequence[InFlight], min_requests: dict[str, int]) -> int:
    """How many pods of a set may lose their place to what is in flight at one site.

    Args:
        in_flight: the pods in flight there.
        min_requests: by resource the smallest request of any pod of the set; above 0.
    """
    return sum(
        each.replicas
        * sum(
            -(-amount // min_requests[name])  # rounds up
            for name, amount in each.requests.items()
            if name in min_requests
        )
        for each in in_flight
    )


def in_flight_pods(demand: Demand, replicas: int, *, new_site: bool) -> tuple[InFlight, ...]:
    """The pods that an order adds to a site, before they are bound to nodes.

    Args:
        demand: the workload.
        replicas: how many new replicas the site gets.
        new_site: whether the site also gets the pods that come once per site (`Demand.beside`).
    """
    key = demand.key
    in_flight = [
        _in_flight_of(key, each, replicas) for each in demand.unit if each.count * replicas > 0
    ]
    if new_site and demand.beside:
        in_flight += [_in_flight_of(key, each, 1) for each in demand.beside if each.count > 0]
    return tuple(in_flight)


def planned_runs(
    demand: Demand, start_at: datetime | None, planned: Iterable[SiteAssignment]
) -> dict[str, PlannedRun]:
    """The runs of a planned start, by site.

    Args:
        demand: the workload; of one that does not say how long it runs nothing is planned.
        start_at: the start; None: nothing is planned.
        planned: its replicas by site.
    """
    seconds = demand.schedule.duration_seconds
    if start_at is None or not seconds:
        return {}
    return {
        each.site: PlannedRun(
            workload=demand.key,
            priority=demand.priority,
            start_at=start_at,
            duration_seconds=seconds,
            pods=in_flight_pods(demand, each.replicas, new_site=True),
        )
        for each in planned
        if each.replicas > 0
    }


def with_planned(
    planned: tuple[PlannedRun, ...], workload: str, run: PlannedRun | None
) -> tuple[PlannedRun, ...]:
    """What is planned at a site with another run of a workload.

    Args:
        planned: what was planned there until now.
        workload: `namespace/name`.
        run: its run there; None: it has none.
    """
    others = tuple(each for each in planned if each.workload != workload)
    if run is None:
        return planned if len(others) == len(planned) else others
    return tuple(sorted((*others, run), key=lambda each: each.workload))


def _in_flight_of(key: str, pods: Pods, factor: int) -> InFlight:
    shape = pods.shape
    return InFlight(
        workload=key,
        replicas=pods.count * factor,
        requests=shape.requests,
        gpu_cards=shape.gpu_cards,
        gpu_milli=shape.gpu_milli,
        limits=pods.limits,
    )
