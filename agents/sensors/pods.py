"""How much room one pod takes on its node, as the kube-scheduler counts it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agents.sensors.quantities import QuantityError, milli_up

Tree = Mapping[str, Any]
Amounts = dict[str, int]
"""Resource name to whole milli-units."""

ORDER_LABEL: Final = "kapok.dev/order"
ORDER_ID_ANNOTATION: Final = "kapok.dev/order-id"

_ENDED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What is kept of a pod that takes room on a node.

    Attributes:
        node: it is bound to.
        amounts: that it takes; None if a request is no quantity, so that nobody knows.
        token: of the order it belongs to.
        order_id: of that order, as the pod tells it.
    """

    node: str
    amounts: Amounts | None
    token: str | None = None
    order_id: str | None = None


def pod_facts(pod: Tree) -> PodFacts | None:
    """What is to be kept of a pod; None if it takes no room."""
    if not takes_room(pod):
        return None
    metadata = pod.get("metadata") or {}
    try:
        amounts = requests_of(pod)
    except QuantityError:
        amounts = None
    return PodFacts(
        node=str(pod["spec"]["nodeName"]),
        amounts=amounts,
        token=(metadata.get("labels") or {}).get(ORDER_LABEL),
        order_id=(metadata.get("annotations") or {}).get(ORDER_ID_ANNOTATION),
    )


def takes_room(pod: Tree) -> bool:
    """Whether the pod is bound to a node and has not ended; a terminating one still takes room."""
    is_bound = bool((pod.get("spec") or {}).get("nodeName"))
    return is_bound and (pod.get("status") or {}).get("phase") not in _ENDED


def requests_of(pod: Tree) -> Amounts:
    """What the pod takes: containers and sidecars, or its largest init step; plus overhead.

    By KEP-753: a restartable init container (sidecar) stays, so it counts with all that starts
    after it. By KEP-2837: requests of the pod as a whole, where given, stand instead. By KEP-1287:
    while a resize is under way the larger of asked and allocated counts. The pod itself takes one
    of `pods`.

    Raises:
        QuantityError: a request is no quantity.
    """
    spec = pod.get("spec") or {}
    allocated = _allocated(pod)
    total = _running(spec, allocated)
    for name, amount in _requests(spec.get("resources")).items():
        total[name] = amount
    for name, amount in (spec.get("overhead") or {}).items():
        total[name] = total.get(name, 0) + milli_up(amount)
    total["pods"] = 1000
    return total


def _running(spec: Tree, allocated: Mapping[str, Amounts]) -> Amounts:
    sidecars: Amounts = {}
    largest_step: Amounts = {}
    for container in _trees(spec.get("initContainers")):
        amounts = _container(container, allocated)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, amounts)
            _raise(largest_step, sidecars)
        else:
            _raise(largest_step, _sum(sidecars, amounts))
    total = dict(sidecars)
    for container in _trees(spec.get("containers")):
        _add(total, _container(container, allocated))
    _raise(total, largest_step)
    return total


def _container(container: Tree, allocated: Mapping[str, Amounts]) -> Amounts:
    amounts = _requests(container.get("resources"))
    _raise(amounts, allocated.get(str(container.get("name")), {}))
    return amounts


def _requests(resources: Tree | None) -> Amounts:
    """Requests; a limit without a request is one, as the API server would have filled in."""
    tree = resources or {}
    wanted = {**(tree.get("limits") or {}), **(tree.get("requests") or {})}
    return {name: milli_up(amount) for name, amount in wanted.items()}


def _allocated(pod: Tree) -> dict[str, Amounts]:
    statuses = _trees((pod.get("status") or {}).get("containerStatuses"))
    return {
        str(each.get("name")): {
            name: milli_up(amount) for name, amount in each["allocatedResources"].items()
        }
        for each in statuses
        if isinstance(each.get("allocatedResources"), dict)
    }


def _add(into: Amounts, amounts: Amounts) -> None:
    for name, amount in amounts.items():
        into[name] = into.get(name, 0) + amount


def _sum(one: Amounts, other: Amounts) -> Amounts:
    both = dict(one)
    _add(both, other)
    return both


def _raise(into: Amounts, floor: Amounts) -> None:
    for name, amount in floor.items():
        into[name] = max(into.get(name, 0), amount)


def _trees(value: Any) -> Iterable[Tree]:  # noqa: ANN401 - a JSON value of the server's
    return [each for each in value or () if isinstance(each, dict)]
