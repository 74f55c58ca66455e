"""Where a Weighted division names weights, only sites with a weight get replicas."""

from collections.abc import Hashable

import numpy as np

from scheduler.model.demand.demand import Demand
from scheduler.model.demand.facts import SiteFacts
from scheduler.model.reasons import Reason
from scheduler.placement.filter.rules import BoolPerSite, Event
from scheduler.placement.fleet.context import Moment
from scheduler.placement.fleet.fleet import Fleet


class HasWeight:
    """A list of weights chooses sites: one that is not named, or has weight 0, gets nothing new."""

    reason: Reason = "selector"
    wakes: frozenset[Event] = frozenset({"site", "workload"})

    def question(self, demand: Demand) -> Hashable:
        """The weights, if they count."""
        return demand.weights if demand.strategy == "Weighted" else ()

    def admits(self, fleet: Fleet, demand: Demand, moment: Moment) -> BoolPerSite:
        """Looks for the names."""
        del moment
        if self.question(demand) == ():
            return fleet.is_there
        named = _named(demand)
        return fleet.described(
            (type(self).__name__, demand.weights), lambda facts: facts.name in named, np.bool_
        )

    def because(self, facts: SiteFacts, demand: Demand, moment: Moment) -> str:
        """Names the sites that have a weight."""
        del moment
        if self.question(demand) == ():
            return "the workload names no weights"
        named = _named(demand)
        if facts.name in named:
            return f"{facts.name} has the weight {named[facts.name]}"
        return f"{facts.name} has no weight; those with one are {', '.join(sorted(named))}"


def _named(demand: Demand) -> dict[str, int]:
    return {each.site: each.weight for each in demand.weights if each.weight > 0}


RULE = HasWeight()
