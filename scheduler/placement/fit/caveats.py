"""The notes of a decision about its own figures: what is only a bound, and what is not modelled.

They let a reader of "3 full" see whether that is proven.
"""

from collections.abc import Iterator

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.topology_spread import is_lower_bound
from scheduler.placement.fleet.fleet import Fleet

NOTE_EXHAUSTIVE = "capacity for the set of pods is exact (all assignments searched)"
NOTE_FIRST_FIT = "capacity for a set of pods is a lower bound (first fit decreasing)"
NOTE_TOPOLOGY_BOUND = "capacity under several topology limits at once is a lower bound"
NOTE_IN_FLIGHT_BOUND = (
    "room beside pods in flight is a lower bound (too many assignments to search)"
)
NOTE_OWN_REPLICAS = (
    "the nodes of running replicas are not reported; topology spread assumes the worst case"
)


def caveats_of(
    demand: Demand, fleet: Fleet, *, is_single_pod: bool, is_exhaustive: bool
) -> Iterator[str]:
    """The notes of one decision.

    Args:
        demand: the workload.
        fleet: the sites.
        is_single_pod: whether a replica is one pod, and no other pods come with it.
        is_exhaustive: for sets of pods: whether every answer that counted is exact.
    """
    shapes = _pod_shapes(demand)
    if shapes and not is_single_pod:
        yield NOTE_EXHAUSTIVE if is_exhaustive else NOTE_FIRST_FIT
    elif any(is_lower_bound(shape) for shape in shapes):
        yield NOTE_TOPOLOGY_BOUND
    if demand.placed_replicas and any(shape.skews for shape in shapes):
        yield NOTE_OWN_REPLICAS
    not_modelled = {missing: None for shape in shapes for missing in shape.not_modelled}
    for limits in (fleet.namespace_limits.by_slot(demand.namespace) or {}).values():
        not_modelled |= {f"{each} of the namespace's limits": None for each in limits.not_modelled}
        if demand.per_node or (not is_single_pod and limits.container_default_request):
            not_modelled["quota of DaemonSets, and requests that a LimitRange adds to sets"] = None
    yield from _unknown_scopes(demand, fleet)
    for missing in not_modelled:
        yield f"not modelled: {missing}"


def _unknown_scopes(demand: Demand, fleet: Fleet) -> Iterator[str]:
    """Notes on custom kinds that may be cluster-scoped at sites which do not report scopes."""
    if not demand.unknown_scope:
        return
    if any(facts is not None and facts.status.cluster_kinds is None for facts in fleet.facts):
        for kind in demand.unknown_scope:
            yield (
                f"not every site reports the scope of {kind}; one where it is cluster-scoped "
                f"refuses the object until the Tenant's clusterKinds lists {kind}"
            )


def _pod_shapes(demand: Demand) -> list[PodShape]:
    beside = [each.shape for each in demand.beside]
    return [*(each.shape for each in demand.unit), *beside, *demand.per_node]
