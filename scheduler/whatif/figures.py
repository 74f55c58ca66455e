"""Figures of a settled fleet: cost and carbon, the room that is left, and the hottest site."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from math import fsum

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX
from scheduler.model.kinds.tenant import Spend
from scheduler.model.quantities import CPU, GPU_MILLI, MILLI_PER_UNIT, PODS
from scheduler.placement.cost.site_costs import site_costs_of
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.fit.summed_capacity import UNLIMITED
from scheduler.placement.fleet.fleet import Fleet
from scheduler.whatif.demands import Progress, no_progress
from scheduler.whatif.settling.settled_fleet import SettledFleet

Floats = NDArray[np.float64]

_MAIN_RESOURCES = (CPU, "memory")
_RATIO_DIGITS = 4


@dataclass(slots=True)
class FleetBill:
    """What all placed work costs an hour.

    Attributes:
        by_workload: the spend of each placed workload.
        assumed: workloads of which a figure is unknown, so that an assumed one counts: it is on
            the expensive side.
    """

    by_workload: dict[str, Spend] = field(default_factory=dict)
    assumed: set[str] = field(default_factory=set)

    @property
    def cny_per_hour(self) -> float:
        """CNY per hour of all together."""
        return fsum(one.cny_per_hour for one in self.by_workload.values())

    @property
    def gco2_per_hour(self) -> float:
        """Grams of CO2e per hour of all together."""
        return fsum(one.gco2_per_hour for one in self.by_workload.values())


def bill_of(
    settled: SettledFleet,
    placed: Mapping[str, Mapping[str, int]],
    known: FleetBill | None = None,
    progress: Progress = no_progress,
) -> FleetBill:
    """What placements cost in a settled fleet.

    Args:
        settled: the fleet.
        placed: replicas by site of each workload that runs.
        known: a bill in which all workloads that `placed` leaves out are right; None: none is.
        progress: shows how far it is.
    """
    bill = FleetBill()
    if known is not None:
        bill = FleetBill(dict(known.by_workload), set(known.assumed))
    for place, (key, replicas) in enumerate(placed.items()):
        progress("priced", place, len(placed))
        demand = settled.demands[key]
        bill.by_workload.pop(key, None)
        bill.assumed.discard(key)
        if not replicas or not isinstance(demand, Demand):
            continue
        costs = site_costs_of(demand, settled.fleet, settled.context)
        spend = spend_of(demand, settled.fleet, settled.context, replicas, costs)
        bill.by_workload[key] = spend
        slots = [settled.fleet.slot_of[site] for site in replicas if site in settled.fleet.slot_of]
        if not costs.are_known(np.array(slots, np.int64)):
            bill.assumed.add(key)
    return bill


@dataclass(frozen=True, slots=True)
class SiteLoads:
    """What sites have free, and how much of each is used; arrays are [sites, resources].

    Attributes:
        names: the sites.
        resources: the resources.
        free: what is left on the nodes beside what is in flight.
        demanded: what placed work and reservations request.
        supply: what they could have at most: what is free and what they have.
    """

    names: tuple[str, ...]
    resources: tuple[str, ...]
    free: Floats
    demanded: Floats
    supply: Floats

    def headroom(self) -> dict[str, float]:
        """What is free at all sites together, by resource; cores for cpu."""
        totals = self.free.sum(axis=0).tolist()
        return {
            name: total / MILLI_PER_UNIT if name == CPU else total
            for name, total in zip(self.resources, totals, strict=True)
        }

    def hottest(self) -> tuple[str, float | None]:
        """The site with most demand for its supply, by its scarcest resource; None: no supply."""
        if not self.names or not self.resources:
            return "", 0.0
        ratios = np.divide(
            self.demanded,
            self.supply,
            out=np.where(self.demanded > 0, np.inf, 0.0),
            where=self.supply > 0,
        ).max(axis=1)
        site = int(ratios.argmax())
        ratio = float(ratios[site])
        return self.names[site], round(ratio, _RATIO_DIGITS) if np.isfinite(ratio) else None


def loads_of(
    settled: SettledFleet, placed: Mapping[str, Mapping[str, int]], left_out: Collection[str]
) -> SiteLoads:
    """The loads of all sites that report and take work.

    Args:
        settled: the fleet.
        placed: replicas by site of each workload that runs.
        left_out: further sites that do not count.
    """
    fleet = settled.fleet
    names = tuple(
        one.name
        for one in fleet.all_facts()
        if not one.is_silent and not one.spec.is_cordoned and one.name not in left_out
    )
    resources = _resources_of(settled)
    used = used_by_site(settled.demands, placed)
    on_nodes = free_on_nodes(fleet, names, resources)
    flying, reserved = _in_flight(fleet, names, resources)
    demanded = _as_array(used, names, resources)
    bound = np.maximum(demanded - flying, 0.0)
    return SiteLoads(
        names=names,
        resources=resources,
        free=np.maximum(on_nodes - flying - reserved, 0.0),
        demanded=demanded + reserved,
        supply=bound + on_nodes,
    )


def _resources_of(settled: SettledFleet) -> tuple[str, ...]:
    """CPU, memory, and what any workload requests besides; pods are no room that is bought."""
    asked = {
        name
        for demand in settled.demands.values()
        if isinstance(demand, Demand)
        for name in demand.requests
    }
    others = sorted(asked - {*_MAIN_RESOURCES, PODS})
    return (*_MAIN_RESOURCES, *(name for name in others if not name.startswith(GPU_MILLI)))


def used_by_site(
    demands: Mapping[str, object], placed: Mapping[str, Mapping[str, int]]
) -> dict[str, Counter[str]]:
    """What placed replicas request, by site and resource."""
    used: dict[str, Counter[str]] = {}
    for key, replicas in placed.items():
        demand = demands[key]
        if not isinstance(demand, Demand):
            continue
        for site, count in replicas.items():
            total = used.setdefault(site, Counter())
            for name, amount in demand.requests.items():
                total[name] += amount * count
    return used


def free_on_nodes(fleet: Fleet, names: Iterable[str], resources: Iterable[str]) -> Floats:
    """What the reports of sites say is free, summed over their nodes; [sites, resources]."""
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    columns = fleet.nodes.column_numbers_of(list(resources))  # first: it may replace the matrix
    rows = fleet.nodes.rows
    index = rows.row_indices(slots)
    counts = fleet.nodes.node_counts(index)
    free = [
        np.minimum(
            rows.sum_by_site(slots, rows.matrix[number].take(index) * counts),
            float(UNLIMITED) * 2**40,
        )
        for number in columns
    ]
    return np.stack(free, axis=1) if free else np.zeros((len(slots), 0))


def _in_flight(
    fleet: Fleet, names: tuple[str, ...], resources: tuple[str, ...]
) -> tuple[Floats, Floats]:
    """What is ordered and runs on no node yet, and what is reserved; each [sites, resources]."""
    flying, reserved = np.zeros((2, len(names), len(resources)))
    for index, name in enumerate(names):
        for each in fleet.facts_of(name).in_flight:
            is_reserved = each.workload.startswith(RESERVED_FOR_PREFIX)
            row = [each.replicas * each.requests.get(one, 0) for one in resources]
            (reserved if is_reserved else flying)[index] += row
    return flying, reserved


def _as_array(
    used: Mapping[str, Mapping[str, int]], names: tuple[str, ...], resources: tuple[str, ...]
) -> Floats:
    found = np.zeros((len(names), len(resources)))
    for index, name in enumerate(names):
        of_site = used.get(name)
        if of_site:
            found[index] = [of_site.get(one, 0) for one in resources]
    return found
