"""Images run only on the architectures that they are built for, by default amd64."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class Architecture:
    """At least one node must have one of the architectures."""

    reason: Reason = "architecture"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    cache_key = DemandFields("architectures")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Checks the node classes that each site reports."""
        del context
        wanted = frozenset(demand.architectures)
        return fleet.report_column(
            (self.reason, demand.architectures),
            lambda facts: any(each.architecture in wanted for each in facts.status.node_classes),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the architectures there, and those that the images run on."""
        del context
        there = sorted({each.architecture or "unknown" for each in facts.status.node_classes})
        return (
            f"{facts.name} has {', '.join(there) or 'no nodes'}; "
            f"the images run on {', '.join(demand.architectures) or 'nothing'}"
        )


RULE = Architecture()
