"""What a pod takes of a node, in the units of `scheduler.model.quantities`.

What is asked is rounded up and what a node has is rounded down, as everywhere in Kapok.
"""

from collections.abc import Mapping
from functools import lru_cache

from scheduler.model.manifests.pods import pod_requests
from scheduler.model.quantities import PODS, NotAQuantity, free_amount
from scheduler.simulation.cluster.objects import Pod

Amounts = dict[str, int]

_parse_free = lru_cache(maxsize=4096)(free_amount)


def allocatable_of(quantities: Mapping[str, str | int | float]) -> Amounts:
    """What a node has for pods; what is no quantity counts as 0."""
    found: Amounts = {}
    for name, quantity in quantities.items():
        try:
            found[name] = _parse_free(name, quantity)
        except NotAQuantity:
            found[name] = 0
    return found


def requests_of(pod: Pod) -> Amounts:
    """All that a pod asks for, and its one place among the node's pods.

    A pod whose requests cannot be read takes only its place: API servers refuse such pods.
    """
    spec = {
        "containers": pod.spec.containers,
        "initContainers": pod.spec.init_containers,
        "overhead": pod.spec.overhead,
        "resources": pod.spec.resources,
    }
    try:
        return {**pod_requests(spec), PODS: 1}
    except NotAQuantity:
        return {PODS: 1}
