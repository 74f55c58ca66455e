"""A site that is known not to report takes no new work."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class Silent:
    """The condition Ready must not be False or Unknown."""

    reason: Reason = "silent"
    wakes: frozenset[Event] = frozenset({"report"})

    question = Fields()

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at the condition."""
        del demand, moment
        return fleet.reported(self.reason, lambda facts: not facts.is_silent, np.bool_)

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the condition."""
        del demand, moment
        ready = next((each for each in facts.status.conditions if each.type == "Ready"), None)
        if ready is None:
            return f"nobody says that {facts.name} is silent"
        return f"{facts.name} has Ready={ready.status} {ready.reason}".rstrip()


RULE = Silent()
