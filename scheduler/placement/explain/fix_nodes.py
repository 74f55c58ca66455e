"""What would satisfy the rules about the nodes of a site: the least that a pod must ask less.

Of several kinds of node the one is meant that needs the fewest changes, among those with free room
for a pod: a change that opens nodes which are full helps nobody.
"""

from collections.abc import Callable, Iterable
from functools import partial

from msgspec.structs import replace

from scheduler.model.kinds.fields import Taint, Toleration
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import PodShape
from scheduler.model.quantities import PODS, free
from scheduler.placement.explain.trial import Ill, Step, of_workload
from scheduler.placement.fleet.node_eligibility import (
    blocking_taints,
    is_chosen,
    meets,
    platform_fits,
)
from scheduler.placement.fleet.node_table import ASSUMED_PODS, kind_of

_OWN = "kapok.dev/"
"""Shares of cards stand card by card in a row; they are the engine's to try."""


def architecture(ill: Ill) -> Step | None:
    """Images for a processor that the site has."""
    had = ill.demand.architectures
    there = [each for each in ill.facts.status.node_classes if each.architecture]
    if not there:
        return None
    nodes = min(there, key=lambda each: (not _has_room(ill, each), each.architecture))
    more = tuple(sorted({*had, nodes.architecture}))
    was, becomes = (", ".join(f"linux/{each}" for each in names) for names in (had, more))
    return of_workload(ill, "imagePlatforms", was, becomes, replace(ill.demand, architectures=more))


def node_taint(ill: Ill) -> Step | None:
    """Tolerations of what keeps the pods away from some kind of node, and of nothing else."""
    unit, told = [], []
    for pods in ill.demand.unit:
        shape = pods.shape
        chosen = [each for each in ill.facts.status.node_classes if is_chosen(shape, kind_of(each))]
        best = _best(ill, chosen, partial(_taints_of, shape))
        bearing = () if best is None else _in_the_way(shape, best)
        told += [f"{each.key}={each.value}:{each.effect}" for each in bearing]
        borne = replace(shape, tolerations=(*shape.tolerations, *map(toleration_of, bearing)))
        unit.append(replace(pods, shape=borne))
    if not told:
        return None
    told = list(dict.fromkeys(told))
    return of_workload(ill, "tolerations", "", ", ".join(told), replace(ill.demand, unit=(*unit,)))


def node_selector(ill: Ill) -> Step | None:
    """Pods that do not ask what no node has; what some node has they may go on asking."""
    unit, told = [], []
    for pods in ill.demand.unit:
        shape = pods.shape
        best = _best(ill, ill.facts.status.node_classes, partial(_missing_of, shape))
        if best is not None:
            shape, dropped = _freed(shape, best)
            told += dropped
        unit.append(replace(pods, shape=shape))
    if not told:
        return None
    was = ", ".join(dict.fromkeys(told))
    return of_workload(ill, "nodeSelector", was, "", replace(ill.demand, unit=(*unit,)))


def vendor_there(ill: Ill, lists: Iterable[tuple[str, ...]]) -> str:
    """The vendor of a node of the site which the fewest lists must be changed for; empty: none."""
    there = [
        each
        for each in ill.facts.status.node_classes
        if each.architecture in ill.demand.architectures and each.cpu_vendor
    ]
    closing = [each for each in lists if each]
    best = _best(ill, there, lambda nodes: sum(nodes.cpu_vendor not in each for each in closing))
    return "" if best is None else best.cpu_vendor


def toleration_of(taint: Taint) -> Toleration:
    """What bears a taint, and no other, for ever."""
    return Toleration(key=taint.key, operator="Equal", value=taint.value, effect=taint.effect)


def _best(
    ill: Ill, there: Iterable[NodeClass], changes: Callable[[NodeClass], int]
) -> NodeClass | None:
    """Nodes on which the images run and a pod has room, then those with the fewest changes."""

    def rank(nodes: NodeClass) -> tuple[bool, bool, int]:
        runs = platform_fits(kind_of(nodes), ill.demand.architectures, ill.demand.cpu_vendors)
        return not runs, not _has_room(ill, nodes), changes(nodes)

    return min(there, key=rank, default=None)


def _has_room(ill: Ill, nodes: NodeClass) -> bool:
    """Whether every pod of a replica finds some node of these with what it asks."""
    return all(_fits(pods.shape, nodes) for pods in ill.demand.unit)


def _fits(shape: PodShape, nodes: NodeClass) -> bool:
    asked = [(name, much) for name, much in shape.requests.items() if not name.startswith(_OWN)]
    return any(
        all(
            free(name, row.get(name, ASSUMED_PODS if name == PODS else 0)) >= much
            for name, much in asked
        )
        for row in nodes.free
    )


def _taints_of(shape: PodShape, nodes: NodeClass) -> int:
    return len(_in_the_way(shape, nodes))


def _missing_of(shape: PodShape, nodes: NodeClass) -> int:
    return len(_freed(shape, nodes)[1])


def _in_the_way(shape: PodShape, nodes: NodeClass) -> tuple[Taint, ...]:
    return tuple(
        each
        for each in nodes.taints
        if blocking_taints(shape, kind_of(replace(nodes, taints=(each,))))
    )


def _freed(shape: PodShape, nodes: NodeClass) -> tuple[PodShape, list[str]]:
    """A pod that asks nothing which these nodes do not have, and what it asked of that."""
    labels = kind_of(nodes).all_labels
    kept = {key: value for key, value in shape.node_selector.items() if labels.get(key) == value}
    dropped = [f"{key}={value}" for key, value in shape.node_selector.items() if key not in kept]
    freed = replace(shape, node_selector=kept)
    if shape.gpu_models and nodes.gpu_model not in shape.gpu_models:
        freed = replace(freed, gpu_models=())
        dropped += shape.gpu_models
    terms = shape.node_affinity
    if terms and not any(all(meets(each, labels) for each in term) for term in terms):
        freed = replace(freed, node_affinity=())
        dropped.append("node affinity")
    return freed, dropped
