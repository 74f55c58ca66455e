"""Operations can keep new work away from a site; what runs there stays."""

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event, Fields
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class Cordoned:
    """`spec.cordon` must be false."""

    reason: Reason = "cordoned"
    wakes: frozenset[Event] = frozenset({"site"})

    question = Fields()

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks at the switch."""
        del demand, moment
        return fleet.described(self.reason, lambda facts: not facts.spec.cordon, np.bool_)

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Says whether the switch is on."""
        del demand, moment
        return f"{facts.name} is {'' if facts.spec.cordon else 'not '}cordoned"


RULE = Cordoned()
