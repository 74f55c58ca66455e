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
from scheduler.model.quantities import PODS, free_amount
from scheduler.placement.explain.trial import RefusedSite, TrialStep, change_workload
from scheduler.placement.fleet.node_eligibility import (
    blocking_taints,
    is_platform_permitted,
    matches_requirement,
    matches_selectors,
)
from scheduler.placement.fleet.node_table import DEFAULT_MAX_PODS, kind_of

_OWN_RESOURCE_PREFIX = "kapok.dev/"
"""Shares of cards stand card by card in a row; they are the engine's to try."""


def fix_architecture(refused: RefusedSite) -> TrialStep | None:
    """Images for a processor that the site has."""
    had = refused.demand.architectures
    known = [each for each in refused.facts.status.node_classes if each.architecture]
    if not known:
        return None
    nodes = min(known, key=lambda each: (not _has_capacity(refused, each), each.architecture))
    more = tuple(sorted({*had, nodes.architecture}))
    was, becomes = (", ".join(f"linux/{each}" for each in names) for names in (had, more))
    return change_workload(
        refused, "imagePlatforms", was, becomes, replace(refused.demand, architectures=more)
    )


def fix_node_taint(refused: RefusedSite) -> TrialStep | None:
    """Tolerations of what keeps the pods away from some kind of node, and of nothing else."""
    unit, shown = [], []
    for pods in refused.demand.unit:
        shape = pods.shape
        chosen = [
            each
            for each in refused.facts.status.node_classes
            if matches_selectors(shape, kind_of(each))
        ]
        best = _best_nodes(refused, chosen, partial(_count_blocking_taints, shape))
        blocking = () if best is None else _blocking_taints_of(shape, best)
        shown += [f"{each.key}={each.value}:{each.effect}" for each in blocking]
        tolerating = replace(shape, tolerations=(*shape.tolerations, *map(toleration_of, blocking)))
        unit.append(replace(pods, shape=tolerating))
    if not shown:
        return None
    shown = list(dict.fromkeys(shown))
    return change_workload(
        refused, "tolerations", "", ", ".join(shown), replace(refused.demand, unit=(*unit,))
    )


def fix_node_selector(refused: RefusedSite) -> TrialStep | None:
    """Pods that do not ask what no node has; what some node has they may go on asking."""
    unit, unmet = [], []
    for pods in refused.demand.unit:
        shape = pods.shape
        best = _best_nodes(
            refused, refused.facts.status.node_classes, partial(_count_unmet_requirements, shape)
        )
        if best is not None:
            shape, dropped = _drop_unmet_requirements(shape, best)
            unmet += dropped
        unit.append(replace(pods, shape=shape))
    if not unmet:
        return None
    was = ", ".join(dict.fromkeys(unmet))
    return change_workload(refused, "nodeSelector", was, "", replace(refused.demand, unit=(*unit,)))


def choose_vendor(refused: RefusedSite, lists: Iterable[tuple[str, ...]]) -> str:
    """The vendor of a node of the site which the fewest lists must be changed for; empty: none."""
    known = [
        each
        for each in refused.facts.status.node_classes
        if each.architecture in refused.demand.architectures and each.cpu_vendor
    ]
    restricting = [each for each in lists if each]
    best = _best_nodes(
        refused, known, lambda nodes: sum(nodes.cpu_vendor not in each for each in restricting)
    )
    return "" if best is None else best.cpu_vendor


def toleration_of(taint: Taint) -> Toleration:
    """What bears a taint, and no other, for ever."""
    return Toleration(key=taint.key, operator="Equal", value=taint.value, effect=taint.effect)


def _best_nodes(
    refused: RefusedSite,
    node_classes: Iterable[NodeClass],
    count_changes: Callable[[NodeClass], int],
) -> NodeClass | None:
    """Nodes on which the images run and a pod has room, then those with the fewest changes."""

    def rank(nodes: NodeClass) -> tuple[bool, bool, int]:
        runs = is_platform_permitted(
            kind_of(nodes), refused.demand.architectures, refused.demand.cpu_vendors
        )
        return not runs, not _has_capacity(refused, nodes), count_changes(nodes)

    return min(node_classes, key=rank, default=None)


def _has_capacity(refused: RefusedSite, nodes: NodeClass) -> bool:
    """Whether every pod of a replica finds some node of these with what it asks."""
    return all(_fits_one_pod(pods.shape, nodes) for pods in refused.demand.unit)


def _fits_one_pod(shape: PodShape, nodes: NodeClass) -> bool:
    asked = [
        (name, much)
        for name, much in shape.requests.items()
        if not name.startswith(_OWN_RESOURCE_PREFIX)
    ]
    return any(
        all(
            free_amount(name, row.get(name, DEFAULT_MAX_PODS if name == PODS else 0)) >= much
            for name, much in asked
        )
        for row in nodes.free
    )


def _count_blocking_taints(shape: PodShape, nodes: NodeClass) -> int:
    return len(_blocking_taints_of(shape, nodes))


def _count_unmet_requirements(shape: PodShape, nodes: NodeClass) -> int:
    return len(_drop_unmet_requirements(shape, nodes)[1])


def _blocking_taints_of(shape: PodShape, nodes: NodeClass) -> tuple[Taint, ...]:
    return tuple(
        each
        for each in nodes.taints
        if blocking_taints(shape, kind_of(replace(nodes, taints=(each,))))
    )


def _drop_unmet_requirements(shape: PodShape, nodes: NodeClass) -> tuple[PodShape, list[str]]:
    """A pod that asks nothing which these nodes do not have, and what it asked of that."""
    labels = kind_of(nodes).all_labels
    kept = {key: value for key, value in shape.node_selector.items() if labels.get(key) == value}
    dropped = [f"{key}={value}" for key, value in shape.node_selector.items() if key not in kept]
    relaxed = replace(shape, node_selector=kept)
    if shape.gpu_models and nodes.gpu_model not in shape.gpu_models:
        relaxed = replace(relaxed, gpu_models=())
        dropped += shape.gpu_models
    terms = shape.node_affinity
    if terms and not any(all(matches_requirement(each, labels) for each in term) for term in terms):
        relaxed = replace(relaxed, node_affinity=())
        dropped.append("node affinity")
    return relaxed, dropped
