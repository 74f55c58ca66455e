"""From nodes and bound pods to what is free on each node, grouped into classes. Pure.

Nodes that take no pods (unschedulable, not ready) are left out: what is free on them is of no use.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from agents.protocol.delta import node_class_key
from agents.protocol.report import MAX_NODE_ROWS, FreeRow, ReportedNodeClass, ReportedTaint
from agents.sensors.pods import MilliAmounts, PodFacts, Tree
from agents.sensors.quantities import QuantityError, floor_milli, format_quantity

VENDOR_LABELS: Final = (
    "kapok.dev/cpu-vendor",
    "feature.node.kubernetes.io/cpu-model.vendor_id",
)
GPU_LABELS: Final = ("kapok.dev/gpu-model", "nvidia.com/gpu.product")
ARCHITECTURE_LABEL: Final = "kubernetes.io/arch"

# What a report can hold; a hub would refuse the whole report of a site that says more.
_MAX_LABELS: Final = 64
_MAX_RESOURCES: Final = 64
_CORE_RESOURCES: Final = frozenset({"cpu", "memory", "pods", "ephemeral-storage"})
_MAX_TAINTS: Final = 64
# The control plane sets it beside `unschedulable`, and takes it off again.
_CORDON_TAINT: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Which node labels tell classes apart.

    Attributes:
        included: patterns, `*` matches anything.
        excluded: of these, not.
    """

    included: tuple[str, ...] = ("*",)
    excluded: tuple[str, ...] = ()

    def select(self, labels: Mapping[str, Any]) -> dict[str, str]:
        """The chosen labels, at most 64 in alphabetical order: a class must fit into a report."""
        names = [name for name in sorted(labels) if self._is_chosen(name)]
        return {name: str(labels[name]) for name in names[:_MAX_LABELS]}

    def _is_chosen(self, name: str) -> bool:
        return any(fnmatchcase(name, each) for each in self.included) and not any(
            fnmatchcase(name, each) for each in self.excluded
        )


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What is kept of a node that takes pods.

    Attributes:
        name: of the node.
        node_class: its class, without what is free.
        allocatable: resource to whole milli-units; None if a figure is no quantity.
    """

    name: str
    node_class: ReportedNodeClass
    allocatable: MilliAmounts | None


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One look at a cluster.

    Attributes:
        classes: nodes by class, within a class by equal free vectors.
        bound_pods: pods that take room, by the token of their order.
        order_ids: order ids by token, as pods tell them.
        unreadable_nodes: nodes whose figures make no sense: nothing is placed by them, and a fault is told.
    """

    classes: tuple[ReportedNodeClass, ...]
    bound_pods: Counter[str]
    order_ids: Mapping[str, str]
    unreadable_nodes: frozenset[str]


def node_facts_of(node: Tree, choice: LabelChoice) -> NodeFacts | None:
    """What is to be kept of a node; None if it takes no pods."""
    if not _is_schedulable(node):
        return None
    amounts = (node.get("status") or {}).get("allocatable") or {}
    allocatable: MilliAmounts | None
    names = sorted(amounts, key=lambda resource: (resource not in _CORE_RESOURCES, resource))
    try:
        allocatable = {name: floor_milli(amounts[name]) for name in names[:_MAX_RESOURCES]}
    except QuantityError:
        allocatable = None
    name = str((node.get("metadata") or {}).get("name") or "")
    return NodeFacts(name, _node_class_of(node, choice), allocatable)


def summarise_nodes(nodes: Iterable[NodeFacts], pods: Iterable[PodFacts]) -> NodeSnapshot:
    """Free capacity = allocatable minus what bound pods take, node by node."""
    known = list(nodes)
    free = {node.name: dict(node.allocatable) for node in known if node.allocatable is not None}
    unreadable_nodes = {node.name for node in known if node.allocatable is None}
    bound_pods: Counter[str] = Counter()
    order_ids: dict[str, str] = {}
    for pod in pods:
        if pod.token:
            bound_pods[pod.token] += 1
            if pod.order_id:
                order_ids[pod.token] = pod.order_id
        if pod.amounts is None:
            free.pop(pod.node, None)  # nobody knows what is free there
            unreadable_nodes.add(pod.node)
        elif pod.node in free:
            _subtract(free[pod.node], pod.amounts)
    classes = _group_by_class(
        (node.node_class, free[node.name]) for node in known if node.name in free
    )
    return NodeSnapshot(classes, bound_pods, order_ids, frozenset(unreadable_nodes))


def _subtract(free: MilliAmounts, taken: MilliAmounts) -> None:
    for resource, amount in taken.items():
        if resource in free:
            free[resource] -= amount


def _group_by_class(
    nodes: Iterable[tuple[ReportedNodeClass, MilliAmounts]],
) -> tuple[ReportedNodeClass, ...]:
    rows: dict[bytes, tuple[ReportedNodeClass, Counter[tuple[tuple[str, int], ...]]]] = {}
    for identity, free in nodes:
        _, vectors = rows.setdefault(node_class_key(identity), (identity, Counter()))
        vectors[_free_vector(free)] += 1
    classes = [_with_free_rows(identity, vectors) for identity, vectors in rows.values()]
    return tuple(classes[:MAX_NODE_ROWS])


def _is_schedulable(node: Tree) -> bool:
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in conditions
        if isinstance(each, dict)
    )


def _node_class_of(node: Tree, choice: LabelChoice) -> ReportedNodeClass:
    labels = (node.get("metadata") or {}).get("labels") or {}
    info = (node.get("status") or {}).get("nodeInfo") or {}
    return ReportedNodeClass(
        labels=choice.select(labels),
        taints=_taints_of((node.get("spec") or {}).get("taints") or ()),
        architecture=str(info.get("architecture") or labels.get(ARCHITECTURE_LABEL) or "")[:64],
        cpu_vendor=_first_label(labels, VENDOR_LABELS)[:64],
        gpu_model=_first_label(labels, GPU_LABELS)[:128],
    )


def _taints_of(taints: Iterable[Any]) -> tuple[ReportedTaint, ...]:
    found = [
        ReportedTaint(
            key=str(each.get("key") or ""),
            value=str(each["value"]) if each.get("value") else None,
            effect=str(each.get("effect") or "")[:32],
        )
        for each in taints
        if isinstance(each, dict) and each.get("key") != _CORDON_TAINT
    ]
    return tuple(sorted(found, key=lambda taint: (taint.key, taint.effect)))[:_MAX_TAINTS]


def _first_label(labels: Mapping[str, Any], names: Iterable[str]) -> str:
    return next((str(labels[name]) for name in names if labels.get(name)), "")


def _free_vector(free: MilliAmounts) -> tuple[tuple[str, int], ...]:
    """Never below zero: a node may be over-committed by static pods or by a shrunk allocatable."""
    return tuple(sorted((resource, max(0, amount)) for resource, amount in free.items()))


def _with_free_rows(
    node_class: ReportedNodeClass, vectors: Counter[tuple[tuple[str, int], ...]]
) -> ReportedNodeClass:
    rows = tuple(
        FreeRow(
            count=count, resources={name: format_quantity(name, amount) for name, amount in vector}
        )
        for vector, count in sorted(vectors.items(), reverse=True)[:MAX_NODE_ROWS]
    )
    return replace(node_class, free=rows)
