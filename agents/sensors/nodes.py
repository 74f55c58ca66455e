"""Computes the free capacity of each node from nodes and bound pods, grouped into classes. Pure.

Nodes that take no pods (unschedulable or not ready) are left out: their free capacity cannot be
used.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final

from agents.member.trees import map_at, objects_at, text_at
from agents.protocol.bounds import MAX_LABELS, MAX_NODE_ROWS, MAX_RESOURCES, MAX_TAINTS
from agents.protocol.delta import node_class_key
from agents.protocol.report import FreeRow, ReportedNodeClass, ReportedTaint, TaintEffect
from agents.sensors.pods import MilliAmounts, PodFacts, Tree
from agents.sensors.quantities import QuantityError, floor_milli, format_quantity

VENDOR_LABELS: Final = (
    "kapok.dev/cpu-vendor",
    "feature.node.kubernetes.io/cpu-model.vendor_id",
)
GPU_LABELS: Final = ("kapok.dev/gpu-model", "nvidia.com/gpu.product")
ARCHITECTURE_LABEL: Final = "kubernetes.io/arch"

_CORE_RESOURCES: Final = frozenset({"cpu", "memory", "pods", "ephemeral-storage"})
_TAINT_EFFECTS: Final[Mapping[str, TaintEffect]] = {
    "NoSchedule": "NoSchedule",
    "PreferNoSchedule": "PreferNoSchedule",
    "NoExecute": "NoExecute",
}
UNREADABLE_TAINT: Final = ReportedTaint(key="kapok.dev/unreadable-taint", effect="NoSchedule")
"""Stands for taints that a report cannot hold."""

_MAX_NAME_CHARACTERS: Final = 317
_MAX_VALUE_CHARACTERS: Final = 63
# Set by the control plane together with `spec.unschedulable`.
_CORDON_TAINT: Final = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class LabelChoice:
    """Selects the node labels that distinguish node classes.

    Attributes:
        included: patterns of label names; `*` matches anything.
        excluded: patterns of label names that are left out of these.
        withheld: patterns of label names that are never reported, even if they are asked for.
        asked: names that workloads ask for; they come first, whatever `excluded` says.
    """

    included: tuple[str, ...] = ("*",)
    excluded: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    asked: frozenset[str] = frozenset()

    def asked_for(self, names: Iterable[str], *, is_large: bool) -> "LabelChoice":
        """The same choice with labels that workloads ask for.

        In a large cluster, excluded labels stay left out: the name of the host and the like make a
        class of every node, and the report would be too long.
        """
        asked = frozenset(
            name for name in names if not (is_large and _matches_any(name, self.excluded))
        )
        return replace(self, asked=asked)

    def select(self, labels: Mapping[str, Any]) -> dict[str, str]:
        """The selected labels; at most 64, which is the bound of the protocol.

        Labels that workloads ask for come first, then those that Kubernetes itself defines, as most
        selectors name these; the others follow by name. A label that no Kubernetes accepts, by its
        length or type, is left out.
        """
        names = [name for name in labels if self._is_chosen(name)]
        valid = [name for name in names if _is_label(name, labels[name])]
        valid.sort(
            key=lambda name: (name not in self.asked, not _is_defined_by_kubernetes(name), name)
        )
        return {name: labels[name] for name in sorted(valid[:MAX_LABELS])}

    def _is_chosen(self, name: str) -> bool:
        if name in self.asked:
            return not _matches_any(name, self.withheld)
        left_out = (*self.excluded, *self.withheld)
        return _matches_any(name, self.included) and not _matches_any(name, left_out)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node that takes pods, reduced to what a report needs.

    Attributes:
        name: name of the node.
        node_class: its class, without free capacity.
        allocatable: allocatable amounts; None if one is not a valid quantity.
    """

    name: str
    node_class: ReportedNodeClass
    allocatable: MilliAmounts | None


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """The nodes of a cluster at one time.

    Attributes:
        classes: node classes; within a class, nodes with equal free capacity share a row.
        bound_pods: number of pods that take capacity, by the token of their order.
        order_ids: order ids by token, from the annotations of pods.
        unreadable_nodes: nodes left out because an amount on them is not a valid quantity.
    """

    classes: tuple[ReportedNodeClass, ...]
    bound_pods: Counter[str]
    order_ids: Mapping[str, str]
    unreadable_nodes: frozenset[str]


def node_facts_of(node: Tree, choice: LabelChoice) -> NodeFacts | None:
    """Reduces a node to what a report needs; None if it takes no pods."""
    if not _is_schedulable(node):
        return None
    amounts = map_at(node, "status", "allocatable")
    allocatable: MilliAmounts | None
    names = sorted(
        (name for name in amounts if _is_name(name)),
        key=lambda resource: (resource not in _CORE_RESOURCES, resource),
    )
    try:
        allocatable = {name: floor_milli(amounts[name]) for name in names[:MAX_RESOURCES]}
    except QuantityError:
        allocatable = None
    name = text_at(map_at(node, "metadata"), "name")
    return NodeFacts(name, _node_class_of(node, choice), allocatable)


def summarise_nodes(nodes: Iterable[NodeFacts], pods: Iterable[PodFacts]) -> NodeSnapshot:
    """Computes free capacity: allocatable minus what bound pods take, node by node."""
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
            free.pop(pod.node, None)  # what is free on the node is unknown
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
    if map_at(node, "spec").get("unschedulable"):
        return False
    return any(
        each.get("type") == "Ready" and each.get("status") == "True"
        for each in objects_at(map_at(node, "status"), "conditions")
    )


def _node_class_of(node: Tree, choice: LabelChoice) -> ReportedNodeClass:
    labels = map_at(node, "metadata", "labels")
    info = map_at(node, "status", "nodeInfo")
    architecture = _line(text_at(info, "architecture")) or _line(
        text_at(labels, ARCHITECTURE_LABEL)
    )
    chosen = choice.select(labels)
    left_out = sorted(str(name) for name in labels if name not in chosen)
    named = [name for name in left_out if _is_name(name)][:MAX_LABELS]
    return ReportedNodeClass(
        labels=chosen,
        labels_left_out=tuple(named) or None,
        has_more_labels=len(named) < len(left_out) or None,
        taints=_taints_of(node),
        architecture=architecture,
        cpu_vendor=_first_label(labels, VENDOR_LABELS),
        gpu_model=_first_label(labels, GPU_LABELS),
    )


def _matches_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, each) for each in patterns)


def _is_defined_by_kubernetes(name: str) -> bool:
    """Whether the prefix of a label is one that is reserved for Kubernetes' own components."""
    prefix = name.partition("/")[0] if "/" in name else ""
    return prefix in ("kubernetes.io", "k8s.io") or prefix.endswith((".kubernetes.io", ".k8s.io"))


def _taints_of(node: Tree) -> tuple[ReportedTaint, ...]:
    """The taints of a node; those that a report cannot hold become one that nothing tolerates.

    Left out, more would run on the node than it allows.
    """
    found: set[tuple[str, str, TaintEffect]] = set()
    is_complete = True
    for each in objects_at(map_at(node, "spec"), "taints"):
        key, value = each.get("key"), each.get("value") or ""
        if key == _CORDON_TAINT:
            continue
        if _is_label(key, value):
            effect = _TAINT_EFFECTS.get(text_at(each, "effect"), "NoSchedule")
            found.add((str(key), value, effect))
        else:
            is_complete = False
    taints = [ReportedTaint(key=k, value=v or None, effect=e) for k, v, e in found]
    taints.sort(key=lambda taint: (taint.key, taint.effect, taint.value or ""))
    if not is_complete or len(taints) > MAX_TAINTS:
        return (*taints[: MAX_TAINTS - 1], UNREADABLE_TAINT)
    return tuple(taints)


def _is_name(name: object) -> bool:
    """Whether a report can hold a name of a label, a taint or a resource."""
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME_CHARACTERS and name.isprintable()


def _is_label(name: object, value: object) -> bool:
    if not isinstance(value, str) or len(value) > _MAX_VALUE_CHARACTERS:
        return False
    return value.isprintable() and _is_name(name)


def _first_label(labels: Mapping[str, Any], names: Iterable[str]) -> str:
    found = (_line(text_at(labels, name)) for name in names)
    return next((value for value in found if value), "")


def _line(text: str) -> str:
    """A text as a report can hold it; empty, which is unknown, where it is no printable line."""
    return text[:_MAX_VALUE_CHARACTERS] if text.isprintable() else ""


def _free_vector(free: MilliAmounts) -> tuple[tuple[str, int], ...]:
    """Sorted free amounts, never below 0: static pods may overcommit a node."""
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
