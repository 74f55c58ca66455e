"""On how many nodes the pods of DaemonSets run, for quotas."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.kinds.fields import Toleration
from scheduler.model.manifests.pods import PodShape
from scheduler.placement.fleet.node_eligibility import is_eligible
from scheduler.placement.fleet.nodes.columns import COUNT_COLUMN, PROFILE_COLUMN
from scheduler.placement.fleet.nodes.profiles import IN_FLIGHT_PROFILE

if TYPE_CHECKING:
    from scheduler.placement.fleet.fleet import Fleet

_TOLERATED_BY_DAEMONS = tuple(
    Toleration(key=f"node.kubernetes.io/{name}", operator="Exists")
    for name in (
        "disk-pressure",
        "memory-pressure",
        "network-unavailable",
        "not-ready",
        "pid-pressure",
        "unreachable",
        "unschedulable",
    )
)
"""What the controller of DaemonSets adds to each pod."""


def daemon_pods_at(demand: Demand, fleet: "Fleet", sites: Iterable[str]) -> tuple[int, ...]:
    """How many pods each of `demand.per_node` has at all of these sites together.

    Every node that selector, affinity and taints permit counts, also a full one and one of another
    architecture: the controller makes a pod for each.
    """
    if not demand.per_node:
        return ()
    slots = [fleet.slot_of[site] for site in sites if site in fleet.slot_of]
    if not slots:
        return (0,) * len(demand.per_node)
    rows = fleet.nodes.rows
    index = rows.row_indices(np.array(sorted(slots), np.int64))
    profiles = rows.matrix[PROFILE_COLUMN].take(index).astype(np.int64)
    counts = rows.matrix[COUNT_COLUMN].take(index) * (profiles != IN_FLIGHT_PROFILE)
    return tuple(
        int((counts * _permitted_profiles(shape, fleet).take(profiles)).sum())
        for shape in demand.per_node
    )


def _permitted_profiles(
    shape: PodShape, fleet: "Fleet"
) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    tolerant = msgspec.structs.replace(
        shape, tolerations=(*shape.tolerations, *_TOLERATED_BY_DAEMONS)
    )
    profiles = fleet.nodes.profiles
    return np.array(
        [is_eligible(tolerant, profiles[number]) for number in range(len(profiles))], np.bool_
    )
