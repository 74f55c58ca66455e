"""At least one node must have the labels and the GPU model that a pod asks for."""

from collections.abc import Hashable
from functools import partial

from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.kinds.site import NodeClass
from scheduler.model.manifests.pods import PodShape
from scheduler.model.reasons import Reason
from scheduler.model.words.sentence import Message, Sentence
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.fix_nodes import best_nodes
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import (
    matches_requirement,
    matches_selectors,
    unknown_keys,
)
from scheduler.placement.fleet.nodes.eligible_profiles import selected_profiles
from scheduler.placement.fleet.nodes.profiles import profile_of

_MATCHED = Message("node-selector.matched", "{site} has nodes with the required labels")
_NO_NODE = Message(
    "node-selector.no-node",
    "no node at {site} matches: {asked:then|its node affinity}{unknown:parts}",
)
_LABELS = Message("node-selector.labels", "{labels:list}")
_MODELS = Message("node-selector.models", "{models:or}")
_UNKNOWN = Message(
    "node-selector.unknown",
    "; not reported, so unknown: {keys:list} (the agent's settings member.labels and "
    "member.labels_excluded say which labels it reports)",
)


class NodeSelector:
    """Node selector, node affinity (core/v1) and GPU models must match some node profile."""

    reason: Reason = "selector"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})
    is_seldom_shared = True

    def cache_key(self, demand: Demand) -> Hashable:
        """What each pod of a replica requires of a node's labels."""
        return tuple(
            [each.shape.node_selection_key for each in demand.unit if _selects_nodes(each.shape)]
        )

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the profiles of the nodes that each site reports."""
        del context
        found = fleet.has_site
        for pods in demand.unit:
            if _selects_nodes(pods.shape):
                chosen, all_are = selected_profiles(fleet.nodes.profiles, pods.shape)
                if not all_are:
                    found = found & fleet.sites_with_any(chosen, of_none=True)
        return found

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> Sentence:
        """Names what no node has."""
        del context
        unmatched = _unmatched_shapes(facts, demand)
        if not unmatched:
            return _MATCHED(site=facts.name)
        labels = tuple(f"{key}={value}" for key, value in unmatched[0].node_selector.items())
        models = tuple(unmatched[0].gpu_models)
        asked = (_LABELS(labels=labels), _MODELS(models=models))
        profiles = [profile_of(each) for each in facts.status.node_classes]
        unknown = sorted({key for each in profiles for key in unknown_keys(unmatched[0], each)})
        return _NO_NODE(
            site=facts.name,
            asked=tuple(part for part in asked if part),
            unknown=(_UNKNOWN(keys=tuple(unknown)),) if unknown else (),
        )

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests pods without the requirements that no node meets; others stay."""
        unit, unmet = [], []
        for pods in refused.demand.unit:
            shape = pods.shape
            best = best_nodes(
                refused,
                refused.facts.status.node_classes,
                partial(_count_unmet_requirements, shape),
            )
            if best is not None:
                shape, dropped = _drop_unmet_requirements(shape, best)
                unmet += dropped
            unit.append(replace(pods, shape=shape))
        if not unmet:
            return None
        was = ", ".join(dict.fromkeys(unmet))  # each once, in order
        return change_workload("nodeSelector", was, "", replace(refused.demand, unit=(*unit,)))


def _count_unmet_requirements(shape: PodShape, nodes: NodeClass) -> int:
    return len(_drop_unmet_requirements(shape, nodes)[1])


def _drop_unmet_requirements(shape: PodShape, nodes: NodeClass) -> tuple[PodShape, list[str]]:
    """A pod that asks nothing which these nodes do not have, and what it asked of that."""
    profile = profile_of(nodes)
    labels = profile.all_labels
    kept = {key: value for key, value in shape.node_selector.items() if labels.get(key) == value}
    dropped = [f"{key}={value}" for key, value in shape.node_selector.items() if key not in kept]
    relaxed = replace(shape, node_selector=kept)
    if shape.gpu_models and nodes.gpu_model not in shape.gpu_models:
        relaxed = replace(relaxed, gpu_models=())
        dropped += shape.gpu_models
    terms = shape.node_affinity
    if terms and not any(
        all(matches_requirement(each, profile) for each in term) for term in terms
    ):
        relaxed = replace(relaxed, node_affinity=())
        dropped.append("node affinity")
    return relaxed, dropped


def _selects_nodes(shape: PodShape) -> bool:
    return bool(shape.node_selector or shape.node_affinity or shape.gpu_models)


def _unmatched_shapes(facts: SiteFacts, demand: Demand) -> list[PodShape]:
    """The pod shapes that match no node profile; none at a site without nodes.

    Other rules refuse such a site.
    """
    profiles = [profile_of(each) for each in facts.status.node_classes]
    asked = [each.shape for each in demand.unit if _selects_nodes(each.shape)]
    return [
        shape
        for shape in asked
        if profiles and not any(matches_selectors(shape, k) for k in profiles)
    ]


RULE = NodeSelector()
