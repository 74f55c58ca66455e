"""Where pods in flight may run while sets of different pods are placed: every assignment, if few.

A pod in flight takes what it asks of one node. Where there are few such pods and few kinds of
nodes, sets are placed beside each assignment, and the worst of them counts. Equal nodes are
interchangeable, so of each kind no more nodes are tried than there are pods.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from scheduler.model.demand.facts import RESERVED_FOR_PREFIX, InFlight
from scheduler.model.quantities import PODS
from scheduler.placement.fit.pod_set_nodes import PodSetNodes

Floats = NDArray[np.float64]

MAX_ASSIGNMENTS = 64
"""The most assignments that are tried at one site."""

Load = dict[int, Floats]
"""What pods in flight take, by the number of the node; [resources] each."""


def assignments_of(
    in_flight: Sequence[InFlight], nodes: PodSetNodes, *, has_headroom: bool
) -> list[Load] | None:
    """What each assignment of pods in flight takes of which nodes; None: there are too many.

    Args:
        in_flight: what is in flight at the site.
        nodes: its nodes, before anything is placed.
        has_headroom: whether part of the nodes is kept free; pods in flight may take that.
    """
    pods = sum(each.replicas for each in in_flight)
    if 2**pods > MAX_ASSIGNMENTS or any(each.gpu_cards for each in in_flight):
        return None
    tried = _first_of_each_kind(nodes, pods)
    choices: list[list[tuple[int, Floats]]] = []
    for each in in_flight:
        requests = {PODS: 1, **each.requests}
        asked = np.array([float(requests.get(name, 0)) for name in nodes.names])
        fitting = [node for node in tried if (nodes.free[:, node] >= asked).all()]
        anywhere = has_headroom or not fitting or each.workload.startswith(RESERVED_FOR_PREFIX)
        choices += [[(node, asked) for node in (tried if anywhere else fitting)]] * each.replicas
    count = 1
    for some in choices:
        count *= max(1, len(some))
        if count > MAX_ASSIGNMENTS:
            return None
    # An assignment that no scheduler could make, as a node is too small for two of the pods,
    # only lowers the answer.
    return [_load_of(places) for places in product(*(some for some in choices if some))]


def with_load(nodes: PodSetNodes, load: Load) -> PodSetNodes:
    """The nodes, changed: less what pods in flight take of them."""
    for node, asked in load.items():
        nodes.free[:, node] = np.maximum(nodes.free[:, node] - asked, 0.0)
    return nodes


def _first_of_each_kind(nodes: PodSetNodes, count: int) -> list[int]:
    seen: dict[object, int] = {}
    found = []
    for node, profile in enumerate(nodes.profiles.tolist()):
        kind = (profile, nodes.free[:, node].tobytes(), nodes.cards[:, node].tobytes())
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= count:
            found.append(node)
    return found


def _load_of(places: Sequence[tuple[int, Floats]]) -> Load:
    load: Load = {}
    for node, asked in places:
        load[node] = load[node] + asked if node in load else asked
    return load
