"""At least one node must have only taints that the pods tolerate."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet
from scheduler.placement.fleet.node_eligibility import blocking_taints, matches_selectors
from scheduler.placement.fleet.node_table import kind_of


class NodeTaint:
    """A pod must tolerate the taints of at least one kind of node that it matches (core/v1)."""

    reason: Reason = "taint"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    def cache_key(self, demand: Demand) -> Hashable:
        """The tolerations, selectors and affinities of each pod of a replica."""
        return tuple([each.shape.node_selection_key for each in demand.unit])

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the node classes that each site reports."""
        del context
        return fleet.report_column(
            (type(self).__name__, self.cache_key(demand)),
            lambda facts: not _untolerated_node_taints(facts, demand),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the taints of the nodes that match otherwise."""
        del context
        taints = _untolerated_node_taints(facts, demand)
        if taints:
            return (
                f"the nodes of {facts.name} have taints that are not tolerated: {', '.join(taints)}"
            )
        return f"{facts.name} has nodes whose taints are tolerated"


def _untolerated_node_taints(facts: SiteFacts, demand: Demand) -> list[str]:
    """The taints that keep some pod off every node that it matches; empty if no pod is blocked."""
    kinds = [kind_of(each) for each in facts.status.node_classes]
    for pods in demand.unit:
        chosen = [kind for kind in kinds if matches_selectors(pods.shape, kind)]
        blocked = [blocking_taints(pods.shape, kind) for kind in chosen]
        if chosen and all(blocked):
            return sorted({taint for each in blocked for taint in each})
    return []


RULE = NodeTaint()
