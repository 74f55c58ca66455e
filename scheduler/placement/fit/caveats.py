"""What a decision has to say about its own figures: what is a bound, and what is not looked at.

Whoever reads "3 full" must be able to tell whether that is proven.
"""

from collections.abc import Iterator

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fit.topology_spread import is_lower_bound
from scheduler.placement.fleet.fleet import Fleet

SEARCHED = "room of the set of different pods is exact (all assignments searched)"
FIRST_FIT = "room of a set of different pods is a lower bound (first fit decreasing)"
LIMITS = "room under several topology limits at once is a lower bound"
OWN = "where running replicas stand is not reported; topology spread counts the worst case"


def notes_of(demand: Demand, fleet: Fleet, *, is_single: bool, is_searched: bool) -> Iterator[str]:
    """The notes of one decision.

    Args:
        demand: what was asked.
        fleet: what is known of the sites.
        is_single: one replica is one pod, and nothing comes beside it.
        is_searched: for sets: every answer that counted was found by trying all assignments.
    """
    shapes = _shapes(demand)
    if shapes and not is_single:
        yield SEARCHED if is_searched else FIRST_FIT
    elif any(is_lower_bound(shape) for shape in shapes):
        yield LIMITS
    if demand.placed_replicas and any(shape.skews for shape in shapes):
        yield OWN
    named = {missing: None for shape in shapes for missing in shape.not_modelled}
    for limits in (fleet.limits.of(demand.namespace) or {}).values():
        named |= {f"{each} of the namespace's limits": None for each in limits.not_modelled}
        if demand.per_node or (not is_single and limits.container_default_request):
            named["quota of DaemonSets, and requests that a LimitRange adds to sets"] = None
    for missing in named:
        yield f"not modelled: {missing}"


def _shapes(demand: Demand) -> list[PodShape]:
    beside = [each.shape for each in demand.beside]
    return [*(each.shape for each in demand.unit), *beside, *demand.per_node]
