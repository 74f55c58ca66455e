"""A site without a cluster that orders can be applied to reports, but takes no work."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class NoExecutor:
    """`status.executor` must not be false, and the list of API kinds not empty."""

    reason: Reason = "no-executor"
    wakes: frozenset[Event] = frozenset({"report"})

    question = Fields()

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at what the agent said."""
        del demand, moment
        return fleet.reported(self.reason, lambda facts: facts.has_executor, np.bool_)

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says whether there is one."""
        del demand, moment
        there = "has an" if facts.has_executor else "has no"
        return f"{facts.name} {there} agent that can apply orders"


RULE = NoExecutor()
