"""Requests of pods and allocatable amounts of nodes, in the units of `scheduler.model.quantities`.

Requests are rounded up and allocatable amounts are rounded down, as everywhere in Kapok.
"""

from collections.abc import Mapping
from functools import lru_cache

from scheduler.model.manifests.pods import pod_requests
from scheduler.model.quantities import PODS, NotAQuantity, free_amount
from scheduler.simulation.cluster.objects import Pod

Amounts = dict[str, int]

_parse_free = lru_cache(maxsize=4096)(free_amount)


def allocatable_of(quantities: Mapping[str, str | int | float]) -> Amounts:
    """Allocatable amounts of a node; an invalid quantity counts as 0."""
    found: Amounts = {}
    for name, quantity in quantities.items():
        try:
            found[name] = _parse_free(name, quantity)
        except NotAQuantity:
            found[name] = 0
    return found


def requests_of(pod: Pod) -> Amounts:
    """All resources that a pod requests, and 1 of `pods`.

    A pod with invalid requests counts only as one pod; API servers refuse such pods.
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
