"""The capacity that a pod takes on its node, as the kube-scheduler counts it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.member.trees import map_at, objects_at, text_at
from agents.protocol.orders import ORDER_ID_ANNOTATION, ORDER_LABEL
from agents.sensors.quantities import MILLI, QuantityError, ceil_milli

Tree = Mapping[str, Any]
MilliAmounts = dict[str, int]
"""Resource name to an amount in whole milli-units."""

_FINISHED_PHASES: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod that takes capacity of a node, reduced to what a report needs.

    Attributes:
        node: name of the node that it is bound to.
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
    if not holds_capacity(pod):
        return None
    metadata = map_at(pod, "metadata")
    try:
        amounts = requests_of(pod)
    except QuantityError:
        amounts = None
    return PodFacts(
        node=text_at(map_at(pod, "spec"), "nodeName"),
        amounts=amounts,
        token=text_at(map_at(metadata, "labels"), ORDER_LABEL) or None,
        order_id=text_at(map_at(metadata, "annotations"), ORDER_ID_ANNOTATION) or None,
    )


def holds_capacity(pod: Tree) -> bool:
    """Whether the pod is bound to a node and has not ended; terminating pods still count."""
    is_bound = bool(map_at(pod, "spec").get("nodeName"))
    return is_bound and text_at(map_at(pod, "status"), "phase") not in _FINISHED_PHASES


def requests_of(pod: Tree) -> MilliAmounts:
    """The amounts that a pod takes: containers and sidecars or the largest init step, and overhead.

    A restartable init container (sidecar, KEP-753) keeps running, so it counts together with
    everything that starts after it. Requests of the pod as a whole (KEP-2837) replace the sum of
    its containers. During a resize (KEP-1287), the larger of requested and allocated counts. The
    pod itself takes one of `pods`.

    Raises:
        QuantityError: a request is not a valid quantity.
    """
    spec = map_at(pod, "spec")
    allocated = _allocated_by_container(pod)
    total = _pod_requests(spec, allocated)
    for name, amount in _requests_of_resources(map_at(spec, "resources")).items():
        total[name] = amount
    for name, amount in map_at(spec, "overhead").items():
        total[name] = total.get(name, 0) + ceil_milli(amount)
    total["pods"] = MILLI  # one pod, in milli-units
    return total


def _pod_requests(spec: Tree, allocated: Mapping[str, MilliAmounts]) -> MilliAmounts:
    sidecars: MilliAmounts = {}
    largest_step: MilliAmounts = {}
    for container in objects_at(spec, "initContainers"):
        amounts = _container_requests(container, allocated)
        if container.get("restartPolicy") == "Always":
            _add_into(sidecars, amounts)
            _raise_to(largest_step, sidecars)
        else:
            _raise_to(largest_step, _sum_of(sidecars, amounts))
    total = dict(sidecars)
    for container in objects_at(spec, "containers"):
        _add_into(total, _container_requests(container, allocated))
    _raise_to(total, largest_step)
    return total


def _container_requests(container: Tree, allocated: Mapping[str, MilliAmounts]) -> MilliAmounts:
    amounts = _requests_of_resources(map_at(container, "resources"))
    _raise_to(amounts, allocated.get(text_at(container, "name"), {}))
    return amounts


def _requests_of_resources(resources: Tree) -> MilliAmounts:
    """The requests; a limit without a request counts as one, as the API server defaults it."""
    wanted = {**map_at(resources, "limits"), **map_at(resources, "requests")}
    return {name: ceil_milli(amount) for name, amount in wanted.items()}


def _allocated_by_container(pod: Tree) -> dict[str, MilliAmounts]:
    statuses = objects_at(map_at(pod, "status"), "containerStatuses")
    return {
        text_at(each, "name"): {
            name: ceil_milli(amount) for name, amount in map_at(each, "allocatedResources").items()
        }
        for each in statuses
    }


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
