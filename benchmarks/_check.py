"""Checks decisions by brute force: rights, nodes and prices in loops, without placement code."""

from datetime import datetime

import numpy as np

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.demand.terms import DEFAULT_TERMS
from scheduler.placement.choose import choose
from scheduler.placement.fit.in_flight_fit import most_lost
from scheduler.placement.fit.node_fit import NodeFit
from scheduler.placement.fleet.fleet import Fleet

_CLASSES = ("general-1", "general-2", "general-3", "general-4", "important", "core")
_TOLERANCE = 1e-9


def count_mismatches(fleet: Fleet, asked: list[Demand], *, now: datetime) -> int:
    """Number of decisions that brute force does not confirm."""
    return sum(not is_confirmed(fleet, demand, choose(demand, fleet, now=now)) for demand in asked)


def is_confirmed(fleet: Fleet, demand: Demand, decision: Decision) -> bool:
    """Whether a decision violates no rule, over-commits nothing, and misses no cheaper site."""
    shares = {each.site: each.replicas for each in decision.assignment}
    room = {
        facts.name: min(room_of(facts, demand), demand.replicas) if is_allowed(facts, demand) else 0
        for facts in fleet.all_facts()
    }
    if any(count > room[name] for name, count in shares.items()):
        return False
    if demand.spread:
        return decision.phase == "Placed" or not shares
    if decision.phase != "Placed":
        return not shares and sum(room.values()) < demand.replicas
    if sum(shares.values()) != demand.replicas:
        return False
    cost = {facts.name: price_of(facts, demand) for facts in fleet.all_facts() if room[facts.name]}
    dearest = max(cost[name] for name in shares)
    return all(
        shares.get(name, 0) == room[name]
        for name, value in cost.items()
        if value[0] < dearest[0] or (value[0] == dearest[0] and value[1] < dearest[1] - _TOLERANCE)
    )


def is_allowed(facts: SiteFacts, demand: Demand) -> bool:
    """Whether the rights and the state of the site allow the workload there."""
    grant = facts.grants[0].spec
    if demand.data_class in {None, "core"} or facts.spec.cordon:
        return False
    mainland = grant.jurisdiction.startswith("CN-")
    near = all(
        any(
            each.to == bound.from_ and each.milliseconds <= bound.within_milliseconds
            for each in facts.status.rtt
        )
        for bound in demand.latency
    )
    return (
        _CLASSES.index(grant.data_class) >= _CLASSES.index(str(demand.data_class))
        and grant.protection_level >= demand.protection_level
        and all(zone in grant.network_zones for zone in demand.network_zones)
        and (not demand.jurisdictions or mainland)
        and (not facts.spec.taints or bool(demand.site_tolerations))
        and near
    )


def room_of(facts: SiteFacts, demand: Demand) -> int:
    """Replicas that fit, pod by pod, less the worst case of those in flight."""
    shape = demand.unit[0].shape
    total = 0
    for each in facts.status.node_classes:
        if each.architecture in demand.architectures:
            total += sum(
                _on_node(dict(row), shape.requests, shape.gpu_cards, shape.gpu_milli)
                for row in each.free
            )
    return max(0, total - _lost(facts, demand))


def _lost(facts: SiteFacts, demand: Demand) -> int:
    """The most that what is in flight may cost; `benchmarks fit` checks it by all assignments."""
    fleet = Fleet([facts])
    shape = demand.unit[0].shape
    index = fleet.nodes.rows.row_indices(np.array([0]))
    per_row = NodeFit(fleet, demand, None).replicas_per_node(index, np.array([0]), shape)
    return most_lost(fleet, facts, index, per_row, shape).replicas


def _on_node(
    row: dict[str, int | float | str], asked: dict[str, int], cards: int, share: int
) -> int:
    free = {
        "cpu": int(str(row["cpu"]).rstrip("m")),
        "memory": int(row["memory"]),
        "pods": int(row["pods"]),
    }
    free |= {name: int(row.get(name, 0)) for name in asked if name not in free}
    left = [int(value) for name, value in row.items() if name.startswith("kapok.dev/gpu-milli.")]
    count = 0
    while all(free[name] >= amount for name, amount in asked.items()):
        left.sort(reverse=True)
        if cards and (len(left) < cards or left[cards - 1] < share):
            break
        for place in range(cards):
            left[place] -= share
        for name, amount in asked.items():
            free[name] -= amount
        count += 1
    return count


def price_of(facts: SiteFacts, demand: Demand) -> tuple[int, float]:
    """Unknown terms and CNY per replica-hour, by the formulas of the documentation."""
    terms = DEFAULT_TERMS
    shape = demand.unit[0].shape
    cores = shape.requests["cpu"] / 1000
    watts = cores * terms.watts_per_core
    watts += shape.requests["memory"] / 2**30 * terms.watts_per_gibibyte
    watts += shape.gpu_cards * shape.gpu_milli / 1000 * terms.watts_per_gpu
    spec, intensity = facts.spec, facts.status.intensity
    pue = spec.energy.pue or terms.fallback_pue
    grams = intensity.gco2_per_kwh if intensity else None
    money = watts / 1000 * pue * (spec.prices.energy_cny_per_kwh or 0.0)
    money += cores * (spec.prices.core_cny_per_hour or 0.0)
    weight = terms.fallback_gco2_per_kwh if grams is None else grams
    money += watts / 1000 * pue * weight / 1000 * (demand.prices.carbon_cny_per_kg or 0.0)
    if demand.latency:
        known = {each.to: each.milliseconds for each in facts.status.rtt}
        longest = max(known[bound.from_] for bound in demand.latency)
        money += longest * (demand.prices.latency_cny_per_millisecond_hour or 0.0)
    return (int(grams is None), money)
