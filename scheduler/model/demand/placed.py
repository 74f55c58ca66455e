"""What a workload's status says is placed, as a demand has it."""

import msgspec

from scheduler.model.demand.demand import PlacedReplicas
from scheduler.model.kinds.workload import Workload


def placed_by_status(workload: Workload) -> tuple[PlacedReplicas, ...]:
    """The replicas that the status lists; groups hold a number of replicas for each site."""
    return tuple(
        PlacedReplicas(site=site, replicas=group.replicas, phase=group.phase)
        for group in workload.status.placement.groups
        if group.replicas  # an order of 0 replicas keeps objects and claims, and runs nothing
        for site in group.sites
    )


def placed_below(workload: Workload, total: int) -> tuple[PlacedReplicas, ...]:
    """The replicas that the status lists, without those whose ordinals are `total` or more.

    Fewer replicas end the highest ordinals, so the division has nothing to choose there.
    """
    firsts = first_ordinals_of(workload)
    kept: list[PlacedReplicas] = []
    for one in placed_by_status(workload):
        first = firsts.get(one.site)
        left = one.replicas if first is None else min(one.replicas, total - first)
        if left > 0:
            kept.append(msgspec.structs.replace(one, replicas=left))
    return tuple(kept)


def first_ordinals_of(workload: Workload) -> dict[str, int]:
    """The first ordinal of each site with replicas, by site."""
    return {
        site: group.ordinals.first
        for group in workload.status.placement.groups
        if group.replicas and group.ordinals is not None
        for site in group.sites
    }
