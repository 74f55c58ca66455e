"""From nodes and bound pods to what is free on each node, grouped into classes. Pure.

Nodes that take no pods (unschedulable, not ready) are left out: what is free on them is of no use.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from agents.protocol.delta import class_identity
from agents.protocol.report import MOST_NODE_ROWS, FreeRow, NodeClass, Taint
from agents.sensors.pods import Amounts, PodFacts
from agents.sensors.quantities import QuantityError, milli_down, written

Tree = Mapping[str, Any]

VENDOR_LABELS: Final = (
    "kapok.dev/cpu-vendor",
    "feature.node.kubernetes.io/cpu-model.vendor_id",
)
GPU_LABELS: Final = ("kapok.dev/gpu-model", "nvidia.com/gpu.product")
ARCHITECTURE_LABEL: Final = "kubernetes.io/arch"

# What a report can hold; a hub would refuse the whole report of a site that says more.
_MOST_LABELS: Final = 64
_MOST_RESOURCES: Final = 64
_FIRST_RESOURCES: Final = frozenset({"cpu", "memory", "pods", "ephemeral-storage"})
_MOST_TAINTS: Final = 64
# The control plane sets it beside `unschedulable`, and takes it off again.
_CORDON_TAINT: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Which node labels tell classes apart.

    Attributes:
        wanted: patterns, `*` matches anything.
        excluded: of these, not.
    """

    wanted: tuple[str, ...] = ("*",)
    excluded: tuple[str, ...] = ()

    def of(self, labels: Mapping[str, Any]) -> dict[str, str]:
        """The chosen labels, at most 64 in alphabetical order: a class must fit into a report."""
        names = [name for name in sorted(labels) if self._is_chosen(name)]
        return {name: str(labels[name]) for name in names[:_MOST_LABELS]}

    def _is_chosen(self, name: str) -> bool:
        return any(fnmatchcase(name, each) for each in self.wanted) and not any(
            fnmatchcase(name, each) for each in self.excluded
        )


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is kept of a node that takes pods.

    Attributes:
        name: of the node.
        identity: its class, without what is free.
        allocatable: resource to whole milli-units; None if a figure is no quantity.
    """

    name: str
    identity: NodeClass
    allocatable: Amounts | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One look at a cluster.

    Attributes:
        classes: nodes by class, within a class by equal free vectors.
        bound: pods that take room, by the token of their order.
        order_ids: order ids by token, as pods tell them.
        left_out: nodes whose figures make no sense: nothing is placed by them, and a fault is told.
    """

    classes: tuple[NodeClass, ...]
    bound: Counter[str]
    order_ids: Mapping[str, str]
    left_out: frozenset[str]


def node_facts(node: Tree, choice: LabelChoice) -> NodeFacts | None:
    """What is to be kept of a node; None if it takes no pods."""
    if not _takes_pods(node):
        return None
    amounts = (node.get("status") or {}).get("allocatable") or {}
    allocatable: Amounts | None
    names = sorted(amounts, key=lambda resource: (resource not in _FIRST_RESOURCES, resource))
    try:
        allocatable = {name: milli_down(amounts[name]) for name in names[:_MOST_RESOURCES]}
    except QuantityError:
        allocatable = None
    name = str((node.get("metadata") or {}).get("name") or "")
    return NodeFacts(name, _identity(node, choice), allocatable)


def summarise(nodes: Iterable[NodeFacts], pods: Iterable[PodFacts]) -> Snapshot:
    """Free capacity = allocatable minus what bound pods take, node by node."""
    known = list(nodes)
    free = {node.name: dict(node.allocatable) for node in known if node.allocatable is not None}
    left_out = {node.name for node in known if node.allocatable is None}
    bound: Counter[str] = Counter()
    order_ids: dict[str, str] = {}
    for pod in pods:
        if pod.token:
            bound[pod.token] += 1
            if pod.order_id:
                order_ids[pod.token] = pod.order_id
        if pod.amounts is None:
            free.pop(pod.node, None)  # nobody knows what is free there
            left_out.add(pod.node)
        elif pod.node in free:
            _subtract(free[pod.node], pod.amounts)
    classes = _grouped((node.identity, free[node.name]) for node in known if node.name in free)
    return Snapshot(classes, bound, order_ids, frozenset(left_out))


def _subtract(free: Amounts, taken: Amounts) -> None:
    for resource, amount in taken.items():
        if resource in free:
            free[resource] -= amount


def _grouped(nodes: Iterable[tuple[NodeClass, Amounts]]) -> tuple[NodeClass, ...]:
    rows: dict[bytes, tuple[NodeClass, Counter[tuple[tuple[str, int], ...]]]] = {}
    for identity, free in nodes:
        _, vectors = rows.setdefault(class_identity(identity), (identity, Counter()))
        vectors[_vector(free)] += 1
    classes = [_with_rows(identity, vectors) for identity, vectors in rows.values()]
    return tuple(classes[:MOST_NODE_ROWS])


def _takes_pods(node: Tree) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in conditions
        if isinstance(each, dict)
    )


def _identity(node: Tree, choice: LabelChoice) -> NodeClass:
    labels = (node.get("metadata") or {}).get("labels") or {}
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return NodeClass(
        labels=choice.of(labels),
        taints=_taints((node.get("spec") or {}).get("taints") or ()),
        architecture=str(info.get("architecture") or labels.get(ARCHITECTURE_LABEL) or "")[:64],
        cpu_vendor=_first(labels, VENDOR_LABELS)[:64],
        gpu_model=_first(labels, GPU_LABELS)[:128],
    )


def _taints(taints: Iterable[Any]) -> tuple[Taint, ...]:
    found = [
        Taint(
            key=str(each.get("key") or ""),
            value=str(each["value"]) if each.get("value") else None,
            effect=str(each.get("effect") or "")[:32],
        )
        for each in taints
        if isinstance(each, dict) and each.get("key") != _CORDON_TAINT
    ]
    return tuple(sorted(found, key=lambda taint: (taint.key, taint.effect)))[:_MOST_TAINTS]


def _first(labels: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((str(labels[name]) for name in names if labels.get(name)), "")


def _vector(free: Amounts) -> tuple[tuple[str, int], ...]:
    """Never below zero: a node may be over-committed by static pods or by a shrunk allocatable."""
    return tuple(sorted((resource, max(0, amount)) for resource, amount in free.items()))


def _with_rows(identity: NodeClass, vectors: Counter[tuple[tuple[str, int], ...]]) -> NodeClass:
    rows = tuple(
        FreeRow(count=count, resources={name: written(name, amount) for name, amount in vector})
        for vector, count in sorted(vectors.items(), reverse=True)[:MOST_NODE_ROWS]
    )
    return replace(identity, free=rows)
