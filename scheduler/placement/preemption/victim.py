"""What a decision knows of a workload that could end for another one.

The loops read it of the hub's objects and of reports, commands and what-ifs of a copy of them.
"""

from collections.abc import Callable
from typing import Final

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.preemption import PossibleVictim, VictimShare
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.autoscalers import autoscaler_of
from scheduler.model.manifests.budgets import disruption_budget
from scheduler.model.manifests.pod_kinds import pod_kind_of

WAITS_FOR_ROOM: Final = frozenset({"full", "fragmented", "spread", "quota"})
"""The reasons for which others may end: a site passes every rule, and only room is missing."""


def possible_victim(
    workload: Workload,
    demand: Demand,
    shares: tuple[VictimShare, ...],
    total: int,
    away: Callable[[], int],
) -> PossibleVictim:
    """A workload as decisions see what could end.

    Args:
        workload: the object.
        demand: of what runs.
        shares: what could end.
        total: its replicas at all sites.
        away: how many replicas are not ready, which its disruption budget counts too.
    """
    budget = disruption_budget(workload.spec.manifests, total)
    return PossibleVictim(
        workload=demand.key,
        tenant=demand.tenant,
        priority=demand.priority,
        created_at=workload.metadata.creation_timestamp,
        unit=demand.unit,
        architectures=demand.architectures,
        cpu_vendors=demand.cpu_vendors,
        shares=shares,
        gang=demand.gang,
        whole=_ends_whole(workload, demand),
        budget="" if budget is None else f"{budget.name} ({budget.rule})",
        budget_left=None if budget is None else max(0, budget.allowed - away()),
    )


def _ends_whole(workload: Workload, demand: Demand) -> bool:
    """Whether all replicas at a site end together, as it matters which do, or cannot be known.

    Pods with numbers, jobs, pods that an autoscaler of the site counts, and what a site has once.
    """
    manifests = workload.spec.manifests
    if demand.identity in ("Whole", "Ranges") or demand.per_node or demand.beside:
        return True
    if demand.strategy == "Duplicated" or autoscaler_of(manifests) is not None:
        return True
    kinds = [kind for kind in map(pod_kind_of, manifests) if kind is not None]
    return any(kind.role == "Job" for kind in kinds)
