"""What still fits where: how many replicas of a shape each site takes, exact by node, or why none.

Each site is asked alone: what one takes is no longer free for the others only where they share a
quota. What is in flight and reserved counts as used.
"""

from math import floor
from typing import Any

import msgspec
import numpy as np

from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.quantities import CPU, MILLI_PER_UNIT, PODS, format_amount, parse_quantity
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.explain.explain import never_reported
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.result import CycleState
from scheduler.whatif.demands import DemandReader, Progress, no_progress
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.purchases import Purchases, next_purchases
from scheduler.whatif.scenario.changes import ScenarioError
from scheduler.whatif.settling.backlog import settle_backlog
from scheduler.whatif.settling.settle import settle, waiting_tasks
from scheduler.whatif.settling.settled_fleet import SettledFleet, open_fleet
from scheduler.whatif.shape import AskedShape, workload_of_shape

Answer = dict[str, Any]

_MAX_NAMED = 5
MOST_REPLICAS = 1_000_000
"""So many are asked for, so that the answer is what fits; more are not counted."""


def ask_capacity(copy: FleetCopy, shape: AskedShape, progress: Progress = no_progress) -> Answer:
    """What still fits where, in the JSON form of `kapok capacity -o json`.

    Args:
        copy: the fleet; it stays as it is.
        shape: of one replica.
        progress: shows how far it is.

    Raises:
        ScenarioError: the shape cannot be placed anywhere, whatever the sites have.
        NotAQuantity: an amount of a site cannot be read.
    """
    reader = DemandReader(copy)
    demand = _demand_of(copy, reader, shape)
    demands = reader.read_all(progress)
    settled = open_fleet(copy, reader, demands, progress)
    demand = settled.books.limited(demand, reader.tenant_of(workload_of_shape(shape)))
    sites = site_rows(settled, demand)
    settle(settled, waiting_tasks(settled), progress)
    settle_backlog(settled, progress)
    purchases = next_purchases(settled, progress)
    return {
        "moves": [],
        "stuck": _stuck(settled),
        "shape": {
            "requests": {
                name: format_amount(name, amount)
                for name, amount in demand.requests.items()
                if name != PODS
            },
            "dataClass": demand.data_class,
            "namespace": shape.namespace,
        },
        "sites": sites,
        "replicas": sum(one["replicas"] for one in sites),
        "buyNext": list(purchases.rows),
        "noPurchase": _no_purchase(purchases),
        "notes": _notes(settled),
    }


def _no_purchase(purchases: Purchases) -> Answer | None:
    """The workloads that wait for capacity and that nothing of what was tried places."""
    if not purchases.left:
        return None
    return {
        "waiting": len(purchases.left),
        "workloads": list(purchases.left[:_MAX_NAMED]),
        "tried": purchases.tried,
    }


def _demand_of(copy: FleetCopy, reader: DemandReader, shape: AskedShape) -> Demand:
    """The demand of a shape; without a namespace of a tenant it is judged without tenancy."""
    workload = workload_of_shape(shape)
    if not shape.namespace:
        reader = DemandReader(copy.with_objects(tenants=None))
    found = reader.read(workload, copy.workloads)
    if isinstance(found, NotAccepted):
        raise ScenarioError(f"the shape is not accepted: {found.message}")
    if not found.unit:
        raise ScenarioError("the shape has no pod; write --cpu, --memory, or name a pod with -f")
    return msgspec.structs.replace(found, replicas=MOST_REPLICAS, gang=False, spread=())


def site_rows(settled: SettledFleet, demand: Demand) -> list[Answer]:
    """How many replicas of a demand each site takes: most first, then by name."""
    fleet = settled.fleet
    state = prepare_cycle(demand, fleet, settled.context)
    names = sorted(fleet.slot_of)
    slots = np.array([fleet.slot_of[name] for name in names], np.int64)
    is_admitted = state.filter_result.admitted[slots]
    found = np.zeros(len(slots), np.int64)
    if is_admitted.any():
        found[is_admitted] = state.capacity.replicas_at(slots[is_admitted])
    rows = [
        {
            "name": name,
            "replicas": int(min(count, MOST_REPLICAS)),
            "firstRefusal": None if count > 0 else _refusal(state, fleet, slot),
        }
        for name, slot, count in zip(names, slots.tolist(), found.tolist(), strict=True)
    ]
    return sorted(rows, key=_row_order)


def _row_order(row: Answer) -> tuple[int, str]:
    return (-row["replicas"], row["name"])


def _refusal(state: CycleState, fleet: Fleet, slot: int) -> Answer:
    """The first reason why a site takes none, as decisions count it."""
    facts = fleet.facts_of(fleet.name_at(slot))
    for rule, passed in state.filter_result.passed:
        if not passed[slot]:
            missing = never_reported(rule, facts)
            sentence = missing or rule.explain(facts, state.demand, state.context)
            return {"reason": rule.reason, "sentence": sentence}
    summed = int(state.capacity.replicas_by_sums(np.array([slot]))[0])
    if slot in state.capacity.quota_bound_slots:
        sentence = f"a ResourceQuota of namespace {state.demand.namespace} there allows no more"
        return {"reason": "quota", "sentence": sentence}
    lack = _lack(state.demand, facts)
    if summed > 0:
        sentence = f"{lack}; the sum over its nodes would hold {summed}"
        return {"reason": "fragmented", "sentence": sentence}
    return {"reason": "full", "sentence": lack}


def _lack(demand: Demand, facts: SiteFacts) -> str:
    """The resource of which no node has enough, else that none has enough of all."""
    rows = [row for one in facts.status.node_classes for row in one.free]
    if not rows:
        return f"{facts.name} reports no nodes"
    for name, asked in demand.requests.items():
        factor = MILLI_PER_UNIT if name == CPU else 1
        most = max(floor(parse_quantity(row.get(name, 0)) * factor) for row in rows)
        if most < asked:
            return (
                f"no node of {facts.name} has {format_amount(name, asked)} of {name} free; the "
                f"most is {format_amount(name, most)}"
            )
    return f"no node of {facts.name} has enough of all that is requested"


def _stuck(settled: SettledFleet) -> list[Answer]:
    """The workloads that wait, and why."""
    return [
        {"workload": key, "reason": decision.line}
        for key, decision in sorted(settled.decisions.items())
        if decision.phase != "Placed"
    ]


def _notes(settled: SettledFleet) -> list[str]:
    unknown = [one.name for one in settled.fleet.all_facts() if one.observed_at is None]
    if not unknown:
        return []
    return [f"{len(unknown)} sites have not reported, so nothing is known of their capacity"]
