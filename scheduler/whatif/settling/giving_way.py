"""What ends in a copy of the fleet for a workload that waits for room, as the loops decide it.

The same pure decision chooses the victims (`placement/preemption`). In the loops they end one after
the other, and the workload is ordered once their sites show them gone; the answer to a what-if is
the state after that. What a copy does not know, such as pods that are finished at a site, counts as
there.
"""

import heapq
from collections.abc import Callable, Iterator

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import (
    BorrowedByTenant,
    PossibleVictim,
    PreemptedReplicas,
    VictimShare,
)
from scheduler.model.kinds.tenant import Tenant
from scheduler.model.kinds.workload import Workload
from scheduler.placement.choose import prepare_cycle
from scheduler.placement.preemption.victim import WAITS_FOR_ROOM, possible_victim
from scheduler.whatif.settling.settled_fleet import SettledFleet

_MAX_VICTIMS = 64
"""So many are read, those of the lowest priority and of them the youngest, as in the loops."""


def with_victims(
    settled: SettledFleet,
    demand: Demand,
    waiting: Decision,
    decide: Callable[[Demand], Decision],
) -> Decision:
    """The decision with what ends for the workload, or the given one if nothing may or would help.

    Args:
        settled: the fleet until now.
        demand: what was decided on.
        waiting: the decision without preemption.
        decide: decides on another demand.
    """
    if waiting.phase != "Waiting" or WAITS_FOR_ROOM.isdisjoint(waiting.reasons):
        return waiting
    tenant = settled.reader.tenant_of(settled.workloads[demand.key])
    reclaim = _borrowed_from(settled, demand, tenant)
    if demand.preemption == "Never" and not reclaim:
        return waiting
    asked = msgspec.structs.replace(demand, reclaim=reclaim)
    lacks_quota = "quota" in waiting.reasons
    victims = _candidates(settled, asked, tenant, lacks_quota=lacks_quota)
    if not victims:
        return waiting
    found = decide(msgspec.structs.replace(asked, victims=victims))
    return waiting if found.preemption is None else found


def placed_after(waiting: Decision) -> Decision:
    """The decision once its victims have ended: the workload runs at the place kept for it."""
    if waiting.preemption is None:
        return waiting
    return msgspec.structs.replace(
        waiting, phase="Placed", assignment=waiting.preemption.place, reasons={}
    )


def ended_replicas(decision: Decision, by: Demand) -> dict[str, tuple[PreemptedReplicas, ...]]:
    """What ends for a workload, by victim.

    Args:
        decision: names the victims.
        by: the workload.
    """
    found: dict[str, tuple[PreemptedReplicas, ...]] = {}
    for one in decision.preemption.victims if decision.preemption else ():
        ended = PreemptedReplicas(
            site=one.site,
            keep=one.keep,
            by=by.key,
            priority=by.priority,
            reclaimed=one.reclaimed,
        )
        found[one.workload] = (*found.get(one.workload, ()), ended)
    return found


def _borrowed_from(
    settled: SettledFleet, demand: Demand, tenant: Tenant | None
) -> BorrowedByTenant:
    """What others borrow of the guaranteed quota that the tenant needs for the workload."""
    if tenant is None or not tenant.spec.quota:
        return {}
    book = settled.books.lending_book(demand.key)
    return book.to_take_back(tenant, demand.quota_usage(demand.replicas, 1))


def _candidates(
    settled: SettledFleet, demand: Demand, tenant: Tenant | None, *, lacks_quota: bool
) -> tuple[PossibleVictim, ...]:
    """What could end: of lower priority, or of tenants that borrow."""
    own = frozenset(tenant.spec.namespaces) if tenant and lacks_quota else frozenset[str]()
    tenants = None
    if tenant is not None:
        book = settled.books.lending_book(demand.key)
        tenants = book.may_end_work_of(tenant, demand.quota_usage(demand.replicas, 1))
    sites, found = _open_sites(settled, demand), list[tuple[int, float, str]]()
    for key, workload in settled.workloads.items():
        if not _may_end(settled, demand, workload, tenants):
            continue
        if workload.metadata.namespace in own or not sites.isdisjoint(settled.replicas_of(key)):
            created = workload.metadata.creation_timestamp
            age = -created.timestamp() if created else 0.0
            found.append((workload.spec.priority, age, key))
    least = (key for _, _, key in heapq.nsmallest(_MAX_VICTIMS, found))
    victims = (_victim(settled, key) for key in sorted(least))
    return tuple(one for one in victims if one is not None)


def _open_sites(settled: SettledFleet, demand: Demand) -> frozenset[str]:
    state = prepare_cycle(demand, settled.fleet, settled.context)
    slots = state.filter_result.admitted_slots.tolist()
    excluded = state.retained.excluded
    return frozenset(settled.fleet.name_at(slot) for slot in slots if slot not in excluded)


def _may_end(
    settled: SettledFleet, demand: Demand, workload: Workload, tenants: frozenset[str] | None
) -> bool:
    is_over = workload.metadata.deletion_timestamp or workload.status.phase == "Completed"
    if is_over or workload.metadata.key == demand.key:
        return False
    is_lower = demand.preemption == "LowerPriority" and workload.spec.priority < demand.priority
    if not is_lower and not demand.reclaim:
        return False
    owner = settled.reader.tenant_of(workload)
    name = owner.metadata.name if owner else ""
    if tenants is not None and name not in tenants:
        return False
    return is_lower or name in demand.reclaim


def _victim(settled: SettledFleet, key: str) -> PossibleVictim | None:
    """A workload as a possible victim; None: nothing of it can end.

    What was decided in this copy is not moved again: it has no place on any node yet.
    """
    workload, demand = settled.workloads[key], settled.demands[key]
    groups = workload.status.placement.groups
    if not isinstance(demand, Demand) or not demand.unit or key in settled.decisions:
        return None
    if any(group.phase == "Withdrawing" for group in groups):
        return None
    replicas = settled.replicas_of(key)
    shares = tuple(_shares(settled, demand, replicas))
    if not shares:
        return None
    total = sum(replicas.values())
    # A copy of files without statuses says nothing of pods that are not ready.
    away = max(0, total - workload.status.ready) if workload.status.phase else 0
    return possible_victim(workload, demand, shares, total, away=lambda: away)


def _shares(
    settled: SettledFleet, demand: Demand, replicas: dict[str, int]
) -> Iterator[VictimShare]:
    pods_of_replica = max(1, sum(one.count for one in demand.unit))
    for site, count in sorted(replicas.items()):
        if count <= 0 or site not in settled.fleet.slot_of:
            continue
        flying = sum(
            one.replicas
            for one in settled.fleet.facts_of(site).in_flight
            if one.workload == demand.key
        )
        in_flight = min(count, -(-flying // pods_of_replica))
        yield VictimShare(site=site, replicas=count, in_flight=in_flight)
