"""Images run only on the architectures that they are built for, by default amd64."""

import numpy as np
from msgspec.structs import replace

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.fix import Fix, RefusedSite, change_workload
from scheduler.placement.filter.fix_nodes import has_capacity
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

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests images for a processor that the site has."""
        had = refused.demand.architectures
        known = [each for each in refused.facts.status.node_classes if each.architecture]
        if not known:
            return None
        nodes = min(known, key=lambda each: (not has_capacity(refused, each), each.architecture))
        more = tuple(sorted({*had, nodes.architecture}))
        was, becomes = (", ".join(f"linux/{each}" for each in names) for names in (had, more))
        return change_workload(
            "imagePlatforms", was, becomes, replace(refused.demand, architectures=more)
        )


RULE = Architecture()
