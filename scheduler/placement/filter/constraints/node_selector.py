"""Some node must have the labels, and the GPU model, that a pod asks for."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.manifests.pods import PodShape
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import is_chosen
from scheduler.placement.fleet.node_table import kind_of


class NodeSelector:
    """Node selector and affinity (core/v1), and GPU models, must choose some kind of node."""

    reason: Reason = "selector"
    wakes: frozenset[Event] = frozenset({"report", "workload"})

    def question(self, demand: Demand) -> Hashable:
        """What each pod of a replica asks of a node's labels."""
        return tuple([each.shape.node_selection_key for each in demand.unit if _asks(each.shape)])

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at the kinds of node that each site reported."""
        del moment
        question = self.question(demand)
        if question == ():
            return fleet.is_there
        return fleet.reported(
            (type(self).__name__, question), lambda facts: not _missed(facts, demand), np.bool_
        )

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says what no node has."""
        del moment
        missed = _missed(facts, demand)
        if not missed:
            return f"{facts.name} has nodes with the labels that are asked for"
        labels = ", ".join(f"{key}={value}" for key, value in missed[0].node_selector.items())
        models = " or ".join(missed[0].gpu_models)
        asked = "; ".join(part for part in (labels, models) if part) or "its node affinity"
        return f"no node at {facts.name} has what is asked: {asked}"


def _asks(shape: PodShape) -> bool:
    return bool(shape.node_selector or shape.node_affinity or shape.gpu_models)


def _missed(facts: SiteFacts, demand: Demand) -> list[PodShape]:
    """Pods that no kind of node is chosen for; a site without nodes is others' business."""
    kinds = [kind_of(each) for each in facts.status.node_classes]
    asked = [each.shape for each in demand.unit if _asks(each.shape)]
    return [shape for shape in asked if kinds and not any(is_chosen(shape, k) for k in kinds)]


RULE = NodeSelector()
