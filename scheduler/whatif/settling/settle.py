"""Decides what waits and what a scenario concerns, as the loops would; all else stays where it is.

What runs is decided again only where something about it changes: it is to leave a site, its demand
is another one, or a site of it has other rights, labels or taints. Each decision sees what the ones
before it took: pods in flight, quotas, budgets and the sites of companions.
"""

from collections.abc import Iterable, Iterator
from functools import partial

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.assignment import BatchAssignment
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, SiteFacts
from scheduler.model.demand.placed import at_its_claims
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, Workload
from scheduler.placement.choose import choose
from scheduler.placement.failover.fewer import leave_as_many
from scheduler.whatif.demands import Progress, no_progress
from scheduler.whatif.settling.giving_way import ended_replicas, placed_after, with_victims
from scheduler.whatif.settling.settled_fleet import DecisionTask, SettledFleet, is_waiting


def settle(
    settled: SettledFleet, tasks: Iterable[DecisionTask], progress: Progress = no_progress
) -> None:
    """Decides workloads: by priority, what has to leave a site before what waits, the oldest first.

    Args:
        settled: the fleet; it takes the decisions over.
        tasks: what to decide.
        progress: shows how far it is.
    """
    order = sorted(tasks, key=partial(_task_order, settled))
    for place, task in enumerate(order):
        progress("decided", place, len(order))
        decide_task(settled, task)


def _task_order(settled: SettledFleet, task: DecisionTask) -> tuple[int, bool, float, str]:
    workload = settled.workloads[task.key]
    created = workload.metadata.creation_timestamp
    created_at = float("inf") if created is None else created.timestamp()  # unknown counts as new
    return (-workload.spec.priority, not task.leaves, created_at, task.key)


def _demand_to_decide(settled: SettledFleet, task: DecisionTask) -> Demand | None:
    """The demand with what others leave of quotas, and with the sites to be left."""
    workload, demand = settled.workloads[task.key], settled.demands[task.key]
    if settled.reader.has_affinity(workload):
        demand = settled.reader.read(workload, settled.workloads.values())
    if isinstance(demand, NotAccepted):
        return None
    stated = settled.changed_demands.get(task.key)
    demand = stated or settled.books.limited(demand, settled.reader.tenant_of(workload))
    demand = at_its_claims(workload, demand)
    if demand.mode == "Fresh" and demand.placed and not task.is_changed:
        demand = msgspec.structs.replace(demand, mode="Steady")
    if task.preempted:
        demand = msgspec.structs.replace(demand, preempted=task.preempted)
    leaves = tuple(sorted(task.leaves & demand.placed_replicas.keys()))
    if not leaves:
        return demand
    keeps = {site: count for site, count in task.keeps.items() if count and site in leaves}
    return msgspec.structs.replace(demand, evicted=leaves, evicted_keep=keeps)


def is_placed_by(settled: SettledFleet, task: DecisionTask) -> bool:
    """Whether a decision places all of a workload, without ending any other work."""
    demand, objects = _demand_to_decide(settled, task), settled.copy.objects
    if demand is None:
        return False
    return choose(demand, settled.fleet, now=objects.now, terms=objects.terms).phase == "Placed"


def decide_task(
    settled: SettledFleet,
    task: DecisionTask,
    terms: Terms | None = None,
    assigned: BatchAssignment | None = None,
) -> None:
    """Decides one workload, and what ends for it; does nothing for one that is not accepted.

    Args:
        settled: the fleet; it takes the decision over.
        task: what to decide.
        terms: limits and prices; None: those of the copy.
        assigned: where a batch puts the workload.
    """
    objects, fleet, key = settled.copy.objects, settled.fleet, task.key
    demand = _demand_to_decide(settled, task)
    if demand is None:
        return
    settled.tasks[key] = task
    settled.refusals.pop(key, None)

    def decide(one: Demand) -> Decision:
        return choose(one, fleet, now=objects.now, terms=terms or objects.terms, assigned=assigned)

    reserved = _release_reserved(settled, key)
    decision = decide(demand)
    if decision.phase != "Placed" and demand.evicted:
        settled.refusals[key] = decision
        demand, decision = leave_as_many(demand, decision, decide)
    if settled.ends_others and not task.preempted:
        decision = with_victims(settled, demand, decision, decide)
    ended = ended_replicas(decision, demand)
    if decision.preemption is not None:
        settled.gives_way[key] = decision.preemption.victims
        decision = placed_after(decision)
    if decision.phase != "Placed":
        for facts in reserved:
            fleet.upsert(facts)
    fleet.assume(demand, decision)
    settled.decisions[key] = decision
    settled.decided_demands[key] = demand
    settled.workloads[key] = with_placement(settled.workloads[key], decision)
    settled.books.set(demand, settled.replicas_of(key))
    for victim, replicas in sorted(ended.items()):
        decide_task(settled, DecisionTask(key=victim, preempted=replicas))


def _release_reserved(settled: SettledFleet, key: str) -> list[SiteFacts]:
    """Has the room that is reserved for a workload count as free; returns the facts until now."""
    fleet, before = settled.fleet, []
    for site in settled.reserved_at.get(key, ()):
        facts = fleet.facts_of(site)
        kept = tuple(one for one in facts.in_flight if one.workload != RESERVED_FOR_PREFIX + key)
        before.append(facts)
        fleet.upsert(msgspec.structs.replace(facts, in_flight=kept))
    return before


def waiting_tasks(settled: SettledFleet) -> Iterator[DecisionTask]:
    """A task for every workload that waits and may run."""
    for key, demand in settled.demands.items():
        if isinstance(demand, Demand) and is_waiting(settled.workloads[key], demand):
            yield DecisionTask(key=key)


def with_placement(workload: Workload, decision: Decision) -> Workload:
    """The workload as if a decision were carried out."""
    groups = tuple(
        PlacementGroup(sites=(one.site,), replicas=one.replicas) for one in decision.assignment
    )
    status = msgspec.structs.replace(
        workload.status,
        placement=PlacementStatus(groups=groups),
        last_group=decision.group,
        plan=decision.plan,
    )
    return msgspec.structs.replace(workload, status=status)
