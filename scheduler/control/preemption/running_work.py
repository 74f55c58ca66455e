"""What is placed beside a workload, of objects alone: what could give way to it, or ends by itself.

For commands that decide and explain without the loops. What is not known then, such as which pods
are ready, counts as in order.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from scheduler.control.status.migration import shares_in
from scheduler.model.demand.demand import Demand, NotAccepted
from scheduler.model.demand.preemption import RunningWork, VictimShare
from scheduler.model.kinds.workload import Workload
from scheduler.placement.preemption.victim import possible_victim

_MAX_READ = 2_000
"""So many workloads are read, those of the lowest priority."""

DemandOf = Callable[[Workload], Demand | NotAccepted]


def running_work(
    workloads: Sequence[Workload], demand_of: DemandOf, *, beside: str
) -> Iterator[RunningWork]:
    """All work that is placed, moves nowhere and has not finished, the lowest priority first.

    Args:
        workloads: all of them.
        demand_of: the demand of one.
        beside: the workload that it is asked for, as `namespace/name`; it is left out.
    """
    placed = [one for one in workloads if one.metadata.key != beside and _is_placed(one)]
    placed.sort(key=lambda one: (one.spec.priority, one.metadata.key))
    for workload in placed[:_MAX_READ]:
        demand = demand_of(workload)
        shares = shares_in(workload.status.placement.groups)
        if isinstance(demand, NotAccepted) or any(one.leaving for one in shares.values()):
            continue
        listed = tuple(
            VictimShare(site=site, replicas=one.replicas)
            for site, one in sorted(shares.items())
            if one.replicas
        )
        if listed and demand.unit:
            total = sum(one.replicas for one in listed)
            victim = possible_victim(workload, demand, listed, total, away=lambda: 0)
            yield RunningWork(victim=victim, ends_at=_ends_at(workload))


def _is_placed(workload: Workload) -> bool:
    is_there = workload.metadata.deletion_timestamp is None
    return is_there and workload.status.phase != "Completed" and bool(_groups(workload))


def _groups(workload: Workload) -> list[tuple[str | None, datetime | None]]:
    """Phase and since when, of all groups that have replicas."""
    groups = workload.status.placement.groups
    return [(one.phase, one.since) for one in groups if one.replicas]


def _ends_at(workload: Workload) -> datetime | None:
    """When work with a stated duration ends; None: it states none, or has not begun everywhere."""
    schedule = workload.spec.schedule
    if schedule is None or schedule.duration_seconds is None:
        return None
    begun = [since for phase, since in _groups(workload) if phase == "Running"]
    known = [since for since in begun if since is not None]
    if not known or len(known) < len(_groups(workload)):
        return None
    return max(known) + timedelta(seconds=schedule.duration_seconds)
