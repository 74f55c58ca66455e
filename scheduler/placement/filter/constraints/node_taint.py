"""Some node must have no taint that the pods do not tolerate."""

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
    """Of the kinds of node that a pod chooses, one must bear it (core/v1 taints)."""

    reason: Reason = "taint"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    def cache_key(self, demand: Demand) -> Hashable:
        """Tolerations, and what chooses the nodes that they are asked of."""
        return tuple([each.shape.node_selection_key for each in demand.unit])

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Looks at the kinds of node that each site reported."""
        del context
        return fleet.report_column(
            (type(self).__name__, self.cache_key(demand)),
            lambda facts: not _untolerated_node_taints(facts, demand),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the taints of the nodes that would do otherwise."""
        del context
        taints = _untolerated_node_taints(facts, demand)
        if taints:
            return (
                f"the nodes of {facts.name} have taints that are not tolerated: {', '.join(taints)}"
            )
        return f"{facts.name} has nodes whose taints are tolerated"


def _untolerated_node_taints(facts: SiteFacts, demand: Demand) -> list[str]:
    """The taints in the way of some pod on every node that it chooses; empty when none is."""
    kinds = [kind_of(each) for each in facts.status.node_classes]
    for pods in demand.unit:
        chosen = [kind for kind in kinds if matches_selectors(pods.shape, kind)]
        blocked = [blocking_taints(pods.shape, kind) for kind in chosen]
        if chosen and all(blocked):
            return sorted({taint for each in blocked for taint in each})
    return []


RULE = NodeTaint()
