"""What a workload's status says is placed and where its claims are, as a demand has it."""

import msgspec

from scheduler.model.demand.demand import Demand, PlacedReplicas
from scheduler.model.kinds.fields import LabelSelector, Requirement
from scheduler.model.kinds.workload import Workload
from scheduler.model.manifests.manifests import holds_data

_SITE_LABEL = "kapok.dev/site"
_MAX_VALUES = 64


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


def at_its_claims(workload: Workload, demand: Demand) -> Demand:
    """The demand of work with claims that runs nowhere, bound to the sites that hold its claims.

    Elsewhere it would start with empty ones. Work whose failover is automatic may start anywhere.
    """
    sites = claim_sites_of(workload)
    if not sites or demand.placed_replicas or demand.failover_mode == "Automatic":
        return demand
    only = Requirement(key=_SITE_LABEL, operator="In", values=sites[:_MAX_VALUES])
    selector = LabelSelector(match_expressions=(only,))
    return msgspec.structs.replace(demand, site_selectors=(*demand.site_selectors, selector))


def claim_sites_of(workload: Workload) -> tuple[str, ...]:
    """The sites that hold the claims of work that runs nowhere now, sorted."""
    groups = workload.status.placement.groups
    if any(group.replicas for group in groups) or not holds_data(workload.spec.manifests):
        return ()
    parked = {site for group in groups for site in group.sites}
    kept = {one.site for one in workload.status.remains if one.claims}
    return tuple(sorted(parked or kept))
