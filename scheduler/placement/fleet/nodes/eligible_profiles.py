"""Which node profiles of the fleet a pod may run on, all at once.

The answers are those of `node_eligibility.py`, which asks one profile at a time. Numbers that no
site has now, and pods in flight, count as matching.
"""

from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.demand import Demand
from scheduler.model.manifests.pods import (
    HOSTNAME_LABEL,
    NODE_NAME_FIELD,
    NodeRequirement,
    PodShape,
)
from scheduler.placement.fleet.nodes.label_index import LabelCondition
from scheduler.placement.fleet.nodes.profiles import ProfileTable

Bools = NDArray[np.bool_]


def selected_profiles(profiles: ProfileTable, shape: PodShape) -> tuple[Bools, bool]:
    """Which profiles node selector, node affinity and GPU models match, and whether all do."""
    return profiles.matching(
        ("selected", shape.node_selection_key), lambda: _selected(profiles, shape)
    )


def tolerated_profiles(profiles: ProfileTable, shape: PodShape) -> tuple[Bools, bool]:
    """Of which profiles a pod tolerates every taint, and whether of all."""
    return profiles.matching(
        ("tolerated", shape.node_selection_key),
        lambda: profiles.taints.tolerated(shape.tolerations, len(profiles)),
    )


def eligible_profiles(
    profiles: ProfileTable, shape: PodShape, demand: Demand, selection: Hashable
) -> tuple[Bools, bool]:
    """Which profiles a pod may run on by labels, taints and platform, and whether on all.

    Args:
        profiles: the profiles.
        shape: the pod.
        demand: its architectures and its lists of CPU vendors count.
        selection: all that the answer depends on.
    """
    return profiles.matching(selection, lambda: _eligible(profiles, shape, demand))


def _eligible(profiles: ProfileTable, shape: PodShape, demand: Demand) -> Bools:
    found = profiles.of_architectures(demand.architectures)
    for vendors in demand.cpu_vendors:
        found &= profiles.of_vendors(vendors)
    found &= selected_profiles(profiles, shape)[0]
    found &= tolerated_profiles(profiles, shape)[0]
    return found


def _selected(profiles: ProfileTable, shape: PodShape) -> Bools:
    count = len(profiles)
    found = np.ones(count, np.bool_)
    for key, value in shape.node_selector.items():
        found &= profiles.labels.having(key, value, count)
    if shape.gpu_models:
        found &= profiles.of_gpu_models(shape.gpu_models)
    if shape.node_affinity:
        any_term = np.zeros(count, np.bool_)
        for term in shape.node_affinity:
            any_term |= _meets_all(profiles, term, count)
        found &= any_term
    return found


def _meets_all(profiles: ProfileTable, term: tuple[NodeRequirement, ...], count: int) -> Bools:
    found = np.ones(count, np.bool_)
    for each in term:
        key = HOSTNAME_LABEL if each.key == NODE_NAME_FIELD else each.key
        found &= profiles.labels.answers(LabelCondition(key, each.operator, each.values), count)
    return found
