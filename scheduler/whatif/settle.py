"""Decides what waits and what a scenario concerns, as the loops would; all else stays where it is.

What runs is decided again only where something about it changes: it is to leave a site, its demand
is another one, or a site of it has other rights, labels or taints. Each decision sees what the ones
before it took: pods in flight, quotas, budgets and the sites of companions.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import msgspec

from scheduler.model.decision import Decision
from scheduler.model.demand.assignment import BatchAssignment
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, SiteFacts
from scheduler.model.demand.placed import at_its_claims
from scheduler.model.demand.terms import Terms
from scheduler.model.kinds.tenant import Spend
from scheduler.model.kinds.workload import PlacementGroup, PlacementStatus, Workload
from scheduler.placement.choose import choose
from scheduler.placement.cost.spend import spend_of
from scheduler.placement.failover.fewer import leave_as_many
from scheduler.placement.fleet.context import DecisionContext, decision_context
from scheduler.placement.fleet.daemon_nodes import daemon_pods_at
from scheduler.placement.fleet.fleet import Fleet
from scheduler.whatif.demands import DemandReader, Progress, TenantBooks, no_progress
from scheduler.whatif.fleet_copy import FleetCopy

_UNPLACED_PHASES = frozenset({"Waiting", "Refused", "Pending"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionTask:
    """A workload that is to be decided.

    Attributes:
        key: `namespace/name`.
        leaves: the sites that it is to leave.
        is_changed: its own placement rules changed, so the mode Fresh counts.
    """

    key: str
    leaves: frozenset[str] = frozenset()
    is_changed: bool = False


@dataclass(slots=True, kw_only=True)
class SettledFleet:
    """A fleet after all decisions.

    Attributes:
        copy: the copy that was decided on.
        fleet: its arrays; what was decided counts as in flight.
        context: the time and the terms.
        workloads: by `namespace/name`, with the placements that were decided.
        demands: by `namespace/name`, as read, before what quotas leave.
        decisions: of the workloads that were decided.
        decided_demands: the demands that these decisions answer.
        tasks: what was asked of these workloads.
        refusals: the decisions that could not leave all sites that were to be left.
        reserved_at: the sites where room is reserved for a workload that waits.
        reader: resolves workloads.
        books: what tenants use.
    """

    copy: FleetCopy
    fleet: Fleet
    context: DecisionContext
    workloads: dict[str, Workload]
    demands: Mapping[str, Demand | NotAccepted]
    reader: DemandReader
    books: TenantBooks
    decisions: dict[str, Decision] = field(default_factory=dict)
    decided_demands: dict[str, Demand] = field(default_factory=dict)
    tasks: dict[str, DecisionTask] = field(default_factory=dict)
    refusals: dict[str, Decision] = field(default_factory=dict)
    reserved_at: dict[str, list[str]] = field(default_factory=dict)

    def replicas_of(self, key: str) -> dict[str, int]:
        """The replicas of a workload by site, as decided, else as they run."""
        decision = self.decisions.get(key)
        if decision is not None:
            return {one.site: one.replicas for one in decision.assignment if one.replicas}
        demand = self.demands[key]
        if isinstance(demand, Demand):
            return demand.placed_replicas
        return running_replicas(self.workloads[key])

    def has_left(self, key: str, sites: Collection[str]) -> bool:
        """Whether a workload is placed, and has nothing at these sites."""
        return self.is_placed(key) and not any(site in sites for site in self.replicas_of(key))

    def is_placed(self, key: str) -> bool:
        """Whether a workload has all replicas that it asks for."""
        demand, decision = self.demands[key], self.decisions.get(key)
        if decision is not None:
            return decision.phase == "Placed"
        return isinstance(demand, Demand) and not is_waiting(self.workloads[key], demand)


def open_fleet(
    copy: FleetCopy,
    reader: DemandReader,
    demands: Mapping[str, Demand | NotAccepted],
    progress: Progress = no_progress,
) -> SettledFleet:
    """A fleet on which nothing is decided yet.

    Args:
        copy: the copy.
        reader: resolves workloads of this copy.
        demands: of all workloads.
        progress: shows how far it is.

    Raises:
        NotAQuantity: an amount of a site cannot be read.
    """
    fleet, total = Fleet(), len(copy.facts)
    for place, one in enumerate(copy.facts):
        if not place % 100:
            progress("sites", place, total)
        fleet.upsert(one)
    context = decision_context(copy.objects.now, copy.objects.terms)
    books = TenantBooks(
        tenants=copy.objects.tenants or (),
        used_by=partial(_quota_use, fleet=fleet),
        spend_of=partial(_spend_of, fleet=fleet, context=context),
    )
    settled = SettledFleet(
        copy=copy,
        fleet=fleet,
        context=context,
        workloads={one.metadata.key: one for one in copy.workloads},
        demands=demands,
        reader=reader,
        books=books,
    )
    for one in copy.facts:
        for key in one.reserved_for if one.in_flight else ():
            settled.reserved_at.setdefault(key, []).append(one.name)
    if books.is_any_limited:
        for demand in demands.values():
            if isinstance(demand, Demand):
                books.set(demand, demand.placed_replicas)
    return settled


def _quota_use(
    demand: Demand, replicas_by_site: Mapping[str, int], *, fleet: Fleet
) -> Mapping[str, int]:
    daemon_pods = daemon_pods_at(demand, fleet, replicas_by_site)
    return demand.quota_usage(sum(replicas_by_site.values()), len(replicas_by_site), daemon_pods)


def _spend_of(
    demand: Demand, replicas_by_site: Mapping[str, int], *, fleet: Fleet, context: DecisionContext
) -> Spend:
    return spend_of(demand, fleet, context, replicas_by_site)


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
    demand = settled.books.limited(demand, settled.reader.tenant_of(workload))
    demand = at_its_claims(workload, demand)
    if demand.mode == "Fresh" and demand.placed and not task.is_changed:
        demand = msgspec.structs.replace(demand, mode="Steady")
    leaves = tuple(sorted(task.leaves & demand.placed_replicas.keys()))
    return msgspec.structs.replace(demand, evicted=leaves) if leaves else demand


def decide_task(
    settled: SettledFleet,
    task: DecisionTask,
    terms: Terms | None = None,
    assigned: BatchAssignment | None = None,
) -> None:
    """Decides one workload; does nothing for one that is not accepted.

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
    if decision.phase != "Placed":
        for facts in reserved:
            fleet.upsert(facts)
    fleet.assume(demand, decision)
    settled.decisions[key] = decision
    settled.decided_demands[key] = demand
    settled.workloads[key] = with_placement(settled.workloads[key], decision)
    settled.books.set(demand, settled.replicas_of(key))


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


def is_waiting(workload: Workload, demand: Demand) -> bool:
    """Whether a workload lacks replicas that it asks for, as far as its status says."""
    if is_over(workload) or not demand.replicas:
        return False
    placed = sum(demand.placed_replicas.values())
    if not placed or workload.status.phase in _UNPLACED_PHASES:
        return True
    return demand.strategy != "Duplicated" and placed < demand.replicas


def is_over(workload: Workload) -> bool:
    """Whether a workload is being deleted or has ended, so that nothing is placed of it again."""
    return workload.metadata.deletion_timestamp is not None or workload.status.phase == "Completed"


def running_replicas(workload: Workload) -> dict[str, int]:
    """What runs of a workload by site; what is not accepted stays as it is."""
    running: dict[str, int] = {}
    for group in workload.status.placement.groups:
        for site in group.sites if group.phase != "Withdrawing" and group.replicas else ():
            running[site] = running.get(site, 0) + group.replicas
    return running


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
