"""A copy of the fleet on which decisions are made: its arrays, and what was decided until now."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

from scheduler.model.decision import Decision, Victim
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.preemption import PreemptedReplicas
from scheduler.model.kinds.tenant import Spend
from scheduler.model.kinds.workload import Workload
from scheduler.placement.cost.spend import spend_of
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
        preempted: the replicas that end for another workload.
        keeps: replicas that stay at a site which is left; sites without an entry keep none.
    """

    key: str
    leaves: frozenset[str] = frozenset()
    is_changed: bool = False
    preempted: tuple[PreemptedReplicas, ...] = ()
    keeps: Mapping[str, int] = field(default_factory=dict)


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
        gives_way: what ends for a workload, by the workload that ends it.
        changed_demands: demands that a scenario states, with their limits.
        ends_others: whether work may end for other work, as in the loops.
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
    gives_way: dict[str, tuple[Victim, ...]] = field(default_factory=dict)
    changed_demands: Mapping[str, Demand] = field(default_factory=dict)
    ends_others: bool = True

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
