"""Which nodes of a site a fix opens: the node profile that needs the fewest changes.

Only nodes with free capacity for a pod count, if there are any: a change that opens nodes which are
full does not help.
"""

from collections.abc import Callable, Iterable

from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import PODS, free_amount
from scheduler.placement.filter.fix import RefusedSite
from scheduler.placement.fleet.node_eligibility import is_platform_permitted
from scheduler.placement.fleet.node_table import DEFAULT_MAX_PODS
from scheduler.placement.fleet.nodes.profiles import profile_of

_OWN_RESOURCE_PREFIX = "kapok.dev/"
"""Shares of GPU cards are listed card by card in a row; whether they fit is left to the engine."""


def best_nodes(
    refused: RefusedSite,
    node_classes: Iterable[NodeClass],
    count_changes: Callable[[NodeClass], int],
) -> NodeClass | None:
    """Nodes on which the images run and a pod fits, then those with the fewest changes."""

    def rank(nodes: NodeClass) -> tuple[bool, bool, int]:
        runs = is_platform_permitted(
            profile_of(nodes), refused.demand.architectures, refused.demand.cpu_vendors
        )
        return not runs, not has_capacity(refused, nodes), count_changes(nodes)

    return min(node_classes, key=rank, default=None)


def has_capacity(refused: RefusedSite, nodes: NodeClass) -> bool:
    """Whether every pod of a replica fits on some node of these."""
    return all(_fits_one_pod(pods.shape, nodes) for pods in refused.demand.unit)


def _fits_one_pod(shape: PodShape, nodes: NodeClass) -> bool:
    asked = [
        (name, much)
        for name, much in shape.requests.items()
        if not name.startswith(_OWN_RESOURCE_PREFIX)
    ]
    return any(
        all(
            free_amount(name, row.get(name, DEFAULT_MAX_PODS if name == PODS else 0)) >= much
            for name, much in asked
        )
        for row in nodes.free
    )
