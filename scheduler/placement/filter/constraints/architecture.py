"""Images run only on the architectures that they were built for; what is not said is amd64."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class Architecture:
    """Some node must have one of the architectures."""

    reason: Reason = "architecture"
    wake_events: frozenset[WakeEvent] = frozenset({"report", "workload"})

    cache_key = DemandFields("architectures")

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Looks at the kinds of node that each site reported."""
        del context
        wanted = frozenset(demand.architectures)
        return fleet.report_column(
            (self.reason, demand.architectures),
            lambda facts: any(each.architecture in wanted for each in facts.status.node_classes),
            np.bool_,
        )

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names both lists."""
        del context
        there = sorted({each.architecture or "unknown" for each in facts.status.node_classes})
        return (
            f"{facts.name} has {', '.join(there) or 'no nodes'}; "
            f"the images run on {', '.join(demand.architectures) or 'nothing'}"
        )


RULE = Architecture()
