"""A site that is known not to report takes no new work."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.fix import Fix, RefusedSite, report_now
from scheduler.placement.filter.rules import BoolPerSite, DemandFields, WakeEvent
from scheduler.placement.fleet.context import DecisionContext
from scheduler.placement.fleet.fleet import Fleet


class Silent:
    """The condition Ready must not be False or Unknown."""

    reason: Reason = "silent"
    wake_events: frozenset[WakeEvent] = frozenset({"report"})

    cache_key = DemandFields()

    def admits(self, fleet: Fleet, demand: Demand, context: DecisionContext) -> BoolPerSite:
        """Which sites are not known to be silent."""
        del demand, context
        return fleet.report_column(self.reason, lambda facts: not facts.is_silent, np.bool_)

    def explain(self, facts: SiteFacts, demand: Demand, context: DecisionContext) -> str:
        """Names the condition."""
        del demand, context
        ready = next((each for each in facts.status.conditions if each.type == "Ready"), None)
        if ready is None:
            return f"{facts.name} has no condition Ready, so it is not known to be silent"
        words = f"{facts.name} has Ready={ready.status} {ready.reason}".rstrip()
        if facts.is_cluster_unreachable:
            return f"{words}: the API server of its cluster does not answer its agent"
        return words

    def fix(self, refused: RefusedSite) -> Fix | None:
        """Suggests a report from now."""
        return report_now(refused)


RULE = Silent()
