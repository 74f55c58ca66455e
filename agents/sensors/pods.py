"""The capacity that a pod takes on its node, as the kube-scheduler counts it. Pure."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from agents.member.trees import map_at, objects_at, text_at
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.sensors.quantities import MILLI, QuantityError, ceil_milli

Tree = Mapping[str, Any]
MilliAmounts = dict[str, int]
"""Resource name to an amount in whole milli-units."""

_MAX_SHARED_NAMES: Final = 16
_FINISHED_PHASES: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod that takes capacity of a node, reduced to what a report needs.

    Attributes:
        node: name of the node whose capacity it takes.
        amounts: amounts that it takes; None (unknown) if a request is not a valid quantity.
        token: token of the order that it belongs to, from its label.
        order_id: id of that order, from its annotation.
    """

    node: str
    amounts: MilliAmounts | None
    token: str | None = None
    order_id: str | None = None


def pod_facts_of(pod: Tree) -> PodFacts | None:
    """Reduces a pod to what a report needs; None if it takes no capacity."""
    node = node_of(pod)
    if not node:
        return None
    metadata = map_at(pod, "metadata")
    try:
        amounts = _shared_amounts(requests_of(pod))
    except QuantityError:
        amounts = None
    return PodFacts(
        node=sys.intern(node),
        amounts=amounts,
        token=text_at(map_at(metadata, "labels"), ORDER_LABEL) or None,
        order_id=text_at(map_at(metadata, "annotations"), ORDER_ID_ANNOTATION) or None,
    )


def node_of(pod: Tree) -> str:
    """The node whose capacity a pod takes; "" if it takes none, as pods that have ended.

    A pod that is being deleted still takes its node's. So does one for which the kube-scheduler is
    evicting others (`nominatedNodeName`): it keeps the room from pods of lower priority. Pods of
    orders without a node do not, because the hub counts these as in flight.
    """
    status = map_at(pod, "status")
    if text_at(status, "phase") in _FINISHED_PHASES:
        return ""
    node = text_at(map_at(pod, "spec"), "nodeName")
    if node or ORDER_LABEL in map_at(pod, "metadata", "labels"):
        return node
    return text_at(status, "nominatedNodeName")


def requests_of(pod: Tree) -> MilliAmounts:
    """The amounts that a pod takes: containers and sidecars or the largest init step, and overhead.

    As `PodRequests` of Kubernetes' component-helpers counts them. A restartable init container
    (sidecar, KEP-753) keeps running, so it counts together with everything that starts after it.
    Requests of the pod as a whole (KEP-2837: cpu, memory and huge pages) replace the sum of its
    containers. During a resize (KEP-1287) the largest of requested, allocated and actual amounts
    counts, container by container, and one that the node cannot make does not count. (Kubernetes
    before 1.36 does the same; later it takes the largest sum, which is never more.) The pod itself
    takes one of `pods`.

    Raises:
        QuantityError: a request is not a valid quantity.
    """
    spec, status = map_at(pod, "spec"), map_at(pod, "status")
    overhead = {name: ceil_milli(each) for name, each in map_at(spec, "overhead").items()}
    total = _requests_of_containers(spec, _Resizes(status))
    for name, amount in _pod_level_requests(spec, status, total, overhead).items():
        total[name] = amount
    _add_into(total, overhead)
    total["pods"] = MILLI  # one pod, in milli-units
    return total


class _Resizes:
    """What containers have of a node now, by the pod's status."""

    def __init__(self, status: Tree) -> None:
        self.is_infeasible = any(
            each.get("type") == "PodResizePending" and each.get("reason") == "Infeasible"
            for each in objects_at(status, "conditions")
        )
        self._statuses = {
            text_at(each, "name"): each
            for kind in ("initContainerStatuses", "containerStatuses")
            for each in objects_at(status, kind)
            if each.get("resources") or each.get("allocatedResources")
        }

    def apply(self, container: Tree, requested: MilliAmounts) -> MilliAmounts:
        """The amounts of a container for which `requested` are its requests."""
        status = self._statuses.get(text_at(container, "name"))
        if status is None:
            return requested
        actual = _amounts_of(map_at(status, "resources", "requests"))
        _raise_to(actual, _amounts_of(map_at(status, "allocatedResources")))
        if not self.is_infeasible:
            _raise_to(actual, requested)
        return actual


def _requests_of_containers(spec: Tree, resizes: _Resizes) -> MilliAmounts:
    sidecars: MilliAmounts = {}
    largest_step: MilliAmounts = {}
    for container in objects_at(spec, "initContainers"):
        amounts = resizes.apply(container, _requests_of_resources(map_at(container, "resources")))
        if container.get("restartPolicy") == "Always":
            _add_into(sidecars, amounts)
            _raise_to(largest_step, sidecars)
        else:
            _raise_to(largest_step, _sum_of(sidecars, amounts))
    total = dict(sidecars)
    for container in objects_at(spec, "containers"):
        requested = _requests_of_resources(map_at(container, "resources"))
        _add_into(total, resizes.apply(container, requested))
    _raise_to(total, largest_step)
    return total


def _pod_level_requests(
    spec: Tree, status: Tree, of_containers: MilliAmounts, overhead: MilliAmounts
) -> MilliAmounts:
    """The requests of the pod as a whole; only some resources may have any (KEP-2837).

    A limit without a request is one only where no container requests the resource, as the API
    server defaults it.
    """
    resources = map_at(spec, "resources")
    limits, requests = map_at(resources, "limits"), map_at(resources, "requests")
    wanted = {name: limits[name] for name in limits if name not in of_containers}
    wanted.update(requests)
    requested = _amounts_of({name: wanted[name] for name in wanted if _is_pod_level(name)})
    if not requested:
        return requested
    for actual in (map_at(status, "resources", "requests"), map_at(status, "allocatedResources")):
        # These hold the overhead too, which is added to whatever counts.
        for name, amount in _amounts_of(actual).items():
            if name in requested:
                requested[name] = max(requested[name], amount - overhead.get(name, 0))
    return requested


def _is_pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def _requests_of_resources(resources: Tree) -> MilliAmounts:
    """The requests; a limit without a request counts as one, as the API server defaults it."""
    return _amounts_of({**map_at(resources, "limits"), **map_at(resources, "requests")})


def _amounts_of(quantities: Tree) -> MilliAmounts:
    return {name: ceil_milli(amount) for name, amount in quantities.items()}


def _shared_amounts(amounts: MilliAmounts) -> MilliAmounts:
    """The same amounts, of which equal ones are one object: most pods of a cluster are alike."""
    if len(amounts) > _MAX_SHARED_NAMES:
        return amounts  # what is remembered takes little memory, whatever a pod asks for
    return _shared(tuple(amounts.items()))


@lru_cache(maxsize=4096)
def _shared(items: tuple[tuple[str, int], ...]) -> MilliAmounts:
    return {sys.intern(name): amount for name, amount in items}


def _add_into(target: MilliAmounts, amounts: MilliAmounts) -> None:
    for name, amount in amounts.items():
        target[name] = target.get(name, 0) + amount


def _sum_of(one: MilliAmounts, other: MilliAmounts) -> MilliAmounts:
    both = dict(one)
    _add_into(both, other)
    return both


def _raise_to(target: MilliAmounts, floor: MilliAmounts) -> None:
    for name, amount in floor.items():
        target[name] = max(target.get(name, 0), amount)
